"""A limit of memory below what is in use, on control groups v1: what v2's kernel does by itself, done for it.

v2's memory.max takes any limit, reclaims, and lets the kernel's killer end what is too big. v1 refuses such a limit (EBUSY)
once nothing more can be reclaimed. So the process that the kernel would have chosen is ended here, and the limit set again.
"""

from __future__ import annotations

import logging
import os
import select
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from opus_controller.model.errors import PlatformError

ENDED_AT_MOST = 8
"""Processes, for one limit: a host has a node and a few programs."""
GONE_S = 5.0
"""How long one that has been killed may take; one that is frozen does not end at all."""

log = logging.getLogger(__name__)


class MemoryInUse(PlatformError):
    """The kernel refuses a limit, since more is in use."""


def lower(directories: Iterable[str], set_limit: Callable[[], None], what: str) -> list[int]:
    """Call `set_limit` until it no longer raises MemoryInUse, ending before each further call the process in these cgroups, or
    below them, that the kernel would end. The pids of those ended; PlatformError if none is left, or does not go."""
    cgroups = [Path(directory) for directory in directories]
    ended: list[int] = []
    while True:
        try:
            set_limit()
        except MemoryInUse as refusal:
            if len(ended) == ENDED_AT_MOST:
                raise PlatformError(f"{what}: {refusal} after {len(ended)} of its processes were ended") from refusal
            pid = _end_worst(cgroups)
            if pid is None:
                raise PlatformError(f"{what}: {refusal} and no process in it can be ended") from refusal
            log.info("%s: %s; ended process %d", what, refusal, pid)
            ended.append(pid)
        else:
            return ended


def _end_worst(cgroups: list[Path]) -> int | None:
    """End the one with the highest badness and wait until its memory is free; None if there is none."""
    for pid in sorted(_processes(cgroups), key=_badness, reverse=True):
        if _badness(pid) > (0, 0) and _end(pid, cgroups):
            return pid
    return None


def _processes(cgroups: Iterable[Path]) -> set[int]:
    """Pids in these cgroups and below; 0 is one that this process' namespace does not see."""
    found: set[int] = set()
    for top in cgroups:
        for directory, _, _ in os.walk(top):
            with suppress(OSError):  # a cgroup that has just gone
                found.update(map(int, Path(directory, "cgroup.procs").read_text().split()))
    return found - {0}


def _badness(pid: int) -> tuple[int, int]:
    """The kernel's own, in thousandths of the machine's memory and so too coarse for a small process: then resident pages.
    Nothing for what is gone, and for what the kernel may never end."""
    try:
        score = int(Path(f"/proc/{pid}/oom_score").read_text())
        return (score, int(Path(f"/proc/{pid}/statm").read_text().split()[1])) if score else (0, 0)
    except OSError:
        return (0, 0)


def _end(pid: int, cgroups: list[Path]) -> bool:
    """False if it is no longer in there: the descriptor holds whoever has the pid, and only then is asked where it is."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if pid not in _processes(cgroups):
            return False
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        gone = select.poll()
        gone.register(handle, select.POLLIN)  # readable when it has ended, whether or not it is reaped
        if not gone.poll(GONE_S * 1000):
            raise PlatformError(f"process {pid} was killed for its memory and does not end")
        return True
    finally:
        os.close(handle)
