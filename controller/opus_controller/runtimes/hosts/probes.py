"""Fidelity while a run goes on: round trips on sampled pairs of hosts, measured against those asked for.

An ICMP echo is answered by the far host's kernel and its answer stamped by the near host's, so no process of ours has to
be quick: only the emulated links are in the figure. One echo a pair and second is far below what would disturb a run.
An echo counts only if its path was neither cut nor changed on the way, and has nothing asked for that delays single packets
differently, but jitter: that is so common that it is let in, and how much of it was asked for is said beside the error.
"""

from __future__ import annotations

import asyncio
import math
import random
import socket
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from opus_controller.engine.observer import PathSeen
from opus_controller.model.network import Network
from opus_controller.model.plan import Host
from opus_controller.net.namespaces import path_of
from opus_controller.runtimes.hosts import icmp

PAIRS = 16
EVERY_S = 1.0
_MOST_ERRORS = 100_000
SENDING_MOST_NS = 300_000
"""An echo whose sending took longer says more about this process (it lost the processor) than about the links: left out."""


def sample_pairs(hosts: Sequence[Host], seed: str, most: int = PAIRS) -> list[tuple[Host, Host]]:
    """Up to `most` pairs, drawn by `seed`, from different sites where there are several: as many pairs of sites as can be."""
    rng = random.Random(seed)
    pairs = [(a, b) for a in hosts[:200] for b in hosts[:200] if a.index < b.index and (a.site != b.site or len(hosts) < 3)]
    rng.shuffle(pairs)
    turns: Counter[tuple[str, str]] = Counter()
    drawn: list[tuple[int, tuple[Host, Host]]] = []
    for a, b in pairs:
        drawn.append((turns[a.site, b.site], (a, b)))
        turns[a.site, b.site] += 1
    return [pair for _, pair in sorted(drawn, key=lambda of: of[0])[:most]]


@dataclass
class _Pair:
    source: Host
    target: Host
    identifier: int
    """Tells its echoes from another pair's: a raw socket hears all of its host's."""
    socket: socket.socket
    sequence: int = 0
    sent_ns: int = 0
    """Wall clock of the echo under way; 0: none is."""
    asked_ns: int = 0
    network: Network | None = None
    answered: int = 0
    """Echoes that count, as is `rtt_ns`, the sum of their round trips."""
    rtt_ns: int = 0
    lost: int = 0


