"""Takes a run off the machine, from any process, whatever state it is in; and nothing else.

What belongs to a run is known by exact names that carry the run's eight digits, by pid and start time from its run.json,
and by being inside its namespaces. Everything missing is fine: cleaning twice, or after half a start, works.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from opus_controller.model.errors import OpusError
from opus_controller.net import namespaces
from opus_controller.net.userspace import kill_shaper
from opus_controller.runtimes.hosts import cgroups, disks, state
from opus_controller.runtimes.hosts.processes import Process, end, wait_gone
from opus_controller.runtimes.hosts.state import RunState

OWNER_ENDS_S = 60.0
"""How long a living controller may take to clean up by itself when it is asked to (a thousand devices take a while)."""

OBSERVER_ENDS_S = 10.0
"""For a process that looks on to end its Prometheus in good order."""


@dataclass
class Removed:
    """What was taken away from one run."""

    run: str
    processes: list[int] = field(default_factory=list)
    namespaces: list[str] = field(default_factory=list)
    cgroups: list[str] = field(default_factory=list)
    containers: list[str] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)
    links: bool = False
    """Whether the links' process was still there."""
    left: list[str] = field(default_factory=list)
    """What could not be removed, and why."""

    def __str__(self) -> str:
        counts = {
            "process": len(self.processes) + self.links,
            "container": len(self.containers),
            "namespace": len(self.namespaces),
            "cgroup": len(self.cgroups),
            "directory": len(self.directories),
        }
        plural = {"process": "processes", "directory": "directories"}
        parts = [f"{n} {name if n == 1 else plural.get(name, name + 's')}" for name, n in counts.items() if n]
        return f"{self.run}: removed {', '.join(parts) or 'nothing'}" + "".join(f"; left: {what}" for what in self.left)


def ask_owner(run: RunState) -> None:
    """End whoever plays it, in order if he listens (SIGTERM makes a player end cleanly)."""
    owner = run.owner
    if run.mode == "run" and owner != Process.own() and owner.signal(signal.SIGTERM) and not wait_gone([owner], OWNER_ENDS_S):
        owner.signal(signal.SIGKILL)
        wait_gone([owner], OWNER_ENDS_S)


def remove(run: str) -> Removed:
    """Remove everything of the run called `run` (eight digits), with or without its state directory."""
    removed = Removed(run)
    directory = state.STATE_DIR / run
    removed.processes += _pids(end(state.observers(directory), grace_s=OBSERVER_ENDS_S))
    with suppress(OpusError):  # no run.json: names alone must do
        _end_recorded(state.load(run), removed)
    removed.links = directory.is_dir() and kill_shaper(directory)
    _end_members(run, removed)
    for name in namespaces.of_run(run):
        if namespaces.delete(name):
            removed.namespaces.append(name)
    groups = cgroups.of_runs().get(run, [])
    gone = cgroups.remove(groups)
    removed.cgroups = [str(path) for path in gone]
    removed.left = [f"cgroup {path} (a process is still in it)" for path in groups if path not in gone]
    _remove_directories(directory, removed)
    return removed


def stale() -> list[str]:
    """Runs that are nobody's any more, the oldest first: they have a state directory, which is made first and removed last."""
    return [one.run for one in state.everything() if not one.alive()]


def orphans() -> list[str]:
    """Runs by the names of namespaces and cgroups alone: somebody has removed their state directory, or they are not runs of
    this command at all (a test's). So these are removed only on request."""
    return sorted((set(namespaces.runs()) | set(cgroups.of_runs())) - set(state.runs()))


def _end_recorded(run: RunState, removed: Removed) -> None:
    """The zygote or keeper first, so that no node is started behind our back, then the nodes."""
    recorded = [run.zygote, run.keeper, *(host.node for host in run.hosts.values())]
    removed.processes += _pids(end(process for process in recorded if process is not None))


def _end_members(run: str, removed: Removed) -> None:
    """Whatever else lives in the run's namespaces: nodes not yet recorded, what `opus exec` started."""
    for _ in range(3):  # one of them may have been forking
        members = namespaces.processes_in(namespaces.of_run(run))
        found = [process for pids in members.values() for pid in pids if (process := Process.of(pid)) is not None]
        if not found:
            return
        removed.processes += _pids(end(found))


def _remove_directories(directory: Path, removed: Removed) -> None:
    disks.remove(directory)
    for path in (directory, directory.parent / f".new-{directory.name}"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
            (removed.left if path.exists() else removed.directories).append(str(path))


def _pids(processes: Iterable[Process]) -> list[int]:
    return [process.pid for process in processes]
