"""What a hop of the overlay costs beyond the path: serializing, gRPC, two kernels' stacks, scheduling.

Routing latency less the plan's one-way delays, of requests on three quiet sites with delay-only paths. The simulator
charges the one-hop median to every message (`opus_controller.runtimes.sim.costs`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from opus_controller.bench import worlds
from opus_controller.bench.table import Row, row
from opus_controller.model.errors import PlatformError
from opus_controller.model.network import Network
from opus_controller.model.plan import Plan
from opus_controller.net.choose import Choice, choose
from opus_controller.runtimes.hosts import state as states
from opus_controller.runtimes.netns import NetnsRuntime

SETTLE_S = 8.0
RATE = 20.0
CLOCK_TICKS_S = 100
"""USER_HZ, the unit of /proc/PID/stat (proc(5))."""


@dataclass(frozen=True)
class Measured:
    hop_ms: np.ndarray[tuple[int], np.dtype[np.float64]]
    """Of every request sent to a cached replica: routing latency less the path's one-way delay."""
    request_ms: np.ndarray[tuple[int], np.dtype[np.float64]]
    """Of the same: request latency less the round trip."""
    cpu_ms: float
    """CPU time of all hosts together a request, over what they spend at rest."""
    rest_cpu_ms_per_s: float
    """CPU time a host and second at rest: leases, probes, samples, timers."""
    start_ms: float
    """From the first host told to join to the last that has, by hosts."""


def run(seconds: float = 30.0, links: str = "auto") -> list[Row]:
    choice = choose(links)
    measured = asyncio.run(measure(choice, seconds))
    median = float(np.median(measured.hop_ms))
    return [
        row(f"hop beyond its path, median of {len(measured.hop_ms)} ({choice.kind} links)", median, "ms", digits=3),
        row("hop beyond its path, p90", float(np.percentile(measured.hop_ms, 90)), "ms", digits=3),
        row("request and reply beyond the round trip, median", float(np.median(measured.request_ms)), "ms", digits=3),
        row("CPU of an overlay request, all hosts together", measured.cpu_ms, "ms", digits=2),
        row("CPU of a host at rest", measured.rest_cpu_ms_per_s, "ms/s", digits=2),
    ]


async def measure(choice: Choice, seconds: float) -> Measured:
    """A quiet spell, then as long a spell of requests; PlatformError if too few were answered directly."""
    plan = worlds.three_sites(duration_s=SETTLE_S + 2 * seconds + 5)
    runtime = NetnsRuntime(choice)
    try:
        await runtime.up(plan)
        # The last requests of the settling time find replicas, so that what is measured goes to cached ones.
        clients = [host.name for host in plan.hosts]
        await _ask(runtime, plan, clients, 4.0, SETTLE_S)
        await _until(runtime, SETTLE_S + 3)
        before, began = _cpu_s(runtime.run), time.monotonic()
        await _until(runtime, SETTLE_S + 3 + seconds)
        rest_cpu, rest_s = _cpu_s(runtime.run) - before, time.monotonic() - began
        runtime.records()
        before, began = _cpu_s(runtime.run), time.monotonic()
        await _ask(runtime, plan, clients, SETTLE_S + 3 + seconds, SETTLE_S + 3 + 2 * seconds)
        await _until(runtime, SETTLE_S + 3 + 2 * seconds + 2.5)
        busy_cpu, busy_s = _cpu_s(runtime.run) - before, time.monotonic() - began
        records = [r for r in runtime.records() if r["kind"] == "request" and r["outcome"] == "ok"]
    finally:
        await runtime.down()
    hops, requests = _beyond(plan, records)
    if len(hops) < 50:
        raise PlatformError(f"only {len(hops)} requests went straight to a replica; is the machine overloaded?")
    rest = rest_cpu / rest_s
    count = len(plan.hosts)
    start_ms = runtime.info.facts["start_s"]["booted"] * 1000 / count
    return Measured(hops, requests, (busy_cpu - rest * busy_s) * 1000 / len(records), rest * 1000 / count, start_ms)


async def _ask(runtime: NetnsRuntime, plan: Plan, clients: list[str], start_s: float, stop_s: float) -> None:
    await runtime.start_workload(worlds.asked_by(plan, clients, RATE, start_s=start_s, stop_s=stop_s))


async def _until(runtime: NetnsRuntime, second: float) -> None:
    await runtime.sleep_until(int(second * worlds.SECOND))


def _beyond(plan: Plan, records: list[Mapping[str, Any]]) -> tuple[Any, Any]:
    """ms that direct requests took beyond their path to the replica, and beyond the round trip."""
    network = Network.of(plan)
    by_name = {host.name: host for host in plan.hosts}
    by_address = {host.address: host for host in plan.hosts}
    hops, requests = [], []
    for record in records:
        if record["via"] != "direct":
            continue
        client, replica = by_name[record["host"]], by_address[record["replica"]]
        there, back = network.one_way_ns(client, replica), network.one_way_ns(replica, client)
        hops.append((record["arrived_at"] - record["issued_at"] - there) / 1e6)
        requests.append((record["done_at"] - record["issued_at"] - there - back) / 1e6)
    return np.array(hops), np.array(requests)


def _cpu_s(run_id: str) -> float:
    """CPU seconds of all the run's nodes so far: utime and stime of /proc/PID/stat."""
    ticks = 0
    for host in states.load(run_id).hosts.values():
        if host.node is not None:
            fields = Path(f"/proc/{host.node.pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / CLOCK_TICKS_S
