"""Several runs one after the other (in `sim`, two at a time): progress, interruption, what is kept."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opus_controller.cli._choose import Chosen
from opus_controller.cli._playing import playing
from opus_controller.cli._pool import Ended, Job, in_processes, interrupts, play_in_sim
from opus_controller.model.errors import ScenarioError

if TYPE_CHECKING:
    from opus_controller.report.result import Result

MOST_RUNS = 10_000
SIM_PROCESSES = 2

JobsOption = Annotated[int | None, typer.Option("--jobs", min=1, help="Of several runs in sim, how many at a time; default 2.")]


@dataclass(frozen=True)
class Ending:
    """What became of the series; the runs that ended well have been told of one by one."""

    interrupted: bool = False
    error: BaseException | None = None
    """The first; no run was begun after it."""


def processes(chosen: Chosen, asked: int | None, runs: int) -> int:
    """How many runs at a time. Real hosts would disturb each other: there is one."""
    if chosen.observable and asked not in (None, 1):
        raise ScenarioError("--jobs: runs with real hosts go one by one, or they would disturb each other; leave it out")
    default = 1 if chosen.observable else min(SIM_PROCESSES, os.cpu_count() or 1)
    return max(1, min(asked or default, runs))


def run_all(jobs: Iterable[Job], count: int, chosen: Chosen, at_a_time: int, on_done: Callable[[Job, Result], None]) -> Ending:
    """Play all `count` jobs and call `on_done` for each that ended well; stop at the first that did not, or at an interrupt."""
    from opus_controller.report.conclude import load

    began = time.monotonic()
    try:
        with interrupts():
            for number, (job, ended) in enumerate(_played(jobs, chosen, at_a_time), start=1):
                if ended.how == "interrupted":
                    return Ending(interrupted=True)
                if ended.how == "failed":
                    return Ending(error=ended.error)
                result = load(job.directory)
                on_done(job, result)
                _tell(number, count, job, result, time.monotonic() - began)
    except KeyboardInterrupt:
        return Ending(interrupted=True)
    except ScenarioError as error:
        return Ending(error=error)
    return Ending()


def _played(jobs: Iterable[Job], chosen: Chosen, at_a_time: int) -> Iterator[tuple[Job, Ended]]:
    if at_a_time > 1:
        yield from in_processes(jobs, at_a_time)
        return
    for job in jobs:
        yield job, play_real(job, chosen) if chosen.observable else play_in_sim(job)


def play_real(job: Job, chosen: Chosen) -> Ended:
    """Play and judge one run with real hosts."""
    from opus_controller.engine.record import RunRecord
    from opus_controller.report.conclude import judge

    print(job.label, file=sys.stderr, flush=True)
    record = RunRecord.at(job.directory, job.plan)
    record.about(**job.facts)
    outcome = playing(job.plan, chosen, record, None, job.directory)
    if outcome.ended == "done":
        judge(job.directory)
    return Ended(outcome.ended, outcome.error)


def _tell(number: int, count: int, job: Job, result: Result, seconds: float) -> None:
    """ "[3/10] seed 3: pass, availability 100%, routing p50 4.33 ms; 12 s to go"."""
    from opus_controller.report import words

    told = f"availability {words.share(result.requests.availability)}, routing p50 {words.ms(result.routing_latency_ms.p50)}"
    left = seconds / number * (count - number)
    to_go = f"; {left:.0f} s to go" if number < count else ""
    why = f" ({result.validity.reasons[0]})" if result.validity.reasons else ""
    print(f"[{number}/{count}] {job.label}: {result.verdict}{why}, {told}{to_go}", file=sys.stderr, flush=True)


def new_directory(out: Path | None, base: Path, name: str) -> Path:
    """A directory for a series: `out`, which must be empty or not there yet, or a fresh one in `base`."""
    from opus_controller.engine.record import empty_directory, fresh_directory

    if out is None:
        return fresh_directory(base, name)
    empty_directory(out)
    return out
