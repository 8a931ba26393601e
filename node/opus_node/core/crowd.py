"""Demand that moves: noticed within a second, and followed while the rates that tell of it still lag behind.

Nodes tell rates of which each lease takes half, told = (told a lease before + asked in between) / 2, so what was asked is

    last lease        2 x told now - told one lease ago
    last two leases   (2 x told now + told one lease ago - told two leases ago) / 2

That is all news one or two leases after demand has moved, when a half or a quarter of what is told is old; it rests on fewer
requests, too few to notice a crowd by, but enough to follow one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from opus_node.core.landscape import Asked, demand, moved
from opus_node.core.messages import Summary
from opus_node.core.types import SECOND, Nanos, NodeId

LOOK_EVERY: Nanos = SECOND
MOVED = 0.2
"""Share of demand that must be elsewhere to count as moved; among fifty agents with few requests chance alone moves a tenth."""
LASTS = 4
"""Leases for which it is decided on again and again, since demand was last seen to have moved: then a sixteenth of what a node
tells is of before."""
SAME = 0.9
"""Share of the agents that must be those of the last decision: what a lost one had comes back elsewhere, and where many come and
go, nodes go from one to another with all that they ask."""
PRESENT = 2
"""Leases that count meanwhile, once so many have passed."""


class Crowd:
    """Of one application, at its steward. Times are given, none is read."""

    __slots__ = ("_began_at", "_lease", "_look_at", "_told", "_until")

    def __init__(self) -> None:
        self._look_at: Nanos = 0
        self._lease: Nanos = SECOND
        self._told: deque[tuple[Nanos, dict[NodeId, float]]] = deque()
        """Rates by agent, over PRESENT leases."""
        self._began_at: Nanos = 0
        self._until: Nanos = 0

    def on(self, now: Nanos) -> bool:
        return now < self._until

    def due(self, now: Nanos) -> bool:
        return now >= self._look_at

    def begins(self, now: Nanos, summaries: Mapping[NodeId, Summary], decided: Mapping[NodeId, float], lease: Nanos) -> bool:
        """When it is due, with what agents tell: whether demand has left where it was `decided` on, and had not before."""
        self._look_at, self._lease = now + LOOK_EVERY, lease
        was_on, asked = self.on(now), demand(summaries)
        both = [agent for agent in asked if agent in decided]
        same = len(both) >= SAME * max(len(asked), len(decided))
        if same and moved({agent: decided[agent] for agent in both}, {agent: asked[agent] for agent in both}) > MOVED:
            self._until = now + LASTS * lease
        self._remember(now, {agent: one.rate for agent, one in summaries.items()})
        if was_on or not self.on(now):
            return False
        self._began_at = now
        return True

    def _remember(self, now: Nanos, rates: dict[NodeId, float]) -> None:
        told = self._told
        told.append((now, rates))
        while len(told) > 1 and told[1][0] <= now - PRESENT * self._lease:
            told.popleft()

    def asked(self, summaries: Mapping[NodeId, Summary]) -> Asked | None:
        """Lately, by those that tell; None while nothing moves: what is told rests on more requests then."""
        told = self._told
        now = told[-1][0] if told else 0
        if not self.on(now) or now - told[0][0] < self._lease:
            return None
        leases = PRESENT if now - max(self._began_at, told[0][0] + self._lease) >= self._lease else 1
        past = [self._told_at(now - k * self._lease) for k in range(leases + 1)]
        found = {}
        for agent, one in summaries.items():
            rates = [then.get(agent, one.rate) for then in past]
            found[agent] = max(0.0, (sum(rates[:-1], 0.0) + rates[0] - rates[-1]) / leases)
        return Asked(found, leases * self._lease / SECOND)

    def _told_at(self, then: Nanos) -> dict[NodeId, float]:
        """The last that was told by then."""
        return next(rates for at, rates in reversed(self._told) if at <= then)
