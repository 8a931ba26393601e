"""Where a user's own clients find a service on any host: a port on the host's loopback, whose requests the overlay routes.

HTTP: each request is a request of the overlay, answered by whichever replica it finds, tried again elsewhere like any other.
A request that failed at one replica may so reach another: at least once is promised, not once.
TCP: each connection is routed (the replica's program takes connections), then relayed to that replica's door; what breaks after
that is broken, as with any TCP connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from opus_node.core.events import ClientReply
from opus_node.services.door import relay
from opus_node.services.exchange import HEAD_MOST, HOST, fields_of
from opus_node.services.listener import Listener
from opus_node.services.spec import ServiceSpec, ServiceStats
from opus_node.services.store import ASK_S, Connection, Dial, dial_door, give_up_on_silence
from opus_node.sizes import MAX_PAYLOAD

HEAD_S: Final = 30.0
"""For a client to send its request."""
LINGER_S: Final = 2.0
ROUTES: Final = 3
"""Replicas tried for one TCP connection."""
_HOP_BY_HOP: Final = (b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade", b"expect")
"""Fields for the next hop alone (RFC 9110, section 7.6.1)."""

Ask = Callable[[bytes], Awaitable[ClientReply]]


class RequestError(Exception):
    """The client's mistake, with the status and the line to tell it."""

    def __init__(self, status: str, why: str) -> None:
        super().__init__(why)
        self.status = status


class Gateway:
    def __init__(self, spec: ServiceSpec, stats: ServiceStats, ask: Ask, dial: Dial = dial_door) -> None:
        self._spec = spec
        self._stats = stats
        self._ask = ask
        self._dial = dial
        # The client left, or said nothing.
        self._listener = Listener(self._serve, (OSError, EOFError, TimeoutError))

    async def start(self) -> None:
        """LocalError if the port cannot be had."""
        await self._listener.start(HOST, self._spec.gateway, limit=HEAD_MOST, what=f"the gateway of {self._spec.app}")

    async def stop(self) -> None:
        await self._listener.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._spec.protocol == "http":
            await self._exchange(reader, writer)
        else:
            await self._connect(reader, writer)

    # HTTP

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_S):
                content = await read_request(reader, writer)
        except RequestError as error:
            writer.write(_plain(error.status, str(error)))
            await _linger(reader, writer)
        else:
            reply = await self._ask(content)
            self._stats.gateway["ok" if reply.outcome == "ok" else "failed"] += 1
            if reply.outcome == "ok":
                writer.write(reply.content)
            else:
                status = "504 Gateway Timeout" if reply.outcome == "deadline" else "503 Service Unavailable"
                writer.write(_plain(status, f"no replica of {self._spec.app} answered ({reply.outcome})"))
        await writer.drain()

    # TCP

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(ROUTES):
            reply = await self._ask(b"")
            if reply.outcome != "ok":
                break
            outside = await self._to_program(reply.replica)
            if outside is not None:
                self._stats.gateway["ok"] += 1
                await relay((reader, writer), outside)
                return
        self._stats.gateway["failed"] += 1

    async def _to_program(self, replica: str) -> Connection | None:
        """A connection to the program at a replica; None if there is none to be had."""
        outside: Connection | None = None
        try:
            async with asyncio.timeout(ASK_S):
                outside = await self._dial(replica)
                give_up_on_silence(outside[1])
                outside[1].write(f"TCP {self._spec.app}\n".encode())
                if (await outside[0].readline()).startswith(b"OK"):
                    return outside
        except (OSError, TimeoutError, ValueError):
            pass
        if outside is not None:
            outside[1].close()
        return None


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """One HTTP request, whole, as it goes to the program: fields for this hop alone replaced by "Connection: close".

    RequestError if it cannot be taken; EOFError if the client left before its end.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise RequestError("431 Request Header Fields Too Large", f"more than {HEAD_MOST >> 10} KiB of headers") from None
    lines = head[:-4].split(b"\r\n")
    if len(lines[0].split(b" ")) != 3 or not lines[0].split(b" ")[2].startswith(b"HTTP/1."):
        raise RequestError("400 Bad Request", "not a request of HTTP/1.0 or 1.1")
    fields = fields_of(head[:-4])
    if "transfer-encoding" in fields:
        raise RequestError("411 Length Required", "a body needs a Content-Length here, not chunks")
    length = fields.get("content-length", "0")
    if not length.isdecimal():
        raise RequestError("400 Bad Request", "a Content-Length that is no number")
    kept = [line for line in lines[1:] if line.partition(b":")[0].strip().lower() not in _HOP_BY_HOP]
    content = b"\r\n".join([lines[0], *kept, b"Connection: close", b"", b""])
    if int(length) + len(content) > MAX_PAYLOAD:
        raise RequestError("413 Content Too Large", f"more than {MAX_PAYLOAD >> 20} MiB; for such, protocol: tcp")
    if fields.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return content + await reader.readexactly(int(length))


async def _linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read on for a moment: closing with bytes unread would reset the connection, and the client never see its answer."""
    await writer.drain()
    writer.write_eof()
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            left = MAX_PAYLOAD
            while left > 0 and (data := await reader.read(1 << 16)):
                left -= len(data)


def _plain(status: str, why: str) -> bytes:
    body = f"{why}\n".encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body
