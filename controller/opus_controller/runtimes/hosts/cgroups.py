"""Declared abilities, enforced: a cgroup a host, v1 or v2, whichever this machine's controllers are mounted as.

Best effort: where root may not make cgroups (a container without the right to), the run goes on without limits and its
record says so.

    <mount>/opus-<run>/<host>     v1: one below the mounts of cpu and memory; v2: one
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from opus_controller.model.errors import PlatformError
from opus_controller.model.plan import Host, HostAbilities
from opus_controller.model.shapes import HostChange
from opus_controller.net import namespaces
from opus_controller.runtimes.hosts import shortage

PERIOD_US = 100_000
"""Of the CPU quota: the kernel's default."""
PROBE_WAIT_S = 0.5
"""For a cgroup in which nothing has run to be gone."""
_LIMITS = ("cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us", "memory.max", "memory.limit_in_bytes")
_ENDLESS = 2.0**62
CORES_OFF = 0.0101
"""Between a limit and what is in force: systemd, as an engine's driver of cgroups, rounds a quota up to hundredths."""
MEMORY_OFF = 1 << 16
"""The kernel counts in pages."""
MEMORY_LEAST = 48 << 20
"""No limit is set below this: a node with its interpreter needs about 10 MB of its own, and some more when it starts."""


@dataclass(frozen=True)
class Mounts:
    """Where the controllers are; None: not available."""

    v2: Path | None = None
    cpu: Path | None = None
    memory: Path | None = None

    def bases(self) -> list[Path]:
        return [path for path in (self.v2, self.cpu, self.memory) if path is not None]


def find_mounts(mountinfo: str) -> Mounts:
    """Read /proc/self/mountinfo's text. v2 counts only if it offers both controllers, else v1's are taken."""
    v1: dict[str, Path] = {}
    v2: Path | None = None
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        point = Path(before.split()[4])
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2" and _offers(point, {"cpu", "memory"}):
            v2 = point
        elif kind == "cgroup":
            v1.update({option: point for option in options.split(",") if option in ("cpu", "memory")})
    return Mounts(v2=v2) if v2 is not None else Mounts(cpu=v1.get("cpu"), memory=v1.get("memory"))


def has_freezer(mountinfo: str) -> bool:
    """Whether an engine can stop a container's processes by their cgroup: with v2 alone always, else by v1's controller."""
    kinds = [line.partition(" - ")[2].split(" ", 2) for line in mountinfo.splitlines()]
    v1 = [options.split(",") for kind, _, options in kinds if kind == "cgroup"]
    return any("freezer" in options for options in v1) if v1 else any(kind == "cgroup2" for kind, _, _ in kinds)


def missing(controller: str, why: str = "") -> dict[str, str]:
    """One that cannot be used: why (it is not mounted, unless said otherwise), and what mends it."""
    why = why or f"the cgroup controller {controller} is not mounted on this machine"
    return {controller: f"{why}; run as root; in a container: docker run --privileged (opus doctor)"}


def lacking(host: Host, mounts: Mounts | None = None) -> dict[str, str]:
    """Controllers of cpu and memory that cannot limit `host` here, see `missing`: tried, and nothing is left of it."""
    limits = Limits(namespaces.new_run(), mounts)
    try:
        cores, memory = in_force(limits.create([host])[host.name])
    finally:
        remove(limits.directories, wait_s=PROBE_WAIT_S)
    return {
        **({} if cores else missing("cpu", limits.refused)),
        **({} if memory else missing("memory", limits.refused)),
    }


def _offers(v2: Path, wanted: set[str]) -> bool:
    try:
        return wanted <= set((v2 / "cgroup.controllers").read_text().split())
    except OSError:
        return False


