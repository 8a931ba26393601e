"""Requests that have come lately, so that each is taken once.

To whom there is no connection yet a request goes by a datagram and by the connection (`messages.hastened`), and networks double
datagrams. A user's program must not be asked twice for that.
"""

from __future__ import annotations

from opus_node.core.context import Context
from opus_node.core.types import SECOND, Nanos, NodeId

REMEMBERED: Nanos = 5 * SECOND
"""At least, and twice this at most: no message waits longer for a connection and on it."""
MOST = 4096
"""At least so many, however fast they come, and twice this at most."""

Key = tuple[NodeId, int, int]
"""Client, request, attempt; the latter differs from one life of the client to the next."""


class Once:
    """Two generations: the younger takes what is new, and is the older one when it is full or old."""

    __slots__ = ("_began", "_ctx", "_older", "_younger")

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._younger: set[Key] = set()
        self._older: set[Key] = set()
        self._began: Nanos = 0

    def __len__(self) -> int:
        return len(self._younger) + len(self._older)

    def first(self, key: Key) -> bool:
        """Whether it has not come before; from now on it has."""
        now = self._ctx.now
        if now - self._began >= REMEMBERED or len(self._younger) >= MOST:
            self._older = self._younger if now - self._began < 2 * REMEMBERED else set()
            self._younger = set()
            self._began = now
        if key in self._younger or key in self._older:
            return False
        self._younger.add(key)
        return True
