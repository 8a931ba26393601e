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

Column = Sequence[float]
"""Of one candidate: what serving each point by it costs."""

SWAPS = 64
"""In one search; one that wants more goes on next time."""


def total(columns: Sequence[Column], chosen: Sequence[int], dues: Sequence[float]) -> float:
    return sum(_nearest(columns, chosen)) + sum(dues[c] for c in chosen)


def greedy(
    columns: Sequence[Column], count: int, dues: Sequence[float], keep: Sequence[int] = (), barred: Collection[int] = ()
) -> list[int]:
    """`keep`, and then always the candidate that saves most, up to `count`."""
    chosen = list(keep)
    nearest = _nearest(columns, chosen)
    out = {*keep, *barred}
    bids = [(_saves(columns[c], nearest, dues[c]), c, len(chosen)) for c in range(len(columns)) if c not in out]
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
    return sum([now - cost for now, cost in zip(nearest, column, strict=True) if cost < now]) - due


def swapped(
    columns: Sequence[Column], chosen: Sequence[int], dues: Sequence[float], worth: float = 0.0, barred: Collection[int] = ()
) -> list[int]:
    """`chosen` after the best swap, again and again while one saves more than `worth`; those that stay keep their order."""
    chosen = list(chosen)
    for _ in range(SWAPS):
        saved, out, into = _best_swap(columns, chosen, dues, barred)
        if into < 0 or saved <= worth:
            break
        chosen[out] = into
    return chosen


def _best_swap(
    columns: Sequence[Column], chosen: Sequence[int], dues: Sequence[float], barred: Collection[int]
) -> tuple[float, int, int]:
    """(what it saves, position in `chosen`, candidate); the candidate is -1 if there is none left."""
    first, second, by = _two_nearest(columns, chosen)
    loss = [-dues[c] for c in chosen]
    for best, next_best, position in zip(first, second, by, strict=True):
        loss[position] += next_best - best
    ascending = sorted(range(len(chosen)), key=lambda position: (loss[position], position))
    taken = {*chosen, *barred}
    found = (0.0, 0, -1)
    for c, column in enumerate(columns):
        if c in taken:
            continue
        saved = -dues[c]
        spared: dict[int, float] = {}
        for cost, i in [(cost, i) for i, (cost, other) in enumerate(zip(column, second, strict=True)) if cost < other]:
            position, best = by[i], first[i]
            if cost < best:
                saved += best - cost
                spared[position] = spared.get(position, 0.0) + second[i] - best
            else:
                spared[position] = spared.get(position, 0.0) + second[i] - cost
        out = next((position for position in ascending if position not in spared), -1)
        least = loss[out] if out >= 0 else inf
        for position, kept in spared.items():
            if loss[position] - kept < least:
                out, least = position, loss[position] - kept
        if saved - least > found[0]:
            found = (saved - least, out, c)
    return found


def _two_nearest(columns: Sequence[Column], chosen: Sequence[int]) -> tuple[list[float], list[float], list[int]]:
    """By point: the least cost, the next one, and whose the least is (a position in `chosen`).

    With one server the next is as dear as any candidate: whoever leaves is followed by somebody.
    """
    first = list(columns[chosen[0]])
    second = _nearest(columns, ()) if len(chosen) == 1 else [inf] * len(first)
    by = [0] * len(first)
    for position in range(1, len(chosen)):
        for i, cost in enumerate(columns[chosen[position]]):
            if cost < second[i]:
                if cost < first[i]:
                    first[i], second[i], by[i] = cost, first[i], position
                else:
                    second[i] = cost
    return first, second, by


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
    anew = greedy(columns, count, dues, (), barred)
    anew = swapped(columns, anew, dues, 0.0, barred) if anew else anew
    if not keep:
        return anew
    kept = swapped(columns, greedy(columns, count, dues, keep, barred), dues, worth, barred)
    moves = len({*anew} - {*keep}) - len({*kept} - {*keep})
    if total(columns, anew, dues) + worth * moves >= total(columns, kept, dues):
        return kept
    return [c for c in keep if c in anew] + [c for c in anew if c not in keep]
