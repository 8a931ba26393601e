"""Kademlia's routing table: k-buckets, of which those near the node itself are kept whole. No messages, no clock of its own.

    bucket i       nodes that share exactly the first i bits with this one: the subtree beside it at depth i
    i < depth      at most k of them, the least recently seen first, and a few spares that would take the place of a silent one
    i >= depth     all of them: together they are the smallest subtree around this node with at least k others in it (the paper's
                   section 2.4)

By the distance of the exclusive or, whole buckets are nearer to a key than others, so a search sorts only those that it needs:

    nearest    buckets of bits in which key and node differ, the first bit first
               the node itself
    farthest   buckets of bits that they share, the last bit first

A node can tell the m <= k nearest to a key when every bucket up to the m-th is complete: whole, or not full though it was looked
into. All m of them can: a full bucket between two holders would have fewer than k nodes nearer than itself, and so be kept whole.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Sequence
from random import Random
from typing import Final

from opus_node.baselines.ids import BITS, Identifier, of_node
from opus_node.core.types import Nanos, NodeId

SPARES: Final = 8
"""In each bucket's replacement cache."""


class Contact:
    __slots__ = ("identifier", "seen_at")

    def __init__(self, identifier: Identifier, seen_at: Nanos) -> None:
        self.identifier = identifier
        self.seen_at = seen_at


class Table:
    __slots__ = ("_top", "buckets", "depth", "identifier", "joined", "k", "me", "spares", "sure")

    def __init__(self, me: NodeId, k: int) -> None:
        self.me = me
        self.identifier = of_node(me)
        self.k = k
        self.buckets: list[dict[NodeId, Contact]] = [{} for _ in range(BITS)]
        """The least recently seen first."""
        self.spares: dict[int, dict[NodeId, None]] = {}
        """By bucket, those heard of last at the end."""
        self.depth = 0
        """Buckets from here on are kept whole."""
        self.joined = False
        """Whether this node has looked for those nearest to it; before, it can tell nothing."""
        self.sure = [False] * BITS
        """Buckets that were looked into as far as they go."""
        self._top = 0
        """Buckets from here on are empty."""

    def place(self, identifier: Identifier) -> int:
        """The bucket; BITS for this node's own identifier."""
        return BITS - (identifier ^ self.identifier).bit_length()

    def contact(self, node: NodeId) -> Contact | None:
        place = self.place(of_node(node))
        return self.buckets[place].get(node) if place < BITS else None

    def room(self, place: int) -> int:
        """How many more a bucket would take; a whole one takes any number."""
        return max(0, self.k - len(self.buckets[place])) if place < self.depth else 1 << BITS

    def entries(self) -> int:
        return sum(map(len, self.buckets[: self._top])) + sum(map(len, self.spares.values()))

    # Coming and going

    def seen(self, node: NodeId, now: Nanos) -> bool:
        """Whether it is in a bucket, where it is the most recently seen now."""
        place = self.place(of_node(node))
        if place == BITS:
            return True
        bucket = self.buckets[place]
        contact = bucket.pop(node, None)
        if contact is None:
            return False
        contact.seen_at = now
        bucket[node] = contact
        return True

    def add(self, node: NodeId, now: Nanos) -> bool:
        """Whether there was room; of a full bucket it becomes a spare. `node` is in no bucket yet."""
        identifier = of_node(node)
        place = self.place(identifier)
        if not self.room(place):
            self.spare(node, place)
            return False
        self.buckets[place][node] = Contact(identifier, now)
        self.spares.get(place, {}).pop(node, None)
        self._top = max(self._top, place + 1)
        self.depth = self._whole_from()
        return True

    def spare(self, node: NodeId, place: int) -> None:
        spares = self.spares.setdefault(place, {})
        spares.pop(node, None)
        spares[node] = None
        if len(spares) > SPARES:
            del spares[next(iter(spares))]

    def remove(self, node: NodeId) -> bool:
        """From everywhere; whether it was in a bucket."""
        place = self.place(of_node(node))
        self.spares.get(place, {}).pop(node, None)
        if place == BITS or self.buckets[place].pop(node, None) is None:
            return False
        while self._top and not self.buckets[self._top - 1]:
            self._top -= 1
        self.depth = self._whole_from()
        return True

    def _whole_from(self) -> int:
        count = 0
        for place in range(self._top - 1, -1, -1):
            count += len(self.buckets[place])
            if count >= self.k:
                return place
        return 0

    def near(self) -> list[NodeId]:
        """Whoever is in a whole bucket."""
        return [node for bucket in self.buckets[self.depth : self._top] for node in bucket]

    # Near a key

    def _order(self, key: Identifier) -> tuple[list[int], list[int]]:
        """The buckets nearer to `key` than this node, and those farther away; each the nearest first."""
        shift, differ = BITS - self._top, (key ^ self.identifier) >> (BITS - self._top)
        nearer = [BITS - shift - 1 - bit for bit in range(self._top - 1, -1, -1) if differ >> bit & 1]
        return nearer, [BITS - shift - 1 - bit for bit in range(self._top) if not differ >> bit & 1]

    def _sorted(self, place: int, key: Identifier) -> list[NodeId]:
        bucket = self.buckets[place]
        return sorted(bucket, key=lambda node: bucket[node].identifier ^ key)

    def closest(self, key: Identifier, count: int, without: Collection[NodeId] = ()) -> list[NodeId]:
        """The nearest to `key` of all that are known but this node."""
        nearer, farther = self._order(key)
        return self._first((*nearer, *farther), key, count, without)

    def ways(self, key: Identifier, without: Collection[NodeId] = (), most: int = 1) -> list[NodeId]:
        """The nearest to `key` of those nearer than this node."""
        return self._first(self._order(key)[0], key, most, without)

    def _first(self, places: Sequence[int], key: Identifier, count: int, without: Collection[NodeId]) -> list[NodeId]:
        found: list[NodeId] = []
        for place in places:
            if len(found) >= count:
                break
            if self.buckets[place]:
                found += [node for node in self._sorted(place, key) if node not in without]
        return found[:count]

    def complete(self, place: int) -> bool:
        """Whether all that belong into a bucket are in it, as far as can be known."""
        return place >= self.depth or (self.sure[place] and len(self.buckets[place]) < self.k)

    def holders(self, key: Identifier, count: int) -> list[NodeId]:
        """The `count` <= k nodes nearest to `key`, perhaps this one among them; empty if this node is too far away to tell."""
        if not self.joined:
            return []
        nearer, farther = self._order(key)
        found: list[NodeId] = []
        for place in nearer:
            if not self.complete(place):
                return []
            found += self._sorted(place, key)
            if len(found) >= count:
                return found[:count]
        found.append(self.me)
        for place in farther:
            if len(found) >= count:
                break
            if not self.complete(place):
                return []
            found += self._sorted(place, key)
        return found[:count]

    def random_in(self, place: int, rng: Random) -> Identifier:
        """An identifier that belongs into a bucket."""
        low = BITS - 1 - place
        return ((self.identifier >> low ^ 1) << low) | rng.getrandbits(BITS) & ((1 << low) - 1)


