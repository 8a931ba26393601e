"""What a node noticed, kept until somebody fetches it: numbered lines in a bounded ring, read by any number of watchers."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice

MAX_BYTES = 4 << 20
"""Of lines that nobody has been sent yet; beyond it the oldest are lost and counted."""
KEPT_BYTES = 256 << 10
"""Of lines that were sent, for a watcher whose stream broke before it read them."""


class NoticeRing:
    """Lines numbered from 1 on. A line is lost if it is pushed out unsent, or was sent into a stream that broke long ago."""

    def __init__(self, max_bytes: int = MAX_BYTES, kept_bytes: int = KEPT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept_bytes = kept_bytes
        self._lines: deque[bytes] = deque()
        self._first = 1
        """Number of the oldest line kept."""
        self._bytes = 0
        self._sent = 0
        """Number of the last line that any watcher was sent."""
        self._waiting: list[asyncio.Future[None]] = []
        self.dropped = 0

    @property
    def last(self) -> int:
        """Number of the newest line; 0 before the first."""
        return self._first + len(self._lines) - 1

    @property
    def unsent(self) -> bool:
        """Whether some line was sent to no watcher yet, if there has been any."""
        return 0 < self._sent < self.last

    def append(self, line: bytes) -> None:
        """`line` without a line break."""
        self._lines.append(line)
        self._bytes += len(line)
        while self._bytes > self._kept_bytes and self._first <= self._sent:
            self._forget()
        while self._bytes > self._max_bytes:
            self._forget()
            self.dropped += 1
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    def acknowledge(self, number: int) -> None:
        """A watcher has everything up to `number` (0: it comes for the first time) and begins after it."""
        if number:  # what was sent to it after that, and is kept no longer, broke off with its stream
            self.dropped += max(0, min(self._first - 1, self._sent) - number)
        while self._lines and self._first <= number:
            self._forget()
        self._sent = max(self._sent, min(number, self.last))

    async def after(self, number: int) -> None:
        """Return when there is a line later than `number`."""
        while self.last <= number:
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting

    def take(self, number: int, max_bytes: int) -> tuple[int, bytes]:
        """The lines after `number`, about `max_bytes` of them, each ended by a line break; and the last one's number."""
        start = max(0, number + 1 - self._first)
        batch: list[bytes] = []
        size = 0
        for line in islice(self._lines, start, None):
            batch.append(line)
            size += len(line)
            if size >= max_bytes:
                break
        last = self._first + start + len(batch) - 1
        self._sent = max(self._sent, last)
        return last, b"".join([line + b"\n" for line in batch])

    def _forget(self) -> None:
        self._bytes -= len(self._lines.popleft())
        self._first += 1
