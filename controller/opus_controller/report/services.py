"""What users' programs did in a run, and what it costs to bring one to a new replica: its files' bytes, and the time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from opus_controller.model.plan import App, Plan
from opus_controller.report import result

SECOND = 1_000_000_000


def summary(plan: Plan, events: Iterable[Mapping[str, Any]]) -> list[result.ServiceResult]:
    """One an application with a service, in the plan's order; `events`: the record, requests aside."""
    served = [app for app in plan.apps if app.service is not None]
    if not served:
        return []
    told = sorted((e for e in events if e["kind"] == "host_down" or _is_of_service(e)), key=lambda e: int(e["t"]))
    return [_of(app, [e for e in told if e["kind"] == "host_down" or e["app"] == app.name]) for app in served]


def _is_of_service(event: Mapping[str, Any]) -> bool:
    return event["kind"] in ("program", "shipped", "service") or (event["kind"] == "role" and event["role"] == "replica")


def _of(app: App, events: Sequence[Mapping[str, Any]]) -> result.ServiceResult:
    changes = [e for e in events if e["kind"] == "program"]
    shipped = [e for e in events if e["kind"] == "shipped"]
    files = app.service.files if app.service is not None else None
    return result.ServiceResult(
        app=app.name,
        hosts=len({e["host"] for e in changes if e["change"] == "started"}),
        started=_count(changes, "started"),
        stopped=_count(changes, "stopped"),
        ended=_count(changes, "ended"),
        failed=_count(changes, "failed"),
        start_s=_spread([e["took"] for e in changes if e["change"] == "ready"]),
        ready_s=_spread(_waits(events)),
        files_bytes=files.size if files is not None else 0,
        shipped=result.Shipping(
            count=len(shipped),
            bytes=sum(int(e["bytes"]) for e in shipped),
            time_s=_spread([e["took"] for e in shipped]),
        ),
    )


def _count(changes: Iterable[Mapping[str, Any]], change: str) -> int:
    return sum(e["change"] == change for e in changes)


def _waits(events: Iterable[Mapping[str, Any]]) -> list[int]:
    """From when a host became a replica to when its program took requests; those that never came to it are left out."""
    since: dict[str, int] = {}
    waits = []
    for event in events:
        host, kind = event["host"], event["kind"]
        if kind == "host_down" or (kind == "role" and not event["active"]):
            since.pop(host, None)
        elif kind == "role":
            since[host] = int(event["t"])
        elif kind == "service" and event["ready"] and host in since:
            waits.append(int(event["t"]) - since.pop(host))
    return waits


def _spread(values: Sequence[int]) -> result.Spread:
    if not values:
        return result.Spread()
    return result.Spread(p50=float(np.median(values)) / SECOND, max=max(values) / SECOND)
