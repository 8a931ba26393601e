"""How many random replicas are as good as a few that were placed: curves of random ones, and points to hold against them.

A host is a client and may be a replica, whose own delay is 0; all delays are the matrix's. The placed ones are those of a search
by k-median that knows all delays, and those that Opus' stewards choose from what agents tell them: by themselves (`OfCore`: the
core's own summaries and placement), and in a live overlay.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from opus_controller.bench.overlay.data import plan
from opus_controller.bench.overlay.lab import Lab
from opus_controller.bench.overlay.oracles import Floats, delays_ms, local_search, nearest
from opus_controller.bench.overlay.stability import OfCore, Population
from opus_controller.claims.claim import Figures
from opus_controller.claims.measure.networks import Network
from opus_controller.model.compile import plan_of_topology
from opus_controller.model.plan import App

STARTS = 4
AGE_MIN = 100.0
"""Of every host, so that age decides nothing."""
SURE = 0.95
"""Share of the draws that have to be as good."""
P95 = 0.95
SETTLED_S = 150.0


def geometry(network: Network, hosts: int, counts: Sequence[int], draws: int) -> Figures:
    """Curves of random replicas, and what the placed ones give, by how many there are."""
    made = plan_of_topology(network.topology(hosts), duration_ns=1)
    delay = delays_ms(made)
    equally_old = Population([-AGE_MIN] * len(delay))
    ideal = {str(m): felt(delay, local_search(delay, m, starts=STARTS).chosen) for m in counts}
    stewards = {str(m): felt(delay, OfCore(made, delay, m).fill(equally_old, [], [])) for m in counts}
    return {"hosts": len(delay), "random": curves(delay, draws), "ideal": ideal, "stewards": stewards}


def felt(delay: Floats, chosen: Sequence[int]) -> Figures:
    """Mean and p95 over clients of the delay to the nearest, one way, ms."""
    away = nearest(delay, chosen)
    return {"mean": float(away.mean()), "p95": float(np.quantile(away, P95, method="higher"))}


def curves(delay: Floats, draws: int, seed: int = 0) -> Figures:
    """Of 1, 2, ... n random replicas: mean and p95 over clients, on the mean of the draws and as SURE of them have it at most.

    A draw puts all hosts into a random order, of which the first k serve.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, list[Floats]] = {"mean": [], "p95": []}
    for _ in range(draws):
        best = np.minimum.accumulate(delay[:, rng.permutation(delay.shape[1])], axis=1)
        found["mean"].append(best.mean(axis=0))
        found["p95"].append(np.quantile(best, P95, axis=0, method="higher"))
    sure = {f"{name}_sure": np.quantile(of, SURE, axis=0, method="higher").tolist() for name, of in found.items()}
    return {name: np.mean(of, axis=0).tolist() for name, of in found.items()} | sure


def needed(curve: Sequence[float], value: float) -> int:
    """How many random replicas are as good: the least number; all of them always are."""
    return next((k for k, one in enumerate(curve, start=1) if one <= value), len(curve))


def live(network: Network, hosts: int, counts: Sequence[int], seed: int) -> Figures:
    """What live stewards have chosen, after SETTLED_S: an application of each size in one overlay, of which none is asked for."""
    made = plan(network.topology(hosts), seed=seed, replicas=1)
    made = made.model_copy(update={"apps": tuple(App(name=f"of-{m}", replicas=m) for m in counts)})
    lab = Lab(made)
    lab.run_until(SETTLED_S)
    delay, shown = delays_ms(made), lab.snapshots()
    return {
        str(m): felt(delay, chosen) | {"replicas": len(chosen)}
        for m in counts
        if (chosen := [host.index for host in made.hosts if f"of-{m}" in shown[host.name].replica_of])
    }
