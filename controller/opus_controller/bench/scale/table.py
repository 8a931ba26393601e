"""Several sizes, one after the other, each in a process of its own; how time and memory grow with the number of nodes.

DIR/100000.json     the figures of a run of so many nodes, kept as they are made: what is there is not made again
DIR/scale.svg       steps, time and memory against the number of nodes
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from math import log
from multiprocessing import get_context
from pathlib import Path

from opus_controller.bench.scale.run import Figures, play
from opus_controller.bench.scale.worlds import Size
from opus_controller.model.errors import PlatformError, ScenarioError

Say = Callable[[str], None]

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

    @property
    def sizes(self) -> list[Size]:
        return [Size(hosts, self.replicas, self.minutes, self.depth, self.seed) for hosts in sorted(set(self.hosts))]


def measure(order: Order, say: Say) -> list[Figures]:
    """Of each size, the least first. Raises ScenarioError for a directory it cannot use, PlatformError where memory is not
    enough."""
    sizes = order.sizes  # all of them are checked before the first is made
    found = []
    for size in sizes:
        kept = None if order.into is None else _kept(order.into, size)
        if kept is None:
            kept = _apart(size, say)
            if order.into is not None:
                _keep(order.into, kept)
        found.append(kept)
    return found


def _apart(size: Size, say: Say) -> Figures:
    """In a new process, so that no run's memory counts as another's."""
    say(f"{size.hosts} nodes, {size.m} replicas, {size.minutes:g} min, depth {size.depth}")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(play, size, say).result()
        except BrokenProcessPool:
            raise PlatformError(f"the run of {size.hosts} nodes was ended, for want of memory most likely; take fewer") from None


def _kept(directory: Path, size: Size) -> Figures | None:
    """Figures of the same run, made earlier; those of another one are refused, not overwritten."""
    file = directory / f"{size.hosts}.json"
    try:
        found: Figures = json.loads(file.read_text())
        other = [name for name, value in asdict(size).items() if name != "replicas" and found[name] != value]
        other += ["replicas"] if found["replicas_asked"] != size.m else []
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ScenarioError(f"--into {directory}: {file.name} has no figures of such a run ({error})") from None
    if other:
        raise ScenarioError(f"--into {directory}: {file.name} is of other {' and '.join(other)}; allowed: another directory")
    return found


def _keep(directory: Path, figures: Figures) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{figures['hosts']}.json").write_text(json.dumps(figures, indent=1) + "\n")
    except OSError as error:
        raise ScenarioError(f"--into {directory}: {error.strerror}; allowed: a directory that can be written") from None


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
