"""The same hosts under hierarchies of other depths: what each level holds and sends, how requests fare, what a newcomer costs."""

from __future__ import annotations

from typing import Any

import numpy as np

from opus_controller.bench.overlay import steady
from opus_controller.bench.overlay.lab import Lab
from opus_controller.bench.overlay.placing import WARM_S

Figures = dict[str, Any]

COUNT_S = 60.0
LEVELS = ("node", "agent", "head", "top")
"""As many as a node may serve on; at depth 4 heads have heads."""


def look(lab: Lab, count_s: float = COUNT_S, *, newcomers: bool = True) -> Figures:
    """Forwarded requests only: a node that knows its replicas needs no hierarchy."""
    lab.reconfigure(direct=False)
    lab.run_for(WARM_S)
    lab.forget()
    before = lab.samples()
    lab.run_for(count_s)
    after, snapshots = lab.samples(), lab.snapshots()
    found: Figures = {"hosts": len(snapshots), **_requests(lab)}
    for number, level in enumerate(LEVELS):
        names = [name for name, one in snapshots.items() if one.level == number and name in before]
        found[f"{level}s"] = len(names)
        entries = [snapshots[name].entries for name in names] or [0]
        rates = [(steady.control_bytes(after[name]) - steady.control_bytes(before[name])) / count_s for name in names] or [0.0]
        found[f"{level}_entries"] = float(np.median(entries))
        found[f"{level}_entries_max"] = int(max(entries))
        found[f"{level}_bytes"] = float(np.mean(rates))
    stewards = [one.entries for one in snapshots.values() if one.steward_of]
    return {**found, "steward_entries": max(stewards, default=0), **(steady.joins(lab) if newcomers else {})}


def _requests(lab: Lab) -> Figures:
    """Routing latency of requests that went by an agent, and hops of all."""
    ok = [one for one in lab.requests if one["outcome"] == "ok"]
    by_agents = [(one["arrived_at"] - one["issued_at"]) / 1e6 for one in ok if one["via"] == "agent"]
    return {
        "issued": len(lab.requests),
        "ok": len(ok),
        "latency_ms": float(np.mean(by_agents or [float("nan")])),
        "hops_max": max((one["hops"] for one in ok), default=0),
    }
