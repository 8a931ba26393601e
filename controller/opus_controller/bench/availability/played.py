"""One run in the simulator and what it counted, kept under its plan's digest: the same plan is never played twice."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opus_controller.bench.agree import play_into
from opus_controller.bench.availability.delays import Incident, incidents
from opus_controller.engine.record import RecordReader
from opus_controller.model.plan import Plan
from opus_controller.runtimes.sim import SimRuntime

Counts = Mapping[str, tuple[int, int]]
"""By application: (requests asked, of these answered in time)."""


def counted(plan: Plan, keep: Path | None) -> Counts:
    """Plays it, unless its figures are in the directory `keep`. PlatformError if hosts died by themselves."""
    file = None if keep is None else keep / f"{plan.digest}.json"
    if file is not None and file.is_file():
        return _counts(json.loads(file.read_text())["asked"])
    with tempfile.TemporaryDirectory(prefix="opus-bench-") as place:
        play_into(Path(place) / "run", plan, SimRuntime())
        asked = [e for e in RecordReader(Path(place) / "run").events() if e["kind"] == "request"]
    told: dict[str, list[dict[str, Any]]] = {app.name: [] for app in plan.apps}
    for request in asked:
        told[request["app"]].append(request)
    found = {
        app: {"asked": len(of), "ok": sum(one["outcome"] == "ok" for one in of), "failed": _failed(of)}
        for app, of in told.items()
    }
    if file is not None:
        draft = file.with_suffix(".new")
        draft.write_text(json.dumps({"seed": plan.seed, "apps": _about(plan), "asked": found}) + "\n")
        draft.replace(file)
    return _counts(found)


def delayed(plan: Plan) -> list[Incident]:
    """Plays it, and looks how long the overlay took over what happened."""
    with tempfile.TemporaryDirectory(prefix="opus-bench-") as place:
        play_into(Path(place) / "run", plan, SimRuntime())
        return incidents(plan, RecordReader(Path(place) / "run").events())


def _counts(found: Mapping[str, Mapping[str, Any]]) -> Counts:
    return {app: (one["asked"], one["ok"]) for app, one in found.items()}


def _failed(requests: list[dict[str, Any]]) -> list[tuple[float, str, bool, str]]:
    """(asked when, s; by whom; whether a write; how it ended), to look into."""
    return [
        (round(one["issued_at"] / 1e9, 2), one["host"], one["write"], one["outcome"])
        for one in sorted(requests, key=lambda one: int(one["issued_at"]))
        if one["outcome"] != "ok"
    ]


def _about(plan: Plan) -> dict[str, object]:
    return {app.name: [app.replicas, app.static, list(app.members)] for app in plan.apps}
