"""`HostsRuntime`: what runtimes with real hosts on this machine share; how a host is made is the subclass' affair."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import shutil
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar

from opus_controller.engine import fidelity, needs
from opus_controller.engine.observer import Observed
from opus_controller.engine.runtime import Health, LiveHost, Record, RunInfo
from opus_controller.model.errors import InvalidRun, OpusError, PlatformError
from opus_controller.model.network import Network
from opus_controller.model.plan import HostAbilities, Plan, Workload
from opus_controller.model.shapes import NOTHING_TAKEN, HostChange
from opus_controller.net.choose import Choice, make_links, open_links
from opus_controller.net.links import Links
from opus_controller.runtimes.hosts import cgroups, clean, disks, gate, services
from opus_controller.runtimes.hosts import state as states
from opus_controller.runtimes.hosts.control import Tap
from opus_controller.runtimes.hosts.hands import network_of
from opus_controller.runtimes.hosts.machine import CpuMeter, in_thread, raise_file_limit
from opus_controller.runtimes.hosts.nodes import Beside, Nodes
from opus_controller.runtimes.hosts.probes import Probes, sample_pairs
from opus_controller.runtimes.hosts.processes import Process
from opus_controller.runtimes.hosts.strain import StrainMeter

HOSTS_SAMPLED_A_SECOND = 30
"""A status costs a node and the controller one to five milliseconds together, the more hosts share the caches the more; this
keeps sampling to about a tenth of a core."""
COUNTERS_EVERY = 5
"""Health samples between two readings of the links' counters, which cost some 10 us a host."""

