"""Where members should be of which a majority has to answer (`data`): whoever is asked is to be near a majority of them, too.

    cost(chosen) = sum over places of demand * (ms to the nearest of the chosen + ROUNDS * ms from there to a majority) + dues
    led            demand * (ms to the leader + LED_ROUNDS * ms from there to a majority): the leader is whoever costs least

k-median alone (`kmedian`) spreads members as far as demand is, and each operation then goes round the world. Before any cost
counts that no region has a majority for itself: its end would be the data's.

Local search by single swaps, from what is there and from a greedy choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import inf
from operator import mul

ROUNDS = 1.5
"""Of questions to a majority: a read takes one, a write two."""
LED_ROUNDS = 0.5
"""By a leader: a read takes none, a write one."""
SWAPS = 16
"""In one search; one that wants more goes on next time."""

Cost = tuple[int, float]
"""(members near each other beyond the most that may be, requests/s times ms)."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Candidates are numbered."""

    demand: Sequence[float]
    """requests/s, by place."""
    ways: Sequence[Sequence[float]]
    """ms, by candidate and place."""
    apart: Sequence[Sequence[float]]
    """ms, by two candidates."""
    close: float
    """ms: so near each other two are likely to fail together."""
    risks: Sequence[float]
    """By candidate: a share of a member's mean part of the cost, as it may fail or is weak."""
    barred: frozenset[int]


@dataclass(frozen=True, slots=True)
class Quorate:
    ground: Ground
    count: int
    """m."""
    led: bool

    def cost(self, chosen: Sequence[int]) -> Cost:
        """Of fewer than m as well: the nearest then have to do for a majority."""
        if not chosen:
            return 0, inf
        ground = self.ground
        others = min(self.count // 2, len(chosen) - 1)
        beyond = [0.0] * len(chosen)
        if others:
            beyond = [sorted([ground.apart[j][k] for k in chosen if k != j])[others - 1] for j in chosen]
        rows = [ground.ways[j] for j in chosen]
        if self.led:
            whole = sum(ground.demand, 0.0)
            each = [sum(map(mul, ground.demand, row)) + LED_ROUNDS * whole * ms for row, ms in zip(rows, beyond, strict=True)]
            delay = min(each)
        else:
            delay = 0.0
            for demand, place in zip(ground.demand, zip(*rows, strict=True), strict=True):
                nearest = min(range(len(chosen)), key=place.__getitem__)
                delay += demand * (place[nearest] + ROUNDS * beyond[nearest])
        risk = sum((ground.risks[j] for j in chosen), 0.0) / max(1, self.count)
        return self._crowded(chosen), delay * (1 + risk)

    def _crowded(self, chosen: Sequence[int]) -> int:
        apart, close = self.ground.apart, self.ground.close
        most = max(sum([k == j or apart[j][k] <= close for k in chosen]) for j in chosen)
        return max(0, most - (self.count - 1) // 2)

    def filled(self, keep: Sequence[int]) -> list[int]:
        """`keep`, and then always who makes it cheapest, up to m."""
        chosen = list(keep)
        while len(chosen) < self.count and (free := self._free(chosen)):
            chosen.append(min(free, key=lambda one: self.cost([*chosen, one])))
        return chosen

    def swapped(self, present: Sequence[int], worth: float = 0.0) -> list[int]:
        """After the best swap, again and again while one saves more than `worth` of the cost, or fewer are too many somewhere."""
        chosen = list(present)
        cost = self.cost(chosen)
        for _ in range(SWAPS):
            found = min(((self.cost(other), k) for k, other in enumerate(self._swaps(chosen))), default=None)
            if found is None or not self._better(found[0], cost, worth):
                break
            chosen = next(other for k, other in enumerate(self._swaps(chosen)) if k == found[1])
            cost = found[0]
        return chosen

    def placed(self, keep: Sequence[int], worth: float = 0.0) -> list[int]:
        """`keep` filled up, and changed as far as each move is worth it; without `keep` the cheapest set found."""
        anew = self.swapped(self.filled(()))
        if not keep:
            return anew
        kept = self.swapped(self.filled(keep), worth)
        moves = len({*anew} - {*keep}) - len({*kept} - {*keep})
        if not self._better(self.cost(anew), self.cost(kept), worth * max(0, moves)):
            return kept
        return [*(c for c in keep if c in anew), *(c for c in anew if c not in keep)]

    def substitutes(self, chosen: Sequence[int]) -> list[int]:
        """For each, who would best take its place."""
        free = self._free(chosen)
        rests = [[one for one in chosen if one != out] for out in chosen]
        return [min(free, key=lambda one, rest=rest: self.cost([*rest, one])) for rest in rests if free]  # type: ignore[misc]

    @staticmethod
    def _better(one: Cost, other: Cost, worth: float) -> bool:
        return one[0] < other[0] or (one[0] == other[0] and one[1] < other[1] * (1 - worth) - 1e-9)

    def _free(self, chosen: Sequence[int]) -> list[int]:
        return [one for one in range(len(self.ground.ways)) if one not in chosen and one not in self.ground.barred]

    def _swaps(self, chosen: Sequence[int]) -> Iterator[list[int]]:
        free = self._free(chosen)
        return chain.from_iterable(([*chosen[:k], one, *chosen[k + 1 :]] for one in free) for k in range(len(chosen)))
