"""The table: what is to be reached, which experiment's figures tell, and how they become one estimate.

A row's `name` is what `--rows` selects by; several rows share one. A figure that the core has no mechanism for yet is a row
of its own kind: it says what is missing, and counts as missed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite, isnan
from typing import Any, Literal

import numpy as np

from opus_controller.bench.overlay import statistics
from opus_controller.bench.overlay.experiments import Figures
from opus_controller.bench.overlay.run import Results
from opus_controller.bench.overlay.statistics import Estimate

Verdict = Literal["ok", "ok?", "MISSED?", "MISSED", "missing", ""]
"""With a question mark: the bound lies inside the interval. Empty: printed only."""
Estimator = Callable[[Sequence[Figures]], Estimate]


@dataclass(frozen=True)
class Row:
    name: str
    what: str
    experiments: tuple[str, ...]
    """Whose figures it needs; the first one's go to `estimate`."""
    estimate: Estimator
    bound: float | None = None
    least: bool = False
    """Whether the bound is the least allowed."""
    unit: str = ""
    digits: int = 2
    scale: float = 1.0
    """Of the printed figure: 100 for shares in percent."""
    note: Callable[[Sequence[Figures]], str] = lambda figures: ""
    missing: str = ""
    """The mechanism that the core lacks."""


@dataclass(frozen=True)
class Line:
    """A row with what was measured."""

    row: Row
    estimate: Estimate
    note: str

    @property
    def verdict(self) -> Verdict:
        if self.row.missing:
            return "missing"
        bound, found = self.row.bound, self.estimate
        if bound is None or isnan(found.value):
            return "" if bound is None else "MISSED"
        sign = -1.0 if self.row.least else 1.0
        kept = sign * found.value <= sign * bound
        sure = not found.low <= bound <= found.high or found.low == found.high
        return ("ok" if sure else "ok?") if kept else ("MISSED" if sure else "MISSED?")

    @property
    def to_reach(self) -> str:
        if self.row.bound is None:
            return ""
        return f"{'at least' if self.row.least else 'at most'} {self._shown(self.row.bound, trim=True)}"

    @property
    def measured(self) -> str:
        if self.row.missing:
            return f"mechanism missing: {self.row.missing}"
        if isnan(self.estimate.value):
            return "nothing"
        interval = ""
        if isfinite(self.estimate.low) and self.estimate.low < self.estimate.high:
            interval = f" [{self._number(self.estimate.low)}, {self._number(self.estimate.high)}]"
        return f"{self._shown(self.estimate.value)}{interval}"

    def _number(self, value: float) -> str:
        return f"{value * self.row.scale:,.{self.row.digits}f}"

    def _shown(self, value: float, *, trim: bool = False) -> str:
        number = f"{value * self.row.scale:g}" if trim else self._number(value)
        return f"{number} {self.row.unit}".rstrip() if self.row.unit != "%" else f"{number}%"

    def plain(self) -> dict[str, Any]:
        """For JSON: figures unscaled, null where there is none."""
        found = self.estimate
        numbers = {"value": found.value, "low": found.low, "high": found.high}
        return {
            "row": self.row.name,
            "what": self.row.what,
            "bound": self.row.bound,
            "least": self.row.least,
            "unit": self.row.unit,
            **{name: value if isfinite(value) else None for name, value in numbers.items()},
            "count": found.count,
            "verdict": self.verdict,
            "note": self.note,
        }


def lines(rows: Sequence[Row], results: Results) -> list[Line]:
    found = []
    for row in rows:
        figures = results.of(row.experiments[0]) if row.experiments else []
        estimate = row.estimate(figures) if figures and not row.missing else statistics.NOTHING
        found.append(Line(row, estimate, row.note(figures) if figures else ""))
    return found


# Estimators and notes


def mean_of(key: str) -> Estimator:
    return lambda figures: statistics.mean([one[key] for one in figures])


def worst_of(key: str) -> Estimator:
    return lambda figures: statistics.worst([one[key] for one in figures])


def averages(**texts: str) -> Callable[[Sequence[Figures]], str]:
    """ "agents 73.2, hops 1.8": means over seeds, by key and text."""
    return lambda figures: ", ".join(f"{text} {np.mean([one[key] for one in figures]):.3g}" for key, text in texts.items())


# The rows


def all_rows() -> list[Row]:
    return [*_stretch(), *_regret(), *_cost(), *_placement()]


def _stretch() -> list[Row]:
    rows = []
    for way, bound in (("forwarded", 1.12), ("direct", 1.04)):
        told = "forwarded by an agent" if way == "forwarded" else "direct from a node's cache"
        for m in (10, 20, 50):
            what = f"stretch, m = {m}, {told}"
            note = averages(stretch_with_hops="with 0.52 ms a hop", hops="hops")
            rows.append(
                Row("stretch", what, (f"{way} {m}",), mean_of("stretch"), bound if m == 10 else None, digits=3, note=note)
            )
    return rows


def _regret() -> list[Row]:
    return [
        Row("regret", f"regret, m = 10, forwarded, p{p}", ("forwarded 10",), mean_of(f"regret_p{p}_ms"), bound, unit="ms")
        for p, bound in ((95, 8.0), (99, 15.0))
    ]


def _cost() -> list[Row]:
    rows = []
    for way, cost, random in (("forwarded", 1.20, 0.65), ("direct", 1.08, 0.58)):
        note = averages(mean_ms="routing latency, ms:")
        rows += [
            Row("cost", f"cost of self-organization, m = 10, {way}", (f"{way} 10",), mean_of("cost"), cost, digits=3, note=note),
            Row("random", f"latency / that of 10 random replicas, {way}", (f"{way} 10",), mean_of("by_random"), random, digits=3),
        ]
    return sorted(rows, key=lambda row: row.name)


def _placement() -> list[Row]:
    rows = []
    for m, bound, most in ((10, 1.08, 1.12), (20, 1.10, 1.15), (50, 1.28, 1.42)):
        note = averages(probes_per_node="probes a node:", agents="agents")
        experiment = (f"placement {m}",)
        rows += [
            Row(
                "placement",
                f"placement, m = {m}: / best of 20 searches",
                experiment,
                mean_of("placement"),
                bound,
                digits=3,
                note=note,
            ),
            Row("placement", f"placement, m = {m}: worst seed", experiment, worst_of("placement"), most, digits=3),
        ]
    return rows
