"""Many timers behind the one `wake_at` of `Ready`: a heap in which cancelled entries are skipped, not searched for."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

from opus_node.core.types import Nanos


class Timer:
    """A promise to call `run(arg)` at `when`; `cancel()` breaks it at no cost."""

    __slots__ = ("arg", "run", "when")

    def __init__(self, when: Nanos, run: Callable[[Any], None], arg: Any) -> None:
        self.when = when
        self.run: Callable[[Any], None] | None = run
        self.arg = arg

    def cancel(self) -> None:
        self.run = None
        self.arg = None


class Timers:
    """Fires in order of time, then of setting: a total order, so that the same history wakes the same way."""

    __slots__ = ("_heap", "_order")

    def __init__(self) -> None:
        self._heap: list[tuple[Nanos, int, Timer]] = []
        self._order = 0

    def at(self, when: Nanos, run: Callable[[Any], None], arg: Any = None) -> Timer:
        timer = Timer(when, run, arg)
        self._order += 1
        heapq.heappush(self._heap, (when, self._order, timer))
        if len(self._heap) > 4096:
            self._compact()
        return timer

    def fire(self, now: Nanos) -> None:
        """Runs what is due at `now`, also what those set for `now` or earlier."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            timer = heapq.heappop(heap)[2]
            if timer.run is not None:
                run, arg = timer.run, timer.arg
                timer.cancel()
                run(arg)

    def next(self) -> Nanos | None:
        """When the earliest live timer is due; throws away the dead ones before it."""
        heap = self._heap
        while heap:
            top = heap[0]
            if top[2].run is not None:
                return top[0]
            heapq.heappop(heap)
        return None

    def __len__(self) -> int:
        return sum(1 for entry in self._heap if entry[2].run is not None)

    def _compact(self) -> None:
        alive = [entry for entry in self._heap if entry[2].run is not None]
        if len(alive) * 2 < len(self._heap):
            self._heap[:] = alive
            heapq.heapify(self._heap)
