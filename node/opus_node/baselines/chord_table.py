"""Chord's tables, without a message: who comes next on the ring, who came before, and fingers across it.

    before[P-1] ... before[0]  me  after[0] ... after[L-1]      finger k: a node in [me + 2^k, me + 2^(k+1))
    |---------- of this arc a node knows everybody ---------|   only where the interval begins beyond after[L-1]

A key belongs to the first node at or after it, its copies to those that follow (Stoica et al., "Chord: a scalable peer-to-peer
lookup protocol for Internet applications", ToN 2003; DHash: Dabek et al., NSDI 2004).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable
from typing import Final

from opus_node.baselines.ids import BITS, SPACE, Identifier, clockwise, of_node
from opus_node.core.types import Nanos, NodeId

SUCCESSORS: Final = 16
MARGIN: Final = 3
"""More neighbours than an application has copies, on either side: some of them may be dead."""
SAMPLES: Final = 16
"""PNS(16): of the first so many nodes of a finger's interval the nearest is the finger (Dabek et al., section 4.2)."""


class Table:
    """One node's."""

    __slots__ = ("_arc", "_id", "_known", "_predecessors", "_successors", "after", "before", "digest", "fingers", "me")

    def __init__(self, me: NodeId, successors: int, predecessors: int) -> None:
        self.me = me
        self._id = of_node(me)
        self._successors = successors
        self._predecessors = predecessors
        self.after: tuple[NodeId, ...] = ()
        """Who follows, the next one first."""
        self.before: tuple[NodeId, ...] = ()
        """Who comes before, the last one first."""
        self.fingers: dict[int, NodeId] = {}
        self.digest = 0
        """Of `after`: who holds the same needs not be told it again."""
        self._arc: tuple[list[int], list[NodeId], bool] | None = None
        self._known: tuple[list[int], list[NodeId]] | None = None

    def entries(self) -> int:
        return len(self.after) + len(self.before) + len(self.fingers)

    # Changing

    def follow(self, nodes: Iterable[NodeId]) -> bool:
        """These come next, as far as there is room; whether that is new."""
        found = self._nearest(nodes, self._ahead, self._successors)
        fresh = found != self.after
        if fresh:
            self.after, self._arc, self._known = found, None, None
            self.digest = digest(found)
        return fresh

    def precede(self, nodes: Iterable[NodeId]) -> bool:
        """The same of those before."""
        found = self._nearest(nodes, self._behind, self._predecessors)
        fresh = found != self.before
        if fresh:
            self.before, self._arc, self._known = found, None, None
        return fresh

    def point(self, k: int, node: NodeId | None) -> None:
        """Finger `k`; None: there is none."""
        if node is None:
            self.fingers.pop(k, None)
        else:
            self.fingers[k] = node
        self._known = None

    def remove(self, node: NodeId) -> tuple[bool, list[int]]:
        """Whether it was a neighbour, and which fingers it was."""
        neighbour = self.follow(one for one in self.after if one != node)
        neighbour |= self.precede(one for one in self.before if one != node)
        fingers = [k for k, one in self.fingers.items() if one == node]
        for k in fingers:
            self.point(k, None)
        return neighbour, fingers

    def _nearest(self, nodes: Iterable[NodeId], far: Callable[[NodeId], int], most: int) -> tuple[NodeId, ...]:
        others = dict.fromkeys(node for node in nodes if node != self.me)
        return tuple(sorted(others, key=far)[:most])

    def _ahead(self, node: NodeId) -> int:
        return clockwise(self._id, of_node(node))

    def _behind(self, node: NodeId) -> int:
        return clockwise(of_node(node), self._id)

    # Asking

    def nearer_after(self, node: NodeId, other: NodeId) -> bool:
        """Whether `node` follows this one sooner than `other`."""
        return self._ahead(node) < self._ahead(other)

    def nearer_before(self, node: NodeId, other: NodeId) -> bool:
        return self._behind(node) < self._behind(other)

    def start(self, k: int) -> Identifier:
        return (self._id + (1 << k)) % SPACE

    def in_finger(self, k: int, node: NodeId) -> bool:
        return self._ahead(node) >> k == 1

    def spans(self) -> range:
        """Which fingers are worth having: what lies nearer than the last successor is known in full."""
        if not self.after or self.is_closed():
            return range(0)
        return range(self._ahead(self.after[-1]).bit_length(), BITS)

    def is_closed(self) -> bool:
        """Whether the neighbours before and after meet: they are all the nodes there are."""
        return self._around()[2]

    def _around(self) -> tuple[list[int], list[NodeId], bool]:
        """The arc that is known in full: each node's distance from its first one, the nodes, and whether it is the whole ring."""
        if self._arc is None:
            ahead = frozenset(self.after)
            closed = any(node in ahead for node in self.before) or not (self.after or self.before)
            nodes = list(dict.fromkeys((*reversed(self.before), self.me, *self.after)))
            first = self._id if closed or not self.before else of_node(self.before[-1])
            arc = sorted((clockwise(first, of_node(node)), node) for node in nodes)
            self._arc = [far for far, _ in arc], [node for _, node in arc], closed
        return self._arc

    def owners(self, key: Identifier) -> list[NodeId]:
        """Whom `key` belongs to and all who follow without a gap, as far as they are known; empty: its owner is not."""
        fars, nodes, closed = self._around()
        first = of_node(nodes[0])
        far = clockwise(first, key)
        place = bisect_left(fars, far)
        return nodes[place:] + nodes[:place] if closed else nodes[place:]

    def holders(self, key: Identifier, count: int) -> tuple[NodeId, ...]:
        """Empty unless all `count` are known, or all nodes there are."""
        found = self.owners(key)
        return tuple(found[:count]) if len(found) >= count or self.is_closed() else ()

    def ways(self, key: Identifier, without: Collection[NodeId] = (), most: int = 1) -> list[NodeId]:
        """Nodes between this one and `key`, the closest to it first."""
        fars, nodes = self._all()
        place = bisect_left(fars, clockwise(self._id, key) or SPACE)
        found: list[NodeId] = []
        while place and len(found) < most:
            place -= 1
            if nodes[place] not in without:
                found.append(nodes[place])
        return found

    def following(self, node: NodeId, most: int) -> tuple[NodeId, ...]:
        """Of all nodes known those between `node` and this one, the closest to `node` first."""
        fars, nodes = self._all()
        place = bisect_left(fars, self._ahead(node))
        return tuple(one for one in nodes[place : place + most + 1] if one != node)[:most]

    def next_known(self) -> NodeId | None:
        """Of all nodes known the first after this one."""
        nodes = self._all()[1]
        return nodes[0] if nodes else None

    def _all(self) -> tuple[list[int], list[NodeId]]:
        if self._known is None:
            some = dict.fromkeys((*self.after, *self.before, *self.fingers.values()))
            known = sorted((self._ahead(node), node) for node in some)
            self._known = [far for far, _ in known], [node for _, node in known]
        return self._known


