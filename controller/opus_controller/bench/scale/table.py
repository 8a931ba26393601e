"""Several sizes, one after the other, each in a process of its own; how time and memory grow with the number of nodes.

DIR/about.json      what they are of
DIR/100000.json     the figures of a run of so many nodes, kept as they are made: what is there is not made again
DIR/100000.state/   such a run under way, while there are no figures of it: it goes on from there
DIR/scale.svg       steps, time and memory against the number of nodes
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Sequence
from ctypes import c_bool
from dataclasses import dataclass
from math import log
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from typing import Any

from opus_controller.bench import kept
from opus_controller.bench.compiled.build import built, first_on_path
from opus_controller.bench.scale.load import Figures
from opus_controller.bench.scale.parallel import play
from opus_controller.bench.scale.run import Say, Stopped
from opus_controller.bench.scale.worlds import Size
from opus_controller.model.errors import OpusError, PlatformError
from opus_controller.model.sources import digest_of, files_of

MAKERS = (
    "opus_node",
    "opus_controller.model",
    "opus_controller.engine",
    "opus_controller.runtimes.sim",
    "opus_controller.bench.scale",
)
COLUMNS = (
    *("n", "m", "steps a node", "steps/s", "of a bare heap", "wall, s", "CPU, s", "GB", "kB a node"),
    *("availability", "hops: first, later", "agents", "heads", "crashes"),
)


@dataclass(frozen=True)
class Order:
    hosts: Sequence[int]
    replicas: int | None = None
    minutes: float = 10.0
    depth: int = 3
    seed: int = 1
    into: Path | None = None
    processes: int = 1
    """That share the hosts of one run."""
    compiled: bool = False
    """Whether the core and the simulator run compiled: the same steps in less time."""

    @property
    def sizes(self) -> list[Size]:
        return [Size(hosts, self.replicas, self.minutes, self.depth, self.seed) for hosts in sorted(set(self.hosts))]

    def about(self) -> dict[str, Any]:
        """What figures kept for it are of."""
        told: dict[str, Any] = {"replicas": self.replicas, "minutes": self.minutes, "depth": self.depth, "seed": self.seed}
        told |= {"processes": self.processes, "compiled": self.compiled}
        return {"sources": digest_of(files_of(MAKERS)), **told}


def measure(order: Order, say: Say) -> list[Figures]:
    """Of each size, the least first. Raises ScenarioError for a directory it cannot use, PlatformError where memory is not
    enough or nothing can be compiled."""
    sizes = order.sizes  # all of them are checked before the first is made
    compiled = built(say) if order.compiled else None
    if order.into is not None:
        kept.claim(order.into, order.about(), "an earlier table like this one")
    if order.into is None:
        return [_apart(size, order, say, compiled, None) for size in sizes]
    return [_kept(size, order, say, compiled, order.into) for size in sizes]


def _kept(size: Size, order: Order, say: Say, compiled: Path | None, directory: Path) -> Figures:
    """As the directory has it, made if it has not."""
    file, under_way = directory / f"{size.hosts}.json", directory / f"{size.hosts}.state"
    one = kept.read(file)
    if one is None:
        one = _apart(size, order, say, compiled, under_way)
        kept.write(file, one)
        shutil.rmtree(under_way, ignore_errors=True)
    return one


def _apart(size: Size, order: Order, say: Say, compiled: Path | None, place: Path | None) -> Figures:
    """In a new process, so that no run's memory counts as another's, and what is compiled can take the place of what is not. An
    interrupt reaches it, and waits for it to be kept."""
    how = "" if compiled is None else ", compiled"
    say(f"{size.hosts} nodes, {size.m} replicas, {size.minutes:g} min, depth {size.depth}{how}")
    context = get_context("spawn")
    line, theirs = context.Pipe()
    process = context.Process(target=_live, args=(theirs, size, order.processes, say, place))
    with first_on_path(compiled):
        process.start()
    theirs.close()
    try:
        found: Figures | OpusError | None = line.recv()
    except EOFError:
        process.join()
        found = PlatformError(f"the run of {size.hosts} nodes {_why(process.exitcode)}")
    except KeyboardInterrupt:
        process.terminate()
        raise
    finally:
        process.join()
    if found is None:
        raise KeyboardInterrupt
    if isinstance(found, OpusError):
        raise found
    return found


def _why(status: int | None) -> str:
    """A process ended without a word."""
    return "failed, as it says above" if status == 1 else "was killed, for want of memory most likely; take fewer"


def _live(line: Connection, size: Size, processes: int, say: Say, place: Path | None) -> None:
    """Until whoever wanted it asks it to stop, or is no more."""
    asked, family = RawValue(c_bool, False), (os.getppid(), os.getpid())
    """Shared with the processes that the run forks, whose parent is this one."""

    def ask(number: int, frame: object) -> None:
        asked.value = True

    def stop() -> bool:
        if os.getppid() not in family:
            asked.value = True
        return bool(asked.value)

    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, ask)
    try:
        line.send(play(size, say, processes, place=place, stop=stop))
    except Stopped:
        line.send(None)
    except OpusError as error:
        line.send(error)


def row(one: Figures) -> tuple[str, ...]:
    return (
        f"{one['hosts']:,}",
        str(one["replicas_asked"]),
        f"{one['steps_per_node']:.0f}",
        f"{one['steps_per_s']:,.0f}",
        f"{100 * one['of_bare']:.1f}%",
        f"{one['wall_s']:,.0f}",
        f"{one['cpu_s']:,.0f}",
        f"{one['peak_bytes'] / 1e9:.2f}",
        f"{one['bytes_per_node'] / 1e3:.1f}",
        f"{100 * one['availability']:.2f}%" if one["issued"] else "",
        ", ".join(f"{hops:.2f}" for hops in (one["first_hops"], one["repeat_hops"]) if hops is not None),
        str(one["agents"]),
        str(one["heads"]),
        str(one["crashes"]),
    )


@dataclass(frozen=True)
class Trend:
    """What grows how, by least squares over the logarithms: figure ~ n^power."""

    time: float
    memory: float

    def told(self) -> str:
        return f"CPU time grows as n^{self.time:.2f}, memory as n^{self.memory:.2f}"


def trend(found: Sequence[Figures]) -> Trend | None:
    """None: one size has none."""
    if len(found) < 2:
        return None
    sizes = [one["hosts"] for one in found]
    return Trend(*(_power(sizes, [one[name] for one in found]) for name in ("cpu_s", "peak_bytes")))


def _power(sizes: Sequence[int], values: Sequence[float]) -> float:
    x, y = [log(size) for size in sizes], [log(value) for value in values]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)
