"""The table, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from opus_controller.bench.availability.curves import draw
from opus_controller.bench.availability.delays import Incident
from opus_controller.bench.availability.table import Line, Spot
from opus_controller.bench.overlay import statistics
from opus_controller.bench.overlay.statistics import Estimate

COLUMNS = (
    "what",
    "m, where",
    "measured [95%]",
    "best m",
    "measured",
    "regret, points [95%]",
    "by other seeds",
    "",
    "m for these failures",
    "regret",
    "",
    "forecast off",
)
CURVES = ("what", "m: measured / forecast of the same seeds, %")


def row(line: Line) -> tuple[str, ...]:
    where = ", ".join(f"{site} {count}" for site, count in line.sites.items()) if line.membership == "static" else ""
    ours = statistics.mean(line.ours.measured)
    return (
        _name(line),
        f"{line.chosen}{': ' if where else ''}{where}",
        _points(ours),
        str(line.best.replicas),
        f"{100 * line.best.mean:.2f}",
        _points(line.regret),
        _points(line.fair),
        _verdict(line, line.ours),
        str(line.told.replicas),
        _points(line.lost(line.told)),
        _verdict(line, line.told),
        f"{100 * line.off:.2f}",
    )


def _verdict(line: Line, spot: Spot) -> str:
    return "ok" if line.reached(spot) else "MISSED"


DELAYS = ("delay", "mean, s [95%]", "median", "greatest", "n")


def delay_rows(found: Sequence[Incident]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for kind in dict.fromkeys(sorted(one.kind for one in found)):
        took = sorted(one.took_s for one in found if one.kind == kind)
        one = statistics.mean(took)
        interval = f" [{one.low:.1f}, {one.high:.1f}]" if one.count > 1 else ""
        rows.append((kind, f"{one.value:.1f}{interval}", f"{median(took):.1f}", f"{took[-1]:.1f}", str(len(took))))
    return rows


def curve_rows(lines: Sequence[Line]) -> list[tuple[str, ...]]:
    return [(_name(line), "  ".join(_spot(spot) for spot in line.spots)) for line in lines]


def _spot(spot: Spot) -> str:
    return f"{spot.replicas}: {100 * spot.mean:.2f}/{100 * spot.told:.2f}"


def _name(line: Line) -> str:
    return f"{line.family}, {line.mode}, {line.membership}"


def _points(one: Estimate) -> str:
    if not one.count:
        return ""
    interval = f" [{100 * one.low:.2f}, {100 * one.high:.2f}]" if one.count > 1 else ""
    return f"{100 * one.value:.2f}{interval}"


def plain(lines: Sequence[Line]) -> list[dict[str, object]]:
    return [
        {
            "family": line.family,
            "membership": line.membership,
            "mode": line.mode,
            "chosen": line.chosen,
            "sites": dict(line.sites),
            "best": line.best.replicas,
            "regret": vars(line.regret),
            "ok": line.reached(line.ours),
            "chosen_for_these": line.told.replicas,
            "regret_for_these": vars(line.lost(line.told)),
            "ok_for_these": line.reached(line.told),
            "spots": [vars(spot) for spot in line.spots],
        }
        for line in lines
    ]


def keep(lines: Sequence[Line], into: Path | None) -> list[Path]:
    """The curves as figures and pictures, beside what runs counted."""
    if into is None:
        return []
    directory = into / "curves"
    directory.mkdir(exist_ok=True)
    file = directory / "curves.json"
    file.write_text(json.dumps(plain(lines), indent=1) + "\n")
    return [file, *draw(lines, directory)]
