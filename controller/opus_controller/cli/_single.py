"""One run from its plan to its verdict: record, play, judge, show."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from opus_controller.cli._choose import Chosen
from opus_controller.cli._observe import Address
from opus_controller.cli._output import write_out
from opus_controller.cli._playing import RUNS, announce, playing
from opus_controller.model.errors import InvalidRun, OpusError

if TYPE_CHECKING:
    from opus_controller.engine.play import Outcome
    from opus_controller.model.plan import Plan
    from opus_controller.report.result import Result

VERDICT_EXIT = {"pass": 0, "fail": 1, "invalid": InvalidRun.exit_code}


@dataclass(frozen=True)
class Shown:
    """Where a run and its result go."""

    out: Path | None
    """The run's directory, in place of runs/NAME-TIME."""
    junit: Path | None
    as_json: bool


def run_once(
    plan: Plan, chosen: Chosen, facts: dict[str, Any], keep: Callable[[Path], None], at: Address | None, shown: Shown
) -> tuple[int, Result]:
    """The exit code and the result. `keep` puts what the plan was made of into the run's new directory."""
    from opus_controller.engine.record import RunRecord

    announce(plan, chosen)
    record = RunRecord.at(shown.out, plan) if shown.out is not None else RunRecord.create(RUNS, plan)
    record.about(**facts)
    keep(record.directory)
    outcome = playing(plan, chosen, record, at, RUNS if shown.out is None else shown.out)
    return _conclude(record.directory, outcome, shown)


def _conclude(directory: Path, outcome: Outcome, shown: Shown) -> tuple[int, Result]:
    """Report what there is, even of a run that broke off."""
    from rich.console import Console

    from opus_controller.report.conclude import conclude, to_json
    from opus_controller.report.junit import to_junit
    from opus_controller.report.table import show

    if outcome.error is not None and not isinstance(outcome.error, OpusError):
        print(f"the record so far is in {directory}", file=sys.stderr)
        raise outcome.error
    result = conclude(directory)
    if shown.junit is not None:
        write_out(to_junit([result]), shown.junit)
    if shown.as_json:
        typer.echo(to_json(result), nl=False)
    else:
        show(result, Console(), page=directory / "report.html")
    for host, words in outcome.died.items():
        print(f"{host} died by itself: {words.splitlines()[-1]}", file=sys.stderr)
    if outcome.error is not None:
        raise outcome.error
    return outcome.exit_code or VERDICT_EXIT[result.verdict], result
