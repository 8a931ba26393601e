"""One node as a process has it: nothing but its control socket until `boot`, then transport, core and clients together."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType

from opus_node.clients import Clients
from opus_node.clock import ClockTold
from opus_node.core.budget import meter_every
from opus_node.core.departure import MOST, SENT_BY
from opus_node.core.events import Boot, Leave, Metered, Notice, RoleChanged, Snapshot, Wake
from opus_node.core.types import SECOND, AppId, Nanos, NodeConfig, NodeId
from opus_node.driver import Core, Driver
from opus_node.errors import LocalError
from opus_node.folds import NodeFold
from opus_node.lag import LagMeter
from opus_node.metrics import NodeMetrics
from opus_node.services.hosted import Services
from opus_node.services.spec import ServiceSpec, ServiceStats
from opus_node.sizes import MAX_PAYLOAD
from opus_node.transport import PORT, Transport, TransportSettings, TransportStats
from opus_node.workload import WorkloadSpec

log = logging.getLogger(__name__)

LEAVES_S = MOST / SECOND
SENT_S = SENT_BY / SECOND
TOLD_S = 1.0
"""For a watcher to fetch the last notices: it gathers them for a fifth of a second."""
LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class BootSpec:
    """Everything a node is told at boot, by the field names of control.proto's `BootRequest`."""

    node_id: NodeId
    seed: str
    origin_ns: Nanos
    """CLOCK_MONOTONIC of the run's origin."""
    incarnation: int
    seeds: tuple[NodeId, ...]
    config: NodeConfig
    services: tuple[ServiceSpec, ...] = ()
    clock: ClockTold | None = None
    """None: right."""

    @property
    def rng(self) -> Random:
        """The node's one generator: from the run's seed, its identity and, after a restart, which start it is."""
        name = f"{self.seed}/{self.node_id}"
        return Random(name if self.incarnation == 0 else f"{name}/{self.incarnation}")


def overlay_core(spec: BootSpec) -> Core:
    """Opus' own overlay, or the one that is to be compared with it."""
    from opus_node.baselines import core_of

    return core_of(spec.node_id, spec.config, spec.rng)


@dataclass(slots=True)
class Booted:
    """The parts of a node that has been booted."""

    spec: BootSpec
    transport: Transport
    driver: Driver
    clients: Clients
    metrics: NodeMetrics
    services: Services


