"""Random numbers of little state, one source a host: what a host draws depends on nothing that others do.

Python's own generators take 2.5 kB each, a million of them 2.5 GB. These are enough for what networks do to packets.
"""

from __future__ import annotations

from hashlib import blake2b

MULTIPLIER, INCREMENT = 6364136223846793005, 1442695040888963407
MASK = (1 << 64) - 1


class Draws:
    """Knuth's congruential generator of 64 bits (MMIX; The Art of Computer Programming 2, 3.3.4), of which only the upper half is
    given away. Sources of different seeds are pieces of one cycle, at places drawn by a hash.
    """

    __slots__ = ("_state",)

    def __init__(self, seed: str) -> None:
        self._state = int.from_bytes(blake2b(seed.encode(), digest_size=8).digest(), "big")

    def random(self) -> float:
        """32 bits of it."""
        state = self._state = (self._state * MULTIPLIER + INCREMENT) & MASK
        return (state >> 32) * 2.0**-32
