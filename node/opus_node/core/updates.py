"""What the members of one application have published, as far as one of them knows it: a stream a source, delivered in order.

    mine                    update (after .. version)
    life L, version v       the same life: after <= v < version: next; version <= v: old; otherwise a gap
                            a greater life: as if v were 0; a smaller one: old

A stream's last updates are kept for others that lack them; who has been away for longer goes on behind the gap, and hears how
many it missed. What those published who have left is kept for a time after them, and a newcomer told of it; how far their streams
had come is remembered, so that nothing is delivered twice should they return.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import replace
from enum import Enum

from opus_node.core.messages import Mark, Update
from opus_node.core.types import SECOND, AppId, Nanos, NodeId

KEPT = 64
"""Updates of a source, at most ..."""
KEPT_BYTES = 1 << 18
"""... and this much content, but always the last one."""
MOST = 1 << 16
"""Bytes of content of one update."""
NEWCOMER: Nanos = 60 * SECOND
"""For so long a member hears of those who left before it came, and they are told to such."""
FORGET: Nanos = 600 * SECOND
"""So long after its source has left nothing of a stream is kept any more."""
STREAMS = 1024
"""Remembered of those who have left."""


class Taken(Enum):
    NEXT = "next"
    OLD = "old"
    GAP = "gap"


class Stream:
    __slots__ = ("kept", "left_at", "life", "size", "version")

    def __init__(self) -> None:
        self.life = 0
        self.version = 0
        self.kept: deque[Update] = deque()
        self.size = 0
        self.left_at: Nanos | None = None
        """When its source left the set of members."""

    def begin(self, life: int) -> None:
        self.life, self.version, self.size = life, 0, 0
        self.kept.clear()

    def append(self, update: Update) -> None:
        self.version = update.version
        self.kept.append(update)
        self.size += update.size
        while len(self.kept) > KEPT or (self.size > KEPT_BYTES and len(self.kept) > 1):
            self.size -= self.kept.popleft().size


class Updates:
    """All streams at one member. It takes for sources who are or were members while it was one, and, while it is new itself,
    others."""

    __slots__ = ("_joined_at", "app", "streams")

    def __init__(self, app: AppId) -> None:
        self.app = app
        self.streams: dict[NodeId, Stream] = {}
        self._joined_at: Nanos = 0

    def join(self, now: Nanos) -> None:
        self._joined_at = now

    def of(self, members: Collection[NodeId], now: Nanos) -> None:
        """Who may publish from now on."""
        for source, stream in list(self.streams.items()):
            if source in members:
                stream.left_at = None
            elif stream.left_at is None:
                stream.left_at = now
            elif now - stream.left_at > FORGET:
                stream.kept.clear()
                stream.size = 0
        for source in members:
            self.streams.setdefault(source, Stream())
        left = sorted((stream.left_at, source) for source, stream in self.streams.items() if stream.left_at is not None)
        for _, source in left[: max(0, len(left) - STREAMS)]:
            del self.streams[source]

    def publish(self, source: NodeId, life: int, content: bytes, payload: int = 0) -> Update:
        stream = self.streams.setdefault(source, Stream())
        if stream.life != life:
            stream.begin(life)
        update = Update(self.app, source, life, stream.version + 1, stream.version, content, payload)
        stream.append(update)
        return update

    def take(self, update: Update, now: Nanos) -> Taken:
        """NEXT: it is delivered now, for the first and only time."""
        stream = self.streams.get(update.source)
        if stream is None:
            if not self.known(update.source, now):
                return Taken.OLD
            stream = Stream()
        if update.life < stream.life or (update.life == stream.life and update.version <= stream.version):
            return Taken.OLD
        if update.after > (stream.version if update.life == stream.life else 0):
            return Taken.GAP
        if update.life > stream.life:
            stream.begin(update.life)
        stream.append(update)
        self.streams[update.source] = stream
        return Taken.NEXT

    def known(self, source: NodeId, now: Nanos) -> bool:
        """Whether anything of `source` is or could be news here."""
        return source in self.streams or now - self._joined_at < NEWCOMER

    def mark(self, source: NodeId) -> Mark:
        """How far this member has come; nothing heard: life 0, version 0."""
        stream = self.streams.get(source)
        return Mark(source, 0, 0) if stream is None else Mark(source, stream.life, stream.version)

    def marks(self, now: Nanos) -> tuple[Mark, ...]:
        """Of all sources worth telling of."""
        return tuple(self.mark(source) for source, stream in sorted(self.streams.items()) if _told(stream, now))

    def digest(self, now: Nanos) -> int:
        """Equal where the same was delivered; 32 bits."""
        text = " ".join(f"{one.source} {one.life} {one.version}" for one in self.marks(now))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")

    def lacking(self, marks: Iterable[Mark], now: Nanos) -> list[Mark]:
        """Those of `marks` that are beyond this member."""
        return [one for one in marks if behind(self.mark(one.source), one) and self.known(one.source, now)]

    def ahead(self, marks: Iterable[Mark], now: Nanos) -> tuple[Mark, ...]:
        """Of all sources those of which this member has more than somebody with just `marks`."""
        theirs = {one.source: one for one in marks}
        return tuple(one for one in self.marks(now) if behind(theirs.get(one.source, Mark(one.source, 0, 0)), one))

    def since(self, mark: Mark, most: int) -> list[Update]:
        """What somebody who has come as far as `mark` should be sent, so that it can deliver every one of it."""
        stream = self.streams.get(mark.source)
        if stream is None or not behind(mark, self.mark(mark.source)):
            return []
        come = mark.version if mark.life == stream.life else 0
        found = [update for update in stream.kept if update.version > come][:most]
        if found and found[0].after > come:
            found[0] = replace(found[0], after=come)
        return found


def behind(one: Mark, other: Mark) -> bool:
    """Whether `one` has come less far, of the same source."""
    return (one.life, one.version) < (other.life, other.version)


def _told(stream: Stream, now: Nanos) -> bool:
    return stream.version > 0 and (stream.left_at is None or now - stream.left_at < NEWCOMER)
