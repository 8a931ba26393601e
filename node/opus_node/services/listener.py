"""A port and the connections that come to it: so many at once, each a task, all of them ended with the listener."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from opus_node.errors import LocalError

MOST: Final = 256
"""Connections at once; more are closed at once."""

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Listener:
    def __init__(self, handle: Handle, over: tuple[type[BaseException], ...]) -> None:
        """`handle` serves one connection, closed afterwards; `over` is what it raises when the other side is to blame."""
        self._handle = handle
        self._over = over
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self, address: str, port: int, *, limit: int, what: str = "") -> None:
        """`limit`: bytes of a line at most. LocalError if the port cannot be had, telling `what` it is for."""
        try:
            self._server = await asyncio.start_server(self._serve, address, port, limit=limit)
        except OSError as error:
            raise LocalError(f"cannot listen on {address}:{port}{what and f', {what}'}: {error.strerror}") from error

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._open) >= MOST:
            writer.close()
            return
        self._open.add(task)
        try:
            await self._handle(reader, writer)
        except self._over:
            pass
        finally:
            self._open.discard(task)
            writer.close()
