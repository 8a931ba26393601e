"""Replies that a replica has sent lately, so that one that went down with its connection is sent once more.

To a client that comes back after a power-off the replica may still have a connection from before: whatever is sent into it is
answered by a reset one round trip later, and lost. The client's request was acknowledged, so it suspects no silence.
"""

from __future__ import annotations

from collections import deque

from opus_node.core.messages import Reply
from opus_node.core.types import SECOND, Nanos, NodeId

REMEMBERED: Nanos = SECOND
"""A reset comes one round trip after what was lost by it; no reply is sent again that is older than this."""
MOST = 64
LARGEST = 8192
"""Bytes of content; larger ones are not remembered."""


class Replies:
    """The last few, and when they were sent."""

    __slots__ = ("_sent",)

    def __init__(self) -> None:
        self._sent: deque[tuple[Nanos, Reply]] | None = None
        """None: none yet, as most nodes never serve."""

    def sent(self, reply: Reply, now: Nanos) -> None:
        if len(reply.content) <= LARGEST:
            if self._sent is None:
                self._sent = deque(maxlen=MOST)
            self._sent.append((now, reply))

    def lost_with(self, client: NodeId, now: Nanos) -> list[Reply]:
        """What was sent to `client` just before its connection broke; once only: whoever is not reached again is gone."""
        if not self._sent:
            return []
        lost = [reply for at, reply in self._sent if reply.client == client and now - at <= REMEMBERED]
        if lost:
            self._sent = deque((one for one in self._sent if one[1].client != client), maxlen=MOST)
        return lost
