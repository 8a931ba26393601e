"""`opus bench availability`: the planner's choice of m and places against the best number of replicas that runs measured.

The planner sees courses of events of other seeds (from TRAIN on) of the same model, as whoever plans does; runs have seeds from 1
on. Members that stay are those that the planner places, for each number of replicas; others are placed by the overlay. All modes
share one run: one application each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from opus_controller.bench.availability.delays import Incident
from opus_controller.bench.availability.played import counted, delayed
from opus_controller.bench.availability.worlds import FAMILIES, Size, plan_of, plans_of, sized
from opus_controller.bench.overlay import forks, statistics
from opus_controller.bench.overlay.statistics import Estimate
from opus_controller.model.errors import ScenarioError
from opus_controller.model.plan import Plan
from opus_controller.planner.choose import SPREAD, Curve, Forecast, curve, fewest

TRAIN = 1001
"""The planner's first course."""
DELAYED_FROM = 101
"""The first of those that delays are measured with."""
WORKERS = 2
DELAYS = "delays"
"""A row of its own: how long the overlay takes."""
DELAYED = 5
"""m there; without majorities 1, so that sides of cuts have none."""
MEMBERSHIPS = ("reconfigured", "static")
REGRET = 0.0005
"""To reach: five hundredths of a point, and m within ..."""
APART = 1


@dataclass(frozen=True)
class Scale:
    sizes: tuple[int, ...] = (1, 2, 3, 5, 7, 9, 15)
    courses: int = 60
    """That the planner sees."""


FULL = Scale()
QUICK = Scale(sizes=(1, 3, 7), courses=20)


@dataclass(frozen=True)
class Order:
    rows: Sequence[str] = ()
    """Families, memberships, or both as in cuts/static; none: all."""
    seeds: int = 10
    scale: Scale = FULL
    into: Path | None = None

    def __post_init__(self) -> None:
        known = (DELAYS, *FAMILIES, *MEMBERSHIPS, *(f"{one}/{other}" for one in FAMILIES for other in MEMBERSHIPS))
        if unknown := [row for row in self.rows if row not in known]:
            raise ScenarioError(f"--rows {','.join(unknown)}: not known; allowed: {', '.join(known)}")

    def wants(self, family: str, membership: str) -> bool:
        return not self.rows or bool({family, membership, f"{family}/{membership}"} & set(self.rows))


@dataclass(frozen=True)
class Spot:
    """One number of replicas, of one application."""

    replicas: int
    members: tuple[str, ...]
    """As named to those that stay; otherwise none."""
    measured: tuple[float, ...]
    """By seed."""
    forecast: tuple[float, ...]
    """The same courses of events."""
    planned: float
    """Over the courses that the planner saw."""

    @property
    def mean(self) -> float:
        return sum(self.measured) / len(self.measured)

    @property
    def told(self) -> float:
        """The forecast's mean."""
        return sum(self.forecast) / len(self.forecast)


@dataclass(frozen=True)
class Line:
    family: str
    membership: str
    mode: str
    spots: tuple[Spot, ...]
    chosen: int
    """m, by the planner."""
    sites: Mapping[str, int]

    @property
    def best(self) -> Spot:
        """The fewest that are as available as any number, as measured."""
        return self._of(fewest([(spot.replicas, spot.mean) for spot in self.spots]))

    @property
    def most(self) -> Spot:
        return max(self.spots, key=lambda spot: spot.mean)

    @property
    def ours(self) -> Spot:
        return self._of(self.chosen)

    @property
    def told(self) -> Spot:
        """What the planner would choose if it were given the very failures of these runs, as the best measured number is: whether
        its reckoning is right, without the luck of a few courses of events."""
        return self._of(fewest([(spot.replicas, spot.told) for spot in self.spots]))

    def _of(self, replicas: int) -> Spot:
        return next(spot for spot in self.spots if spot.replicas == replicas)

    @property
    def regret(self) -> Estimate:
        """Against the best, which is known for these very seeds only afterwards: partly it is their luck."""
        return self.lost(self.ours)

    def lost(self, spot: Spot) -> Estimate:
        """How much less available than the most that any number of replicas was measured to be."""
        return statistics.mean([best - here for best, here in zip(self.most.measured, spot.measured, strict=True)])

    @property
    def fair(self) -> Estimate:
        """Against the number that was best in all the other seeds."""
        found = []
        for k in range(len(self.ours.measured)):
            others = [(sum(s.measured) - s.measured[k], s) for s in self.spots]
            found.append(max(others, key=lambda one: one[0])[1].measured[k] - self.ours.measured[k])
        return statistics.mean(found) if len(found) > 1 else statistics.NOTHING

    def reached(self, spot: Spot) -> bool:
        """Whether a choice is as good as it was to be."""
        return self.lost(spot).value <= REGRET and abs(spot.replicas - self.best.replicas) <= APART

    @property
    def off(self) -> float:
        """Mean error of the forecast, where m is at least 3."""
        errors = [abs(spot.told - spot.mean) for spot in self.spots if spot.replicas >= 3]
        return sum(errors) / len(errors) if errors else 0.0


