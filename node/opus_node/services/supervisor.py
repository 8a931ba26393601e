"""Keeps one service's program running while its host is a replica.

    wanted ─▶ files here? ─no─▶ fetched, unpacked ─▶ started ─healthy─▶ ready ─unhealthy or ended─▶ stopped, after a pause again
    no longer wanted ─▶ goes on for the core's grace ─▶ stopped

A pause doubles from `PAUSE_FIRST` to `PAUSE_MOST` and is as at first again after `STEADY` of health.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from opus_node.core.events import Consumed, Notice, ProgramChanged, ServiceHealth, Shipped
from opus_node.core.replica import GRACE
from opus_node.core.types import SECOND, Nanos, NodeId
from opus_node.errors import LocalError
from opus_node.services.containers import Containers
from opus_node.services.exchange import check
from opus_node.services.program import Program, ProgramLog, Running
from opus_node.services.spec import ServiceSpec, ServiceStats
from opus_node.services.store import Dial, NoRoomError, Store, blocking, dial_door, unwritten

PAUSE_FIRST: Final = 0.5
PAUSE_MOST: Final = 8.0
STEADY: Final = 10.0
STARTING_EVERY: Final = 0.05
"""Between two looks at a program that is starting."""
PROGRESS_EVERY: Final = 5.0
"""Between two words to the core that files are coming."""

log = logging.getLogger(__name__)


class Supervisor:
    """All in one event loop. `tell` records a notice, `feed` gives the core its event, `fellows()` are the replicas now.
    `fail` hears of what should never happen."""

    def __init__(
        self,
        spec: ServiceSpec,
        stats: ServiceStats,
        address: NodeId,
        directory: Path,
        store: Store,
        containers: Containers,
        tell: Callable[[Notice], None],
        feed: Callable[[ServiceHealth | Consumed], None],
        fellows: Callable[[], Iterable[NodeId]],
        now: Callable[[], Nanos],
        fail: Callable[[BaseException], None],
        dial: Dial = dial_door,
    ) -> None:
        self._spec = spec
        self._stats = stats
        self._address = address
        self._directory = directory / spec.app
        self._store = store
        self._containers = containers
        self._tell = tell
        self._feed = feed
        self._fellows = fellows
        self._now = now
        self._fail = fail
        self._dial = dial
        self._log = ProgramLog(spec.app)
        self._program: Running | None = None
        self._running: asyncio.Task[None] | None = None
        self._ending: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def port(self) -> int | None:
        """Where the program listens, if it is ready."""
        return self._spec.port if self._stats.ready else None

    def want(self, wanted: bool) -> None:
        """The host became a replica, or is none any more."""
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None
        if not wanted:
            self._ending = self._loop.call_later(GRACE / SECOND, self._end)
        elif self._running is None or self._running.done():
            self._running = self._loop.create_task(self._run(self._running), name=f"service {self._spec.app}")
            self._running.add_done_callback(self._over)

    async def stop(self) -> None:
        """Now, with the node."""
        if self._ending is not None:
            self._ending.cancel()
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    def kill(self) -> None:
        """The node is broken: nothing may outlive it."""
        if self._program is not None:
            self._program.kill()

    def _over(self, task: asyncio.Task[None]) -> None:
        """It ends by being cancelled; anything else is an error of this program."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _end(self) -> None:
        self._ending = None
        if self._running is not None:
            self._running.cancel()

    # The life of a program

    async def _run(self, earlier: asyncio.Task[None] | None) -> None:
        pause = PAUSE_FIRST
        if earlier is not None:
            await asyncio.gather(earlier, return_exceptions=True)
        while True:
            try:
                lasted = await self._one_life()
            except LocalError as error:
                self._changed("failed", str(error))
                if isinstance(error, NoRoomError):
                    self._feed(ServiceHealth(self._spec.app, False, str(error), lost=True))
                lasted = 0.0
            pause = PAUSE_FIRST if lasted >= STEADY else pause
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSE_MOST)

    async def _one_life(self) -> float:
        """Until the program is unhealthy or has ended; for how many seconds it was ready."""
        await self._files()
        data = self._directory / "data"
        try:
            data.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritten(str(data), error) from error
        program = self._program = await self._start(data)
        self._changed("started")
        metering = self._loop.create_task(self._meter(program), name=f"meter {self._spec.app}")
        metering.add_done_callback(self._over)
        began = self._loop.time()
        ready_at: float | None = None
        cause = ""
        try:
            cause = await self._healthy(program)
            if not cause:
                ready_at = self._loop.time()
                self._changed("ready", took=round((ready_at - began) * SECOND))
                self._ready(True)
                cause = await self._sick(program)
        finally:
            ended = program.ended.done()
            metering.cancel()
            self._ready(False, cause or "stopped")
            # A stop that is cancelled would leave the program behind.
            await asyncio.shield(asyncio.ensure_future(self._stop(program, ended, cause)))
        return 0.0 if ready_at is None else self._loop.time() - ready_at

    async def _start(self, data: Path) -> Running:
        if self._spec.image:
            return await self._containers.start(self._spec.app)
        return await Program.start(self._command(), data, self._environment(), self._log)

    async def _stop(self, program: Running, ended: bool, cause: str) -> None:
        await program.stop()
        self._program = None
        self._changed("ended" if ended else "stopped", program.ended.result() if ended else cause)

    async def _healthy(self, program: Running) -> str:
        """Wait until it is; otherwise why it will not be."""
        until = self._loop.time() + self._spec.start
        why = ""
        while not program.ended.done():
            why = await check(self._spec)
            if not why and not program.ended.done():
                return ""
            if self._loop.time() >= until:
                return f"not healthy within {self._spec.start:g} s: {why}"
            await asyncio.wait((program.ended,), timeout=STARTING_EVERY)
        return program.ended.result()

    async def _sick(self, program: Running) -> str:
        """Wait until it is, or has ended; why."""
        failures = 0
        while not program.ended.done():
            await asyncio.wait((program.ended,), timeout=self._spec.health_every)
            if program.ended.done():
                break
            why = await check(self._spec)
            failures = failures + 1 if why else 0
            if failures >= self._spec.health_failures:
                return why
        return program.ended.result()

    async def _meter(self, program: Running) -> None:
        """Tells the core what the program consumes, and has consumed in its earlier starts."""
        before = self._stats.core_time or 0
        while True:
            consumed = before + await program.consumed()
            self._stats.core_time = consumed
            self._feed(Consumed(self._spec.app, consumed))

    # What it needs

    async def _files(self) -> None:
        spec, files = self._spec, self._directory / "files"
        if not spec.digest:
            return
        mark = self._directory / "unpacked"
        if _read(mark) == spec.digest:
            return
        began = self._now()
        fetched = None
        here = self._store.has(spec.digest)
        self._store.check_room(spec.size if here else 2 * spec.size)  # once packed, once unpacked
        if not here:
            self._progress_at = self._loop.time()
            hosts = [host for host in (*self._fellows(), *spec.origins) if host != self._address]
            fetched = await self._store.fetch(spec.digest, spec.size, hosts, self._came, self._dial)
        await blocking(self._store.unpack, spec.digest, files)
        try:
            mark.write_text(spec.digest)
        except OSError as error:
            raise unwritten(str(mark), error) from error
        if fetched is not None:
            took = self._now() - began
            self._stats.fetched += 1
            self._stats.fetch_s += took / SECOND
            self._tell(Shipped(spec.app, fetched.source, fetched.bytes, took))

    _progress_at = 0.0

    def _came(self, size: int) -> None:
        self._stats.received_bytes += size
        if self._loop.time() - self._progress_at >= PROGRESS_EVERY:
            self._progress_at = self._loop.time()
            self._feed(ServiceHealth(self._spec.app, False, "its files are on their way"))

    def _named(self) -> dict[str, str]:
        folder = self._directory
        return {
            "port": str(self._spec.port),
            "address": self._address,
            "files": str(folder / "files"),
            "data": str(folder / "data"),
        }

    def _command(self) -> list[str]:
        named = self._named()
        return [re.sub(r"\{(\w+)\}", lambda found: named.get(found[1], found[0]), word) for word in self._spec.command]

    def _environment(self) -> dict[str, str]:
        return {"OPUS_APP": self._spec.app, **{f"OPUS_{name.upper()}": value for name, value in self._named().items()}}

    # What it tells

    def _changed(self, change: str, why: str = "", took: Nanos = 0) -> None:
        log.info("%s: %s%s", self._spec.app, change, f", {why}" if why else "")
        if change in self._stats.changes:
            self._stats.changes[change] += 1
        self._tell(ProgramChanged(self._spec.app, change, why, took))

    def _ready(self, ready: bool, why: str = "") -> None:
        if ready != self._stats.ready:
            self._stats.ready = ready
            self._feed(ServiceHealth(self._spec.app, ready, why))


def _read(path: Path) -> str:
    with suppress(OSError):
        return path.read_text()
    return ""
