"""Draw the Overview dashboard of an observed run as a picture: every query of its panels, asked of a real Prometheus.

python scripts/overview_picture.py RUN PICTURE [--data DIR]

RUN is the directory of a run that was made with `opus run SCENARIO --observe`; DIR is the data directory of the Prometheus that
scraped it (RUN/../prometheus/data), or of one that `opus report RUN --prometheus DIR` has filled. Panels lie where Grafana puts
them; queries, units and annotations are those of the committed JSON.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from opus_controller.report import plots
from opus_controller.report.palette import LIGHT

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from helpers import promdata
from helpers.promdata import Look

BOARD = "overview"
WIDTH, ROW, HEAD, FOOT = 14.0, 0.3, 0.5, 0.4
"""Inches: the picture's width, one of Grafana's rows, what is above and below all panels."""
MARGINS = {"stat": (0.1, 0.1, 0.3, 0.1), "timeseries": (0.75, 0.25, 0.5, 0.3), "heatmap": (0.75, 0.25, 0.3, 0.3)}
"""Inches left, right, above and below of what is drawn in a panel."""
STATES_MARGINS = {12: (0.75, 0.25, 0.3, 0.3), 24: (4.0, 0.25, 0.3, 0.3)}
"""The same of states over time, by the panel's width: the names of rows need room."""
COLOURS = (LIGHT.a, LIGHT.b, LIGHT.c, LIGHT.good, LIGHT.muted, LIGHT.bad)
LEGEND: Any = {"fontsize": 8, "handlelength": 1.2, "handletextpad": 0.4, "columnspacing": 0.9}
STYLES = ("-", "--", ":")
WORDS = {"percentunit": (100, "%"), "s": (1000, " ms"), "reqps": (1, " /s"), "short": (1, "")}
"""By Grafana's unit: factor and word."""


@dataclass(frozen=True)
class Line:
    """One series of a panel: seconds since the run's start, values, and what its legend says."""

    labels: Mapping[str, str]
    legend: str
    times: Sequence[float]
    values: Sequence[float]


def answers(look: Look, panel: Mapping[str, Any]) -> list[Line]:
    """Of all the panel's queries. SystemExit if one has none: a picture with holes is not to be shown."""
    found: list[Line] = []
    for target in panel["targets"]:
        expr = look.fill(target["expr"])
        if target.get("instant"):
            series = [{**one, "values": [one["value"]]} for one in look.api.now(expr, look.end)]
        else:
            series = look.api.over(expr, look.start, look.end)
        if not series:
            raise SystemExit(f"overview_picture: {panel['title']}: no data for {expr}")
        found += [_line(look, target["legendFormat"], one["metric"], one["values"]) for one in series]
    return found


def _line(look: Look, legend: str, labels: Mapping[str, str], points: Sequence[tuple[float, str]]) -> Line:
    told = re.sub(r"{{(\w+)}}", lambda name: labels.get(name[1], ""), legend)
    return Line(labels, told, [at - look.start for at, _ in points], [float(value) for _, value in points])


def unit(panel: Mapping[str, Any]) -> tuple[float, str]:
    return WORDS[panel.get("fieldConfig", {}).get("defaults", {}).get("unit", "short")]


def number(axes: Axes, panel: Mapping[str, Any], lines: Sequence[Line]) -> None:
    factor, word = unit(panel)
    axes.set_axis_off()
    for i, line in enumerate(lines):
        x = (i + 0.5) / len(lines)
        axes.text(x, 0.62, f"{line.values[-1] * factor:.5g}{word}", ha="center", va="center", fontsize=17, color=LIGHT.a)
        axes.text(x, 0.18, line.legend, ha="center", va="center", fontsize=9, color=LIGHT.muted)


def curves(axes: Axes, panel: Mapping[str, Any], lines: Sequence[Line]) -> None:
    factor, word = unit(panel)
    stacked = panel["fieldConfig"]["defaults"]["custom"].get("stacking", {}).get("mode") == "normal"
    below = dict.fromkeys((at for line in lines for at in line.times), 0.0)
    for line, colour, style in zip(lines, cycle(COLOURS), cycle(STYLES), strict=False):
        values = [value * factor for value in line.values]
        if stacked:
            floor = [below[at] for at in line.times]
            values = [value + under for value, under in zip(values, floor, strict=True)]
            below.update(zip(line.times, values, strict=True))
            axes.fill_between(line.times, floor, values, color=colour, alpha=0.3, linewidth=0)
        axes.plot(
            line.times,
            values,
            color=colour,
            linestyle="-" if stacked else style,
            label=line.legend if any(line.values) or not stacked else None,
        )
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(PercentFormatter(100) if word == "%" else FuncFormatter(lambda y, _: f"{y:,.4g}{word}"))
    axes.tick_params(axis="y", labelsize=8)
    if panel["fieldConfig"]["defaults"].get("min") == 0:
        axes.set_ylim(bottom=0)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=6, borderpad=0, borderaxespad=0.2, **LEGEND)