class NodeProcess:
    """`ended` is done when the process should end: None if asked to, or the exception that broke the node."""

    def __init__(
        self,
        listen: str = "0.0.0.0",
        port: int = PORT,
        make_core: Callable[[BootSpec], Core] = overlay_core,
        settings: TransportSettings | None = None,
        directory: Path | None = None,
    ) -> None:
        """`directory`: on the host's disk, for users' services; without one it can have none."""
        self.ended: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self._listen = listen
        self._port = port
        self._make_core = make_core
        self._settings = settings or TransportSettings()
        self._directory = directory
        self._booting = False
        self._booted: Booted | None = None
        self._services: Services | None = None
        self._serving: set[tuple[str, AppId]] = set()
        self._meter_timer: asyncio.TimerHandle | None = None
        self._leaving: asyncio.Task[None] | None = None

    async def boot(self, spec: BootSpec) -> None:
        """Listen, then join. LocalError if it was booted before, or cannot listen."""
        if self._booting:
            raise LocalError("booted already")
        self._booting = True
        try:
            await self._boot(spec)
        except LocalError:
            self._booting = False  # it may be told better
            raise

    @property
    def booted(self) -> Booted:
        """LocalError before boot."""
        if self._booted is None:
            raise LocalError("not booted yet")
        return self._booted

    @property
    def is_booted(self) -> bool:
        return self._booted is not None

    def start_workload(self, specs: Iterable[WorkloadSpec]) -> None:
        """Replace the clients' workloads. LocalError for an application nobody told it of, or sizes beyond the limit."""
        booted = self.booted
        apps = {app.name for app in booted.spec.config.apps}
        wanted = list(specs)
        for spec in wanted:
            if spec.app not in apps:
                raise LocalError(f"no application {spec.app!r}; there are {sorted(apps)}")
            if not (0 <= spec.request_bytes <= MAX_PAYLOAD and 0 <= spec.reply_bytes <= MAX_PAYLOAD):
                raise LocalError(f"{spec.app}: requests and replies may have at most {MAX_PAYLOAD} bytes")
        booted.clients.start(wanted)

    def set_clock(self, told: ClockTold) -> Nanos:
        """Of this host, from now on; how far it is ahead of the testbed's. LocalError before boot."""
        driver = self.booted.driver
        ahead = driver.set_clock(told)
        driver.feed(Wake())  # much may be due at once, or later than it was
        return ahead

    def end(self) -> None:
        """End the process in good order."""
        if not self.ended.done():
            self.ended.set_result(None)

    def leave(self) -> None:
        """End the process in good order when others know of it and all it has said is sent, or a few seconds later in any case;
        asked once more, or not booted: at once."""
        if self._leaving is not None or self._booted is None:
            self.end()
        elif not self.ended.done():
            log.info("asked to leave")
            self._leaving = asyncio.get_running_loop().create_task(self._leave(self._booted), name="leave")

    async def _leave(self, booted: Booted) -> None:
        driver = booted.driver
        booted.clients.stop()
        try:
            driver.feed(Leave())
        except Exception:  # noqa: BLE001  (reported, and the process ends by it)
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(driver.left.wait(), LEAVES_S + SENT_S)
        await _until(lambda: booted.transport.queued()[0] == 0, SENT_S)
        await _until(lambda: not driver.notices.unsent, TOLD_S)
        self.end()

    async def close(self) -> None:
        if self._booted is not None:
            self._booted.clients.stop()
            if self._meter_timer is not None:
                self._meter_timer.cancel()
            await self._booted.services.stop()
            self._booted.driver.stop()
            await self._booted.transport.stop()

    async def _boot(self, spec: BootSpec) -> None:
        transport = Transport(
            spec.node_id,
            lambda source, message: driver.receive(source, message),
            lambda peer: driver.unreachable(peer),
            self._settings,
            self._port,
            self._fail,
            lambda: driver.lag.recent(driver.now()) / SECOND,
        )
        apps = [app.name for app in spec.config.apps]
        driver = Driver(
            spec.node_id,
            self._make_core(spec),
            transport,
            spec.origin_ns,
            self._fail,
            self._notice,
            apps,
            lambda serve: services.serve(serve),
            lambda reply: services.reply(reply),
        )
        if spec.services and self._directory is None:
            raise LocalError("services need a directory of the host's, and this node was given none")
        services = self._services = Services(spec.services, self._directory or Path(), driver, self._fail)
        transport.bind(self._listen)
        try:
            await services.start()
        except LocalError:
            await services.stop()
            await transport.stop()
            raise
        if spec.clock is not None:
            driver.set_clock(spec.clock)
        driver.feed(Boot(spec.seeds, spec.incarnation))  # the core's first event; peers are heard after it
        await transport.start()
        clients = Clients(driver, {service.app: service.asker for service in spec.services})
        self._booted = Booted(spec, transport, driver, clients, NodeMetrics(_Source(driver, transport, services)), services)
        self._allow_links()
        self._meter(driver, transport, meter_every(spec.config))
        signal.signal(signal.SIGCONT, self._resumed)
        log.info("booted as %s, incarnation %d", spec.node_id, spec.incarnation)

    def _meter(self, driver: Driver, transport: Transport, every: Nanos) -> None:
        """What the node has cost so far, told to its core: at once, and from then on."""
        stats = transport.stats
        driver.feed(Metered(stats.control_bytes_sent + stats.control_bytes_received))
        self._meter_timer = driver.call_at(driver.now() + every, lambda: self._meter(driver, transport, every))

    def _resumed(self, number: int, frame: FrameType | None) -> None:
        """SIGCONT. A plain handler, since it runs before the event loop gets to the timers that the pause made late."""
        if self._booted is not None:
            self._booted.driver.lag.resumed(self._booted.driver.now())

    def _notice(self, notice: Notice) -> None:
        if self._services is not None:
            self._services.notice(notice)
        if isinstance(notice, RoleChanged) and notice.role in ("agent", "replica"):
            role = (notice.role, notice.app)
            if notice.active:
                self._serving.add(role)
            else:
                self._serving.discard(role)
            self._allow_links()

    def _allow_links(self) -> None:
        """Agents and replicas answer many: they may keep more connections."""
        if self._booted is not None:
            settings = self._settings
            self._booted.transport.max_links = settings.max_links_serving if self._serving else settings.max_links

    def _fail(self, error: BaseException) -> None:
        log.critical("the node is broken and ends", exc_info=error)
        if self._services is not None:
            self._services.kill()
        if not self.ended.done():
            self.ended.set_result(error)


async def _until(fact: Callable[[], bool], timeout_s: float) -> None:
    """Or until so long has passed."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while not fact() and loop.time() < deadline:  # noqa: ASYNC110  (counters of others, who tell of no change)
        await asyncio.sleep(LOOK_S)


class _Source:
    """A booted node as its metrics see it."""

    def __init__(self, driver: Driver, transport: Transport, services: Services) -> None:
        self._driver = driver
        self._transport = transport
        self._services = services
        self.origin_unix_s = time.time() - driver.now() / SECOND

    @property
    def fold(self) -> NodeFold:
        return self._driver.fold

    @property
    def lag(self) -> LagMeter:
        return self._driver.lag

    @property
    def stats(self) -> TransportStats:
        return self._transport.stats

    @property
    def services(self) -> Mapping[AppId, ServiceStats]:
        return self._services.stats

    def snapshot(self) -> Snapshot:
        return self._driver.core.snapshot()

    def gauges(self) -> dict[str, float]:
        return {
            "opus_open_requests": self._driver.open_requests,
            "opus_queued_bytes": self._transport.queued()[1],
            "opus_notices_dropped_total": self._driver.notices.dropped,
            "opus_clock_ahead_seconds": self._driver.clock_ahead / SECOND,
            "links": self._transport.links,
            "streams": self._transport.streams,
        }
