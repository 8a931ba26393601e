"""Messages outside of connections: one envelope a datagram, to the port where gRPC listens as well.

What measures a path must not first pay for a connection, nor be repaired by one. What is lost is lost; whoever needs an answer
asks again (`core.prober`), or what it says follows on a connection too (`messages.hastened`). The sender is the address that a
datagram comes from.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress

from opus_node import codec
from opus_node.core.messages import Message
from opus_node.core.types import NodeId
from opus_node.errors import LocalError, PeerError

log = logging.getLogger(__name__)


class Datagrams(asyncio.DatagramProtocol):
    """`on_message(source, message, payload bytes)`; `on_rejected` for each that is malformed."""

    def __init__(self, port: int, on_message: Callable[[NodeId, Message, int], None], on_rejected: Callable[[], None]) -> None:
        self._port = port
        self._on_message = on_message
        self._on_rejected = on_rejected
        self._socket: socket.socket | None = None
        self._endpoint: asyncio.DatagramTransport | None = None

    def bind(self, host: str) -> None:
        """Take the port; LocalError if it cannot be had."""
        endpoint = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            endpoint.bind((host, self._port))
        except OSError as error:
            endpoint.close()
            raise LocalError(f"cannot listen on {host}:{self._port}: is another node there? ({error.strerror})") from error
        self._socket = endpoint

    async def start(self) -> None:
        """From now on messages arrive."""
        loop = asyncio.get_running_loop()
        self._endpoint, _ = await loop.create_datagram_endpoint(lambda: self, sock=self._socket)

    def send(self, to: NodeId, payload: bytes) -> None:
        """At once, or never: what the kernel will not take now is lost like anything else. Before `start`, too: a node asks for
        agents before it hears."""
        if self._endpoint is not None:
            self._endpoint.sendto(payload, (to, self._port))
        elif self._socket is not None:
            with suppress(OSError):
                self._socket.sendto(payload, (to, self._port))

    def close(self) -> None:
        if self._endpoint is not None:
            self._endpoint.close()
        elif self._socket is not None:
            self._socket.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        try:
            message = codec.decode(data)
        except PeerError as error:
            self._on_rejected()
            log.warning("%s: %s", addr[0], error)
            return
        self._on_message(addr[0], message, len(data))

    def error_received(self, exc: Exception) -> None:
        """No route, or the like: as good as lost."""
        log.debug("a datagram was not sent: %s", exc)
