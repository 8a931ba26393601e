"""Plays a plan's departures and returns: in time, side by side, each host's in their order.

Starting a process takes a while, and nobody waits for somebody else's: each event is a task of its own, at most `AT_ONCE` of
them at work. In virtual time such a task ends in the loop's turn in which it begins, so nothing is late there. What comes late
in real time, because the machine is busy, is counted; beyond the limits the run is invalid: its sessions were not the plan's.

Churn and the timeline go together like this: whom a fault has killed stays dead until the timeline restarts it, whatever churn
says; whom churn has taken away is not restarted by the timeline, and comes back when churn says so.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from opus_controller.engine.faults import Faults
from opus_controller.engine.ledger import CHURN, CLAIMS
from opus_controller.engine.runtime import Record, Runtime
from opus_controller.engine.turns import Turn
from opus_controller.model.plan import ChurnEvent, Plan

AT_ONCE = 8
"""Events at work at the same time: a start is mostly waiting, but two cores do not make more than a few at once any faster."""
MOST_WAITING = 512
"""Events under way, at work or waiting; beyond that the player waits, and all that comes later is late."""

LATE_NS = 2_000_000_000
LATE_SHARE = 0.05
TOO_LATE_NS = 10_000_000_000
"""Sessions of minutes are those of the plan when at most one event in twenty is in force later than 2 s, and none than 10 s."""


@dataclass
class Lateness:
    """From when an event was due to when it was in force."""

    late_ns: list[int] = field(default_factory=list)

    def problems(self) -> list[str]:
        """One line if churn fell behind."""
        late = sum(ns > LATE_NS for ns in self.late_ns)
        worst = max(self.late_ns, default=0)
        if late <= LATE_SHARE * len(self.late_ns) and worst <= TOO_LATE_NS:
            return []
        return [
            f"churn fell behind: {late} of {len(self.late_ns)} departures and returns were in force more than "
            f"{LATE_NS / 1e9:g} s late, the worst {worst / 1e9:.1f} s: sessions were not those of the plan"
        ]


class ChurnPlayer:
    """`learn` is called before anything is done: it tells `faults` of hosts that have died by themselves."""

    def __init__(
        self,
        plan: Plan,
        runtime: Runtime,
        faults: Faults,
        record: Callable[[Iterable[Record]], None],
        learn: Callable[[], None],
    ) -> None:
        self._runtime = runtime
        self._faults = faults
        self._record = record
        self._learn = learn
        self._agenda = deque(plan.churn.events if plan.churn else ())
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: list[BaseException] = []
        self._places = asyncio.Semaphore(AT_ONCE)
        self.lateness = Lateness()

    @property
    def next_at(self) -> list[int]:
        """When the next event is due; nothing if there is none."""
        return [self._agenda[0].at_ns] if self._agenda else []

    async def start_due(self, now: int) -> None:
        """Begin everything that is due; raises what has ended an earlier one."""
        while self._agenda and self._agenda[0].at_ns <= now:
            if len(self._tasks) >= MOST_WAITING:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            event = self._agenda.popleft()
            task = asyncio.create_task(self._carry_out(event, self._faults.turns.take(event.hosts)), name=f"churn {event.kind}")
            self._tasks.add(task)
            task.add_done_callback(self._done)
        await asyncio.sleep(0)  # each has begun after this, and in virtual time ended
        self._raise_failure()

    async def finish(self) -> None:
        """Wait for what is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await asyncio.sleep(0)
        self._raise_failure()

    async def stop(self) -> None:
        """Break off what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        with suppress(asyncio.CancelledError):
            if (error := task.exception()) is not None:
                self._failed.append(error)

    def _raise_failure(self) -> None:
        if self._failed:
            raise self._failed[0]

    async def _carry_out(self, event: ChurnEvent, turn: Turn) -> None:
        async with turn, self._places:
            self._learn()
            began = self._runtime.now()
            hit = await (self._return(event.hosts) if event.kind == "return" else self._depart(event))
            done = self._runtime.now()
        self.lateness.late_ns.append(done - event.at_ns)
        head = {
            "t": began,
            "done_t": done,
            "due_t": event.at_ns,
            "host": "",
            "kind": "churn",
            "change": event.kind,
            "hosts": list(hit),
            "skipped": [host for host in event.hosts if host not in hit],
        }
        what = "host_up" if event.kind == "return" else "host_down"
        self._record([head, *({"t": began, "host": host, "kind": what, "cause": "churn", "by": event.kind} for host in hit)])

    async def _depart(self, event: ChurnEvent) -> tuple[str, ...]:
        self._faults.ledger.claim(event.hosts, CHURN, CLAIMS[event.kind])
        return (await self._faults.settle(event.hosts, revive=False)).downs

    async def _return(self, hosts: tuple[str, ...]) -> tuple[str, ...]:
        self._faults.ledger.release(hosts, CHURN)
        return (await self._faults.settle(hosts, revive=True)).ups
