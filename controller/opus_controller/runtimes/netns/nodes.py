"""The hosts' processes: spawned by the zygote, booted and watched over their control sockets, ended by signals."""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from opus_proto.v1 import control_pb2

from opus_controller.engine.runtime import LiveHost, Record
from opus_controller.model.errors import PlatformError
from opus_controller.model.history import Histories
from opus_controller.model.plan import Host, Plan, Workload
from opus_controller.net.namespaces import path_of
from opus_controller.runtimes.netns.control import NodeControl, Tap, Watch, boot_request
from opus_controller.runtimes.netns.machine import last_lines
from opus_controller.runtimes.netns.processes import Process
from opus_controller.runtimes.netns.state import RunState
from opus_controller.runtimes.netns.zygote import Zygote

T = TypeVar("T")

AT_ONCE = 64
"""Hosts spoken with at the same time: enough to keep two cores busy, few enough for no call to wait long."""
MOST_RECORDS = 500_000
"""Records kept for the player; beyond that the nodes' own (bounded, counting) buffers hold them."""
STATUS_S = 3.0
ENDED_S = 20.0
"""For a killed process to be gone."""
NODE_PORT = 7000
_SAMPLED = (
    *("entries", "state_bytes", "is_agent", "nodes", "requests_served", "requests_routed"),
    *("control_bytes_sent", "control_bytes_received", "queue_dropped"),
)


@dataclass
class Node:
    """One host's process, and what is known of it."""

    host: Host
    control: NodeControl | None = None
    watch: Watch | None = None
    watching: asyncio.Task[None] | None = None
    alive: bool = False
    paused: bool = False
    status: control_pb2.StatusReply = field(default_factory=control_pb2.StatusReply)
    """The last one."""
    dropped_before: int = 0
    """Notices lost by its earlier incarnations."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while it has no process, as the zygote sees it: only then can the next one be forked."""


