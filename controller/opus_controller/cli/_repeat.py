"""`opus run --repeat N`: one scenario over N seeds, a directory each, and what they came to together."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from opus_controller.cli._choose import Chosen
from opus_controller.cli._output import write_out
from opus_controller.cli._playing import RUNS, announce
from opus_controller.cli._pool import Job
from opus_controller.cli._series import Ending, new_directory, processes, run_all
from opus_controller.cli._single import Shown
from opus_controller.model.errors import InvalidRun, ScenarioError

if TYPE_CHECKING:
    from opus_controller.model.plan import Plan
    from opus_controller.model.settings import Setting
    from opus_controller.report.result import Result
    from opus_controller.report.several.repeat import Repeat


@dataclass(frozen=True)
class Wanted:
    """A repetition that was asked for."""

    plan_of: Callable[[int], Plan]
    """Of a seed."""
    seeds: range
    chosen: Chosen
    facts: dict[str, Any]
    """For every run.json."""
    settings: Sequence[Setting]
    """In place of the scenario's own."""
    inputs: Sequence[Path]
    """Files that the plans are made of."""
    shown: Shown
    jobs: int | None


def repeat(wanted: Wanted) -> int:
    """Run it; the exit code. What was done when it is interrupted, or fails, is kept and summed up."""
    from opus_controller.engine.record import keep_inputs
    from opus_controller.report.several.files import write
    from opus_controller.report.several.repeat import summed_up

    first = wanted.plan_of(wanted.seeds[0])
    at_a_time = processes(wanted.chosen, wanted.jobs, len(wanted.seeds))
    directory = new_directory(wanted.shown.out, RUNS, first.name)
    keep_inputs(wanted.inputs, directory)
    announce(first, wanted.chosen, f"seeds {wanted.seeds[0]} to {wanted.seeds[-1]}")
    results: list[tuple[str, Result]] = []
    ending = run_all(
        _jobs(wanted, first, directory),
        len(wanted.seeds),
        wanted.chosen,
        at_a_time,
        lambda job, result: results.append((job.directory.name, result)),
    )
    settings = {setting.key: setting.value for setting in wanted.settings}
    summary = summed_up(results, asked=len(wanted.seeds), settings=settings, interrupted=ending.interrupted)
    if summary is not None:
        write(summary, directory)
        _show(wanted, summary, directory, results)
    return exit_code(ending, summary.exit_code if summary is not None else InvalidRun.exit_code, directory)


def _jobs(wanted: Wanted, first: Plan, directory: Path) -> Iterator[Job]:
    for seed in wanted.seeds:
        plan = first if seed == first.seed else wanted.plan_of(seed)
        yield Job(f"seed {seed}", plan, directory / f"seed-{seed}", wanted.facts)


def _show(wanted: Wanted, summary: Repeat, directory: Path, results: list[tuple[str, Result]]) -> None:
    from opus_controller.cli._output import console
    from opus_controller.report.junit import to_junit
    from opus_controller.report.several import tables
    from opus_controller.report.several.files import to_json
    from opus_controller.report.several.repeat import REPEAT

    if wanted.shown.junit is not None:
        write_out(to_junit([result for _, result in sorted(results, key=lambda each: each[1].seed)]), wanted.shown.junit)
    if wanted.shown.as_json:
        typer.echo(to_json(summary), nl=False)
        return
    console().print(tables.repeat(summary))
    console().print(f"\n {directory / REPEAT}; a run's page: opus report {directory / summary.runs[0].directory}", style="dim")


def exit_code(ending: Ending, code: int, directory: Path) -> int:
    """Of a series; its error, if there was one, goes on as any run's."""
    if ending.error is not None:
        print(f"stopped; the runs so far are in {directory}", file=sys.stderr)
        raise ending.error
    if ending.interrupted:
        print(f"interrupted; the runs so far are in {directory}", file=sys.stderr)
        return 130
    return code


def seeds_of(first: int, count: int) -> range:
    """ScenarioError if the last would be no seed."""
    from opus_controller.model.scenario_form import MAX_SEED

    if first + count - 1 > MAX_SEED:
        raise ScenarioError(f"--seed {first} --repeat {count}: the last seed would be above {MAX_SEED}; allowed: a smaller seed")
    return range(first, first + count)
