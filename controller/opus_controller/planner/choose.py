"""m and places: the best of several, and the curve around them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from opus_controller.model.plan import App, Plan
from opus_controller.planner.course import Span, course_of
from opus_controller.planner.delays import MEASURED, Delays
from opus_controller.planner.membership import Case, Course

SPREAD, NEAR, TOGETHER = "spread", "near", "together"
PLACES = (SPREAD, NEAR, TOGETHER)
"""One at each site in turn, most demand first; where all requests together travel least; all at the one best site first. Which of
them, is a choice for members that stay (`members` of a scenario); others the overlay places, by delay (NEAR)."""
LAST = 400_000_000
"""A request that is to be answered by its deadline is asked for the last time about so long before: a round trip or two."""
GOOD = 0.0005
"""As good as the best: five hundredths of a point."""


@dataclass(frozen=True)
class Point:
    """One number of replicas in its best places."""

    replicas: int
    places: str
    hosts: tuple[str, ...]
    """Who keeps the data at first; where members are replaced, only about."""
    sites: Mapping[str, int]
    """How many of them where."""
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
        chosen = fewest([(point.replicas, point.availability) for point in self.points])
        return next(point for point in self.points if point.replicas == chosen)


def fewest(points: Sequence[tuple[int, float]]) -> int:
    """Of (replicas, availability): the fewest that are as available as any number of them; 0 of none."""
    most = max((share for _, share in points), default=0.0)
    return next((size for size, share in sorted(points) if share >= most - GOOD), 0)


def curve(
    plans: Sequence[Plan], app: str, mode: str, sizes: Iterable[int], *, static: bool = False, delays: Delays = MEASURED
) -> Curve:
    """Of one scenario's plans, each of another seed: the same hosts, other failures."""
    told = Forecast(plans, app, mode, static, delays)
    points = []
    for size in sizes:
        found = [told.at(size, places) for places in (PLACES if static else (NEAR,))]
        points.append(max(found, key=lambda point: point.availability))
    return Curve(mode, static, tuple(points))


class Forecast:
    """Of one application under several courses of events."""

    def __init__(self, plans: Sequence[Plan], app: str, mode: str, static: bool, delays: Delays = MEASURED) -> None:
        self._plans = plans
        self._app = next(one for one in plans[0].apps if one.name == app)
        self._mode, self._static, self._delays = mode, static, delays
        self._rates = [_rates(plan, app) for plan in plans]
        self._courses = [_asked(course_of(plan), plan) for plan in plans]
        loads = [load for load in plans[0].workload if load.app == app]
        self._patience = max(0, min((load.deadline_ns for load in loads), default=0) - LAST)
        self._keys = (loads[0].keys, loads[0].zipf) if loads else (1, 0.0)
        self._site = {host.name: host.site for host in plans[0].hosts}

    def at(self, size: int, places: str) -> Point:
        order = placed(self._plans[0], self._rates[0], places, size, able(self._plans[0], self._app))
        return self.of(order[:size], order[size:], places)

    def of(self, hosts: Sequence[str], spares: Sequence[str], places: str = "") -> Point:
        shares = tuple(
            Course(self._case(hosts, spares, k), rate).play(spans)
            for k, (spans, rate) in enumerate(zip(self._courses, self._rates, strict=True))
        )
        asked = sum(share.asked for share in shares)
        mean = sum(share.answered for share in shares) / asked if asked else 1.0
        sites = _sites(self._plans[0], hosts)
        return Point(len(hosts), places, tuple(hosts), sites, mean, tuple(one.availability for one in shares))

    def _case(self, hosts: Sequence[str], spares: Sequence[str], k: int) -> Case:
        """The overlay takes which steward it likes and, where members are replaced, which hosts of a site: here others in each
        course."""
        if not self._static:
            order = self._shifted([*hosts, *spares], k)
            hosts, spares = order[: len(hosts)], order[len(hosts) :]
        return Case(
            self._mode,
            tuple(hosts),
            tuple(spares),
            self._static,
            self._delays,
            self._steward(k),
            self._keys,
            self._app.staleness_ns,
            self._patience,
        )

    def _steward(self, k: int) -> str:
        sites = self._plans[0].sites
        here = [host for host, site in self._site.items() if site == sites[k % len(sites)]]
        return here[k // len(sites) % len(here)] if here else ""

    def _shifted(self, order: Sequence[str], k: int) -> list[str]:
        by_site: dict[str, list[str]] = {}
        for host in order:
            by_site.setdefault(self._site[host], []).append(host)
        turns = {site: iter([*some[k % len(some) :], *some[: k % len(some)]]) for site, some in by_site.items()}
        return [next(turns[self._site[host]]) for host in order]


def able(plan: Plan, app: App) -> list[str]:
    """Hosts that have what a replica needs."""
    return [h.name for h in plan.hosts if h.abilities.memory >= app.memory and h.abilities.storage >= app.storage]


def _asked(spans: Sequence[Span], plan: Plan) -> list[Span]:
    """From when clients ask on."""
    start = min((load.start_ns for load in plan.workload), default=0)
    return [span if span.start >= start else replace(span, start=start) for span in spans if span.end > start]


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


def placed(
    plan: Plan, rates: Mapping[str, tuple[float, float]], places: str, size: int, among: Sequence[str] | None = None
) -> list[str]:
    """All hosts, or those `among` them, in the order in which they would keep the data."""
    rest: dict[str, list[str]] = {site: [] for site in plan.sites}
    for host in plan.hosts:
        if among is None or host.name in among:
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
