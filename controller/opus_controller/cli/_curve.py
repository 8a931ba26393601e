"""Of a sweep over the number of replicas: availability against it, as measured, with the planner's forecast beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opus_controller.model.plan import Plan
    from opus_controller.model.settings import Variation
    from opus_controller.report.availability import Line
    from opus_controller.report.result import Result

PICTURE = "availability.svg"
_KEY = re.compile(r"applications\.([^.]+)\.replicas")


def varied_app(variations: Sequence[Variation], plan: Plan) -> str:
    """The application whose number of replicas is all that varies; empty: that is not what the sweep is about."""
    several = [one for one in variations if len(one.settings) > 1]
    match = _KEY.fullmatch(several[0].key) if len(several) == 1 else None
    if match is None or not all(isinstance(setting.value, int) for setting in several[0].settings):
        return ""
    name = match.group(1)
    names = [app.name for app in plan.apps]
    return names[int(name)] if name.isdigit() and int(name) < len(names) else name if name in names else ""


def draw(app: str, measured: Mapping[int, Sequence[Result]], plans: Mapping[int, Sequence[Plan]], directory: Path) -> Path | None:
    """`measured`, `plans`: by the number of replicas, one a seed. None where too little was measured for a curve."""
    from opus_controller.report.availability import save

    line = _measured(app, measured)
    if len(line.points) < 2:
        return None
    lines = [line]
    asks = any(load.app == app for plan in plans.values() for load in plan[0].workload)
    if asks and any(plan.churn or plan.timeline for of in plans.values() for plan in of):
        lines.append(_forecast(app, {size: plans[size] for size, _ in line.points}))
    save(f"{app}: availability against m", lines, directory / PICTURE)
    return directory / PICTURE


def _measured(app: str, measured: Mapping[int, Sequence[Result]]) -> Line:
    from opus_controller.planner.choose import fewest
    from opus_controller.report.availability import Line
    from opus_controller.report.several import student

    found = []
    for size, results in sorted(measured.items()):
        shares = [
            one.figures.requests.availability
            for result in results
            if result.verdict != "invalid"
            for one in result.by_app
            if one.app == app and one.figures.requests.availability is not None
        ]
        if shares:
            one = student.mean(shares)
            found.append((size, one.value, max(0.0, one.low), min(1.0, one.high)))
    points = tuple((size, mean) for size, mean, _, _ in found)
    return Line("measured", points, fewest(points), tuple(found))


def _forecast(app: str, plans: Mapping[int, Sequence[Plan]]) -> Line:
    from opus_controller.planner.choose import NEAR, Forecast, fewest
    from opus_controller.report.availability import Line

    found = []
    for size, of in sorted(plans.items()):
        told = next(one for one in of[0].apps if one.name == app)
        forecast = Forecast(of, app, told.consistency, told.static)
        point = forecast.of(told.members, ()) if told.members and told.static else forecast.at(size, NEAR)
        found.append((size, point.availability))
    return Line("forecast", tuple(found), fewest(found))
