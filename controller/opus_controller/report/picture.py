"""Figures as pictures of their own, for a README or a slide; the overview is one."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from opus_controller.model.errors import ScenarioError
from opus_controller.report import plots
from opus_controller.report.palette import LIGHT
from opus_controller.report.run import Run

KINDS = (".png", ".svg")


def write(path: Path, name: str, draw: Callable[[], Figure]) -> None:
    """What `draw` makes, on white, the same bytes for the same figure; `name` tells its kind from others. Raises ScenarioError
    for a path it cannot serve."""
    if path.suffix not in KINDS:
        raise ScenarioError(f"{path}: a picture's name ends in {' or '.join(KINDS)}")
    look: Any = {**plots.style(LIGHT), "savefig.transparent": False, "savefig.facecolor": "white", "svg.hashsalt": name}
    with mpl.rc_context(look):
        figure = draw()
        try:
            figure.savefig(path, dpi=144, metadata={"Date": None} if path.suffix == ".svg" else None)
        except OSError as error:
            raise ScenarioError(f"cannot write {path}: {error.strerror}") from error


def save(run: Run, path: Path) -> None:
    """Availability and latency over time with the faults marked. Raises ScenarioError for a path it cannot serve."""

    def draw() -> Figure:
        if not run.judged.requests.size:
            raise ScenarioError(f"{run.directory}: no requests were recorded, so there is nothing to draw")
        figure = plots.overview(run, LIGHT)
        figure.suptitle(f"{run.plan.name} on {run.plan.topology}: {len(run.plan.hosts)} hosts", x=0.01, ha="left", fontsize=11)
        figure.supxlabel(_legend(run), x=0.01, ha="left", fontsize=8.5, color=LIGHT.fault)
        return figure

    write(path, "overview", draw)


def _legend(run: Run) -> str:
    """What the numbers mean, as far as three lines hold."""
    faults = (f"{i} {fault.kind} {fault.target}" for i, fault in enumerate(run.world.faults, start=1))
    return "\n".join(
        textwrap.wrap(
            "   ".join(fault.replace(" ", "\N{NO-BREAK SPACE}") for fault in faults), 150, max_lines=3, break_on_hyphens=False
        )
    )