@dataclass
class Progress:
    on_progress: Callable[[str], None]
    count: int
    done: int = 0
    began: float = field(default_factory=time.monotonic)

    def step(self, what: str) -> None:
        self.done += 1
        left = (time.monotonic() - self.began) / self.done * (self.count - self.done)
        self.on_progress(f"{what} ({self.done} of {self.count}; {left:.0f} s to go)")


def measure(order: Order, on_progress: Callable[[str], None] = lambda news: None) -> list[Line]:
    """Raises what a run failed of."""
    if order.into is not None:
        order.into.mkdir(parents=True, exist_ok=True)
    wanted = [(family, membership) for family in FAMILIES for membership in MEMBERSHIPS if order.wants(family, membership)]
    curves: dict[tuple[str, str], dict[str, Curve]] = {}
    plans = [partial(planned, family, membership == "static", order.scale) for family, membership in wanted]
    for k, found in forks.each(plans, WORKERS):
        curves[wanted[k]] = found
        on_progress(f"planned {'/'.join(wanted[k])}")
    tasks = [
        (family, membership, seed, size)
        for seed in range(1, order.seeds + 1)
        for family, membership in wanted
        for size in order.scale.sizes
    ]
    progress = Progress(on_progress, len(tasks))
    counts: dict[tuple[str, str, int, int], Mapping[str, tuple[int, int]]] = {}
    jobs = [partial(counted, _plan(curves, *task), order.into) for task in tasks]
    for k, one in forks.each(jobs, WORKERS):
        counts[tasks[k]] = one
        progress.step(" ".join(map(str, tasks[k])))
    return list(_lines(order, curves, counts))


def delays(order: Order, on_progress: Callable[[str], None] = lambda news: None) -> list[Incident]:
    """Of other seeds than the table's and the planner's; what `planner.delays` has is from here."""
    tasks = []
    for family in FAMILIES:
        for seed in range(DELAYED_FROM, DELAYED_FROM + order.seeds):
            plan = plan_of(family, seed)
            spread = Forecast([plan], plan.apps[0].name, plan.apps[0].consistency, True).at(DELAYED, SPREAD).hosts
            for static, members in ((False, ()), (True, spread)):
                sizes = {app.name: Size(DELAYED if static or app.by_majority else 1, members) for app in plan.apps}
                tasks.append(partial(delayed, sized(plan, sizes, static=static)))
    progress = Progress(on_progress, len(tasks))
    found: list[Incident] = []
    for _, some in forks.each(tasks, WORKERS):
        found += some
        progress.step(DELAYS)
    return found


def planned(family: str, static: bool, scale: Scale) -> dict[str, Curve]:
    """By application: the planner's curve, from courses of its own."""
    plans = plans_of(family, range(TRAIN, TRAIN + scale.courses))
    return {app.name: curve(plans, app.name, app.consistency, scale.sizes, static=static) for app in plans[0].apps}


def _plan(curves: Mapping[tuple[str, str], Mapping[str, Curve]], family: str, membership: str, seed: int, size: int) -> Plan:
    static = membership == "static"
    members = {app: _members(one, size) if static else () for app, one in curves[family, membership].items()}
    return sized(plan_of(family, seed), {app: Size(size, members[app]) for app in members}, static=static)


def _members(curve: Curve, size: int) -> tuple[str, ...]:
    return next(point.hosts for point in curve.points if point.replicas == size)


def _lines(
    order: Order,
    curves: Mapping[tuple[str, str], Mapping[str, Curve]],
    counts: Mapping[tuple[str, str, int, int], Mapping[str, tuple[int, int]]],
) -> Iterator[Line]:
    seeds = range(1, order.seeds + 1)
    for (family, membership), by_app in sorted(curves.items()):
        plans = plans_of(family, seeds)
        for app, known in by_app.items():
            static = membership == "static"
            told = Forecast(plans, app, known.mode, static)
            spots = []
            for point in known.points:
                again = told.at(point.replicas, point.places).by_course
                measured = [counts[family, membership, seed, point.replicas][app] for seed in seeds]
                shares = tuple(ok / asked for asked, ok in measured)
                spots.append(Spot(point.replicas, point.hosts if static else (), shares, again, point.availability))
            yield Line(family, membership, known.mode, tuple(spots), known.best.replicas, known.best.sites)
