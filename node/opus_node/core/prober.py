"""Measures round trips, by datagrams: a stranger costs as little as a friend, and nobody dials only to measure.

ask    Probe ─ datagram ─▶ ─ ProbeReply ─▶ on_reply      sent again while nothing comes, TRIES times in all
reach  Probe ─ connection, dialled if need be ─▶ ...     for a peer that requests will go to
"""

from __future__ import annotations

from collections.abc import Callable

from opus_node.core.context import Context
from opus_node.core.messages import Probe, ProbeReply
from opus_node.core.timers import Timer
from opus_node.core.types import MILLISECOND, NOTHING, Nanos, NodeId

OnReply = Callable[[NodeId, Nanos, ProbeReply], None]
"""(node, measured round trip, reply)."""

PENDING = 256
"""Probes under way at most; the oldest is forgotten (its reply is ignored)."""
TRIES = 3
AGAIN: Nanos = 500 * MILLISECOND
"""Until the second try; until the third, twice that. Longer than any terrestrial round trip, so that seldom two answers come."""


class Asked:
    """One question, however often it is put: each time under another number, so that none is taken for another's answer."""

    __slots__ = ("node", "on_reply", "sent_at", "timer", "tries")

    def __init__(self, node: NodeId, on_reply: OnReply) -> None:
        self.node = node
        self.on_reply = on_reply
        self.sent_at: Nanos = 0
        self.tries = 0
        self.timer: Timer | None = None


class Prober:
    __slots__ = ("_ctx", "_nonce", "_pending")

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._nonce = 0
        self._pending: dict[int, Asked] = NOTHING

    def ask(self, node: NodeId, on_reply: OnReply) -> None:
        """Measure the round trip to `node`. Silence calls nobody."""
        self._send(Asked(node, on_reply))

    def reach(self, node: NodeId, on_reply: OnReply) -> None:
        """Have a connection to `node`, or keep one from being closed as idle; what is measured may have paid for a dial."""
        self._send(Asked(node, on_reply), stream=True)

    def _send(self, asked: Asked, stream: bool = False) -> None:
        ctx = self._ctx
        if len(self._pending) >= PENDING:
            self._forget(next(iter(self._pending)))
        if self._pending is NOTHING:
            self._pending = {}
        self._nonce += 1
        self._pending[self._nonce] = asked
        asked.sent_at = ctx.now
        ctx.send(asked.node, Probe(self._nonce, stream=stream))
        if not stream:
            asked.tries += 1
            asked.timer = ctx.timers.at(ctx.now + AGAIN * asked.tries + 2 * ctx.lag, self._silent, self._nonce)

    def _silent(self, nonce: int) -> None:
        asked = self._taken(nonce)
        if asked.tries < TRIES:
            self._send(asked)

    def _forget(self, nonce: int) -> None:
        asked = self._taken(nonce)
        if asked.timer is not None:
            asked.timer.cancel()

    def _taken(self, nonce: int) -> Asked:
        """Who was asked under this number, which nobody is any more."""
        asked = self._pending.pop(nonce)
        if not self._pending:
            self._pending = NOTHING
        return asked

    def on_reply(self, source: NodeId, reply: ProbeReply) -> None:
        asked = self._pending.get(reply.nonce)
        if asked is None or asked.node != source:
            return
        self._forget(reply.nonce)
        rtt = self._ctx.now - asked.sent_at
        if not reply.stream:
            self._ctx.position.sample(source, rtt, reply.at)
        asked.on_reply(source, rtt, reply)