Ring = Sequence[tuple[Identifier, NodeId]]
"""All nodes, in the order of their identifiers: sorted((of_node(node), node) for node in nodes)."""


def ideal(
    me: NodeId,
    ring: Ring,
    k: int,
    rng: Random,
    delay: Callable[[NodeId], Nanos] | None = None,
    measured: int = 0,
) -> Table:
    """The converged table of `me`, a node of `ring`: whole buckets where they are to be, and k nodes by chance in each full one.
    With `delay`, the round trip from `me`, they are the nearest of `measured` by chance (0: of all). Costs O(log n) searches and
    k samples a bucket, however many nodes there are; has `ways(key)`, `holders(key, count)` and `entries()`."""
    table = Table(me, k)
    spans = _spans(table.identifier, ring)
    count, depth = 0, 0
    for place in range(len(spans) - 1, -1, -1):
        count += spans[place][1] - spans[place][0]
        if count >= k:
            depth = place
            break
    for place, (low, high) in enumerate(spans):
        chosen: Sequence[int] = range(low, high)
        if place < depth and high - low > k:
            if delay is None:
                chosen = rng.sample(chosen, k)
            else:
                tried = rng.sample(chosen, min(high - low, max(k, measured or high - low)))
                ms = {number: delay(ring[number][1]) for number in tried}
                chosen = sorted(tried, key=lambda number: (ms[number], number))[:k]
        table.buckets[place] = {ring[number][1]: Contact(ring[number][0], 0) for number in chosen}
    table.joined, table.depth, table.sure, table._top = True, depth, [True] * BITS, len(spans)
    return table


def _spans(identifier: Identifier, ring: Ring) -> list[tuple[int, int]]:
    """Where in `ring` each bucket's nodes stand, down to the last that is not empty."""
    spans: list[tuple[int, int]] = []
    low, high = 0, len(ring)
    for place in range(BITS):
        if high - low <= 1:
            break
        bit = BITS - 1 - place
        middle = bisect_left(ring, (((identifier >> bit) | 1) << bit, ""), low, high)
        if identifier >> bit & 1:
            spans.append((low, middle))
            low = middle
        else:
            spans.append((middle, high))
            high = middle
    while spans and spans[-1][0] == spans[-1][1]:
        spans.pop()
    return spans
