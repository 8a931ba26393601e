"""A process that stays beside a testbed: `python -m opus_controller.runtimes.RUNTIME RUN`, with its log on standard error."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine
from typing import Any

from opus_controller.model.errors import OpusError
from opus_controller.runtimes.hosts.machine import raise_file_limit


async def until_told(doing: Coroutine[Any, Any, None]) -> None:
    """Does it to its end, or until the process is asked to end."""
    task = asyncio.create_task(doing)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        logging.info("told to end")


def stay(name: str, living: Coroutine[Any, Any, None]) -> int:
    """The exit status: 0, or as the commands', with one line."""
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s {name}: %(message)s", stream=sys.stderr)
    raise_file_limit()
    try:
        asyncio.run(living)
    except OpusError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    return 0
