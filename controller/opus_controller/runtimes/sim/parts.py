"""A plan's hosts over several processes, by site: as far from each other as possible, and as many hosts in each.

What leaves a process at t reaches no other before t + `ahead`, so each can live for so long without hearing of the others: the
lookahead of a conservative parallel simulation (Chandy, Misra, 1979; in windows with a barrier, as here: Nicol, 1993).

Sites nearer to each other than some time must stay together; the longest such time is taken at which what then hangs together
can be packed evenly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from opus_node.core.types import Nanos

from opus_controller.model.network import Network
from opus_controller.model.plan import Host, Plan
from opus_controller.model.shapes import AccessLink
from opus_controller.runtimes.sim.path import Path

UNEVEN = 0.1
"""By how much the fullest process may exceed the average."""

Near = Mapping[tuple[str, str], Nanos]
"""The least time that anything takes between two sites, in either direction; the site that comes first in the plan first."""


@dataclass(frozen=True)
class Part:
    """The hosts of one process."""

    number: int
    of_site: Mapping[str, int]
    """Of each site, the process that its hosts live in."""

    def has(self, host: Host) -> bool:
        return self.of_site[host.site] == self.number


@dataclass(frozen=True)
class Parts:
    of_site: Mapping[str, int]
    count: int
    ahead: Nanos
    """Nothing goes from one part to another in less."""

    def part(self, number: int) -> Part:
        return Part(number, self.of_site)


def divide(plan: Plan, count: int) -> Parts | None:
    """None: not into so many; sites are too few, too unlike in size, or not apart."""
    weights = Counter(host.site for host in plan.hosts)
    near = _near(plan)
    for ahead in sorted(set(near.values()), reverse=True):
        if ahead <= 0:
            break
        bins = _packed(_together(list(weights), near, ahead), weights, count)
        if max(sum(weights[site] for site in sites) for sites in bins) <= (1 + UNEVEN) * len(plan.hosts) / count:
            of_site = {site: number for number, sites in enumerate(bins) for site in sites}
            apart = [time for (a, b), time in near.items() if of_site[a] != of_site[b]]
            return Parts(of_site, count, min(apart)) if apart else Parts(of_site, count, plan.duration_ns + 1)
    return None


def _near(plan: Plan) -> Near:
    network, kinds = Network.of(plan), dict[str, dict[AccessLink, Host]]()
    for host in plan.hosts:
        kinds.setdefault(host.site, {}).setdefault(host.access, host)
    return {
        (a, b): min(
            min(Path(network, one, other).least, Path(network, other, one).least)
            for one in kinds[a].values()
            for other in kinds[b].values()
        )
        for a, b in combinations(kinds, 2)
    }


def _together(sites: Sequence[str], near: Near, ahead: Nanos) -> list[list[str]]:
    """Groups of sites, each of which is nearer than that to another one of its group."""
    group = {site: [site] for site in sites}
    for (a, b), time in near.items():
        if time < ahead and group[a] is not group[b]:
            group[a] += group[b]
            for site in group[b]:
                group[site] = group[a]
    return [members for site, members in group.items() if members[0] == site]


def _packed(groups: Sequence[list[str]], weights: Mapping[str, int], count: int) -> list[list[str]]:
    """The heaviest first, each where least is yet."""
    bins: list[list[str]] = [[] for _ in range(count)]
    loads = [0] * count
    for members in sorted(groups, key=lambda members: -sum(weights[site] for site in members)):
        least = loads.index(min(loads))
        bins[least] += members
        loads[least] += sum(weights[site] for site in members)
    return bins
