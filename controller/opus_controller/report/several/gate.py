"""`--fail-on`: what counts as a regression against a stored baseline.

    routing_latency_ms.p50 > 5%      more than 5% above the baseline
    routing_latency_ms.p50 > 5ms     more than 5 ms above it
    availability < -0.1%             more than 0.1 percentage points below it
    hops.mean > 0.2                  more than 0.2 above it

It fails if the change is beyond the bound *and* the interval of the change leaves out "none": beyond the bound by chance is no
regression. Only the conditions given are tested, so their intervals are those of so many figures, not of all thirty, and
narrower. With a single pair of runs there is no interval, and the change alone decides. No figure fails: silence is no proof of
health.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from opus_controller.model.errors import ScenarioError
from opus_controller.model.expectations import FIGURES
from opus_controller.model.fields import listed, suggestion
from opus_controller.model.units import parse_duration, shown
from opus_controller.report.result import Part
from opus_controller.report.several import measures
from opus_controller.report.several.effects import ERROR, Effect, Matched, effect

ALLOWED = 'FIGURE > BOUND or FIGURE < -BOUND, such as "routing_latency_ms.p50 > 5%", "availability < -0.1%", "hops.mean > 0.2"'


@dataclass(frozen=True)
class Condition:
    text: str
    figure: str
    op: Literal[">", "<"]
    bound: float
    """Of the change: a share of the baseline if `relative`, otherwise in the figure's unit. Its sign fits `op`."""
    relative: bool


class Judged(Part):
    """A condition and whether it struck."""

    condition: str
    failed: bool
    why: str
    """In a few words, for a person."""
    effect: Effect


def parse_condition(text: str) -> Condition:
    """ScenarioError in one line."""
    words = " ".join(text.split())
    match = re.fullmatch(r"([\w.]+) ?([<>]) ?([+-]?)([0-9]{1,15}(?:\.[0-9]{1,15})?) ?(%|[a-zµ]+)?", words)
    if match is None:
        raise ScenarioError(f"--fail-on {shown(text)}: not understood; allowed: {ALLOWED}")
    figure, sign = match[1], -1.0 if match[3] == "-" else 1.0
    op: Literal[">", "<"] = ">" if match[2] == ">" else "<"
    if figure not in measures.NAMES:
        known = [name for name in measures.NAMES if name.startswith(f"{figure}.")] or measures.NAMES
        hint = "" if len(known) < len(measures.NAMES) else suggestion(figure, known)
        raise ScenarioError(f"--fail-on {shown(text)}: there is no figure {shown(figure)}; {hint}allowed: {listed(known, 40)}")
    number = sign * float(match[4])
    if (op == ">" and number < 0) or (op == "<" and number > 0):
        meant = f"{figure} < -{match[4]}{match[5] or ''}" if op == "<" else f"{figure} > {match[4]}{match[5] or ''}"
        raise ScenarioError(f"--fail-on {shown(text)}: bounds are of the change; allowed: {meant}")
    bound, relative = _bound(text, figure, number, match[5] or "")
    return Condition(words, figure, op, bound, relative)


def _bound(text: str, figure: str, number: float, unit: str) -> tuple[float, bool]:
    """The bound, and whether it is a share of the baseline."""
    if unit == "%":
        return number / 100, not measures.is_share(figure)
    kind = "share" if measures.is_share(figure) else FIGURES[figure]
    if unit and kind in ("ms", "s"):
        try:
            size = parse_duration(f"{abs(number):f}{unit}") / (1e6 if kind == "ms" else 1e9)
        except ValueError as error:
            raise ScenarioError(f"--fail-on {shown(text)}: {error}") from None
        return (size if number >= 0 else -size), False
    if unit:
        raise ScenarioError(f"--fail-on {shown(text)}: {shown(unit)} is no unit of {figure}; allowed: % or {_units(kind)}")
    if kind in ("ms", "s", "share"):
        raise ScenarioError(f"--fail-on {shown(text)}: {number:g} has no unit; allowed: {_units(kind)}")
    return number, False


def _units(kind: str) -> str:
    return {"ms": "%, ms or s", "s": "%, ms or s", "share": "% (percentage points)"}.get(kind, "a bare number")


def judge(conditions: Sequence[Condition], matched: Matched, *, families: int = 1) -> list[Judged]:
    level = 1 - ERROR / max(1, len(conditions) * families)
    return [_judged(condition, matched, level) for condition in conditions]


def _judged(condition: Condition, matched: Matched, level: float) -> Judged:
    scale: measures.Scale = measures.scale(condition.figure) if condition.relative else "difference"
    found = effect(matched, condition.figure, scale, level)
    failed, why = _strikes(condition, matched, found)
    return Judged(condition=condition.text, failed=failed, why=why, effect=found)


def _strikes(condition: Condition, matched: Matched, found: Effect) -> tuple[bool, str]:
    if condition.figure == measures.RECOVERY:
        lost = [sum(run.did_not_recover for run in side) for side in (matched.before, matched.after)]
        if lost[1] > lost[0]:
            return True, f"no recovery in {lost[1]} of {len(matched.after)} runs, against {lost[0]} of {len(matched.before)}"
    if found.change is None:
        return True, "no data"
    change = found.change - 1 if found.scale == "ratio" else found.change
    bound = condition.bound
    if condition.relative and found.scale == "difference":  # of a figure told by differences: a share of the baseline's mean
        values, _ = matched.values(condition.figure)
        bound *= abs(sum(values) / len(values))
    beyond = change > bound if condition.op == ">" else change < bound
    if not beyond:
        return False, "within the bound"
    if found.low is None or found.high is None:
        return True, "beyond the bound (one pair of runs: chance cannot be told apart)"
    none = 1.0 if found.scale == "ratio" else 0.0
    if found.low <= none <= found.high:
        return False, "beyond the bound, but not told from chance; more seeds would tell"
    return True, "beyond the bound"
