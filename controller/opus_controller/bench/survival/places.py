"""Two topologies: where hosts are, which of them fail together, and who would be members.

six      six-regions: five hosts in each of six regions; a region fails
planet   490 hosts of PlanetLab by measured round trips. It has no regions of its own: what fails together is whoever is within
         40 ms of some host. The steward does not know that; to it, as ever, regions are balls of 20 ms
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from random import Random

from opus_node.core.kmedian import placed
from opus_node.core.shards import Place, Table, assign
from opus_node.core.types import MILLISECOND, NodeConfig

from opus_controller.bench.spread.instances import matrix
from opus_controller.model.compile import plan_of_topology
from opus_controller.model.scenario import find
from opus_controller.model.topology import load_topology
from opus_controller.planner.choose import SPREAD

APP = "index"
RANDOM, DOMAINS, STEWARD = "random", SPREAD, "steward"
PLACEMENTS = (RANDOM, DOMAINS, STEWARD)
"""Members by chance, shards by nothing but hashing; members by chance, shards over domains; members by k-median and shards over
domains, as the steward does it."""
FAILS_WITHIN_MS = 40.0


@dataclass(frozen=True)
class Ground:
    """`ms[i][j]`: round trips between hosts."""

    name: str
    ms: Sequence[Sequence[float]]
    regions: Sequence[frozenset[int]]
    """Of hosts that fail together."""
    domains: Sequence[str]
    """Of each host, as a steward would tell it."""
    members: int
    shards: int

    def pairs(self, rng: Random, most: int) -> list[frozenset[int]]:
        """Two regions at once: all pairs, or so many by chance."""
        found = [one | other for one, other in combinations(self.regions, 2)]
        return found if len(found) <= most else rng.sample(found, most)


def six() -> Ground:
    plan = plan_of_topology(load_topology(find("topologies", "six-regions")), duration_ns=1)
    site = [plan.sites.index(host.site) for host in plan.hosts]
    delay = [[plan.paths.shapes[plan.paths.index[a][b]].delay_ns / MILLISECOND for b in site] for a in site]
    ms = [[0.0 if i == j else delay[i][j] + delay[j][i] for j in range(len(site))] for i in range(len(site))]
    regions = [frozenset(i for i, one in enumerate(site) if one == k) for k in range(len(plan.sites))]
    return Ground("six-regions", ms, regions, _balls(ms), members=12, shards=48)


def planet(data: Path | None) -> Ground:
    """PlatformError where the matrix is not there."""
    ms = [[rtt / MILLISECOND for rtt in row] for row in matrix(data)]
    regions = list(dict.fromkeys(frozenset(j for j, rtt in enumerate(row) if rtt <= FAILS_WITHIN_MS) for row in ms))
    return Ground("PlanetLab", ms, regions, _balls(ms), members=50, shards=200)


def _balls(ms: Sequence[Sequence[float]]) -> list[str]:
    """Regions by the steward's own rule (`opus_node.core.cluster.regions`), for hosts in place of agents."""
    near, centres, found = NodeConfig().near_enough / MILLISECOND, list[int](), list[str]()
    for i in range(len(ms)):
        centre = next((one for one in centres if ms[i][one] <= near), i)
        centres += [i] if centre == i else []
        found.append(str(centre))
    return found


@lru_cache(maxsize=8)
def _best(name: str, ms: tuple[tuple[float, ...], ...], members: int) -> tuple[int, ...]:
    return tuple(sorted(placed([list(row) for row in ms], members, [0.0] * len(ms))))


def table(ground: Ground, placement: str, copies: int, seed: int) -> Table:
    """Hosts by number. From the steward's own functions; `seed` decides who is a member by chance, and by which hashes shards go
    to members."""
    if placement == STEWARD:
        members = _best(ground.name, tuple(map(tuple, ground.ms)), ground.members)
    else:
        members = tuple(sorted(Random(f"{seed}/members").sample(range(len(ground.ms)), ground.members)))
    apart = placement == RANDOM
    places = [Place(str(i), str(i) if apart else ground.domains[i]) for i in members]
    return assign(f"{APP}/{seed}", places, (copies,) * ground.shards)
