"""Who floods a host, and with what: requests of hosts near it, which a plan's clients have nothing to do with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opus_controller.engine.runtime import LiveHost
from opus_controller.model.network import Network
from opus_controller.model.plan import Flood, Plan, Workload

SOURCES = 4
"""Of each target: enough to have several ways in, few enough to leave the others alone."""
DEADLINE_NS = 2_000_000_000


def sources(plan: Plan, live: Mapping[str, LiveHost], targets: Sequence[str]) -> tuple[str, ...]:
    """Live hosts that are none of the targets: nodes attached to a target before others, the nearest by the plan first."""
    network, named = Network.of(plan), {host.name: host for host in plan.hosts}
    able = [host for host in plan.hosts if host.name not in targets and live[host.name].alive and not live[host.name].paused]
    chosen: list[str] = []
    for target in targets:
        ranked = sorted(
            able,
            key=lambda host: (live[host.name].agent != target, network.one_way_ns(host, named[target]), host.name),
        )
        chosen += [host.name for host in ranked[:SOURCES]]
    return tuple(dict.fromkeys(chosen))


def workload(plan: Plan, flood: Flood, clients: Sequence[str], now: int) -> tuple[Workload, ...]:
    """What each of them asks from `now` on."""
    return tuple(
        Workload(
            client=client,
            app=flood.app,
            seed=f"{plan.seed}/{flood.name}/{client}",
            rate_per_s=flood.rate_per_s / len(clients),
            start_ns=now,
            stop_ns=max(now, flood.until_ns),
            deadline_ns=DEADLINE_NS,
            keys=1000,
            zipf=0.0,
        )
        for client in clients
    )
