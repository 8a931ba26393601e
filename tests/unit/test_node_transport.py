"""The transport on loopback: what is sent arrives, a dead peer is told once, a silent or slow one blocks nobody.

Every node here has an address of its own in 127.0.0.0/8, all on one port.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import grpc.aio
import pytest
from opus_node import codec
from opus_node.core.messages import AppDelay, Lease, Message, Probe, ProbeReply, ReplicaSet, Reply, RouteRequest
from opus_node.errors import LocalError
from opus_node.sizes import ACK_OVERHEAD, MAX_DATAGRAM, STREAM_OVERHEAD, UDP_IP_OVERHEAD, in_frame
from opus_node.transport import Transport, TransportSettings

pytestmark = pytest.mark.clock
LOOPBACK = TransportSettings(verify_source=False)  # the kernel calls from 127.0.0.1 whatever address listens
_hosts = count(2)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Node:
    """A transport with what came out of it."""

    def __init__(self, host: str, port: int, settings: TransportSettings = LOOPBACK) -> None:
        self.host = host
        self.received: list[tuple[str, Message]] = []
        self.unreachable: list[str] = []
        self.changed = asyncio.Event()
        self.transport = Transport(host, self._message, self._unreachable, settings, port)

    def _message(self, source: str, message: Message) -> None:
        self.received.append((source, message))
        self.changed.set()

    def _unreachable(self, peer: str) -> None:
        self.unreachable.append(peer)
        self.changed.set()

    async def until(self, fact: Callable[[], bool], deadline: float = 20.0) -> None:
        async with asyncio.timeout(deadline):
            while not fact():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def nodes(port: int, number: int, settings: TransportSettings = LOOPBACK) -> Any:
    made = [Node(f"127.0.0.{i + 2}", port, settings) for i in range(number)]
    try:
        for node in made:
            node.transport.bind(node.host)
            await node.transport.start()
        yield made
    finally:
        for node in made:
            await node.transport.stop()


async def eventually(fact: Callable[[], bool], deadline: float = 20.0) -> None:
    """Wait on a fact that announces itself to nobody."""
    async with asyncio.timeout(deadline):
        while not fact():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def body() -> None:
        await test()

    asyncio.run(body())


def test_messages_arrive_in_order_with_their_senders_name() -> None:
    async def body() -> None:
        async with nodes(free_port(), 2) as (a, b):
            for nonce in range(200):
                a.transport.send(b.host, Probe(nonce, stream=True))
            await b.until(lambda: len(b.received) == 200)
            b.transport.send(a.host, Probe(7, stream=True))
            await a.until(lambda: len(a.received) == 1)
            assert b.received == [(a.host, Probe(nonce, stream=True)) for nonce in range(200)]
            assert a.received == [(b.host, Probe(7, stream=True))]
            sent, received = a.transport.stats, b.transport.stats
            assert sent.messages_sent == received.messages_received == 200
            assert sent.dials == 1
            assert sent.control_bytes_sent == received.control_bytes_received > 200 * 3

    run(body)


def test_an_answer_comes_back_on_the_askers_connection() -> None:
    async def body() -> None:
        async with nodes(free_port(), 2) as (a, b):
            a.transport.send(b.host, Probe(1, stream=True))
            await b.until(lambda: len(b.received) == 1)
            for nonce in range(50):
                b.transport.send(a.host, Probe(nonce, stream=True))
            await a.until(lambda: len(a.received) == 50)
            assert a.received == [(b.host, Probe(nonce, stream=True)) for nonce in range(50)]
            assert (a.transport.stats.dials, b.transport.stats.dials) == (1, 0)
            assert (a.transport.links, b.transport.streams) == (1, 1)

    run(body)


def test_peers_that_dial_at_once_lose_nothing_and_accuse_nobody() -> None:
    async def body() -> None:
        async with nodes(free_port(), 2) as (a, b):
            for nonce in range(20):
                a.transport.send(b.host, Probe(nonce, stream=True))
                b.transport.send(a.host, Probe(nonce, stream=True))
            await a.until(lambda: len(a.received) == 20)
            await b.until(lambda: len(b.received) == 20)
            for nonce in range(20, 40):
                a.transport.send(b.host, Probe(nonce, stream=True))
                b.transport.send(a.host, Probe(nonce, stream=True))
            await a.until(lambda: len(a.received) == 40)
            await b.until(lambda: len(b.received) == 40)
            assert sorted(a.received, key=lambda one: one[1].nonce) == [
                (b.host, Probe(nonce, stream=True)) for nonce in range(40)
            ]
            assert a.unreachable == b.unreachable == []

    run(body)


def test_who_dialled_in_vain_speaks_as_soon_as_the_peer_dials() -> None:
    """As after a cut: one side's dial is first, and carries what waits at the other."""

    async def body() -> None:
        port = free_port()
        settings = TransportSettings(verify_source=False, connect_timeout=30.0)
        with socket.socket() as mute:
            mute.bind(("127.0.0.90", port))
            mute.listen()
            async with nodes(port, 1, settings) as (a,):
                a.transport.send("127.0.0.90", Probe(1, stream=True))  # its kernel accepts, nobody answers
                await asyncio.sleep(0)
                back = Transport(
                    "127.0.0.90", lambda source, message: heard.put_nowait(message), lambda peer: None, settings, port
                )
                heard: asyncio.Queue[Message] = asyncio.Queue()
                back.send(a.host, Probe(2, stream=True))
                try:
                    await a.until(lambda: len(a.received) == 1)
                    async with asyncio.timeout(10):
                        assert await heard.get() == Probe(1, stream=True)
                finally:
                    await back.stop()

    run(body)


