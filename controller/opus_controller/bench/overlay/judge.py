"""Requests of a lab judged by DESIGN section 7's definitions: the same code as for any run (`opus_controller.report`)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from opus_controller.bench.overlay.lab import Lab
from opus_controller.bench.overlay.oracles import Floats, nearest
from opus_controller.report import figures
from opus_controller.report.figures import Judged
from opus_controller.report.requests import Requests, columns, consult
from opus_controller.report.world import World

MS = 1e6


@dataclass(frozen=True)
class Routing:
    """Figures of how requests found their replicas. `paths`: less what the hops' software takes, as a matrix alone would give."""

    requests: int
    ok: int
    stretch: float
    stretch_with_hops: float
    regret_p95_ms: float
    regret_p99_ms: float
    cost: float
    mean_ms: float
    """Routing latency, paths alone."""
    hops: float


def routing(lab: Lab, delay: Floats, ideal: tuple[int, ...]) -> Routing:
    """Of the requests since the lab's last `forget`; `ideal` is where m replicas would best be (hosts' indices)."""
    world = World(lab.plan, lab.events, lab.now)
    requests = columns(world.geometry, lab.requests)
    with_hops = _judged(world, requests, delay, ideal)
    paths = _judged(world, less_hops(requests, lab.hop.per_message_ns), delay, ideal)
    regret = figures.regret_ns(paths) / MS
    return Routing(
        requests=requests.size,
        ok=int(requests.ok.sum()),
        stretch=figures.stretch(paths) or float("nan"),
        stretch_with_hops=figures.stretch(with_hops) or float("nan"),
        regret_p95_ms=float(np.quantile(regret, 0.95)),
        regret_p99_ms=float(np.quantile(regret, 0.99)),
        cost=figures.cost_of_self_organization(paths) or float("nan"),
        mean_ms=float(paths.requests.routing_ns[requests.ok].mean() / MS),
        hops=float(requests.hops[requests.ok].mean()),
    )


def less_hops(requests: Requests, hop_ns: int) -> Requests:
    """As if a message took its path's time and nothing else; exact for what was answered at the first try."""
    return replace(requests, arrived=np.where(requests.ok, requests.arrived - requests.hops * hop_ns, requests.arrived))


def _judged(world: World, requests: Requests, delay: Floats, ideal: tuple[int, ...]) -> Judged:
    best = np.round(nearest(delay, ideal) * MS).astype(np.int64)[requests.client]
    return Judged(requests, consult(world, requests), best, requests.issued, requests.issued)
