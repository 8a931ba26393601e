"""What else bears on this machine: other programs' share of its cores, its memory, and tables that all hosts share.

Everything is read from /proc. Looking at every process takes some 15 us each, so that is done at some readings only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROCESSES_EVERY = 3
INOTIFY_EVERY = 30


@dataclass(frozen=True)
class Strain:
    """Shares, 0 to 1; what cannot be read is 0."""

    cpu_others: float = 0.0
    """Of all cores since the last look at processes: programs that are not ours, and what a hypervisor took."""
    other: str = ""
    """The busiest of those programs."""
    memory_used: float = 0.0
    neighbour_table: float = 0.0
    inotify: float = 0.0


@dataclass(frozen=True)
class Seen:
    """One process: its name, who started it, and the clock ticks it has used."""

    name: str
    parent: int
    ticks: int


class StrainMeter:
    """Blocks for some milliseconds at a reading."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._readings = 0
        self._before: dict[int, Seen] = {}
        self._stolen, self._all = 0, 0
        self._others: tuple[float, str] = (0.0, "")
        self._inotify = 0.0

    def read(self, ours: set[int]) -> Strain:
        """`ours`: processes of the testbed; their descendants count as the testbed's, too."""
        if self._readings % PROCESSES_EVERY == 0:
            self._look_at_processes(ours)
        if self._readings % INOTIFY_EVERY == 0:
            self._inotify = self._inotify_used()
        self._readings += 1
        share, name = self._others
        return Strain(share, name, self._memory_used(), self._neighbour_table(), self._inotify)

    def _look_at_processes(self, ours: set[int]) -> None:
        seen = dict(self._processes())
        stolen, everything = self._stolen_and_all()
        before, passed = self._before, everything - self._all
        if before and passed > 0:
            mine = descendants(seen, ours)
            used = {pid: of.ticks - before[pid].ticks for pid, of in seen.items() if pid in before and pid not in mine}
            busiest = max(used, key=lambda pid: used[pid], default=None)
            share = (sum(used.values()) + stolen - self._stolen) / passed
            self._others = min(1.0, share), seen[busiest].name if busiest is not None and used[busiest] else ""
        self._before, self._stolen, self._all = seen, stolen, everything

    def _processes(self) -> Iterator[tuple[int, Seen]]:
        for entry in os.listdir(self._proc):
            if entry.isdigit():
                with suppress(OSError, ValueError, IndexError):  # it has ended meanwhile
                    yield int(entry), _seen((self._proc / entry / "stat").read_text())

    def _stolen_and_all(self) -> tuple[int, int]:
        """Clock ticks of all cores since the machine's start."""
        fields = [int(field) for field in (self._proc / "stat").read_text().split("\n", 1)[0].split()[1:9]]
        return fields[7], sum(fields)

    def _memory_used(self) -> float:
        with suppress(OSError, KeyError, ValueError):
            lines = (self._proc / "meminfo").read_text().splitlines()
            fields = dict(line.split(":", 1) for line in lines if ":" in line)
            return 1 - int(fields["MemAvailable"].split()[0]) / int(fields["MemTotal"].split()[0])
        return 0.0

    def _neighbour_table(self) -> float:
        with suppress(OSError, IndexError, ValueError):
            entries = int((self._proc / "net/stat/arp_cache").read_text().splitlines()[1].split()[0], 16)
            return entries / int((self._proc / "sys/net/ipv4/neigh/default/gc_thresh3").read_text())
        return 0.0

    def _inotify_used(self) -> float:
        """Of this user's instances, by every descriptor of its processes."""
        try:
            most = int((self._proc / "sys/fs/inotify/max_user_instances").read_text())
        except (OSError, ValueError):
            return 0.0
        count = 0
        for entry in os.listdir(self._proc):
            if entry.isdigit():
                with suppress(OSError):
                    if os.stat(self._proc / entry).st_uid == os.geteuid():
                        count += sum(_is_inotify(self._proc / entry / "fd" / fd) for fd in os.listdir(self._proc / entry / "fd"))
        return count / most


def descendants(seen: Mapping[int, Seen], roots: set[int]) -> set[int]:
    """`roots` and whatever they have started, as far as its parents live."""
    children: dict[int, list[int]] = {}
    for pid, of in seen.items():
        children.setdefault(of.parent, []).append(pid)
    found, left = set(roots), list(roots)
    while left:
        for child in children.get(left.pop(), ()):
            if child not in found:
                found.add(child)
                left.append(child)
    return found


def _seen(stat: str) -> Seen:
    """A line of /proc/PID/stat; the name is in brackets and may hold anything."""
    name, _, rest = stat.partition("(")[2].rpartition(")")
    fields = rest.split()
    return Seen(name, int(fields[1]), int(fields[11]) + int(fields[12]))


def _is_inotify(descriptor: Path) -> bool:
    with suppress(OSError):
        return os.readlink(descriptor) == "anon_inode:inotify"
    return False
