"""`opus bench spread`: cost and delay of dissemination among replicas, and what is left of it when a third falls silent.

Everything is measured on the running protocol: what was delivered when, and every copy that was sent, needless ones included.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path
from random import Random

import numpy as np
from opus_node.core.types import SECOND

from opus_controller.bench.overlay import forks, statistics
from opus_controller.bench.overlay.experiments import Figures
from opus_controller.bench.overlay.rows import Line, Row, averages, chosen, lines, mean_of, worst_of
from opus_controller.bench.overlay.run import WORKERS, Results
from opus_controller.bench.overlay.statistics import Estimate
from opus_controller.bench.spread import ideals, instances
from opus_controller.bench.spread.world import World

BOUND = 1.75
"""What an application names if it names nothing: the way over the mesh against the direct one."""
BESIDE = (1.3, 2.0, 3.0)
"""Bounds that are printed for comparison."""
COST, MEAN, MOST, DEGREE = 1.25, 1.3, 1.4, 6
REACHED, WITHIN_S = 0.999, 3.0
CONTENT = 1000
"""Bytes of an update."""
SILENCES = {"random": "at random", "near": "those nearest the source", "hubs": "those with most links"}


@dataclass(frozen=True)
class Scale:
    """How much, a seed."""

    sets: tuple[str, ...] = ("20 random", "50 random", "50 placed", "100 random")
    bounds: tuple[float, ...] = BESIDE
    sources: int = 10
    """That send, one after the other."""
    settle_s: int = 25
    silences: int = 1
    """Of each kind."""


FULL = Scale()
QUICK = Scale(sets=("20 random", "50 placed"), bounds=(3.0,), sources=5)


@dataclass(frozen=True)
class Order:
    rows: Sequence[str] = ()
    """Names; none: all."""
    seeds: int = 10
    data: Path | None = None
    scale: Scale = FULL

    def told(self) -> dict[str, object]:
        """For JSON."""
        return {"seeds": self.seeds, "scale": vars(self.scale), "bound": BOUND}


# Experiments: figures of one seed


def dissemination(seed: int, scale: Scale, rtts: instances.Rtts, members: Sequence[int], bound: float, silent: bool) -> Figures:
    """Updates of several sources, one at a time, among members that have had time to make their links."""
    world, names = _world(seed, rtts, members, bound)
    world.run(scale.settle_s * SECOND)
    built = sum(world.sent.values()) / len(names)
    degrees = [len(world.members[name].spread.neighbours) for name in names]
    matrix = np.array([[rtts[a][b] for b in members] for a in members], dtype=np.float64)
    ideal = ideals.ideal(matrix)
    rng = Random(f"{seed}/sources")
    at = {name: i for i, name in enumerate(names)}
    sources = rng.sample(names, min(scale.sources, len(names)))
    rows, costs = [], []
    world.sent.clear()
    world.carried.clear()
    for source in sources:
        began, found = world.now, _sent(world, source)
        rows.append([2 * (found.get(name, inf) - began) for name in names])
        costs.append(sum(count * matrix[at[a], at[b]] for (a, b), count in world.carried.items()))
        world.carried.clear()
    picked = [at[source] for source in sources]
    spt = ideal.spt_delays[picked]
    mean, most = ideals.over(np.array(rows), spt)
    mst, star = ideals.over(ideal.mst_delays[picked], spt), ideals.over(ideal.star_delays[picked], spt)
    figures: Figures = {
        "cost": float(np.mean(costs)) / ideal.mst_cost, "star_cost": ideal.star_cost / ideal.mst_cost, "mean": mean, "most": most,
        "mst_mean": mst[0], "mst_most": mst[1], "star_mean": star[0], "star_most": star[1],
        "degree": max(degrees), "degrees": float(np.mean(degrees)), "built_bytes": built,
        "copies": world.sent["Update"] / len(sources) / len(names), "lazy_bytes": world.sent["Have"] / len(sources) / len(names),
    }  # fmt: skip
    return figures | (_silences(world, scale, Random(f"{seed}/silences"), ideal.mst_cost, matrix, at) if silent else {})


def _sent(world: World, source: str) -> dict[str, int]:
    """When the update reached whom, after three seconds."""
    version = world.publish(source, bytes(CONTENT))
    world.run(3 * SECOND)
    return world.delivered[source, version]


def _silences(
    world: World, scale: Scale, rng: Random, mst: float, matrix: ideals.Floats, at: dict[str, int]
) -> dict[str, list[list[float]]]:
    """By kind, of each silence the seconds until each live member had the update that was sent in that instant; infinity: never.
    Between them all come back and have time to find each other."""
    found: dict[str, list[list[float]]] = {kind: [] for kind in SILENCES}
    for kind in SILENCES:
        for _ in range(scale.silences):
            names = world.live()
            source = rng.choice(names)
            others = [name for name in names if name != source]
            rng.shuffle(others)
            if kind == "near":
                others.sort(key=lambda name, s=source: matrix[at[s], at[name]])  # type: ignore[misc]
            elif kind == "hubs":
                others.sort(key=lambda name: -len(world.members[name].spread.neighbours))
            world.kill(others[: len(names) // 3])
            began, version = world.now, world.publish(source, bytes(CONTENT))
            world.run(6 * SECOND)
            reached = world.delivered[source, version]
            found[kind].append([(reached.get(name, inf) - began) / SECOND for name in world.live()])
            world.revive()
            world.run(scale.settle_s * SECOND)
    return found


def _world(seed: int, rtts: instances.Rtts, members: Sequence[int], bound: float) -> tuple[World, list[str]]:
    names = [f"{member:03}" for member in members]
    return World(names, lambda a, b: rtts[int(a)][int(b)], bound, f"{seed}"), names


# The rows


def all_rows(scale: Scale) -> list[Row]:
    return [*_trees(scale), *_silent(scale), *_bounds(scale)]


def _trees(scale: Scale) -> Iterator[Row]:
    for which in scale.sets:
        sent = averages(star_cost="star", copies="bytes of updates a member and update", lazy_bytes="of Have")
        yield Row("cost", f"{which}: cost / minimum spanning tree", which, mean_of("cost"), COST, digits=3, note=sent)
        for key, what, bound in (("mean", "mean", MEAN), ("most", "maximum", MOST)):
            note = averages(**{f"mst_{key}": "minimum spanning tree", f"star_{key}": "star"})
            yield Row("delay", f"{which}: {what} delay / shortest path tree", which, mean_of(key), bound, digits=3, note=note)
        note = averages(degrees="mean", built_bytes="bytes a member for building:")
        yield Row("degree", f"{which}: links of a member, most", which, worst_of("degree"), DEGREE, digits=0, note=note)


def _silent(scale: Scale) -> Iterator[Row]:
    for which in scale.sets:
        for kind, told in SILENCES.items():
            what = f"{which}: a third silent ({told}): live members reached within {WITHIN_S:g} s"
            yield Row(
                "silent", what, which, partial(_reached, kind), REACHED, least=True, unit="%", digits=2, scale=100,
                note=partial(_times, kind),
            )  # fmt: skip


def _reached(kind: str, figures: Sequence[Figures]) -> Estimate:
    times = [[took for one in seed[kind] for took in one] for seed in figures]
    return statistics.share([(sum(took <= WITHIN_S for took in one), len(one)) for one in times])


def _times(kind: str, figures: Sequence[Figures]) -> str:
    """By silence: when 99.9% of the live, which is all of a hundred, had it."""
    silences = [one for seed in figures for one in seed[kind]]
    last = sorted(float(np.quantile(one, 0.999, method="higher")) for one in silences)
    return f"{len(last)} silences; 99.9% reached after {np.median(last):.2f} s, worst {last[-1]:.2f} s"


def _bounds(scale: Scale) -> Iterator[Row]:
    for bound in scale.bounds:
        note = averages(mean="mean delay", most="maximum", degrees="links")
        yield Row("bounds", f"50 placed, bound {bound:g}: cost", _at(bound), mean_of("cost"), digits=3, note=note)


def _at(bound: float) -> str:
    return f"bound {bound:g}"


# All of it


def measure(order: Order, on_progress: Callable[[str], None] = lambda news: None) -> tuple[list[Line], Results]:
    """Raises ScenarioError for a row that does not exist, PlatformError where the matrix is not there."""
    picked = chosen(all_rows(order.scale), order.rows)
    wanted = {row.experiment for row in picked}
    silent = any(row.name == "silent" for row in picked)
    rtts = instances.matrix(order.data)
    results = Results(range(1, order.seeds + 1))
    tasks = [partial(_task, seed, name, order.scale, rtts, silent) for seed in results.seeds for name in sorted(wanted)]
    for done, (_, (seed, name, figures, wall)) in enumerate(forks.each(tasks, WORKERS), start=1):
        results.figures[name][seed] = figures
        results.wall_s[name] += wall
        on_progress(f"{name}, seed {seed}: {wall:.0f} s ({done} of {len(tasks)})")
    return lines(picked, results), results


def _task(seed: int, name: str, scale: Scale, rtts: instances.Rtts, silent: bool) -> tuple[int, str, Figures, float]:
    began = time.perf_counter()
    sets = instances.members(seed, rtts)
    if name in sets:
        figures = dissemination(seed, scale, rtts, sets[name], BOUND, silent)
    else:
        bound = next(one for one in scale.bounds if _at(one) == name)
        figures = dissemination(seed, scale, rtts, sets[f"{instances.PLACED} placed"], bound, silent=False)
    return seed, name, figures, time.perf_counter() - began
