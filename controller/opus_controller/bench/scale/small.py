"""Random numbers of little state: a million of Python's own generators would take 2.5 GB."""

from __future__ import annotations

from random import Random
from typing import Any, cast

from opus_controller.runtimes.sim.draws import INCREMENT, MASK, MULTIPLIER, Draws


class Small(Draws):
    """Of `random.Random`'s methods those that a core uses, by Python's own code, over the simulator's own generator."""

    __slots__ = ()

    def getrandbits(self, count: int) -> int:
        found = 0
        for _ in range(0, count, 32):
            self._state = (self._state * MULTIPLIER + INCREMENT) & MASK
            found = found << 32 | self._state >> 32
        return found >> -count % 32


for _name in ("choice", "choices", "randint", "randrange", "sample", "shuffle", "uniform"):
    setattr(Small, _name, getattr(Random, _name))
setattr(Small, "_randbelow", Random._randbelow_with_getrandbits)  # type: ignore[attr-defined]  # noqa: B010


def small(seed: str) -> Random:
    """All that a core asks of a `Random`."""
    return cast(Random, cast(Any, Small(seed)))
