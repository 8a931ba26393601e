"""Plays a plan on a runtime, keeps the record, and always cleans up.

One task, one loop: let the world run to the next instant that matters (an event of the timeline or of churn, or the next
collection), do what is due there, go on. The same loop drives virtual and real time; only `Runtime.sleep_until` differs. Churn
has tasks of its own (engine.churn), so that hosts that start do not hold up the others.
"""

from __future__ import annotations

import asyncio
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from opus_controller.engine import needs
from opus_controller.engine.cancellation import heed
from opus_controller.engine.churn import ChurnPlayer
from opus_controller.engine.console import Console, Reachable
from opus_controller.engine.faults import Faults, Refused
from opus_controller.engine.hands import Hands
from opus_controller.engine.observer import Guarded, Observer
from opus_controller.engine.record import RunRecord
from opus_controller.engine.runtime import Health, Record, Runtime
from opus_controller.engine.validity import Validity, judge
from opus_controller.model.errors import OpusError, PlatformError
from opus_controller.model.plan import Fault, Plan

SECOND = 1_000_000_000
COLLECT_EVERY = SECOND
"""Between drains of the runtime's records and samples of its health."""
LAST_NOTICES = SECOND
"""After the last deadline: for the notices of that instant to come in."""

INTERRUPTED_EXIT = 130
INTERNAL_EXIT = 70
"""EX_SOFTWARE of sysexits.h: an error of Opus itself."""


@dataclass(frozen=True)
class Progress:
    """How far a run is. Requests are those whose outcome has been received."""

    phase: Literal["starting", "running", "waiting for answers", "ending"]
    t_ns: int = 0
    end_ns: int = 0
    ok: int = 0
    failed: int = 0
    news: str = ""
    """What has just happened, in a few words; empty most of the time."""


@dataclass(frozen=True)
class Outcome:
    """How the playing ended. Whether the expectations were kept is the report's affair."""

    ended: Literal["done", "interrupted", "failed"]
    validity: Validity
    wall_s: float
    died: dict[str, str] = field(default_factory=dict)
    """Hosts that ended by themselves, with their last log lines."""
    error: BaseException | None = None
    """What ended a failed run."""

    @property
    def exit_code(self) -> int:
        """0 if the plan was played to its end; otherwise what the error's class says (DESIGN section 8)."""
        if self.ended == "interrupted":
            return INTERRUPTED_EXIT
        if isinstance(self.error, OpusError):
            return self.error.exit_code
        return INTERNAL_EXIT if self.error is not None else 0


async def play(
    plan: Plan,
    runtime: Runtime,
    record: RunRecord,
    *,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    observer: Observer | None = None,
) -> Outcome:
    """Play `plan` to its end, or to an error, SIGINT or SIGTERM; the runtime is down when this returns.

    Never raises for what goes wrong in the run: the outcome tells, and the record keeps what there was until then.
    """
    player = _Player(plan, runtime, record, on_progress, Guarded(observer))
    began = time.monotonic()
    ended: Literal["done", "interrupted", "failed"] = "failed"
    error: BaseException | None = None
    with _cancelled_by_signals() as signals:
        try:
            await player.run()
            ended = "done"
        except asyncio.CancelledError:
            if not signals.heard:
                raise
            ended = "interrupted"
        except Exception as problem:  # noqa: BLE001  (recorded; the outcome carries it)
            error = problem
            player.note_error(problem)
        finally:
            signals.ignore()
            await player.finish()
    outcome = Outcome(ended, player.validity(), time.monotonic() - began, player.died, error)
    _write_about(record, runtime, outcome)
    return outcome


