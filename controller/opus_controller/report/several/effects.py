"""What changed between two sets of runs, figure by figure, and whether chance alone could have done it.

**Pairs.** Runs of the same seed have the same hosts, clients, arrivals and faults, so what the seed does to a figure is in both
and falls out of their difference: each pair gives one log-ratio (of what multiplies: latencies, bytes) or one difference
(shares, counts). With fewer than two common seeds the two sets are compared as independent samples.

**Interval.** Student's, of the mean log-ratio or difference over the pairs (Welch's for independent samples): exact for normal
differences, and with heavier tails wider than it need be. Bootstrap intervals are too narrow for the five to twenty seeds that
people have. Figures that are counted have at least the variance that rounding to whole steps brings (1/12), so that three equal
differences of 1 do not pass for certainty.

**Many figures.** Thirty intervals of 95% would show one or two "differences" between equal settings in most tries. So each is
at the level 1 - 5%/m, m being the number of figures that differ at all (Bonferroni): all hold *together* with at least 95%,
however the figures depend on each other. Two equal settings then show no difference in any figure in 19 of 20 tries or more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, isfinite, log
from statistics import median
from typing import Literal

from opus_controller.report.result import Part
from opus_controller.report.several import measures, student
from opus_controller.report.several.repeat import OneRun

Finding = Literal["same", "no difference", "different", "unknown"]
"""same: alike in every run. unknown: a single pair, or no figure on one side."""
ERROR = 1 - student.LEVEL
_ROUNDING = 1 / 12
"""Variance of a uniform error of one step's width."""


class Effect(Part):
    """One figure's change. `change`, `low` and `high`: a ratio (1.1: 10% more) or a difference in the figure's unit."""

    figure: str
    scale: measures.Scale
    before: float | None
    """Median over the runs compared."""
    after: float | None
    runs: int
    """Pairs, or runs of the smaller set."""
    change: float | None
    low: float | None
    """Bounds of the interval; null: none."""
    high: float | None
    finding: Finding


@dataclass(frozen=True)
class Matched:
    """The runs to be compared: valid ones, in pairs if that is possible."""

    before: tuple[OneRun, ...]
    after: tuple[OneRun, ...]
    paired: bool

    def values(self, figure: str) -> tuple[list[float], list[float]]:
        """Of one figure; without runs (pairs, if paired) that do not have it."""
        before, after = ([run.figures.get(figure) for run in side] for side in (self.before, self.after))
        if self.paired:
            both = [(a, b) for a, b in zip(before, after, strict=True) if a is not None and b is not None]
            return [a for a, _ in both], [b for _, b in both]
        return [a for a in before if a is not None], [b for b in after if b is not None]


def match(before: Sequence[OneRun], after: Sequence[OneRun]) -> Matched:
    """By seed where at least two seeds are common (or there is only one run on a side); seeds that are not are left out."""
    left, right = _by_seed(before), _by_seed(after)
    common = [seed for seed in left if seed in right]
    alone = min(len(left), len(right)) == 1 and len(common) == 1
    if len(common) >= 2 or alone:
        return Matched(tuple(left[seed] for seed in common), tuple(right[seed] for seed in common), paired=True)
    return Matched(tuple(left.values()), tuple(right.values()), paired=False)


def _by_seed(runs: Sequence[OneRun]) -> Mapping[int, OneRun]:
    return {run.seed: run for run in sorted(runs, key=lambda run: run.seed) if run.verdict != "invalid"}


def effects(matched: Matched, *, families: int = 1) -> list[Effect]:
    """Of every figure that any run has; `families`: how many such comparisons are made together (settings of a sweep)."""
    runs = (*matched.before, *matched.after)
    names = [name for name in measures.NAMES if any(run.figures.get(name) is not None for run in runs)]
    varying = [name for name in names if _varies(matched, name)]
    level = 1 - ERROR / max(1, len(varying) * families)
    return [effect(matched, name, measures.scale(name), level) for name in names]


def _varies(matched: Matched, name: str) -> bool:
    before, after = matched.values(name)
    return before != after if matched.paired else len({*before, *after}) > 1


def effect(matched: Matched, name: str, scale: measures.Scale, level: float) -> Effect:
    """One figure's change, with its interval at `level`. A ratio is told as a difference where a value is not above 0."""
    before, after = matched.values(name)
    runs = min(len(before), len(after))
    middles = {"before": median(before) if before else None, "after": median(after) if after else None}
    if scale == "ratio" and min([*before, *after], default=0.0) <= 0:
        scale = "difference"
    if not runs:
        return Effect(figure=name, scale=scale, **middles, runs=0, change=None, low=None, high=None, finding="unknown")
    interval = _interval(before, after, matched.paired, scale, measures.step(name), level)
    back = exp if scale == "ratio" else float
    none = runs < 2 or not isfinite(interval.high)
    return Effect(
        figure=name,
        scale=scale,
        **middles,
        runs=runs,
        change=back(interval.value),
        low=None if none else back(interval.low),
        high=None if none else back(interval.high),
        finding=_finding(interval, same=not _varies(matched, name), few=none),
    )


def _finding(interval: student.Interval, *, same: bool, few: bool) -> Finding:
    if same:
        return "same"
    if few:
        return "unknown"
    return "different" if interval.excludes(0.0) else "no difference"


def _interval(
    before: Sequence[float], after: Sequence[float], paired: bool, scale: measures.Scale, step: float, level: float
) -> student.Interval:
    """Of the mean of ln(after / before), or of after - before."""
    if scale == "ratio":
        before, after, step = [log(value) for value in before], [log(value) for value in after], 0.0
    least = step**2 * _ROUNDING
    if not paired:
        return student.difference(before, after, level, least)
    changes = [b - a for a, b in zip(before, after, strict=True)]
    if not any(changes):
        return student.Interval(0.0, 0.0, 0.0) if len(changes) > 1 else student.Interval(0.0, -inf, inf)
    return student.mean(changes, level, least)