class Limits:
    """One run's cgroups."""

    def __init__(self, run: str, mounts: Mounts | None = None) -> None:
        self._mounts = mounts if mounts is not None else find_mounts(Path("/proc/self/mountinfo").read_text())
        self.directories: list[Path] = [base / f"opus-{run}" for base in self._mounts.bases()]
        self.refused = "" if self.directories else "no cgroup controllers for cpu and memory are mounted"
        """Why hosts run without limits; empty if they do not."""

    def create(self, hosts: Iterable[Host]) -> dict[str, list[str]]:
        """Make a cgroup for every host with its limits in force; host name to directories (empty lists if refused)."""
        wanted = list(hosts)
        try:
            for directory in self.directories:
                directory.mkdir(exist_ok=True)
                if self._mounts.v2 is not None:
                    (self._mounts.v2 / "cgroup.subtree_control").write_text("+cpu +memory")
                    (directory / "cgroup.subtree_control").write_text("+cpu +memory")
            return {host.name: [str(path) for path in self._limit(host)] for host in wanted}
        except OSError as error:
            self.refused = f"cgroups cannot be made here ({error.strerror}: {error.filename})"
            remove(self.directories)
            self.directories = []
            return {host.name: [] for host in wanted}

    def _limit(self, host: Host) -> list[Path]:
        paths = [directory / host.name for directory in self.directories]
        for path, base in zip(paths, self._mounts.bases(), strict=True):
            path.mkdir(exist_ok=True)
            for name, value in self._settings(base, host.abilities):
                (path / name).write_text(value)
        return paths

    def _settings(self, base: Path, abilities: HostAbilities) -> list[tuple[str, str]]:
        quota = str(max(1_000, round(abilities.cpu * PERIOD_US)))
        memory = str(max(MEMORY_LEAST, abilities.memory))
        if base == self._mounts.v2:
            return [("cpu.max", f"{quota} {PERIOD_US}"), ("memory.max", memory)]
        if base == self._mounts.cpu:
            settings = [("cpu.cfs_period_us", str(PERIOD_US)), ("cpu.cfs_quota_us", quota)]
            return settings + ([("memory.limit_in_bytes", memory)] if base == self._mounts.memory else [])
        return [("memory.limit_in_bytes", memory)]


def of_process(memberships: str, mounts: Mounts) -> list[str]:
    """The directories of a process' cgroups for cpu and memory, from /proc/PID/cgroup's text. Never the root's."""
    found: list[Path] = []
    for line in memberships.splitlines():
        _, controllers, path = line.split(":", 2)
        bases = [mounts.v2] if not controllers else []
        bases += [getattr(mounts, name) for name in controllers.split(",") if name in ("cpu", "memory")]
        found += [base / path.lstrip("/") for base in bases if base is not None and path != "/"]
    return [str(directory) for directory in dict.fromkeys(found) if directory.is_dir()]


def core_time(pid: int) -> int | None:
    """Nanoseconds of processor time of all that has ever run in this process' own cgroup; None where nobody counts that."""
    try:
        return counted(Path(f"/proc/{pid}/cgroup").read_text(), Path("/proc/self/mountinfo").read_text())
    except OSError:  # it has ended
        return None


def counted(memberships: str, mountinfo: str) -> int | None:
    """The same from /proc/PID/cgroup's and /proc/self/mountinfo's texts. Never the root's: that is the whole machine."""
    points = _counting(mountinfo)
    for line in memberships.splitlines():
        _, controllers, path = line.split(":", 2)
        point = points.get("cpuacct" if "cpuacct" in controllers.split(",") else controllers or "v2")
        if point is not None and path != "/":
            return _counted(point / path.lstrip("/"))
    return None


def _counting(mountinfo: str) -> dict[str, Path]:
    """Where cgroups count processor time: "cpuacct" (v1), or "v2"."""
    found: dict[str, Path] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2":
            found["v2"] = Path(before.split()[4])
        elif kind == "cgroup" and "cpuacct" in options.split(","):
            found["cpuacct"] = Path(before.split()[4])
    return found


def _counted(directory: Path) -> int | None:
    if (usage := directory / "cpuacct.usage").exists():
        return int(usage.read_text())
    words = dict(line.split(" ", 1) for line in (directory / "cpu.stat").read_text().splitlines())
    return int(words["usage_usec"]) * 1000 if "usage_usec" in words else None


