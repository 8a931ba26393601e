"""Messages between nodes: gRPC over the emulated network, one long stream a direction and peer.

    send ─▶ OutQueue (bounded, expiring) ─▶ Link ─ Frame, Frame, ... ─▶ the peer's Inbox ─▶ on_message

A link dials when something is to be sent and lives for one connection:

    state        leaves it by
    dialling     connected: flowing · refused: failed · no answer within `connect_timeout`: silent
    flowing      connection reset: failed · data unacknowledged for `silence_timeout`: silent
                 · ended by the peer in good order: backoff
                 · nothing to send for `idle_timeout`, or evicted as least recently used: closed
    failed       `on_unreachable` is called, once; what waits is dropped and counted; then backoff
    silent       `on_unreachable` is called, once; what waits goes on waiting until it expires; then backoff
    backoff      something to send: dialling with a new connection · nothing: closed

Why links redial themselves and do not leave it to gRPC: after a long cut a kernel's own retransmissions come seconds
apart (doubling from 0.2 s), and so do gRPC's for as long as it believes in its connection. With TCP_USER_TIMEOUT the
kernel gives an unacknowledged connection up, and a new dial each second finds a healed path within about a second.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final

import grpc
import grpc.aio

from opus_node import codec, sandbox, sizes
from opus_node.core.messages import DROPPABLE, Message
from opus_node.core.types import NodeId
from opus_node.errors import LocalError, PeerError
from opus_node.outqueue import OutQueue, Queued

PORT: Final = 7000
"""Where every node listens on its emulated address."""

log = logging.getLogger(__name__)

_METHOD: Final = "/opus.v1.Overlay/Stream"
_IDENTITY: Final = "opus-node"
"""The metadata key in which a stream's sender names itself."""
_GRPC_FRAME_ROOM: Final = 1 << 16
_MANY: Final = 16
"""Links closed at once that are worth a moment's work to give their memory back, 50 kB each."""


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """Limits and time-outs, in seconds and bytes. Every default says where it comes from."""

    max_links: int = 64
    """Outgoing connections a node keeps; the least recently used goes."""
    max_links_serving: int = 512
    """The same while the node is an agent or a replica: it answers many."""
    queue_messages: int = 256
    queue_bytes: int = 4 << 20
    """Bounds of what waits for one peer."""
    expiry: float = 3.0
    """A message that could not be sent for this long is worth nothing any more: its sender has tried elsewhere."""
    connect_timeout: float = 1.0
    """For the TCP and HTTP/2 handshakes, two round trips together: good up to 500 ms of RTT, 250 ms with one packet lost."""
    silence_timeout: float = 1.5
    """TCP_USER_TIMEOUT. Leaves a path of 300 ms RTT three transmissions."""
    backoff_first: float = 0.1
    backoff_factor: float = 1.6
    backoff_max: float = 1.0
    """Between the starts of two dials; the factor is gRPC's own."""
    idle_timeout: float = 60.0
    """An outgoing stream without messages is closed; an incoming one after three times this (its sender must be gone)."""
    frame_messages: int = 64
    frame_bytes: int = _GRPC_FRAME_ROOM
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
    """Connections that ended refused or reset."""
    silent: int = 0
    """Connections given up for silence."""
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
    ) -> None:
        """`on_failure` hears of what should never happen: a link that broke by an error in this program."""
        self.node_id = node_id
        self.settings = settings or TransportSettings()
        self.stats = TransportStats()
        self.port = port
        self.max_links = self.settings.max_links
        """May be changed at any time; in force with the next new link."""
        self._links: OrderedDict[NodeId, Link] = OrderedDict()
        self._inbox = Inbox(self, on_message)
        self.on_unreachable = on_unreachable
        self._on_failure = on_failure
        self._sweeper: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def bind(self, host: str = "0.0.0.0") -> None:
        """Take the port; LocalError if it cannot be had. Connections wait, unheard, until `start`."""
        self._inbox.bind(f"{host}:{self.port}")

    async def start(self) -> None:
        """From now on messages arrive."""
        await self._inbox.start()
        self._sweep()

    async def stop(self) -> None:
        """Close everything; what waits is lost."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        links = list(self._links.values())
        self._links.clear()
        for link in links:
            link.close()
        await asyncio.gather(*(link.task for link in links), *self._closing, return_exceptions=True)
        await self._inbox.close()

    def send(self, to: NodeId, message: Message) -> None:
        """Queue `message` for `to`, dialling if need be. Whatever becomes of it is counted in `stats`."""
        link = self._links.get(to)
        if link is None:
            link = self._open(to)
        else:
            self._links.move_to_end(to)
        link.put(message)

    @property
    def links(self) -> int:
        return len(self._links)

    @property
    def streams(self) -> int:
        """Incoming."""
        return len(self._inbox.streams)

    def queued(self) -> tuple[int, int]:
        """Messages and bytes waiting, over all peers."""
        return sum(len(link.queue) for link in self._links.values()), sum(link.queue.bytes for link in self._links.values())

    def _open(self, to: NodeId) -> Link:
        while len(self._links) >= self.max_links:
            self._evict()
        link = self._links[to] = Link(self, to)
        return link

    def _evict(self) -> None:
        """Close the least recently used link, one with nothing to send if there is any."""
        peer = next((peer for peer, link in self._links.items() if not link.queue), next(iter(self._links)))
        self._retire(self._links.pop(peer))

    def _retire(self, link: Link) -> None:
        link.close()
        self._closing.add(link.task)
        link.task.add_done_callback(self._closing.discard)

    def ends(self, link: Link) -> None:
        """Told by a link as the last thing that its task does: nothing may be put into it after."""
        if self._links.get(link.peer) is link:
            del self._links[link.peer]

    def ended(self, link: Link) -> None:
        if not link.task.cancelled() and (error := link.task.exception()) is not None:
            log.critical("the link to %s broke", link.peer, exc_info=error)
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


class Link:
    """Everything towards one peer: its queue, and a task that dials and writes (states in the module's docstring)."""

    def __init__(self, transport: Transport, peer: NodeId) -> None:
        settings = transport.settings
        self.peer = peer
        self.queue = OutQueue(settings.queue_messages, settings.queue_bytes)
        self._transport = transport
        self._settings = settings
        self._stats = transport.stats
        self._loop = asyncio.get_running_loop()
        self._backoff = settings.backoff_first
        self._wanted: asyncio.Future[None] | None = None
        """What the task waits for while nothing is to be sent."""
        self._closed = False
        self.used = self._loop.time()
        self.task = self._loop.create_task(self._run())
        self.task.add_done_callback(lambda task: transport.ended(self))

    def put(self, message: Message) -> None:
        now = self.used = self._loop.time()
        queue = self.queue
        dropped, expired = queue.dropped, queue.expired
        item = Queued(
            codec.encode(message), now + self._settings.expiry, isinstance(message, DROPPABLE), sizes.is_control(message)
        )
        queue.put(item, now)
        self._stats.dropped += queue.dropped - dropped
        self._stats.expired += queue.expired - expired
        self._wake()

    def close(self) -> None:
        """End the stream in good order; what waits is counted as failed."""
        self._closed = True
        self._stats.failed += self.queue.clear()
        self._wake()
        # A peer that does not read would keep the task in its last write for ever.
        patience = self._loop.call_later(2 * self._settings.connect_timeout, self.task.cancel)
        self.task.add_done_callback(lambda task: patience.cancel())

    def _wake(self, _: Any = None) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    async def _run(self) -> None:
        try:
            while not self._closed:
                dialled = self._loop.time()
                end = await self._one_connection()
                if self._closed:
                    break
                if end is _End.FAILED:
                    self._stats.refused += 1
                    self._stats.failed += self.queue.clear()
                elif end is _End.SILENT:
                    self._stats.silent += 1
                if end is not _End.CLOSED:
                    self._transport.on_unreachable(self.peer)
                if not await self._back_off(dialled):
                    break
        finally:
            self._transport.ends(self)

    async def _back_off(self, dialled: float) -> bool:
        """Wait until the next dial is due; False if nothing wants it then."""
        due = dialled + self._backoff * random.uniform(0.9, 1.0)
        self._backoff = min(self._settings.backoff_factor * self._backoff, self._settings.backoff_max)
        await asyncio.sleep(max(0.0, due - self._loop.time()))
        expired = self.queue.expired
        self.queue.purge(self._loop.time())
        self._stats.expired += self.queue.expired - expired
        return len(self.queue) > 0

    async def _one_connection(self) -> _End:
        """Dial and write until the connection ends; how it did."""
        self._stats.dials += 1
        channel = grpc.aio.insecure_channel(f"ipv4:{self.peer}:{self._transport.port}", options=_channel_options(self._settings))
        call: Any = channel.stream_unary(_METHOD)(metadata=((_IDENTITY, self._transport.node_id),))
        call.add_done_callback(self._wake)
        try:
            await call.wait_for_connection()
            self._stats.count_dialled()
            self._backoff = self._settings.backoff_first
            await self._write_all(call)
            await call.done_writing()
            await asyncio.wait_for(call, self._settings.connect_timeout)
        except grpc.aio.AioRpcError as error:
            log.debug("%s: %s %s", self.peer, error.code(), error.details())
            return _End.SILENT if _is_silence(error) else _End.FAILED
        except TimeoutError:  # only after done_writing: nobody there to say goodbye to
            return _End.SILENT
        finally:
            await channel.close()
        return _End.CLOSED

    async def _write_all(self, call: Any) -> None:
        """Write what comes until told to close or the call is over."""
        settings, queue, stats = self._settings, self.queue, self._stats
        while not call.done():
            expired = queue.expired
            batch = queue.take(self._loop.time(), settings.frame_messages, settings.frame_bytes)
            stats.expired += queue.expired - expired
            if batch:
                await self._write(call, batch)
            elif self._closed:
                return
            else:
                self._wanted = self._loop.create_future()
                await self._wanted

    async def _write(self, call: Any, batch: list[Queued]) -> None:
        """Returns when gRPC has taken the frame, which waits for the peer only if it reads too slowly."""
        stats = self._stats
        try:
            await call.write(codec.frame([item.envelope for item in batch]))
        except grpc.aio.AioRpcError:
            stats.failed += len(batch)
            raise
        control = sum([sizes.in_frame(len(item.envelope)) for item in batch if item.control])
        requests = sum([sizes.in_frame(len(item.envelope)) for item in batch if not item.control])
        stats.count_sent(control, requests)
        stats.messages_sent += len(batch)


class _End(Enum):
    """How a connection ended."""

    CLOSED = auto()
    """In good order, by either side."""
    FAILED = auto()
    """Refused or reset."""
    SILENT = auto()
    """Nothing came back."""


class Inbox:
    """The listening side: one stream a peer, the newest counts."""

    def __init__(self, transport: Transport, on_message: Callable[[NodeId, Message], None]) -> None:
        self._transport = transport
        self._on_message = on_message
        self._server = grpc.aio.server(options=_SERVER_OPTIONS)
        handler: Any = grpc.stream_unary_rpc_method_handler(self._stream)  # bytes in, bytes out: the codec is ours
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("opus.v1.Overlay", {"Stream": handler}),))
        self.streams: dict[NodeId, Stream] = {}

    def bind(self, address: str) -> None:
        try:
            self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise LocalError(f"cannot listen on {address}: is another node there?") from error

    async def start(self) -> None:
        await self._server.start()

    async def close(self) -> None:
        await self._server.stop(None)

    def sweep(self, before: float) -> None:
        """End streams from which nothing has come since `before`: their senders would have closed them."""
        for stream in [stream for stream in self.streams.values() if stream.heard < before]:
            stream.end()

    async def _stream(self, _: Any, context: Any) -> bytes:
        self._transport.stats.count_accepted()
        source = await self._identify(context)
        earlier = self.streams.get(source)
        if earlier is not None:
            earlier.end()
        stream = self.streams[source] = Stream(asyncio.current_task(), asyncio.get_running_loop().time())
        try:
            await self._read_all(source, stream, context)
        except PeerError as error:
            self._transport.stats.rejected += 1
            log.warning("%s: %s", source, error)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except asyncio.CancelledError:
            if not stream.ended:  # the peer's connection broke, or the server stops
                raise
        finally:
            if self.streams.get(source) is stream:
                del self.streams[source]
        return b""  # Nothing

    async def _read_all(self, source: NodeId, stream: Stream, context: Any) -> None:
        loop = asyncio.get_running_loop()
        stats = self._transport.stats
        while (data := await context.read()) is not grpc.aio.EOF:
            stream.heard = loop.time()
            control = requests = 0
            for message, size in codec.decode_frame(data):
                stats.messages_received += 1
                if sizes.is_control(message):
                    control += sizes.in_frame(size)
                else:
                    requests += sizes.in_frame(size)
                self._on_message(source, message)
            stats.count_received(control, requests)

    async def _identify(self, context: Any) -> NodeId:
        """Who the sender says it is, which must be the address it calls from."""
        claimed = next((str(value) for key, value in context.invocation_metadata() or () if key == _IDENTITY), "")
        peer = str(context.peer())  # ipv4:198.18.0.7:41234
        if claimed and (peer.startswith(f"ipv4:{claimed}:") or not self._transport.settings.verify_source):
            return claimed
        self._transport.stats.rejected += 1
        log.warning("a stream from %s claims to be %r", peer, claimed)
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, f"{_IDENTITY} must be the address you call from")
        raise AssertionError("abort does not return")