def test_a_peer_that_dials_anew_is_answered_there_and_not_on_its_old_connection() -> None:
    """It gave the old one up while nothing was said on it, and only it knows."""

    async def body() -> None:
        port = free_port()
        settings = TransportSettings(verify_source=False, connect_timeout=1.0)
        async with nodes(port, 2, settings) as (a, b):
            a.transport.send(b.host, Probe(1, stream=True))
            await b.until(lambda: len(b.received) == 1)
            await asyncio.sleep(1.1)  # not to synchronise: older than a dial at once would be
            heard: asyncio.Queue[Message] = asyncio.Queue()
            anew = Transport(b.host, lambda source, message: heard.put_nowait(message), lambda peer: None, settings, port)
            anew.send(a.host, Probe(2, stream=True))
            try:
                await a.until(lambda: len(a.received) == 1)
                a.transport.send(b.host, Probe(3, stream=True))
                async with asyncio.timeout(10):
                    assert await heard.get() == Probe(3, stream=True)
                assert a.transport.links == 0
                assert a.unreachable == []
            finally:
                await anew.stop()

    run(body)


def test_the_death_of_a_peer_that_dialled_is_noticed_too() -> None:
    async def body() -> None:
        async with nodes(free_port(), 2) as (a, b):
            a.transport.send(b.host, Probe(1, stream=True))
            await b.until(lambda: len(b.received) == 1)
            for link in list(a.transport._links.values()):
                link.task.cancel()  # without a goodbye, as a kernel ends a process
            await b.until(lambda: b.unreachable == [a.host])
            assert b.transport.stats.broken == 1

    run(body)


def test_requests_and_control_are_counted_apart() -> None:
    async def body() -> None:
        reply = Reply("web", "127.0.0.2", 1, 0, 5, 2, ReplicaSet("web", 1, "127.0.0.3", ()), 30_000)
        async with nodes(free_port(), 2) as (a, b):
            a.transport.send(b.host, Probe(1, stream=True))
            a.transport.send(b.host, reply)
            await b.until(lambda: len(b.received) == 2)
            stats = b.transport.stats
            assert stats.request_bytes_received > 30_000 > 2_000 > stats.control_bytes_received > 0

    run(body)


