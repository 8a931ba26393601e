"""One side of a connection with one peer: what waits to be sent, the writing of it, and how the connection begins and ends.

A `Dialled` line dials when something is to be sent and lives until nothing is:

    state        leaves it by
    dialling     connected: flowing · refused: failed · no answer in time: silent
    flowing      connection reset: failed · data unacknowledged for `silence_timeout`: silent
                 · ended by the peer in good order: backoff
                 · nothing said for `idle_timeout`, or evicted as least recently used: closed
    failed       `on_unreachable` is called, once; what waits is dropped and counted; then backoff
    silent       `on_unreachable` is called, once; what waits goes on waiting until it expires; then backoff
    backoff      something to send: dialling with a new connection · nothing: closed

An `Accepted` line is the other end of a peer's dial, and lives as long as that connection: closed in good order by the peer, it
sends what waits and follows; broken, `on_unreachable` is called and what waits is left to a line of one's own.

Why lines redial themselves and do not leave it to gRPC: after a long cut a kernel's own retransmissions come seconds
apart (doubling from 0.2 s), and so do gRPC's for as long as it believes in its connection. With TCP_USER_TIMEOUT the
kernel gives an unacknowledged connection up, and a new dial each second finds a healed path within about a second.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, Protocol

import grpc
import grpc.aio

from opus_node import codec, sizes
from opus_node.core.messages import DROPPABLE, Message
from opus_node.core.types import NodeId
from opus_node.errors import PeerError
from opus_node.outqueue import OutQueue, Queued

if TYPE_CHECKING:
    from opus_node.transport import Transport, TransportSettings

METHOD: Final = "/opus.v1.Overlay/Stream"
IDENTITY: Final = "opus-node"
"""The metadata key in which whoever opens a stream names itself."""
FRAME_ROOM: Final = 1 << 16
"""Bytes of a frame beyond the largest payload in it."""
GOODBYE: Final = b""
"""An empty frame: whoever dialled leaves. The end of a stream alone would not tell: gRPC shows a server the same when the
connection breaks."""

_OVER: Final = (grpc.aio.BaseError, grpc.aio.AioRpcError, asyncio.InvalidStateError)
"""What gRPC raises from writing when the call has ended."""

log = logging.getLogger(__name__)


class Call(Protocol):
    """What a line writes to: gRPC's call at the dialling end, its servicer context at the other."""

    async def write(self, data: bytes) -> None: ...


class Line:
    """What both kinds have: a queue, and while there is a call to write to, a task that empties it."""

    def __init__(self, transport: Transport, peer: NodeId) -> None:
        settings = transport.settings
        self.peer = peer
        self.queue = OutQueue(settings.queue_messages, settings.queue_bytes)
        self._transport = transport
        self._settings = settings
        self._stats = transport.stats
        self._loop = asyncio.get_running_loop()
        self._call: Call | None = None
        """Set while the connection flows."""
        self._writing: asyncio.Task[None] | None = None
        self.used = self._loop.time()
        """When something was last said by either side."""

    @property
    def connected(self) -> bool:
        return self._call is not None

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
        self._write_on()

    def take_over(self, line: Line) -> None:
        """Send what waits at another line to the same peer."""
        now = self._loop.time()
        dropped, expired = self.queue.dropped, self.queue.expired
        for item in line.queue.take(now, self._settings.queue_messages, self._settings.queue_bytes):
            self.queue.put(item, now)
        self._stats.dropped += self.queue.dropped - dropped
        self._stats.expired += self.queue.expired - expired
        self._write_on()

    def _write_on(self) -> None:
        if self._call is not None and self._writing is None and self.queue:
            self._writing = self._loop.create_task(self._write_all(self._call))
            self._writing.add_done_callback(self._written)

    def _written(self, task: asyncio.Task[None]) -> None:
        if self._writing is task:
            self._writing = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._transport.broke(self, error)
        elif self._call is not None:
            self._write_on()

    async def _write_all(self, call: Call) -> None:
        """Until the queue is empty or the connection over; how it ended is seen by whoever reads."""
        settings, queue, stats = self._settings, self.queue, self._stats
        while call is self._call:
            expired = queue.expired
            batch = queue.take(self._loop.time(), settings.frame_messages, settings.frame_bytes)
            stats.expired += queue.expired - expired
            if not batch:
                return
            try:
                await call.write(codec.frame([item.envelope for item in batch]))
            except _OVER:
                stats.failed += len(batch)
                return
            except asyncio.CancelledError:
                stats.failed += len(batch)
                raise
            control = sum([sizes.in_frame(len(item.envelope)) for item in batch if item.control])
            requests = sum([sizes.in_frame(len(item.envelope)) for item in batch if not item.control])
            stats.count_sent(control, requests)
            stats.messages_sent += len(batch)

    async def _flushed(self) -> None:
        """Until what is being written has been taken."""
        while self._writing is not None:
            await asyncio.wait((self._writing,))

    def _hear(self, data: bytes) -> None:
        self.used = self._loop.time()
        self._transport.hear(self.peer, data)


