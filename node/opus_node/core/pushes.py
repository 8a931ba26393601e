"""Updates sent down a tree and not acknowledged yet. Whoever is silent is passed by, and the second time taken for dead.

    Update ─▶ child ── Have ──▶ done
                  └─ patience ─▶ Update again, and to the child's children ─ patience ─▶ barred; its links are made anew

All of it goes along the tree as it was when the update came: once links of the dead are given up, nobody knows any more who was
below them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from opus_node.core.context import Context
from opus_node.core.linking import Linking
from opus_node.core.mesh import Tree
from opus_node.core.messages import Mark, Update
from opus_node.core.timers import Timer
from opus_node.core.types import NodeId

WINDOW = 32
"""Unacknowledged updates towards one member; beyond, the oldest is forgotten: the member asks for it when it hears of it."""
TRIES = 2


class Sent:
    """One update to one member."""

    __slots__ = ("passed", "tree", "update")

    def __init__(self, update: Update, tree: Tree) -> None:
        self.update = update
        self.tree = tree
        self.passed = False
        """Whether the member's children were sent it, too."""


class Push:
    """Towards one member."""

    __slots__ = ("timer", "tries", "unacknowledged")

    def __init__(self) -> None:
        self.unacknowledged: deque[Sent] = deque(maxlen=WINDOW)
        self.tries = 0
        self.timer: Timer | None = None


class Pushes:
    __slots__ = ("_ctx", "_links", "_pushes", "_send")

    def __init__(self, ctx: Context, links: Linking, send: Callable[[NodeId, Update], None]) -> None:
        self._ctx = ctx
        self._links = links
        self._send = send
        self._pushes: dict[NodeId, Push] = {}

    def push(self, to: NodeId, update: Update, tree: Tree) -> None:
        """`tree`: the source's, by which it goes on from there."""
        push = self._pushes.setdefault(to, Push())
        if any(one.update == update for one in push.unacknowledged):
            return
        push.unacknowledged.append(Sent(update, tree))
        self._send(to, update)
        if push.timer is None:
            self._wait(to, push)

    def acknowledged(self, by: NodeId, mark: Mark) -> None:
        push = self._pushes.get(by)
        if push is None:
            return
        left = [one for one in push.unacknowledged if not _covers(mark, one.update)]
        if len(left) == len(push.unacknowledged):
            return
        if push.timer is not None:
            push.timer.cancel()
        push.unacknowledged = deque(left, maxlen=WINDOW)
        push.tries = 0
        if left:
            self._wait(by, push)
        else:
            del self._pushes[by]

    def clear(self) -> None:
        for push in self._pushes.values():
            if push.timer is not None:
                push.timer.cancel()
        self._pushes.clear()

    def _wait(self, to: NodeId, push: Push) -> None:
        push.timer = self._ctx.timers.at(self._ctx.now + self._links.patience(to), self._silent, to)

    def _silent(self, to: NodeId) -> None:
        push = self._pushes.get(to)
        if push is None:
            return
        push.timer = None
        push.tries += 1
        if push.tries < TRIES:
            for one in push.unacknowledged:
                self._send(to, one.update)
            self._wait(to, push)
        else:
            del self._pushes[to]
            self._links.silent(to)
        self._pass_by(to, [one for one in push.unacknowledged if not one.passed])

    def _pass_by(self, silent: NodeId, unpassed: list[Sent]) -> None:
        for one in unpassed:
            one.passed = True
            for child in self._links.mesh.below(one.tree, silent):
                if child != self._ctx.me:
                    self.push(child, one.update, one.tree)


def _covers(mark: Mark, update: Update) -> bool:
    return mark.source == update.source and (mark.life, mark.version) >= (update.life, update.version)
