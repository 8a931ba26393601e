"""Share of data lost against copies of each shard, by placement, drawn (`opus bench survival --picture`)."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from opus_controller.bench.overlay import statistics
from opus_controller.bench.overlay.run import Results
from opus_controller.bench.survival import table
from opus_controller.bench.survival.places import PLACEMENTS
from opus_controller.model.errors import ScenarioError
from opus_controller.report import plots
from opus_controller.report.palette import LIGHT
from opus_controller.report.picture import write

SHOWN = ("1 region", "2 regions", "30% of hosts")


def save(results: Results, path: Path) -> None:
    """ScenarioError for a path it cannot serve, or where neither topology was measured."""
    grounds = [name for name in (table.SIX, table.PLANET) if results.of(name)]
    if not grounds:
        raise ScenarioError(f"--picture draws rows {table.SIX} and {table.PLANET}; allowed: with one of them at least")
    write(path, "survival", lambda: _curves(results, grounds))


def _curves(results: Results, grounds: list[str]) -> Figure:
    figure = Figure(figsize=(plots.WIDTH, 2.6 * len(grounds)), layout="constrained")
    rows = figure.subplots(len(grounds), len(SHOWN), sharex=True, squeeze=False)
    for ground, row in zip(grounds, rows, strict=True):
        told = results.of(ground)
        for failure, axes in zip(SHOWN, row, strict=True):
            for placement, colour in zip(PLACEMENTS, (LIGHT.muted, LIGHT.b, LIGHT.a), strict=True):
                keys = [table.key(placement, copies, failure) for copies in table.COPIES]
                found = [statistics.mean([one[key] for one in told]) for key in keys]
                values = [100 * one.value for one in found]
                axes.plot(table.COPIES, values, "o-", color=colour, markersize=4, label=table.NAMES[placement])
                if len(told) > 1:
                    low, high = [100 * one.low for one in found], [100 * one.high for one in found]
                    axes.fill_between(table.COPIES, low, high, color=colour, alpha=0.2, linewidth=0)
            axes.set_title(f"{'six-regions' if ground == table.SIX else 'PlanetLab'}: {failure}")
            axes.set_xticks(table.COPIES)
            axes.set_ylim(bottom=0)
        row[0].set_ylabel("lost, %")
    for axes in rows[-1]:
        axes.set_xlabel("copies of each shard")
    rows[0][-1].legend(loc="upper right")
    return figure
