"""A node's door on the emulated network: files of services, and connections to the programs that run here.

One line asks, one answers, then bytes follow; any number of questions a connection:

    HAS DIGEST          OK | NO
    FILE DIGEST OFFSET  the rest of the file from there (after a HAS that was answered OK), or the end of the connection
    TCP APP             OK, and from then on the connection is the program's | NO WHY
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from opus_node.core.types import AppId
from opus_node.services.exchange import HOST, words_of
from opus_node.services.listener import Listener
from opus_node.services.store import CHUNK, DOOR, LINE_MOST, Store, give_up_on_silence

IDLE_S: Final = 30.0
"""For a question to come."""
_DIGEST: Final = re.compile("[0-9a-f]{64}")

log = logging.getLogger(__name__)


class Door:
    def __init__(
        self,
        store: Store,
        port_of: Callable[[AppId], int | None],
        sent: Callable[[str, int], None] = lambda digest, size: None,
    ) -> None:
        """`port_of(app)`: where the program listens that serves `app` here, if one does now. `sent` is told of files' bytes."""
        self._store = store
        self._port_of = port_of
        self._sent = sent
        # It left, was silent, or asked with too long a line.
        self._listener = Listener(self._serve, (OSError, TimeoutError, ValueError))

    async def start(self, address: str, port: int = DOOR) -> None:
        """LocalError if the port cannot be had."""
        await self._listener.start(address, port, limit=LINE_MOST)

    async def stop(self) -> None:
        await self._listener.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        give_up_on_silence(writer)
        while await self._answer(reader, writer):
            pass

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One question; whether another may follow."""
        async with asyncio.timeout(IDLE_S):
            words = (await reader.readline()).decode("ascii", errors="replace").split()
        match words:
            case ["HAS", digest]:
                writer.write(b"OK\n" if self._keeps(digest) else b"NO\n")
                await writer.drain()
                return True
            case ["FILE", digest, offset] if self._keeps(digest) and offset.isdecimal():
                await self._send(writer, digest, int(offset))
                return True
            case ["TCP", app]:
                await self._relay(reader, writer, app)
        return False

    def _keeps(self, digest: str) -> bool:
        return _DIGEST.fullmatch(digest) is not None and self._store.has(digest)

    async def _send(self, writer: asyncio.StreamWriter, digest: str, offset: int) -> None:
        with self._store.path(digest).open("rb") as file:
            file.seek(offset)
            while piece := file.read(CHUNK):
                writer.write(piece)
                await writer.drain()
                self._sent(digest, len(piece))

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, app: AppId) -> None:
        port = self._port_of(app)
        if port is None:
            writer.write(b"NO it does not run here\n")
            return
        try:
            inside = await asyncio.open_connection(HOST, port)
        except OSError as error:
            writer.write(f"NO {words_of(error)}\n".encode())
            return
        writer.write(b"OK\n")
        await relay((reader, writer), inside)


async def relay(
    one: tuple[asyncio.StreamReader, asyncio.StreamWriter], other: tuple[asyncio.StreamReader, asyncio.StreamWriter]
) -> None:
    """Bytes both ways until both have ended, or either breaks; closes both."""
    ways = [asyncio.create_task(_copy(one[0], other[1])), asyncio.create_task(_copy(other[0], one[1]))]
    try:
        done, waiting = await asyncio.wait(ways, return_when=asyncio.FIRST_EXCEPTION)
        for way in waiting:  # the other direction is broken
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for way in done:
            with suppress(OSError):
                way.result()
    finally:
        for way in ways:
            way.cancel()
        for _, writer in (one, other):
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    with suppress(OSError, RuntimeError):
        writer.write_eof()
