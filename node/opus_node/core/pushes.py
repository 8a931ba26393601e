"""Updates sent down a tree and not acknowledged yet. Whoever is silent is passed by, and the second time taken for dead.

Update ─▶ child ── Have ──▶ done
              └─ patience ─▶ Update again, and to the child's children ─ patience ─▶ barred; its links are made anew
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from opus_node.core.context import Context
from opus_node.core.linking import Linking
from opus_node.core.messages import Mark, Update
from opus_node.core.timers import Timer
from opus_node.core.types import NodeId

WINDOW = 32
"""Unacknowledged updates towards one member; beyond, the oldest is forgotten: the member asks for it when it hears of it."""
TRIES = 2


class Push:
    """Towards one member."""

    __slots__ = ("timer", "tries", "unacknowledged")

    def __init__(self) -> None:
        self.unacknowledged: deque[Update] = deque(maxlen=WINDOW)
        self.tries = 0
        self.timer: Timer | None = None


class Pushes:
    __slots__ = ("_ctx", "_links", "_pushes", "_send")

    def __init__(self, ctx: Context, links: Linking, send: Callable[[NodeId, Update], None]) -> None:
        self._ctx = ctx
        self._links = links
        self._send = send
        self._pushes: dict[NodeId, Push] = {}

    def push(self, to: NodeId, update: Update) -> None:
        push = self._pushes.setdefault(to, Push())
        if update in push.unacknowledged:
            return
        push.unacknowledged.append(update)
        self._send(to, update)
        if push.timer is None:
            self._wait(to, push)

    def acknowledged(self, by: NodeId, mark: Mark) -> None:
        push = self._pushes.get(by)
        if push is None:
            return
        left = [one for one in push.unacknowledged if not _covers(mark, one)]
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
        if push.tries == 1:
            for update in push.unacknowledged:
                self._send(to, update)
            self._wait(to, push)
        unacknowledged = list(push.unacknowledged)
        if push.tries == 1:
            for update in unacknowledged:
                for child in self._links.children(update.source, of=to):
                    self.push(child, update)
        if push.tries >= TRIES:
            del self._pushes[to]
            self._links.silent(to)


def _covers(mark: Mark, update: Update) -> bool:
    return mark.source == update.source and (mark.life, mark.version) >= (update.life, update.version)
