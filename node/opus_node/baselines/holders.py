"""Who holds an application, and the ways to it: by the protocol, unless its `members` are given ("placed copies").

Placed copies are the same for every protocol: all nodes are told of them at boot, so every client goes straight to the nearest
that is not silent. One that fell silent is asked now and then whether it is back.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

from opus_node.baselines.ids import of_app
from opus_node.baselines.overlay import Overlay
from opus_node.baselines.peers import Peers
from opus_node.core.context import Context
from opus_node.core.messages import Told
from opus_node.core.types import SECOND, AppConfig, Nanos, NodeId

BACK_FIRST: Nanos = 1 * SECOND
BACK_MAX: Nanos = 32 * SECOND
"""A silent member is asked after the first, then after twice as long each time up to this."""


class Holders:
    __slots__ = ("_ctx", "_overlay", "_peers", "_silent")

    def __init__(self, ctx: Context, peers: Peers, overlay: Overlay) -> None:
        self._ctx = ctx
        self._peers = peers
        self._overlay = overlay
        self._silent: dict[NodeId, None] = {}
        """Members that were silent when asked last."""

    def of(self, app: AppConfig) -> tuple[NodeId, ...]:
        """Empty: this node cannot tell."""
        return app.members or self._overlay.holders(of_app(app.name), app.replicas)

    def ways(self, app: AppConfig, without: Collection[NodeId], most: int) -> list[NodeId]:
        """Next hops, the best first, none of `without`."""
        if not app.members:
            return self._overlay.ways(of_app(app.name), without, most)
        return [node for node in self.nearest_first(app.members) if node not in without][:most]

    def looked_up(self, app: AppConfig) -> bool:
        """Whether clients must look its holders up before they can ask them."""
        return self._overlay.ITERATIVE and not app.members

    def nearest_first(self, nodes: Sequence[NodeId]) -> list[NodeId]:
        """Without this one; those not measured after the others, the silent last."""
        others = [node for node in nodes if node != self._ctx.me]
        return sorted(others, key=lambda node: (node in self._silent, self._peers.delay(node), node))

    def measure(self, nodes: Sequence[NodeId]) -> None:
        """Round trips to those not measured yet: whoever chooses among holders must know them before a request comes."""
        for node in nodes if self._ctx.config.proximity else ():
            if node != self._ctx.me and not self._peers.known(node):
                self._peers.ask(node, "", _measured, self.silent)

    def silent(self, node: NodeId) -> None:
        self._overlay.silent(node)
        if node not in self._silent and any(node in app.members for app in self._ctx.config.apps):
            self._silent[node] = None
            self._again(BACK_FIRST, node)

    def heard(self, node: NodeId) -> None:
        self._silent.pop(node, None)

    def _again(self, pause: Nanos, node: NodeId) -> None:
        self._ctx.timers.at(self._ctx.now + self._ctx.jitter(pause), self._ask, (pause, node))

    def _ask(self, waited: tuple[Nanos, NodeId]) -> None:
        pause, node = waited
        if node in self._silent:
            self._peers.ask(node, "", _measured, partial(self._again, min(BACK_MAX, 2 * pause)))


def _measured(node: NodeId, told: Told) -> None:
    """What was to be measured is, by `Peers`; and it was heard."""
