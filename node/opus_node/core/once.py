"""Requests that have come lately: each is taken once, and whoever asks again hears again what was said.

To whom there is no connection yet a request goes by a datagram and by the connection (`messages.hastened`), and networks double
datagrams. A user's program must not be asked twice for that. A client or an agent that hears nothing when an answer is due asks
the same host again, by a datagram, before it takes it for silent: one of two packets was lost, and TCP repairs the loss of a lone
one after 200 ms at the earliest (RFC 8985, section 7.2), when patience has ended.
"""

from __future__ import annotations

from dataclasses import replace

from opus_node.core.context import Context
from opus_node.core.messages import SMALL, Reply, RouteAck, RouteRefuse, RouteRequest
from opus_node.core.types import NOTHING, SECOND, Nanos, NodeId

REMEMBERED: Nanos = 5 * SECOND
"""At least, and twice this at most: no message waits longer for a connection and on it."""
LONG_AGO: Nanos = -2 * REMEMBERED
"""So that the first request makes generations of its own."""
MOST = 4096
"""At least so many, however fast they come, and twice this at most."""

Key = tuple[NodeId, int, int]
"""Client, request, attempt; the latter differs from one life of the client to the next."""

Said = RouteAck | RouteRefuse | Reply | NodeId | None
"""Last, to a request: an answer, or the replica that has acknowledged it to this agent."""


class Once:
    """Two generations: the younger takes what is new, and is the older one when it is full or old."""

    __slots__ = ("_began", "_ctx", "_older", "_younger")

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._younger: dict[Key, Said] = NOTHING
        self._older: dict[Key, Said] = NOTHING
        self._began: Nanos = LONG_AGO

    def __len__(self) -> int:
        return len(self._younger) + len(self._older)

    def first(self, key: Key) -> bool:
        """Whether it has not come before; from now on it has."""
        now = self._ctx.now
        if now - self._began >= REMEMBERED or len(self._younger) >= MOST:
            self._older = self._younger if now - self._began < 2 * REMEMBERED else {}
            self._younger = {}
            self._began = now
        if key in self._younger or key in self._older:
            return False
        self._younger[key] = None
        return True

    def answer(self, to: NodeId, answer: RouteAck | RouteRefuse | Reply) -> None:
        """Send it, and keep it for whoever asks again. Of a large reply only the connection keeps a copy."""
        if not isinstance(answer, Reply) or max(answer.payload, len(answer.content)) <= SMALL:
            self._keep((answer.client, answer.request, answer.attempt), answer)
        self._ctx.send(to, answer)

    def passed(self, key: Key, replica: NodeId) -> None:
        """`replica` has acknowledged it: who asks again waits for its reply."""
        self._keep(key, replica)

    def _keep(self, key: Key, said: Said) -> None:
        of = self._younger if key in self._younger else self._older
        if key in of:
            of[key] = said

    def again(self, source: NodeId, message: RouteRequest) -> None:
        """`message` was taken before. Nothing is said where nothing was."""
        ctx, key = self._ctx, (message.client, message.request, message.attempt)
        said = self._younger.get(key) or self._older.get(key)
        if isinstance(said, Reply):
            if source != message.client:
                ctx.send(source, RouteAck(*key, again=True))
            ctx.send(message.client, replace(said, again=True))
        elif isinstance(said, RouteAck | RouteRefuse):
            ctx.send(source, replace(said, again=True))
        elif said:
            ctx.send(source, RouteAck(*key, again=True))
            ctx.send(said, replace(message, hops=message.hops + 1))
