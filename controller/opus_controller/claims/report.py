"""One report of all claims: Markdown, with plots beside it; its verdicts first."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from opus_controller.claims.claim import Claim, Finding, Line, Plot, Table
from opus_controller.claims.setting import Setting
from opus_controller.model.errors import ScenarioError
from opus_controller.report.palette import LIGHT
from opus_controller.report.picture import write

COLOURS = (LIGHT.a, LIGHT.b, LIGHT.c, LIGHT.d, LIGHT.bad, LIGHT.muted, LIGHT.ink)
MARKS = "os^Dv<>"
HEIGHT = 3.6
WIDTH = 7.2


@dataclass(frozen=True)
class Chapter:
    claim: Claim
    finding: Finding


@dataclass(frozen=True)
class About:
    """Of the run, for the report's head."""

    command: str
    version: str
    seconds: float
    """Of a processor, that making the figures took, now or earlier."""
    left_out: Sequence[str]
    """Networks whose data were not there, and claims that need them."""


def save(chapters: Sequence[Chapter], setting: Setting, about: About, path: Path) -> list[Path]:
    """Writes `path` (.md) and its plots into a directory of its name beside it; all files that were written."""
    if path.suffix != ".md":
        raise ScenarioError(f"--out {path}: the report is Markdown; allowed: a name that ends in .md")
    pictures = path.with_suffix("")
    written = [path]
    try:
        for chapter in chapters:
            for plot in chapter.finding.plots:
                pictures.mkdir(parents=True, exist_ok=True)
                file = pictures / _file(chapter.claim, plot)
                write(file, f"claims {chapter.claim.number} {plot.name}", _drawing(plot))
                written.append(file)
        path.write_text(text(chapters, setting, about, pictures.name))
    except OSError as error:
        raise ScenarioError(f"cannot write {path}: {error.strerror}") from error
    return written


def text(chapters: Sequence[Chapter], setting: Setting, about: About, pictures: str) -> str:
    parts = [_head(setting, about), _verdicts(chapters), *(_chapter(one, pictures) for one in chapters)]
    return "\n\n".join(parts) + "\n"


def _head(setting: Setting, about: About) -> str:
    networks = "\n".join(f"- **{one.name}**: {one.what}" for one in setting.networks)
    left_out = "".join(f"\n- left out: {one}" for one in about.left_out)
    seeds = f"seeds {setting.seeds[0]} to {setting.seeds[-1]}" if len(setting.seeds) > 1 else f"seed {setting.seeds[0]}"
    took = f"{about.seconds / 60:.0f} minutes of processor time"
    return f"""# The paper's claims, measured

Made by `{about.command}` (Opus {about.version}; {took}; scale {setting.scale.name}; {seeds} of what differs from run to
run). Every figure is of the simulator, in which the nodes' own code runs; its hop cost is that of the release. Verdicts follow
from rules that were written down before the figures were looked at; each chapter says its own.

Networks:

{networks}{left_out}"""


def _verdicts(chapters: Sequence[Chapter]) -> str:
    rows = [
        (str(c.claim.number), f"[{c.claim.name}](#{_anchor(c.claim)})", f"**{c.finding.verdict}**", c.finding.because)
        for c in chapters
    ]
    return table_text(Table("", ("", "claim", "verdict", "because"), rows))


def _anchor(claim: Claim) -> str:
    return f"{claim.number}-{claim.name}"


def _chapter(chapter: Chapter, pictures: str) -> str:
    claim, finding = chapter.claim, chapter.finding
    parts = [
        f"## {claim.number} {claim.name}",
        f"> {claim.says}",
        f"**Verdict: {finding.verdict}.** {finding.because}",
        f"Measured: {claim.measured}",
        f"Rule: {claim.rule}",
        *(f"![{plot.title}]({pictures}/{_file(claim, plot)})" for plot in finding.plots),
        *(table_text(table) for table in finding.tables),
    ]
    if finding.notes:
        parts.append("\n".join(f"- {note}" for note in finding.notes))
    parts.append(f"Again: `opus claims {claim.number}`")
    return "\n\n".join(parts)


def table_text(table: Table) -> str:
    """As Markdown; a bar inside a cell would end it."""
    rows = [table.head, ["---"] * len(table.head), *table.rows]
    lines = ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(([f"{table.title}:", ""] if table.title else []) + lines)


def _file(claim: Claim, plot: Plot) -> str:
    return f"{claim.number:02d}-{plot.name}.svg"


# Plots


def _drawing(plot: Plot) -> Callable[[], Figure]:
    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH, HEIGHT))
        axes = figure.subplots()
        for k, line in enumerate(plot.lines):
            _draw_line(axes, line, COLOURS[k % len(COLOURS)], MARKS[k % len(MARKS)])
        if plot.log_x:
            axes.set_xscale("log")
        if plot.log_y:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=min(0.0, *(min(line.y, default=0.0) for line in plot.lines), 0.0))
        for axis, logarithmic in ((axes.xaxis, plot.log_x), (axes.yaxis, plot.log_y)):
            if logarithmic:
                axis.set_major_formatter(ScalarFormatter())
        axes.set_xlabel(plot.x)
        axes.set_ylabel(plot.y)
        axes.set_title("\n".join(textwrap.wrap(plot.title, 90)))
        if len(plot.lines) > 1:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        return figure

    return draw


def _draw_line(axes: Any, line: Line, colour: str, mark: str) -> None:
    axes.plot(line.x, line.y, mark if line.points else f"{mark}-", color=colour, markersize=4, label=line.label)
    if line.low and line.high and bool(np.isfinite([*line.low, *line.high]).all()):
        axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.2, linewidth=0)
