"""Requests of hosts that flood others, told apart from clients'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opus_controller.report.result import FloodResult

SECOND = 1_000_000_000
Record = Mapping[str, Any]


def parted(requests: Sequence[dict[str, Any]], events: Iterable[Record]) -> tuple[list[dict[str, Any]], list[FloodResult]]:
    """The requests of clients, and what became of the others: those that a flood's sources issued while it went on."""
    struck = [event for event in events if event["kind"] == "fault"]
    floods = [event for event in struck if event["fault"] == "flood" and event["victims"]]
    if not floods:
        return list(requests), []
    ends = {event["undoes"]: int(event["done_t"]) for event in reversed(struck) if event["undoes"]}
    left = list(requests)
    results = []
    for flood in floods:
        start, end, asking = int(flood["t"]), ends.get(flood["name"]), set(flood["sources"])
        mine = [r for r in left if r["host"] in asking and start <= r["issued_at"] and (end is None or r["issued_at"] <= end)]
        taken = {id(request) for request in mine}
        left = [request for request in left if id(request) not in taken]
        outcomes = [request["outcome"] for request in mine]
        results.append(
            FloodResult(
                name=flood["name"],
                at_s=start / SECOND,
                targets=list(flood["victims"]),
                sources=list(flood["sources"]),
                issued=len(mine),
                ok=outcomes.count("ok"),
                refused=outcomes.count("refused"),
            )
        )
    return left, results
