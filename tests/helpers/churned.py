"""Plans with churn for tests, and what their hosts live through by them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from opus_controller.model.compile import compile_plan
from opus_controller.model.plan import Plan
from opus_controller.model.scenario import load_scenario
from scipy import integrate

SECOND = 1_000_000_000
ENOUGH = 0.001
"""The least p-value that passes. Draws are seeded, so a test that passes always does."""

TOPOLOGY = """\
name: many
source: made up
sites: [{{name: a}}, {{name: b}}]
rtt_ms: {{a: {{b: 20}}}}
groups: [{{name: servers, sites: all, count: {count}}}]
"""
SCENARIO = """\
name: churny
topology: many.yaml
duration: {duration}
settle: 0s
seeds: 1
applications: [{{name: web, replicas: 1}}]
churn: {churn}
"""


def churned(directory: Path, churn: str, *, hosts: int = 20, duration: str = "600s", seed: int = 1, more: str = "") -> Plan:
    """The plan of `hosts` hosts in two sites whose churn is this (YAML, flow style); it starts at the origin."""
    (directory / "many.yaml").write_text(TOPOLOGY.format(count=hosts // 2))
    path = directory / "churny.yaml"
    path.write_text(SCENARIO.format(duration=duration, churn=churn) + more)
    return compile_plan(load_scenario(path), seed)


@dataclass(frozen=True)
class Stay:
    """One session or absence, in seconds since the origin; `end` None: it outlasted the plan."""

    host: str
    up: bool
    start: float
    end: float | None

    def covers(self, t: float) -> bool:
        return self.start <= t and (self.end is None or t < self.end)


def stays(plan: Plan) -> list[Stay]:
    """Of the hosts that churn, by the plan alone."""
    assert plan.churn is not None
    since = {life.host: (life.up, -life.age_ns / SECOND) for life in plan.churn.lives if life.churns_from_ns is not None}
    found = []
    for event in plan.churn.events:
        for host in event.hosts:
            up, start = since[host]
            found.append(Stay(host, up, start, event.at_ns / SECOND))
            since[host] = (not up, event.at_ns / SECOND)
    return [*found, *(Stay(host, up, start, None) for host, (up, start) in since.items())]


def alive(plan: Plan, t: float) -> int:
    """Hosts that churn and are up at `t` seconds."""
    return sum(stay.up and stay.covers(t) for stay in stays(plan))


def equilibrium(theirs: Any) -> Callable[[Any], Any]:
    """The distribution function of ages, and of rests, at an instant: integral of P(X > x) / mean."""
    x = np.concatenate([[0.0], np.logspace(-6, 9, 60_000) * theirs.median()])
    grown = np.concatenate([[0.0], integrate.cumulative_trapezoid(theirs.sf(x), x)]) / theirs.mean()
    return lambda values: np.interp(values, x, grown)
