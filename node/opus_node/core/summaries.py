"""What an agent tells the steward of an application: its nodes in brief, as candidates and as places with demand.

The whole is told when much has changed, or little has for long; in between only how many there are and what they ask for, with
the version of the whole. A steward that lacks that version says so.
"""

from __future__ import annotations

import heapq
from dataclasses import replace
from math import log2

from opus_node.core.cluster import NEAR_UNIT
from opus_node.core.context import Context
from opus_node.core.held import Held
from opus_node.core.leases import Leases
from opus_node.core.messages import Candidate, Demand, KeyRate, Measured, ReplicaSet, Summary
from opus_node.core.peers import Peers
from opus_node.core.placement import EVERYWHERE, score
from opus_node.core.popularity import summed
from opus_node.core.stability import expected_minutes
from opus_node.core.types import MILLISECOND, SECOND, AppConfig, AppId, Nanos, NodeId
from opus_node.core.wholes import Wholes

EVERY: Nanos = 3 * SECOND
EARLY: Nanos = SECOND // 2
"""While no set is known yet, so that the first one comes soon."""
WHOLE_EVERY: Nanos = 180 * SECOND
WHOLE_LEAST: Nanos = 5 * SECOND
"""Between two that were not asked for. So long if all has changed, twice as long if half has."""
DRIFT: Nanos = 4 * MILLISECOND
"""A round trip to the agent that has changed by less is as it was."""
CANDIDATES = 64
CANDIDATES_OF_ALL = 2048
"""Told of by all agents together; each tells of FEWEST at least. With more nodes, those told of stand for the others."""
FEWEST = 4
NEAR = 32
"""Other agents named at most."""
NEAR_EACH = 24
"""Measured round trips told of each candidate at most. Of these three, fewer at a pace above 2 (`budget`)."""
FRESH_LEASES = 2
"""A candidate was heard within so many lease intervals (and a second)."""
PRIOR = 4.0
"""Requests' worth of belief that a node asks as much as its neighbours."""
WINDOW_S = 15.0
AVERAGE = 4
"""Weight of a node that asks as much as its neighbours; others by powers of two, so that chance changes few."""
WEIGHT_MOST = 64


