"""Which keys are asked for most: counted in little room, summed without losing who is far ahead.

    requests --Sketch--> a node's lease --> its agent's summary --> the steward's view of the application

Space-Saving (Metwally, Agrawal, El Abbadi, ICDT 2005): a key that has no counter takes the least one over and begins with what
that had, so every key asked for by more than 1 / COUNTERS of all requests has one, and no count is too low. Halved with each
lease, as rates are (`cache`), so that keys which were popular give way. What is told of a key is at most what it had taken over
less: the error is subtracted.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from math import exp

from opus_node.core.messages import KeyRate
from opus_node.core.shards import shard_of
from opus_node.core.types import SECOND, Nanos

COUNTERS = 16
OF_NODE = 4
"""Keys in a lease ..."""
OF_AGENT = 8
"""... and in a summary at most, those asked for most."""
SURE = 2.0
"""A key is told of once so many requests were for it, lately: one is chance."""
SAME = 0.25
"""What is told changes notably if more than this share of what was told of is for other keys."""


WINDOW: Nanos = 15 * SECOND
"""Over which an agent's counts of shards are smoothed, as nodes' rates are."""
LEAST = 0.05
"""Requests/s: what is asked for less in a window is chance."""


class Sketch:
    """Of one node's requests for one application."""

    __slots__ = ("_counts", "_seen")

    def __init__(self) -> None:
        self._counts: dict[int, list[float]] = {}
        """key -> [count, how much of it may be others']."""
        self._seen = 0.0

    def count(self, key: int) -> None:
        self._seen += 1.0
        found = self._counts.get(key)
        if found is not None:
            found[0] += 1.0
        elif len(self._counts) < COUNTERS:
            self._counts[key] = [1.0, 0.0]
        else:
            least = min(self._counts, key=lambda key: (self._counts[key][0], key))
            taken, _ = self._counts.pop(least)
            self._counts[key] = [taken + 1.0, taken]

    def told(self, rate: float) -> tuple[KeyRate, ...]:
        """The most popular, of `rate` requests a second; then all counts halve."""
        sure = ((count - error, key) for key, (count, error) in self._counts.items() if count - error >= SURE)
        most = heapq.nsmallest(OF_NODE, sure, key=lambda one: (-one[0], one[1]))
        found = tuple(KeyRate(key, round(rate * count / self._seen, 3)) for count, key in most)
        self._seen /= 2
        self._counts = {key: [count / 2, error / 2] for key, (count, error) in self._counts.items() if count >= 1.0}
        return found


class Asked:
    """Of one agent: how much each shard of an application is asked for by way of it. One number a shard."""

    __slots__ = ("_counts", "_rates", "_since")

    def __init__(self, shards: int) -> None:
        self._counts = [0] * shards
        self._rates = [0.0] * shards
        self._since: Nanos = -1

    def count(self, key: int) -> None:
        self._counts[shard_of(key, len(self._counts))] += 1

    def told(self, now: Nanos) -> tuple[KeyRate, ...]:
        """The hottest, OF_AGENT at most, in requests/s, smoothed over about WINDOW; of those left out nothing is said."""
        span = now - self._since
        if self._since < 0:
            self._since, self._counts = now, [0] * len(self._counts)
        elif span >= SECOND:
            gain = 1 - exp(-span / WINDOW)
            self._rates = [
                rate + gain * (count * SECOND / span - rate) for rate, count in zip(self._rates, self._counts, strict=True)
            ]
            self._since, self._counts = now, [0] * len(self._counts)
        best = heapq.nsmallest(OF_AGENT, ((-rate, shard) for shard, rate in enumerate(self._rates) if rate >= LEAST))
        return tuple(KeyRate(shard, round(-rate, 3)) for rate, shard in best)


def summed(told: Iterable[tuple[KeyRate, ...]], most: int = OF_AGENT) -> tuple[KeyRate, ...]:
    """Of several, the `most` popular first."""
    rates: dict[int, float] = {}
    for keys in told:
        for one in keys:
            rates[one.key] = rates.get(one.key, 0.0) + one.rate
    best = heapq.nsmallest(most, rates.items(), key=lambda one: (-one[1], one[0]))
    return tuple(KeyRate(key, round(rate, 3)) for key, rate in best)


def differ(now: tuple[KeyRate, ...], told: tuple[KeyRate, ...]) -> bool:
    """Notably: other keys than those told of, or as many more or fewer requests for them."""
    before, after = ({one.key: one.rate for one in keys} for keys in (told, now))
    moved = sum((abs(after.get(key, 0.0) - before.get(key, 0.0)) for key in sorted({*before, *after})), 0.0)
    return moved > 2 * SAME * max(sum(before.values(), 0.0), sum(after.values(), 0.0))
