"""Hosts that come and go because a hand has asked for it, until it is cleared. (A plan's churn is `engine.churn`.)"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterable, Sequence
from random import Random

from opus_controller.engine.faults import Faults
from opus_controller.engine.ledger import CLAIMS
from opus_controller.engine.runtime import Record, Runtime
from opus_controller.model.by_hand import Turnover
from opus_controller.model.churn_course import nanoseconds


class TurnoverPlayer:
    """Sessions and absences in turn, one change after the other: as fast as this machine starts one host at a time."""

    def __init__(
        self, wish: Turnover, runtime: Runtime, faults: Faults, record: Callable[[Sequence[Record]], None], seed: str
    ) -> None:
        self._wish = wish
        self._runtime = runtime
        self._faults = faults
        self._record = record
        self._over = False
        self._draws = {host: Random(f"{seed}/{host}") for host in wish.hosts}

    async def go_on(self, until_ns: int | None) -> None:
        """Until that time, or until it is cancelled. Hosts start in the middle of their lives."""
        now = self._runtime.now()
        due = [(now + nanoseconds(self._wish.sessions.under_way(rng)[1]), host, True) for host, rng in self._draws.items()]
        heapq.heapify(due)
        while due and (until_ns is None or due[0][0] < until_ns):
            at, host, leaves = heapq.heappop(due)
            await self._runtime.sleep_until(at)
            await asyncio.shield(self._change(at, host, leaves=leaves))  # a start that is broken off would leave half a host
            lasts = self._wish.downtimes if leaves else self._wish.sessions
            heapq.heappush(due, (at + nanoseconds(lasts.sample(self._draws[host])), host, not leaves))
        if until_ns is not None:
            await self._runtime.sleep_until(until_ns)

    def end(self) -> None:
        """Nothing is begun from here on; what is under way holds its host's turn."""
        self._over = True

    async def _change(self, due: int, host: str, *, leaves: bool) -> None:
        change = self._wish.departure(self._draws[host]) if leaves else "return"
        faults, name = self._faults, self._wish.name
        async with faults.turns.take((host,)):
            if self._over:
                return
            began = self._runtime.now()
            if leaves:
                faults.ledger.claim((host,), name, CLAIMS[change])
            else:
                faults.ledger.release((host,), name)
            settled = await faults.settle((host,), revive=not leaves)
        hit = settled.downs if leaves else settled.ups
        self._record(records(began, self._runtime.now(), due, change, (host,), hit))


def records(began: int, done: int, due: int, change: str, hosts: Iterable[str], hit: Sequence[str]) -> list[Record]:
    """As those of a plan's churn."""
    head = {"t": began, "done_t": done, "due_t": due, "host": "", "kind": "churn", "change": change, "by": "hand"}
    head |= {"hosts": list(hit), "skipped": [host for host in hosts if host not in hit]}
    kind = "host_up" if change == "return" else "host_down"
    return [head, *({"t": began, "host": host, "kind": kind, "cause": "churn", "by": change} for host in hit)]
