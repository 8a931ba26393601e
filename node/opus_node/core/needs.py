"""From what a steward is told to what `allocate` asks for: its application's need, and the hosts that it knows of.

    summaries --Cluster, Landscape--> demand by place, ms from place to candidate     ReplicaBeat --Sizer--> E

A place is an agent's nodes. Stewards of different applications are told of the same hosts, each by its own summaries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from opus_node.core.cluster import Cluster
from opus_node.core.forecast import Need, Unit
from opus_node.core.landscape import Landscape
from opus_node.core.messages import Candidate
from opus_node.core.sizer import REPLACED
from opus_node.core.sizing import ASSUMED, up_for
from opus_node.core.types import MILLISECOND, SECOND, AppConfig, Nanos, NodeId
from opus_node.core.utility import Utility


def units_of(lands: Iterable[Landscape], lived: Nanos = 0) -> list[Unit]:
    """Whoever may serve any of the applications, once. `lived`: for how long all are believed to have been up before they were
    seen to be."""
    found: dict[NodeId, Unit] = {}
    for land in lands:
        for one in _eligible(land):
            found.setdefault(one.node, Unit(one.node, one.cpu, up_for((lived + one.age) / SECOND, REPLACED / SECOND)))
    return list(found.values())


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
) -> Need:
    """Of the application that `clusters` and `land` are about. Where nobody asks for it there is no demand."""
    agents = sorted(clusters)
    asked = any(clusters[agent].summary.rate > 0 for agent in agents)
    demand = [land.demand[agent] if asked else 0.0 for agent in agents]
    rtts = {one.node: [ms * MILLISECOND for ms in land.ways(one)] for one in _eligible(land)}
    most = config.most or config.replicas
    return Need(config.name, utility, demand, rtts, config.service_time / SECOND, e, floor, most, moving, config.queue)
