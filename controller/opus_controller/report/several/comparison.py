"""Two sets of runs side by side: what was different about them, what came of it, and whether a stored baseline has regressed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from opus_controller.model.errors import InvalidRun, ScenarioError
from opus_controller.report.result import Part
from opus_controller.report.several import differences, gate
from opus_controller.report.several.effects import Effect, Matched, effects, match
from opus_controller.report.several.files import Group, Side

REGRESSED = 1
_FACTS = ("scenario", "topology", "hosts", "runtime", "links", "versions")


class Compared(Part):
    """One setting, before and after."""

    values: dict[str, Any]
    """Of a sweep, by key."""
    paired: bool
    runs: tuple[int, int]
    """Valid ones compared, before and after."""
    remarks: list[str]
    """Why some runs are not among them."""
    differences: list[str]
    """What the runs were asked to do, and what they ran on, where it is not the same."""
    identical: bool
    """Every pair of runs was the same, step for step (in sim)."""
    effects: list[Effect]
    conditions: list[gate.Judged]


class Comparison(Part):
    """What `opus compare --json` prints."""

    format: Literal[1] = 1
    kind: Literal["comparison"] = "comparison"
    before: str
    after: str
    groups: list[Compared]
    exit_code: int
    """1: a condition of --fail-on struck."""


def compare(before: Side, after: Side, conditions: Sequence[gate.Condition] = ()) -> Comparison:
    """ScenarioError for what cannot be compared, InvalidRun if one side has no valid run."""
    pairs = _pairs(before, after)
    groups = [_compared(one, other, conditions, len(pairs)) for one, other in pairs]
    regressed = any(judged.failed for group in groups for judged in group.conditions)
    return Comparison(before=str(before.path), after=str(after.path), groups=groups, exit_code=REGRESSED if regressed else 0)


def _pairs(before: Side, after: Side) -> list[tuple[Group, Group]]:
    """Settings of sweeps by their values."""
    if (before.kind == "a sweep") != (after.kind == "a sweep"):
        kinds = f"{before.path} is {before.kind}, {after.path} is {after.kind}"
        raise ScenarioError(f"{kinds}; allowed: two sweeps, or runs and repetitions (such as the directory of a sweep's setting)")
    if before.kind != "a sweep":
        return [(before.groups[0], after.groups[0])]
    others = {_key(group): group for group in after.groups}
    pairs = [(group, others[_key(group)]) for group in before.groups if _key(group) in others]
    if not pairs:
        raise ScenarioError(
            f"{before.path} and {after.path} have no setting in common; allowed: sweeps over the same keys and values"
        )
    return pairs


def _key(group: Group) -> str:
    return json.dumps(group.values, sort_keys=True)


def _compared(before: Group, after: Group, conditions: Sequence[gate.Condition], families: int) -> Compared:
    matched = match(before.repeat.runs, after.repeat.runs)
    for group, runs in ((before, matched.before), (after, matched.after)):
        if not runs:
            raise InvalidRun(f"{group.directory}: no valid run, so there is nothing to compare")
    digests = [(a.trace_digest, b.trace_digest) for a, b in zip(matched.before, matched.after, strict=False)]
    return Compared(
        values=before.values,
        paired=matched.paired,
        runs=(len(matched.before), len(matched.after)),
        remarks=_left_out(before, after, matched),
        differences=_differences(before, after, matched),
        identical=matched.paired and all(a is not None and a == b for a, b in digests),
        effects=effects(matched, families=families),
        conditions=gate.judge(conditions, matched, families=families),
    )


def _left_out(before: Group, after: Group, matched: Matched) -> list[str]:
    lines = []
    for name, group, kept in (("A", before, matched.before), ("B", after, matched.after)):
        invalid = [run.seed for run in group.repeat.runs if run.verdict == "invalid"]
        seeds = {run.seed for run in kept}
        single = [run.seed for run in group.repeat.runs if run.verdict != "invalid" and run.seed not in seeds]
        if invalid:
            lines.append(f"{name}: invalid, left out: {_seeds(invalid)}")
        if single:
            lines.append(f"{name}: without a valid run of the same seed on the other side, left out: {_seeds(single)}")
    return lines


def _seeds(seeds: Sequence[int]) -> str:
    more = f" and {len(seeds) - 8} more" if len(seeds) > 8 else ""
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds[:8]))}{more}"


def _differences(before: Group, after: Group, matched: Matched) -> list[str]:
    """Of the plans by those of the first pair; where they cannot be read, by what was put in place of the scenarios' values."""
    sides = [{key: getattr(group.repeat, key) for key in _FACTS} for group in (before, after)]
    lines = differences.of_facts(*sides)
    one, other = matched.before[0], matched.after[0]
    if not matched.paired:
        lines.append(f"{_seeds([run.seed for run in matched.before])} → {_seeds([run.seed for run in matched.after])}")
    if not matched.paired or one.plan_digest == other.plan_digest:
        return lines
    plans = before.plan_of(one), after.plan_of(other)
    if missing := [str(plan) for plan in plans if not plan.is_file()]:
        lines += differences.of_facts(before.repeat.settings, after.repeat.settings)
        return [*lines, f"the plans, in what the missing {missing[0]} would tell"]
    return [*lines, *(differences.of_plans(*plans) or ["the names of the plans"])]
