"""What an application's users may be expected to feel if certain hosts serve it, before any of them does.

    requests     to the nearest host with room first, as tolls have it (`load`): pairs of place and host by round trip, each host
                 up to the fraction E of its cores at which the system begins to overload (`sizing`)
    latency      round trip + service time + mean wait at that use (M/D/1), at a quantile over answered requests
    availability hosts live or die independently of each other, and k of them carry k d E (`sizing.outlook`)
    throughput   demand x availability

What is asked for beyond E is turned away, so overload costs availability, not latency.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from opus_node.core.sizing import ASSUMED, Prospect, outlook
from opus_node.core.types import SECOND, AppId, NodeId
from opus_node.core.utility import NOTHING, Felt, Utility

MOST = 1 << 30
TINY = 1e-9
"""Requests/s: less is nothing but rounding."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A host that may serve one application. Who would share a host among several makes several units of it."""

    name: NodeId
    cores: float
    up: float = 1.0
    """Probability that it lives through the time it takes to replace it (`stability.survives`)."""


@dataclass(frozen=True, slots=True)
class Need:
    """An application as its steward knows it."""

    app: AppId
    utility: Utility
    demand: Sequence[float]
    """Requests/s by place (an agent's nodes)."""
    rtts: Mapping[NodeId, Sequence[float]]
    """By unit, nanoseconds from each place. Who is missing cannot serve it."""
    cost: float
    """Core-seconds a request; 0: it costs nothing that is counted."""
    e: float = ASSUMED
    """Fraction in use when it begins to overload (`sizing.Knee`), below 1."""
    floor: int = 0
    """Units that it is promised."""
    most: int = MOST
    moving: float = 0.0
    """What it costs, in utility, that one more unit begins to serve it: state sent, caches cold."""
    queue: float = inf
    """Nanoseconds: who would wait longer for his turn is turned away, so nobody does."""


class Forecast:
    """Of one application; remembers what it has worked out. Units are told by their positions in `units`."""

    __slots__ = ("_kinds", "_known", "_pairs", "_units", "count", "demand", "need")

    def __init__(self, need: Need, units: Sequence[Unit]) -> None:
        self.need = need
        self.demand = sum(need.demand, 0.0)
        self._units = units
        alike: dict[object, int] = {}
        told = [tuple(need.rtts.get(one.name, ())) for one in units]
        self._kinds = [alike.setdefault((one.cores, one.up, rtts), len(alike)) for one, rtts in zip(units, told, strict=True)]
        """Units of one kind are all the same to it."""
        self._pairs = [
            [(rtt, place, self._kinds[u], u) for place, rtt in enumerate(rtts) if need.demand[place] > 0]
            for u, rtts in enumerate(told)
        ]
        self._known: dict[tuple[int, ...], Felt] = {}
        self.count = 0
        """Forecasts worked out."""

    def can(self, unit: int) -> bool:
        return self._units[unit].name in self.need.rtts

    def felt(self, members: Sequence[int]) -> Felt:
        key = tuple(sorted([self._kinds[u] for u in members]))
        found = self._known.get(key)
        if found is None:
            self.count += 1
            found = self._known[key] = self._worked_out(members)
        return found

    def _worked_out(self, members: Sequence[int]) -> Felt:
        need = self.need
        able = [u for u in members if self._units[u].cores > 0]
        if not able:
            return NOTHING
        prospects = [Prospect(self._units[u].cores, self._units[u].up) for u in able]
        answered = outlook(prospects, self.demand * need.cost, need.e).availability
        return Felt(self._latency(able), answered, self.demand * answered)

    def _latency(self, able: Sequence[int]) -> float:
        """At the quantile of what is answered while all live."""
        need = self.need
        if self.demand <= 0:
            return 0.0
        room = {u: self._units[u].cores * need.e / need.cost if need.cost > 0 else inf for u in able}
        flows = self._flows(able, room)
        used = dict.fromkeys(able, 0.0)
        for _, u, rate in flows:
            used[u] += rate
        waits = {u: self._stays(used[u] * need.cost / self._units[u].cores) for u in able}
        return _quantile(sorted([(rtt + waits[u], rate) for rtt, u, rate in flows]), need.utility.quantile)

    def _flows(self, able: Sequence[int], room: dict[int, float]) -> list[tuple[float, int, float]]:
        """(round trip, unit, requests/s); takes from `room`."""
        left = list(self.need.demand)
        flows = []
        for rtt, place, _, u in sorted([pair for one in able for pair in self._pairs[one]]):
            rate = min(left[place], room[u])
            if rate > TINY:
                left[place] -= rate
                room[u] -= rate
                flows.append((rtt, u, rate))
        return flows

    def _stays(self, used: float) -> float:
        """Nanoseconds at a host in such use: M/D/1."""
        cost = self.need.cost * SECOND
        return cost + min(cost * used / (2.0 * (1.0 - min(used, 0.99))), self.need.queue)


def _quantile(weighed: Sequence[tuple[float, float]], quantile: float) -> float:
    """The least value that so much of all weight does not exceed; values ascend."""
    wanted = quantile * sum([weight for _, weight in weighed], 0.0) * (1.0 - TINY)
    for value, weight in weighed:
        wanted -= weight
        if wanted <= 0:
            return value
    return inf
