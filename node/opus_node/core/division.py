"""Hosts divided among the applications that have a utility, while they run (ADR 43).

    steward of all of them = rendezvous hash of one name          so what competes is known in one place, and fenced as sets are

    summaries, beats --Party--> needs, units --allocate--> members of each --epochs in common--> replica sets

A host serves one of these applications: should two stewards have given it away, the one whose set was decided last
(`sets.claimed`). Decided every EVERY, sooner when a member is lost or demand moves, and only if what counts has changed.
A host moves only for more than MOVING, so small gains move nobody. How a division came about is told as notices (`HostsDivided`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from opus_node.core.allocate import Account, Allocation, Grant, allocate
from opus_node.core.cluster import Cluster
from opus_node.core.events import HostsDivided
from opus_node.core.forecast import Need, Unit
from opus_node.core.landscape import Asked, Landscape
from opus_node.core.messages import ReplicaSet
from opus_node.core.needs import need_of, units_of
from opus_node.core.sizing import E_MOST
from opus_node.core.types import MILLISECOND, SECOND, AppConfig, AppId, Nanos, NodeId

NAME = "| hosts by utility |"
"""What is hashed for the steward of all these applications; no application can have that name."""
EVERY: Nanos = 5 * SECOND
LEAST: Nanos = SECOND
"""Between two decisions, whatever happens ..."""
PACE: Nanos = 2500 * MILLISECOND
"""... and between two while demand moves: what is told of it is late, and hosts given on it too soon come back."""
RISING = 1.5
"""What is asked lately is taken for so much more at most than what is told, which lags behind: it rests on few requests."""
MOVED = 0.25
"""Of an application's demand, with any agent: so much more or less is worth a decision at once ..."""
CHANCE = 4.0
"""... if it is also beyond so many deviations of what was counted."""
DRIFTED = 0.05
"""Of demand, or of what a request costs: less than this, and the same hosts known, is as it was, nothing to decide."""
COUNTED_S = 5.0
"""A rate that begins to move rests on about so many seconds' requests: one lease."""

MOVING = 0.1
"""Of an application's worth, if all hosts that it needs were new to it: what they must bring it. All who use it look again,
caches are cold, and demand is known to a tenth or so."""
RENT = 0.002
"""Of the mean worth of an application: what a host must bring to be held, so that what is worth nothing is left free."""
YOUNG: Nanos = 1200 * SECOND
"""No less is a host's life believed to be measured by: where all have just begun, a minute's age alone would say that one in
twelve dies within the next five seconds, and an application of little worth would get hosts against that."""
UNITS = 48
"""Hosts considered at most, besides those that serve: of each application and place in turn the nearest."""
STEP: Nanos = 10 * MILLISECOND
"""Round trips are told apart by so much, and chances to die by their first digit: most hosts of a place are alike then, and what
was worked out for one holds for all. Without that a thousand forecasts were too few for 25 hosts."""
EFFORT = 500
"""Forecasts at most, about: 0.1 s of a core, in which the node does nothing else. What is left to gain is gained at the next
decision (ADR 43 has figures)."""


@dataclass(frozen=True, slots=True)
class Party:
    """One application, as its steward knows it."""

    config: AppConfig
    clusters: Mapping[NodeId, Cluster]
    land: Landscape
    members: tuple[NodeId, ...]
    """Who serves it; empty before the first set."""
    e: float
    cost: float
    """Core-seconds a request, as far as known."""

    @property
    def app(self) -> AppId:
        return self.config.name


