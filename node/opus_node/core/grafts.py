"""What others have and this member lacks: it waits until the tree should have brought it, then asks those who told, in turn."""

from __future__ import annotations

from opus_node.core.context import Context
from opus_node.core.linking import Linking
from opus_node.core.messages import Mark, Want
from opus_node.core.timers import Timer
from opus_node.core.types import MILLISECOND, Nanos, NodeId
from opus_node.core.updates import Updates, behind

TELLERS = 4
"""Remembered of one source; a later one is not needed."""
SLACK: Nanos = 50 * MILLISECOND


class Graft:
    """Of one source."""

    __slots__ = ("asked_at", "target", "tellers", "timer")

    def __init__(self, target: Mark) -> None:
        self.target = target
        self.tellers: list[NodeId] = []
        self.asked_at: Mark | None = None
        """How far this member had come when it last asked."""
        self.timer: Timer | None = None


class Grafts:
    __slots__ = ("_ctx", "_grafts", "_links", "_updates")

    def __init__(self, ctx: Context, links: Linking, updates: Updates) -> None:
        self._ctx = ctx
        self._links = links
        self._updates = updates
        self._grafts: dict[NodeId, Graft] = {}

    def told(self, teller: NodeId, mark: Mark, at_once: bool = False) -> None:
        """`teller` has come as far as `mark`, and this member has not."""
        graft = self._grafts.get(mark.source)
        if graft is None:
            graft = self._grafts[mark.source] = Graft(mark)
        elif behind(graft.target, mark):
            graft.target = mark
        if teller not in graft.tellers and len(graft.tellers) < TELLERS:
            graft.tellers.append(teller)
        if graft.timer is None:
            wait = 0 if at_once else self._tree_time(teller, mark.source) + SLACK + 2 * self._ctx.lag
            graft.timer = self._ctx.timers.at(self._ctx.now + wait, self._ask, mark.source)

    def delivered(self, source: NodeId) -> None:
        graft = self._grafts.get(source)
        if graft is not None and not behind(self._updates.mark(source), graft.target):
            if graft.timer is not None:
                graft.timer.cancel()
            del self._grafts[source]

    def clear(self) -> None:
        for graft in self._grafts.values():
            if graft.timer is not None:
                graft.timer.cancel()
        self._grafts.clear()

    def _tree_time(self, teller: NodeId, source: NodeId) -> Nanos:
        """How long after the teller's word the update would still come by the tree, half as much again for good measure."""
        delay = self._links.mesh.tree(source).delay
        if self._ctx.me not in delay or teller not in delay:
            return 0
        later = delay[self._ctx.me] - delay[teller] - self._links.rtt(teller)
        return max(0, later * 3 // 4)

    def _ask(self, source: NodeId) -> None:
        """Whoever brought something since it was last asked is asked again, another one otherwise."""
        graft = self._grafts[source]
        mine = self._updates.mark(source)
        if graft.asked_at == mine:
            graft.tellers.pop(0)
        if not graft.tellers:
            del self._grafts[source]
            return
        graft.asked_at = mine
        teller = graft.tellers[0]
        self._ctx.send(teller, Want(self._links.app, (mine,)))
        graft.timer = self._ctx.timers.at(self._ctx.now + self._links.patience(teller), self._ask, source)
