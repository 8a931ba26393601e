"""Real hosts: how long until all of them are shaped, joined and serving, and how much memory each takes."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opus_controller.bench import worlds
from opus_controller.bench.table import Row, row
from opus_controller.model.errors import PlatformError
from opus_controller.model.plan import OverlaySettings, Plan
from opus_controller.net import namespaces
from opus_controller.net.choose import Choice, choose
from opus_controller.runtimes.hosts import state as states
from opus_controller.runtimes.hosts.runtime import HostsRuntime
from opus_controller.runtimes.netns import NetnsRuntime

SAMPLE = 12
"""Clients whose first request must be answered before the hosts count as serving."""
LIMIT_S = 120.0
"""Given up after this: a start that takes longer does not end, since what comes late is asked for again."""
PROMISED_S = {200: 12.0, 500: 40.0}
PROMISED_DOCKER_S = {60: 60.0}
PROMISED_PSS_MB = {200: 9.0}


@dataclass
class Joining:
    """What has been noticed so far: who is attached (or an agent), who serves, whose request was answered."""

    attached: set[str] = field(default_factory=set)
    serving: set[str] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)

    def take(self, records: Iterable[Mapping[str, Any]]) -> None:
        for record in records:
            host = record["host"]
            match record["kind"]:
                case "attached":
                    self.attached.add(host)
                case "role" if record["role"] == "agent" and record["active"]:
                    self.attached.add(host)
                case "role" if record["role"] == "replica":
                    (self.serving.add if record["active"] else self.serving.discard)(host)
                case "request" if record["outcome"] == "ok":
                    self.answered.add(host)


@dataclass(frozen=True)
class Started:
    hosts: int
    joined_s: float
    """From the first act (namespaces) to the last node attached, replicas serving, sampled clients answered."""
    up_s: float
    """Of these, until every node was booted."""
    pss_mb: float
    """Mean proportional set size of a host's processes."""
    rss_mb: float
    engine_mb: float
    """What a container engine keeps for a host beside it, PSS."""
    links: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The runtime's own."""


class NotServing(PlatformError):
    """The start was given up; the words say how far it came."""


def run(counts: Iterable[int], links: str = "auto", kind: str = "netns") -> list[Row]:
    """`kind`: netns or docker. PlatformError where there are no such hosts. A start that does not end in time is a row that says
    so."""
    choice = choose(links)
    promised_s, promised_mb = (PROMISED_S, PROMISED_PSS_MB) if kind == "netns" else (PROMISED_DOCKER_S, {})
    rows = []
    for count in counts:
        leases = OverlaySettings(lease_interval=15 * worlds.SECOND, lease_timeout=46 * worlds.SECOND) if count >= 1000 else None
        try:
            started = asyncio.run(start(count, choice, leases, kind=kind))
        except NotServing as short:
            words = f"more than {LIMIT_S:.0f} s: {short}"
            what = f"{count} hosts ({kind}, {choice.kind} links): shaped, joined, serving"
            rows.append(Row(what, words, LIMIT_S, promised_s.get(count), unit="s"))
            continue
        what = f"{started.hosts} hosts ({kind}, {started.links} links)"
        rows.append(row(f"{what}: shaped, joined, serving", started.joined_s, "s", promised_s.get(count)))
        rows.append(row(f"{what}: of which until all were booted", started.up_s, "s"))
        rows.append(row(f"{what}: memory a host (PSS)", started.pss_mb, "MB", promised_mb.get(count)))
        rows.append(row(f"{what}: memory a host (RSS)", started.rss_mb, "MB"))
        if kind == "docker":
            rows.append(row(f"{what}: beside it, the engine's shim (PSS)", started.engine_mb, "MB"))
    return rows


async def start(
    count: int, choice: Choice, overlay: OverlaySettings | None, *, limit_s: float = LIMIT_S, kind: str = "netns"
) -> Started:
    """Bring `count` hosts up once, measure, take them down."""
    plan = worlds.six_regions(count, duration_s=limit_s, overlay=overlay)
    runtime = _runtime(kind, choice)
    began = time.monotonic()
    try:
        await runtime.up(plan)
        up_s = time.monotonic() - began
        joined_s = await _joined(plan, runtime, began, limit_s)
        pss, rss, engine = _memory(runtime.run)
    finally:
        await runtime.down()
    return Started(len(plan.hosts), joined_s, up_s, pss, rss, engine, choice.kind, runtime.info.facts)


def _runtime(kind: str, choice: Choice) -> HostsRuntime:
    if kind == "docker":
        from opus_controller.runtimes.docker import DockerRuntime

        return DockerRuntime(choice, say=lambda line: print(line, file=sys.stderr, flush=True))
    return NetnsRuntime(choice)


async def _joined(plan: Plan, runtime: HostsRuntime, began: float, limit_s: float) -> float:
    """Waits on the facts; the clock stops at the first look at which all of them hold."""
    clients = [host.name for host in plan.hosts[:: max(1, len(plan.hosts) // SAMPLE)]][:SAMPLE]
    start_s = runtime.now() / worlds.SECOND
    await runtime.start_workload(worlds.asked_by(plan, clients, len(clients), start_s=start_s, stop_s=start_s + limit_s))
    joining = Joining()
    names, wanted = {host.name for host in plan.hosts}, plan.apps[0].replicas
    while time.monotonic() - began < limit_s:
        joining.take(runtime.records())
        if joining.attached >= names and len(joining.serving) >= wanted and joining.answered >= set(clients):
            return time.monotonic() - began
        if died := runtime.died():
            host, words = next(iter(died.items()))
            raise PlatformError(f"{host} died by itself: {words.splitlines()[-1]}")
        await asyncio.sleep(0.05)
    missing = len(names - joining.attached)
    raise NotServing(
        f"{missing} not attached, {len(joining.serving)} replicas, "
        f"{len(set(clients) - joining.answered)} of {len(clients)} clients not answered"
    )


def _memory(run_id: str) -> tuple[float, float, float]:
    """Mean (PSS, RSS) in MB of all of a host's processes, and mean PSS of what the engine keeps beside its container."""
    hosts = [host for host in states.load(run_id).hosts.values() if host.node is not None]
    if not hosts:
        raise PlatformError("no host's process is known; the run's state is not readable")
    inside = [pid for pids in namespaces.processes_in(host.netns for host in hosts).values() for pid in pids]
    beside = _shims({host.container for host in hosts if host.container})
    sums = [_sums(inside), _sums(beside)]
    return sums[0][0] / len(hosts), sums[0][1] / len(hosts), sums[1][0] / len(hosts)


def _sums(pids: Iterable[int]) -> tuple[float, float]:
    """(PSS, RSS) in MB of these processes together; /proc/PID/smaps_rollup (proc(5))."""
    sums = {"Pss:": 0, "Rss:": 0}
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            key, *rest = line.split()
            if key in sums:
                sums[key] += int(rest[0])
    return sums["Pss:"] * 1024 / 1e6, sums["Rss:"] * 1024 / 1e6


def _shims(containers: set[str]) -> list[int]:
    """The engine's processes for these containers: their identity is a word of the command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                if containers.intersection(words):
                    found.append(int(entry.name))
    return found
