"""A client of another overlay: Opus' own, whose ways in are next hops, or holders that it has looked up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from opus_node.baselines.ways import Ways
from opus_node.core.client import DIRECT, LOST, Client, Flight, Pending
from opus_node.core.context import Context
from opus_node.core.messages import RouteRequest
from opus_node.core.prober import Prober
from opus_node.core.replica import Replica
from opus_node.core.types import AppId, NodeId


class Asker(Client):
    """Of one application, since each has first hops of its own."""

    __slots__ = ("depth",)

    def __init__(self, ctx: Context, prober: Prober, ways: Ways, replica: Replica) -> None:
        super().__init__(ctx, prober, ways, replica)
        self.depth = 0
        """In how many hops its holders were looked up, as long as no reply has come from one."""

    def _message(self, pending: Pending, flight: Flight, *, again: bool = False) -> RouteRequest:
        message = super()._message(pending, flight, again=again)
        return replace(message, hops=message.hops + self.depth, ahead=True) if self.depth and message.hops else message

    def _round(self, pending: Pending) -> None:
        """Whoever is remembered is tried, and holders are looked up at the same time: they may all have fallen silent."""
        self._attachment.nudge()
        super()._round(pending)

    def named(self, app: AppId, holders: Iterable[NodeId], depth: int) -> None:
        """Who holds `app` was looked up, the nearest first: requests that know no way go there at once, one after a silence to
        several. Who was asked least often comes first: a set may be named again before its dead are known to be."""
        self.depth = depth
        found = [node for node in holders if node != self._ctx.me]
        cache = self.cache(app)
        cache.suggest(found)
        struck = [entry.node for entry in cache.entries.values() if entry.strikes]
        for pending in list(self._pending.values()):
            flying = [flight.peer for flight in pending.flights if flight.state != LOST]
            hopeful = [peer for peer in flying if peer not in struck]
            width = (1 if len(hopeful) == len(pending.flights) else self._ctx.config.wave) - len(hopeful)
            asked = Counter(flight.peer for flight in pending.flights)
            others = sorted((node for node in found if node not in flying), key=lambda node: asked[node])
            for node in others[: max(0, width)]:
                self._fly(pending, node, DIRECT, self._attachment.rtt_of(node))
            self._watch(pending)
