"""Virtual time: what is to happen, in order of time and, at one instant, by whose doing it is.

    (time, turn)        turn: the index of the host that put the entry down, then how many it had put down before

That order follows from what each host does, in its own order, and from nothing else: not from how the doings of hosts interleave,
so it is the same wherever they live (`border`). What different hosts do at one instant cannot matter to each other: whatever
goes from one to another takes time. What the world itself puts down comes last at its instant, in the order of its putting down.

Time is cut into slots of some milliseconds. Only the slot that time is in is in order; what is for later lies in its slot's
list, as it came, until the slot does (a calendar queue of one day: Brown, CACM 31(10), 1988). The order is the same as of one
heap, since entries are compared by (time, turn) alone; a heap of all would touch twenty of them with each, and memory that no
cache holds: sorted once, they are touched in one go.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Final, Protocol

from opus_node.core.types import Nanos

Handler = Callable[[Nanos, Any, Any, Any], None]
Entry = tuple[Nanos, int, Handler, Any, Any, Any]

SLOT_BITS: Final = 23
"""8 ms: of a million hosts some thousand entries, which a cache holds."""
_TURN_BITS: Final = 40
"""Entries of one host; indices of hosts lie above."""
_WORLD: Final = 1 << 60
"""The world's own turns, after those of a million hosts."""


def turns_of(index: int) -> int:
    """Before the first turn of the host of this index."""
    return index << _TURN_BITS


class Who(Protocol):
    """Who puts entries down."""

    turn: int
    """Of the last one."""


class _Turns:
    __slots__ = ("turn",)

    def __init__(self, turn: int) -> None:
        self.turn = turn


class Agenda:
    """Entries are (time, turn, handler, three arguments). The handler is called with the time and the arguments."""

    __slots__ = ("_brought", "_done", "_later", "_present", "_slot", "_slots", "_world", "handled", "now")

    def __init__(self) -> None:
        self._present: list[Entry] = []
        """Of the slots up to `_slot`, in order ..."""
        self._done = 0
        """... and how many of them are over, while time passes."""
        self._slot = 0
        self._later: dict[int, list[Entry]] = {}
        """By slot, those after `_slot`."""
        self._slots: list[int] = []
        """A heap of the keys of `_later`."""
        self._world = _Turns(_WORLD)
        self._brought = _Turns(0)
        self.now: Nanos = 0
        self.handled = 0

    def at(self, t: Nanos, handler: Handler, a: Any = None, b: Any = None, c: Any = None) -> None:
        """The world's own: call `handler(t, a, b, c)` at `t`, or now if that has passed."""
        self.put(t, self._world, handler, a, b, c)

    def put(self, t: Nanos, who: Who, handler: Handler, a: Any = None, b: Any = None, c: Any = None) -> None:
        """The same by the doing of a host."""
        turn = who.turn = who.turn + 1
        if t < self.now:
            t = self.now
        slot = t >> SLOT_BITS
        if slot <= self._slot:
            insort(self._present, (t, turn, handler, a, b, c), self._done)
            return
        later = self._later.get(slot)
        if later is not None:
            later.append((t, turn, handler, a, b, c))
        else:
            self._later[slot] = [(t, turn, handler, a, b, c)]
            heappush(self._slots, slot)

    def bring(self, t: Nanos, turn: int, handler: Handler, a: Any, b: Any, c: Any) -> None:
        """An entry that a host elsewhere has put down."""
        self._brought.turn = turn - 1
        self.put(t, self._brought, handler, a, b, c)

    def __len__(self) -> int:
        return len(self._present) - self._done + sum(map(len, self._later.values()))

    def run(self, until: Nanos, most: int) -> bool:
        """Live up to and including `until`, at most so many entries; True when `until` is reached."""
        left = most
        while self._present or self._turn_over(until >> SLOT_BITS):
            left = self._pass(until, left)
            if self._present:
                break
        self.handled += most - left
        if self._present and self._present[0][0] <= until:
            return False
        self.now = max(self.now, until)
        return True

    def _pass(self, until: Nanos, left: int) -> int:
        """What is present, up to `until` and at most `left` entries; how many are left then."""
        present, done = self._present, 0
        try:
            while done < len(present) and left and present[done][0] <= until:
                t, _, handler, a, b, c = present[done]
                left -= 1
                self._done = done = done + 1
                self.now = t
                handler(t, a, b, c)
        finally:
            del present[:done]
            self._done = 0
        return left

    def _turn_over(self, last: int) -> bool:
        """The next slot that has entries begins, unless it is after `last`; nothing is present."""
        if not self._slots or self._slots[0] > last:
            return False
        self._slot = heappop(self._slots)
        self._present = self._later.pop(self._slot)
        self._present.sort()
        return True