class Summaries:
    """Builds them; remembers members of the sets before, since a steward may want them back after a merge."""

    __slots__ = ("_ctx", "_former", "_leases", "_policies", "_swim", "_whole", "_wholes")

    def __init__(self, ctx: Context, leases: Leases, swim: Peers) -> None:
        self._ctx = ctx
        self._swim = swim
        self._leases = leases
        self._policies = {config.name: config for config in ctx.config.apps}
        self._former: dict[AppId, tuple[NodeId, ...]] = {}
        self._whole: dict[AppId, tuple[Nanos, Summary]] = {}
        """When last looked at anew, and the last of them."""
        self._wholes: dict[AppId, Wholes] = {config.name: Wholes() for config in ctx.config.apps}

    def learned(self, before: ReplicaSet | None, new: ReplicaSet) -> None:
        if before is not None and before.members != new.members:
            self._former[new.app] = before.members

    def wanted(self, app: AppId, steward: NodeId) -> None:
        """It lacks what it was told."""
        wholes = self._wholes.get(app)
        if wholes is not None:
            wholes.wanted(steward)

    def due(
        self, app: AppId, steward: NodeId, known: ReplicaSet | None, own: Demand, shards: tuple[KeyRate, ...] = ()
    ) -> Summary:
        """What to tell `steward` now: the whole, or that nothing has changed. To itself it costs nothing to tell the whole.
        `own` is the demand of this agent's own clients, `shards` what it has routed most for."""
        whole = self._current(app, known, own)
        if shards:
            whole = replace(whole, shards=shards)
        if steward == self._ctx.me:
            return whole
        return self._wholes[app].due(steward, whole)

    def _current(self, app: AppId, known: ReplicaSet | None, own: Demand) -> Summary:
        """The last version with today's figures, or a new one if what it says is no longer so."""
        now = self._ctx.now
        found = self.build(app, known, own)
        at, before = self._whole.get(app, (0, None))
        version = now // SECOND + 1  # so that no life of this agent repeats those of the one before
        if before is not None:
            age, changed = now - at, _changed(before, found)
            stretched = self._ctx.budget.stretched
            least = stretched(WHOLE_LEAST) if known is not None else 0  # the first set is decided on who has come by then
            same = age < stretched(WHOLE_EVERY) and (not changed or changed * age < least)
            serving = {node for node in (known.members if known else ()) if node in self._leases.table}
            if same and {one.node for one in before.candidates} >= serving:
                return replace(before, nodes=found.nodes, rate=found.rate, keys=found.keys)
            version = max(version, before.version + 1)
        found = replace(found, version=version)
        self._whole[app] = (now, found)
        return found

    def build(self, app: AppId, known: ReplicaSet | None, own: Demand) -> Summary:
        """In whole, without a version."""
        table = self._leases.table
        rate = own.rate + sum((held.rate(app) for held in table.values()), 0.0)
        told = self._told_of(app, known)
        mean = rate * WINDOW_S / (len(table) + 1)
        weights = [_weight(held.rate(app) * WINDOW_S, mean) for held in told]
        position = {held.node: i for i, held in enumerate(told)}
        position[self._ctx.me] = len(told)
        candidates = [self._candidate(app, held, position, weight) for held, weight in zip(told, weights, strict=True)]
        candidates.append(self._self(app, _weight(own.rate * WINDOW_S, mean)))
        keys = summed((own.keys, *(held.keys(app) for held in table.values())))
        abroad = tuple(position)[len(candidates) :]
        return Summary(app, len(table), round(rate, 3), 0, tuple(candidates), self._near(), abroad, keys=keys)

    def _told_of(self, app: AppId, known: ReplicaSet | None) -> list[Held]:
        """The fittest, and those that serve or have served."""
        ctx, table = self._ctx, self._leases.table
        oldest = ctx.now - FRESH_LEASES * ctx.budget.lease_interval() - SECOND
        fresh = [held for held in table.values() if held.heard_at >= oldest]
        most = max(FEWEST, min(ctx.budget.coarse(CANDIDATES), CANDIDATES_OF_ALL // len(self._swim.agents())))
        config = self._config(app)
        if config.policy == EVERYWHERE:
            most = len(fresh)

        def fitness(held: Held) -> tuple[bool, int, float, int, int]:
            """Able at all; stable by orders of magnitude, capable, well connected; hashing among equals."""
            minutes = expected_minutes(held.age(ctx.now), held.sessions, held.up)
            unfit = not config.fits(held.memory, held.storage)
            return (unfit, -minutes.bit_length(), -held.cpu, -held.bandwidth, score(app, held.node))

        told = {held.node: held for held in heapq.nsmallest(most, fresh, key=fitness)}
        for node in (*(known.members if known else ()), *self._former.get(app, ())):
            if node in table:
                told[node] = table[node]
        return list(told.values())

    def _near(self) -> tuple[Measured, ...]:
        nearest = [one for one in self._swim.near() if one.samples][: self._ctx.budget.coarse(NEAR)]
        return tuple(Measured(one.node, round_up(one.srtt)) for one in nearest)

    def _config(self, app: AppId) -> AppConfig:
        return self._policies.get(app, AppConfig(app))

    def _candidate(self, app: AppId, held: Held, position: dict[NodeId, int], weight: int) -> Candidate:
        """`position` gets those nodes abroad that it has measured."""
        pairs: list[int] = []
        for node, rtt in self._leases.siblings.measured(held.node)[: self._ctx.budget.coarse(NEAR_EACH)]:
            pairs += (position.setdefault(node, len(position)), -(-rtt // NEAR_UNIT))
        unfit = not self._config(app).fits(held.memory, held.storage)
        told = (held.cpu, held.bandwidth, held.at, weight, tuple(pairs), held.sessions, held.up, unfit)
        return Candidate(held.node, round_up(held.rtt), held.age(self._ctx.now), *told)

    def _self(self, app: AppId, weight: int) -> Candidate:
        ctx = self._ctx
        abilities, past = ctx.config.abilities, ctx.config.history
        unfit = not self._config(app).fits(abilities.memory, abilities.storage)
        told = (abilities.cpu, abilities.bandwidth, ctx.position.at, weight, (), past.sessions, past.up, unfit)
        return Candidate(ctx.me, 0, ctx.age, *told)


def _weight(requests: float, mean: float) -> int:
    """Of a node whose neighbours have asked `mean` each on average, drawn towards that."""
    ratio = (PRIOR + requests) / (PRIOR + mean)
    return min(WEIGHT_MOST, max(1, int(AVERAGE * 2.0 ** round(log2(ratio)))))


def _changed(before: Summary, now: Summary) -> float:
    """Share of what matters to a placement that is another: nodes, what they ask, how far they are and from how many."""
    if len(before.near) != len(now.near):
        return 1.0
    old = {one.node: one for one in before.candidates}
    changed = len(old.keys() - {one.node for one in now.candidates})
    for one in now.candidates:
        was = old.get(one.node)
        if was is None or one.weight != was.weight or len(one.near) != len(was.near) or abs(one.rtt - was.rtt) >= DRIFT:
            changed += 1
    return changed / max(1, len(now.candidates))


def round_up(rtt: Nanos) -> Nanos:
    """Round trips in summaries are told in tenths of milliseconds: finer is noise, and takes more bytes."""
    return -(-rtt // NEAR_UNIT) * NEAR_UNIT
