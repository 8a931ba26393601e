"""Where m servers should be so that demand is near one: the k-median problem, by greedy choice and single swaps.

Local search over single swaps ends within a factor of 5 of the best in theory (Arya et al., SIAM J. Comput. 33(3), 2004) and
within a few percent of it on networks. All moves of a pass are weighed at once, in demand points x candidates steps (Resende,
Werneck, Annals of OR 150, 2007): taking `into` in and its rival `out` away changes the cost of a demand point only if it is
served by `out`, or better served by `into`.

Deterministic: the same inputs give the same servers; among equals the first candidate wins.
"""

from __future__ import annotations

from collections.abc import Sequence

Costs = Sequence[Sequence[float]]
"""Of serving demand point a (row) by candidate c (column)."""

PASSES = 64
"""Each takes one swap; a search that wants more goes on next time."""


def total(weights: Sequence[float], costs: Costs, chosen: Sequence[int]) -> float:
    """Weighted cost of serving every demand point by the best of `chosen`."""
    return sum(weight * min(row[c] for c in chosen) for weight, row in zip(weights, costs, strict=True))


def greedy(weights: Sequence[float], costs: Costs, count: int, keep: Sequence[int] = (), barred: Sequence[int] = ()) -> list[int]:
    """`keep`, and then always the candidate that saves most, up to `count`."""
    chosen = list(keep)
    width = len(costs[0]) if costs else 0
    left = [c for c in range(width) if c not in chosen and c not in barred]
    nearest = [min((row[c] for c in chosen), default=max(row)) for row in costs]
    while len(chosen) < count and left:
        saved = [0.0] * width
        for weight, row, now in zip(weights, costs, nearest, strict=True):
            for c in left:
                if row[c] < now:
                    saved[c] += weight * (now - row[c])
        best = max(left, key=lambda c: saved[c])  # the first of equals
        left.remove(best)
        chosen.append(best)
        nearest = [min(now, row[best]) for row, now in zip(costs, nearest, strict=True)]
    return chosen


def swapped(
    weights: Sequence[float], costs: Costs, chosen: Sequence[int], worth: float = 0.0, barred: Sequence[int] = ()
) -> list[int]:
    """`chosen` after the best swap, again and again while one saves more than `worth`; those that stay keep their order."""
    chosen = list(chosen)
    for _ in range(PASSES if len(chosen) > 0 else 0):
        saved, out, into = _best_swap(weights, costs, chosen, barred)
        if saved <= worth or into < 0:
            break
        chosen[out] = into
    return chosen


def _best_swap(weights: Sequence[float], costs: Costs, chosen: list[int], barred: Sequence[int]) -> tuple[float, int, int]:
    """(what it saves, position in `chosen`, candidate); the candidate is -1 if there is none left."""
    loss = [0.0] * len(chosen)
    served = []
    for weight, row in zip(weights, costs, strict=True):
        first, second, by = _two_nearest(row, chosen)
        loss[by] += weight * (second - first)
        served.append((weight, row, first, second, by))
    best = (0.0, 0, -1)
    for c in range(len(costs[0]) if costs else 0):
        if c in chosen or c in barred:
            continue
        gain = 0.0
        spared: dict[int, float] = {}
        for weight, row, first, second, by in served:
            cost = row[c]
            if cost < first:
                gain += weight * (first - cost)
                spared[by] = spared.get(by, 0.0) + weight * (second - first)
            elif cost < second:
                spared[by] = spared.get(by, 0.0) + weight * (second - cost)
        out = min(range(len(chosen)), key=lambda o: loss[o] - spared.get(o, 0.0))
        saved = gain - loss[out] + spared.get(out, 0.0)
        if saved > best[0]:
            best = (saved, out, c)
    return best


def _two_nearest(row: Sequence[float], chosen: list[int]) -> tuple[float, float, int]:
    """(least cost, the next, position of the least in `chosen`); with one server the next is as dear as any candidate."""
    first = second = max(row)
    by = 0
    for position, c in enumerate(chosen):
        cost = row[c]
        if cost < first or position == 0:
            if position:
                second = first
            first, by = cost, position
        elif cost < second:
            second = cost
    return first, second, by


def place(
    weights: Sequence[float],
    costs: Costs,
    count: int,
    current: Sequence[int] = (),
    move: float = 0.0,
    barred: Sequence[int] = (),
) -> list[int]:
    """`count` servers. From `current` a change must save `move` for each server that moves; without any, the cheapest found.

    Two searches, since each alone may end in a corner: swaps from what is there, and swaps from the greedy choice.
    """
    anew = swapped(weights, costs, greedy(weights, costs, count, (), barred), 0.0, barred)
    if not current:
        return anew
    kept = greedy(weights, costs, count, [c for c in current if c not in barred][:count], barred)
    kept = swapped(weights, costs, kept, move, barred)
    moves = len(set(anew) - set(current)) - len(set(kept) - set(current))
    better = total(weights, costs, anew) + move * moves < total(weights, costs, kept)
    if not better:
        return kept
    return [c for c in current if c in anew] + [c for c in anew if c not in current]
