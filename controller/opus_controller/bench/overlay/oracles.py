"""What someone with full knowledge would reach, from the matrix alone. All delays here are one way, client x replica.

nearest       the best of given replicas for every client
local_search  where m replicas would go: k-median by swaps from many random starts
random_draws  what m random replicas give on average, each client at its best one
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from opus_controller.model.network import Network
from opus_controller.model.plan import Plan
from opus_controller.report.world import Geometry, Paths

Floats = npt.NDArray[np.float64]

STARTS = 20
DRAWS = 1000


@dataclass(frozen=True)
class Placement:
    chosen: tuple[int, ...]
    mean: float
    """Of the clients' delays to the nearest."""


def delays_ms(plan: Plan, network: Network | None = None) -> Floats:
    """One way between all hosts of a plan, 0 to oneself; with the paths of `network` where it has other ones than the plan."""
    everyone = np.arange(len(plan.hosts), dtype=np.int64)
    geometry = Geometry(plan)
    site = geometry.index_of_site
    overrides = network.overrides if network is not None else {}
    changes = tuple((site[a], site[b], shape.delay_ns) for (a, b), shape in overrides.items())
    delay: Floats = Paths(geometry, changes).one_way(everyone) / 1e6
    return delay


def nearest(delay: Floats, chosen: npt.ArrayLike) -> Floats:
    """For every client the delay to the nearest of the chosen columns."""
    best: Floats = delay[:, np.asarray(chosen, dtype=np.int64)].min(axis=1)
    return best


def local_search(delay: Floats, m: int, *, weight: Floats | None = None, starts: int = STARTS, seed: int = 0) -> Placement:
    """The best of `starts` searches for the m columns with the least (weighted) mean delay to the nearest."""
    rng = np.random.default_rng(seed)
    if weight is not None:
        delay = delay * (weight / weight.mean())[:, None]
    n = delay.shape[1]
    if m >= n:
        return Placement(tuple(range(n)), float(delay.min(axis=1).mean()))
    found = [_swaps(delay, rng.choice(n, m, replace=False)) for _ in range(starts)]
    return min(found, key=lambda one: (one.mean, one.chosen))


def _swaps(delay: Floats, start: npt.NDArray[np.int64]) -> Placement:
    """Best single swap after best single swap until none helps, all m x n swaps weighed at once.

    With d1 and d2 the delays to the nearest and second nearest: taking `into` in and its holder's `out` away leaves a client
    of `out` min(d2, into), any other min(d1, into) (Resende, Werneck, "A fast swap-based local search procedure for location
    problems", Annals of OR 150, 2007).
    """
    chosen = start.copy()
    clients = np.arange(delay.shape[0])
    while True:
        order = np.argsort(delay[:, chosen], axis=1, kind="stable")
        d1 = delay[clients, chosen[order[:, 0]]]
        d2 = delay[clients, chosen[order[:, 1]]] if len(chosen) > 1 else np.full(len(clients), np.inf)
        kept = np.minimum(delay, d1[:, None])
        held = np.zeros((len(chosen), len(clients)))
        held[order[:, 0], clients] = 1.0
        totals = kept.sum(axis=0)[None, :] + held @ (np.minimum(delay, d2[:, None]) - kept)
        out, into = np.unravel_index(int(totals.argmin()), totals.shape)
        if totals[out, into] >= d1.sum() * (1 - 1e-12):
            return Placement(tuple(sorted(chosen.tolist())), float(d1.mean()))
        chosen[out] = into


def random_draws(delay: Floats, m: int, *, draws: int = DRAWS, seed: int = 0) -> float:
    """Mean over draws of m random columns of the clients' mean delay to the nearest."""
    rng = np.random.default_rng(seed)
    n = delay.shape[1]
    return float(np.mean([nearest(delay, rng.choice(n, m, replace=False)).mean() for _ in range(draws)]))
