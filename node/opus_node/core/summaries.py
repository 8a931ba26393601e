"""What an agent tells the steward of an application: its nodes in brief, its fittest candidates, and the members it serves."""

from __future__ import annotations

import heapq

from opus_node.core.context import Context
from opus_node.core.held import Held
from opus_node.core.leases import Leases
from opus_node.core.messages import Candidate, ReplicaSet, Summary
from opus_node.core.placement import round_up, score
from opus_node.core.swim import Swim
from opus_node.core.types import SECOND, AppId, Nanos, NodeId

EVERY: Nanos = 3 * SECOND
EARLY: Nanos = SECOND // 2
"""While no set is known yet, so that the first one comes soon."""
CANDIDATES = 4
"""Besides those that serve already."""
NEAR = 8
"""Agents of the same region named at most."""
FRESH_LEASES = 2
"""A candidate was heard within so many lease intervals (and a second)."""


class Summaries:
    """Builds them; remembers members of the sets before, since a steward may want them back after a merge."""

    __slots__ = ("_ctx", "_former", "_leases", "_swim")

    def __init__(self, ctx: Context, leases: Leases, swim: Swim) -> None:
        self._ctx = ctx
        self._swim = swim
        self._leases = leases
        self._former: dict[AppId, tuple[NodeId, ...]] = {}

    def learned(self, before: ReplicaSet | None, new: ReplicaSet) -> None:
        if before is not None and before.members != new.members:
            self._former[new.app] = before.members

    def build(self, app: AppId, known: ReplicaSet | None, client_rate: float) -> Summary:
        ctx = self._ctx
        table = self._leases.table
        oldest = ctx.now - FRESH_LEASES * ctx.config.lease_interval - SECOND
        near_enough = ctx.config.near_enough
        serving = known.members if known else ()
        fresh = [held for held in table.values() if held.heard_at >= oldest and held.node not in serving]

        def fitness(held: Held) -> tuple[bool, int, float, Nanos, int]:
            """Near, of the oldest by orders of magnitude, capable, and then the nearest: the middle of those it is to serve."""
            age = ((ctx.now - held.born_at) // (60 * SECOND)).bit_length()
            return (held.rtt > near_enough, -age, -held.cpu, round_up(held.rtt), score(app, held.node))

        told = {held.node: held for held in heapq.nsmallest(CANDIDATES, fresh, key=fitness)}
        for node in (*serving, *self._former.get(app, ())):
            if node in table:
                told[node] = table[node]
        rate = client_rate + sum(held.rates.get(app, 0.0) for held in table.values())
        candidates = (*(self._candidate(held) for held in told.values()), self._self())
        return Summary(app, len(table), round(rate, 3), candidates, self._near())

    def _near(self) -> tuple[NodeId, ...]:
        near_enough = self._ctx.config.near_enough
        near = [one for one in self._swim.members.values() if one.live and one.rtt.samples and one.rtt.srtt <= near_enough]
        return tuple(one.node for one in heapq.nsmallest(NEAR, near, key=lambda one: (one.rtt.srtt, one.node)))

    def _candidate(self, held: Held) -> Candidate:
        ctx = self._ctx
        return Candidate(held.node, ctx.me, round_up(held.rtt), ctx.now - held.born_at, held.cpu, held.bandwidth, held.at)

    def _self(self) -> Candidate:
        ctx = self._ctx
        abilities = ctx.config.abilities
        return Candidate(ctx.me, ctx.me, 0, ctx.now - ctx.booted_at, abilities.cpu, abilities.bandwidth, ctx.position.at)
