"""A steward's view of an application's shards: what agents tell of demand, by shard and place, and where members are, to a table.

An agent tells the few shards that it routes most for (`popularity.Asked`); what is left of its rate is taken to be for the others
alike. So the steward holds a handful of numbers for each agent, however many keys and clients there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opus_node.core import shards
from opus_node.core.cluster import Cluster
from opus_node.core.landscape import Landscape
from opus_node.core.messages import ReplicaSet
from opus_node.core.shards import Place, Table
from opus_node.core.types import SECOND, AppConfig, Nanos, NodeId

PRIOR = 60.0
"""Requests' worth of belief that a shard is asked for where all are, against ..."""
WINDOW_S = 15.0
"""... those of the time over which agents smooth their counts."""
EVERY: Nanos = 10 * SECOND
"""Between two looks at whether shards should be elsewhere."""


def needs_of(clusters: Mapping[NodeId, Cluster], count: int) -> list[list[float]]:
    """Of each of `count` shards, requests/s by agent, agents by name."""
    found = [[0.0] * len(clusters) for _ in range(count)]
    for column, agent in enumerate(sorted(clusters)):
        summary = clusters[agent].summary
        told = {one.key: one.rate for one in summary.shards if 0 <= one.key < count}
        rest = max(0.0, summary.rate - sum(told.values(), 0.0)) / max(1, count - len(told))
        for shard in range(count):
            found[shard][column] = told.get(shard, rest)
    whole = [sum(column) for column in zip(*found, strict=True)]
    return [_drawn(of_shard, whole) for of_shard in found]


def _drawn(rates: Sequence[float], whole: Sequence[float]) -> list[float]:
    """As much in all, but drawn towards how all shards together are asked for: few requests say little of where from."""
    asked, all_asked = sum(rates, 0.0), sum(whole, 0.0)
    if asked <= 0:
        return list(rates)
    seen = asked * WINDOW_S
    return [
        (seen * rate / asked + PRIOR * other / all_asked) * asked / (seen + PRIOR)
        for rate, other in zip(rates, whole, strict=True)
    ]


def places_of(land: Landscape, members: Sequence[NodeId], agents: int) -> list[Place]:
    """Of somebody whom no agent tells of nothing is known: a domain of its own, and far from all."""
    found = []
    for node in members:
        if node in land.index:
            one = land.candidates[land.index[node]]
            found.append(Place(node, land.region[land.home[node]], max(0.1, one.cpu), tuple(land.ways(one))))
        else:
            found.append(Place(node, node, 1.0, (FAR,) * agents))
    return found


FAR = 1000.0
"""ms."""


class Sharding:
    """Of one application."""

    __slots__ = ("_config", "_look_at", "domains", "moves", "rates")

    def __init__(self, config: AppConfig) -> None:
        self._config = config
        self._look_at: Nanos = 0
        self.rates: tuple[float, ...] = ()
        """What the last table rests on."""
        self.domains: tuple[int, ...] = ()
        self.moves = 0
        """Copies that it has had made, of the table before."""

    def told(self) -> tuple[tuple[int, ...], int, tuple[float, ...]]:
        """Of the last table: (domains, moves, rates)."""
        return self.domains, self.moves, self.rates

    def due(self, now: Nanos) -> bool:
        """Whether it is time to look; then the next time is EVERY later."""
        if now < self._look_at:
            return False
        self._look_at = now + EVERY
        return True

    def table(
        self, land: Landscape, clusters: Mapping[NodeId, Cluster], members: Sequence[NodeId], known: ReplicaSet | None
    ) -> Table:
        """For these members, after `known`."""
        config = self._config
        before = shards.table_of(known, config.shards) if known is not None and known.holders else ()
        needs = needs_of(clusters, config.shards)
        rates = [sum(of_shard, 0.0) for of_shard in needs]
        want = shards.wanted(config.copies, len(members), rates, tuple(map(len, before)))
        places = places_of(land, members, len(clusters))
        found = shards.assign(config.name, places, want, before, needs if any(rates) else ())
        self.rates = tuple(round(rate, 3) for rate in rates)
        self.domains = shards.by_domain(found, {one.node: one.domain for one in places})
        self.moves = shards.moves(before, found) if before else 0
        return found
