"""How much this machine can carry: hosts, requests and packets a second, by what they cost and what the machine has.

Costs come from `opus bench` on this machine, if it was run here (bench.stored), otherwise from the release: those were taken on
a machine of a known speed and are scaled by a short probe of this one's. Every figure says where it comes from.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from opus_controller.bench import machine, stored
from opus_controller.model.plan import Plan
from opus_controller.runtimes.hosts.machine import CpuMeter

FILL = 0.8
"""Of the cores: beyond this, timers are late and a run's figures are the machine's (engine.validity)."""
SAMPLES_MS = 3.0
SAMPLED_A_SECOND = 30
"""A host's status costs it and the controller about so much together; so many are asked a second at most."""
HOST_FILES = 8
CONTROLLER_MB = 300
_LOOK_S = 0.25
_PROBE_ROUNDS, _PROBE_TRIES = 20_000, 5

Limit = Literal["cores", "memory", "open files"]


@dataclass(frozen=True)
class Cost:
    value: float
    source: str


@dataclass(frozen=True)
class Costs:
    """What there is to pay for."""

    rest_ms_per_s: Cost
    """CPU of a host with nothing to do, a second."""
    request_ms: Cost
    """CPU of a request, all hosts together."""
    host_mb: Cost
    packets_a_second: Cost
    """That userspace links carry, on one core."""
    host_packets: float = 7.5
    """That a host sends a second, and a request has sent: of the quickstart's 242 packets a second, 30 hosts, 17 requests/s."""
    request_packets: float = 1.0


QUICKSTART = "the quickstart: 30 hosts, 17 requests/s, userspace links, two cores busy to 19%"
RELEASE = Costs(
    rest_ms_per_s=Cost(8.0, QUICKSTART),
    request_ms=Cost(3.0, QUICKSTART),
    host_mb=Cost(8.5, "opus bench hosts: 200 hosts, netns"),
    packets_a_second=Cost(90_000, "opus bench links: every property on, 200 bytes"),
)
DOCKER_MB = Cost(27.0, "opus bench hosts --runtime docker: 60 hosts, with the engine's shims")
RELEASE_TURNS = 900_000.0
"""`bench.machine`'s turns a second on the machine where those were taken: it had 630,000 to 1,150,000, by the hour."""


@dataclass(frozen=True)
class Machine:
    """What there is."""

    cores: int
    free_cores: float
    """That nothing else had while it was looked at."""
    turns: float
    """Of a plain event loop a second, on one core."""
    memory_mb: float
    """Available."""
    files: int
    """That may be open."""


@dataclass(frozen=True)
class Capacity:
    machine: Machine
    costs: Costs
    """Scaled to this machine."""

    def cores_for(self, hosts: int, requests_a_second: float) -> float:
        """Cores that the nodes, the controller and userspace links keep busy."""
        packets = hosts * self.costs.host_packets + requests_a_second * self.costs.request_packets
        ms = hosts * self.costs.rest_ms_per_s.value + requests_a_second * self.costs.request_ms.value
        return (ms + min(hosts, SAMPLED_A_SECOND) * SAMPLES_MS) / 1000 + packets / self.costs.packets_a_second.value

    def limits(self, requests_a_second: float = 0.0) -> dict[Limit, int]:
        """The most hosts by each thing that runs out, with so many requests a second in all."""
        room, beside = FILL * self.machine.free_cores, self.cores_for(0, requests_a_second)
        low = max(0.0, room - beside)
        a_host = self.cores_for(1, 0)
        many = (low - SAMPLED_A_SECOND * SAMPLES_MS / 1000) / (a_host - SAMPLES_MS / 1000)
        return {
            "cores": int(low / a_host if low < SAMPLED_A_SECOND * a_host else many),
            "memory": int(max(0.0, self.machine.memory_mb - CONTROLLER_MB) / self.costs.host_mb.value),
            "open files": self.machine.files // HOST_FILES,
        }

    def hosts(self, requests_a_second: float = 0.0) -> tuple[int, Limit]:
        """The most hosts, and what runs out first."""
        found = self.limits(requests_a_second)
        least = min(found, key=lambda limit: found[limit])
        return found[least], least

    def hosts_asked(self, requests_a_second: float) -> int:
        """The most hosts if each asks so often."""
        rest = self.costs.rest_ms_per_s
        busy = replace(rest, value=rest.value + requests_a_second * self.costs.request_ms.value)
        packets = self.costs.host_packets + requests_a_second * self.costs.request_packets
        return Capacity(self.machine, replace(self.costs, rest_ms_per_s=busy, host_packets=packets)).hosts()[0]

    @property
    def alone(self) -> Capacity:
        """Of this machine with nothing else on it."""
        return replace(self, machine=replace(self.machine, free_cores=float(self.machine.cores)))

    @property
    def packets_a_second(self) -> int:
        """That userspace links carry while nothing else is on their core."""
        return int(self.costs.packets_a_second.value * min(1.0, self.machine.free_cores))

    def figures(self) -> dict[str, Any]:
        """For programs."""
        hosts, limit = self.hosts()
        costs = {name: vars(cost) for name, cost in vars(self.costs).items() if isinstance(cost, Cost)}
        return {
            "hosts": hosts,
            "limited_by": limit,
            "hosts_by": self.limits(),
            "hosts_alone": self.alone.hosts()[0],
            "packets_a_second": self.packets_a_second,
            "machine": vars(self.machine),
            "costs": costs,
        }