@dataclass
class Probes:
    """Call `start` once the links are up, `stop` before they go; `figures` any time."""

    network: Callable[[], Network]
    """The state of the links now."""
    errors_ns: list[int] = field(default_factory=list)
    """Measured less asked, of every echo that counts; jitter that was asked for is in it."""
    asked_jitter_ns: list[float] = field(default_factory=list)
    """The standard deviation that the path's jitter alone gives a round trip, of the same echoes."""
    lost: int = 0
    """Echoes without an answer in time."""
    _pairs: list[_Pair] = field(default_factory=list)
    _task: asyncio.Task[None] | None = None
    _measured: set[tuple[str, str]] = field(default_factory=set)

    def start(self, pairs: Sequence[tuple[Host, Host]], netns_of: Callable[[str], str]) -> None:
        for number, (source, target) in enumerate(pairs):
            pair = _Pair(source, target, number + 1, icmp.open_socket(path_of(netns_of(source.name))))
            self._pairs.append(pair)
            asyncio.get_running_loop().add_reader(pair.socket, self._receive, pair)
        self._task = asyncio.create_task(self._send_on_and_on(), name="fidelity probes")

    def renew(self, hosts: Collection[str], netns_of: Callable[[str], str]) -> None:
        """These hosts have new namespaces: a socket in an old one would keep it alive and reach nobody."""
        loop = asyncio.get_running_loop()
        for pair in self._pairs:
            if pair.source.name in hosts:
                loop.remove_reader(pair.socket)
                pair.socket.close()
                pair.sent_ns = 0
                pair.socket = icmp.open_socket(path_of(netns_of(pair.source.name)))
                loop.add_reader(pair.socket, self._receive, pair)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        for pair in self._pairs:
            asyncio.get_running_loop().remove_reader(pair.socket)
            pair.socket.close()
        self._pairs.clear()

    def figures(self) -> dict[str, object]:
        """`fidelity` of result.json: RTT errors in ms (absolute), over all echoes that count."""
        errors = sorted(abs(error) for error in self.errors_ns)
        quantiles = {name: _quantile(errors, share) for name, share in (("p50", 0.5), ("p99", 0.99))}
        jitter = sum(self.asked_jitter_ns) / len(errors) / 1e6 if errors else None
        return {
            "pairs": len(self._measured),
            "rtt_error_ms": quantiles,
            "echoes": len(errors),
            "unanswered": self.lost,
            "asked_jitter_ms": round(jitter, 4) if jitter is not None else None,
        }

    def paths(self) -> list[PathSeen]:
        """Every pair, as it is now and with what was measured."""
        network = self.network()
        return [_seen(pair, network) for pair in self._pairs]

    async def _send_on_and_on(self) -> None:
        while True:
            for pair in self._pairs:
                self._send(pair)
                await asyncio.sleep(EVERY_S / len(self._pairs))

    def _send(self, pair: _Pair) -> None:
        network = self.network()
        if pair.sent_ns:
            self.lost += 1
            pair.lost += 1
        pair.sent_ns = 0
        if not _measurable(network, pair.source, pair.target):
            return
        pair.sequence = (pair.sequence + 1) & 0xFFFF
        pair.network = network
        pair.asked_ns = _asked_ns(network, pair)
        echo = icmp.request(pair.identifier, pair.sequence)
        with suppress(OSError):  # the host is down or its device is being replaced
            sent_ns = time.time_ns()
            pair.socket.sendto(echo, (pair.target.address, 0))
            if time.time_ns() - sent_ns < SENDING_MOST_NS:
                pair.sent_ns = sent_ns

    def _receive(self, pair: _Pair) -> None:
        echo = icmp.receive(pair.socket)
        if echo is None or not pair.sent_ns:
            return
        if (echo.kind, echo.identifier, echo.sequence) != (icmp.REPLY, pair.identifier, pair.sequence):
            return
        if (
            echo.stamp_ns is not None
            and pair.network is not None
            and self.network() is pair.network
            and len(self.errors_ns) < _MOST_ERRORS
        ):
            rtt_ns = echo.stamp_ns - pair.sent_ns
            self.errors_ns.append(rtt_ns - pair.asked_ns)
            pair.answered += 1
            pair.rtt_ns += rtt_ns
            self.asked_jitter_ns.append(_jitter_ns(pair.network, pair.source, pair.target))
            self._measured.add((pair.source.name, pair.target.name))
        pair.sent_ns = 0


def _measurable(network: Network, source: Host, target: Host) -> bool:
    """Loss only costs echoes; what overtakes or comes twice would be mistaken for an error."""
    there, back = network.path(source, target), network.path(target, source)
    return not _is_cut(network, source, target) and not any(shape.reorder or shape.duplicate for shape in (there, back))


def _is_cut(network: Network, source: Host, target: Host) -> bool:
    return network.is_cut(source.name, target.name) or network.is_cut(target.name, source.name)


def _asked_ns(network: Network, pair: _Pair) -> int:
    return network.one_way_ns(pair.source, pair.target) + network.one_way_ns(pair.target, pair.source)


def _seen(pair: _Pair, network: Network) -> PathSeen:
    source, target = pair.source, pair.target
    passes = 1.0
    for sender, receiver in ((source, target), (target, source)):
        for loss in (sender.access.loss, network.path(sender, receiver).loss_mean, receiver.access.loss):
            passes *= 1 - loss
    return PathSeen(
        source=source.name,
        target=target.name,
        asked_ns=_asked_ns(network, pair),
        asked_loss=1 - passes,
        cut=_is_cut(network, source, target),
        answered=pair.answered,
        rtt_ns=pair.rtt_ns,
        lost=pair.lost,
    )


def _jitter_ns(network: Network, source: Host, target: Host) -> float:
    """Standard deviation of the round trip by the jitter asked for (`PathShape.jitter_ns`: of uniform, half the width)."""
    shapes = (network.path(source, target), network.path(target, source))
    return math.hypot(*(s.jitter_ns / math.sqrt(3) if s.distribution == "uniform" else s.jitter_ns for s in shapes))


def _quantile(ordered: Sequence[int], share: float) -> float | None:
    """In ms; nearest rank."""
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1e6, 4) if ordered else None
