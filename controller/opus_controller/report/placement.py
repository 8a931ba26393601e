"""k-median: where someone with full knowledge would put m replicas. The yardstick of the cost of self-organization.

Exact where the subsets can be counted through; else greedy and random starts, each improved by single swaps until none helps
(Arya et al., "Local search heuristics for k-median and facility location problems", STOC 2001: single swaps end within 5
times the optimum in the worst case, and near it in practice). Deterministic: same input, same placement.
"""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

EXACT_UP_TO = 20_000
"""Subsets that are counted through rather than searched."""


def k_median(
    delay: Floats, weight: Floats, m: int, *, starts: tuple[tuple[int, ...], ...] = (), restarts: int = 4
) -> tuple[int, ...]:
    """The m columns of `delay` (clients x candidates) with the least sum of weight x delay to the nearest of them.

    All columns if there are no more than m. Ties go to what comes first in index order. A search also begins at each of
    `starts` (m columns each), say what was best a moment ago.
    """
    n = delay.shape[1]
    if n <= m:
        return tuple(range(n))
    cost = delay * weight[:, None]
    if comb(n, m) <= EXACT_UP_TO:
        return _exact(cost, m)
    rng = np.random.default_rng(0)
    tried = [_greedy(cost, m), *map(list, starts), *(rng.choice(n, size=m, replace=False).tolist() for _ in range(restarts))]
    found = [_swap(cost, start) for start in tried]
    return min(found, key=lambda chosen: (total(cost, chosen), chosen))


def total(cost: Floats, chosen: tuple[int, ...]) -> float:
    """Sum over clients of the least cost among the chosen columns."""
    return float(cost[:, list(chosen)].min(axis=1).sum())


def _exact(cost: Floats, m: int) -> tuple[int, ...]:
    subsets = np.array(list(combinations(range(cost.shape[1]), m)), dtype=np.int64)
    best: tuple[float, tuple[int, ...]] | None = None
    block = max(1, 4_000_000 // max(1, cost.shape[0] * m))  # keeps the temporary under about 32 MB
    for begin in range(0, len(subsets), block):
        part = subsets[begin : begin + block]
        sums = cost[:, part].min(axis=2).sum(axis=0)
        i = int(sums.argmin())
        if best is None or sums[i] < best[0]:
            best = float(sums[i]), tuple(part[i].tolist())
    assert best is not None  # 0 < m < n, so there is a subset
    return best[1]


def _greedy(cost: Floats, m: int) -> list[int]:
    """Each time the column that helps most."""
    chosen: list[int] = []
    nearest = np.full(cost.shape[0], np.inf)
    for _ in range(m):
        sums = np.minimum(nearest[:, None], cost).sum(axis=0)
        sums[chosen] = np.inf
        chosen.append(int(sums.argmin()))
        nearest = np.minimum(nearest, cost[:, chosen[-1]])
    return chosen


def _swap(cost: Floats, start: list[int]) -> tuple[int, ...]:
    """Swap one chosen column for another while the best such swap lowers the total."""
    chosen = list(start)
    here = total(cost, tuple(chosen))
    while True:
        best = (here, -1, -1)
        for out in range(len(chosen)):
            rest = [c for i, c in enumerate(chosen) if i != out]
            nearest = cost[:, rest].min(axis=1) if rest else np.full(cost.shape[0], np.inf)
            sums = np.minimum(nearest[:, None], cost).sum(axis=0)
            into = int(sums.argmin())
            if sums[into] < best[0] * (1 - 1e-12):
                best = (float(sums[into]), out, into)
        if best[1] < 0:
            return tuple(sorted(chosen))
        chosen[best[1]] = best[2]
        here = best[0]
