"""`opus bench utility`: what an allocation reaches, against the exact optimum and static shares; and how soon it follows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import numpy as np
from opus_node.core.allocate import allocate, greedy
from opus_node.core.forecast import Forecast, Need, Unit

from opus_controller.bench.overlay import forks, statistics
from opus_controller.bench.overlay.experiments import Figures
from opus_controller.bench.overlay.rows import Estimator, Line, Row, chosen, lines, mean_of, ratio_of
from opus_controller.bench.overlay.run import WORKERS, Results
from opus_controller.bench.overlay.statistics import Estimate
from opus_controller.bench.utility import crowd, exact, instances, measured, shares
from opus_controller.bench.utility.instances import APPS, LOAD, Instance

LOADS = (0.75, 1.0, LOAD)
DEVIATIONS = (0.5, 1.0, 1.5)
TIMES, BOUND_FROM, BOUND_AT = 1.3, 1.0, 1.5
"""To reach from this load on, at this coefficient of variation."""
FOLLOWED_S = 10.0
"""By when hosts are to follow a crowd."""
LOW = 0.05
"""The quantile that is bounded."""


@dataclass(frozen=True)
class Scale:
    """How much, a seed."""

    apps: tuple[int, ...] = APPS
    """Instances, by their number of applications."""
    draws: int = 1
    """Of measured information, an instance."""
    shared: tuple[int, ...] = APPS
    """Instances held against static shares, where there is something to reach ..."""
    beside: tuple[int, ...] = (6,)
    """... and where the figure is only printed."""
    epochs: int = 4


FULL = Scale()
QUICK = Scale(apps=(4, 6), shared=(4,), beside=(4,), epochs=3)


@dataclass(frozen=True)
class Order:
    rows: Sequence[str] = ()
    """Names; none: all."""
    seeds: int = 10
    scale: Scale = FULL

    def told(self) -> dict[str, object]:
        """For JSON."""
        return {"seeds": self.seeds, "scale": vars(self.scale)}


# Experiments: figures of one seed


def against_optimum(seed: int, scale: Scale) -> dict[str, Figures]:
    """By experiment."""
    known: list[float] = []
    alone: list[float] = []
    told: list[float] = []
    took: list[float] = []
    for instance in _instances(seed, scale.apps):
        optimum = exact.optimum(exact.tables(instance))
        units, needs = instance.units(), instance.needs()
        began = time.perf_counter()
        known.append(allocate(units, needs).utility / optimum)
        took.append(time.perf_counter() - began)
        alone.append(greedy(units, needs).utility / optimum)
        for draw in range(scale.draws):
            believed = measured.told(instance, Random(f"{seed}/measured/{instance.name}/{draw}"))
            told.append(truly(units, needs, allocate(*believed).serves) / optimum)
    return {
        "exact": {"shares": known, "mean": _mean(known), "worst": min(known), "greedy": _mean(alone), "took_s": _mean(took)},
        "measured": {"shares": told, "mean": _mean(told), "worst": min(told)},
    }


def truly(units: Sequence[Unit], needs: Sequence[Need], serves: Mapping[str, str]) -> float:
    """Utility of an allocation that was found by other information."""
    found = 0.0
    for need in needs:
        members = [u for u, unit in enumerate(units) if serves.get(unit.name) == need.app]
        found += need.utility.of(Forecast(need, units).felt(members))
    return found


def against_static(seed: int, scale: Scale, load: float, deviation: float) -> Figures:
    found = [
        shares.compared(one.at_load(load), deviation, scale.epochs, Random(f"{seed}/shares/{one.name}/{load}/{deviation}"))
        for one in _instances(seed, scale.shared if _bound(load, deviation) else scale.beside)
    ]
    sums = {key: sum(getattr(one, key) for one in found) for key in ("following", "static", "chosen", "moved", "epochs")}
    return {**sums, "moved_each": sums["moved"] / sums["epochs"]}


def _instances(seed: int, apps: Sequence[int]) -> list[Instance]:
    """From their file; of a seed that has none, made by the same rule."""
    if seed in instances.SEEDS:
        return [one for one in instances.load(seed) if len(one.apps) in apps]
    return [instances.made(seed, count) for count in apps]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


# The rows


def all_rows() -> list[Row]:
    return [*_optimum(), *_static(), *_crowd()]


def _optimum() -> Iterator[Row]:
    what = f"utility / exact optimum, S-shapes, load {LOAD:g}"
    for name, bound, least in (("exact", 0.97, 0.90), ("measured", 0.93, None)):
        note = _exact_note if name == "exact" else _worst
        yield _share(name, f"{what}, {name} information, mean", mean_of("mean"), bound, note)
        yield _share(name, f"{what}, {name} information, 5th percentile", _low, least, _count)


def _share(name: str, what: str, estimate: Estimator, bound: float | None, note: Callable[[Sequence[Figures]], str]) -> Row:
    return Row(name, what, name, estimate, bound, least=True, unit="%", digits=1, scale=100, note=note)


def _low(figures: Sequence[Figures]) -> Estimate:
    return statistics.quantile([one["shares"] for one in figures], LOW)


def _worst(figures: Sequence[Figures]) -> str:
    return f"worst {100 * min(one['worst'] for one in figures):.1f}%"


def _exact_note(figures: Sequence[Figures]) -> str:
    alone, took = (_mean([one[key] for one in figures]) for key in ("greedy", "took_s"))
    return f"{_worst(figures)}; greedy alone {100 * alone:.1f}%; {took:.1f} s each"


def _count(figures: Sequence[Figures]) -> str:
    return f"{sum(len(one['shares']) for one in figures)} allocations"


def _static() -> Iterator[Row]:
    for load in LOADS:
        for deviation in DEVIATIONS:
            bound = _bound(load, deviation)
            what = f"utility / that of static shares by mean work, load {load:g}, demand's coefficient of variation {deviation:g}"
            yield Row("static", what, _cell(load, deviation), ratio_of("following", "static"), bound, least=True, note=_moved)


def _crowd() -> Iterator[Row]:
    what = f"{crowd.SCENARIO}.yaml, simulated"
    soon = f"{what}: from the crowd's begin until half of its hosts are there"
    yield Row("crowd", soon, "crowd", mean_of("follow_s"), FOLLOWED_S, unit="s", digits=1, note=_latest)
    yield Row(
        "crowd", f"{what}: time that anybody held less than its floor", "crowd", mean_of("short_s"), 0.0, unit="s", digits=1
    )


def _latest(figures: Sequence[Figures]) -> str:
    late, felt = max(one["follow_s"] for one in figures), _mean([one["share"] for one in figures])
    soon = sum(one["follow_s"] <= FOLLOWED_S for one in figures)
    return f"{soon} of {len(figures)} within {FOLLOWED_S:g} s, latest {late:.1f} s; felt {100 * felt:.1f}% of all worth"


def _bound(load: float, deviation: float) -> float | None:
    return TIMES if load >= BOUND_FROM and deviation == BOUND_AT else None


def _cell(load: float, deviation: float) -> str:
    return f"static {load:g} {deviation:g}"


def _moved(figures: Sequence[Figures]) -> str:
    best = statistics.ratio([(one["following"], one["chosen"]) for one in figures])
    by_chosen = f"{best.value:.2f} [{best.low:.2f}, {best.high:.2f}]"
    moved = _mean([one["moved_each"] for one in figures])
    return f"against the shares best for mean demand {by_chosen}; hosts moved an epoch {moved:.1f}"


# All of it


def measure(order: Order, on_progress: Callable[[str], None] = lambda news: None) -> tuple[list[Line], Results]:
    """Raises ScenarioError for a row that does not exist."""
    picked = chosen(all_rows(), order.rows)
    wanted = {row.experiment for row in picked}
    seeds = range(1, order.seeds + 1)
    results = Results(seeds)
    tasks = [task for seed in seeds for task in _tasks(seed, order.scale, wanted)]
    for done, (_, (seed, found, wall)) in enumerate(forks.each(tasks, WORKERS), start=1):
        for name, figures in found.items():
            results.figures[name][seed] = figures
            results.wall_s[name] += wall / len(found)
        on_progress(f"{', '.join(found)}, seed {seed}: {wall:.0f} s ({done} of {len(tasks)})")
    return lines(picked, results), results


Found = tuple[int, dict[str, Figures], float]


def _tasks(seed: int, scale: Scale, wanted: set[str]) -> Iterator[Callable[[], Found]]:
    if wanted & {"exact", "measured"}:
        yield partial(_timed, seed, partial(against_optimum, seed, scale))
    if "crowd" in wanted:
        yield partial(_timed, seed, partial(_rush, seed))
    for load in LOADS:
        for deviation in DEVIATIONS:
            if _cell(load, deviation) in wanted:
                yield partial(_timed, seed, partial(_one_cell, seed, scale, load, deviation))


def _one_cell(seed: int, scale: Scale, load: float, deviation: float) -> dict[str, Figures]:
    return {_cell(load, deviation): against_static(seed, scale, load, deviation)}


def _rush(seed: int) -> dict[str, Figures]:
    return {"crowd": crowd.rush(seed)}


def _timed(seed: int, experiment: Callable[[], dict[str, Any]]) -> Found:
    began = time.perf_counter()
    found = experiment()
    return seed, found, time.perf_counter() - began
