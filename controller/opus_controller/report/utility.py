"""What applications are worth, drawn: a row an application, a column a part of its utility (`opus utility`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from opus_controller.model.plan import App, Utility
from opus_controller.model.units import format_duration, format_frequency, format_share
from opus_controller.report import plots
from opus_controller.report.palette import LIGHT, Palette
from opus_controller.report.picture import write

MARGIN = 0.12
"""Of the points' range, to either side: that the functions are flat there can be seen."""


class Part(NamedTuple):
    """One function of a utility, x in the unit that people read."""

    name: str
    unit: str
    points: tuple[tuple[float, float], ...]
    """(x, share of what the application is worth)."""
    told: str
    """The points as the scenario writes them: "80ms 100%, 200ms 30%"."""


def parts(utility: Utility) -> list[Part]:
    """Those that have points."""
    found = []
    if utility.latency_quantile is not None:
        quantile = format_share(utility.latency_quantile).removesuffix("%")
        points = tuple((ns / 1e6, worth) for ns, worth in utility.latency_ns)
        told = _told([(format_duration(ns), worth) for ns, worth in utility.latency_ns])
        found.append(Part(f"latency, p{quantile}", "ms", points, told))
    if utility.availability:
        points = tuple((100 * share, worth) for share, worth in utility.availability)
        told = _told([(format_share(share), worth) for share, worth in utility.availability])
        found.append(Part("availability", "%", points, told))
    if utility.throughput_per_s:
        told = _told([(format_frequency(rate), worth) for rate, worth in utility.throughput_per_s])
        found.append(Part("throughput", "/s", utility.throughput_per_s, told))
    return found


def _told(points: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{x} {format_share(worth)}" for x, worth in points)


def save(apps: Sequence[App], path: Path) -> None:
    """The picture of those that have a utility. ScenarioError for a path it cannot serve."""
    drawn = [(app.name, app.utility) for app in apps if app.utility is not None]
    write(path, "utility", lambda: curves(drawn, LIGHT))


def curves(utilities: Sequence[tuple[str, Utility]], colours: Palette) -> Figure:
    """What is each application worth, by what its users feel?"""
    drawn = [(app, utility, parts(utility)) for app, utility in utilities]
    columns = max(len(each) for _, _, each in drawn)
    figure = Figure(figsize=(plots.WIDTH, 0.3 + 2.1 * len(drawn)))
    rows = figure.subplots(len(drawn), columns, squeeze=False)
    for row, (app, utility, each) in zip(rows, drawn, strict=True):
        for axes, part in zip(row, each, strict=False):
            _curve(axes, part, utility.worth, colours)
        for axes in row[len(each) :]:
            axes.set_axis_off()
        how = f", {utility.combine} of these" if len(each) > 1 else ""
        promised = f", promised hosts: {utility.floor}" if utility.floor else ""
        row[0].set_title(f"{app}: worth {utility.worth:g}{how}{promised}")
    return figure


def _curve(axes: Axes, part: Part, worth: float, colours: Palette) -> None:
    xs, ys = zip(*part.points, strict=True)
    wide = MARGIN * (xs[-1] - xs[0])
    left, right = max(0.0, xs[0] - wide), xs[-1] + wide
    if part.unit == "%":
        right = min(100.0, right)
    values = [worth * y for y in ys]
    axes.plot([left, *xs, right], [values[0], *values, values[-1]], color=colours.a)
    axes.plot(xs, values, "o", color=colours.a, markersize=4)
    axes.set_ylim(-0.03 * (worth or 1), 1.08 * (worth or 1))
    axes.set_xlabel(f"{part.name}, {part.unit}" if part.unit != "/s" else "requests answered a second")
