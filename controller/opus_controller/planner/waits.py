"""What clients ask while they are not answered: what of it is answered after all, and which reads wait for writes."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp

SECOND = 1_000_000_000
MOST_KEYS = 1000
"""With more, so many of them stand for all."""


class Waits:
    """What one client asks of one kind, and when it was not answered."""

    __slots__ = ("_patience", "_rate", "_waited", "missed")

    def __init__(self, rate: float, patience: int) -> None:
        """`rate`: requests a second, each asked again for `patience`."""
        self._rate = rate
        self._patience = patience
        self._waited = 0
        """For how long it has not been answered."""
        self.missed = 0.0

    def goes(self, nanos: int, answered: float) -> None:
        """`answered`: the share that is."""
        if answered <= 0:
            self._waited += nanos
        elif nanos > 0:
            self.ends(self._patience)
            self.missed += self._rate * (1 - answered) * nanos / SECOND

    def ends(self, patience: int = 0) -> None:
        """Who asked less than `patience` ago is answered after all."""
        self.missed += self._rate * max(0, self._waited - patience) / SECOND
        self._waited = 0


class Unsettled:
    """Keys that were written to while a member was silent: with write-all a read of one waits for that member as well."""

    def __init__(self, writes: float, keys: int, zipf: float) -> None:
        """`writes`: a second, of all clients; keys as of a workload."""
        count = min(keys, MOST_KEYS)
        weights = [(rank + 1) ** -zipf for rank in range(count)]
        self._writes = writes
        self._shares = [weight / sum(weights) for weight in weights] if zipf else [1 / keys] * count
        self._scale = 1 / sum(self._shares)

    def free(self, start: int, end: int) -> float:
        """The share of reads from `start` to `end`, ns after the silence began, whose keys nobody has written since."""
        a, b = start / SECOND, end / SECOND
        if not self._writes or b <= a:
            return 1.0
        if self._shares[0] == self._shares[-1]:
            return _mean(self._writes * self._shares[0], a, b)
        return self._scale * sum(share * _mean(self._writes * share, a, b) for share in self._shares)


def _mean(rate: float, a: float, b: float) -> float:
    return (exp(-rate * a) - exp(-rate * b)) / (rate * (b - a))


def busy(rates: Sequence[tuple[float, float]]) -> float:
    """Writes a second."""
    return sum(writes for _, writes in rates)
