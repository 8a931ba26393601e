"""Virtual time: what is to happen, in order of time and, at one instant, in the order in which it was put down."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from opus_node.core.types import Nanos

Handler = Callable[[Nanos, Any, Any, Any], None]


class Agenda:
    """A heap of (time, number, handler, three arguments). The handler is called with the time and the arguments."""

    __slots__ = ("_heap", "_number", "handled", "now")

    def __init__(self) -> None:
        self._heap: list[tuple[Nanos, int, Handler, Any, Any, Any]] = []
        self._number = 0
        self.now: Nanos = 0
        self.handled = 0

    def at(self, t: Nanos, handler: Handler, a: Any = None, b: Any = None, c: Any = None) -> None:
        """Call `handler(t, a, b, c)` at `t`, or now if that has passed."""
        self._number += 1
        heappush(self._heap, (t if t > self.now else self.now, self._number, handler, a, b, c))

    def __len__(self) -> int:
        return len(self._heap)

    def run(self, until: Nanos, most: int) -> bool:
        """Live up to and including `until`, at most so many entries; True when `until` is reached."""
        heap = self._heap
        for done in range(most):
            if not heap or heap[0][0] > until:
                self.now = max(self.now, until)
                self.handled += done
                return True
            t, _, handler, a, b, c = heappop(heap)
            self.now = t
            handler(t, a, b, c)
        self.handled += most
        return False
