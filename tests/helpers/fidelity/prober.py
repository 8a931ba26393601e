"""The prober: numbered datagrams with the time of sending in them, and the kernel's time of their arrival.

All hosts share one clock, so one-way delays are exact. One thread sends what is due and then takes what has come; how
late it does either changes nothing, since both times are of the event itself. (`ping` shows steps of 1 ms above 100 ms.)
"""

from __future__ import annotations

import gc
import heapq
import select
import socket
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from opus_controller.net import stamps

from helpers.fidelity.live import LiveNetwork

IP_AND_UDP = 28
_HEADER = struct.Struct("=IIq")
_SO_NO_CHECK = 11
_FIRST_PORT = 20_000
_GRACE_NS, _QUIET_NS, _POLL_NS = 1_500_000_000, 250_000_000, 20_000_000
_FILLER = bytes(i * 37 & 255 for i in range(1500))


@dataclass(frozen=True)
class Flow:
    """`packets` from one host to another, one each `gap_ns` from `start_ns` on; `size` counts the IP header and all after it."""

    name: str
    source: str
    target: str
    packets: int
    gap_ns: int
    size: int = 100
    start_ns: int = 0
    unchecked: bool = False
    """Without UDP checksum, so that damaged packets are seen."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """In the order in which they came. A damaged packet's number cannot be trusted and is -1."""

    number: int
    at_ns: int
    flipped_bits: int = 0


@dataclass
class Observation:
    """What became of a flow's packets; times in ns of CLOCK_REALTIME."""

    flow: Flow
    sent_ns: list[int] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)

    @property
    def delays_ns(self) -> list[int]:
        """Of each arrival of an undamaged packet."""
        return [arrival.at_ns - self.sent_ns[arrival.number] for arrival in self.arrivals if arrival.number >= 0]

    @property
    def arrived(self) -> list[bool]:
        """For each packet sent, whether it came undamaged."""
        seen = [False] * len(self.sent_ns)
        for arrival in self.arrivals:
            if arrival.number >= 0:
                seen[arrival.number] = True
        return seen


@dataclass(frozen=True)
class Change:
    """Something done to the links while packets flow."""

    at_ns: int
    work: Callable[[], None]


@dataclass
class Probed:
    """Observations by flow, and for each change when it began and when it was in force."""

    flows: dict[str, Observation]
    changes: list[tuple[int, int]]


def probe(live: LiveNetwork, flows: Sequence[Flow], changes: Sequence[Change] = ()) -> Probed:
    """Send everything and take what arrives, until nothing more can be expected."""
    run = _Run(live, flows, changes)
    collecting = gc.isenabled()
    gc.disable()
    try:
        run.loop()
    finally:
        run.close()
        if collecting:
            gc.enable()
    return Probed({flow.name: seen for flow, seen in zip(flows, run.seen, strict=True)}, run.changed)


class _Run:
    def __init__(self, live: LiveNetwork, flows: Sequence[Flow], changes: Sequence[Change]) -> None:
        self.seen = [Observation(flow) for flow in flows]
        self.changed: list[tuple[int, int]] = []
        self._changes = sorted(changes, key=lambda change: change.at_ns)
        self._epoll = select.epoll()
        self._receivers: dict[int, tuple[int, socket.socket]] = {}
        self._senders = []
        self._bodies = []
        self._sources = []
        for number, flow in enumerate(flows):
            receiver = live.udp(flow.target, _FIRST_PORT + number)
            self._receivers[receiver.fileno()] = number, receiver
            self._epoll.register(receiver.fileno(), select.EPOLLIN)
            sender = live.udp(flow.source)
            if flow.unchecked:
                sender.setsockopt(socket.SOL_SOCKET, _SO_NO_CHECK, 1)
            sender.connect((live.hosts[flow.target].address, _FIRST_PORT + number))
            self._senders.append(sender)
            self._sources.append(live.hosts[flow.source].address)
            self._bodies.append(_FILLER[: flow.size - IP_AND_UDP - _HEADER.size])

    def loop(self) -> None:
        queue = [(seen.flow.start_ns, i) for i, seen in enumerate(self.seen)]
        heapq.heapify(queue)
        missing = sum(seen.flow.packets for seen in self.seen)
        origin = time.monotonic_ns()
        end = 0
        while True:
            now = time.monotonic_ns() - origin
            self._change(now)
            while queue and queue[0][0] <= now:
                due, i = heapq.heappop(queue)
                seen = self.seen[i]
                self._send(i)
                if len(seen.sent_ns) < seen.flow.packets:
                    heapq.heappush(queue, (due + seen.flow.gap_ns, i))
                missing -= 1
            if not missing:
                end = end or now + _GRACE_NS
            wait = queue[0][0] - (time.monotonic_ns() - origin) if queue else _POLL_NS
            came = self._epoll.poll(max(0, min(wait, _POLL_NS)) / 1e9)
            for fd, _ in came:
                self._take(*self._receivers[fd])
            if came and end:  # on a machine that stood still packets are late, and so is this
                end = max(end, now + _QUIET_NS)
            elif end and now > end and not self._changes:
                return

    def close(self) -> None:
        for sock in [*self._senders, *(sock for _, sock in self._receivers.values())]:
            sock.close()
        self._epoll.close()

    def _change(self, now: int) -> None:
        while self._changes and self._changes[0].at_ns <= now:
            change = self._changes.pop(0)
            began = time.clock_gettime_ns(time.CLOCK_REALTIME)
            change.work()
            self.changed.append((began, time.clock_gettime_ns(time.CLOCK_REALTIME)))

    def _send(self, i: int) -> None:
        seen = self.seen[i]
        number = len(seen.sent_ns)
        sent = time.clock_gettime_ns(time.CLOCK_REALTIME)
        header = _HEADER.pack(zlib.crc32(struct.pack("=Iq", number, sent)), number, sent)
        self._senders[i].send(header + self._bodies[i])
        seen.sent_ns.append(sent)

    def _take(self, i: int, sock: socket.socket) -> None:
        """Every packet that waits on a socket."""
        arrivals, body = self.seen[i].arrivals, self._bodies[i]
        while True:
            try:
                data, ancillary, _, (address, _) = sock.recvmsg(2048, 64)
            except BlockingIOError:
                return
            if address == self._sources[i]:  # a bit flipped in the port of another flow's packet leads it here
                arrivals.append(_arrival(data, body, _stamp(ancillary)))


def _arrival(data: bytes, body: bytes, at_ns: int) -> Arrival:
    if len(data) < _HEADER.size:
        return Arrival(-1, at_ns, 1)  # the bit that was flipped is one of its length
    check, number, sent = _HEADER.unpack_from(data)
    if check == zlib.crc32(struct.pack("=Iq", number, sent)) and data[_HEADER.size :] == body:
        return Arrival(number, at_ns)
    flipped = sum((a ^ b).bit_count() for a, b in zip(data[_HEADER.size :], body, strict=False))
    return Arrival(-1, at_ns, max(1, flipped))


def _stamp(ancillary: list[tuple[int, int, bytes]]) -> int:
    at = stamps.read(ancillary)
    assert at is not None, "the kernel did not say when the packet came"
    return at
