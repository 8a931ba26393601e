"""Bare hosts for measuring links: namespaces without programs, the links between them, probes and pumps.

Times of arrival are the kernel's own stamps: how late this process wakes up is no part of any figure. All hosts share one clock.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

from opus_controller.model.network import Network
from opus_controller.model.plan import Host, HostAbilities, PathTable
from opus_controller.model.shapes import AccessLink, PathShape
from opus_controller.net import namespaces, stamps
from opus_controller.net.links import LinkCounters, Links
from opus_controller.net.netem import NetemLinks
from opus_controller.net.userspace import UserspaceLinks

T = TypeVar("T")

_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_BUFFER = 16 << 20
_PROBE = struct.Struct("=qqq")
_PORT = 7007
_WRITE_BYTES = 1 << 18
_PATIENCE_S = 5.0
_COUNTERS = [field.name for field in fields(LinkCounters)]
IP_AND_UDP = 28


class Bare:
    """Hosts h0, h1, ... each a site of its own, linked."""

    def __init__(self, run: str, links: Links, hosts: int) -> None:
        self.links = links
        self._run = run
        self._hosts = hosts

    def apply(self, shapes: dict[tuple[int, int], PathShape], access: AccessLink | None = None) -> None:
        """Shape the paths named, one way each; the others have none."""
        self.links.apply(_network(self._hosts, shapes, access or AccessLink()))

    def inside(self, host: int, work: Callable[[], T]) -> T:
        return namespaces.run_inside(namespaces.path_of(namespaces.host_namespace(self._run, f"h{host}")), work)

    def udp(self, host: int, port: int = 0) -> socket.socket:
        def make() -> socket.socket:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _BUFFER)
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
            stamps.ask(sock)
            sock.bind(("0.0.0.0", port))
            return sock

        return self.inside(host, make)

    def total(self) -> LinkCounters:
        """All hosts' counters, added up."""
        counters = self.links.counters().values()
        return LinkCounters(**{name: sum(getattr(c, name) for c in counters) for name in _COUNTERS})


@contextmanager
def bare_hosts(count: int, *, offloads: bool = True, netem: bool = False) -> Iterator[Bare]:
    """`count` linked hosts; gone at the end. `offloads`: of the userspace links. PlatformError where that cannot be done."""
    run = namespaces.new_run()
    names = [namespaces.host_namespace(run, f"h{i}") for i in range(count)]
    with tempfile.TemporaryDirectory(prefix="opus-bench-") as place:
        links: Links
        if netem:
            links = NetemLinks(run, seed=1)
        else:
            links = UserspaceLinks(Path(place), exit_with=os.getpid(), offloads=offloads, seed="bench")
        try:
            namespaces.create(names)
            bare = Bare(run, links, count)
            bare.apply({})
            for i, name in enumerate(names):
                links.attach(f"h{i}", namespaces.path_of(name))
            yield bare
        finally:
            links.close()
            for name in names:
                namespaces.delete(name)


def address(host: int) -> str:
    return f"198.18.0.{host + 1}"


def round_trips(bare: Bare, targets: Sequence[int], probes: int, gap_s: float) -> dict[int, list[int]]:
    """Round trips in ns from h0 to each target, `probes` each, without the time they spent in the echoing program."""
    found: dict[int, list[int]] = {target: [] for target in targets}
    asker = bare.udp(0, _PORT)
    sockets = {sock.fileno(): sock for sock in [asker, *(bare.udp(target, _PORT) for target in targets)]}
    poll = select.poll()
    for fd in sockets:
        poll.register(fd, select.POLLIN)
    start, sent, missing = time.monotonic(), 0, probes * len(targets)
    while missing and time.monotonic() < start + probes * len(targets) * gap_s + _PATIENCE_S:
        if sent < probes * len(targets) and time.monotonic() >= start + sent * gap_s:
            target = targets[sent % len(targets)]
            asker.sendto(_PROBE.pack(target, time.clock_gettime_ns(time.CLOCK_REALTIME), 0), (address(target), _PORT))
            sent += 1
        for fd, _ in poll.poll(gap_s * 500):
            (target, began, spent), arrived, peer = _receive(sockets[fd])
            if sockets[fd] is asker:
                found[target].append(arrived - began - spent)
                missing -= 1
            else:
                reply = _PROBE.pack(target, began, time.clock_gettime_ns(time.CLOCK_REALTIME) - arrived)
                sockets[fd].sendto(reply, peer)
    for sock in sockets.values():
        sock.close()
    return found


