"""The hosts' nodes: started as the runtime does it, booted and watched over their control sockets, killed by a signal."""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from opus_proto.v1 import control_pb2

from opus_controller.engine.clocks import RIGHT, Skew
from opus_controller.engine.runtime import LiveHost, Record
from opus_controller.model.errors import PlatformError
from opus_controller.model.history import Histories
from opus_controller.model.plan import Host, Plan, Workload
from opus_controller.model.shapes import NOTHING_TAKEN, HostChange
from opus_controller.runtimes.hosts.control import READY_S, NodeControl, Tap, Watch, boot_request
from opus_controller.runtimes.hosts.machine import in_thread, last_lines
from opus_controller.runtimes.hosts.processes import Process, ended_how, wait_gone
from opus_controller.runtimes.hosts.state import RunState

T = TypeVar("T")

AT_ONCE = 64
"""Hosts spoken with at the same time: enough to keep two cores busy, few enough for no call to wait long."""
MOST_RECORDS = 500_000
"""Records kept for the player; beyond that the nodes' own (bounded, counting) buffers hold them."""
STATUS_S = 3.0
CANCEL_AGAIN_S = 0.2
CLOCK_READS_NS = 1_000_000_000
"""By which a clock that drifts may be elsewhere when its host says what it reads: a tenth of the time for an answer."""
LEAVES_S = 15.0
"""For a node that was asked to leave to end by itself: it takes three seconds at most, on a machine that has time for it, and its
programs as long as they may."""
ENDED_S = 20.0
"""For a killed process to be gone."""
NODE_PORT = 7000
LAST_LINES = 12
"""Of a log, told of a host that died by itself."""
_SAMPLED = (
    *("entries", "state_bytes", "is_agent", "nodes", "requests_served", "requests_routed", "requests_shed"),
    *("control_bytes_sent", "control_bytes_received", "queue_dropped"),
)


class Beside(Protocol):
    """Whoever starts users' containers beside nodes, at the nodes' asking."""

    async def tend(self, host: str, control: NodeControl) -> None:
        """Do what this node asks for, until cancelled."""

    def processes(self, host: str) -> list[Process]:
        """What has to be ended with this host."""


@dataclass
class Node:
    """One host's process, and what is known of it."""

    host: Host
    control: NodeControl | None = None
    watch: Watch | None = None
    watching: asyncio.Task[None] | None = None
    tending: asyncio.Task[None] | None = None
    alive: bool = False
    wanted: bool = False
    """It is to live: started and not killed by this run. A host that is wanted and not alive has died by itself."""
    paused: bool = False
    leaving: asyncio.Task[None] | None = None
    """Sees out one that was asked to leave."""
    status: control_pb2.StatusReply = field(default_factory=control_pb2.StatusReply)
    """The last one."""
    dropped_before: int = 0
    """Notices lost by its earlier incarnations."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while it has no process, as whoever starts them sees it: only then can the next one be started."""


