"""An application's first hops, in the place that a node's agent and its other ways in have for Opus' client.

So a client of any overlay notices silence, tries waves of other ways, and goes straight to replicas it remembers, by the same
code.
"""

from __future__ import annotations

from collections.abc import Callable

from opus_node.baselines.holders import Holders
from opus_node.baselines.peers import Peers
from opus_node.core.rtt import Rtt
from opus_node.core.types import AppConfig, Nanos, NodeId

MOST = 8
"""Ways that a client may try at once and after each other."""


class Ways:
    __slots__ = ("_app", "_holders", "_lost", "_peers", "_wanted")

    def __init__(
        self, holders: Holders, peers: Peers, app: AppConfig, lost: Callable[[NodeId], None], wanted: Callable[[], None]
    ) -> None:
        """`lost(node)` hears who is silent; `wanted()` that a request knows no way."""
        self._holders = holders
        self._peers = peers
        self._app = app
        self._lost = lost
        self._wanted = wanted

    @property
    def agent(self) -> NodeId:
        """The next hop; empty: there is none, or holders are looked up first."""
        found = self._found(1)
        return found[0] if found else ""

    def backups(self) -> list[NodeId]:
        return self._found(MOST)

    def _found(self, most: int) -> list[NodeId]:
        return [] if self._holders.looked_up(self._app) else self._holders.ways(self._app, (), most)

    def rtt_of(self, node: NodeId) -> Rtt | None:
        return self._peers.rtt(node)

    def heard(self, node: NodeId, rtt: Nanos) -> None:
        self._peers.rtt(node).sample(rtt)

    def agent_silent(self, node: NodeId) -> None:
        self._lost(node)

    def stood_down(self, node: NodeId, other: NodeId = "") -> None:
        self._lost(node)

    def nudge(self) -> None:
        self._wanted()
