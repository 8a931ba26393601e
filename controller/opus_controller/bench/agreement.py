"""How far two runs of one plan agree in what their clients felt: real hosts and the simulator, request by request pooled.

Spans in which the machine was too busy for the real hosts' figures to mean anything are left out of *both* sides: the clients
ask at the same times in every runtime, so what is left out there is left out here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from opus_controller.bench.overlay.hotspot import back_after, settles_at
from opus_controller.bench.overlay.oracles import Floats
from opus_controller.bench.overlay.statistics import NOTHING, Estimate, mean
from opus_controller.report.figures import Judged, comparable
from opus_controller.report.machine import inside
from opus_controller.report.requests import ROUTES, Requests
from opus_controller.report.run import Run
from opus_controller.report.world import FaultSeen, Ints, Paths

SECOND = 1_000_000_000
LAST_S = 60.0
"""What latency settles at is the mean of so many seconds at the end (DESIGN section 7)."""
MEDIAN_WITHIN = 0.10
P95_WITHIN = 0.20
AVAILABILITY_POINTS = 0.1

Spans = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Felt:
    """By the clients of one run, or of several pooled. Times in ms; empty lists where a plan has no such event."""

    routing_ms: Floats
    """Routing latency of every ok request that counts."""
    ok: int
    issued: int
    cut_off: tuple[int, int] = (0, 0)
    """ok and issued of the requests whose client had no way to a live replica when it issued them. How many they are depends on
    whom a fault cuts off."""
    beyond_ms: Floats = field(default_factory=lambda: np.zeros(0))
    """Of each request that a client sent straight to the replica that answered: routing latency less the plan's path."""
    best_ms: Floats = field(default_factory=lambda: np.zeros(0))
    """One way from a client to the best live replica by the plan, for every ok request: where the replicas are."""
    stretched_ms: tuple[float, float] = (0.0, 0.0)
    """Sums of routing latencies, and of ways to the best, over the requests that stretch is about (DESIGN section 7)."""
    at_nearest: tuple[int, int] = (0, 0)
    """Hosts whose agent was the nearest by the plan when demand began, and all that had one. Where hosts wait for a processor
    while they start, they measure that wait, go to others, and replicas are placed by it for a while."""
    after_fault_s: tuple[float, ...] = ()
    """Of each surviving client's first request that a power-off could harm, from then to its answer; inf if there was none."""
    back_s: tuple[float, ...] = ()
    """Of each run whose demand moves: seconds until latency was back within 10% of what it settled at."""
    back_path_s: tuple[float, ...] = ()
    """The same had each request taken its path's time and no more: when the right ones served, whatever the machine did then."""

    def quantile(self, q: float) -> float:
        return float(np.quantile(self.routing_ms, q)) if len(self.routing_ms) else float("nan")

    @property
    def mean_ms(self) -> float:
        """What placement goes by: sets of nearly the same mean differ much in their median."""
        return float(np.mean(self.routing_ms)) if len(self.routing_ms) else float("nan")

    @property
    def availability(self) -> float:
        return self.ok / self.issued if self.issued else float("nan")

    @property
    def availability_reachable(self) -> float:
        ok, issued = self.ok - self.cut_off[0], self.issued - self.cut_off[1]
        return ok / issued if issued else float("nan")

    @property
    def stretch(self) -> float:
        over, under = self.stretched_ms
        return over / under if under else float("nan")

    def served_within(self, seconds: float) -> float:
        return float(np.mean([took <= seconds for took in self.after_fault_s]))


def felt(run: Run, left_out: Spans = ()) -> Felt:
    """What counts of one run: without what was under way in `left_out` (s since the origin)."""
    judged = run.everyone.where(~inside(run.everyone.requests, left_out))
    requests = judged.requests
    moved, compared, cut = _moves_at(run), comparable(judged), ~judged.oracle.reachable
    return Felt(
        routing_ms=requests.routing_ns[requests.ok] / 1e6,
        ok=int(requests.ok.sum()),
        issued=requests.size,
        cut_off=(int(requests.ok[cut].sum()), int(cut.sum())),
        beyond_ms=_beyond(run, requests),
        best_ms=judged.oracle.best[requests.ok & judged.oracle.reachable] / 1e6,
        stretched_ms=(_sum_ms(requests.routing_ns[compared]), _sum_ms(judged.oracle.best[compared])),
        at_nearest=_at_nearest(run),
        after_fault_s=tuple(
            took for fault in run.world.faults if fault.kind == "power-off" for took in _answers(run, judged, fault)
        ),
        back_s=() if moved is None else (_back(run, requests, requests.arrived, moved),),
        back_path_s=() if moved is None else (_back(run, requests, requests.issued + _path_ns(run, requests), moved),),
    )


