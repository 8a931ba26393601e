"""m and places: the best of several, and the curve around them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from opus_controller.model.plan import Plan
from opus_controller.planner.course import Span, course_of
from opus_controller.planner.membership import SECOND, Case, Course

SPREAD, NEAR, TOGETHER = "spread", "near", "together"
PLACES = (SPREAD, NEAR, TOGETHER)
"""One at each site in turn, most demand first; where all requests together travel least; all at the one best site first."""
GOOD = 0.0005
"""As good as the best: five hundredths of a point."""


@dataclass(frozen=True)
class Point:
    """One number of replicas in its best places."""

    replicas: int
    places: str
    sites: Mapping[str, int]
    """How many where, at first."""
    availability: float
    by_course: tuple[float, ...]
    """Of each course of events."""


@dataclass(frozen=True)
class Curve:
    mode: str
    static: bool
    points: tuple[Point, ...]

    @property
    def best(self) -> Point:
        """The fewest replicas that are as available as any number of them."""
        most = max(point.availability for point in self.points)
        return next(point for point in self.points if point.availability >= most - GOOD)


def curve(
    plans: Sequence[Plan], app: str, mode: str, sizes: Iterable[int], *, static: bool = False, replace: int = 6 * SECOND
) -> Curve:
    """Of one scenario's plans, each of another seed: the same hosts, other failures."""
    courses = [course_of(plan) for plan in plans]
    rates = [_rates(plan, app) for plan in plans]
    staleness = next(one.staleness_ns for one in plans[0].apps if one.name == app)
    points = []
    for size in sizes:
        found = []
        for places in PLACES:
            order = placed(plans[0], rates[0], places, size)
            case = Case(mode, tuple(order[:size]), tuple(order[size:]), static, replace, staleness)
            shares = tuple(
                Course(case, rate).play(_asked(spans, plan)) for spans, plan, rate in zip(courses, plans, rates, strict=True)
            )
            asked = sum(share.asked for share in shares)
            mean = sum(share.answered for share in shares) / asked if asked else 1.0
            found.append(Point(size, places, _sites(plans[0], order[:size]), mean, tuple(one.availability for one in shares)))
        points.append(max(found, key=lambda point: point.availability))
    return Curve(mode, static, tuple(points))


def _asked(spans: Sequence[Span], plan: Plan) -> list[Span]:
    """From when clients ask on."""
    start = min((load.start_ns for load in plan.workload), default=0)
    return [
        span if span.start >= start else Span(start, span.end, span.lives, span.paused, span.cuts)
        for span in spans
        if span.end > start
    ]


def _rates(plan: Plan, app: str) -> dict[str, tuple[float, float]]:
    rates: dict[str, tuple[float, float]] = {}
    for load in plan.workload:
        if load.app == app:
            reads, writes = rates.get(load.client, (0.0, 0.0))
            more = load.rate_per_s * load.write_share
            rates[load.client] = (reads + load.rate_per_s - more, writes + more)
    return rates


def _sites(plan: Plan, hosts: Iterable[str]) -> dict[str, int]:
    site = {host.name: host.site for host in plan.hosts}
    found: dict[str, int] = {}
    for host in hosts:
        found[site[host]] = found.get(site[host], 0) + 1
    return found


def placed(plan: Plan, rates: Mapping[str, tuple[float, float]], places: str, size: int) -> list[str]:
    """All hosts, in the order in which they would keep the data."""
    rest: dict[str, list[str]] = {site: [] for site in plan.sites}
    for host in plan.hosts:
        rest[host.site].append(host.name)
    demand = dict.fromkeys(plan.sites, 0.0)
    for host in plan.hosts:
        demand[host.site] += sum(rates.get(host.name, (0.0, 0.0)))
    delay = [[plan.paths.shapes[plan.paths.index[i][j]].delay_ns for j in range(len(plan.sites))] for i in range(len(plan.sites))]
    if places == NEAR:
        turns = _near(plan, demand, delay, size)
    else:
        total = {a: sum(demand[b] * delay[i][j] for j, b in enumerate(plan.sites)) for i, a in enumerate(plan.sites)}
        turns = sorted(plan.sites, key=lambda site: (-demand[site], total[site]) if places == SPREAD else (total[site], site))
    if places == TOGETHER:
        return [host for site in turns for host in rest[site]]
    order = list(islice(_in_turn(turns, rest), size))
    return [*order, *_in_turn(plan.sites, rest)]


def _in_turn(sites: Sequence[str], rest: Mapping[str, list[str]]) -> Iterator[str]:
    """A host of each site, again and again; they are taken out of `rest`."""
    while any(rest[site] for site in sites):
        for site in sites:
            if rest[site]:
                yield rest[site].pop(0)


def _near(plan: Plan, demand: Mapping[str, float], delay: Sequence[Sequence[int]], size: int) -> list[str]:
    """Sites one after the other, each where it shortens all ways most (greedy k-median)."""
    chosen: list[int] = []
    while len(chosen) < min(size, len(plan.sites)):
        left = [i for i in range(len(plan.sites)) if i not in chosen]

        def cost(i: int) -> float:
            return sum(demand[site] * min(delay[j][k] for k in (*chosen, i)) for j, site in enumerate(plan.sites))

        chosen.append(min(left, key=cost))
    return [plan.sites[i] for i in chosen]