def digest(nodes: Iterable[NodeId]) -> int:
    """Of a list of nodes; never 0."""
    value = 1
    for node in nodes:
        value = (value * 0x9E3779B1 + of_node(node)) % SPACE
    return value


class Ideal:
    """Converged tables of any of `nodes`, each made when it is asked for: `Ideal(nodes).table(node)` has `.ways(key)`,
    `.holders(key, count)` and `.entries()`."""

    def __init__(
        self,
        nodes: Iterable[NodeId],
        *,
        successors: int = SUCCESSORS,
        predecessors: int = 5 + MARGIN,
        delay: Callable[[NodeId, NodeId], Nanos] | None = None,
        samples: int = SAMPLES,
    ) -> None:
        """`nodes` in any order, without repetition. `delay(node, other)` chooses among the first `samples` nodes of a finger's
        interval; without it a finger is the first of them, as in plain Chord."""
        ring = sorted((of_node(node), node) for node in nodes)
        self._ids = [one for one, _ in ring]
        self._nodes = [node for _, node in ring]
        self._successors = successors
        self._predecessors = predecessors
        self._delay = delay
        self._samples = samples

    def owner(self, key: Identifier) -> NodeId:
        return self._at(bisect_left(self._ids, key))

    def _at(self, place: int) -> NodeId:
        return self._nodes[place % len(self._nodes)]

    def table(self, me: NodeId) -> Table:
        table = Table(me, self._successors, self._predecessors)
        place = bisect_left(self._ids, of_node(me))
        others = len(self._nodes) - 1
        table.follow(self._at(place + k) for k in range(1, 1 + min(others, self._successors)))
        table.precede(self._at(place - k) for k in range(1, 1 + min(others, self._predecessors)))
        for k in table.spans():
            table.point(k, self._finger(table, k))
        return table

    def _finger(self, table: Table, k: int) -> NodeId | None:
        delay, place = self._delay, bisect_left(self._ids, table.start(k))
        some = [self._at(place + one) for one in range(self._samples if delay else 1)]
        some = [node for node in some if table.in_finger(k, node)]
        if delay is None or not some:
            return some[0] if some else None
        return min(some, key=lambda node: delay(table.me, node))

    def route(self, start: NodeId, key: Identifier, copies: int, dead: Collection[NodeId] = ()) -> tuple[list[NodeId], int]:
        """A recursive look-up while nobody repairs anything: the nodes it visits after `start`, the last one a live holder, and
        how many dead ones were tried on the way (each a time-out). The path ends early where nobody knows how to go on."""
        path, tried, here = [start], 0, start
        while True:
            table = self.table(here)
            owners = table.owners(key)
            holders = [node for node in owners if node not in dead][:copies]
            if holders:
                tried += owners.index(holders[0])
                return path[1:] if here in holders else [*path[1:], holders[0]], tried
            ways = table.ways(key, (), len(self._nodes))
            alive = next((place for place, node in enumerate(ways) if node not in dead), None)
            if alive is None:
                return path[1:], tried + len(ways)
            tried += alive
            here = ways[alive]
            path.append(here)