def test_a_refused_connection_is_told_once_and_what_waited_is_counted() -> None:
    async def body() -> None:
        async with nodes(free_port(), 1) as (a,):
            for nonce in range(5):
                a.transport.send("127.0.0.99", Probe(nonce, stream=True))
            await a.until(lambda: bool(a.unreachable))
            assert a.unreachable == ["127.0.0.99"]
            assert a.transport.stats.failed == 5

    run(body)


def test_sending_into_a_refusing_peer_makes_no_storm() -> None:
    """One notice a dial, however many messages; and dials back off."""

    async def body() -> None:
        async with nodes(free_port(), 1) as (a,):
            loop = asyncio.get_running_loop()
            start = loop.time()
            sent = 0
            while len(a.unreachable) < 4:
                a.transport.send("127.0.0.99", Probe(sent, stream=True))
                sent += 1
                await asyncio.sleep(0.005)
            elapsed = loop.time() - start
            assert a.transport.stats.dials == 4
            assert sent > 20
            assert elapsed > 0.9 * (0.1 + 0.16 + 0.256)  # the three backoffs between four dials

    run(body)


def test_a_peer_that_dies_is_noticed_at_once_and_its_restart_is_found() -> None:
    async def body() -> None:
        port = free_port()
        async with nodes(port, 2) as (a, b):
            a.transport.send(b.host, Probe(1, stream=True))
            await b.until(lambda: len(b.received) == 1)
            await b.transport.stop()
            await a.until(lambda: a.unreachable == [b.host])  # without having sent anything

            again = Node(b.host, port)
            again.transport.bind(b.host)
            await again.transport.start()
            try:
                a.transport.send(b.host, Probe(2, stream=True))
                await again.until(lambda: (a.host, Probe(2, stream=True)) in again.received)
            finally:
                await again.transport.stop()

    run(body)


def test_a_silent_peer_blocks_nobody_and_messages_to_it_expire() -> None:
    """It accepts connections (its kernel does) and never says a word."""

    async def body() -> None:
        port = free_port()
        with socket.socket() as mute:
            mute.bind(("127.0.0.77", port))
            mute.listen()
            settings = TransportSettings(verify_source=False, expiry=3.0, connect_timeout=2.0)
            async with nodes(port, 2, settings) as (a, b):
                for nonce in range(20):
                    a.transport.send("127.0.0.77", Probe(nonce, stream=True))
                a.transport.send(b.host, Probe(1, stream=True))
                await b.until(lambda: len(b.received) == 1)
                assert a.unreachable == []  # the silent one is still being waited for
                await eventually(lambda: a.transport.stats.expired == 20)
                stats = a.transport.stats
                assert stats.silent == len(a.unreachable) >= 1
                assert stats.refused == 0

    run(body)


def test_the_queue_to_a_silent_peer_is_bounded() -> None:
    async def body() -> None:
        port = free_port()
        with socket.socket() as mute:
            mute.bind(("127.0.0.78", port))
            mute.listen()
            settings = TransportSettings(verify_source=False, queue_messages=10)
            async with nodes(port, 1, settings) as (a,):
                for nonce in range(50):
                    a.transport.send("127.0.0.78", Probe(nonce, stream=True))
                assert a.transport.queued()[0] == 10
                assert a.transport.stats.dropped == 40

    run(body)


