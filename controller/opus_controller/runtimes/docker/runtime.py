"""`DockerRuntime`: a container a host, started a few at a time, wired, watched, and started again with the engine."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from opus_controller.model.errors import OpusError, PlatformError
from opus_controller.model.network import Network
from opus_controller.model.plan import Host, Plan
from opus_controller.model.shapes import NOTHING_TAKEN
from opus_controller.net import namespaces
from opus_controller.net.choose import Choice
from opus_controller.runtimes.docker import clean, keeper
from opus_controller.runtimes.docker.beside import Beside
from opus_controller.runtimes.docker.container import memory_of, nano_cpus_of, options, strained
from opus_controller.runtimes.docker.engine import Engine, Seen
from opus_controller.runtimes.docker.image import Image, find_image
from opus_controller.runtimes.docker.watch import EngineWatch
from opus_controller.runtimes.hosts import cgroups, services, shortage
from opus_controller.runtimes.hosts import state as states
from opus_controller.runtimes.hosts.control import Tap
from opus_controller.runtimes.hosts.machine import in_thread
from opus_controller.runtimes.hosts.nodes import LAST_LINES
from opus_controller.runtimes.hosts.processes import Process
from opus_controller.runtimes.hosts.runtime import HostsRuntime, there

AT_ONCE = 6
"""Containers being started: more do not go faster, since the engine's own work is what takes the time."""
TOLD_EVERY_S = 2.0
ENGINE_ENDS_S = 30.0
"""A host that died this long before the engine was lost, or less, ended with it: an engine that stops ends containers first."""

log = logging.getLogger(__name__)


