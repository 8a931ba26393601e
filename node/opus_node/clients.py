"""The node's local clients: workloads turned into requests at their times, open loop.

A slow answer never delays the next request. A request that comes late, because the process was paused or the machine is
busy, is issued late, with its deadline counted from then, and the lag is recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from opus_node.core.events import Request
from opus_node.core.types import AppId
from opus_node.driver import Driver
from opus_node.workload import Arrival, Arrivals, WorkloadSpec


class Clients:
    """Requests of all workloads of this node."""

    def __init__(self, driver: Driver, askers: Mapping[AppId, Callable[[int], bytes]] | None = None) -> None:
        """`askers`: of applications that a user's program answers, what to ask it for a key."""
        self._driver = driver
        self._askers = askers or {}
        self._timers: list[asyncio.TimerHandle | None] = []

    def start(self, specs: Iterable[WorkloadSpec]) -> None:
        """Replace the workloads. Arrivals that are past already (the host has been restarted) are never issued."""
        self.stop()
        now = self._driver.now()
        arrivals = [Arrivals(spec) for spec in specs]
        self._timers = [None] * len(arrivals)
        for slot, workload in enumerate(arrivals):
            self._await(slot, workload, workload.next_after(now - 1))

    def stop(self) -> None:
        for timer in self._timers:
            if timer is not None:
                timer.cancel()
        self._timers = []

    def _await(self, slot: int, workload: Arrivals, arrival: Arrival | None) -> None:
        if arrival is None:
            self._timers[slot] = None
        else:
            self._timers[slot] = self._driver.call_at(arrival.at_ns, lambda: self._issue(slot, workload, arrival))

    def _issue(self, slot: int, workload: Arrivals, arrival: Arrival) -> None:
        driver, spec = self._driver, workload.spec
        self._await(slot, workload, workload.next())
        now = driver.now()
        driver.lag.record(arrival.at_ns, now)
        asker = self._askers.get(spec.app)
        content = b"" if asker is None else asker(arrival.key)
        sizes, deadline = (len(content) or spec.request_bytes, spec.reply_bytes), now + spec.deadline_ns
        driver.issue(lambda number: Request(spec.app, number, arrival.key, arrival.write, *sizes, deadline, content))
