"""Whom an agent's nodes should measure so that replicas can be placed well: each its nearest few, as far as guesses tell.

With fewer replicas than agents one agent's nodes have one replica at most, and which of them it is matters little; with more,
who is near whom decides (PlanetLab, 22 agents, m = 50: 48% above the best placement without, 25% with four neighbours, 16% with
eight). Besides, a steward sends single nodes on errands.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Any

from opus_node.core.context import Context
from opus_node.core.coordinates import between
from opus_node.core.held import Held
from opus_node.core.siblings import Siblings
from opus_node.core.types import BEST, SECOND, Nanos, NodeId

MOST = 8
EACH = 4
"""Neighbours measured for each member that an agent's nodes can expect among them."""
AT_ONCE = 2
"""Asked of a node with one lease."""
CROWDED = 128
"""Of an agent with more nodes than this, and than it is meant to have, many will be those of others soon: it is time enough to
ask then, and there will be more agents."""
ERRANDS = 4
"""Waiting for one node at most."""
ASK_AGAIN: Nanos = 120 * SECOND
"""A neighbour that was not measured though it was asked for."""
CONTENT: Nanos = 60 * SECOND
"""Until a node whose neighbours are all measured is looked at again."""


class Neighbours:
    """Soft state of one agent."""

    __slots__ = ("_asked", "_content", "_ctx", "_errands", "_siblings", "_table")

    def __init__(self, ctx: Context, table: dict[NodeId, Held], siblings: Siblings) -> None:
        """`siblings` keeps what is measured."""
        self._ctx = ctx
        self._table = table
        self._siblings = siblings
        self._asked: dict[NodeId, dict[NodeId, Nanos]] = {}
        """Until when a node is not asked again for another."""
        self._content: dict[NodeId, Nanos] = {}
        """Until when a node is not asked at all."""
        self._errands: dict[NodeId, list[NodeId]] = {}

    def errand(self, node: NodeId, others: Iterable[NodeId]) -> None:
        """A steward wants to know."""
        if node in self._table:
            queue = self._errands.setdefault(node, [])
            queue += [other for other in others if other not in queue][: max(0, ERRANDS - len(queue))]

    def wanted(self, held: Held, agents: int) -> tuple[NodeId, ...]:
        """Whom this node should measure now."""
        errands = self._errands.pop(held.node, None)
        if errands:
            return tuple(errands)
        now, enough = self._ctx.now, self._enough(agents)
        if not enough or not held.at or self._content.get(held.node, 0) > now or len(self._table) > self._crowded():
            return ()
        others = self._table.values()
        far = [(between(held.at, other.at), other.node, other) for other in others if other.at and other is not held]
        near = [other for _, _, other in heapq.nsmallest(enough, far)]  # no two of one name
        asked = self._asked.setdefault(held.node, {})
        measured = self._siblings.between
        missing = [other.node for other in near if measured(held, other) is None and asked.get(other.node, 0) <= now]
        if not missing:
            self._content[held.node] = now + self._ctx.budget.stretched(CONTENT)
        asked.update(dict.fromkeys(missing[:AT_ONCE], now + self._ctx.budget.stretched(ASK_AGAIN)))
        return tuple(missing[:AT_ONCE])

    def _crowded(self) -> int:
        return max(CROWDED, self._ctx.config.nodes_per_agent)

    def _enough(self, agents: int) -> int:
        replicas = max((config.replicas for config in self._ctx.config.apps if config.policy == BEST), default=0)
        return min(MOST, EACH * replicas // max(1, agents))

    def forget(self) -> None:
        """Drops what belongs to nodes that have gone."""
        memories: tuple[dict[NodeId, Any], ...] = (self._asked, self._content, self._errands)
        for memory in memories:
            for node in [node for node in memory if node not in self._table]:
                del memory[node]
