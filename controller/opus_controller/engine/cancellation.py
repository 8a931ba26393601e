"""Cancellations that get lost on their way, and how they are found again.

A task that is cancelled while what it waits for comes to its end may be told the end and not the cancellation: so do calls of
gRPC, and asyncio.wait_for before Python 3.12 (asyncio.timeout does not). The task still knows that it was asked.
"""

from __future__ import annotations

import asyncio


def heed() -> None:
    """Raises CancelledError if the current task was asked to end, and that was not taken back (`Task.uncancel`)."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
