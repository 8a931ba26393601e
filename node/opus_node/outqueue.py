"""What waits for one peer: bounded in messages and bytes, and nothing in it outlives its worth."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple


class Queued(NamedTuple):
    """One encoded message."""

    envelope: bytes
    expires: float
    """Seconds of the caller's clock; later than that nobody wants it."""
    droppable: bool
    """Whether a full queue may drop it before others: it is repeated anyway."""
    control: bool


@dataclass(slots=True)
class OutQueue:
    """First in, first out. Full: the oldest droppable one goes; if none can, the newcomer does. Everything lost is counted."""

    max_messages: int
    max_bytes: int
    """One message is always let in, whatever its size, if the queue is empty."""
    bytes: int = 0
    dropped: int = 0
    """Lost because the queue was full."""
    expired: int = 0
    """Lost because they waited too long."""
    _waiting: deque[Queued] = field(default_factory=deque)

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, item: Queued, now: float) -> bool:
        """Take `item` in; False if it was dropped at the door."""
        if self._full(item):
            self.purge(now)
        while self._full(item):
            if not self._drop_oldest_droppable():
                self.dropped += 1
                return False
        self._waiting.append(item)
        self.bytes += len(item.envelope)
        return True

    def take(self, now: float, max_messages: int, max_bytes: int) -> list[Queued]:
        """The next to send, together within the limits (the first is given whatever its size); empty if nothing waits."""
        batch: list[Queued] = []
        room = max_bytes
        waiting = self._waiting
        while waiting and len(batch) < max_messages:
            item = waiting[0]
            size = len(item.envelope)
            if item.expires <= now:
                self.expired += 1
            elif batch and size > room:
                break
            else:
                batch.append(item)
                room -= size
            waiting.popleft()
            self.bytes -= size
        return batch

    def purge(self, now: float) -> None:
        """Forget what has expired. All wait equally long, so the expired are at the head."""
        waiting = self._waiting
        while waiting and waiting[0].expires <= now:
            self.bytes -= len(waiting.popleft().envelope)
            self.expired += 1

    def clear(self) -> int:
        """Forget everything; how many messages that were."""
        count = len(self._waiting)
        self._waiting.clear()
        self.bytes = 0
        return count

    def _full(self, item: Queued) -> bool:
        waiting = len(self._waiting)
        return waiting >= self.max_messages or (waiting > 0 and self.bytes + len(item.envelope) > self.max_bytes)

    def _drop_oldest_droppable(self) -> bool:
        for position, item in enumerate(self._waiting):
            if item.droppable:
                del self._waiting[position]
                self.bytes -= len(item.envelope)
                self.dropped += 1
                return True
        return False
