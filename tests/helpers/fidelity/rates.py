"""Rates and queues of access links, one after the other: each gets the machine to itself.

Rates count IP packets, headers included, and no framing below. UDP: packets of 1,200 B offered at 1.25 times the rate,
judged from the times of arrival. TCP, for 100 Mbit/s: a stream carries 1,448 B of data in each packet of 1,500 B, so the rate
of IP packets is 1500/1448 of what arrives, by the kernel's times of arrival; a busy machine only makes it less, so the best
of three counts.
Queues: 80 packets of 1,000 B at once.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from opus_controller.model.shapes import AccessLink, Direction, PathShape
from opus_controller.net import stamps

from helpers.fidelity import judges
from helpers.fidelity.judges import Judgement
from helpers.fidelity.live import LiveNetwork, live_network, network_of
from helpers.fidelity.prober import Flow, Observation, probe

MS = 1_000_000
MBIT = 1_000_000
_PACKET = 1200
_OFFERED = 1.25
_QUEUE_PACKET = 1000
_TCP_FRAMING = 1500 / 1448
_WARM_UP_NS = 750 * MS
_PIECES, _PIECE_NS = 80, 25 * MS
_BUFFER = 8 << 20
_READ = 1 << 14
_STREAMS = 3
_TRIES, _BURST_NS = 8, 16 * MS
"""A burst takes no longer than this, in which the queue lets two packets out."""
_PATH = PathShape(delay_ns=10 * MS)
BUCKET = 2 * 1514 + 3 * _QUEUE_PACKET
"""What passes beside the queue at 1 Mbit/s: netem's token bucket of two frames, and what is let out while the burst is sent."""


@dataclass(frozen=True)
class Rates:
    flows: dict[str, Observation]
    streams: dict[str, list[float]]
    """Bits of IP packets per second, in pieces of 25 ms: for 4 ms that the machine stood still a link's bucket makes up, for more
    it does not, and most pieces hold no such moment."""

    def judge(self, name: str, flow: str) -> Judgement:
        return PROPERTIES[name].judge(self, flow)


@dataclass(frozen=True)
class Property:
    judge: Callable[[Rates, str], Judgement]
    right: str
    wrong: tuple[str, ...]


def _rate(asked: int) -> Callable[[Rates, str], Judgement]:
    return lambda found, flow: judges.rate(found.flows[flow], asked)


def _stream(asked: int) -> Callable[[Rates, str], Judgement]:
    def judge(found: Rates, flow: str) -> Judgement:
        pieces = found.streams[flow]
        return judges.rate_of(pieces, asked, int(sum(pieces) * _PIECE_NS / 1e9 / 12_000))

    return judge


def _queue(asked: int) -> Callable[[Rates, str], Judgement]:
    return lambda found, flow: judges.queue(found.flows[flow], asked, BUCKET)


PROPERTIES = {
    "up 1 Mbit/s": Property(_rate(MBIT), "up 1", ("up 10",)),
    "up 10 Mbit/s": Property(_rate(10 * MBIT), "up 10", ("!up 11",)),
    "up 100 Mbit/s (TCP)": Property(_stream(100 * MBIT), "tcp up 100", ("!tcp up 80",)),
    "down 1 Mbit/s": Property(_rate(MBIT), "down 1", ("down 10",)),
    "down 10 Mbit/s": Property(_rate(10 * MBIT), "down 10", ("!down 11",)),
    "down 100 Mbit/s (TCP)": Property(_stream(100 * MBIT), "tcp down 100", ("!tcp up 80",)),
    "up queue 20 kB": Property(_queue(20_000), "up queue", ("!up queue 30",)),
    "down queue 20 kB": Property(_queue(20_000), "down queue", ("!down queue 30",)),
}

