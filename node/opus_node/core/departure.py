"""A node that was asked to go: what still holds it, and when it may end.

    Leave --roles laid down, everyone told--> lingering --nothing holds it any more, or MOST is over--> over

Whoever has not heard yet, since the news is still under way, finds it serving, or is told that it is none any more; nobody has to
take silence for an answer.
"""

from __future__ import annotations

from collections.abc import Callable

from opus_node.core.context import Context
from opus_node.core.types import MILLISECOND, SECOND, Nanos

MOST: Nanos = 2 * SECOND
"""After so long it goes in any case: nobody may have another replica to put in its place."""
LINGER: Nanos = 500 * MILLISECOND
"""For which agents and replicas stay when nothing holds them: a message sent before its sender has heard arrives within that, the
longest terrestrial round trip and some more."""
SENT_BY: Nanos = 500 * MILLISECOND
"""What it has said last is to be sent within this, where a connection must be made first: whoever drives the core waits."""
LOOK: Nanos = 50 * MILLISECOND


class Departure:
    __slots__ = ("_ctx", "_free_at", "_held", "_linger", "_until", "over")

    def __init__(self, ctx: Context, held: Callable[[], bool], linger: Nanos) -> None:
        """`held()`: whether somebody still waits for what this node has under way."""
        self._ctx = ctx
        self._held = held
        self._linger = linger
        self._until = ctx.now + MOST
        self._free_at: Nanos = ctx.now
        self.over = False
        self._look(None)

    def _look(self, _: object) -> None:
        now = self._ctx.now
        held = self._held()
        if held:
            self._free_at = now
        self.over = now >= self._until or (not held and now >= self._free_at + self._linger)
        if not self.over:
            self._ctx.timers.at(now + LOOK, self._look)