class _Player:
    def __init__(
        self, plan: Plan, runtime: Runtime, record: RunRecord, on_progress: Callable[[Progress], None], observer: Guarded
    ) -> None:
        self._plan = plan
        self._runtime = runtime
        self._record = record
        self._on_progress = on_progress
        self._observer = observer
        self._faults = Faults(plan, runtime)
        self._churn = ChurnPlayer(plan, runtime, self._faults, self._write, self._learn_deaths)
        self._hands = Hands(plan, runtime, self._faults, self._hear)
        self._console: Console | None = None
        self._agenda = sorted(plan.timeline, key=lambda fault: fault.at_ns)
        self._end = _end_of(plan)
        self._phase: Literal["starting", "running", "waiting for answers", "ending"] = "starting"
        self._ok = 0
        self._failed = 0
        self._health: list[Health] = []
        self._problems: list[str] = []
        self.died: dict[str, str] = {}

    async def run(self) -> None:
        self._tell()
        needs.check(self._plan.timeline, self._runtime.info, self._plan.apps)
        await self._runtime.up(self._plan)
        heed()
        self._record.about(runtime=self._runtime.info.runtime, links=self._runtime.info.links, facts=self._runtime.info.facts)
        await self._observer.begin(self._runtime)
        self._write(
            {"t": host.boot_at_ns, "host": host.name, "kind": "host_up", "cause": "boot"}
            for host in self._plan.hosts
            if host.name not in self._faults.dead
        )
        await self._runtime.start_workload(self._plan.workload)
        self._write([self._event("workload_start")])
        self._phase = "running"
        await self._listen()
        await self._live_through()
        self._write([self._event("end")])

    async def _live_through(self) -> None:
        next_collection = self._runtime.now()
        while (now := self._runtime.now()) < self._end:
            await self._churn.start_due(now)
            while self._agenda and self._agenda[0].at_ns <= now:
                await self._strike(self._agenda.pop(0))
            if now >= next_collection:
                await self._collect()
                next_collection = now + COLLECT_EVERY
            if now >= self._plan.duration_ns:
                self._phase = "waiting for answers"
            next_fault = (fault.at_ns for fault in self._agenda[:1])
            await self._runtime.sleep_until(min(self._end, next_collection, *next_fault, *self._churn.next_at))
            await asyncio.sleep(0)  # virtual time may pass without yielding: let a signal be heard
            heed()
        await self._churn.finish()
        await self._collect()

    async def _listen(self) -> None:
        """From here on hands can reach the run, where they can."""
        if isinstance(self._runtime, Reachable):
            self._console = Console(self._runtime.console, self._hands.answer)
            await self._console.open()

    def _hear(self, records: Sequence[Record]) -> None:
        """A hand has struck."""
        self._write(records)
        self._tell(f"by hand: {news(records[0])}")

    async def _strike(self, fault: Fault) -> None:
        try:
            records = await self._faults.strike(fault)
        except Refused as refusal:
            self._write([refusal.record])
            raise
        self._write(records)
        head = records[0]
        if fault.kind != "heal" and not head["victims"] and not head.get("skipped"):
            self._problems.append(f"{fault.kind} {fault.name!r} found nobody to hit ({head['target']})")
        self._tell(news(head))

    async def _collect(self) -> None:
        """Drain what was noticed, sample the testbed's condition, and learn what hosts did by themselves."""
        self._keep(self._runtime.records())
        health = await self._runtime.health()
        self._health.append(health)
        self._record.health(health)
        self._observer.health(health)
        self._learn_deaths()
        self._tell()

    def _learn_deaths(self) -> None:
        for host, last_lines in self._runtime.died().items():
            self.died[host] = last_lines
            self._faults.lost(host)
            self._write([self._event("host_down", host=host, cause="died", log=last_lines)])
            self._tell(f"{host} died by itself")
        for host in self._runtime.returned():
            self._faults.found(host)
            self._write([self._event("host_up", host=host, cause="returned")])
            self._tell(f"{host} was started again")

    def _keep(self, records: Iterable[Record]) -> None:
        batch = list(records)
        for record in batch:
            if record["kind"] == "request":
                if record["outcome"] == "ok":
                    self._ok += 1
                else:
                    self._failed += 1
        self._write(batch)

    def _write(self, records: Iterable[Record]) -> None:
        batch = list(records)
        self._record.events(batch)
        self._observer.records(batch)

    async def finish(self) -> None:
        """Take the runtime down whatever state it is in, and keep what it still had to tell."""
        self._phase = "ending"
        self._tell()
        if self._console is not None:
            await self._console.close()
        await self._hands.stop()
        await self._churn.stop()
        await self._observer.end()
        try:
            await self._runtime.down()
        except Exception as problem:  # noqa: BLE001  (recorded; gc can do what down could not)
            self.note_error(problem)
            self._problems.append(f"the run could not be cleaned up wholly ({problem}); opus gc does the rest")
        self._keep(self._runtime.records())

    def validity(self) -> Validity:
        return judge(self._health, problems=[*self._problems, *self._churn.lateness.problems()])

    def note_error(self, problem: BaseException) -> None:
        lines = "".join(traceback.format_exception(problem))
        self._write([self._event("error", error=f"{type(problem).__name__}: {problem}", traceback=lines)])

    def _event(self, kind: str, *, host: str = "", **fields: object) -> Record:
        return {"t": self._runtime.now(), "host": host, "kind": kind, **fields}

    def _tell(self, news: str = "") -> None:
        t = 0 if self._phase == "starting" else self._runtime.now()
        self._on_progress(Progress(self._phase, t, self._end, self._ok, self._failed, news))


