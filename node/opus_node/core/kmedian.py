"""Where m servers should be so that demand is near one: k-median with dues, by lazy greedy choice and single swaps.

    cost(chosen) = sum over points of the least cost among the chosen + sum of the dues of the chosen

A point is a place with demand, or the same place in a scenario in which some candidates have failed; its weight is in its
costs already. Greedy choice is lazy, since what a candidate saves only shrinks as others are taken (Minoux 1978). A local
optimum of single swaps is within five times the best in theory (Arya et al., SIAM J. Computing 33(3), 2004), and within a few
percent on networks. All swaps with one newcomer are weighed at once (Resende, Werneck, Annals of OR 150, 2007): only points
that it would serve better than their second best matter.

Deterministic: the same inputs give the same servers; among equals the first candidate wins.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Sequence
from math import inf
from operator import sub

Column = Sequence[float]
"""Of one candidate: what serving each point by it costs."""
Point = Sequence[float]
"""What being served by each candidate costs it."""
_State = tuple[float, float, int, int]

SWAPS = 64
"""In one search; one that wants more goes on next time."""
ROUNDING = 1e-9
"""What saves a smaller share of all cost saves nothing: sums that are added to and taken from are a little off."""


def total(columns: Sequence[Column], chosen: Sequence[int], dues: Sequence[float]) -> float:
    return sum(_nearest(columns, chosen), 0.0) + sum((dues[c] for c in chosen), 0.0)


def greedy(
    columns: Sequence[Column], count: int, dues: Sequence[float], keep: Sequence[int] = (), barred: Collection[int] = ()
) -> list[int]:
    """`keep`, and then always the candidate that saves most, up to `count`."""
    chosen = list(keep)
    if len(chosen) >= count:
        return chosen
    nearest = _nearest(columns, chosen)
    out = {*keep, *barred}
    if chosen:
        bids = [(_saves(columns[c], nearest, dues[c]), c, len(chosen)) for c in range(len(columns)) if c not in out]
    else:  # nobody is dearer than none
        whole = sum(nearest, 0.0)
        bids = [(whole - sum(columns[c], 0.0) - dues[c], c, 0) for c in range(len(columns)) if c not in out]
    heap = [(-saved, c, when) for saved, c, when in bids]
    heapq.heapify(heap)
    while len(chosen) < count and heap:
        _, c, when = heapq.heappop(heap)
        if when < len(chosen):  # an old bid: too high, if anything
            heapq.heappush(heap, (-_saves(columns[c], nearest, dues[c]), c, len(chosen)))
            continue
        chosen.append(c)
        nearest = list(map(min, nearest, columns[c]))
    return chosen


def _nearest(columns: Sequence[Column], chosen: Sequence[int]) -> list[float]:
    """Cost of each point; without any server one that is above all."""
    some = [columns[c] for c in chosen] or columns
    if len(some) < 2:
        return list(some[0]) if some else []
    return list(map(min if chosen else max, *some))


def _saves(column: Column, nearest: Sequence[float], due: float) -> float:
    return sum([now - cost for now, cost in zip(nearest, column, strict=True) if cost < now], 0.0) - due


def swapped(
    columns: Sequence[Column],
    chosen: Sequence[int],
    dues: Sequence[float],
    worth: float = 0.0,
    barred: Collection[int] = (),
    points: Sequence[Point] | None = None,
) -> list[int]:
    """`chosen` after the best swap, again and again while one saves more than `worth`; those that stay keep their order.

    `points`: the columns turned round, if they are at hand.
    """
    if not chosen or len(columns) <= len({*chosen, *barred}):
        return list(chosen)
    search = _Swaps(list(zip(*columns, strict=True)) if points is None else points, chosen, dues, barred)
    for _ in range(SWAPS):
        saved, out, into = search.best()
        if into < 0 or saved <= max(worth, ROUNDING * search.cost):
            break
        search.swap(out, into)
    return search.chosen


def substitutes(
    columns: Sequence[Column], chosen: Sequence[int], dues: Sequence[float], barred: Collection[int] = ()
) -> list[int]:
    """For each of `chosen`, who would best take its place if it were gone; nobody is left: none."""
    if not chosen:
        return []
    search = _Swaps(list(zip(*columns, strict=True)), chosen, dues, barred)
    return search.substitutes()


class _Swaps:
    """What all swaps would save, kept as they are made: a swap changes that by few points.

    A newcomer saves `saved[c]`, and spares `spared[position][c]` of what the loss of that member costs.
    """

    def __init__(self, points: Sequence[Point], chosen: Sequence[int], dues: Sequence[float], barred: Collection[int]) -> None:
        self.chosen = list(chosen)
        self._points = points
        self._dues = dues
        self._barred = frozenset(barred)
        self._states = [self._state(row) for row in points]
        self._near: list[tuple[float, list[int]]] = [(-inf, []) for _ in points]
        """By point: (cost, all candidates that would serve it for less)."""
        self._saved = [0.0] * len(dues)
        self._spared = [[0.0] * len(dues) for _ in chosen]
        for i in range(len(points)):
            self._weigh(i, 1)

    @property
    def cost(self) -> float:
        return sum((state[0] for state in self._states), 0.0)

    def _state(self, row: Sequence[float]) -> _State:
        """(least cost, the next one, position of the least, of the next) of a point.

        With one server the next is as dear as any candidate: whoever leaves is followed by somebody.
        """
        costs = [row[c] for c in self.chosen]
        first = min(costs)
        by = costs.index(first)
        if len(costs) == 1:
            return first, max(row), by, -1
        costs[by] = inf
        second = min(costs)
        return first, second, by, costs.index(second)

    def _weigh(self, i: int, sign: int) -> None:
        """Add what a point says of each candidate that would serve it better than its second best, or take it back."""
        row = self._points[i]
        first, second, by, _ = self._states[i]
        saved, spared = self._saved, self._spared[by]
        for c in self._nearer(i, second):
            cost = row[c]
            if cost >= second:
                continue
            if cost < first:
                saved[c] += sign * (first - cost)
                cost = first
            spared[c] += sign * (second - cost)

    def _nearer(self, i: int, bound: float) -> list[int]:
        """Candidates that would serve a point for less than `bound`, and perhaps others: a row is searched anew only for more."""
        least, found = self._near[i]
        if least < bound:
            found = [c for c, cost in enumerate(self._points[i]) if cost < bound]
            self._near[i] = (bound, found)
        return found

    def best(self) -> tuple[float, int, int]:
        """(what it saves, position in `chosen`, candidate); the candidate is -1 if none saves anything."""
        loss = [-self._dues[c] for c in self.chosen]
        for first, second, by, _ in self._states:
            loss[by] += second - first
        taken = {*self.chosen, *self._barred}
        found = (0.0, 0, -1)
        for c, spared in enumerate(zip(*self._spared, strict=True)):
            if c in taken:
                continue
            left = list(map(sub, loss, spared))
            least = min(left)
            saved = self._saved[c] - self._dues[c] - least
            if saved > found[0]:
                found = (saved, left.index(least), c)
        return found

    def substitutes(self) -> list[int]:
        taken = {*self.chosen, *self._barred}
        free = [c for c in range(len(self._dues)) if c not in taken]
        return [max(free, key=lambda c: self._saved[c] + row[c] - self._dues[c]) for row in self._spared if free]

    def swap(self, out: int, into: int) -> None:
        self.chosen[out] = into
        for i, row in enumerate(self._points):
            _, second, by, after = self._states[i]
            if by == out or after == out or row[into] < second:
                self._weigh(i, -1)
                self._states[i] = self._state(row)
                self._weigh(i, 1)


def placed(
    columns: Sequence[Column],
    count: int,
    dues: Sequence[float],
    keep: Sequence[int] = (),
    worth: float = 0.0,
    barred: Collection[int] = (),
) -> list[int]:
    """`keep` filled up and changed as far as each move saves more than `worth`. Without `keep` the cheapest set found.

    Two searches, since each alone may end in a corner: swaps from what is there, and swaps from the greedy choice.
    """
    points = list(zip(*columns, strict=True))
    anew = swapped(columns, greedy(columns, count, dues, (), barred), dues, 0.0, barred, points)
    if not keep:
        return anew
    kept = swapped(columns, greedy(columns, count, dues, keep, barred), dues, worth, barred, points)
    moves = len({*anew} - {*keep}) - len({*kept} - {*keep})
    if total(columns, anew, dues) + worth * moves >= total(columns, kept, dues):
        return kept
    return [c for c in keep if c in anew] + [c for c in anew if c not in keep]