class Nodes:
    """All nodes of a run."""

    def __init__(self, plan: Plan, state: RunState, now: Callable[[], int], tap: Tap | None) -> None:
        self._plan = plan
        self._state = state
        self._now = now
        self._tap = tap
        self._names = {host.address: host.name for host in plan.hosts}
        self._nodes = {host.name: Node(host) for host in plan.hosts}
        for node in self._nodes.values():
            node.ended.set()
        self._histories = Histories(plan)
        self._workload: dict[str, list[Workload]] = {}
        self._records: deque[Record] = deque()
        self._room: asyncio.Future[None] | None = None
        self._died: dict[str, str] = {}
        self._lags: list[int] = []
        self.zygote = Zygote(state.directory, self._ended)

    # --- start ---

    async def spawn(self, hosts: Iterable[str]) -> None:
        """Fork a process into each host's namespace and wait until it can be spoken with."""
        names = list(hosts)
        await _each(names, self._spawn)
        await _each(names, self._ready)

    async def boot(self, hosts: Iterable[str]) -> None:
        """Hosts in the plan's order; from here on they are in the overlay and watched."""
        wanted = set(hosts)
        await _each([name for name in self._nodes if name in wanted], self._boot)

    async def adopt(self) -> None:
        """Speak with the nodes of a run that another process started; nothing is watched."""
        for name, node in self._nodes.items():
            process = self._state.hosts[name].node
            node.alive = process is not None and process.alive()
            node.paused = node.alive and process is not None and _is_stopped(process)
            if node.alive:
                node.control = self._line_to(name)

    async def start_workload(self, workload: Iterable[Workload]) -> None:
        for load in workload:
            self._workload.setdefault(load.client, []).append(load)
        await _each([name for name in self._workload if self._nodes[name].alive], self._send_workload)

    async def _spawn(self, name: str) -> None:
        state, node = self._state.hosts[name], self._nodes[name]
        pid = await self.zygote.spawn(
            name,
            {
                "netns": str(path_of(state.netns)),
                "uid": state.uid,
                "gid": state.uid,
                "control_dir": state.control_dir,
                "listen": f"{node.host.address}:{NODE_PORT}",
                "log": state.log,
                "cgroups": state.cgroups,
            },
        )
        state.node = Process.of(pid)
        node.ended.clear()
        node.alive, node.paused = state.node is not None, False
        if state.node is None:
            raise PlatformError(f"{name}: its node ended at once: {last_lines(Path(state.log), 1) or 'it left no log'}")
        node.control = self._line_to(name)

    async def _ready(self, name: str) -> None:
        await self._line(name).status(timeout_s=60.0)

    async def _boot(self, name: str) -> None:
        state, node = self._state.hosts[name], self._nodes[name]
        past = self._histories.began(name, self._now())
        request = boot_request(self._plan, node.host, origin_ns=self._state.origin_ns, incarnation=state.incarnation, past=past)
        await self._line(name).boot(request)
        node.watch = Watch(name, self._line(name), self._deliver)
        node.watching = asyncio.create_task(node.watch.run(), name=f"watch {name}")

    async def _send_workload(self, name: str) -> None:
        await self._line(name).start_workload(self._workload.get(name, ()))

    def _line_to(self, name: str) -> NodeControl:
        return NodeControl(name, Path(self._state.hosts[name].control_dir), self._tap)

    def _line(self, name: str) -> NodeControl:
        control = self._nodes[name].control
        if control is None:
            raise PlatformError(f"{name} is dead")
        return control

    # --- end, pause ---

    def kill(self, hosts: Iterable[str]) -> None:
        """SIGKILL, now; blocks for microseconds only. Lines and watches are let go by `bury`."""
        for name in hosts:
            process = self._state.hosts[name].node
            self._nodes[name].alive = False
            self._histories.ended(name, self._now())
            if process is not None:
                process.signal(signal.SIGKILL)

    async def bury(self, hosts: Iterable[str]) -> None:
        """Let go of what belonged to dead nodes."""
        await _each(list(hosts), self._bury)

    async def restart(self, hosts: Iterable[str]) -> None:
        """The next incarnation of dead hosts (the first of those that never ran), with the rest of their workload."""
        names = list(hosts)
        for name in names:
            await asyncio.wait_for(self._nodes[name].ended.wait(), ENDED_S)
            self._state.hosts[name].incarnation += self._state.hosts[name].node is not None
        await self.spawn(names)
        await self.boot(names)
        await _each([name for name in names if name in self._workload], self._send_workload)

    def pause(self, hosts: Iterable[str], *, paused: bool) -> None:
        for name in hosts:
            process = self._state.hosts[name].node
            if process is not None and process.signal(signal.SIGSTOP if paused else signal.SIGCONT):
                self._nodes[name].paused = paused

    async def close(self) -> None:
        await self.bury(self._nodes)
        await self.zygote.quit()
        await self.zygote.close()

    async def _bury(self, name: str) -> None:
        node = self._nodes[name]
        if node.watching is not None:
            node.watching.cancel()
            with suppress(asyncio.CancelledError):
                await node.watching
        if node.watch is not None:
            node.dropped_before += node.watch.dropped
        if node.control is not None:
            await node.control.close()
        node.control = node.watch = node.watching = None
        node.status = control_pb2.StatusReply()

    def _ended(self, name: str, status: int) -> None:
        """The zygote says so; news only if it was not we who ended it."""
        node = self._nodes[name]
        node.ended.set()
        if not node.alive:
            return
        node.alive = False
        self._histories.ended(name, self._now())
        how = f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with exit code {status}"
        log = last_lines(Path(self._state.hosts[name].log))
        self._died[name] = f"{how}\n{log}" if log else how

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
            figures = {figure: getattr(status, figure) for figure in _SAMPLED}
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


def _is_stopped(process: Process) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{process.pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"T"
    return False


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