def _end_of(plan: Plan) -> int:
    """When every request has met its deadline and been told of. Clients stop at the plan's end at the latest."""
    open_until = [min(load.stop_ns, plan.duration_ns) + load.deadline_ns for load in plan.workload]
    return max([plan.duration_ns, *open_until]) + LAST_NOTICES


def news(head: Record) -> str:
    """ "power-off a replica of web: euw1-2"; why a fault failed."""
    if head["kind"] == "refused":
        return str(head["why"])
    victims = ", ".join(head["victims"][:5]) + (f" and {len(head['victims']) - 5} more" if len(head["victims"]) > 5 else "")
    return f"{head['fault']} {head['target']}" + (f": {victims}" if head["fault"] not in ("heal", "link") else "")


def _write_about(record: RunRecord, runtime: Runtime, outcome: Outcome) -> None:
    facts = dict(runtime.info.facts)
    fidelity = facts.pop("fidelity", {})
    record.about(
        runtime=runtime.info.runtime,
        links=runtime.info.links,
        facts=facts,
        fidelity=fidelity,
        ended=outcome.ended,
        error=f"{type(outcome.error).__name__}: {outcome.error}" if outcome.error else None,
        wall_s=round(outcome.wall_s, 3),
        died=outcome.died,
        validity={"ok": outcome.validity.ok, "reasons": list(outcome.validity.reasons)},
    )


class _Signals:
    """SIGINT and SIGTERM cancel the task that plays, once; when it cleans up they do nothing, as that must not be broken off."""

    def __init__(self, task: asyncio.Task[object]) -> None:
        self._task = task
        self._ignored = False
        self.heard = False

    def hear(self) -> None:
        if not self.heard and not self._ignored:
            self.heard = True
            self._task.cancel()

    def ignore(self) -> None:
        """From now on; a cancellation is taken back, so that the task can go on and clean up."""
        self._ignored = True
        if self.heard:
            self._task.uncancel()


@contextmanager
def _cancelled_by_signals() -> Iterator[_Signals]:
    """Of the current task. Where signals cannot be caught (not the main thread), nothing is done."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    if task is None:
        raise PlatformError("a plan is played inside an asyncio task")
    signals = _Signals(task)
    caught: list[signal.Signals] = []
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, signals.hear)
            caught.append(number)
    except (ValueError, RuntimeError, NotImplementedError):
        caught.clear()
    try:
        yield signals
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
