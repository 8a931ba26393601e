"""Who a fault hits: fixed at compile time by name, site or share; by role only now, from the hosts' live state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from opus_controller.engine.runtime import LiveHost
from opus_controller.model.plan import Plan, Target

T = TypeVar("T")


def resolve(target: Target, plan: Plan, live: Mapping[str, LiveHost]) -> tuple[str, ...]:
    """The hosts that `target` means, sorted by name; empty if nobody fits its role.

    `live` is needed for roles alone. A target with neither hosts nor role means nobody here (a partition reads it as
    "everyone else").
    """
    if target.hosts:
        return tuple(sorted(set(target.hosts) - set(target.exclude)))
    if not target.role:
        return ()
    if target.role == "site-without-replica":
        return _site_without_replica(target, plan, live)
    eligible = [host for host in live.values() if host.alive and not host.paused and host.name not in target.exclude]
    chosen = _BY_ROLE[target.role](eligible, target)
    return (chosen.name,) if chosen is not None else ()


def _pick(candidates: Iterable[T], key: Callable[[T], str], target: Target) -> T | None:
    """The candidate that the plan's draw falls on."""
    ordered = sorted(candidates, key=key)
    return ordered[int(target.pick * len(ordered))] if ordered else None


def _replica(hosts: Sequence[LiveHost], target: Target) -> LiveHost | None:
    return _pick(_replicas(hosts, target.app), _name, target)


def _agent(hosts: Sequence[LiveHost], target: Target) -> LiveHost | None:
    return _pick((host for host in hosts if host.is_agent), _name, target)


def _steward(hosts: Sequence[LiveHost], target: Target) -> LiveHost | None:
    """After a partition two hosts may think so; the draw decides."""
    return _pick((host for host in hosts if _serves(host.steward_of, target.app)), _name, target)


def _busiest_agent(hosts: Sequence[LiveHost], target: Target) -> LiveHost | None:
    """Most requests routed since its boot; ties by nodes held, then by name."""
    agents = (host for host in hosts if host.is_agent)
    return min(agents, key=lambda host: (-host.routed, -host.nodes, host.name), default=None)


def _busiest_replica(hosts: Sequence[LiveHost], target: Target) -> LiveHost | None:
    """Most requests served since its boot; ties by name."""
    return min(_replicas(hosts, target.app), key=lambda host: (-host.served, host.name), default=None)


_BY_ROLE: Mapping[str, Callable[[Sequence[LiveHost], Target], LiveHost | None]] = {
    "replica": _replica,
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
    site = _pick(preferred or sites, str, target)
    return tuple(sorted(host.name for host in plan.hosts if host.site == site))


def _replicas(hosts: Iterable[LiveHost], app: str) -> list[LiveHost]:
    return [host for host in hosts if _serves(host.replica_of, app)]


def _serves(apps: Sequence[str], app: str) -> bool:
    """Whether `app`, or any application if none is named, is among them."""
    return app in apps if app else bool(apps)


def _name(host: LiveHost) -> str:
    return host.name
