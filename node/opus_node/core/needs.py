"""From what a steward is told to what `allocate` asks for: its application's need, and the hosts that it knows of.

    summaries --Cluster, Landscape--> demand by place, ms from place to candidate     ReplicaBeat --Sizer--> E, cost

A place is an agent's nodes. Stewards of different applications are told of the same hosts, each by its own summaries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from opus_node.core.cluster import Cluster
from opus_node.core.forecast import Need, Unit
from opus_node.core.landscape import Landscape
from opus_node.core.messages import Candidate
from opus_node.core.sizer import REPLACED
from opus_node.core.sizing import ASSUMED
from opus_node.core.stability import YOUNGEST, scale_of, survives
from opus_node.core.types import MILLISECOND, SECOND, AppConfig, Nanos, NodeId
from opus_node.core.utility import Utility


def units_of(lands: Iterable[Landscape], young: Nanos = YOUNGEST) -> list[Unit]:
    """Whoever may serve any of the applications, once. `young`: the least age that is taken for one (`stability.scale_of`)."""
    found: dict[NodeId, Candidate] = {}
    for land in lands:
        for one in _eligible(land):
            found.setdefault(one.node, one)
    scale = scale_of([one.age for one in found.values()], young)
    return [Unit(one.node, one.cpu, survives(REPLACED, one.age, scale, one.sessions, one.up)) for one in found.values()]


def _eligible(land: Landscape) -> list[Candidate]:
    return [one for i, one in enumerate(land.candidates) if i not in land.barred]


def need_of(
    config: AppConfig,
    utility: Utility,
    clusters: Mapping[NodeId, Cluster],
    land: Landscape,
    e: float = ASSUMED,
    floor: int = 0,
    moving: float = 0.0,
    cost: float | None = None,
) -> Need:
    """Of the application that `clusters` and `land` are about. Where nobody asks for it there is no demand.
    `cost`: core-seconds a request, as measured; None: as the configuration has it."""
    agents = sorted(clusters)
    asked = any(clusters[agent].summary.rate > 0 for agent in agents)
    demand = [land.demand[agent] if asked else 0.0 for agent in agents]
    rtts = {one.node: [ms * MILLISECOND for ms in land.ways(one)] for one in _eligible(land)}
    most = config.most or config.replicas
    cost = config.service_time / SECOND if cost is None else cost
    return Need(config.name, utility, demand, rtts, cost, e, floor, most, moving, config.queue)
