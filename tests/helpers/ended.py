"""What may become of a process that a run lives in, at module level since it is spawned."""

from __future__ import annotations

import os
import signal


def killed(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def failed(*_: object) -> None:
    raise LookupError("of our own making")