def test_a_peer_that_never_reads_holds_up_nothing_and_can_be_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a paused process does: its kernel acknowledges everything, and HTTP/2's window is full after a while."""

    class Full:
        """A call whose window is full."""

        def __init__(self) -> None:
            self.closed = False

        def stream_stream(self, method: str) -> Callable[..., Full]:
            return lambda metadata: self

        def add_done_callback(self, callback: object) -> None: ...
        def done(self) -> bool:
            return False

        async def wait_for_connection(self) -> None: ...
        async def write(self, frame: bytes) -> None:
            await asyncio.Event().wait()

        async def read(self) -> bytes:
            await asyncio.Event().wait()
            return b""

        async def done_writing(self) -> None: ...

        async def close(self) -> None:
            self.closed = True

    async def body() -> None:
        full = Full()
        settings = TransportSettings(verify_source=False, queue_messages=10)
        async with nodes(free_port(), 2, settings) as (a, b):
            a.transport.send(b.host, Probe(0, stream=True))
            await b.until(lambda: len(b.received) == 1)
            monkeypatch.setattr(grpc.aio, "insecure_channel", lambda *args, **kwargs: full)
            a.transport.send("127.0.0.80", Probe(0, stream=True))
            await asyncio.sleep(0)
            for nonce in range(30):
                a.transport.send("127.0.0.80", Probe(nonce, stream=True))
            a.transport.send(b.host, Probe(1, stream=True))
            await b.until(lambda: len(b.received) == 2)
            assert a.transport.stats.dropped >= 20
            async with asyncio.timeout(10):
                await a.transport.stop()
            assert full.closed

    run(body)


def test_links_are_bounded_the_least_recently_used_goes_and_comes_back() -> None:
    async def body() -> None:
        async with nodes(free_port(), 5, TransportSettings(verify_source=False, max_links=2)) as (a, *others):
            for peer in others:
                a.transport.send(peer.host, Probe(1, stream=True))
                await peer.until(lambda peer=peer: len(peer.received) == 1)
                assert a.transport.links <= 2
            first = others[0]
            a.transport.send(first.host, Probe(2, stream=True))
            await first.until(lambda: len(first.received) == 2)
            assert a.transport.stats.dials == 5
            assert a.unreachable == []  # closing in good order is no failure

    run(body)


def test_idle_links_close_on_both_ends() -> None:
    async def body() -> None:
        settings = TransportSettings(verify_source=False, idle_timeout=1.5)
        async with nodes(free_port(), 2, settings) as (a, b):
            a.transport.send(b.host, Probe(1, stream=True))
            await b.until(lambda: len(b.received) == 1)
            assert (a.transport.links, b.transport.streams) == (1, 1)
            await eventually(lambda: a.transport.links == b.transport.streams == 0)
            assert a.unreachable == []

    run(body)


async def _stream(target: str, identity: str, frames: list[bytes]) -> grpc.StatusCode:
    """A stream by hand, what comes back on it unread; how it ended."""
    async with grpc.aio.insecure_channel(target) as channel:
        metadata = (("opus-node", identity),) if identity else ()
        method: Any = channel.stream_stream("/opus.v1.Overlay/Stream")
        call = method(iter(frames), metadata=metadata)
        return await call.code()  # type: ignore[no-any-return]


@pytest.mark.parametrize("identity", ["127.0.0.9", "", "127.0.0.1:5", "127.0.0"])
def test_a_false_identity_is_refused(identity: str) -> None:
    async def body() -> None:
        port = free_port()
        async with nodes(port, 1, TransportSettings()) as (a,):
            target, good = f"127.0.0.2:{port}", codec.frame([codec.encode(Probe(1, stream=True))])
            assert await _stream(target, identity, [good]) is grpc.StatusCode.UNAUTHENTICATED
            assert a.received == []
            assert await _stream(target, "127.0.0.1", [good]) is grpc.StatusCode.OK
            assert a.received == [("127.0.0.1", Probe(1, stream=True))]
            assert a.transport.stats.rejected == 1

    run(body)


def test_a_malformed_frame_ends_the_stream_and_nothing_else() -> None:
    async def body() -> None:
        port = free_port()
        async with nodes(port, 1) as (a,):
            target = f"127.0.0.2:{port}"
            assert await _stream(target, "127.0.0.1", [b"\xff\xff"]) is grpc.StatusCode.INVALID_ARGUMENT
            assert a.transport.stats.rejected == 1
            good = codec.frame([codec.encode(Probe(1, stream=True))])
            assert await _stream(target, "127.0.0.1", [good]) is grpc.StatusCode.OK
            assert a.received == [("127.0.0.1", Probe(1, stream=True))]

    run(body)


