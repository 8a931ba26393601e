"""Users' images as containers beside their nodes' own: the node says what it wants, this makes it so and says what is.

    node --ContainerWanted--> Beside: created, started, stopped, removed --ContainerSeen--> node

Nothing here decides what runs where: a container lives as long as its node wants it, and its node lives. It shares the network of
the node's container, so that either finds the other on 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
from opus_proto.v1 import control_pb2

from opus_controller.model.errors import OpusError, PlatformError
from opus_controller.model.plan import Host, Plan
from opus_controller.runtimes.docker import container
from opus_controller.runtimes.docker.engine import START_LABEL, Engine, Seen
from opus_controller.runtimes.hosts import cgroups
from opus_controller.runtimes.hosts.control import NodeControl
from opus_controller.runtimes.hosts.machine import in_thread
from opus_controller.runtimes.hosts.processes import Process, ended_how
from opus_controller.runtimes.hosts.state import RunState

METER_S = 1.0
"""Between two words to a node of what its container has consumed."""
AGAIN_S = 0.2
"""Between two streams to a node."""
GRACE_S = 3
"""From the image's own stop signal (SIGTERM unless it says otherwise) to SIGKILL, as for programs without an image."""
LOG_MOST = 1 << 20
"""Bytes of a service's output kept of each host."""

log = logging.getLogger(__name__)


@dataclass
class _Here:
    """A container that runs."""

    start: int
    identity: str
    process: Process


@dataclass
class _Session:
    """One life of a node, from its boot until it is let go of."""

    control: NodeControl
    incarnation: int
    wanted: dict[str, int] = field(default_factory=dict)
    """App to start; 0: none."""
    seen: dict[str, control_pb2.ContainerSeen] = field(default_factory=dict)
    """The last word about each app."""
    stream: Any = None
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """To the stream, one word at a time."""


