"""Messages between nodes: gRPC over the emulated network, one long stream a pair of peers.

    send ─▶ Line ─▶ OutQueue (bounded, expiring) ─ Frame, Frame, ... ─▶ the peer's Line ─▶ on_message
         └▶ Datagrams, what only measures a path ──────────────────▶ the peer's Datagrams ─▶

What requests are made of goes both ways, if it is small, where there is no connection yet.
Whoever has something to say first dials; the other answers on the same stream. So a question to a stranger costs one
connection, not two. What a line does in its life is in `opus_node.lines`. When both dial at once there are two streams for a
while, and the idle one goes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio

from opus_node import codec, sandbox, sizes
from opus_node.core.messages import Message, by_datagram, hastened
from opus_node.core.types import NodeId
from opus_node.datagrams import Datagrams
from opus_node.errors import LocalError, PeerError
from opus_node.lines import FRAME_ROOM, IDENTITY, Accepted, Dialled, Line, server_options

PORT: Final = 7000
"""Where every node listens on its emulated address."""

log = logging.getLogger(__name__)

_REMEMBERED: Final = 1024
_MANY: Final = 16
"""Lines closed at once that are worth a moment's work to give their memory back, 50 kB each."""


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """Limits and time-outs, in seconds and bytes. Every default says where it comes from."""

    max_links: int = 64
    """Connections of its own that a node keeps; the least recently used goes."""
    max_links_serving: int = 512
    """The same while the node is an agent or a replica: it answers many."""
    queue_messages: int = 256
    queue_bytes: int = 4 << 20
    """Bounds of what waits for one peer."""
    expiry: float = 3.0
    """A message that could not be sent for this long is worth nothing any more: its sender has tried elsewhere."""
    connect_timeout: float = 1.0
    """For the TCP and HTTP/2 handshakes, two round trips together: good up to 500 ms of RTT, 250 ms with one packet lost."""
    connect_most: float = 5.0
    """The same towards a peer never reached before, and the most where this process is late, which adds twice its lag."""
    silence_timeout: float = 1.5
    """TCP_USER_TIMEOUT. Leaves a path of 300 ms RTT three transmissions."""
    called_wait: float = 0.5
    """For the dial that something has come ahead of: good up to 330 ms of RTT; then whoever has something to say dials itself."""
    backoff_first: float = 0.1
    backoff_factor: float = 1.6
    backoff_max: float = 1.0
    """Between the starts of two dials; the factor is gRPC's own."""
    idle_timeout: float = 180.0
    """A stream on which neither side says anything is closed by its dialler; by the other after three times this. A dial costs a
    kilobyte at either end, as much as keeping a stream alive for three minutes if its time-out were one."""
    frame_messages: int = 64
    frame_bytes: int = FRAME_ROOM
    """What one write may carry together."""
    verify_source: bool = True
    """Whether a sender's claimed identity must be the address it calls from. Only tests on loopback turn it off."""


@dataclass(slots=True)
class TransportStats:
    """Cumulated since the start. Bytes are those on the link: messages with what gRPC, TCP and IP add (`sizes`)."""

    messages_sent: int = 0
    messages_received: int = 0
    control_bytes_sent: int = 0
    control_bytes_received: int = 0
    request_bytes_sent: int = 0
    request_bytes_received: int = 0
    dropped: int = 0
    """In full queues."""
    expired: int = 0
    """Waited too long."""
    failed: int = 0
    """Waited for a peer that refused or reset the connection, or was evicted."""
    dials: int = 0
    refused: int = 0
    """Own connections that ended refused or reset."""
    silent: int = 0
    """Own connections given up for silence."""
    broken: int = 0
    """Peers' connections that broke, by reset or silence: gRPC does not tell a server which."""
    rejected: int = 0
    """Malformed frames and streams of false identity."""

    def count_sent(self, control: int, requests: int) -> None:
        """A frame left with so many bytes of each (as encoded in it); the overhead is control's if there is any control."""
        if control:
            self.control_bytes_sent += control + sizes.STREAM_OVERHEAD
            self.control_bytes_received += sizes.ACK_OVERHEAD
            self.request_bytes_sent += requests
        else:
            self.request_bytes_sent += requests + sizes.STREAM_OVERHEAD
            self.request_bytes_received += sizes.ACK_OVERHEAD

    def count_dialled(self) -> None:
        self.control_bytes_sent += sizes.DIAL_SENT
        self.control_bytes_received += sizes.DIAL_RECEIVED

    def count_accepted(self) -> None:
        self.control_bytes_sent += sizes.DIAL_RECEIVED
        self.control_bytes_received += sizes.DIAL_SENT

    def count_datagram_sent(self, payload: int, *, control: bool) -> None:
        self.messages_sent += 1
        if control:
            self.control_bytes_sent += payload + sizes.UDP_IP_OVERHEAD
        else:
            self.request_bytes_sent += payload + sizes.UDP_IP_OVERHEAD

    def count_datagram_received(self, payload: int, *, control: bool) -> None:
        self.messages_received += 1
        if control:
            self.control_bytes_received += payload + sizes.UDP_IP_OVERHEAD
        else:
            self.request_bytes_received += payload + sizes.UDP_IP_OVERHEAD

    def count_received(self, control: int, requests: int) -> None:
        if control:
            self.control_bytes_received += control + sizes.STREAM_OVERHEAD
            self.control_bytes_sent += sizes.ACK_OVERHEAD
            self.request_bytes_received += requests
        else:
            self.request_bytes_received += requests + sizes.STREAM_OVERHEAD
            self.request_bytes_sent += sizes.ACK_OVERHEAD