def pooled(runs: Iterable[Felt]) -> Felt:
    some = list(runs)
    return Felt(
        routing_ms=np.concatenate([one.routing_ms for one in some]),
        ok=sum(one.ok for one in some),
        issued=sum(one.issued for one in some),
        cut_off=(sum(one.cut_off[0] for one in some), sum(one.cut_off[1] for one in some)),
        beyond_ms=np.concatenate([one.beyond_ms for one in some]),
        best_ms=np.concatenate([one.best_ms for one in some]),
        stretched_ms=(sum(one.stretched_ms[0] for one in some), sum(one.stretched_ms[1] for one in some)),
        at_nearest=(sum(one.at_nearest[0] for one in some), sum(one.at_nearest[1] for one in some)),
        after_fault_s=tuple(took for one in some for took in one.after_fault_s),
        back_s=tuple(took for one in some for took in one.back_s),
        back_path_s=tuple(took for one in some for took in one.back_path_s),
    )


def _sum_ms(times: Ints) -> float:
    return float(times.sum()) / 1e6


def _beyond(run: Run, requests: Requests) -> Floats:
    direct = requests.where(requests.ok & (requests.replica >= 0) & (requests.route == ROUTES.index("direct")))
    return (direct.routing_ns - _path_ns(run, direct)) / 1e6


def _path_ns(run: Run, requests: Requests) -> Ints:
    """One way from each client to the replica that answered, where paths stay as they are in the plan; 0 if none did."""
    geometry = run.world.geometry
    path = Paths(geometry).one_way(np.arange(geometry.size))[requests.client, requests.replica]
    return np.where(requests.replica >= 0, path, 0)


def _at_nearest(run: Run) -> tuple[int, int]:
    if run.workload_start is None:
        return 0, 0
    state = run.world.state_at(run.workload_start)
    agents = np.array(sorted(state.agents), dtype=np.int64)
    ways = Paths(run.world.geometry).one_way(agents)
    told = [(host, agent) for host, agent in state.agent_of.items() if agent in state.agents and host not in state.agents]
    return sum(bool(ways[host, agents == agent] == ways[host].min()) for host, agent in told), len(told)


def _answers(run: Run, judged: Judged, fault: FaultSeen) -> list[float]:
    """Seconds from when it counts (its issue, or the fault that struck it on its way) to the answer, one a client."""
    requests = judged.requests
    victims = {run.world.geometry.index[name] for name in fault.victims}
    first: dict[int, float] = {}
    for i in np.argsort(judged.charged, kind="stable").tolist():
        client = int(requests.client[i])
        if judged.charged[i] >= fault.t and client not in victims and client not in first:
            first[client] = (requests.done[i] - judged.charged[i]) / SECOND if requests.ok[i] else float("inf")
    return list(first.values())


def struck_elsewhere(real: Run, simulated: Sequence[Run]) -> list[str]:
    """Words for every fault of the timeline that struck other hosts in the simulator: who is a replica is known only while
    running, and what a fault costs depends on whom it strikes."""
    found = []
    for fault in real.world.faults:
        there = [{seen.name: seen.victims for seen in run.world.faults}.get(fault.name, ()) for run in simulated]
        others = dict.fromkeys(_listed(victims) for victims in there if set(victims) != set(fault.victims))
        if others and not fault.undoes:
            found.append(f"{fault.name} struck {_listed(fault.victims)}; in sim {', or '.join(others)}")
    return found


