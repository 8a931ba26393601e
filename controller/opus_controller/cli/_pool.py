"""Simulated runs in processes of their own, a few at a time: in virtual time they do not disturb each other.

Not concurrent.futures: an interrupted series must end its runs at once *and* keep what they have recorded, and a worker that dies
(out of memory) is one run's misfortune.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from opus_controller.model.plan import Plan


@dataclass(frozen=True)
class Job:
    """One run to make."""

    label: str
    plan: Plan
    directory: Path
    """Empty, or not there yet."""
    facts: dict[str, Any]
    """For run.json."""


@dataclass(frozen=True)
class Ended:
    """How a run ended. If it is "done", its result.json is there."""

    how: Literal["done", "interrupted", "failed"]
    error: BaseException | None = None


def play_in_sim(job: Job) -> Ended:
    """Play and judge one run in this process."""
    import asyncio

    from opus_controller.engine.play import play
    from opus_controller.engine.record import RunRecord
    from opus_controller.report.conclude import judge
    from opus_controller.runtimes.sim.runtime import SimRuntime

    record = RunRecord.at(job.directory, job.plan)
    record.about(**job.facts)
    try:
        outcome = asyncio.run(play(job.plan, SimRuntime(), record))
    finally:
        record.close()
    if outcome.ended == "done":
        judge(job.directory)
    return Ended(outcome.ended, outcome.error)


def in_processes(jobs: Iterable[Job], processes: int) -> Iterator[tuple[Job, Ended]]:
    """Each job with how it ended, in the order in which they do.

    When the iteration is left early (an interrupt, an error), runs under way are interrupted: they end at once and keep their
    record.
    """
    waiting = iter(jobs)
    workers: dict[Connection, _Worker] = {}
    try:
        for job in (job for _, job in zip(range(processes), waiting, strict=False)):
            worker = _Worker()
            workers[worker.line] = worker
            worker.give(job)
        while busy := [line for line, worker in workers.items() if worker.job is not None]:
            for line in wait(busy):
                assert isinstance(line, Connection)
                worker = workers[line]
                job, ended = worker.take()
                if (following := next(waiting, None)) is not None:
                    if not worker.process.is_alive():
                        del workers[line]
                        worker = _Worker()
                        workers[worker.line] = worker
                    worker.give(following)
                yield job, ended
    finally:
        for worker in workers.values():
            worker.end()


class _Worker:
    """A process that plays one job after the other. It is spawned, not forked: this process may have threads."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.line, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_work, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        self.job: Job | None = None

    def give(self, job: Job) -> None:
        self.job = job
        self.line.send(job)

    def take(self) -> tuple[Job, Ended]:
        """The finished job; one whose process died has failed."""
        assert self.job is not None
        job, self.job = self.job, None
        try:
            ended: Ended = self.line.recv()
        except (EOFError, OSError):
            self.process.join()
            ended = Ended("failed", RuntimeError(f"the process of {job.label} died (exit {self.process.exitcode})"))
        return job, ended

    def end(self) -> None:
        if self.job is not None and self.process.is_alive():
            self.process.terminate()  # `play` hears it, and brings its run to an end
        self.line.close()
        self.process.join()


def _work(line: Connection) -> None:
    """Until nobody gives any more. Signals mean a run's interruption while one is played (engine.play), nothing in between."""
    _deaf()
    while True:
        try:
            job: Job = line.recv()
        except (EOFError, OSError):
            return
        try:
            ended = play_in_sim(job)
        except BaseException as error:  # noqa: BLE001  (told to the one who knows what to do about it)
            error.add_note(traceback.format_exc())
            ended = Ended("interrupted") if isinstance(error, KeyboardInterrupt) else Ended("failed", _sendable(error))
        _deaf()
        try:
            line.send(ended if ended.error is None else Ended(ended.how, _sendable(ended.error)))
        except OSError:
            return


def _sendable(error: BaseException) -> BaseException:
    from opus_controller.model.errors import OpusError

    return error if isinstance(error, OpusError) else RuntimeError(f"{type(error).__name__}: {error}")


def _deaf() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def interrupts() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt within, as SIGINT does."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
