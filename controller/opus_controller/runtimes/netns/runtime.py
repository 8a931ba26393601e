"""`NetnsRuntime`: the engine's Runtime with a real process and network namespace a host, on this machine."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import shutil
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from opus_controller.engine.observer import Observed
from opus_controller.engine.runtime import Health, LiveHost, Record, RunInfo
from opus_controller.model.errors import OpusError, PlatformError
from opus_controller.model.network import Network
from opus_controller.model.plan import Plan, Workload
from opus_controller.net import namespaces
from opus_controller.net.choose import Choice, make_links, open_links
from opus_controller.net.links import Links
from opus_controller.runtimes.netns import clean
from opus_controller.runtimes.netns import state as states
from opus_controller.runtimes.netns.cgroups import Limits
from opus_controller.runtimes.netns.control import Tap
from opus_controller.runtimes.netns.hands import network_of
from opus_controller.runtimes.netns.machine import CpuMeter, in_thread
from opus_controller.runtimes.netns.nodes import Nodes
from opus_controller.runtimes.netns.probes import Probes, sample_pairs
from opus_controller.runtimes.netns.processes import Process
from opus_controller.runtimes.netns.zygote import raise_file_limit

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


class NetnsRuntime:
    """See `engine.runtime.Runtime`.

    `choice`: which links and why. `mode` run: everything ends with this process. `mode` up: it stays until `opus down`.
    `record`: the run's directory, where hosts' logs go; None: /run/opus/<run>/logs. `tap` sees every control message.
    """

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
        self._linking = asyncio.Lock()
        """Held while links change: faults of different hosts may overlap, and what comes last must be what was asked for last."""
        self._limits: Limits | None = None
        self._probes = Probes(lambda: _there(self._network))
        self._sampling: asyncio.Task[None] | None = None
        self._cpu = CpuMeter()
        self._watched = _LinksWatched()
        self._last_records: list[Record] = []
        self._facts: dict[str, Any] = {}

    @classmethod
    async def open(cls, run: str) -> NetnsRuntime:
        """A run that another process started: for status, faults by hand and the end. PlatformError if it is gone."""
        state = states.load(run)
        plan = state.plan()
        runtime = cls(Choice(state.links, "as it was started"), mode=state.mode)
        runtime._state = state
        runtime._network = network_of(state, plan)
        runtime._nodes = Nodes(plan, state, runtime.now, None)
        await runtime._nodes.adopt()
        return runtime

    @property
    def run(self) -> str:
        """The run's eight digits; PlatformError before `up`."""
        return _there(self._state).run

    @property
    def info(self) -> RunInfo:
        """Complete once the run is up; `fidelity` grows while it lasts."""
        fidelity = {"fidelity": self._probes.figures()} if self._state is not None else {}
        return RunInfo("netns", self._choice.kind, {**self._facts, **fidelity})

    # --- up ---

    async def up(self, plan: Plan) -> None:
        began = time.monotonic()
        files = raise_file_limit()
        self._state = await in_thread(lambda: states.make(plan, mode=self._mode, record=self._record))
        self._network = Network.of(plan)
        self._nodes = Nodes(plan, self._state, self.now, self._tap)
        exit_with = os.getpid() if self._mode == "run" else None
        zygote = asyncio.create_task(self._start_zygote(exit_with))
        try:
            await in_thread(lambda: self._make_places(plan, exit_with))
        finally:
            await zygote
        wired = time.monotonic()
        absent = set(plan.absent)
        names = [host.name for host in plan.hosts if host.name not in absent]
        await self._nodes.spawn(names)
        spawned = time.monotonic()
        self._state.origin_ns = time.monotonic_ns()
        self._state.save()
        await self._nodes.boot(names)
        self._facts = self._learn(files, began, wired, spawned)
        self.probe(plan)
        every_s = max(1.0, len(names) / HOSTS_SAMPLED_A_SECOND)
        self._facts["sample_every_s"] = every_s
        self._sampling = asyncio.create_task(self._sample_on_and_on(every_s), name="samples")

    async def _start_zygote(self, exit_with: int | None) -> None:
        pid = await _there(self._nodes).zygote.start(exit_with=exit_with)
        _there(self._state).zygote = Process.of(pid)

    def _make_places(self, plan: Plan, exit_with: int | None) -> None:
        """Namespaces, links and cgroups; blocks."""
        state, network = _there(self._state), _there(self._network)
        namespaces.create(host.netns for host in state.hosts.values())
        for host in state.hosts.values():
            os.mkdir(host.control_dir, 0o700)
            os.chown(host.control_dir, host.uid, host.uid)
        self._links = make_links(self._choice, state.run, state.directory, exit_with=exit_with)
        state.links = self._links.kind
        state.save()
        self._links.apply(network)
        for name, host in state.hosts.items():
            self._links.attach(name, namespaces.path_of(host.netns))
        self._limits = Limits(state.run)
        groups = self._limits.create(plan.hosts)
        for name, directories in groups.items():
            state.hosts[name].cgroups = directories
        state.cgroups = [str(path) for path in self._limits.directories]
        state.save()

    def _learn(self, files: int, began: float, wired: float, spawned: float) -> dict[str, Any]:
        """What a reader of the result may want to know of this machine and this start."""
        limits = _there(self._limits)
        return {
            "run": self.run,
            "kernel": platform.release(),
            "cores": os.cpu_count(),
            "links_why": self._choice.why,
            "links": dict(getattr(self._links, "facts", {})),
            "limits": limits.refused or [str(path) for path in limits.directories],
            "open_files": files,
            "start_s": {
                "wired": round(wired - began, 3),
                "spawned": round(spawned - wired, 3),
                "booted": round(time.monotonic() - spawned, 3),
            },
        }

    async def _sample_on_and_on(self, every_s: float) -> None:
        while True:
            await _there(self._nodes).sample()
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
        await _there(self._nodes).start_workload(workload)

    async def apply_links(self, network: Network) -> None:
        self._network = network
        links = self.links
        async with self._linking:
            await in_thread(lambda: links.apply(self.network))

    async def crash(self, hosts: Iterable[str]) -> None:
        names, nodes = list(hosts), _there(self._nodes)
        nodes.kill(names)
        await nodes.bury(names)

    async def power_off(self, hosts: Iterable[str], network: Network) -> None:
        """Cut and kill in one breath: the cut is in force before the processes' kernels can send a word about their end."""
        names, nodes, links = list(hosts), _there(self._nodes), self.links
        self._network = network

        def cut_and_kill() -> None:
            links.apply(self.network)
            nodes.kill(names)

        async with self._linking:
            await in_thread(cut_and_kill)
        await nodes.bury(names)

    async def restart(self, hosts: Iterable[str], network: Network) -> None:
        """A fresh namespace, as a reboot leaves no socket: the old one's kernel would go on retransmitting."""
        names, nodes, links, state = list(hosts), _there(self._nodes), self.links, _there(self._state)
        self._network = network

        def rewire() -> None:
            links.apply(self.network)
            for name in names:
                links.detach(name)
                namespaces.delete(state.hosts[name].netns)
            namespaces.create(state.hosts[name].netns for name in names)
            for name in names:
                links.attach(name, namespaces.path_of(state.hosts[name].netns))

        await nodes.bury(names)
        async with self._linking:
            await in_thread(rewire)
        self._probes.renew(names, lambda host: state.hosts[host].netns)
        await nodes.restart(names)
        state.save()

    async def pause(self, hosts: Iterable[str]) -> None:
        _there(self._nodes).pause(hosts, paused=True)

    async def resume(self, hosts: Iterable[str]) -> None:
        _there(self._nodes).pause(hosts, paused=False)

    # --- what is learnt ---

    async def live(self) -> dict[str, LiveHost]:
        return await _there(self._nodes).live()

    def records(self) -> list[Record]:
        records, self._last_records = self._last_records, []
        return (self._nodes.records() if self._nodes is not None else []) + records

    async def health(self) -> Health:
        nodes, links = _there(self._nodes), self.links
        if self._sampling is not None and self._sampling.done():
            self._sampling.result()  # raises what ended it
        lag, overflow = await in_thread(lambda: self._watched.read(links))
        return Health(
            t_ns=self.now(),
            cpu_busy=round(self._cpu.busy(), 4),
            link_lag_p99_ns=lag,
            link_overflow=overflow,
            node_lag_p99_ns=nodes.lag_p99_ns(),
            notices_dropped=nodes.notices_dropped(),
        )

    def died(self) -> Mapping[str, str]:
        return _there(self._nodes).died()

    async def metrics(self, host: str) -> str:
        return await _there(self._nodes).metrics(host)

    def probe(self, plan: Plan) -> None:
        """Measure round trips from now on, until `down` or `leave`."""
        self._probes.start(sample_pairs(plan.hosts, plan.digest), lambda host: _there(self._state).hosts[host].netns)

    def look_again(self, plan: Plan) -> None:
        """Hands may have changed the links of a run that another process started."""
        network = network_of(_there(self._state), plan)
        if network != self._network:
            self._network = network

    async def observed(self) -> Observed:
        counters = await in_thread(self.links.counters)
        return Observed(counters, self._probes.paths(), self._probes.errors_ns)

    @property
    def links(self) -> Links:
        """The run's links, opened when first asked for. PlatformError if they are gone."""
        if self._links is None:
            state = _there(self._state)
            self._links = open_links(state.links, state.run, state.directory)
        return self._links

    @property
    def network(self) -> Network:
        """What the links are to be."""
        return _there(self._network)

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
        if nodes is not None and _there(self._state).origin_ns:
            with suppress(TimeoutError):
                await asyncio.wait_for(nodes.sample(), LAST_WORDS_S)
            await asyncio.sleep(NOTICES_GATHER_S)
            self._last_records = nodes.records()
        if links is not None:
            counters = await in_thread(links.counters)
            self._last_records += [
                {"t": self.now(), "host": name, "kind": "link_counters", **vars(of)} for name, of in counters.items()
            ]

    async def _end_nodes(self) -> None:
        if self._nodes is not None:
            self._nodes.kill(_there(self._state).hosts)
            await self._nodes.close()

    async def leave(self) -> None:
        """Let go of a testbed that stays up (mode up, or opened): nothing of it is touched."""
        await self._stop_watching()
        if self._nodes is not None:
            await self._nodes.bury(_there(self._state).hosts)
            await self._nodes.zygote.close()

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
        removed = clean.remove(state.run)
        for left in removed.left:
            log.warning("%s: left %s; opus gc tries again", state.run, left)

    def _keep_logs(self, state: states.RunState) -> None:
        """The testbed's own logs go into the run's directory, beside the hosts'."""
        if state.record:
            for path in state.directory.glob("*.log"):
                with suppress(OSError):
                    shutil.copyfile(path, Path(state.record) / "logs" / f"_{path.name}")


def _there(part: T | None) -> T:
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
