"""What a program has consumed: the processor time of its process and of all that descends from it, from /proc (proc(5)).

    its own + of children it has waited for (stat) + the same of each living child, and theirs (task/TID/children)

Not seen are children that nobody waits for (SIGCHLD ignored) once they have ended, and those that were left behind by a parent
that has ended. A kernel without CONFIG_PROC_CHILDREN shows no living children: theirs is seen when they have been waited for.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from opus_node.core.types import SECOND, Nanos

TICK: Final[Nanos] = SECOND // os.sysconf("SC_CLK_TCK")
PROCESSES: Final = 4096
"""Looked at at most."""
UTIME: Final = 11
"""Among the words of a stat file after the command's name; STIME, CUTIME and CSTIME follow."""
PROC: Final = Path("/proc")


def core_time(pid: int) -> Nanos | None:
    """User and system time so far, in steps of 10 ms; None if there is no such process any more."""
    found, waiting, seen = 0, [pid], 0
    while waiting and seen < PROCESSES:
        each = waiting.pop()
        seen += 1
        spent = _of(each)  # before its children: one that ends in between is missed this time, not counted twice
        if spent is None and each == pid:
            return None
        found += spent or 0
        waiting += _children(each)
    return found


def _of(pid: int) -> Nanos | None:
    try:
        words = (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return sum(map(int, words[UTIME : UTIME + 4])) * TICK


def _children(pid: int) -> list[int]:
    """Of any of its threads."""
    found: list[int] = []
    with suppress(OSError):  # it, or a thread, ends
        for thread in (PROC / str(pid) / "task").iterdir():
            with suppress(OSError):
                found += map(int, (thread / "children").read_bytes().split())
    return found