LAST_WORDS_S = 10.0
"""For living nodes to answer once more before they are ended."""
NOTICES_GATHER_S = 0.4
"""Twice the time for which a node gathers notices before it sends them."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class HostsRuntime(ABC):
    """See `engine.runtime.Runtime`.

    `choice`: which links and why. `mode` run: everything ends with this process. `mode` up: it stays until `opus down`.
    `record`: the run's directory, where hosts' logs go; None: /run/opus/<run>/logs. `tap` sees every control message.
    """

    kind: ClassVar[Literal["netns", "docker"]]

    def __init__(
        self, choice: Choice, *, mode: Literal["run", "up"] = "run", record: Path | None = None, tap: Tap | None = None
    ) -> None:
        self._choice = choice
        self._mode: Literal["run", "up"] = mode
        self._record = record
        self._tap = tap
        self._state: states.RunState | None = None
        self._links: Links | None = None
        self._nodes: Nodes | None = None
        self._network: Network | None = None
        self._strains: dict[str, HostChange] = {}
        self._abilities: dict[str, HostAbilities] = {}
        self._disks = False
        """Whether hosts have disks of their own."""
        self._linking = asyncio.Lock()
        """Held while links change: faults of different hosts may overlap, and what comes last must be what was asked for last."""
        self._probes = Probes(lambda: there(self._network))
        self._sampling: asyncio.Task[None] | None = None
        self._gate: fidelity.Gate | None = None
        self._cpu = CpuMeter()
        self._watched = _LinksWatched()
        self._strain = StrainMeter()
        self._last_records: list[Record] = []
        self._facts: dict[str, Any] = {}

    # --- how hosts are made: the subclass' affair ---

    @abstractmethod
    def _check(self, plan: Plan) -> None:
        """Blocks. PlatformError if this machine or this runtime lacks what the plan's services need."""

    @abstractmethod
    def _lacking(self, plan: Plan) -> Mapping[str, str]:
        """Blocks. Cgroup controllers that hosts cannot be limited or stopped by here: why, and what mends it."""

    def _beside_of(self, plan: Plan) -> Beside | None:
        """Who starts users' containers beside nodes; None where there are none."""
        return None

    @abstractmethod
    async def _make_hosts(self, plan: Plan, names: list[str]) -> dict[str, Any]:
        """Links in force, and what hosts need around them; then `names` started, each as `_start_host` does it.

        Returns facts for the record, "start_s" with the seconds of its stages among them."""

    @abstractmethod
    async def _start_host(self, name: str) -> Process:
        """Start the host's process, in a namespace with the state's name for it that is joined to the links."""

    @abstractmethod
    async def _renew(self, names: list[str]) -> None:
        """`restart` has put the links in force and not yet started `names`: take away what the old incarnations had."""

    @abstractmethod
    async def _end_hosts(self) -> None:
        """End all nodes, and whoever starts them; hosts have been killed already."""

    @abstractmethod
    async def _stop_speaking(self) -> None:
        """Let go of whoever starts hosts, without touching anything."""

    def _is_paused(self, name: str) -> bool:
        """Of a run that another process started."""
        process = self.state.hosts[name].node
        return process is not None and process.stopped()

    def _remove_rest(self, state: states.RunState) -> list[str]:
        """Blocks. Whatever is left of the run, by its name; what could not be removed."""
        return clean.remove(state.run).left

    # --- opened by another process ---

    @classmethod
    async def open(cls, run: str) -> Self:
        """A run that another process started: for status, faults by hand and the end. PlatformError if it is gone."""
        state = states.load(run)
        plan = state.plan()
        runtime = cls(Choice(state.links, "as it was started"), mode=state.mode)
        runtime._state = state
        runtime._network = network_of(state, plan)
        runtime._abilities = {host.name: host.abilities for host in plan.hosts}
        runtime._nodes = Nodes(plan, state, runtime.now, runtime._start_host, None)
        await runtime._nodes.adopt(runtime._is_paused)
        return runtime

    @property
    def run(self) -> str:
        """The run's eight digits; PlatformError before `up`."""
        return self.state.run

    @property
    def console(self) -> Path:
        """Where the controller hears hands."""
        return self.state.console

    @property
    def info(self) -> RunInfo:
        """Complete once the run is up; `fidelity` grows while it lasts."""
        if self._state is None:
            return RunInfo(self.kind, self._choice.kind, self._facts)
        gated = {"gate": self._gate.figures()} if self._gate is not None else {}
        return RunInfo(self.kind, self._choice.kind, {**self._facts, "fidelity": {**self._probes.figures(), **gated}})

    @property
    def gate(self) -> fidelity.Gate | None:
        """What the fidelity gate found; None before `up`, if it was skipped, or in a run that another process started."""
        return self._gate

    # --- up ---

    async def up(self, plan: Plan) -> None:
        await in_thread(lambda: self._check(plan))
        await in_thread(lambda: needs.check_machine(plan.timeline, lambda: self._lacking(plan)))
        files = raise_file_limit()
        self._state = await in_thread(lambda: states.make(plan, mode=self._mode, runtime=self.kind, record=self._record))
        self._network = Network.of(plan)
        self._abilities = {host.name: host.abilities for host in plan.hosts}
        self._nodes = Nodes(plan, self._state, self.now, self._start_host, self._tap, self._beside_of(plan))
        absent = set(plan.absent)
        names = [host.name for host in plan.hosts if host.name not in absent]
        facts = await self._make_hosts(plan, names)
        await self._check_links(plan, names)
        started = time.monotonic()
        self._state.origin_ns = time.monotonic_ns()
        self._state.save()
        await self._nodes.boot(names)
        facts["start_s"]["booted"] = round(time.monotonic() - started, 3)
        self._facts = self._learn(files) | facts
        self.probe(plan)
        every_s = max(1.0, len(names) / HOSTS_SAMPLED_A_SECOND)
        self._facts["sample_every_s"] = every_s
        self._sampling = asyncio.create_task(self._sample_on_and_on(every_s), name="samples")

    async def _check_links(self, plan: Plan, names: list[str]) -> None:
        """The fidelity gate: before the origin, so no time of the run is taken. InvalidRun if that is what the plan wants."""
        if plan.fidelity == "skip":
            return
        there = set(names)
        pairs = fidelity.sample([host for host in plan.hosts if host.name in there], plan.digest)
        if pairs:
            self._gate = await gate.measure(pairs, self.network, lambda host: self.state.hosts[host].netns, plan.fidelity)
            if self._gate.wrong and plan.fidelity == "stop":
                raise InvalidRun(f"{self._gate.summary()}; to go on all the same: --set fidelity=annotate")

    def _make_links(self) -> None:
        """Control directories and links in the state the network wants; nobody is joined to them yet. Blocks."""
        state, network = self.state, self.network
        for host in state.hosts.values():
            os.mkdir(host.control_dir, 0o700)
            os.chown(host.control_dir, host.uid, host.uid)
        self._make_disks()
        services.place_files(state.plan(), state, self._record)
        self._links = make_links(self._choice, state.run, state.directory, exit_with=self.exit_with)
        state.links = self._links.kind
        state.save()
        self._links.apply(network)

    def _make_disks(self) -> None:
        """Blocks. One for every host, where the plan fills some up; PlatformError if this machine has none to give."""
        self._disks = self._own_disks(self.state.plan())
        for name, host in self.state.hosts.items() if self._disks else ():
            try:
                disks.make(Path(host.control_dir), self._abilities[name].storage, host.uid)
            except OSError as error:
                raise PlatformError(f"{name} cannot have a disk of its own here: {error.strerror}") from error

    def _own_disks(self, plan: Plan) -> bool:
        """Whether hosts are to have disks of their own."""
        return False

    @property
    def exit_with(self) -> int | None:
        """The process with which the testbed's own processes end; None: they stay."""
        return os.getpid() if self._mode == "run" else None

    def _learn(self, files: int) -> dict[str, Any]:
        """What a reader of the result may want to know of this machine."""
        return {
            "run": self.run,
            "kernel": platform.release(),
            "cores": os.cpu_count(),
            "links_why": self._choice.why,
            "links": dict(getattr(self._links, "facts", {})),
            "disks": self._disks,
            "open_files": files,
        }

    async def _sample_on_and_on(self, every_s: float) -> None:
        while True:
            await self.nodes.sample()
            await asyncio.sleep(every_s)

    # --- time ---

    def now(self) -> int:
        if self._state is None or not self._state.origin_ns:
            return 0
        return time.monotonic_ns() - self._state.origin_ns

    async def sleep_until(self, t_ns: int) -> None:
        await asyncio.sleep(max(0.0, (t_ns - self.now()) / 1e9))

    # --- what is done to hosts and links ---

    async def start_workload(self, workload: Iterable[Workload]) -> None:
        await self.nodes.start_workload(workload)

    async def apply_links(self, network: Network) -> None:
        self._network = network
        links = self.links
        async with self._linking:
            await in_thread(lambda: links.apply(self.network))

    async def crash(self, hosts: Iterable[str]) -> None:
        names, nodes = list(hosts), self.nodes
        nodes.kill(names)
        await nodes.bury(names)

    async def dismiss(self, hosts: Iterable[str]) -> None:
        self.nodes.dismiss(hosts)

    async def power_off(self, hosts: Iterable[str], network: Network) -> None:
        """Cut and kill in one breath: the cut is in force before the processes' kernels can send a word about their end."""
        names, nodes, links = list(hosts), self.nodes, self.links
        self._network = network

        def cut_and_kill() -> None:
            links.apply(self.network)
            nodes.kill(names)

        async with self._linking:
            await in_thread(cut_and_kill)
        await nodes.bury(names)

    async def restart(self, hosts: Iterable[str], network: Network) -> None:
        """A fresh namespace, as a reboot leaves no socket: the old one's kernel would go on retransmitting."""
        names, nodes, links, state = list(hosts), self.nodes, self.links, self.state
        self._network = network
        await nodes.left(names)
        await nodes.bury(names)
        async with self._linking:
            await in_thread(lambda: links.apply(self.network))
        await self._renew(names)
        await nodes.restart(names)
        await in_thread(lambda: self._limit(name for name in names if _enforced(self._strains.get(name)) != _enforced(None)))
        state.save()

    async def lose_state(self, hosts: Iterable[str]) -> None:
        """All that lies in their directories, which are all that a node and its programs can write to for longer than they
        live. A full disk is full again with nothing on it."""
        names = list(hosts)
        await self.nodes.gone(names)
        await in_thread(lambda: disks.clear(Path(self.state.hosts[name].control_dir) for name in names))
        await in_thread(lambda: self._limit_disks(name for name in names if _disk(self._strains.get(name)) is not None))
        self.nodes.lose_past(names)

    async def pause(self, hosts: Iterable[str]) -> None:
        await self._pause(list(hosts), paused=True)

    async def resume(self, hosts: Iterable[str]) -> None:
        await self._pause(list(hosts), paused=False)

    async def _pause(self, hosts: list[str], *, paused: bool) -> None:
        for name in hosts:
            process = self.state.hosts[name].node
            if process is not None and process.signal(signal.SIGSTOP if paused else signal.SIGCONT):
                self.nodes.paused(name, paused)
                for program in self.nodes.programs(name):
                    program.signal(signal.SIGSTOP if paused else signal.SIGCONT)
        if not paused:
            await self.nodes.set_clocks(hosts)

    async def flood(self, workload: Iterable[Workload]) -> None:
        await self.nodes.flood(workload)

    async def strain(self, strains: Mapping[str, HostChange]) -> None:
        before = self._strains
        limits = {name: _enforced(before.get(name)) for name in self.state.hosts}
        names = [name for name, limit in limits.items() if _enforced(strains.get(name)) != limit]
        filled = [name for name in self.state.hosts if _disk(strains.get(name)) != _disk(before.get(name))]
        self._strains = dict(strains)
        await in_thread(lambda: self._limit(names))
        await in_thread(lambda: self._limit_disks(filled))
        await self.nodes.strain(strains)

    def _limit_disks(self, names: Iterable[str]) -> None:
        """Blocks. A dead host's, too: its disk is there."""
        for name in names:
            storage, left = self._abilities[name].storage, _disk(self._strains.get(name))
            try:
                disks.limit(Path(self.state.hosts[name].control_dir), storage if left is None else min(storage, left))
            except OSError as error:
                raise PlatformError(f"{name}: its disk cannot be limited: {error.strerror}") from error

    def _limit(self, names: Iterable[str]) -> None:
        """Blocks. Processor and memory of these hosts as strains and abilities have them."""
        for name in names:
            directories = self._cgroups_of(name)
            untouched = _enforced(self._strains.get(name)) == _enforced(None)
            if not directories and (untouched or not self.nodes.is_alive(name)):
                continue  # nothing has been in force; or when it starts
            if not directories:
                raise PlatformError(f"{name} cannot be slowed: no cgroups can be made on this machine (opus doctor)")
            try:
                cgroups.limit(directories, self._abilities[name], self._strains.get(name, NOTHING_TAKEN))
            except OSError as error:
                raise PlatformError(f"{name} cannot be limited: {error.strerror} ({error.filename})") from error

    def _cgroups_of(self, name: str) -> list[str]:
        """Directories of the host's cgroups; none if it has none now."""
        return self.state.hosts[name].cgroups

    # --- what is learnt ---

    async def live(self) -> dict[str, LiveHost]:
        return await self.nodes.live()

    def records(self) -> list[Record]:
        records, self._last_records = self._last_records, []
        return (self._nodes.records() if self._nodes is not None else []) + records

    async def health(self) -> Health:
        nodes, links = self.nodes, self.links
        if self._sampling is not None and self._sampling.done():
            self._sampling.result()  # raises what ended it
        ours = self._processes()
        (lag, overflow), strain = await in_thread(lambda: (self._watched.read(links), self._strain.read(ours)))
        return Health(
            t_ns=self.now(),
            cpu_busy=round(self._cpu.busy(), 4),
            link_lag_p99_ns=lag,
            link_overflow=overflow,
            node_lag_p99_ns=nodes.lag_p99_ns(),
            notices_dropped=nodes.notices_dropped(),
            cpu_others=round(strain.cpu_others, 4),
            other=strain.other,
            memory_used=round(strain.memory_used, 4),
            neighbour_table=round(strain.neighbour_table, 4),
            inotify=round(strain.inotify, 4),
        )

    def _processes(self) -> set[int]:
        """Of the testbed; what they have started is found by them."""
        state = self.state
        recorded = [state.zygote, state.keeper, *(host.node for host in state.hosts.values())]
        return {os.getpid(), *(one.pid for one in recorded if one is not None)}

    def died(self) -> Mapping[str, str]:
        return self.nodes.died()

    def returned(self) -> list[str]:
        return self.nodes.returned_hosts()

    async def metrics(self, host: str) -> str:
        return await self.nodes.metrics(host)

    def probe(self, plan: Plan) -> None:
        """Measure round trips from now on, until `down` or `leave`."""
        self._probes.start(sample_pairs(plan.hosts, plan.digest), lambda host: self.state.hosts[host].netns)

    def look_again(self, plan: Plan) -> None:
        """Hands may have changed the links of a run that another process started."""
        network = network_of(self.state, plan)
        if network != self._network:
            self._network = network

    async def observed(self) -> Observed:
        counters = await in_thread(self.links.counters)
        return Observed(counters, self._probes.paths(), self._probes.errors_ns, self._gate)

    @property
    def state(self) -> states.RunState:
        return there(self._state)

    @property
    def nodes(self) -> Nodes:
        return there(self._nodes)

    @property
    def links(self) -> Links:
        """The run's links, opened when first asked for. PlatformError if they are gone."""
        if self._links is None:
            self._links = open_links(self.state.links, self.state.run, self.state.directory)
        return self._links

    @property
    def network(self) -> Network:
        """What the links are to be."""
        return there(self._network)

    # --- down ---

    async def down(self) -> None:
        """In order as far as that goes: what does not answer, on a machine that is too busy, is removed by name all the same."""
        if self._state is None:
            return
        state = self._state
        for step in (self._stop_watching, self._take_last_words, self._end_nodes):
            try:
                await step()
            except (OpusError, OSError, TimeoutError) as error:
                log.warning("%s: %s: %s", state.run, step.__name__, error or type(error).__name__)
        await in_thread(lambda: self._remove(state))
        self._links = None

    async def _take_last_words(self) -> None:
        """Notices are under way for a moment: a node that has answered has had the time to send those before."""
        nodes, links = self._nodes, self._links
        if nodes is not None and self.state.origin_ns:
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_S):
                    await nodes.sample()
            await asyncio.sleep(NOTICES_GATHER_S)
            self._last_records = nodes.records()
        if links is not None:
            counters = await in_thread(links.counters)
            self._last_records += [
                {"t": self.now(), "host": name, "kind": "link_counters", **vars(of)} for name, of in counters.items()
            ]

    async def _end_nodes(self) -> None:
        if self._nodes is not None:
            self._nodes.kill(self.state.hosts)
            await self._nodes.left(self.state.hosts)
            await self._nodes.bury(self.state.hosts)
        await self._end_hosts()

    async def leave(self) -> None:
        """Let go of a testbed that stays up (mode up, or opened): nothing of it is touched."""
        await self._stop_watching()
        if self._nodes is not None:
            await self._nodes.left(self.state.hosts)
            await self._nodes.bury(self.state.hosts)
        await self._stop_speaking()

    async def _stop_watching(self) -> None:
        await self._probes.stop()
        if self._sampling is not None:
            self._sampling.cancel()
            with suppress(asyncio.CancelledError, OpusError):
                await self._sampling
            self._sampling = None

    def _remove(self, state: states.RunState) -> None:
        """Blocks. What this object holds is closed in order; whatever is left goes by the run's name."""
        if self._links is not None:
            with suppress(OpusError):
                self._links.close()
        self._keep_logs(state)
        for left in self._remove_rest(state):
            log.warning("%s: left %s; opus gc tries again", state.run, left)

    def _keep_logs(self, state: states.RunState) -> None:
        """The testbed's own logs go into the run's directory, beside the hosts'."""
        if state.record:
            for path in state.directory.glob("*.log"):
                with suppress(OSError):
                    shutil.copyfile(path, Path(state.record) / "logs" / f"_{path.name}")


def _enforced(strain: HostChange | None) -> tuple[float, int | None]:
    """What cgroups are to leave a host."""
    return (strain.cpu, strain.memory) if strain is not None else (1.0, None)


def _disk(strain: HostChange | None) -> int | None:
    return None if strain is None else strain.disk


def there(part: T | None) -> T:
    """A part that exists once the run is up."""
    if part is None:
        raise PlatformError("the run is not up")
    return part


@dataclass
class _LinksWatched:
    """Reads lag at every call, counters at some."""

    _calls: int = 0
    _overflow: int = 0

    def read(self, links: Links) -> tuple[int, int]:
        """(lag p99 in ns since the last call, packets dropped so far that nobody asked to drop)."""
        if self._calls % COUNTERS_EVERY == 0:
            self._overflow = sum(counters.overflow for counters in links.counters().values())
        self._calls += 1
        return links.lag().p99_ns, self._overflow