def flood(bare: Bare, size: int, rate: float, seconds: float) -> tuple[float, LinkCounters]:
    """Datagrams of `size` IP bytes from h0 to h1, `rate` a second: (delivered a second, what the links counted)."""
    sink = bare.udp(1, _PORT)  # never read: what it cannot hold is its own affair, the links have delivered it
    source = bare.udp(0)
    source.connect((address(1), _PORT))
    data = bytes(size - IP_AND_UDP)
    before = bare.total()
    start = time.monotonic()
    sent = 0
    while (elapsed := time.monotonic() - start) < seconds:
        for _ in range(min(64, int(elapsed * rate) - sent)):
            source.send(data)
            sent += 1
    after = _settled(bare)
    source.close()
    sink.close()
    change = _difference(after, before)
    return change.received / seconds, change


def datagram_rate(bare: Bare, offered_bps: float, seconds: float) -> float:
    """bits/s of IP packets that reach h1 while h0 offers more than the links let through; by the kernel's stamps."""
    sink, source = bare.udp(1, _PORT), bare.udp(0)
    sink.setblocking(False)
    source.connect((address(1), _PORT))
    data = bytes(1500 - IP_AND_UDP)
    stamps: list[int] = []
    start, sent = time.monotonic(), 0
    while (elapsed := time.monotonic() - start) < seconds:
        if sent * 1500 * 8 < elapsed * offered_bps:
            source.send(data)
            sent += 1
        try:
            stamps.append(_stamp(sink.recvmsg(2048, 64)[1]))
        except BlockingIOError:
            continue
    source.close()
    sink.close()
    return (len(stamps) - 1) * 1500 * 8e9 / (stamps[-1] - stamps[0])


def tcp_rate(bare: Bare, seconds: float, *, warm_up: float = 1.0) -> tuple[float, LinkCounters]:
    """bits/s of TCP payload from h0 to h1 after `warm_up`, and what the links counted over the whole transfer."""
    listener = bare.inside(1, lambda: socket.create_server((address(1), _PORT)))
    source = bare.inside(0, lambda: socket.create_connection((address(1), _PORT), timeout=30))
    sink, _ = listener.accept()
    before = bare.total()
    got = 0

    def drain() -> None:
        nonlocal got
        buffer = bytearray(1 << 20)
        while count := sink.recv_into(buffer):
            got += count

    def pump() -> None:
        data, end = bytes(_WRITE_BYTES), time.monotonic() + warm_up + seconds
        while time.monotonic() < end:
            source.send(data)
        source.close()

    threads = [threading.Thread(target=drain), threading.Thread(target=pump)]
    for thread in threads:
        thread.start()
    time.sleep(warm_up)
    began, at_first = time.monotonic(), got
    time.sleep(seconds)
    rate = (got - at_first) * 8 / (time.monotonic() - began)
    for thread in threads:
        thread.join()
    sink.close()
    listener.close()
    return rate, _difference(_settled(bare), before)


def _settled(bare: Bare) -> LinkCounters:
    """The counters once nothing moves any more."""
    before, after = LinkCounters(), bare.total()
    while after != before:
        time.sleep(0.3)
        before, after = after, bare.total()
    return after


def _difference(after: LinkCounters, before: LinkCounters) -> LinkCounters:
    return LinkCounters(**{name: getattr(after, name) - getattr(before, name) for name in _COUNTERS})


def _receive(sock: socket.socket) -> tuple[tuple[int, int, int], int, tuple[str, int]]:
    data, ancillary, _, peer = sock.recvmsg(2048, 64)
    target, began, spent = _PROBE.unpack(data)
    return (target, began, spent), _stamp(ancillary), peer


def _stamp(ancillary: list[tuple[int, int, bytes]]) -> int:
    arrived = stamps.read(ancillary)
    assert arrived is not None
    return arrived


def _network(count: int, shapes: dict[tuple[int, int], PathShape], access: AccessLink) -> Network:
    table = tuple(dict.fromkeys([PathShape(), *shapes.values()]))
    index = tuple(
        tuple(table.index(shapes[i, j]) if (i, j) in shapes else 0 for j in range(count)) for i in range(count)
    )  # fmt: skip
    hosts = tuple(
        Host(
            name=f"h{i}", index=i, site=f"h{i}", group="bare", address=address(i), access=access, abilities=HostAbilities()
        )
        for i in range(count)
    )  # fmt: skip
    return Network(hosts=hosts, sites=tuple(host.site for host in hosts), paths=PathTable(shapes=table, index=index))
