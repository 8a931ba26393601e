"""From an order (rows, seeds, settings) to the table's lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from opus_controller.bench.overlay import data, rows
from opus_controller.bench.overlay.experiments import FULL, Scale, all_experiments
from opus_controller.bench.overlay.kept import Kept
from opus_controller.bench.overlay.rows import Line
from opus_controller.bench.overlay.run import Results, run
from opus_controller.bench.overlay.settings import Settings


@dataclass(frozen=True)
class Order:
    rows: Sequence[str] = ()
    """Names; none: all."""
    seeds: int = 10
    data: Path | None = None
    settings: Settings = field(default_factory=Settings)
    scale: Scale = FULL
    into: Path | None = None
    """A directory in which figures are kept as they are made, to go on with."""

    def told(self) -> dict[str, object]:
        """For JSON."""
        return {"seeds": self.seeds, "settings": self.settings.told(), "scale": vars(self.scale)}


def measure(order: Order, on_progress: Callable[[str], None] = lambda news: None) -> tuple[list[Line], Results]:
    """Raises ScenarioError for a row that does not exist, or where the matrix is not to be found."""
    chosen = rows.chosen(rows.all_rows(order.scale), order.rows)
    matrix = data.Matrix(data.find(order.data))
    needed = {row.experiment for row in chosen if not row.missing}
    experiments = [one for one in all_experiments(order.scale) if one.name in needed]
    kept = Kept.into(order.into, matrix.path, order.settings, order.scale) if order.into else None
    seeds = range(1, order.seeds + 1)
    results = run(experiments, seeds, matrix, order.settings, order.scale, kept=kept, on_progress=on_progress)
    return rows.lines(chosen, results), results