class Division:
    """When it is time, and what was decided on; one an agent, used while it is steward."""

    __slots__ = ("_at", "_due", "_known", "_look_at")

    def __init__(self) -> None:
        self._at: Nanos = -EVERY
        self._due: Nanos = 0
        self._look_at: Nanos = 0
        self._known: dict[AppId, Known] = {}

    def hurry(self) -> None:
        """Something has happened that cannot wait: it is due, and what was decided on is out of date."""
        self._due = 0
        self._look_at = 0
        self._known = {}

    def begins(self, now: Nanos) -> None:
        """In office from now on: what the hosts carry is not known yet."""
        self._due = now + EVERY
        self._known = {}

    def looks(self, now: Nanos) -> bool:
        """Once in LEAST."""
        if now < self._look_at or not self.free(now):
            return False
        self._look_at = now + LEAST
        return True

    def free(self, now: Nanos) -> bool:
        return now - self._at >= LEAST

    def due(self, now: Nanos) -> bool:
        return now >= self._due

    def paced(self, now: Nanos) -> bool:
        """Whether demand that goes on moving may be followed again."""
        return now - self._at >= PACE

    def left(self, rates: Mapping[AppId, Mapping[NodeId, float]]) -> bool:
        """Whether what is asked of any, by agent, has moved from what was decided on."""
        return any(_left(self._known[app].rates, asked) for app, asked in rates.items() if app in self._known)

    def decide(self, parties: Sequence[Party], now: Nanos) -> Allocation | None:
        """None where nothing has changed that counts."""
        self._at, self._due = now, now + EVERY
        known = {one.app: _known(one) for one in parties}
        if _alike(self._known, known):
            return None
        self._known = known
        return divided(parties)


@dataclass(frozen=True, slots=True)
class Known:
    """What was decided on, of one application."""

    where: tuple[object, ...]
    """Who serves, who could, and who may not."""
    rates: Mapping[NodeId, float]
    """As told, by agent: requests/s."""
    cost: float


def _known(one: Party) -> Known:
    where = (one.members, one.land.knowledge(), tuple(one.land.barred))
    return Known(where, {agent: cluster.summary.rate for agent, cluster in one.clusters.items()}, one.cost)


def _left(then: Mapping[NodeId, float], now: Mapping[NodeId, float]) -> bool:
    """Whether demand has moved so far: by the sum of what each agent's has changed by, so also from one to another."""
    whole = max(sum(then.values(), 0.0), sum(now.values(), 0.0))
    change = _change(then, now)
    return change > MOVED * whole and change * COUNTED_S > CHANCE * (whole * COUNTED_S) ** 0.5


def _change(then: Mapping[NodeId, float], now: Mapping[NodeId, float]) -> float:
    agents = dict.fromkeys((*then, *now))
    up = sum((max(0.0, now.get(agent, 0.0) - then.get(agent, 0.0)) for agent in agents), 0.0)
    down = sum((max(0.0, then.get(agent, 0.0) - now.get(agent, 0.0)) for agent in agents), 0.0)
    return max(up, down)


def _alike(then: Mapping[AppId, Known], now: Mapping[AppId, Known]) -> bool:
    return then.keys() == now.keys() and all(
        then[app].where == one.where
        and _change(then[app].rates, one.rates) <= DRIFTED * sum(one.rates.values(), 0.0)
        and abs(then[app].cost - one.cost) <= DRIFTED * one.cost
        for app, one in now.items()
    )


# One decision


def divided(parties: Sequence[Party], effort: int = EFFORT) -> Allocation:
    """Who should serve whom. Each application has one host at least while there are as many: a set is never empty."""
    units = _shortlist(parties)
    needs = [_need(one) for one in parties]
    now = {node: one.app for one in parties for node in one.members}
    rent = RENT * sum((need.utility.worth for need in needs), 0.0) / max(1, len(needs))
    return allocate(units, needs, now, rent, effort)


def _need(one: Party) -> Need:
    utility = one.config.utility
    assert utility is not None, "only what has a utility is divided"
    floor = max(1, one.config.floor)
    need = need_of(one.config, utility, one.clusters, one.land, min(one.e, E_MOST), floor, cost=one.cost)
    rtts = {node: [round(rtt / STEP) * STEP for rtt in rtts] for node, rtts in need.rtts.items()}
    return replace(need, rtts=rtts, moving=MOVING * utility.worth / _needed(need, one.land) if one.members else 0.0)


