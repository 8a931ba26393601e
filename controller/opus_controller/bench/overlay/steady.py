"""What a host holds and sends while nothing happens: table entries, control bytes, and what a newcomer adds."""

from __future__ import annotations

from collections import Counter
from math import nan
from random import Random
from typing import Any

import numpy as np

from opus_controller.bench.overlay.lab import Lab, Record

Figures = dict[str, Any]

WINDOW_S = 120.0
NEWCOMERS = 10
AWAY_S = 40.0
"""Longer than any lease lasts: who comes back is a stranger."""
JOIN_S = 60.0


def entries(lab: Lab) -> Figures:
    """Table entries of hosts that are no agents, and of agents."""
    samples = lab.samples().values()
    of_nodes = [one["entries"] for one in samples if not one["is_agent"]]
    of_agents = [one["entries"] for one in samples if one["is_agent"]]
    return {
        "hosts": len(of_nodes) + len(of_agents),
        "agents": len(of_agents),
        "node_mean": float(np.mean(of_nodes)),
        "node_max": int(max(of_nodes)),
        "agent_max": int(max(of_agents)),
    }


def control(lab: Lab) -> Figures:
    """Control bytes a second, sent and received, with requests as before; then without any; then those of newcomers."""
    found = rates(lab, WINDOW_S)
    lab.workload({})
    lab.run_for(10)
    idle = rates(lab, WINDOW_S)
    return {
        **found,
        "idle_node_mean": idle["node_mean"],
        "idle_node_p99": idle["node_p99"],
        "idle_all_mean": idle["all_mean"],
        **joins(lab),
    }


def rates(lab: Lab, seconds: float) -> Figures:
    """Control bytes a second from now on, by role and by kind of message."""
    before, kinds_before, began = lab.samples(), lab.control_by_kind(), lab.now
    lab.run_for(seconds)
    after, kinds_after = lab.samples(), lab.control_by_kind()
    rate = {name: (control_bytes(after[name]) - control_bytes(before[name])) / seconds for name in after}
    # Of a window only those tell what their role costs who had it from one end to the other.
    roles = [one for one in lab.events if one["kind"] == "role" and one["t"] >= began]
    changed = {one["host"] for one in roles if one["role"] == "agent"}
    nodes = [name for name, one in after.items() if not one["is_agent"] and name not in changed]
    agents = [name for name, one in after.items() if one["is_agent"] and name not in changed]
    serving = set(lab.replicas())

    def kinds(names: list[str]) -> dict[str, float]:
        """B/s by kind of message, the mean over hosts."""
        total = sum((kinds_after[name] - kinds_before[name] for name in names), Counter())
        return {kind: count / seconds / max(1, len(names)) for kind, count in total.most_common()}

    def of(names: list[str]) -> list[float]:
        return [rate[name] for name in names] or [nan]

    return {
        "plain_p99": float(np.quantile(of([name for name in nodes if name not in serving]), 0.99)),
        "node_mean": float(np.mean(of(nodes))),
        "node_p99": float(np.quantile(of(nodes), 0.99)),
        "all_mean": float(np.mean(list(rate.values()))),
        "agent_mean": float(np.mean(of(agents))),
        "agent_max": float(max(of(agents))),
        "agents": sum(one["is_agent"] for one in after.values()),
        "new_agents": sum(one["role"] == "agent" and one["active"] for one in roles) * 60 / seconds,
        "new_replicas": sum(one["role"] == "replica" and one["active"] for one in roles) * 60 / seconds,
        "node_kinds": kinds(nodes),
        "agent_kinds": kinds(agents),
    }


def joins(lab: Lab) -> Figures:
    """Some plain nodes go away and come back as strangers: what each sends and receives in its first minute."""
    samples = lab.samples()
    serving = set(lab.replicas())
    plain = [name for name, one in samples.items() if not one["is_agent"] and name not in serving]
    plain = plain or [name for name in samples if name not in serving]  # where everybody is an agent
    leaving = Random(f"{lab.plan.seed}/newcomers").sample(plain, min(NEWCOMERS, len(plain)))
    lab.power_off(leaving)
    lab.run_for(AWAY_S)
    lab.restart(leaving)
    lab.run_for(JOIN_S)
    joined = lab.samples()
    return {"join_bytes": float(np.mean([control_bytes(joined[name]) for name in leaving]))}


def control_bytes(sample: Record) -> int:
    return int(sample["control_bytes_sent"] + sample["control_bytes_received"])
