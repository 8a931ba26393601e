"""Records of divisions of hosts among applications, made up by hand."""

from __future__ import annotations

from typing import Any

from opus_controller.model import plan as model

from helpers.fakerun import FakeRun

MS = 1_000_000
UTILITY = model.Utility(
    worth=8.0,
    combine="product",
    floor=1,
    latency_quantile=0.5,
    latency_ns=((40 * MS, 1.0), (80 * MS, 0.0)),
    availability=((0.5, 0.0), (1.0, 1.0)),
)


def division(made: FakeRun, at_s: float, members: list[str], before: list[str], cause: str = "worth more", **more: Any) -> None:
    figures: dict[str, Any] = {
        "demand": 4.0, "cost": 0.25, "e": 0.6, "floor": 1, "latency": 50 * MS, "availability": 0.99, "throughput": 3.96,
        "utility": 6.0, "utility_before": 2.0, "moving": 0.1, "promised": False, "pool": 3, "forecasts": 17, "whole": True,
    }  # fmt: skip
    made.put(
        at_s,
        "division",
        "x-1",
        app="web",
        cause=cause,
        members=[made.node(host) for host in members],
        before=[made.node(host) for host in before],
        keeps=[1.5] * len(members),
        rivals=["other", *[""] * (len(members) - 1)],
        offers=[0.25, *[0.0] * (len(members) - 1)],
        **{**figures, **more},
    )
    made.put(
        at_s, "replica_set", "x-1", app="web", epoch=int(at_s) * 1000, members=[made.node(one) for one in members], cause=cause
    )