def _needed(need: Need, land: Landscape) -> float:
    """Hosts that its demand takes, about; at least those promised."""
    cores = sum((one.cpu for one in land.candidates), 0.0) / max(1, len(land.candidates))
    return max(need.floor, sum(need.demand, 0.0) * need.cost / need.e / cores if cores > 0 else 0.0)


def _shortlist(parties: Sequence[Party]) -> list[Unit]:
    """Those that serve, and of each application and place in turn the nearest."""
    units = {one.name: _rough(one) for one in units_of([one.land for one in parties], YOUNG)}
    chosen = dict.fromkeys(node for one in parties for node in one.members if node in units)
    queues = [queue for one in parties for queue in _nearest(one)]
    most = len(chosen) + UNITS
    for turn in range(max(map(len, queues), default=0)):
        chosen.update(dict.fromkeys(queue[turn] for queue in queues if turn < len(queue)))
        if len(chosen) >= most:
            break
    return [units[node] for node in [*chosen][:most]]


def _rough(one: Unit) -> Unit:
    return replace(one, up=1.0 - float(f"{1.0 - one.up:.0e}"))


def _nearest(one: Party) -> list[list[NodeId]]:
    """By place, the candidates, the nearest first; places by what they ask."""
    ways = [
        (candidate.node, one.land.ways(candidate)) for i, candidate in enumerate(one.land.candidates) if i not in one.land.barred
    ]
    agents = sorted(one.clusters)
    order = sorted(range(len(agents)), key=lambda k: (-one.land.demand[agents[k]], agents[k]))
    return [[node for node, way in sorted(ways, key=lambda each: (each[1][k], each[0]))] for k in order]


def changed(
    found: Allocation, parties: Sequence[Party], known: Sequence[ReplicaSet | None], barred: Collection[NodeId]
) -> list[tuple[AppId, tuple[NodeId, ...]]]:
    """Whose replica sets are others now. Members that no agent tells of, but that are not lost, stay; a set is never emptied."""
    granted = {one.app: one.units for one in found.accounts}
    changes = []
    for one, before in zip(parties, known, strict=True):
        untold = [node for node in one.members if node not in one.land.index and node not in barred]
        members = tuple(dict.fromkeys((*(node for node in one.members if node in granted[one.app]), *untold, *granted[one.app])))
        if members and (before is None or set(members) != set(before.members)):
            changes.append((one.app, members))
    return changes


def lately(asked: Asked | None, rates: Mapping[NodeId, float]) -> Asked | None:
    """By agent, no more than RISING times what is told: clients that begin tell all they ask at once, others half."""
    if asked is None:
        return None
    return Asked({agent: min(rate, RISING * rates.get(agent, 0.0)) for agent, rate in asked.rates.items()}, asked.window_s)


# Telling


def notices(found: Allocation, parties: Sequence[Party], cause: str) -> list[HostsDivided]:
    """One an application."""
    by_app = {one.app: one for one in found.accounts}
    pool = len({node for one in parties for node in one.land.index})
    return [_told(found, by_app[one.app], one, cause, pool) for one in parties]


def _told(found: Allocation, account: Account, party: Party, cause: str, pool: int) -> HostsDivided:
    grants: list[Grant] = [one for one in found.grants if one.app == account.app]
    felt = account.felt
    return HostsDivided(
        account.app,
        cause,
        round(account.demand, 3),
        round(party.cost, 6),
        round(min(party.e, E_MOST), 3),
        account.floor,
        account.units,
        account.before,
        -1 if felt.latency == inf else round(felt.latency),
        round(felt.availability, 6),
        round(felt.throughput, 3),
        round(account.utility, 6),
        round(account.utility_before, 6),
        round(account.moving, 6),
        tuple(round(one.keeps, 6) for one in grants),
        tuple(one.rival for one in grants),
        tuple(round(one.offer, 6) for one in grants),
        len(account.units) <= account.floor,
        pool,
        found.forecasts,
        found.whole,
    )