# Outside of connections


def test_what_measures_a_path_goes_and_is_answered_by_datagrams_and_dials_nobody() -> None:
    async def body() -> None:
        async with nodes(free_port(), 2) as (a, b):
            a.transport.send(b.host, Probe(1))
            await b.until(lambda: len(b.received) == 1)
            b.transport.send(a.host, ProbeReply(1, False, 0))
            await a.until(lambda: len(a.received) == 1)
            assert (b.received, a.received) == ([(a.host, Probe(1))], [(b.host, ProbeReply(1, False, 0))])
            assert a.transport.links == b.transport.links == a.transport.streams == b.transport.streams == 0
            bytes_there = len(codec.encode(Probe(1))) + UDP_IP_OVERHEAD
            assert a.transport.stats.control_bytes_sent == b.transport.stats.control_bytes_received == bytes_there

    run(body)


def test_a_node_that_does_not_hear_yet_can_ask() -> None:
    """A core's first question leaves before its node listens; it was lost, and asked again 0.8 s later."""

    async def body() -> None:
        port = free_port()
        async with nodes(port, 1) as (seed,):
            newcomer = Node("127.0.0.9", port)
            newcomer.transport.bind(newcomer.host)
            newcomer.transport.send(seed.host, Probe(1))
            try:
                await seed.until(lambda: len(seed.received) == 1)
                seed.transport.send(newcomer.host, ProbeReply(1, True, 0))
                await newcomer.transport.start()
                await newcomer.until(lambda: len(newcomer.received) == 1)
            finally:
                await newcomer.transport.stop()
            assert (seed.received, newcomer.received) == (
                [(newcomer.host, Probe(1))],
                [(seed.host, ProbeReply(1, True, 0))],
            ), "what comes meanwhile waits in the kernel"

    run(body)


def test_an_answer_too_long_for_a_packet_takes_a_connection() -> None:
    async def body() -> None:
        async with nodes(free_port(), 2) as (a, b):
            long = ProbeReply(1, True, 3, delays=tuple(AppDelay(f"application-{i:04}", i) for i in range(100)))
            a.transport.send(b.host, long)
            await b.until(lambda: len(b.received) == 1)
            assert b.received == [(a.host, long)]
            assert a.transport.stats.dials == 1

    run(body)


def test_a_datagram_that_is_none_of_ours_is_counted_and_harms_nobody() -> None:
    async def body() -> None:
        port = free_port()
        async with nodes(port, 2) as (a, b):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                for payload in (b"", b"GET / HTTP/1.1", codec.encode(Probe(1))[:-1], codec.encode(Probe(2, stream=True))):
                    stranger.sendto(payload, (b.host, port))
                await eventually(lambda: b.transport.stats.rejected == 4)
            a.transport.send(b.host, Probe(3))
            await b.until(lambda: len(b.received) == 1)
            assert b.received == [(a.host, Probe(3))], "what a connection would answer for is not taken from a datagram"

    run(body)


def test_a_reply_to_a_stranger_goes_both_ways_and_to_an_acquaintance_by_the_connection_alone() -> None:
    async def body() -> None:
        async with nodes(free_port(), 2) as (a, b):
            small = Reply("web", b.host, 1, 1, 0, 1, ReplicaSet("web", 1, a.host, ()), 200)
            a.transport.send(b.host, small)
            await b.until(lambda: len(b.received) == 2)
            assert b.received == 2 * [(a.host, small)]
            assert a.transport.links == b.transport.streams == 1
            b.transport.send(a.host, replace(small, client=a.host))  # the connection serves both
            a.transport.send(b.host, replace(small, request=2))
            await b.until(lambda: len(b.received) == 3)
            await a.until(lambda: len(a.received) == 1)
            assert (b.received[2], b.transport.links) == ((a.host, replace(small, request=2)), 0)
            size = len(codec.encode(small))
            sent = size + UDP_IP_OVERHEAD + 2 * (in_frame(size) + STREAM_OVERHEAD) + ACK_OVERHEAD  # for what came back
            await eventually(lambda: a.transport.stats.request_bytes_sent == sent)

    run(body)


