"""The pictures: for each family and membership one, measured with intervals beside the forecast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from opus_controller.bench.availability.table import Line
from opus_controller.bench.overlay import statistics
from opus_controller.report import availability


def draw(lines: Sequence[Line], directory: Path) -> Iterator[Path]:
    for line in lines:
        path = directory / f"{line.family}-{line.membership}-{line.mode}.svg"
        measured = []
        for spot in line.spots:
            one = statistics.mean(spot.measured)
            measured.append((spot.replicas, one.value, max(0.0, one.low), min(1.0, one.high)))
        forecast = tuple((spot.replicas, spot.told) for spot in line.spots)
        title = f"{line.mode}, {line.membership}, {line.family}"
        lines_of = [
            availability.Line("measured", tuple((m, share) for m, share, _, _ in measured), line.best.replicas, tuple(measured)),
            availability.Line("forecast", forecast, line.chosen),
        ]
        availability.save(title, lines_of, path)
        yield path
