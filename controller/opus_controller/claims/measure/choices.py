"""How good the replicas were that requests went to: each against the best one that lived when it was asked for.

Delays are one way by the plan's matrix, so what a detour by an agent costs is not in it: this is about the choice, not the way.
Clients that serve themselves are left out: they have nothing to choose.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from opus_controller.bench.overlay.lab import Lab, Record
from opus_controller.claims.claim import Figures
from opus_controller.report.requests import columns, consult
from opus_controller.report.world import NO_PATH, Bools, Ints, Paths, World

TINY_MS = 2.0
"""One way: who is so little farther than the best is as good, whatever the ratio; below 1 ms ratios mean nothing."""
FACTORS = (1.0, 1.2, 1.5, 2.0, 3.0, 5.0)
MS = 1e6


def choices(lab: Lab, asked: Sequence[Record]) -> Figures:
    """Of these requests: shares within each factor of the best, those unanswered within none."""
    world = World(lab.plan, lab.events, lab.now)
    requests = columns(world.geometry, asked)
    oracle = consult(world, requests)
    counted = ~oracle.is_replica & (oracle.best < NO_PATH)
    requests, best = requests.where(counted), oracle.best[counted]
    delay = Paths(world.geometry).one_way(np.arange(world.geometry.size, dtype=np.int64))
    chosen: Ints = np.where(requests.ok, delay[requests.client, requests.replica], NO_PATH)
    return judged(chosen, best)


def judged(chosen: Ints, best: Ints) -> Figures:
    """One-way ns to who was chosen (NO_PATH: nobody answered), and to the best."""
    count = len(chosen)
    farther = (chosen - best) / MS
    answered = chosen < NO_PATH
    within = {f"{factor:g}": chosen <= factor * best for factor in FACTORS}
    quantiles = np.quantile(farther[answered], (0.5, 0.95, 0.99)) if answered.any() else (None,) * 3
    return {
        "count": count,
        "within": {name: _share(mask | (farther <= TINY_MS), count) for name, mask in within.items()},
        "within_strictly": {name: _share(mask, count) for name, mask in within.items()},
        "farther_ms": dict(zip(("p50", "p95", "p99"), quantiles, strict=True)),  # of those answered
    }


def _share(mask: Bools, count: int) -> float | None:
    return float(mask.sum() / count) if count else None