def capacity(*, docker: bool = False, benched: Mapping[str, stored.Bench] | None = None) -> Capacity:
    """Of this machine as it is now; takes about half a second. `benched`: what `opus bench` left here, read if not given."""
    found = look()
    costs = costs_here(found.turns, stored.load() if benched is None else benched)
    return Capacity(found, replace(costs, host_mb=DOCKER_MB) if docker else costs)


def look() -> Machine:
    """At this machine: its cores' speed and how much of them is free, its memory and limits."""
    meter, cores = CpuMeter(), len(os.sched_getaffinity(0))
    time.sleep(_LOOK_S)
    free = cores * (1 - min(1.0, max(0.0, meter.busy())))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = max(hard, _number("/proc/sys/fs/nr_open", hard)) if os.geteuid() == 0 else hard
    available = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
    turns = machine.turns_a_second(_PROBE_ROUNDS, _PROBE_TRIES)
    return Machine(cores, round(free, 2), turns, int(available.split()[1]) / 1024, files)


def costs_here(turns: float, benched: Mapping[str, stored.Bench]) -> Costs:
    """What was measured here, where it was; the rest from the release, its CPU times scaled to `turns`."""
    slower = RELEASE_TURNS / turns

    def cost(bench: str, what: str, release: Cost, scale: float) -> Cost:
        here = benched.get(bench)
        value = here.value(what) if here is not None else None
        if here is not None and value is not None:
            return Cost(value, f"opus bench {bench} here, {here.at}")
        scaled = f", times {scale:.2f} for this machine's speed" if scale != 1.0 else ""
        return Cost(round(release.value * scale, 3), f"{release.source}{scaled}")

    return Costs(
        rest_ms_per_s=cost("hop", "CPU of a host at rest", RELEASE.rest_ms_per_s, slower),
        request_ms=cost("hop", "CPU of an overlay request", RELEASE.request_ms, slower),
        host_mb=cost("hosts", "memory a host (PSS)", RELEASE.host_mb, 1.0),
        packets_a_second=cost("links", "packets a second, every property on", RELEASE.packets_a_second, 1 / slower),
    )


def requests_a_second(plan: Plan) -> float:
    """The most that a plan's clients ask together at any time, on average."""
    begins = [(load.start_ns, load.rate_per_s) for load in plan.workload]
    ends = [(load.stop_ns, -load.rate_per_s) for load in plan.workload]
    changes = sorted([*begins, *ends])
    most = now = 0.0
    for _, change in changes:
        now += change
        most = max(most, now)
    return round(most, 6)


def warning(plan: Plan, of: Capacity) -> str:
    """A line about a plan that is too much for this machine; empty if it is not."""
    rate = requests_a_second(plan)
    hosts, limit = of.hosts(rate)
    if len(plan.hosts) <= hosts:
        return ""
    need = f"{of.cores_for(len(plan.hosts), rate):.1f} cores' work, {of.machine.free_cores:.1f} of {of.machine.cores} free"
    why = need if limit == "cores" else f"its {limit} does not hold more"
    return (
        f"warning: {len(plan.hosts)} hosts with {rate:g} requests/s are too much here: about {hosts} can be carried ({why}); "
        "the run is likely to be invalid. opus doctor says where the figures come from"
    )


def _number(path: str, otherwise: int) -> int:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return otherwise
