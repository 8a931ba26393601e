"""Pauses before somebody is asked, or told, the same thing again: each twice as long as the one before.

Kept for each of a node's peers, or for pairs of nodes, so of each there is one integer in place of a tuple of two: the end of the
pause, and in the lowest bits how often there was one.
"""

from __future__ import annotations

from typing import Final

from opus_node.core.types import Nanos

Pauses = int
NO_PAUSE: Final[Pauses] = 0
"""There was none."""

_TIMES_BITS = 3
_TIMES_MOST = (1 << _TIMES_BITS) - 1


def over(pauses: Pauses, now: Nanos) -> bool:
    """Whether the last one is."""
    return pauses >> _TIMES_BITS <= now


def paused(pauses: Pauses, now: Nanos, first: Nanos, doubled: int) -> Pauses:
    """The next one begins: `first`, doubled with each before it, as often as `doubled` (7 at most)."""
    times = pauses & _TIMES_MOST
    until = now + (first << min(times, doubled))
    return until << _TIMES_BITS | min(times + 1, _TIMES_MOST)
