"""The engine's observer: folds the record, reads hosts' metrics, keeps them, and serves them while somebody asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from opus_controller.engine.observer import Observable
from opus_controller.engine.runtime import Health, Record, Runtime
from opus_controller.model.errors import PlatformError
from opus_controller.model.plan import Plan
from opus_controller.observe.archive import Archive
from opus_controller.observe.fold import RunFold
from opus_controller.observe.metrics import About, exposition
from opus_controller.observe.scraper import Scraper, every_s, target_labels
from opus_controller.observe.server import Served, Server


class RunObserver:
    """See `engine.observer.Observer`. `archive`: where readings are kept; `server`: what serves them, if anybody looks on.

    Of a runtime in virtual time there is nothing to observe, and nothing is done.
    """

    def __init__(self, plan: Plan, run: str, *, archive: Path | None = None, server: Server | None = None) -> None:
        self._plan = plan
        self._run = run
        self._archive_path = archive
        self._archive: Archive | None = None
        self._server = server
        self._fold = RunFold(plan)
        self._scraper: Scraper | None = None

    async def begin(self, runtime: Runtime) -> None:
        if not isinstance(runtime, Observable):
            return
        every = every_s(len(self._plan.hosts), watched=self._server is not None)
        info = runtime.info
        about = About(info.runtime, info.links, time.time() - runtime.now() / 1e9, every)
        labels = target_labels(self._run, [(host.name, host.site, host.group) for host in self._plan.hosts])
        if self._archive_path is not None:
            self._archive = Archive(self._archive_path)

        async def own() -> str:
            observed = await runtime.observed()
            return exposition(about, self._fold, observed, runtime.now(), scraper.outcomes)

        scraper = self._scraper = Scraper(labels, runtime.metrics, own, self._archive, every)
        scraper.start()
        if self._server is not None:
            self._server.served = Served(asyncio.get_running_loop(), scraper.ask, labels, every)

    def records(self, records: Sequence[Record]) -> None:
        self._fold.add(records)

    def health(self, health: Health) -> None:
        self._fold.add_health(health)

    async def end(self) -> None:
        if self._server is not None:
            self._server.served = None
        if self._scraper is not None:
            await self._scraper.stop()
        if self._archive is not None:
            self._archive.close()


def serve_at(address: str, port: int | None, default: int) -> Server:
    """A server at the port asked for; at the default one, or, if that is taken, at any other. PlatformError if it cannot be."""
    if port is not None:
        return Server(address, port)
    try:
        return Server(address, default)
    except PlatformError:
        return Server(address, 0)