_LINKS = {
    "up 1": ("up", MBIT, 50_000),
    "down 1": ("down", MBIT, 50_000),
    "up 10": ("up", 10 * MBIT, 100_000),
    "!up 11": ("up", 11 * MBIT, 100_000),
    "down 10": ("down", 10 * MBIT, 100_000),
    "!down 11": ("down", 11 * MBIT, 100_000),
    "tcp up 100": ("up", 100 * MBIT, 1_000_000),
    "!tcp up 80": ("up", 80 * MBIT, 1_000_000),
    "tcp down 100": ("down", 100 * MBIT, 1_000_000),
    "up queue": ("up", MBIT, 20_000),
    "!up queue 30": ("up", MBIT, 30_000),
    "down queue": ("down", MBIT, 20_000),
    "!down queue 30": ("down", MBIT, 30_000),
}
"""Direction, bits/s, bytes that may wait; a flow has a source and a target of its own, both called after it."""


def measure(kind: str, directory: Path) -> Rates:
    access: dict[str, AccessLink] = {}
    paths = {}
    for i, (way, rate, queue) in enumerate(_LINKS.values()):
        direction = Direction(rate_bps=rate, queue_bytes=queue)
        access[f"s{i}"] = AccessLink(up=direction) if way == "up" else AccessLink()
        access[f"t{i}"] = AccessLink(down=direction) if way == "down" else AccessLink()
        paths[f"s{i}", f"t{i}"] = paths[f"t{i}", f"s{i}"] = _PATH
    flows, streams = {}, {}
    with live_network(kind, network_of(access, paths), directory) as live:
        for i, (name, (_, rate, _)) in enumerate(_LINKS.items()):
            source, target = f"s{i}", f"t{i}"
            if "tcp" in name:
                streams[name] = max((tcp_rate(live, source, target) for _ in range(_STREAMS)), key=median)
            else:
                flows[name] = _measure(
                    live, _burst(name, source, target) if "queue" in name else _offer(name, source, target, rate)
                )
    return Rates(flows, streams)


def _measure(live: LiveNetwork, flow: Flow) -> Observation:
    """The flow's packets; a burst again if the machine stood still between its packets, a few times at most."""
    for _ in range(_TRIES):
        seen = probe(live, [flow]).flows[flow.name]
        if flow.gap_ns or seen.sent_ns[-1] - seen.sent_ns[0] < _BURST_NS:
            break
    return seen


def _offer(name: str, source: str, target: str, rate: int) -> Flow:
    gap = int(_PACKET * 8 * 1e9 / (rate * _OFFERED))
    seconds = 4 if rate <= MBIT else 2
    return Flow(name, source, target, int(seconds * 1e9 / gap), gap, _PACKET)


def _burst(name: str, source: str, target: str) -> Flow:
    return Flow(name, source, target, 80, 0, _QUEUE_PACKET)


def tcp_rate(live: LiveNetwork, source: str, target: str) -> list[float]:
    """Bits of IP packets per second of a stream, once it is at its rate."""
    server, client = live.tcp(target), live.tcp(source)
    stamps.ask(server)  # what it accepts has them from the first packet on
    server.bind((live.hosts[target].address, 5001))
    server.listen(1)
    client.connect((live.hosts[target].address, 5001))
    connection, _ = server.accept()
    ended = threading.Event()
    sender = threading.Thread(target=_pour, args=(client, ended))
    sender.start()
    try:
        return [bps * _TCP_FRAMING for bps in _read(connection)]
    finally:
        ended.set()
        connection.close()
        sender.join()
        server.close()


def _pour(sock: socket.socket, ended: threading.Event) -> None:
    data = bytes(1 << 18)
    try:
        while not ended.is_set():
            sock.sendall(data)
    except (ConnectionResetError, BrokenPipeError):  # the reader has seen enough
        pass
    finally:
        sock.close()


def _read(sock: socket.socket) -> list[float]:
    """Bits of data per second in each piece, after a warm-up; by when data came, however late they are read."""
    buffer = bytearray(_BUFFER)  # all that has come: the stamp is that of the last packet read
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, _READ)  # not woken for every packet: that is a load of its own
    pieces: list[float] = []
    counted = began = since = 0
    while len(pieces) < _PIECES:
        length, ancillary, _, _ = sock.recvmsg_into([buffer], 64)
        counted += length
        at = stamps.read(ancillary)
        assert at is not None
        began = began or at
        if at - began >= _WARM_UP_NS and at - since >= _PIECE_NS:
            if since:
                pieces.append(counted * 8e9 / (at - since))
            counted, since = 0, at
    return pieces
