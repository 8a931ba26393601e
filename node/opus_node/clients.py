"""The node's local clients: workloads turned into requests at their times, open loop.

A slow answer never delays the next request. A request that comes late, because the process was paused or the machine is
busy, is issued late, with its deadline counted from then, and the lag is recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from opus_node.core.events import Request
from opus_node.driver import Driver
from opus_node.workload import Arrival, Arrivals, WorkloadSpec


class Clients:
    """Requests of all workloads of this node, numbered from 0 for the life of the process."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._timers: list[asyncio.TimerHandle | None] = []
        self.issued = 0

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
        number = self.issued
        self.issued += 1
        driver.open_requests += 1
        deadline = now + spec.deadline_ns
        driver.feed(Request(spec.app, number, arrival.key, arrival.write, spec.request_bytes, spec.reply_bytes, deadline))
