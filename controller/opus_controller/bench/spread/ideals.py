"""With full knowledge: what the overlay's cost and delays are held against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ideal:
    """Costs are sums of links' round trips. Delays: round trips, a row a source."""

    mst_cost: float
    mst_delays: Floats
    spt_delays: Floats
    """Over the complete graph: shorter than the direct path where that breaks the triangle inequality."""
    star_cost: float
    """Of the mean source's star."""
    star_delays: Floats


def ideal(rtts: Floats) -> Ideal:
    links = spanning(rtts)
    tree = np.full_like(rtts, np.inf)
    np.fill_diagonal(tree, 0)
    for a, b in links:
        tree[a, b] = tree[b, a] = rtts[a, b]
    cost = float(sum(rtts[a, b] for a, b in links))
    return Ideal(cost, shortest(tree), shortest(rtts), float(rtts.sum(axis=1).mean()), rtts)


def spanning(rtts: Floats) -> list[tuple[int, int]]:
    """The links of the minimum spanning tree (Prim)."""
    n = len(rtts)
    nearest, at = rtts[0].copy(), np.zeros(n, dtype=np.int64)
    out = np.ones(n, dtype=bool)
    out[0] = False
    links = []
    for _ in range(n - 1):
        new = int(np.argmin(np.where(out, nearest, np.inf)))
        links.append((int(at[new]), new))
        out[new] = False
        closer = rtts[new] < nearest
        at[closer], nearest[closer] = new, rtts[new][closer]
    return links


def shortest(rtts: Floats) -> Floats:
    """All pairs (Floyd, Warshall)."""
    found = rtts.copy()
    for k in range(len(found)):
        np.minimum(found, found[:, k : k + 1] + found[k], out=found)
    return found


def over(delays: Floats, ideal_delays: Floats) -> tuple[float, float]:
    """Mean and maximum delay of each row over the ideal's, averaged over the rows."""
    mean = delays.sum(axis=1) / ideal_delays.sum(axis=1)
    most = delays.max(axis=1) / ideal_delays.max(axis=1)
    return float(mean.mean()), float(most.mean())
