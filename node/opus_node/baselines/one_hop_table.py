"""One-hop's table: all nodes in the order of their identifiers, each with its incarnation, and digests by which two are compared.

Pure: no messages, no time but what it is given. Of two statements about a node the one of the greater incarnation counts; of the
same one, that it has ended.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import sha1
from typing import Final

from opus_node.baselines.ids import BITS, DIGIT, SPACE, Identifier, of_node
from opus_node.core.messages import MemberUpdate
from opus_node.core.types import SECOND, Nanos, NodeId

ALIVE: Final = ""
"""As short as may be: every event goes to every node."""
DEAD: Final = "dead"
BURIED: Final = 4096
"""Dead nodes remembered, so that old news of their lives is not believed."""
KEPT_DIGITS: Final = 2
"""Digests of sections named by so many digits are kept; longer names' are few nodes'."""
SESSION: Final[Nanos] = 3 * 3600 * SECOND
"""How long a node stays on the average where nobody has seen otherwise: about Gnutella's 174 minutes, which D1HT reckons with."""
LEAST_ROUND: Final[Nanos] = SECOND
STALE: Final = 100
"""One entry in so many may be stale: D1HT's f = 1%."""


def levels(n: int) -> int:
    """rho = ceil(log2 n)."""
    return max(1, (n - 1).bit_length())


def theta(n: int, session: Nanos) -> Nanos:
    """D1HT's interval, with which an event reaches the average node while r T_avg / n <= f: 4 f S / (16 + 3 rho), where
    T_avg = 2 theta + rho (theta + 2 delta) / 4 with delta = theta / 4, and r = 2 n / S events a second."""
    return max(LEAST_ROUND, 4 * min(session, SESSION) // (STALE * (16 + 3 * levels(n))))


def most_events(n: int) -> float:
    """Events that an interval may gather before it ends early: r theta = 8 f n / (16 + 3 rho)."""
    return 8 * n / (STALE * (16 + 3 * levels(n)))


@lru_cache(maxsize=1 << 17)
def _mark(node: NodeId, incarnation: int) -> int:
    return int.from_bytes(sha1(f"{node} {incarnation}".encode(), usedforsecurity=False).digest()[:6], "big")


@lru_cache(maxsize=1 << 17)
def alive(node: NodeId, incarnation: int) -> MemberUpdate:
    return MemberUpdate(node, ALIVE, incarnation, "")


class Table:
    __slots__ = ("_sums", "buried", "lives", "ring")

    def __init__(self, me: NodeId) -> None:
        self.ring: list[tuple[Identifier, NodeId]] = []
        self.lives: dict[NodeId, int] = {}
        """Of each live node the incarnation."""
        self.buried: dict[NodeId, tuple[int, Nanos]] = {}
        """Of dead ones the incarnation that has ended, and when this node last had reason to think so."""
        self._sums = [0] * (1 << DIGIT * KEPT_DIGITS)
        self.add(me, 0)

    def __len__(self) -> int:
        return len(self.ring)

    def add(self, node: NodeId, incarnation: int) -> bool:
        """Whether it is news."""
        known = self.lives.get(node, -1)
        if incarnation <= known or (node in self.buried and incarnation <= self.buried[node][0]):
            return False
        if known < 0:
            self.buried.pop(node, None)
            insort(self.ring, (of_node(node), node))
        else:
            self._sum(node, known)
        self.lives[node] = incarnation
        self._sum(node, incarnation)
        return True

    def remove(self, node: NodeId, incarnation: int, now: Nanos) -> bool:
        """Whether it is news that this life has ended; of an unknown node it is remembered."""
        known = self.lives.get(node)
        if incarnation < (self.buried.get(node, (-1, 0))[0] + 1 if known is None else known):
            return False
        if known is not None:
            self._sum(node, known)
            del self.lives[node]
            del self.ring[bisect_left(self.ring, (of_node(node), node))]
        self.buried.pop(node, None)
        self.buried[node] = (incarnation, now)
        if len(self.buried) > BURIED:
            del self.buried[next(iter(self.buried))]
        return True

    def _sum(self, node: NodeId, incarnation: int) -> None:
        self._sums[of_node(node) >> (BITS - DIGIT * KEPT_DIGITS)] ^= _mark(node, incarnation)

    # The ring

    def after(self, node: NodeId, places: int) -> NodeId:
        """The node so many places after `node`, or after where it would stand."""
        place = bisect_left(self.ring, (of_node(node), node))
        if places > 0 and node not in self.lives:
            places -= 1
        return self.ring[(place + places) % len(self.ring)][1]

    def successors(self, key: Identifier, count: int) -> tuple[NodeId, ...]:
        return successors(self.ring, key, count)

    # Sections: all nodes whose identifiers begin with the same hexadecimal digits

    def section(self, prefix: str) -> Sequence[tuple[Identifier, NodeId]]:
        width = SPACE >> DIGIT * len(prefix)
        start = int(prefix, 16) * width if prefix else 0
        return self.ring[bisect_left(self.ring, (start, "")) : bisect_left(self.ring, (start + width, ""))]

    def told(self, prefix: str) -> tuple[MemberUpdate, ...]:
        """Who lives in that section."""
        lives = self.lives
        return tuple([alive(node, lives[node]) for _, node in self.section(prefix)])

    def digest(self, prefix: str) -> int:
        """Equal for equal sections; of 48 bits."""
        found = 0
        if len(prefix) <= KEPT_DIGITS:
            width = 1 << DIGIT * (KEPT_DIGITS - len(prefix))
            start = int(prefix, 16) * width if prefix else 0
            for one in self._sums[start : start + width]:
                found ^= one
            return found
        for _, node in self.section(prefix):
            found ^= _mark(node, self.lives[node])
        return found


def successors(ring: Sequence[tuple[Identifier, NodeId]], key: Identifier, count: int) -> tuple[NodeId, ...]:
    place, n = bisect_left(ring, (key, "")), len(ring)
    return tuple(ring[(place + k) % n][1] for k in range(min(count, n)))


class Ideal:
    """The converged table of `me` among all nodes of `ring`, sorted as (identifier, name), without simulating any: everybody's
    is the ring, which is shared and not copied. `rtt(one, other)`: round trips in ns, if holders are to be the nearest first."""

    def __init__(
        self, me: NodeId, ring: Sequence[tuple[Identifier, NodeId]], rtt: Callable[[NodeId, NodeId], Nanos] | None = None
    ) -> None:
        self._me = me
        self._ring = ring
        self._rtt = rtt

    def ways(self, key: Identifier, copies: int = 1) -> list[NodeId]:
        """Next hops for `key`, the best first: its holders but this node, each one hop away; empty: this node holds it."""
        holders = successors(self._ring, key, copies)
        if self._me in holders:
            return []
        return list(holders) if self._rtt is None else sorted(holders, key=lambda node: (self._delay(node), node))

    def _delay(self, node: NodeId) -> Nanos:
        return self._rtt(self._me, node) if self._rtt is not None else 0

    def entries(self) -> int:
        return len(self._ring) - 1
