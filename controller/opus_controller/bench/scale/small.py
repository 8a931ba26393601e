"""Random numbers of little state: a million of Python's own generators would take 2.5 GB."""

from __future__ import annotations

from hashlib import blake2b
from random import Random
from typing import Any, cast

_MULTIPLIER, _INCREMENT = 6364136223846793005, 1442695040888963407
_MASK = (1 << 64) - 1


class Small:
    """Of `random.Random`'s methods those that a core uses, by Python's own code, over Knuth's congruential generator of 64 bits
    (MMIX; The Art of Computer Programming 2, 3.3.4), of which only the upper half is given away. Streams of different seeds are
    pieces of one cycle, at places drawn by a hash.
    """

    __slots__ = ("_state",)

    def __init__(self, seed: str) -> None:
        self._state = int.from_bytes(blake2b(seed.encode(), digest_size=8).digest(), "big")

    def random(self) -> float:
        """32 bits of it."""
        state = self._state = (self._state * _MULTIPLIER + _INCREMENT) & _MASK
        return (state >> 32) * 2.0**-32

    def getrandbits(self, count: int) -> int:
        found = 0
        for _ in range(0, count, 32):
            self._state = (self._state * _MULTIPLIER + _INCREMENT) & _MASK
            found = found << 32 | self._state >> 32
        return found >> -count % 32


for _name in ("choice", "choices", "randint", "randrange", "sample", "shuffle", "uniform"):
    setattr(Small, _name, getattr(Random, _name))
setattr(Small, "_randbelow", Random._randbelow_with_getrandbits)  # type: ignore[attr-defined]  # noqa: B010


def small(seed: str) -> Random:
    """All that a core asks of a `Random`."""
    return cast(Random, cast(Any, Small(seed)))