def _listed(names: Sequence[str]) -> str:
    return ", ".join(sorted(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") if names else "nobody"


def _moves_at(run: Run) -> int | None:
    """When some clients stop to ask and others begin, ns; None if demand does not move."""
    stops = {load.stop_ns for load in run.plan.workload}
    return min((load.start_ns for load in run.plan.workload if load.start_ns in stops), default=None)


def _back(run: Run, requests: Requests, arrived: Ints, moved_at: int) -> float:
    names = [host.name for host in run.plan.hosts]
    rows = zip(requests.client.tolist(), requests.ok.tolist(), requests.issued.tolist(), arrived.tolist(), strict=True)
    records = [
        {"host": names[client], "outcome": "ok" if ok else "failed", "issued_at": issued, "arrived_at": arrived_at}
        for client, ok, issued, arrived_at in rows
        if issued >= moved_at
    ]
    last = run.plan.duration_ns - round(LAST_S * SECOND)
    return back_after(records, settles_at(records, last), moved_at, last)


@dataclass(frozen=True)
class Line:
    """One figure on real hosts, in the simulator with the hop cost measured here, and with the release's."""

    what: str
    unit: str
    real: float
    calibrated: float
    release: float
    within: float | None = None
    """The most by which `calibrated` may be off, a share of it; for a share in %, see `points`."""
    points: float | None = None
    """The same in percentage points."""
    by_seed: Estimate = NOTHING
    """Of each seed's `off`: mean and 95% interval over seeds. Requests of one seed are not independent, they share who serves."""

    @property
    def off(self) -> float:
        """real / calibrated, less 1; of a share in %, the difference in points."""
        return off(self.unit, self.real, self.calibrated)

    @property
    def off_release(self) -> float:
        return off(self.unit, self.real, self.release)

    @property
    def ok(self) -> bool | None:
        if self.within is not None:
            return abs(self.off) <= self.within
        if self.points is not None:
            return abs(self.off) <= self.points
        return None

    @property
    def promised(self) -> str:
        if self.within is not None:
            return f"within {self.within:.0%}"
        return "" if self.points is None else f"within {self.points:g} points"


def off(unit: str, real: float, simulated: float) -> float:
    """As a share of the simulated one, nan of nothing; of what is a share itself, in points."""
    if unit == "%":
        return real - simulated
    return real / simulated - 1 if simulated else float("nan")


def lines(label: str, real: Sequence[Felt], calibrated: Sequence[Felt], release: Sequence[Felt]) -> list[Line]:
    """Every figure that all three have, seed by seed in the same order, of all requests pooled. The promised bounds are issue 4's
    and issue 7's."""
    sides = [pooled(side) for side in (real, calibrated, release)]

    def line(what: str, unit: str, figure: Callable[[Felt], float]) -> Line:
        pairs = [(figure(one), figure(other)) for one, other in zip(real, calibrated, strict=True)]
        by_seed = mean([off(unit, one, other) for one, other in pairs])
        of_all, simulated, released = (figure(side) for side in sides)
        return Line(f"{label}: {what}", unit, of_all, simulated, released, by_seed=by_seed)

    count = sides[0].issued
    found = [
        replace(line(f"routing latency, median of {count:,}", "ms", lambda s: s.quantile(0.5)), within=MEDIAN_WITHIN),
        replace(line("routing latency, p95", "ms", lambda s: s.quantile(0.95)), within=P95_WITHIN),
        line("routing latency, mean", "ms", lambda s: s.mean_ms),
        replace(line("availability", "%", lambda s: 100 * s.availability), points=AVAILABILITY_POINTS),
    ]
    if any(side.cut_off[1] for side in sides):
        who = "availability where a replica could be reached"
        found.append(replace(line(who, "%", lambda s: 100 * s.availability_reachable), points=AVAILABILITY_POINTS))
    if all(len(side.beyond_ms) for side in sides):
        found.append(line("direct requests beyond their path, median", "ms", lambda s: float(np.median(s.beyond_ms))))
    if all(len(side.best_ms) for side in sides):
        found.append(line("way to the best live replica, median", "ms", lambda s: float(np.median(s.best_ms))))
        found.append(line("stretch", "", lambda s: s.stretch))
    if all(side.at_nearest[1] for side in sides):
        who = "hosts at their nearest agent when demand began"
        found.append(line(who, "%", lambda s: 100 * s.at_nearest[0] / s.at_nearest[1] if s.at_nearest[1] else float("nan")))
    if all(side.after_fault_s for side in sides):
        who = f"of {len(sides[0].after_fault_s)} clients left, first request served within"
        found.append(line(f"{who} 2 s", "%", lambda s: 100 * s.served_within(2)))
        found.append(line(f"{who} 6 s", "%", lambda s: 100 * s.served_within(6)))
    if all(side.back_s for side in sides):
        found.append(line("latency back within 10% of settled", "s", lambda s: float(np.mean(s.back_s))))
        found.append(line("the same by paths alone", "s", lambda s: float(np.mean(s.back_path_s))))
    return found
