"""Pauses that double, packed into one integer."""

from __future__ import annotations

from opus_node.core.pauses import NO_PAUSE, over, paused
from opus_node.core.types import SECOND


def test_each_is_twice_as_long_as_the_one_before_up_to_a_limit() -> None:
    pauses, now, lengths = NO_PAUSE, 7, []
    for _ in range(12):
        assert over(pauses, now)
        pauses = paused(pauses, now, SECOND, 4)
        lengths.append(next(length for length in range(1, 100) if over(pauses, now + length * SECOND)))
        now += lengths[-1] * SECOND
        assert not over(pauses, now - 1)
    assert lengths == [1, 2, 4, 8, 16, 16, 16, 16, 16, 16, 16, 16]


def test_they_end_to_the_nanosecond() -> None:
    pauses = paused(NO_PAUSE, 600 * SECOND + 1, 1, 0)
    assert not over(pauses, 600 * SECOND + 1)
    assert over(pauses, 600 * SECOND + 2)