@dataclass(slots=True)
class Stream:
    """One incoming stream."""

    task: asyncio.Task[Any] | None
    heard: float
    """When the last frame came, by the loop's clock."""
    ended: bool = field(default=False)

    def end(self) -> None:
        self.ended = True
        if self.task is not None:
            self.task.cancel()


def _is_silence(error: grpc.aio.AioRpcError) -> bool:
    """Whether a connection ended because nothing came back, as against refused, reset or closed."""
    if error.code() is not grpc.StatusCode.UNAVAILABLE:
        return False
    details = (error.details() or "").lower()
    return any(sign in details for sign in _SIGNS_OF_SILENCE)


_SIGNS_OF_SILENCE: Final = ("timed out", "timeout", "deadline", "unreachable", "no route to host")
"""In gRPC's words: ETIMEDOUT after TCP_USER_TIMEOUT, its own connect time-out, and one's own links being down."""

_COMMON_OPTIONS: Final = (
    ("grpc.http2.bdp_probe", 0),  # pings of gRPC's own that would count as control bytes
    ("grpc.http2.lookahead_bytes", 1 << 20),  # the window that bdp_probe would have found
    ("grpc.enable_channelz", 0),
    ("grpc.max_channel_trace_event_memory_per_node", 0),  # 3 kB a link that nobody would ever read
    ("grpc.max_receive_message_length", sizes.MAX_PAYLOAD + _GRPC_FRAME_ROOM + (1 << 16)),
    ("grpc.max_send_message_length", -1),
)

_SERVER_OPTIONS: Final = (*_COMMON_OPTIONS, ("grpc.so_reuseport", 0))


def _channel_options(settings: TransportSettings) -> list[tuple[str, int]]:
    return [
        *_COMMON_OPTIONS,
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.min_reconnect_backoff_ms", round(settings.connect_timeout * 1000)),  # really the connect time-out
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
        ("grpc.enable_retries", 0),
        ("grpc.service_config_disable_resolution", 1),
        # No keepalive pings (one a day), but its time-out is what gRPC sets TCP_USER_TIMEOUT to (gRFC A18).
        ("grpc.keepalive_time_ms", 86_400_000),
        ("grpc.keepalive_timeout_ms", round(settings.silence_timeout * 1000)),
    ]
