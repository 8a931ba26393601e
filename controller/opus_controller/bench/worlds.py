"""The plans that benches run: of any number of hosts, without faults."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from opus_controller.model.compile import plan_of_topology
from opus_controller.model.plan import App, OverlaySettings, Plan, Workload
from opus_controller.model.scenario import find
from opus_controller.model.topology import load_topology

SECOND = 1_000_000_000
APP = "web"


def six_regions(hosts: int, *, duration_s: float, replicas: int = 3, overlay: OverlaySettings | None = None) -> Plan:
    """`hosts` hosts (at least 6, rounded to whole sixths) spread evenly over the shipped six regions, shaped access links."""
    document = yaml.safe_load(find("topologies", "six-regions").read_text())
    for group in document["groups"]:
        group["count"] = max(1, round(hosts / 6))
    return _plan(document, duration_s, replicas, overlay)


def three_sites(*, duration_s: float) -> Plan:
    """Six hosts a site, 24, 60 and 80 ms apart, delay only: where a hop's own cost can be told from its path."""
    document = {
        "name": "three-sites",
        "sites": ["a", "b", "c"],
        "rtt_ms": {"a": {"b": 24, "c": 60}, "b": {"c": 80}},
        "groups": [{"name": "plain", "sites": "all", "count": 6, "access": {"delay": "1ms"}}],
    }
    return _plan(document, duration_s, 2, None)


def _plan(document: dict[str, Any], duration_s: float, replicas: int, overlay: OverlaySettings | None) -> Plan:
    with tempfile.TemporaryDirectory(prefix="opus-bench-") as place:
        path = Path(place) / "topology.yaml"
        path.write_text(yaml.safe_dump(document))
        topology = load_topology(path)
    plan = plan_of_topology(topology, apps=[App(name=APP, replicas=replicas)], duration_ns=int(duration_s * SECOND))
    return plan.model_copy(update={"overlay": overlay or OverlaySettings()})


def asked_by(plan: Plan, clients: Sequence[str], total_rate: float, *, start_s: float, stop_s: float) -> tuple[Workload, ...]:
    """Open-loop requests of 200 B answered with 1 kB, `total_rate` a second over all clients."""
    return tuple(
        Workload(
            client=name,
            app=APP,
            seed=f"bench/{name}",
            rate_per_s=total_rate / len(clients),
            start_ns=int(start_s * SECOND),
            stop_ns=int(stop_s * SECOND),
            deadline_ns=2 * SECOND,
            keys=1000,
            zipf=0.99,
            request_bytes=200,
            reply_bytes=1000,
        )
        for name in clients
    )
