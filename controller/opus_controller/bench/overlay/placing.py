"""How well the replicas are placed, and how each node's requests find them: the overlay at rest under an even load."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from opus_controller.bench.overlay.judge import Routing, routing
from opus_controller.bench.overlay.lab import Lab
from opus_controller.bench.overlay.oracles import Floats, Placement, delays_ms, local_search, nearest, random_draws
from opus_controller.model.compile import plan_of_topology
from opus_controller.model.topology import Topology

WARM_S = 30.0
"""After clients were told to go the other way (by agents, directly)."""
COUNT_S = 60.0
"""Requests are counted so long."""
PROBES = ("Probe",)
"""Classes of messages that measure a stranger; answers are not counted."""

Figures = dict[str, Any]


class Knowledge:
    """The matrix and what follows from it, worked out once for all seeds, when first asked for.

    Every host is a client, every host may serve.
    """

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._ideal: dict[int, Placement] = {}
        self._random: dict[int, float] = {}

    def prepare(self, m: int) -> None:
        """Before processes branch off, so that none has to work it out again."""
        self.ideal(m)
        self.random(m)

    @cached_property
    def delay(self) -> Floats:
        return delays_ms(plan_of_topology(self._topology, duration_ns=1))

    def ideal(self, m: int) -> Placement:
        if m not in self._ideal:
            self._ideal[m] = local_search(self.delay, m)
        return self._ideal[m]

    def random(self, m: int) -> float:
        """Mean delay to the nearest of m random replicas."""
        if m not in self._random:
            self._random[m] = random_draws(self.delay, m)
        return self._random[m]


def placement(lab: Lab, knowledge: Knowledge, m: int) -> Figures:
    """Mean delay of live hosts to the nearest replica by the one of the ideal placement (equally of round trips)."""
    index = {host.name: host.index for host in lab.plan.hosts}
    live = np.array([host.plan.index for host in lab.alive()], dtype=np.int64)
    serving = [index[name] for name in lab.replicas()]
    mean = float(nearest(knowledge.delay, serving)[live].mean())
    probes = sum(n for (_, kind), n in lab.tally.sent.items() if kind.__name__ in PROBES)
    agents = lab.agents()
    return {
        "placement": mean / knowledge.ideal(m).mean,
        "mean_ms": mean,
        "replicas": len(serving),
        "agents": len(agents),
        "agents_serving": len(set(agents) & set(lab.replicas())),
        "probes_per_node": probes / len(lab.plan.hosts),
    }


def finding(lab: Lab, knowledge: Knowledge, m: int, *, direct: bool) -> Figures:
    """All requests by agents, or directly by whoever has a cache by now."""
    lab.reconfigure(direct=direct)
    lab.run_for(WARM_S)
    lab.forget()
    lab.run_for(COUNT_S)
    found: Routing = routing(lab, knowledge.delay, knowledge.ideal(m).chosen)
    return {**vars(found), "by_random": found.mean_ms / knowledge.random(m)}
