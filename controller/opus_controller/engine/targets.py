"""Who a fault hits: fixed at compile time by name, site or share; by role only now, from the hosts' live state."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import TypeVar

from opus_controller.engine.runtime import LiveHost
from opus_controller.model.network import Network
from opus_controller.model.plan import Plan, Target

T = TypeVar("T")


def resolve(target: Target, plan: Plan, live: Mapping[str, LiveHost], since: Mapping[str, int]) -> tuple[str, ...]:
    """The hosts that `target` means, sorted by name; empty if nobody fits its role.

    `live` and `since` (when each host came up, ns) are needed for roles alone. A target with neither hosts nor role means
    nobody here (a partition reads it as "everyone else").
    """
    if target.hosts:
        return tuple(sorted(set(target.hosts) - set(target.exclude)))
    if not target.role:
        return ()
    if target.role == "site-without-replica":
        return _site_without_replica(target, plan, live)
    eligible = [host for host in live.values() if host.alive and not host.paused and host.name not in target.exclude]
    if target.role in _ORDERS:
        keys = _ORDERS[target.role](eligible, plan, since)
        return _first(eligible, keys, target)
    if target.role == "agent-of":
        agent = target.of if live[target.of].is_agent else live[target.of].agent
        return tuple(host.name for host in eligible if host.name == agent)
    chosen = _BY_ROLE[target.role](eligible, target)
    return tuple(sorted(host.name for host in chosen))


# Some of all, in an order


def _first(hosts: Sequence[LiveHost], keys: Mapping[str, float], target: Target) -> tuple[str, ...]:
    """As many as are meant, the least keys first; among equals the plan's draw decides who comes first."""
    wanted = target.count or 1
    if target.share is not None:
        wanted = max(1, math.floor(target.share * len(hosts) + 0.5))
    names = sorted(keys)
    start = int(target.pick * len(names))
    names = names[start:] + names[:start]
    return tuple(sorted(sorted(names, key=keys.__getitem__)[:wanted]))


def _busiest(hosts: Sequence[LiveHost], plan: Plan, since: Mapping[str, int]) -> dict[str, float]:
    """Requests served and routed since its boot."""
    return {host.name: -(host.served + host.routed) for host in hosts}


def _oldest(hosts: Sequence[LiveHost], plan: Plan, since: Mapping[str, int]) -> dict[str, float]:
    return {host.name: since[host.name] for host in hosts}


def _best_connected(hosts: Sequence[LiveHost], plan: Plan, since: Mapping[str, int]) -> dict[str, float]:
    """Sum of one-way delays to all hosts and back, by the topology."""
    network, named = Network.of(plan), {host.name: host for host in plan.hosts}
    return {
        host.name: sum(
            network.one_way_ns(named[host.name], other) + network.one_way_ns(other, named[host.name]) for other in plan.hosts
        )
        for host in hosts
    }


_ORDERS: Mapping[str, Callable[[Sequence[LiveHost], Plan, Mapping[str, int]], dict[str, float]]] = {
    "busiest": _busiest,
    "oldest": _oldest,
    "best-connected": _best_connected,
}

# Offices


def _pick(candidates: Iterable[T], key: Callable[[T], str], target: Target) -> list[T]:
    """The candidate that the plan's draw falls on, if there is any."""
    ordered = sorted(candidates, key=key)
    return [ordered[int(target.pick * len(ordered))]] if ordered else []


def _replica(hosts: Sequence[LiveHost], target: Target) -> list[LiveHost]:
    return _pick(_replicas(hosts, target.app), _name, target)


def _all_replicas(hosts: Sequence[LiveHost], target: Target) -> list[LiveHost]:
    serving = sorted(_replicas(hosts, target.app), key=_name)
    if target.share is None:
        return serving
    return Random(str(target.pick)).sample(serving, min(len(serving), max(1, math.floor(target.share * len(serving) + 0.5))))


def _all_but_one(hosts: Sequence[LiveHost], target: Target) -> list[LiveHost]:
    """The draw falls on the one that stays."""
    spared = _replica(hosts, target)
    return [host for host in _replicas(hosts, target.app) if host not in spared]


def _agent(hosts: Sequence[LiveHost], target: Target) -> list[LiveHost]:
    return _pick((host for host in hosts if host.is_agent), _name, target)


def _steward(hosts: Sequence[LiveHost], target: Target) -> list[LiveHost]:
    """After a partition two hosts may think so; the draw decides."""
    return _pick((host for host in hosts if _serves(host.steward_of, target.app)), _name, target)


def _busiest_agent(hosts: Sequence[LiveHost], target: Target) -> list[LiveHost]:
    """Most requests routed since its boot; ties by nodes held, then by name."""
    return sorted((host for host in hosts if host.is_agent), key=lambda host: (-host.routed, -host.nodes, host.name))[:1]


def _busiest_replica(hosts: Sequence[LiveHost], target: Target) -> list[LiveHost]:
    """Most requests served since its boot; ties by name."""
    return sorted(_replicas(hosts, target.app), key=lambda host: (-host.served, host.name))[:1]


_BY_ROLE: Mapping[str, Callable[[Sequence[LiveHost], Target], list[LiveHost]]] = {
    "replica": _replica,
    "replicas": _all_replicas,
    "replicas-but-one": _all_but_one,
    "agent": _agent,
    "steward": _steward,
    "busiest-agent": _busiest_agent,
    "busiest-replica": _busiest_replica,
}


def _site_without_replica(target: Target, plan: Plan, live: Mapping[str, LiveHost]) -> tuple[str, ...]:
    """All hosts of one site with clients of the application, no live replica of it, and no excluded host.

    The steward's site only if no other fits: its cut would be about stewardship, not about clients without a replica.
    """
    clients = {load.client for load in plan.workload if not target.app or load.app == target.app}
    alive = [host for host in live.values() if host.alive]
    unfit = {host.name for host in _replicas(alive, target.app)} | set(target.exclude)
    stewards = {host.name for host in alive if _serves(host.steward_of, target.app)}
    sites = {host.site for host in plan.hosts if host.name in clients}
    sites -= {host.site for host in plan.hosts if host.name in unfit}
    preferred = sites - {host.site for host in plan.hosts if host.name in stewards}
    chosen = _pick(preferred or sites, str, target)
    return tuple(sorted(host.name for host in plan.hosts if host.site in chosen))


def _replicas(hosts: Iterable[LiveHost], app: str) -> list[LiveHost]:
    return [host for host in hosts if _serves(host.replica_of, app)]


def _serves(apps: Sequence[str], app: str) -> bool:
    """Whether `app`, or any application if none is named, is among them."""
    return app in apps if app else bool(apps)


def _name(host: LiveHost) -> str:
    return host.name
