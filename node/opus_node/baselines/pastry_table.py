"""Pastry's tables, without messages: leaf set, routing table, neighbourhood set, and the paper's rule of routing.

    leaf set            the nodes next to this one on the ring, half of them on either side
    routing table       row r: nodes that share r digits with this one, one for each other digit at place r
    neighbourhood set   the nearest nodes by measured round trip, wherever they are on the ring; not routed by

"Pastry: Scalable, decentralized object location and routing for large-scale peer-to-peer systems" (Rowstron and Druschel,
Middleware 2001), sections 2.2 and 2.3, with b = 4.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from random import Random
from typing import Final

from opus_node.baselines.ids import BITS, DIGIT, DIGITS, SPACE, Identifier, around, clockwise, digit, of_node, shared_digits
from opus_node.core.types import NodeId

LEAVES: Final = 16
"""L, as in the paper's experiments."""
NEAR: Final = 16
"""M: the paper takes 2^b or twice as many; not routed by, and so not worth the larger one's probes."""
WIDTH: Final = 1 << DIGIT
CACHED: Final = 64
"""Keys whose next hops are remembered until a table changes."""

Side = list[tuple[int, NodeId]]
"""Nodes on one side of the ring by their distance from this one, the nearest first."""


class Table:
    """What one node knows of others. `leaves`: both sides together."""

    __slots__ = ("_holders", "_leaves", "_nearby", "_routes", "after", "at", "before", "half", "me", "near", "rows", "width")

    def __init__(self, me: NodeId, leaves: int = LEAVES, near: int = NEAR) -> None:
        self.me = me
        self.at: Identifier = of_node(me)
        self.half = (leaves + 1) // 2
        self.width = near
        self.before: Side = []
        self.after: Side = []
        self.rows: list[dict[int, NodeId]] = [{} for _ in range(DIGITS)]
        """By the digit at the row's place."""
        self.near: list[tuple[float, NodeId]] = []
        """By their distance, the nearest first."""
        self._leaves: dict[NodeId, None] = {}
        """Both sides, each node once."""
        self._nearby: frozenset[NodeId] = frozenset()
        self._routes: dict[Identifier, list[NodeId]] = {}
        self._holders: dict[tuple[Identifier, int], tuple[NodeId, ...]] = {}

    # What is in it

    def leaves(self) -> list[NodeId]:
        """From the farthest before this node to the farthest after it; in a small ring a node may be both, and is named once."""
        return list(self._leaves)

    def nodes(self) -> list[NodeId]:
        """Everybody, once, in an order that depends on the tables only."""
        found = dict.fromkeys(self._leaves)
        for row in self.rows:
            found.update(dict.fromkeys(row.values()))
        found.update(dict.fromkeys(node for _, node in self.near))
        return list(found)

    def entries(self) -> int:
        return len(self._leaves) + self.routing_entries() + len(self.near)

    def routing_entries(self) -> int:
        return sum(len(row) for row in self.rows)

    def slot(self, node: NodeId) -> tuple[int, int]:
        """Row and digit of the one place in the routing table that another node may have."""
        other = of_node(node)
        row = min((BITS - (self.at ^ other).bit_length()) // DIGIT, DIGITS - 1)
        return row, (other >> (BITS - DIGIT * (row + 1))) & (WIDTH - 1)

    def occupant(self, node: NodeId) -> NodeId | None:
        """Who has that place."""
        row, place = self.slot(node)
        return self.rows[row].get(place)

    def has(self, node: NodeId) -> bool:
        return node in self._leaves or node in self._nearby or self.occupant(node) == node

    # Changing it

    def wanted_leaves(self, nodes: Iterable[NodeId]) -> list[NodeId]:
        """Which of `nodes` would be leaves if all of them lived."""
        fresh = [node for node in nodes if node not in self._leaves and self._fits(node)]
        if len(fresh) <= 1:
            return fresh
        after = sorted([*self.after, *((clockwise(self.at, of_node(node)), node) for node in fresh)])[: self.half]
        before = sorted([*self.before, *((clockwise(of_node(node), self.at), node) for node in fresh)])[: self.half]
        best = {node for _, node in (*before, *after)}
        return [node for node in fresh if node in best]

    def _fits(self, node: NodeId) -> bool:
        """Whether it is nearer on either side than somebody who is a leaf, or there is room."""
        ahead = (of_node(node) - self.at) % SPACE
        before, after, half = self.before, self.after, self.half
        near = len(after) < half or len(before) < half or ahead < after[-1][0] or SPACE - ahead < before[-1][0]
        return near and node != self.me

    def add_leaf(self, node: NodeId) -> bool:
        """Whether it is a leaf now, and was none."""
        if node in self._leaves or not self._fits(node):
            return False
        for side, distance in (
            (self.after, clockwise(self.at, of_node(node))),
            (self.before, clockwise(of_node(node), self.at)),
        ):
            insort(side, (distance, node))
            del side[self.half :]
        self._changed(leaves=True)
        return True

    def put(self, node: NodeId) -> None:
        """Into its place in the routing table, whoever has it."""
        row, place = self.slot(node)
        self.rows[row][place] = node
        self._changed()

    def add_near(self, node: NodeId, distance: float) -> bool:
        """Into the neighbourhood set, or to its new place there; whether it is in now, and was not."""
        if len(self.near) >= self.width and distance >= self.near[-1][0] and self.near[-1][1] != node:
            return False
        known = node in self._nearby
        kept = [one for one in self.near if one[1] != node] if known else self.near.copy()
        insort(kept, (distance, node))
        self.near = kept[: self.width]
        if known:
            return False
        self._nearby = frozenset(one for _, one in self.near)
        self._changed()
        return True

    def remove(self, node: NodeId) -> bool:
        """From everywhere; whether it was a leaf."""
        leaf = node in self._leaves
        if leaf:
            self.before = [one for one in self.before if one[1] != node]
            self.after = [one for one in self.after if one[1] != node]
        row, place = self.slot(node)
        if self.rows[row].get(place) == node:
            del self.rows[row][place]
        if node in self._nearby:
            self.near = [one for one in self.near if one[1] != node]
            self._nearby = frozenset(one for _, one in self.near)
        self._changed(leaves=leaf)
        return leaf

    def _changed(self, leaves: bool = False) -> None:
        self._routes.clear()
        if leaves:
            self._holders.clear()
            self._leaves = dict.fromkeys(node for _, node in (*reversed(self.before), *self.after))

    # Who holds a key

    @property
    def whole(self) -> bool:
        """The two sides of the leaf set meet: these are all nodes."""
        if not self.after or not self.before:  # one side alone is left when the other has died
            return not self._leaves
        return self.after[-1][0] + self.before[-1][0] >= SPACE

    def _spans(self, start: Identifier, end: Identifier) -> bool:
        """Whether this node knows all between the two, which lie less than half a ring apart."""
        if self.whole:
            return True
        back, ahead = (side[-1][0] if side else 0 for side in (self.before, self.after))
        first = (self.at - back) % SPACE
        return clockwise(first, start) + clockwise(start, end) <= back + ahead

    def holders(self, key: Identifier, count: int) -> tuple[NodeId, ...]:
        """The `count` numerically closest nodes, the closest first; empty if some may lie beyond the leaf set."""
        found = self._holders.get((key, count))
        if found is None:
            if len(self._holders) >= CACHED:
                self._holders.clear()
            found = self._holders[key, count] = self._closest(key, count)
        return found

    def _closest(self, key: Identifier, count: int) -> tuple[NodeId, ...]:
        ranked = sorted((around(key, of_node(node)), node) for node in (self.me, *self._leaves))[:count]
        reach = ranked[-1][0]
        if not self.whole and (len(ranked) < count or not self._spans((key - reach) % SPACE, (key + reach) % SPACE)):
            return ()
        return tuple(node for _, node in ranked)

    # Where a key lies

    def ways(self, key: Identifier, without: Collection[NodeId] = (), most: int = 1) -> list[NodeId]:
        """Next hops, the best first. If the key lies in the leaf set's range: those numerically closer. Otherwise the entry that
        shares a digit more with it, then all known nodes that share more than this one, or as much and are closer."""
        found = self._routes.get(key)
        if found is None:
            if len(self._routes) >= CACHED:
                self._routes.clear()
            found = self._routes[key] = self._route(key)
        return list(islice((node for node in found if node not in without), most))

    def _route(self, key: Identifier) -> list[NodeId]:
        mine = (around(self.at, key), self.me)
        if self._spans(key, key):
            closer = [(around(of_node(node), key), node) for node in self._leaves]
            return [node for _, node in sorted(one for one in closer if one < mine)]
        shared = shared_digits(self.at, key)
        ranked = []
        for node in self.nodes():
            other = of_node(node)
            alike, distance = shared_digits(other, key), around(other, key)
            if alike > shared or (alike == shared and (distance, node) < mine):
                ranked.append((-alike, distance, node))
        ordered = [node for *_, node in sorted(ranked)]
        slot = self.rows[shared].get(digit(key, shared))
        return ordered if slot is None else [slot, *(node for node in ordered if node != slot)]


# Converged tables

Ring = Sequence[tuple[Identifier, NodeId]]
"""All nodes, in the order of their identifiers."""
Delay = Callable[[NodeId], float]
"""From the node whose table it is; any unit."""
CANDIDATES: Final = 32
"""Of a slot, whose round trips are compared."""


def ring_of(nodes: Iterable[NodeId]) -> list[tuple[Identifier, NodeId]]:
    return sorted((of_node(node), node) for node in nodes)


def ideal(
    me: NodeId, ring: Ring, rng: Random, delay: Delay | None = None, leaves: int = LEAVES, candidates: int = CANDIDATES
) -> Table:
    """The converged table of one node of `ring`: .ways(key, without, most), .holders(key, count), .entries().

    The leaf set is exact, and every slot that some node fits is filled: by the nearest of so many `candidates` by `delay`,
    without it by anybody. The neighbourhood set holds the nearest of all that were compared.
    """
    table, n = Table(me, leaves), len(ring)
    place = bisect_left(ring, (table.at, me))
    for k in range(1, min(table.half, n - 1) + 1):
        table.add_leaf(ring[place - k][1])
        table.add_leaf(ring[(place + k) % n][1])
    compared: dict[NodeId, None] = dict.fromkeys(table.leaves())
    for slot in _slots(table, ring):
        some = [ring[k][1] for k in _some(slot, candidates if delay is not None else 1, rng)]
        table.put(min(some, key=delay) if delay is not None else some[0])
        compared.update(dict.fromkeys(some))
    for node in compared:
        table.add_near(node, delay(node) if delay is not None else 0.0)
    return table


def _slots(table: Table, ring: Ring) -> Iterator[range]:
    """Of each slot that is not empty the places in `ring` of all nodes that fit, row by row."""
    for row in range(DIGITS):
        width = BITS - DIGIT * (row + 1)
        start = (table.at >> (width + DIGIT)) << (width + DIGIT)
        bounds = [bisect_left(ring, (start + (k << width), "")) for k in range(WIDTH + 1)]
        if bounds[-1] - bounds[0] == 1:  # this node alone
            return
        own = digit(table.at, row)
        yield from (range(bounds[k], bounds[k + 1]) for k in range(WIDTH) if k != own and bounds[k] < bounds[k + 1])


def _some(slot: range, most: int, rng: Random) -> Sequence[int]:
    return slot if len(slot) <= most else rng.sample(slot, most)