def states(axes: Axes, panel: Mapping[str, Any], lines: Sequence[Line]) -> None:
    told = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
    step = promdata.STEP_S
    for row, line in enumerate(lines):
        for at, value in zip(line.times, line.values, strict=True):
            colour = mpl.colors.to_rgba({"green": LIGHT.good, "red": LIGHT.bad}.get(told[f"{value:.0f}"]["color"], LIGHT.muted))
            shown = told[f"{value:.0f}"]["color"] != "transparent"
            axes.broken_barh([(at, step)], (row - 0.4, 0.8), facecolor=(*colour[:3], 0.6 if shown else 0), linewidth=0)
    axes.set_yticks(range(len(lines)), [line.legend for line in lines], fontsize=8.5 if len(lines) < 12 else 5.5)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.grid(visible=False)


def heat(axes: Axes, panel: Mapping[str, Any], lines: Sequence[Line]) -> None:
    """Buckets are cumulated: each less the one below it."""
    factor, word = WORDS[panel["options"]["yAxis"]["unit"]]
    ordered = sorted(lines, key=lambda line: float(line.labels["le"]))
    bounds = [float(line.labels["le"]) for line in ordered if math.isfinite(float(line.labels["le"]))]
    at = sorted({t for line in ordered for t in line.times})
    under = dict.fromkeys(at, 0.0)
    rows: list[list[float]] = []
    for line in ordered:
        upto = {**under, **dict(zip(line.times, line.values, strict=True))}
        rows.append([max(0.0, upto[t] - under[t]) for t in at])
        under = upto
    edges = [t - promdata.STEP_S / 2 for t in at] + [at[-1] + promdata.STEP_S / 2]
    steps = list(range(len(ordered) + 1))
    axes.pcolormesh(edges, steps, rows, cmap="Blues", norm=PowerNorm(0.5))
    shown = [i for i in range(len(bounds)) if i % 3 == 0]
    axes.set_yticks([i + 1 for i in shown], [f"{bounds[i] * factor:g}{word}" for i in shown], fontsize=8)
    axes.grid(visible=False)


DRAW = {"stat": number, "timeseries": curves, "state-timeline": states, "heatmap": heat}


def mark(axes: Axes, faults: Sequence[tuple[float, str]], *, named: bool) -> None:
    for number, (at, _) in enumerate(faults, start=1):
        axes.axvline(at, color=LIGHT.fault, linewidth=1)
        if named:
            axes.annotate(
                str(number), (at, 0), xycoords=("data", "axes fraction"), xytext=(2, 2), textcoords="offset points",
                fontsize=8, color=LIGHT.fault, weight="bold",
            )  # fmt: skip


def told_faults(look: Look) -> list[tuple[float, str]]:
    """The annotations: when, in seconds since the start, and what."""
    (query,) = [mark for mark in promdata.marks(BOARD) if mark["name"] == "Faults"]
    found = look.api.now(look.fill(query["expr"]), look.end)
    named = [(float(one["value"][1]) / 1e3 - look.start, f"{one['metric']['fault']} {one['metric']['target']}") for one in found]
    return sorted(named)


def place(figure: Figure, panel: Mapping[str, Any]) -> Axes:
    """Where Grafana puts the panel."""
    width, height = figure.get_size_inches()
    at = panel["gridPos"]
    margins = MARGINS.get(panel["type"]) or STATES_MARGINS[at["w"]]
    left, right, above, below = margins
    x, top = at["x"] * width / 24 + left, height - HEAD - at["y"] * ROW - above
    w, h = at["w"] * width / 24 - left - right, at["h"] * ROW - above - below
    axes = figure.add_axes((x / width, (top - h) / height, w / width, h / height))
    axes.annotate(
        panel["title"], (0, 1), xycoords="axes fraction", xytext=(0, above * 72 - 14), textcoords="offset points", fontsize=10.5
    )
    return axes


def draw(look: Look) -> Figure:
    document = promdata.load(BOARD)
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in document["panels"])
    figure = Figure(figsize=(WIDTH, HEAD + ROW * rows + FOOT))
    faults = told_faults(look)
    for panel in promdata.panels(document):
        axes = place(figure, panel)
        DRAW[panel["type"]](axes, panel, answers(look, panel))
        if panel["type"] != "stat":
            axes.set_xlim(0, look.end - look.start)
            axes.tick_params(axis="x", labelsize=8)
            mark(axes, faults, named=panel["type"] == "timeseries")
    told = "   ".join(f"{i} {what}" for i, (_, what) in enumerate(faults, start=1))
    height = figure.get_size_inches()[1]
    figure.text(0.008, 1 - 0.25 / height, f"{document['title']}: run {look.run}, asked of Prometheus", fontsize=12, va="center")
    figure.text(0.008, 0.2 / height, f"x: seconds since the start.   {told}", fontsize=9.5, va="center", color=LIGHT.fault)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--data", type=Path)
    given = parser.parse_args()
    run = given.run.resolve()
    data = given.data or run.parent / "prometheus" / "data"
    if not data.is_dir():
        raise SystemExit(
            f"overview_picture: no {data}; make the run with --observe, or: opus report {given.run} --prometheus {data}"
        )
    look_style: Any = {
        **plots.style(LIGHT),
        "savefig.transparent": False,
        "savefig.facecolor": "white",
        "figure.constrained_layout.use": False,
    }
    with promdata.looked_at(data.resolve()) as api, mpl.rc_context(look_style):
        try:
            look = Look(api, run.name, *promdata.span(run))
        except AssertionError as error:  # the data know nothing of this run
            raise SystemExit(f"overview_picture: {data}: {error}") from error
        draw(look).savefig(given.picture, dpi=100)


if __name__ == "__main__":
    main()
