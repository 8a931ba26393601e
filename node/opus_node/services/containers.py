"""Programs that are containers beside the node's own: wanted here, started by whoever has the engine, who tells what becomes.

The node never speaks with an engine. What it wants is a level, not a command: whoever listens, at once or after a while in which
nobody did, is told all of it first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from opus_node.core.types import AppId, Nanos
from opus_node.errors import LocalError

STOP_S: Final = 15.0
"""For one that is no longer wanted to be told ended; after that nobody listens who could end it."""


class Containers:
    """One an application at most."""

    def __init__(self) -> None:
        self._latest: dict[AppId, Container] = {}
        self._changed = asyncio.Event()

    async def start(self, app: AppId) -> Container:
        """Returns when it runs, however long nobody listens. LocalError if it could not be started."""
        before = self._latest.get(app)
        container = self._latest[app] = Container(self, app, 1 if before is None else before.start + 1)
        self.changed()
        try:
            await container.running
        except BaseException:
            container.kill()
            raise
        return container

    def told(self, app: AppId, start: int, state: str, why: str, core_time: Nanos | None = None) -> None:
        """What has become of a start (running, ended or failed), and what it has consumed. Void if it is not the latest."""
        container = self._latest.get(app)
        if container is not None and container.start == start:
            container.told(state, why, core_time)

    async def wanted(self) -> AsyncIterator[tuple[AppId, int]]:
        """(app, start, or 0 for none): all first, then every change, without an end."""
        said: dict[AppId, int] = {}
        while True:
            changed = self._changed
            for app, container in list(self._latest.items()):
                start = container.start if container.wanted else 0
                if said.get(app) != start:
                    said[app] = start
                    yield app, start
            await changed.wait()

    def changed(self) -> None:
        """Something is wanted that was not, or no longer."""
        self._changed.set()
        self._changed = asyncio.Event()


class Container:
    """One start; `ended` is done when it is no more, with how it ended."""

    def __init__(self, among: Containers, app: AppId, start: int) -> None:
        self.app = app
        self.start = start
        self.wanted = True
        loop = asyncio.get_running_loop()
        self.running: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[str] = loop.create_future()
        self._among = among
        self._consumed: asyncio.Future[Nanos] = loop.create_future()

    def told(self, state: str, why: str, core_time: Nanos | None = None) -> None:
        if core_time is not None and not self._consumed.done():
            self._consumed.set_result(core_time)
        if state == "failed" and not self.running.done():
            self.running.set_exception(LocalError(why))
        elif state == "running" and not self.running.done():
            self.running.set_result(None)
        if state in ("ended", "failed") and not self.ended.done():
            self.ended.set_result(why)
            if not self.running.done():
                self.running.set_result(None)  # it ran, and has ended before that was told

    async def stop(self) -> None:
        """It is no longer wanted; returns when it has been ended."""
        self.kill()
        await asyncio.wait((self.ended,), timeout=STOP_S)
        if not self.ended.done():
            self.ended.set_result("given up: nobody says that it has ended")

    async def consumed(self) -> Nanos:
        """No node can look into a container beside it: whoever has the engine tells, or nobody does."""
        self._consumed = asyncio.get_running_loop().create_future()
        return await self._consumed

    def kill(self) -> None:
        """It is no longer wanted."""
        if self.wanted:
            self.wanted = False
            self._among.changed()