class Transport:
    """One node's end of the overlay. All in one event loop; `send` never waits.

    `on_message(source, message)` and `on_unreachable(peer)` are called from the loop, never from within `send`.
    """

    def __init__(
        self,
        node_id: NodeId,
        on_message: Callable[[NodeId, Message], None],
        on_unreachable: Callable[[NodeId], None],
        settings: TransportSettings | None = None,
        port: int = PORT,
        on_failure: Callable[[BaseException], None] | None = None,
        lag: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`on_failure` hears of what should never happen: a line that broke by an error in this program. `lag`: how late the
        event loop has lately been, in seconds."""
        self.node_id = node_id
        self.settings = settings or TransportSettings()
        self.stats = TransportStats()
        self.port = port
        self.max_links = self.settings.max_links
        """May be changed at any time; in force with the next new link."""
        self._links: dict[NodeId, Dialled] = {}
        self._reached: dict[NodeId, None] = {}
        """Peers that a dial has reached, the latest last; bounded."""
        self._calling: dict[NodeId, float] = {}
        """Who has sent something ahead of its dial, and when; the latest last."""
        self._inbox = Inbox(self)
        self._datagrams = Datagrams(port, self._hear_datagram, self._reject)
        self._on_message = on_message
        self.on_unreachable = on_unreachable
        self._on_failure = on_failure
        self.lag = lag
        self._sweeper: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def bind(self, host: str = "0.0.0.0") -> None:
        """Take the port; LocalError if it cannot be had. Connections wait, unheard, until `start`."""
        self._datagrams.bind(host)
        try:
            self._inbox.bind(f"{host}:{self.port}")
        except LocalError:
            self._datagrams.close()
            raise

    async def start(self) -> None:
        """From now on messages arrive."""
        await self._inbox.start()
        await self._datagrams.start()
        self._sweep()

    async def stop(self) -> None:
        """Close everything; what waits is lost."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._datagrams.close()
        links = list(self._links.values())
        self._links.clear()
        for link in links:
            link.close()
        await asyncio.gather(*(link.task for link in links), *self._closing, return_exceptions=True)
        await self._inbox.close()

    def send(self, to: NodeId, message: Message) -> None:
        """Queue `message` for `to`, dialling if need be. Whatever becomes of it is counted in `stats`."""
        if by_datagram(message) and self._send_datagram(to, message):
            return
        line: Line | None = self._links.get(to)
        if line is None or not line.connected:
            line = self._inbox.lines.get(to) or line or self._open(to)
            if hastened(message) and not line.connected:
                self._send_datagram(to, message)
        line.put(message)

    def _send_datagram(self, to: NodeId, message: Message) -> bool:
        """Whether it fits into one."""
        payload = codec.encode(message)
        if len(payload) > sizes.MAX_DATAGRAM:
            return False
        self.stats.count_datagram_sent(len(payload), control=sizes.is_control(message))
        self._datagrams.send(to, payload)
        return True

    @property
    def links(self) -> int:
        """Connections of its own."""
        return len(self._links)

    @property
    def streams(self) -> int:
        """Connections that peers made."""
        return len(self._inbox.lines)

    def queued(self) -> tuple[int, int]:
        """Messages and bytes waiting, over all peers."""
        lines = (*self._links.values(), *self._inbox.lines.values())
        return sum(len(line.queue) for line in lines), sum(line.queue.bytes for line in lines)

    def _open(self, to: NodeId) -> Dialled:
        while len(self._links) >= self.max_links:
            self._evict()
        called_at = self._calling.pop(to, None)
        wait = 0.0 if called_at is None else called_at + self.settings.called_wait - asyncio.get_running_loop().time()
        link = self._links[to] = Dialled(self, to, wait)
        return link

    def _evict(self) -> None:
        """Close the least recently used link, one with nothing to send if there is any."""
        peer = min(self._links, key=lambda peer: (len(self._links[peer].queue) > 0, self._links[peer].used))
        self._retire(self._links.pop(peer))

    def _retire(self, link: Dialled) -> None:
        link.close()
        self._see_out(link)

    def _see_out(self, link: Dialled) -> None:
        self._closing.add(link.task)
        link.task.add_done_callback(self._closing.discard)

    # What lines tell

    def hear(self, source: NodeId, data: bytes) -> None:
        """A frame has come. PeerError if it is malformed."""
        stats = self.stats
        control = requests = 0
        for message, size in codec.decode_frame(data):
            stats.messages_received += 1
            if sizes.is_control(message):
                control += sizes.in_frame(size)
            else:
                requests += sizes.in_frame(size)
            self._on_message(source, message)
        stats.count_received(control, requests)

    def _hear_datagram(self, source: NodeId, message: Message, payload: int) -> None:
        if not (by_datagram(message) or hastened(message)):  # everything else is answered for by a connection
            self._reject()
            return
        self.stats.count_datagram_received(payload, control=sizes.is_control(message))
        if hastened(message):
            self._is_calling(source)
        self._on_message(source, message)

    def _is_calling(self, peer: NodeId) -> None:
        now = asyncio.get_running_loop().time()
        self._calling.pop(peer, None)
        self._calling[peer] = now
        first = next(iter(self._calling))
        while self._calling[first] < now - self.settings.called_wait:
            del self._calling[first]
            first = next(iter(self._calling))

    def _reject(self) -> None:
        self.stats.rejected += 1

    def accepted(self, line: Accepted) -> None:
        """A peer has dialled. It would have answered on a stream that it knew of: what there was with it before is over."""
        link = self._links.get(line.peer)
        if link is None:
            return
        twins = link.connected and link.connected_at >= line.used - self.settings.connect_timeout
        if twins:  # both have dialled at once
            return
        line.take_over(link)
        if link.connected:
            del self._links[line.peer]
            link.supersede()
            self._see_out(link)

    def left(self, line: Accepted) -> None:
        """A peer's connection broke. What waits is for a line of our own; the peer, if it refuses that, is told of again."""
        self.stats.broken += 1
        self.on_unreachable(line.peer)
        if line.queue:
            link = self._links.get(line.peer) or self._open(line.peer)
            link.take_over(line)

    def reached(self, peer: NodeId) -> None:
        self._reached.pop(peer, None)
        self._reached[peer] = None
        if len(self._reached) > _REMEMBERED:
            del self._reached[next(iter(self._reached))]

    def reached_before(self, peer: NodeId) -> bool:
        return peer in self._reached

    def reached_by(self, peer: NodeId) -> bool:
        """Whether a connection of the peer's making flows."""
        return peer in self._inbox.lines

    def ends(self, link: Dialled) -> None:
        """Told by a link as the last thing that its task does: nothing may be put into it after."""
        if self._links.get(link.peer) is link:
            del self._links[link.peer]

    def broke(self, line: Line, error: BaseException) -> None:
        log.critical("the line to %s broke", line.peer, exc_info=error)
        if self._on_failure is not None:
            self._on_failure(error)

    def _sweep(self) -> None:
        """Close what is idle. One timer for all links: a few seconds more or less do not matter."""
        loop = asyncio.get_running_loop()
        idle = self.settings.idle_timeout
        before = loop.time() - idle
        idlers = [peer for peer, link in self._links.items() if link.used < before and not link.queue]
        for peer in idlers:
            self._retire(self._links.pop(peer))
        if len(idlers) >= _MANY:
            loop.call_later(self.settings.connect_timeout, sandbox.return_memory)
        self._inbox.sweep(loop.time() - 3 * idle)
        self._sweeper = loop.call_later(idle / 4, self._sweep)


class Inbox:
    """The listening side: one accepted line a peer, the newest counts."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._server = grpc.aio.server(options=server_options(transport.settings))
        handler: Any = grpc.stream_stream_rpc_method_handler(self._stream)  # bytes in, bytes out: the codec is ours
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("opus.v1.Overlay", {"Stream": handler}),))
        self._stopping = False
        self.lines: dict[NodeId, Accepted] = {}

    def bind(self, address: str) -> None:
        try:
            self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise LocalError(f"cannot listen on {address}: is another node there?") from error

    async def start(self) -> None:
        await self._server.start()

    async def close(self) -> None:
        self._stopping = True
        await self._server.stop(None)

    def sweep(self, before: float) -> None:
        """End lines on which nothing was said since `before`: their diallers would have closed them."""
        for line in [line for line in self.lines.values() if line.used < before]:
            line.end()

    async def _stream(self, _: Any, context: Any) -> None:
        transport = self._transport
        transport.stats.count_accepted()
        source = await self._identify(context)
        line = Accepted(transport, source, context)
        earlier = self.lines.get(source)
        self.lines[source] = line
        if earlier is not None:
            line.take_over(earlier)
            earlier.end()
        transport.accepted(line)
        try:
            in_good_order = await line.serve(context)
        except PeerError as error:
            transport.stats.rejected += 1
            log.warning("%s: %s", source, error)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        finally:
            if self.lines.get(source) is line:
                del self.lines[source]
        if not in_good_order and not self._stopping:
            transport.left(line)

    async def _identify(self, context: Any) -> NodeId:
        """Who the sender says it is, which must be the address it calls from."""
        claimed = next((str(value) for key, value in context.invocation_metadata() or () if key == IDENTITY), "")
        peer = str(context.peer())  # ipv4:198.18.0.7:41234
        if claimed and (peer.startswith(f"ipv4:{claimed}:") or not self._transport.settings.verify_source):
            return claimed
        self._transport.stats.rejected += 1
        log.warning("a stream from %s claims to be %r", peer, claimed)
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, f"{IDENTITY} must be the address you call from")
        raise AssertionError("abort does not return")