def limit(directories: Iterable[str], abilities: HostAbilities, strain: HostChange) -> None:
    """Leave what is in these cgroups so much of the host's abilities, and see that it is so. What needs more memory than is left
    is ended, as the kernel does in v2. OSError if the kernel refuses."""
    directories = list(directories)
    quota = max(1_000, round(abilities.cpu * strain.cpu * PERIOD_US))
    memory = max(MEMORY_LEAST, min(abilities.memory, strain.memory or abilities.memory))
    values = {
        "cpu.max": f"{quota} {PERIOD_US}",
        "memory.max": str(memory),
        "cpu.cfs_quota_us": str(quota),
        "memory.limit_in_bytes": str(memory),
    }
    for directory in directories:
        for name, value in values.items():
            if (file := Path(directory, name)).exists():
                shortage.lower([directory], partial(_write, file, value), f"{file.parent.name}: {value} bytes of memory")
    hold(directories, quota / PERIOD_US, memory)
    cores_told, memory_told = in_force(directories)
    for controller, told in (("cpu", cores_told or strain.cpu == 1), ("memory", memory_told or strain.memory is None)):
        if not told:
            raise PlatformError(missing(controller)[controller])


def _write(file: Path, value: str) -> None:
    try:
        file.write_text(value)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        raise shortage.MemoryInUse("more is in use") from error


def in_force(directories: Iterable[str]) -> tuple[list[float], list[int]]:
    """What the kernel says these cgroups may use: cores, and bytes of memory; a limit that is none is endless."""
    cores: list[float] = []
    memory: list[int] = []
    for directory in map(Path, directories):
        said = {name: (directory / name).read_text().split() for name in _LIMITS if (directory / name).exists()}
        if "cpu.max" in said:
            cores.append(_number(said["cpu.max"][0]) / int(said["cpu.max"][1]))
        if "cpu.cfs_quota_us" in said:
            cores.append(_number(said["cpu.cfs_quota_us"][0]) / int(said["cpu.cfs_period_us"][0]))
        memory += [int(_number(said[name][0])) for name in ("memory.max", "memory.limit_in_bytes") if name in said]
    return cores, memory


def hold(directories: Iterable[str], cores: float, memory: int) -> None:
    """PlatformError if the kernel has other limits in force in these cgroups than were asked for."""
    found, bytes_found = in_force(directories)
    if wrong := [one for one in found if abs(one - cores) > CORES_OFF]:
        raise PlatformError(f"the kernel leaves {wrong[0]:g} cores where {cores:g} were asked for")
    if wrong_memory := [one for one in bytes_found if abs(one - memory) > MEMORY_OFF]:
        raise PlatformError(f"the kernel leaves {wrong_memory[0]} bytes of memory where {memory} were asked for")


def _number(word: str) -> float:
    """Of a limit's file: "max" in v2 and -1 in v1 are none."""
    return _ENDLESS if word in ("max", "-1") else float(word)


def remove(directories: Iterable[Path], *, wait_s: float = 5.0) -> list[Path]:
    """Remove cgroups with all inside; a cgroup can go only when its last process has been reaped, so this waits for it.

    Returns what was removed. No error for what is not there.
    """
    deadline = time.monotonic() + wait_s
    return [path for path in directories if path.is_dir() and _remove_tree(path, deadline)]


def _remove_tree(top: Path, deadline: float) -> bool:
    for directory, _, _ in os.walk(top, topdown=False):
        while True:
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                pass
            except OSError:
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.01)
                continue
            break
    return True


def of_runs() -> dict[str, list[Path]]:
    """Every directory of ours in the cgroup file systems, by the name of its run."""
    found: dict[str, list[Path]] = {}
    for base in find_mounts(Path("/proc/self/mountinfo").read_text()).bases():
        for path in base.glob("opus-????????"):
            if path.is_dir() and all(letter in "0123456789abcdef" for letter in path.name[5:]):
                found.setdefault(path.name[5:], []).append(path)
    return found
