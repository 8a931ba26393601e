"""How busy this machine is, and how work that blocks is done without holding up the event loop."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class CpuMeter:
    """Share of all cores that were busy between two readings (/proc/stat)."""

    def __init__(self) -> None:
        self._before = _times()

    def busy(self) -> float:
        """0 to 1, since the last call. Time that a hypervisor took (steal) counts as busy: we did not have it."""
        before, self._before = self._before, _times()
        total = self._before[0] - before[0]
        idle = self._before[1] - before[1]
        return 1 - idle / total if total > 0 else 0.0


def _times() -> tuple[int, int]:
    """(all, idle) in clock ticks; guest time is part of user time already."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(fields), fields[3] + fields[4]


def raise_file_limit() -> int:
    """As many open files as the machine allows (a host takes a few in the links, the zygote and here); the new limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1 << 20 if os.geteuid() == 0 else hard
    for limit in (wanted, hard):
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, max(limit, hard)))
            return limit
    return soft


async def in_thread(work: Callable[[], T]) -> T:
    """Run `work` in a thread and wait for it to end even if the caller is cancelled: cleaning up must not overtake it."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


def last_lines(path: Path, lines: int = 12, most_bytes: int = 8192) -> str:
    """The end of a log; empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - most_bytes))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
