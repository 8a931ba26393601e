"""What a run on real hosts holds of the machine at an instant: to see that nothing grows while hosts come and go."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from opus_controller.net import namespaces
from opus_controller.runtimes.hosts.state import RunState


@dataclass(frozen=True)
class Usage:
    namespaces: int
    nodes: int
    """Processes inside the hosts' namespaces."""
    node_pss_mb: float
    """Of all of them together; shared pages by halves, thirds, ..."""
    descriptors: dict[str, int]
    memory_mb: dict[str, float]
    """Resident, of the run's own processes: controller, zygote, shaper."""

    def __str__(self) -> str:
        own = ", ".join(f"{name} {self.descriptors[name]} fd {self.memory_mb[name]:.0f} MB" for name in self.descriptors)
        return f"{self.namespaces} namespaces, {self.nodes} nodes with {self.node_pss_mb:.0f} MB; {own}"


def usage(run: RunState) -> Usage:
    """Of a run that goes on. Processes that end meanwhile are left out."""
    names = namespaces.of_run(run.run)
    nodes = [pid for pids in namespaces.processes_in(names).values() for pid in pids]
    own = {"controller": run.owner.pid, "zygote": run.zygote.pid if run.zygote else 0, "shaper": _shaper(run)}
    return Usage(
        namespaces=len(names),
        nodes=len(nodes),
        node_pss_mb=sum(_kilobytes(pid, "smaps_rollup", "Pss:") for pid in nodes) / 1024,
        descriptors={name: _descriptors(pid) for name, pid in own.items()},
        memory_mb={name: _kilobytes(pid, "status", "VmRSS:") / 1024 for name, pid in own.items()},
    )


SPARE_FD = 10
"""A file that is just being read, a host that is just coming: nobody's leak."""
RING_FD = 2
"""Of the shaper a host: its TUN device and its control."""


def piled_up(seen: Sequence[Usage], *, hosts: int, processes: int, minutes: float) -> list[str]:
    """What grew that churn has no reason to make grow; empty if nothing did. `seen`: over so many minutes, the first once all is
    under way. `processes`: of a host that is up."""
    first, found = seen[0], []
    for used in seen:
        bounds = {
            "namespaces": (used.namespaces, hosts),
            "processes of hosts": (used.nodes, hosts * processes),
            # It holds a stream to each host that is up, and nothing for one that is away.
            "descriptors of the controller": (
                used.descriptors["controller"] - used.nodes // processes,
                first.descriptors["controller"] - first.nodes // processes + SPARE_FD,
            ),
            "descriptors of the zygote": (used.descriptors["zygote"], first.descriptors["zygote"] + SPARE_FD),
            "descriptors of the shaper": (used.descriptors["shaper"], RING_FD * hosts + SPARE_FD),
            # A node learns peers and caches replicas at first; ten generations of leaking nodes would be far beyond.
            "MB of a process": (used.node_pss_mb / max(used.nodes, 1), 1.3 * first.node_pss_mb / max(first.nodes, 1)),
            # The record's own figures grow with time: 1 MB a minute was measured, none of it by hosts that return.
            **{f"MB of the {name}": (mb, first.memory_mb[name] + 5 + 3 * minutes) for name, mb in used.memory_mb.items()},
        }
        found += [f"{what}: {is_:g}, at most {most:g}" for what, (is_, most) in bounds.items() if is_ > most]
    return found


def machine() -> dict[str, int]:
    """What a leak of any kind would add to: processes, and named namespaces."""
    return {"processes": len(list(_pids())), "namespaces": len(list(namespaces.NETNS_DIR.glob("*")))}


@dataclass
class Watched:
    """A run's usage over time, for people to read and to keep beside its result."""

    before: dict[str, int]
    during: list[tuple[float, Usage]] = field(default_factory=list)
    """(seconds from the run's origin, what it used)."""

    def told(self, result: dict[str, Any], after: dict[str, int], left: dict[str, list[str]], kept: Path) -> str:
        """For the screen; `kept` is written with the figures and those of the result."""
        during = [{"at_s": at, **asdict(used)} for at, used in self.during]
        figures = {key: result[key] for key in ("verdict", "requests", "churn", "validity", "wall_s")}
        document = {"before": self.before, "during": during, "after": after, "left": left, "result": figures}
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps(document, indent=1))
        return "\n".join(
            (
                "",
                f"before: {self.before}",
                *(f"{at:5.0f} s: {used}" for at, used in self.during),
                f"after: {after}, left: {left or 'nothing'}",
                f"{result['verdict']}: availability {result['requests']['availability']}, churn {result['churn']}",
                f"validity {result['validity']['reasons']}",
            )
        )


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _shaper(run: RunState) -> int:
    for pid in _pids():
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"userspace_shaper" in words and str(run.directory).encode() in words:
                return pid
    return 0


def _descriptors(pid: int) -> int:
    with suppress(OSError):
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return 0


def _kilobytes(pid: int, file: str, key: str) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1])
    return 0
