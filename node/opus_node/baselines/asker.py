"""A client of another overlay: Opus' own, whose ways in are next hops, or holders that it has looked up."""

from __future__ import annotations

from collections.abc import Iterable

from opus_node.baselines.ways import Ways
from opus_node.core.client import DIRECT, Client, Flight, Pending
from opus_node.core.context import Context
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

    def hops_to_first(self) -> int:
        return 1 + self.depth

    def _round(self, pending: Pending) -> None:
        if not self.cache(pending.event.app).entries:
            self._attachment.nudge()
        super()._round(pending)

    def named(self, app: AppId, holders: Iterable[NodeId], depth: int) -> None:
        """Who holds `app` was looked up, the nearest first: requests that know no way go there at once, one after a silence to
        several."""
        self.depth = depth
        found = [node for node in holders if node != self._ctx.me]
        self.cache(app).suggest(found)
        for pending in list(self._pending.values()):
            if any(flight.state != Flight.LOST for flight in pending.flights):
                continue
            width = self._ctx.config.wave if pending.flights else 1
            for node in [node for node in found if node not in pending.tried][:width]:
                self._fly(pending, node, DIRECT, self._attachment.rtt_of(node))
            self._watch(pending)
