"""What the engine needs of a place where plans come alive. Virtual or real time is the runtime's own affair."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from opus_controller.model.network import Network
from opus_controller.model.plan import Plan, Workload
from opus_controller.model.shapes import HostChange

Record = Mapping[str, Any]
"""One line of events.ndjson: {"t": ns since origin, "host": name, "kind": ..., fields of that kind}.

Kinds from nodes are the core's notices (`kind` of each class in opus_node.core.events, its fields by name, peers as
node identities); kinds from the engine are "fault" {"name", "fault", "target", "victims", "undoes"}, "churn" {"change":
"crash", "power-off", "leave" or "return", "hosts", "skipped", "due_t", "done_t"}, "refused" {"name", "fault", "why"}, "host_up",
"host_down" {"cause"}, "workload_start", "end". Kind "sample" goes to samples/hosts.ndjson instead: {"entries", "state_bytes",
"is_agent", "nodes", "requests_served", "requests_routed", "requests_shed", "control_bytes_sent", "control_bytes_received", ...},
and "spread" {application: [links, copies, needless]} (`events.Spreading`) where any application's updates are spread,
counters cumulated since the host's boot.
"""


@dataclass(frozen=True)
class LiveHost:
    """A host's roles right now, for faults aimed by live state and for `opus status`."""

    name: str
    alive: bool
    paused: bool = False
    is_agent: bool = False
    agent: str = ""
    """Name of the host it is attached to."""
    replica_of: tuple[str, ...] = ()
    steward_of: tuple[str, ...] = ()
    nodes: int = 0
    served: int = 0
    routed: int = 0
    entries: int = 0


@dataclass(frozen=True)
class RunInfo:
    """What a runtime says of itself for `result.json`."""

    runtime: str
    links: str
    """netem, userspace, or model (sim)."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Kernel, why these links were chosen, hop cost given to sim and where it came from, ... "fidelity", if there is any, is
    result.json's: {"pairs", "rtt_error_ms": {"p50", "p99"}}."""


@dataclass(frozen=True)
class Health:
    """The testbed's own condition, sampled; judged by engine.validity."""

    t_ns: int
    cpu_busy: float
    """Share of all cores, 0 to 1."""
    link_lag_p99_ns: int
    link_overflow: int
    """Packets dropped that nobody asked to drop, cumulated."""
    node_lag_p99_ns: int
    """How late nodes' own timers fired."""
    notices_dropped: int
    """Notices lost in full buffers, cumulated."""
    cpu_others: float = 0.0
    """Share of all cores that programs which are not the testbed's had, and a hypervisor."""
    other: str = ""
    """Name of the busiest of those programs."""
    memory_used: float = 0.0
    """Share of the machine's memory that is not available to programs."""
    neighbour_table: float = 0.0
    """Entries of the kernel's table, all namespaces together, by the most it holds (gc_thresh3)."""
    inotify: float = 0.0
    """Instances of this user by the most it may have."""


class Runtime(Protocol):
    """A plan's hosts, alive. Only `sleep_until` lets virtual time pass.

    crash, dismiss, power_off and restart of different hosts may overlap, those of one host never do. Each is given the whole
    network as desired at its call; the last one given is what is to be in force.
    """

    @property
    def info(self) -> RunInfo: ...

    async def up(self, plan: Plan) -> None:
        """Create hosts and links, start and boot every node but those of `plan.absent` (origin is here); raise PlatformError
        with the mend if it cannot."""

    def now(self) -> int:
        """Nanoseconds since the origin."""

    async def sleep_until(self, t_ns: int) -> None:
        """Let the world run until `t_ns`; at once if it has passed."""

    async def start_workload(self, workload: Iterable[Workload]) -> None:
        """Hand every client its part. Nodes issue requests by their own clock from then on."""

    async def apply_links(self, network: Network) -> None: ...

    async def crash(self, hosts: Iterable[str]) -> None:
        """Kill the processes; their kernels reset connections."""

    async def dismiss(self, hosts: Iterable[str]) -> None:
        """Ask the nodes to leave; returns when they have been asked. Each tells others what they should know and ends by
        itself, within seconds; a restart waits for that. They count as dead from now on. Not of paused hosts."""

    async def power_off(self, hosts: Iterable[str], network: Network) -> None:
        """Put `network` (with the hosts `down`) in force, then kill: peers see silence."""

    async def restart(self, hosts: Iterable[str], network: Network) -> None:
        """Start the (dead) hosts' nodes anew with the next incarnation and their workload's rest, under `network`. A host that
        was absent from the beginning starts for the first time."""

    async def lose_state(self, hosts: Iterable[str]) -> None:
        """These (dead) hosts have nothing on their disks any more, and know nothing of their past: as if others stood in their
        places. Only incarnations go on, as a clock would have it."""

    async def pause(self, hosts: Iterable[str]) -> None: ...

    async def resume(self, hosts: Iterable[str]) -> None: ...

    async def strain(self, strains: Mapping[str, HostChange]) -> None:
        """Leave these hosts so much of their processor, memory and disk, and make their clocks so wrong, dead ones when they come
        back; the others have all of theirs, and the time. Access links are `apply_links`' affair. PlatformError where the machine
        cannot limit hosts."""

    async def flood(self, workload: Iterable[Workload]) -> None:
        """Hosts ask this beside what `start_workload` has handed them; what was asked so before, and is not in it, ends."""

    async def live(self) -> dict[str, LiveHost]:
        """Every host's roles now."""

    def records(self) -> list[Record]:
        """What was noticed since the last call, in order of t as far as known."""

    async def health(self) -> Health: ...

    def died(self) -> Mapping[str, str]:
        """Hosts that ended by themselves since the last call: name to last log lines."""

    def returned(self) -> Sequence[str]:
        """Hosts that had died by themselves and were started again by somebody else since the last call; they run as after
        `restart`. To be asked after `died`: a host that has died since its return is told there only."""

    async def down(self) -> None:
        """End and remove everything of this run, whatever state it is in. Never raises for what is already gone."""