def test_a_reply_that_fits_no_packet_goes_by_the_connection() -> None:
    async def body() -> None:
        async with nodes(free_port(), 2) as (a, b):
            large = Reply("web", b.host, 1, 1, 0, 1, ReplicaSet("web", 1, a.host, ()), MAX_DATAGRAM)
            a.transport.send(b.host, large)
            a.transport.send(b.host, Lease(1, 0, 0, 0, 1.0, 0, 0, 0, ()))  # comes after all that went before
            await b.until(lambda: any(isinstance(message, Lease) for _, message in b.received))
            assert [message for _, message in b.received if isinstance(message, Reply)] == [large]

    run(body)


def test_a_reply_is_not_lost_with_a_peer_that_takes_no_datagrams() -> None:
    async def body() -> None:
        async with nodes(free_port(), 2) as (a, b):
            b.transport._datagrams.close()
            small = Reply("web", b.host, 1, 1, 0, 1, ReplicaSet("web", 1, a.host, ()), 200)
            a.transport.send(b.host, small)
            await b.until(lambda: len(b.received) == 1)
            assert b.received == [(a.host, small)]

    run(body)


CALL = RouteRequest("web", "127.0.0.2", 1, 1, 0, False, 1, True, 10**9, 200, 200)


def test_who_is_asked_by_a_datagram_answers_by_the_connection_that_follows_it() -> None:
    async def body() -> None:
        settings = TransportSettings(verify_source=False, called_wait=60.0)
        async with nodes(free_port(), 2, settings) as (a, b):
            small = Reply("web", a.host, 1, 1, 0, 1, ReplicaSet("web", 1, b.host, ()), 200)
            heard = b.transport._on_message

            def answer(source: str, message: Message) -> None:
                heard(source, message)
                if len(b.received) == 1:
                    b.transport.send(source, small)

            b.transport._on_message = answer
            a.transport.send(b.host, CALL)
            await a.until(lambda: len(a.received) == 2)
            await b.until(lambda: len(b.received) == 2)
            assert (a.received, b.received) == (2 * [(b.host, small)], 2 * [(a.host, CALL)])
            assert (a.transport.stats.dials, b.transport.stats.dials) == (1, 0)

    run(body)


def test_who_was_asked_by_a_datagram_dials_if_nobody_else_does() -> None:
    async def body() -> None:
        port = free_port()
        settings = TransportSettings(verify_source=False, called_wait=0.2)
        async with nodes(port, 1, settings) as (b,):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.bind(("127.0.0.9", port))
                stranger.sendto(codec.encode(CALL), (b.host, port))
                await b.until(lambda: len(b.received) == 1)
                b.transport.send("127.0.0.9", Reply("web", "127.0.0.9", 1, 1, 0, 1, ReplicaSet("web", 1, b.host, ()), 200))
                assert b.transport.stats.dials == 0
                await b.until(lambda: b.unreachable == ["127.0.0.9"])
                assert b.transport.stats.dials == 1

    run(body)


def test_a_taken_port_is_told_and_nothing_is_kept() -> None:
    async def body() -> None:
        port = free_port()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.2", port))
            with pytest.raises(LocalError, match=f"cannot listen on 127.0.0.2:{port}: is another node there"):
                Node("127.0.0.2", port).transport.bind("127.0.0.2")
        async with nodes(port, 1) as (a,):
            assert a.transport.links == 0

    run(body)