class Beside:
    """Of all hosts of a run. All in one event loop; the engine is spoken with in threads."""

    def __init__(self, plan: Plan, state: RunState, engine: Callable[[], Engine], left: Callable[[str], Host]) -> None:
        self._services = {app.name: app.service for app in plan.apps if app.service is not None and app.service.image}
        self._left = left
        """By name: a host with what strains leave of it now."""
        self._state = state
        self._engine = engine
        self._sessions: dict[str, _Session] = {}
        self._here: dict[tuple[str, str], _Here] = {}
        self._settling: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tasks: set[asyncio.Task[None]] = set()

    # --- what the runtime asks ---

    async def tend(self, host: str, control: NodeControl) -> None:
        """Do what this node wants, through broken streams, until cancelled: from then on it wants nothing more of us."""
        session = self._sessions[host] = _Session(control, self._state.hosts[host].incarnation)
        try:
            while True:
                with suppress(grpc.aio.AioRpcError, grpc.aio.UsageError):
                    await self._listen(host, session)
                await asyncio.sleep(AGAIN_S)
        finally:
            if self._sessions.get(host) is session:
                del self._sessions[host]

    def processes(self, host: str) -> list[Process]:
        """The first process of each container beside the host's own; with it the container ends."""
        return [here.process for (of, _), here in self._here.items() if of == host]

    def look(self, host: str) -> None:
        """The engine has news of this host's containers."""
        for of, app in list(self._here):
            if of == host:
                self._do(self._settle(of, app))

    async def stop(self) -> None:
        """Nothing is done any more."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- a node's stream ---

    async def _listen(self, host: str, session: _Session) -> None:
        stream = session.stream = session.control.containers()
        try:
            async with session.writing:
                for seen in list(session.seen.values()):
                    await session.control.tell_container(stream, seen)
            while (wanted := await stream.read()) is not grpc.aio.EOF:
                session.wanted[wanted.app] = wanted.start
                self._do(self._settle(host, wanted.app))
        finally:
            session.stream = None
            stream.cancel()

    async def _say(
        self, session: _Session, app: str, start: int, state: str, why: str = "", core_time_ns: int | None = None
    ) -> None:
        seen = session.seen[app] = control_pb2.ContainerSeen(
            app=app, start=start, state=state, why=why, core_time_ns=core_time_ns
        )
        async with session.writing:
            if session.stream is None:
                return
            with suppress(grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError):  # the next stream begins with it
                await session.control.tell_container(session.stream, seen)

    # --- what is wanted and what is ---

    def _do(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle(self, host: str, app: str) -> None:
        """Bring what is in line with what is wanted now. One at a time for each; the engine's refusals are the node's news."""
        async with self._settling[host, app]:
            session = self._sessions.get(host)
            wanted = session.wanted.get(app, 0) if session is not None else 0
            try:
                here = await self._as_it_is(host, app, session)
                if here is not None and (session is None or here.start == wanted):
                    return
                if here is not None:
                    await self._end(host, app, session, here)
                if session is not None and wanted and not _is_over(session.seen.get(app), wanted):
                    await self._begin(host, app, session, wanted)
            except (OpusError, OSError, TimeoutError) as error:
                log.warning("%s: %s beside %s: %s", self._state.run, app, host, error or type(error).__name__)
                if session is not None and wanted:
                    await self._say(session, app, wanted, "failed", str(error) or type(error).__name__)

    async def _as_it_is(self, host: str, app: str, session: _Session | None) -> _Here | None:
        """The container, if it runs; told, kept the log of and removed if it has ended."""
        here = self._here.get((host, app))
        if here is None:
            return None
        seen = await in_thread(lambda: self._engine().see(here.identity))
        if seen is not None and seen.running and seen.pid == here.process.pid:
            return here
        self._here.pop((host, app), None)
        last = await in_thread(lambda: self._take_away(host, app, here.identity))
        if session is not None:
            await self._say(session, app, here.start, "ended", self._how(host, seen, last))
        return None

    async def _end(self, host: str, app: str, session: _Session | None, here: _Here) -> None:
        await in_thread(lambda: self._engine().stop(here.identity, GRACE_S))
        self._here.pop((host, app), None)
        await in_thread(lambda: self._take_away(host, app, here.identity))
        if session is not None:
            await self._say(session, app, here.start, "ended", "stopped")

    async def _begin(self, host: str, app: str, session: _Session, start: int) -> None:
        here = self._here[host, app] = await in_thread(lambda: self._run(host, app, session.incarnation, start))
        if self._sessions.get(host) is not session:  # the node has died meanwhile, and nothing may outlive it
            self._here.pop((host, app), None)
            await in_thread(lambda: self._take_away(host, app, here.identity))
            return
        await self._say(session, app, start, "running")
        self._do(self._meter(host, app, session, here))
        if session.wanted.get(app, 0) != start:
            self._do(self._settle(host, app))

    async def _meter(self, host: str, app: str, session: _Session, here: _Here) -> None:
        """Tells the node what this container consumes while it runs: the node cannot look into it."""
        while True:
            await asyncio.sleep(METER_S)
            consumed = cgroups.core_time(here.process.pid)
            if consumed is None or self._here.get((host, app)) is not here or self._sessions.get(host) is not session:
                return
            await self._say(session, app, here.start, "running", core_time_ns=consumed)

    def _run(self, host: str, app: str, incarnation: int, start: int) -> _Here:
        """Blocks. One that runs already is taken over: another process of ours has started it for this very node."""
        engine, label = self._engine(), f"{incarnation}/{start}"
        found = engine.beside(self._state.run).get((host, app))
        if found is not None and found.running and engine.label(found.identity, START_LABEL) == label:
            identity = found.identity
        else:
            if found is not None:
                self._take_away(host, app, found.identity)
            identity = self._create(host, app, label)
            engine.start(identity)
        seen = engine.see(identity)
        process = Process.of(seen.pid) if seen is not None and seen.running else None
        if process is None:
            raise PlatformError(self._how(host, seen, self._take_away(host, app, identity)))
        return _Here(start, identity, process)

    def _create(self, host: str, app: str, label: str) -> str:
        engine, state, service = self._engine(), self._state.hosts[host], self._services[app]
        hosts = self._state.directory / "hosts"
        wanted = container.options_beside(self._state.run, app, label, service, self._left(host), state, hosts, engine.cores)
        return engine.create(service.image, container.name_beside(state.netns, app), wanted)

    def _how(self, host: str, seen: Seen | None, last: str) -> str:
        """How it ended, in the words of a program's end, and the last it said."""
        if seen is None:
            how = "its container was removed"
        elif seen.out_of_memory:
            how = f"ended out of memory, its limit is {container.memory_of(self._left(host)) >> 20} MiB"
        else:
            how = ended_how(seen.exit_status)
        return f"{how}: {last}" if last else how

    def _take_away(self, host: str, app: str, identity: str) -> str:
        """Blocks. Keep its log, remove it; the last line of the log."""
        said = self._engine().logs(identity)
        self._engine().remove(identity)
        self._keep(host, app, said)
        lines = said.decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""

    def _keep(self, host: str, app: str, said: bytes) -> None:
        path = Path(self._state.hosts[host].log).with_suffix(f".{app}.log")
        with suppress(OSError):
            path.parent.mkdir(exist_ok=True)
            with path.open("ab") as file:
                file.write(said[: max(0, LOG_MOST - file.tell())])

    def keep_logs(self) -> None:
        """Blocks. Of what still runs, before the run removes it."""
        for (host, app), here in list(self._here.items()):
            with suppress(PlatformError):
                self._keep(host, app, self._engine().logs(here.identity))


def _is_over(seen: control_pb2.ContainerSeen | None, start: int) -> bool:
    """Whether this start has been told ended, or failed: it is not begun again."""
    return seen is not None and seen.start == start and seen.state != "running"
