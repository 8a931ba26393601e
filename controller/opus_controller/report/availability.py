"""Availability against the number of replicas, drawn (`opus availability`, `opus sweep`, `opus bench availability`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from opus_controller.report import plots
from opus_controller.report.palette import LIGHT, Palette
from opus_controller.report.picture import write


class Line(NamedTuple):
    name: str
    points: tuple[tuple[int, float], ...]
    """(replicas, availability as a share)."""
    best: int
    """The number of replicas to take."""
    intervals: tuple[tuple[int, float, float, float], ...] = ()
    """(replicas, availability, from, to), where it was measured."""


def save(title: str, lines: Sequence[Line], path: Path) -> None:
    """ScenarioError for a path it cannot serve."""
    write(path, "availability", lambda: curves(title, lines, LIGHT))


def curves(title: str, lines: Sequence[Line], colours: Palette) -> Figure:
    figure = Figure(figsize=(plots.WIDTH, 3.2))
    axes = figure.subplots()
    for line, colour in zip(lines, (colours.a, colours.b), strict=False):
        sizes, shares = zip(*line.points, strict=True)
        axes.plot(sizes, [100 * share for share in shares], "o-", color=colour, markersize=4, label=line.name)
        if line.intervals:
            at, middle, low, high = (np.array(column) for column in zip(*line.intervals, strict=True))
            reach = [100 * (middle - low), 100 * (high - middle)]
            axes.errorbar(at, 100 * middle, reach, fmt="none", ecolor=colour, elinewidth=1, capsize=3)
        best = dict(line.points)[line.best]
        axes.annotate(f"m = {line.best}", (line.best, 100 * best), textcoords="offset points", xytext=(0, 7), ha="center")
    axes.set_xlabel("replicas")
    axes.set_ylabel("availability, %")
    axes.margins(y=0.15)
    axes.set_title(title)
    axes.legend(loc="lower right")
    return figure