class DockerRuntime(HostsRuntime):
    """See `HostsRuntime`. `engine`: where it listens; empty: where the environment says. `say` is told how starting goes on.

    The engine is the one who knows what runs. Its events say where to look, and `_settle` brings what we know and what is
    to be in line with what is there: a death is told, a host that somebody started again is wired and booted, one that
    this run has killed is killed again.
    """

    kind = "docker"

    def __init__(
        self,
        choice: Choice,
        *,
        mode: Literal["run", "up"] = "run",
        record: Path | None = None,
        tap: Tap | None = None,
        engine: str = "",
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        super().__init__(choice, mode=mode, record=record, tap=tap)
        self._url = engine
        self._say = say
        self._engine: Engine | None = None
        self._image: Image | None = None
        self._hosts: dict[str, Host] = {}
        self._watch: EngineWatch | None = None
        self._beside: Beside | None = None
        """Users' containers; None where there are none, or they are another process' affair."""
        self._places = asyncio.Semaphore(AT_ONCE)
        self._starting: set[str] = set()
        self._settling: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended_at: dict[str, float] = {}
        """When hosts died by themselves."""
        self._lost_at: float | None = None
        self._paused_by_engine: set[str] | None = None
        self._started = 0

    # --- up ---

    async def up(self, plan: Plan) -> None:
        await super().up(plan)
        if self._mode == "up":
            await self._hand_over()

    async def _hand_over(self) -> None:
        """From here on a process of its own watches the containers."""
        await self.nodes.stop_tending()
        await self._stop_watching_engine()
        self.state.keeper = await in_thread(lambda: keeper.start(self.state))
        self.state.save()

    def _check(self, plan: Plan) -> None:
        """The engine, the node's image, users' images, and programs that are to be in the node's."""
        self._engine = Engine.find(self._url)
        self._image = find_image(self._engine)
        for app, image in services.images(plan):
            if not self._engine.has_image(image):
                raise PlatformError(
                    f"{app}: its image {image} is not at {self._engine.url}; docker pull {image}, or docker build --tag {image}"
                )
        wanted = services.programs(plan)
        lacking = self._engine.lacking(self._image.tag, [word for _, word in wanted]) if wanted else []
        for app, word in wanted:
            if word in lacking:
                raise PlatformError(
                    f"{app}: its program {word} is not in the node's image {self._image.tag}; make that on a base that has it "
                    "(scripts/image.py --base IMAGE), or run an image of your own (image: in place of command:)"
                )

    def _lacking(self, plan: Plan) -> dict[str, str]:
        """What the engine says that it cannot do; it stops containers by the freezer."""
        freezer = {} if cgroups.has_freezer(Path("/proc/self/mountinfo").read_text()) else cgroups.missing("freezer")
        return {**freezer, **{name: text for limit in self.engine.unable for name, text in cgroups.missing(limit).items()}}

    def _beside_of(self, plan: Plan) -> Beside | None:
        if self._beside is None and services.images(plan):
            self._beside = Beside(plan, self.state, lambda: self.engine, self._left)
        return self._beside

    async def _make_hosts(self, plan: Plan, names: list[str]) -> dict[str, Any]:
        began = time.monotonic()
        self._hosts = {host.name: host for host in plan.hosts}
        self.state.engine = self.engine.url
        await in_thread(lambda: self._make_places(set(self.state.hosts) - set(names)))
        await self._watch_engine()
        wired = time.monotonic()
        telling = asyncio.create_task(self._tell_progress(len(names)))
        try:
            await self.nodes.spawn(names)
        finally:
            telling.cancel()
        self.state.save()
        return {
            "engine": {"url": self.engine.url, "version": self.engine.version, "storage": self.engine.storage},
            "image": {"tag": there(self._image).tag, "bytes": there(self._image).size},
            "start_s": {"wired": round(wired - began, 3), "spawned": round(time.monotonic() - wired, 3)},
        }

    def _make_places(self, absent: set[str]) -> None:
        """Blocks. Links, and for hosts that come later an empty namespace: their name is where probes and hands look."""
        self._make_links()
        namespaces.create(self.state.hosts[name].netns for name in sorted(absent))

    async def _tell_progress(self, of: int) -> None:
        told = 0
        while told < of:
            await asyncio.sleep(TOLD_EVERY_S)
            if self._started > told:
                told = self._started
                self._say(f"docker: {told} of {of} containers started")

    @property
    def engine(self) -> Engine:
        """Of a run that another process started: found when first asked for."""
        if self._engine is None:
            self._engine = Engine.find(self.state.engine)
        return self._engine

    async def _start_host(self, name: str) -> Process:
        """Make its container run, unless somebody else has done that, and join it to the links."""
        async with self._places:
            self._starting.add(name)
            try:
                process = await in_thread(lambda: self._run_container(name))
                async with self._linking:
                    await in_thread(lambda: self._wire(name, process))
                self._probes.renew([name], lambda host: self.state.hosts[host].netns)
                self._started += 1
                return process
            finally:
                self._starting.discard(name)
                asyncio.get_running_loop().call_soon(self._look, name)  # what happened meanwhile was not looked at

    def _run_container(self, name: str) -> Process:
        """Blocks. The container's first process."""
        host, engine = self.state.hosts[name], self.engine
        seen = engine.see(host.container) if host.container else None
        if seen is None:
            wanted = options(self.run, self._left(name), host, self.state.directory / "hosts", engine.cores)
            host.container = engine.create(there(self._image).tag, host.netns, wanted)
        if seen is None or not seen.running:
            engine.start(host.container)
            seen = engine.see(host.container)
        process = Process.of(seen.pid) if seen is not None and seen.running else None
        if seen is None or process is None:
            raise PlatformError(f"{name}: its container ended at once: {self._last_line(host.container)}")
        if not _is_of(process, host.container):
            raise PlatformError(
                f"the containers of {engine.url} are not processes of this machine (a virtual machine's engine?); "
                "use an engine that runs on this machine itself, or --runtime netns"
            )
        return process

    def _wire(self, name: str, process: Process) -> None:
        """Blocks. The container's namespace gets the host's name, and the host's shaped eth0."""
        netns = self.state.hosts[name].netns
        self.links.detach(name)
        namespaces.delete(netns)
        try:
            namespaces.adopt(netns, Path(f"/proc/{process.pid}/ns/net"))
            self.links.attach(name, namespaces.path_of(netns))
        except OSError as error:
            if process.alive():
                raise PlatformError(f"{name}: its container's network cannot be entered: {error}") from error
            raise PlatformError(
                f"{name}: its container ended at once: {self._last_line(self.state.hosts[name].container)}"
            ) from error

    def _last_line(self, container: str) -> str:
        lines = self.engine.logs(container, tail=1).decode(errors="replace").strip()
        return lines or "its log says nothing"

    async def _renew(self, names: list[str]) -> None:
        """A container that starts again has a new namespace anyway."""

    # --- faults ---

    async def crash(self, hosts: Iterable[str]) -> None:
        names = list(hosts)
        await super().crash(names)
        await self._thaw(names)

    async def power_off(self, hosts: Iterable[str], network: Network) -> None:
        names = list(hosts)
        await super().power_off(names, network)
        await self._thaw(names)

    async def _pause(self, hosts: list[str], *, paused: bool) -> None:
        """By the engine: all of a container's processes, whatever they are."""

        async def change(container: str) -> None:
            await in_thread(lambda: self.engine.pause(container, paused=paused))

        for name in hosts:
            if self.nodes.is_alive(name):
                self.nodes.paused(name, paused)
        await asyncio.gather(*map(change, await self._containers_of(hosts)))

    async def _containers_of(self, hosts: list[str]) -> list[str]:
        """Their own, and those beside them, whichever process has had these started."""
        own = [self.state.hosts[name].container for name in hosts]
        if not hosts or not services.images(self.state.plan()):
            return own
        beside = await in_thread(lambda: self.engine.beside(self.run))
        return own + [seen.identity for (host, _), seen in beside.items() if host in hosts and seen.running]

    async def _thaw(self, names: list[str]) -> None:
        """What is killed while it is paused dies when it goes on."""
        await self._pause([name for name in names if self.nodes.is_paused(name)], paused=False)
        for name in names:
            self.nodes.paused(name, False)

    def _left(self, name: str) -> Host:
        """The host with what strains leave of it."""
        return strained(self._hosts[name], self._strains.get(name, NOTHING_TAKEN))

    def _limit(self, names: Iterable[str]) -> None:
        """By the engine, so that a container that somebody starts again is limited too; those beside it as well. What the kernel
        has made of it is read back."""
        beside = self.engine.beside(self.run) if services.images(self.state.plan()) else {}
        for name in names:
            left = self._left(name)
            cpus, memory = nano_cpus_of(left, self.engine.cores), memory_of(left)
            of_host = [seen.identity for (host, _), seen in beside.items() if host == name]
            for container in filter(None, (self.state.hosts[name].container, *of_host)):
                self._limit_container(name, container, cpus, memory)
            cgroups.hold(self._cgroups_of(name), cpus / 1e9, memory)

    def _limit_container(self, host: str, container: str, cpus: int, memory: int) -> None:
        """What needs more memory than is left is ended where the kernel does not do so itself."""
        try:
            self.engine.limit(container, cpus, memory)
        except shortage.MemoryInUse:
            seen = self.engine.see(container)
            inside = [] if seen is None or not seen.pid else _cgroups_of_pid(seen.pid)
            shortage.lower(inside, lambda: self.engine.limit(container, cpus, memory), f"{host}: {memory} bytes of memory")

    def _cgroups_of(self, name: str) -> list[str]:
        """The engine makes them anew with every start of the container; none where they cannot be seen, or it does not run."""
        process = self.state.hosts[name].node
        return [] if process is None or not process.alive() else _cgroups_of_pid(process.pid)

    def _is_paused(self, name: str) -> bool:
        if self._paused_by_engine is None:
            self._paused_by_engine = {host for host, seen in self.engine.of_run(self.run).items() if seen.paused}
        return name in self._paused_by_engine

    # --- what the engine says ---

    async def keep(self) -> None:
        """Of a testbed that another process has brought up: watch its containers until the run is gone or this is cancelled."""
        self.state.keeper = Process.own()  # the owner says so, too, but later than our state was read
        self._hosts = {host.name: host for host in self.state.plan().hosts}
        self._image = await in_thread(lambda: find_image(self.engine))
        await self._watch_engine()
        log.info("%s %s", keeper.READY, self.run)
        for name in self._hosts:
            self._look(name)
        self.nodes.beside = self._beside_of(self.state.plan())
        self.nodes.tend()
        while self.state.directory.exists():  # noqa: ASYNC110  (what goes is a directory)
            await asyncio.sleep(1.0)

    async def _watch_engine(self) -> None:
        loop = asyncio.get_running_loop()

        def tell(what: Callable[..., None], *arguments: str) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(what, *arguments)

        self._watch = EngineWatch(
            self.engine,
            self.run,
            look=lambda host: tell(self._look, host),
            gone=lambda: tell(self._engine_lost),
            back=lambda: tell(self._engine_back),
        )
        await in_thread(self._watch.start)

    def _look(self, name: str) -> None:
        if name in self.state.hosts and self._watch is not None:
            self._do(self._settle(name))
            if self._beside is not None:
                self._beside.look(name)

    def _engine_lost(self) -> None:
        self._lost_at = time.monotonic()

    def _engine_back(self) -> None:
        self._do(self._recover())

    def _do(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle(self, name: str) -> None:
        """Bring what is known of this host, and what it is to be, in line with what runs."""
        async with self._settling[name]:
            try:
                await self._settle_now(name)
            except (OpusError, OSError, TimeoutError) as error:  # its death, if that is what it is, comes as news of its own
                log.warning("%s: %s: %s", self.run, name, error or type(error).__name__)

    async def _settle_now(self, name: str) -> None:
        host, nodes = self.state.hosts[name], self.nodes
        if name in self._starting or not host.container or self._watch is None:
            return
        known = host.node
        seen = await in_thread(lambda: self.engine.see(host.container))
        if name in self._starting or known is not host.node or self._watch is None:
            return  # it is being started, and looked at again after that
        if known is not None and not known.alive() and seen is not None and seen.running and seen.pid == known.pid:
            return  # the engine has not noticed yet; when it has, it says so ("die"), and how
        if known is not None and not known.alive():
            await self._note_end(name, seen)
        if seen is None or not seen.running:
            return
        if nodes.is_alive(name):
            nodes.paused(name, seen.paused)
        elif self._is_missing(name):
            log.warning("%s: %s was started again: it is wired, shaped and booted again", self.run, name)
            await nodes.returned(name)
            self.state.save()
        elif not nodes.is_leaving(name) and (stray := Process.of(seen.pid)) is not None:
            log.warning("%s: %s was started again, but this run has killed it: killed again", self.run, name)
            stray.signal(signal.SIGKILL)

    async def _note_end(self, name: str, seen: Seen | None) -> None:
        """Its process is gone: an end that we wanted, or news."""
        if self.nodes.is_alive(name):
            self._ended_at[name] = time.monotonic()
        if seen is None:
            self.nodes.ended(name, -signal.SIGKILL, "its container was removed", "")
            self.state.hosts[name].container = ""
            return
        if seen.running and self.nodes.is_alive(name):  # the engine has started the next one already
            status, why = -signal.SIGKILL, "and was started again at once"
        else:
            limit = f"{self._memory(name) >> 20} MiB"
            status, why = seen.exit_status, f"out of memory, its limit is {limit}" if seen.out_of_memory else ""
        lines = await in_thread(lambda: self.engine.logs(seen.identity, tail=LAST_LINES))
        self.nodes.ended(name, status, why, lines.decode(errors="replace").strip())

    def _memory(self, name: str) -> int:
        return memory_of(self._left(name))

    async def _recover(self) -> None:
        """The engine is back: what ended by itself is told, and what ended with the engine is started again."""
        lost, self._lost_at = self._lost_at, None
        await asyncio.gather(*(self._settle(name) for name in self.state.hosts))
        for name in self.state.hosts:
            self._look(name)
        for name, ended in list(self._ended_at.items()):
            if lost is not None and ended >= lost - ENGINE_ENDS_S and self._is_missing(name):
                log.warning("%s: %s ended with the engine: started again", self.run, name)
                self._do(self._start_again(name))

    async def _start_again(self, name: str) -> None:
        async with self._settling[name]:
            try:
                if self._is_missing(name):
                    await self.nodes.returned(name)
                    self.state.save()
            except (OpusError, OSError, TimeoutError) as error:
                log.warning("%s: %s cannot be started again: %s", self.run, name, error or type(error).__name__)

    def _is_missing(self, name: str) -> bool:
        return self.nodes.is_wanted(name) and not self.nodes.is_alive(name)

    # --- down ---

    async def _stop_speaking(self) -> None:
        await self._stop_watching_engine()
        if self._engine is not None:
            await in_thread(self._engine.close)

    async def _stop_watching_engine(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            await in_thread(watch.stop)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._beside is not None:
            await self._beside.stop()

    async def _end_hosts(self) -> None:
        await self._stop_watching_engine()
        if self._engine is not None:
            await in_thread(self._keep_container_logs)

    def _keep_container_logs(self) -> None:
        """Into the run's directory, where those of other runtimes are."""
        if not self.state.record:
            return
        logs = Path(self.state.record) / "logs"
        logs.mkdir(exist_ok=True)
        if self._beside is not None:
            self._beside.keep_logs()

        def keep(host: states.HostState) -> None:
            with suppress(OSError, PlatformError):
                Path(host.log).write_bytes(self.engine.logs(host.container))

        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(keep, [host for host in self.state.hosts.values() if host.container]))

    def _remove_rest(self, state: states.RunState) -> list[str]:
        left = clean.remove(state.run, self._engine.url if self._engine is not None else state.engine).left
        if self._engine is not None:
            self._engine.close()
        return left


def _is_of(process: Process, container: str) -> bool:
    """Whether the process belongs to this container: its cgroups carry the container's identity."""
    try:
        return container in Path(f"/proc/{process.pid}/cgroup").read_text()
    except OSError:
        return not process.alive()  # it has ended meanwhile, which is said elsewhere


def _cgroups_of_pid(pid: int) -> list[str]:
    """None if there is no such process any more."""
    mounts = cgroups.find_mounts(Path("/proc/self/mountinfo").read_text())
    try:
        return cgroups.of_process(Path(f"/proc/{pid}/cgroup").read_text(), mounts)
    except OSError:
        return []