class Nodes:
    """All nodes of a run.

    `start(host)` starts its process, joined to its links, and returns it once it runs; PlatformError if it ended at once.
    """

    def __init__(
        self,
        plan: Plan,
        state: RunState,
        now: Callable[[], int],
        start: Callable[[str], Awaitable[Process]],
        tap: Tap | None,
        beside: Beside | None = None,
    ) -> None:
        self._plan = plan
        self._state = state
        self._now = now
        self._start = start
        self._tap = tap
        self.beside = beside
        self._names = {host.address: host.name for host in plan.hosts}
        self._nodes = {host.name: Node(host) for host in plan.hosts}
        for node in self._nodes.values():
            node.ended.set()
        self._histories = Histories(plan)
        self._has_services = any(app.service is not None for app in plan.apps)
        self._workload: dict[str, list[Workload]] = {}
        self._flood: dict[str, list[Workload]] = {}
        self._skews: dict[str, Skew] = {}
        self._records: deque[Record] = deque()
        self._room: asyncio.Future[None] | None = None
        self._died: dict[str, str] = {}
        self._returned: list[str] = []
        self._burying: set[asyncio.Task[None]] = set()
        self._lags: list[int] = []

    # --- start ---

    async def spawn(self, hosts: Iterable[str]) -> None:
        """Start each host's process and wait until it can be spoken with."""
        names = list(hosts)
        await _each(names, self._spawn)
        await _each(names, self._ready)

    async def boot(self, hosts: Iterable[str]) -> None:
        """Seeds, then the others, who would ask them in vain before; in the plan's order. From here on they are in the overlay
        and watched."""
        wanted, seeds = set(hosts), set(self._plan.seeds)
        await _each([name for name in self._nodes if name in wanted & seeds], self._boot)
        await _each([name for name in self._nodes if name in wanted - seeds], self._boot)

    async def adopt(self, is_paused: Callable[[str], bool]) -> None:
        """Speak with the nodes of a run that another process started; nothing is watched."""
        for name, node in self._nodes.items():
            process = self._state.hosts[name].node
            node.alive = node.wanted = process is not None and process.alive()
            node.paused = node.alive and is_paused(name)
            if node.alive:
                node.ended.clear()
                node.control = self._line_to(name)

    def tend(self) -> None:
        """Users' containers beside living nodes are this process' affair from now on."""
        for name, node in self._nodes.items():
            if self.beside is not None and node.control is not None and node.tending is None:
                node.tending = asyncio.create_task(self.beside.tend(name, node.control), name=f"tend {name}")

    async def stop_tending(self) -> None:
        """They are another's."""
        for node in self._nodes.values():
            await _cancelled(node.tending)
            node.tending = None

    async def start_workload(self, workload: Iterable[Workload]) -> None:
        for load in workload:
            self._workload.setdefault(load.client, []).append(load)
        await _each([name for name in self._workload if self._nodes[name].alive], self._send_workload)

    async def flood(self, workload: Iterable[Workload]) -> None:
        """Beside what they were handed, and in place of the flood before."""
        before, self._flood = self._flood, {}
        for load in workload:
            self._flood.setdefault(load.client, []).append(load)
        changed = [name for name in self._nodes if before.get(name) != self._flood.get(name)]
        await _each([name for name in changed if self._nodes[name].alive], self._send_workload)

    async def strain(self, strains: Mapping[str, HostChange]) -> None:
        """Clocks as these have them; of dead hosts when they boot, of paused ones when they go on."""
        now = self._now()
        changed = []
        for name in self._nodes:
            strain, skew = strains.get(name, NOTHING_TAKEN), self._skews.get(name, RIGHT)
            if not skew.fits(strain):
                self._skews[name] = skew.under(strain, now)
                changed.append(name)
        await self.set_clocks(changed)

    async def set_clocks(self, hosts: Iterable[str]) -> None:
        """Of those that live, and have ever been wrong."""
        nodes = self._nodes
        wanted = [name for name in hosts if name in self._skews and nodes[name].alive and not nodes[name].paused]
        await _each(wanted, self._set_clock)

    async def _set_clock(self, name: str) -> None:
        """PlatformError if its clock is not where it was to be: it may be further ahead while it is slewed back, never less."""
        skew = self._skews[name]
        ahead = await self._line(name).set_clock(skew)
        if ahead < skew.now(self._now()) - CLOCK_READS_NS:
            raise PlatformError(f"{name}: its clock is {ahead / 1e9:.3f} s ahead, not {skew.now(self._now()) / 1e9:.3f} s")

    async def _spawn(self, name: str) -> None:
        state, node = self._state.hosts[name], self._nodes[name]
        state.node = await self._start(name)
        node.ended.clear()
        node.alive, node.wanted, node.paused = True, True, False
        node.control = self._line_to(name)

    async def _ready(self, name: str) -> None:
        try:
            await self._line(name).status(timeout_s=READY_S)
        except PlatformError as error:
            if name in self._died:
                how, *log = self._died[name].splitlines()
                raise PlatformError(f"{name}: its node {how}: {log[-1] if log else 'its log says nothing'}") from error
            raise

    async def _boot(self, name: str) -> None:
        state, node = self._state.hosts[name], self._nodes[name]
        past = self._histories.began(name, self._now())
        request = boot_request(
            self._plan,
            node.host,
            origin_ns=self._state.origin_ns,
            incarnation=state.incarnation,
            past=past,
            skew=self._skews.get(name, RIGHT),
        )
        await self._line(name).boot(request)
        node.watch = Watch(name, self._line(name), self._deliver)
        node.watching = asyncio.create_task(node.watch.run(), name=f"watch {name}")
        if self.beside is not None:
            node.tending = asyncio.create_task(self.beside.tend(name, self._line(name)), name=f"tend {name}")

    async def _send_workload(self, name: str) -> None:
        await self._line(name).start_workload([*self._workload.get(name, ()), *self._flood.get(name, ())])

    def _line_to(self, name: str) -> NodeControl:
        return NodeControl(name, Path(self._state.hosts[name].control_dir), self._tap)

    def _line(self, name: str) -> NodeControl:
        control = self._nodes[name].control
        if control is None:
            raise PlatformError(f"{name} is dead")
        return control

    # --- end, pause ---

    def kill(self, hosts: Iterable[str]) -> None:
        """SIGKILL, now; blocks for microseconds only (milliseconds where users' programs run). Lines and watches are let go by
        `bury`."""
        for name in hosts:
            process = self._state.hosts[name].node
            self._nodes[name].alive = self._nodes[name].wanted = False
            self._histories.ended(name, self._now())
            if process is not None:
                programs = self.programs(name)  # found by its session while it is there
                process.signal(signal.SIGKILL)
                self._kill_programs(name, programs)

    def programs(self, name: str) -> list[Process]:
        """Users' programs that the host's node has started, which share its session, or has had started. None where there are no
        services."""
        process = self._state.hosts[name].node
        beside = self.beside.processes(name) if self.beside is not None else []
        return [*process.session(), *beside] if process is not None and self._has_services else []

    def _kill_programs(self, name: str, programs: Iterable[Process]) -> None:
        """A process may have been forking while they were found: until there is none."""
        while found := [program for program in programs if program.signal(signal.SIGKILL)]:
            wait_gone(found, 1.0)
            programs = self.programs(name)

    def dismiss(self, hosts: Iterable[str]) -> None:
        """SIGTERM: they tell others and end by themselves. From now on they count as dead; what they still say is heard."""
        loop = asyncio.get_running_loop()
        for name in hosts:
            node, process = self._nodes[name], self._state.hosts[name].node
            node.alive = node.wanted = False
            if process is not None and process.signal(signal.SIGTERM):
                node.leaving = loop.create_task(self._see_out(name, process), name=f"leave {name}")
            else:
                self._histories.ended(name, self._now())

    async def _see_out(self, name: str, process: Process) -> None:
        """Until it has ended, which is brought about if it does not."""
        gone = await in_thread(lambda: wait_gone([process], LEAVES_S))
        if not gone:
            process.signal(signal.SIGKILL)
            self._died[name] = f"did not end within {LEAVES_S:.0f} s of being asked to leave, and was killed"
        self._histories.ended(name, self._now())
        await in_thread(lambda: self._kill_programs(name, self.programs(name)))
        await self._bury(name)

    def is_leaving(self, name: str) -> bool:
        """Whether it was asked to leave, and has not ended yet as far as known."""
        leaving = self._nodes[name].leaving
        return leaving is not None and not leaving.done()

    async def left(self, hosts: Iterable[str]) -> None:
        """Wait until those that were asked to leave have."""
        for name in hosts:
            leaving, self._nodes[name].leaving = self._nodes[name].leaving, None
            if leaving is not None:
                await leaving

    async def bury(self, hosts: Iterable[str]) -> None:
        """Let go of what belonged to dead nodes."""
        await _each(list(hosts), self._bury)

    async def gone(self, hosts: Iterable[str]) -> None:
        """Wait until dead hosts' processes have ended: from then on they write nothing."""
        names = list(hosts)
        await self.left(names)
        for name in names:
            async with asyncio.timeout(ENDED_S):
                await self._nodes[name].ended.wait()

    def lose_past(self, hosts: Iterable[str]) -> None:
        """What dead hosts know of their own."""
        for name in hosts:
            self._histories.lost(name)

    async def restart(self, hosts: Iterable[str]) -> None:
        """The next incarnation of dead hosts (the first of those that never ran), with the rest of their workload."""
        names = list(hosts)
        await self.gone(names)
        for name in names:
            self._state.hosts[name].incarnation += self._state.hosts[name].node is not None
        await self.spawn(names)
        await self.boot(names)
        await _each([name for name in names if name in self._workload or name in self._flood], self._send_workload)

    def paused(self, name: str, paused: bool) -> None:
        """It has been paused, or goes on."""
        self._nodes[name].paused = paused

    def address(self, name: str) -> str:
        return self._nodes[name].host.address

    def is_paused(self, name: str) -> bool:
        return self._nodes[name].paused

    def is_alive(self, name: str) -> bool:
        return self._nodes[name].alive

    def is_wanted(self, name: str) -> bool:
        """Whether this run wants it to live, dead or alive."""
        return self._nodes[name].wanted

    async def _bury(self, name: str) -> None:
        node = self._nodes[name]
        control, watch, tasks = node.control, node.watch, (node.watching, node.tending)
        node.control = node.watch = node.watching = node.tending = None
        node.status = control_pb2.StatusReply()
        for task in tasks:
            await _cancelled(task)
        if watch is not None:
            node.dropped_before += watch.dropped
        if control is not None:
            await control.close()

    def ended(self, name: str, status: int, why: str = "", log: str | None = None) -> None:
        """Its process has ended (`status` as os.waitstatus_to_exitcode gives it); news only if it was not we who ended it.

        `log`: its last lines, where they are not in its log's file.
        """
        node = self._nodes[name]
        node.ended.set()
        if node.leaving is not None and status != 0:
            self._died.setdefault(name, self._told_of_end(name, status, "when it was asked to leave", log))
        if not node.alive:
            return
        node.alive = node.paused = False
        self._kill_programs(name, self.programs(name))
        self._histories.ended(name, self._now())
        if name in self._returned:
            self._returned.remove(name)
        self._died[name] = self._told_of_end(name, status, f"({why})" if why else "", log)
        burying = asyncio.get_running_loop().create_task(self._bury(name))  # whoever waits for its answer waits in vain
        self._burying.add(burying)
        burying.add_done_callback(self._burying.discard)

    def _told_of_end(self, name: str, status: int, why: str, log: str | None) -> str:
        how = f"{ended_how(status)} {why}".rstrip()
        lines = log if log is not None else last_lines(Path(self._state.hosts[name].log), LAST_LINES)
        return "\n".join(part for part in (how, lines) if part)

    async def returned(self, name: str) -> None:
        """Somebody else has started this (dead) host again; `start` is asked to adopt its process, and it goes on as after
        a restart."""
        await self.bury([name])
        await self.restart([name])
        self._returned.append(name)

    # --- what they say ---

    def records(self) -> list[Record]:
        records = list(self._records)
        self._records.clear()
        if self._room is not None:
            self._room.set_result(None)
            self._room = None
        return records

    def died(self) -> dict[str, str]:
        died, self._died = self._died, {}
        return died

    def returned_hosts(self) -> list[str]:
        """Hosts that were started again by somebody else, since the last call."""
        returned, self._returned = self._returned, []
        return returned

    async def sample(self) -> None:
        """Ask every living host once and keep its figures as a record of kind "sample"."""
        names = [name for name, node in self._nodes.items() if node.alive and not node.paused]
        await _each(names, self._sample)

    async def live(self) -> dict[str, LiveHost]:
        await _each([name for name, node in self._nodes.items() if node.alive and not node.paused], self._ask)
        return {name: self._live_host(name, node) for name, node in self._nodes.items()}

    def lag_p99_ns(self) -> int:
        """How late nodes' timers fired, since the last call: the worst host's 99th percentile."""
        lags, self._lags = self._lags, []
        return max(lags, default=0)

    def notices_dropped(self) -> int:
        return sum(node.dropped_before + (node.watch.dropped if node.watch else 0) for node in self._nodes.values())

    async def metrics(self, name: str) -> str:
        return await self._line(name).metrics()

    async def _sample(self, name: str) -> None:
        if (status := await self._ask(name)) is not None and status.booted:
            figures: dict[str, Any] = {figure: getattr(status, figure) for figure in _SAMPLED}
            if status.spreads:
                figures["spread"] = {one.app: [one.links, one.copies, one.needless] for one in status.spreads}
            self._deliver([{"t": self._now(), "host": name, "kind": "sample", **figures}])

    async def _ask(self, name: str) -> control_pb2.StatusReply | None:
        """Its status; None if it does not answer in time: dying, as others will tell, or without a processor for so long."""
        node = self._nodes[name]
        if node.control is None:
            return None
        try:
            status = await node.control.status(STATUS_S)
        except PlatformError:
            if node.alive and not node.paused:
                self._lags.append(int(STATUS_S * 1e9))
            return None
        node.status = status
        self._lags.append(status.timer_lag_p99_ns)
        return status

    def _live_host(self, name: str, node: Node) -> LiveHost:
        status = node.status
        return LiveHost(
            name=name,
            alive=node.alive,
            paused=node.paused,
            is_agent=status.is_agent,
            agent=self._names.get(status.agent, ""),
            replica_of=tuple(status.replica_of),
            steward_of=tuple(status.steward_of),
            nodes=status.nodes,
            served=status.requests_served,
            routed=status.requests_routed,
            entries=status.entries,
        )

    def _deliver(self, records: list[dict[str, Any]]) -> asyncio.Future[None] | None:
        self._records.extend(records)
        if len(self._records) < MOST_RECORDS:
            return None
        if self._room is None:
            self._room = asyncio.get_running_loop().create_future()
        return self._room


async def _cancelled(task: asyncio.Task[None] | None) -> None:
    """It is over. Once may not be enough: of a call that ends at the same moment, gRPC tells the end and not the cancellation."""
    while task is not None and not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=CANCEL_AGAIN_S)
    if task is not None and not task.cancelled():
        task.result()  # raises what ended it


async def _each(items: Iterable[str], do: Callable[[str], Awaitable[T]]) -> None:
    """Do it for all, started in order, `AT_ONCE` at a time; the first error ends it and cancels the rest."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(item: str) -> None:
        async with places:
            await do(item)

    tasks = [asyncio.create_task(one(item)) for item in items]
    try:
        for task in tasks:
            await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
