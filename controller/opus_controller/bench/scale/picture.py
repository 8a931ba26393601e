"""Time, speed and memory against the number of nodes, drawn (`opus bench scale --into`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from opus_controller.bench.scale.load import Figures
from opus_controller.report import plots
from opus_controller.report.palette import LIGHT
from opus_controller.report.picture import write

NAME = "scale.svg"


def save(found: Sequence[Figures], directory: Path) -> Path:
    path = directory / NAME
    write(path, "scale", lambda: _curves(found))
    return path


def _curves(found: Sequence[Figures]) -> Figure:
    figure = Figure(figsize=(plots.WIDTH, 2.8), layout="constrained")
    sizes = [one["hosts"] for one in found]
    shown = (
        ("CPU time, s", [one["cpu_s"] for one in found], "log"),
        ("steps/s", [one["steps_per_s"] for one in found], "linear"),
        ("memory at most, GB", [one["peak_bytes"] / 1e9 for one in found], "log"),
    )
    for axes, (name, values, scale) in zip(figure.subplots(1, len(shown)), shown, strict=True):
        axes.plot(sizes, values, "o-", color=LIGHT.a, markersize=4)
        axes.set_xscale("log")
        axes.set_yscale(scale)
        if scale == "linear":
            axes.set_ylim(bottom=0)
        axes.set_title(name)
        axes.set_xlabel("nodes")
    return figure
