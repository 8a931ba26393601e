"""Virtual time: what is to happen, in order of time and, at one instant, in the order in which it was put down.

Time is cut into slots of about a tenth of a second. Only the slot that time is in is a heap; what is for later lies in its slot's
list, unordered, until the slot comes (a calendar queue of one day: Brown, CACM 31(10), 1988). The order is the same as of one
heap, since entries are compared by (time, number) alone; with millions waiting, a heap of all would touch twenty of them with
each, and memory that no cache holds.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any, Final

from opus_node.core.types import Nanos

Handler = Callable[[Nanos, Any, Any, Any], None]
Entry = tuple[Nanos, int, Handler, Any, Any, Any]

SLOT_BITS: Final = 27
"""134 ms."""


class Agenda:
    """Entries are (time, number, handler, three arguments). The handler is called with the time and the arguments."""

    __slots__ = ("_heap", "_later", "_number", "_slot", "_slots", "handled", "now")

    def __init__(self) -> None:
        self._heap: list[Entry] = []
        """Of the slots up to `_slot`."""
        self._slot = 0
        self._later: dict[int, list[Entry]] = {}
        """By slot, those after `_slot`."""
        self._slots: list[int] = []
        """A heap of the keys of `_later`."""
        self._number = 0
        self.now: Nanos = 0
        self.handled = 0

    def at(self, t: Nanos, handler: Handler, a: Any = None, b: Any = None, c: Any = None) -> None:
        """Call `handler(t, a, b, c)` at `t`, or now if that has passed."""
        self._number += 1
        if t < self.now:
            t = self.now
        slot = t >> SLOT_BITS
        if slot <= self._slot:
            heappush(self._heap, (t, self._number, handler, a, b, c))
            return
        later = self._later.get(slot)
        if later is not None:
            later.append((t, self._number, handler, a, b, c))
        else:
            self._later[slot] = [(t, self._number, handler, a, b, c)]
            heappush(self._slots, slot)

    def __len__(self) -> int:
        return len(self._heap) + sum(map(len, self._later.values()))

    def run(self, until: Nanos, most: int) -> bool:
        """Live up to and including `until`, at most so many entries; True when `until` is reached."""
        left = most
        while self._heap or self._turn(until >> SLOT_BITS):
            heap = self._heap
            while heap and heap[0][0] <= until:
                if not left:
                    self.handled += most
                    return False
                left -= 1
                t, _, handler, a, b, c = heappop(heap)
                self.now = t
                handler(t, a, b, c)
            if heap:
                break
        self.now = max(self.now, until)
        self.handled += most - left
        return True

    def _turn(self, last: int) -> bool:
        """The next slot that has entries begins, unless it is after `last`; the heap is empty."""
        if not self._slots or self._slots[0] > last:
            return False
        self._slot = heappop(self._slots)
        self._heap = self._later.pop(self._slot)
        heapify(self._heap)
        return True
