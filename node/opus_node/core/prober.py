"""Measures round trips: two probes in a row, since the first may pay for dialling."""

from __future__ import annotations

from collections.abc import Callable

from opus_node.core.context import Context
from opus_node.core.messages import Probe, ProbeReply
from opus_node.core.types import Nanos, NodeId

OnReply = Callable[[NodeId, Nanos, ProbeReply, bool], None]
"""(node, measured round trip, reply, warm): called for the first reply with warm False, for the second with True."""

PENDING = 256
"""Probes under way at most; the oldest is forgotten (its reply is ignored)."""


class Prober:
    __slots__ = ("_ctx", "_nonce", "_pending")

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._nonce = 0
        self._pending: dict[int, tuple[NodeId, Nanos, OnReply, bool]] = {}

    def ask(self, node: NodeId, on_reply: OnReply, warm: bool = False) -> None:
        """Probes `node` twice, the second time as soon as the first is answered; only once if it is known to be `warm`.

        Silence calls nobody.
        """
        self._send(node, on_reply, warm)

    def _send(self, node: NodeId, on_reply: OnReply, warm: bool) -> None:
        if len(self._pending) >= PENDING:
            del self._pending[next(iter(self._pending))]
        self._nonce += 1
        self._pending[self._nonce] = (node, self._ctx.now, on_reply, warm)
        self._ctx.send(node, Probe(self._nonce))

    def on_reply(self, source: NodeId, reply: ProbeReply) -> None:
        probe = self._pending.get(reply.nonce)
        if probe is None or probe[0] != source:
            return
        del self._pending[reply.nonce]
        _, sent_at, on_reply, warm = probe
        if warm:
            self._ctx.position.sample(source, self._ctx.now - sent_at, reply.at)
        else:
            self._send(source, on_reply, True)
        on_reply(source, self._ctx.now - sent_at, reply, warm)
