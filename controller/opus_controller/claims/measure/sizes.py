"""How many members a load takes: what the equation m/n = u/(d E) says of it, and what a steward that measures comes to."""

from __future__ import annotations

import numpy as np
from opus_node.core.types import MILLISECOND

from opus_controller.bench.overlay import experiments, sizing
from opus_controller.bench.overlay.data import plan
from opus_controller.bench.overlay.lab import Lab
from opus_controller.bench.overlay.settings import Settings
from opus_controller.bench.worlds import SECOND
from opus_controller.claims.claim import Figures
from opus_controller.claims.measure.networks import Network

SIZED_SETTLE_S = 60.0
SERVICE = 400 * MILLISECOND
QUEUE = 1500 * MILLISECOND
DEADLINE_S = 5.0
"""As in scenarios/seti.yaml: long requests, of clients that can wait."""
LEAST = 3
"""Members that are kept whatever the load is."""
BOOTED_S = 15.0
LAST_S = 30.0
"""At the end: for which members and answers are counted."""
LOOK_S = 5.0


def sized(network: Network, hosts: int, seed: int, count_s: float) -> Figures:
    """E at m = 10, and the least m for half and for twice the load (`bench.overlay.sizing`)."""
    lab = experiments.sized(hosts).lab(network.topology(hosts), seed, Settings())
    lab.run_until(SIZED_SETTLE_S)
    return sizing.sizing(lab, count_s, 0)


def serving(network: Network, hosts: int, seed: int, load: float, seconds: float) -> Figures:
    """All hosts together are asked for the share `load` of what all of them can do; the steward finds the size of the set."""
    made = plan(network.topology(hosts), seed=seed, replicas=LEAST)
    n = len(made.hosts)
    auto = {"app.most": n, "app.service_time": SERVICE, "app.queue": QUEUE, "app.choice": sizing.CHOICE}
    lab = Lab(made, Settings().but(**auto))
    lab.run_until(BOOTED_S)
    able = sum(host.abilities.cpu for host in made.hosts)
    lab.everyone_asks(load * able * SECOND / SERVICE, deadline_s=DEADLINE_S, label="all")
    lab.run_for(seconds - LAST_S)
    since = lab.now
    members = []
    while lab.now < since + LAST_S * SECOND:
        lab.run_for(LOOK_S)
        members.append(len(lab.replicas()))
    until = lab.now
    lab.workload({})
    lab.run_for(DEADLINE_S + 0.1)
    counted = [one for one in lab.requests if since <= one["issued_at"] < until]
    ok = sum(one["outcome"] == "ok" for one in counted)
    return {"n": n, "load": load, "members": float(np.mean(members)), "answered": ok / max(1, len(counted))}