class Dialled(Line):
    """A connection of our own making."""

    def __init__(self, transport: Transport, peer: NodeId, wait: float = 0.0) -> None:
        """`wait` so many seconds before the first dial: the peer's may come first, and take what waits here."""
        super().__init__(transport, peer)
        self._wait = wait
        self._backoff = self._settings.backoff_first
        self._closed = False
        self.connected_at = 0.0
        self.task = self._loop.create_task(self._run())
        self.task.add_done_callback(self._done)

    def close(self) -> None:
        """End the stream in good order; what waits is counted as failed."""
        self._closed = True
        self._stats.failed += self.queue.clear()
        if self._call is None:
            self.task.cancel()
            return
        goodbye = self._loop.create_task(self._goodbye(self._call))
        self.task.add_done_callback(lambda task: goodbye.cancel())
        # A peer that does not read, or does not follow, would keep the task for ever.
        patience = self._loop.call_later(2 * self._settings.connect_timeout, self.task.cancel)
        self.task.add_done_callback(lambda task: patience.cancel())

    def supersede(self) -> None:
        """The peer has dialled us: it knows nothing of this connection any more."""
        self._closed = True
        self.task.cancel()

    async def _goodbye(self, call: Any) -> None:
        await self._flushed()
        with suppress(*_OVER):
            await call.write(GOODBYE)
            await call.done_writing()
        self._call = None

    def _done(self, task: asyncio.Task[None]) -> None:
        if self._writing is not None:
            self._writing.cancel()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._transport.broke(self, error)

    async def _run(self) -> None:
        try:
            if self._wait > 0.0:
                await asyncio.sleep(self._wait)
                if not self.queue:
                    return
            while not self._closed:
                dialled = self._loop.time()
                end = await self._one_connection()
                if self._closed:
                    break
                reached = self._transport.reached_by(self.peer)
                if end is End.FAILED:
                    self._stats.refused += 1
                    self._stats.failed += self.queue.clear()
                elif end is End.SILENT:
                    self._stats.silent += 1
                if end is not End.CLOSED and not reached:
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

    async def _one_connection(self) -> End:
        """Dial, write and read until the connection ends; how it did."""
        self._stats.dials += 1
        channel = grpc.aio.insecure_channel(f"ipv4:{self.peer}:{self._transport.port}", options=self._options())
        call: Any = channel.stream_stream(METHOD)(metadata=((IDENTITY, self._transport.node_id),))
        try:
            await call.wait_for_connection()
            self._stats.count_dialled()
            self._transport.reached(self.peer)
            self._backoff = self._settings.backoff_first
            self.connected_at = self._loop.time()
            self._call = call
            self._write_on()
            while (data := await call.read()) is not grpc.aio.EOF:
                self._hear(data)
        except grpc.aio.AioRpcError as error:
            log.debug("%s: %s %s", self.peer, error.code(), error.details())
            return End.SILENT if _is_silence(error) else End.FAILED
        except PeerError as error:
            self._stats.rejected += 1
            log.warning("%s: %s", self.peer, error)
            return End.FAILED
        finally:
            self._call = None
            if self._writing is not None:
                self._writing.cancel()
            await channel.close()
        return End.CLOSED

    def _options(self) -> list[tuple[str, int]]:
        return [*_channel_options(self._settings), ("grpc.min_reconnect_backoff_ms", round(1000 * self._patience()))]

    def _patience(self) -> float:
        """For the handshakes; gRPC's least reconnect backoff is really its connect time-out.

        Short towards a peer that was once reached, so that a healed path is found soon. Long towards a stranger, who may be
        busy with many like us: who gives up and dials anew makes it busier, until it accepts only connections that were given
        up. And a process that is late itself hears late of its success.
        """
        settings = self._settings
        if not self._transport.reached_before(self.peer):
            return settings.connect_most
        return min(settings.connect_timeout + 2 * self._transport.lag(), settings.connect_most)


class End(Enum):
    """How a connection ended."""

    CLOSED = auto()
    """In good order, by either side."""
    FAILED = auto()
    """Refused or reset."""
    SILENT = auto()
    """Nothing came back."""


class Accepted(Line):
    """A connection of the peer's making; made within the task that serves it."""

    def __init__(self, transport: Transport, peer: NodeId, context: Call) -> None:
        super().__init__(transport, peer)
        self._call = context
        self._task = asyncio.current_task()
        self._ended = False

    def end(self) -> None:
        """Leave the peer: it has dialled anew, or has been silent for long."""
        self._ended = True
        if self._task is not None:
            self._task.cancel()

    async def serve(self, context: Any) -> bool:
        """Read until the stream ends; whether it did in good order."""
        left = False
        try:
            while (data := await context.read()) is not grpc.aio.EOF:
                if data:
                    self._hear(data)
                left = data == GOODBYE
            await self._flushed()
            return left
        except asyncio.CancelledError:
            return left or self._ended  # or else the peer's connection broke, or the server stops
        finally:
            self._call = None
            if self._writing is not None:
                self._writing.cancel()


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
    ("grpc.max_receive_message_length", sizes.MAX_PAYLOAD + FRAME_ROOM + (1 << 16)),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 86_400_000),  # no keepalive pings (one a day), but see _silence
)


def _silence(settings: TransportSettings) -> tuple[str, int]:
    """Keepalive's time-out is what gRPC sets TCP_USER_TIMEOUT to, at both ends (gRFC A18)."""
    return ("grpc.keepalive_timeout_ms", round(settings.silence_timeout * 1000))


def server_options(settings: TransportSettings) -> list[tuple[str, int]]:
    return [*_COMMON_OPTIONS, _silence(settings), ("grpc.so_reuseport", 0)]


def _channel_options(settings: TransportSettings) -> list[tuple[str, int]]:
    return [
        *_COMMON_OPTIONS,
        _silence(settings),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
        ("grpc.enable_retries", 0),
        ("grpc.service_config_disable_resolution", 1),
    ]
