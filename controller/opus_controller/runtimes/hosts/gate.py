"""The fidelity gate's echoes between sampled pairs of hosts, by the links alone, before any node has been booted; then `trains`.

The far host's kernel answers, and both kernels stamp what arrives: nothing of ours has to be quick, and hosts need no program.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from opus_controller.engine.fidelity import Asked, Checked, Gate, Round, judge
from opus_controller.engine.fidelity_rate import ways
from opus_controller.model.network import Network
from opus_controller.model.plan import Host
from opus_controller.net.namespaces import path_of
from opus_controller.runtimes.hosts import icmp, trains

ROUNDS = 5
ECHOES = 8
"""Of each pair in a round."""
GAP_S = 0.025
"""Between two of them, or more where an access link is slow."""
MOST_GAP_S = 0.25
_SENDING_MOST_NS = 1_000_000
"""An echo whose sending took longer says more about this process (it lost the processor) than about the links: not counted."""
WAIT_S = 0.25
"""For answers, beyond the longest that is asked for. A round takes GAP_S * ECHOES + WAIT_S and a round trip."""


@dataclass
class _Pair:
    asked: Asked
    near: socket.socket
    far: socket.socket
    identifier: int
    rounds: list[Round] = field(default_factory=list)
    sent: dict[int, tuple[int, Round]] = field(default_factory=dict)
    """Of each echo's sequence: when, and in which round."""
    arrived: dict[int, int] = field(default_factory=dict)
    """When a request was at the far end."""
    replied: dict[int, int] = field(default_factory=dict)
    sequence: int = 0

    def complete(self, sequence: int) -> None:
        """Counts an echo once its request and its reply have been seen, in whatever order."""
        if sequence in self.sent and sequence in self.arrived and sequence in self.replied:
            sent_ns, of = self.sent.pop(sequence)
            arrived_ns = self.arrived[sequence]
            of.there_ns.append(arrived_ns - sent_ns)
            of.back_ns.append(self.replied[sequence] - arrived_ns)

    def checked(self) -> Checked:
        return judge(self.asked, self.rounds)

    def is_open(self) -> bool:
        checked = self.checked()
        return bool(checked.wrong) or checked.doubtful


async def measure(
    pairs: Sequence[tuple[Host, Host]],
    network: Network,
    netns_of: Callable[[str], str],
    setting: Literal["stop", "annotate"] = "stop",
) -> Gate:
    """Probe `pairs` over links that have `network` in force, in up to ROUNDS rounds; those plainly within tolerance are done."""
    began = time.monotonic()
    echoes = _Echoes([Asked.of(network, a, b) for a, b in pairs if not _is_cut(network, a, b)], netns_of)
    try:
        for _ in range(ROUNDS):
            left = [pair for pair in echoes.pairs if not pair.rounds or pair.is_open()]
            if not left:
                break
            await echoes.round(left)
    finally:
        echoes.close()
    rates = await trains.measure(ways(network, pairs), netns_of)
    return Gate(setting, tuple(pair.checked() for pair in echoes.pairs), time.monotonic() - began, rates)


class _Echoes:
    """One raw socket a host, shared by its pairs; a pair's identifier tells its echoes from the others'."""

    def __init__(self, asked: Sequence[Asked], netns_of: Callable[[str], str]) -> None:
        self._sockets: dict[str, socket.socket] = {}
        self.pairs: list[_Pair] = []
        self._heard = asyncio.Event()
        loop = asyncio.get_running_loop()
        try:
            for one in asked:
                for host in (one.source.name, one.target.name):
                    if host not in self._sockets:
                        self._sockets[host] = icmp.open_socket(path_of(netns_of(host)))
                        loop.add_reader(self._sockets[host], self._receive, self._sockets[host])
                near, far = self._sockets[one.source.name], self._sockets[one.target.name]
                self.pairs.append(_Pair(one, near, far, len(self.pairs) + 1))
        except BaseException:
            self.close()
            raise

    async def round(self, pairs: Sequence[_Pair]) -> None:
        for pair in pairs:
            pair.rounds.append(Round())
        gap = min(MOST_GAP_S, max(GAP_S, *(len(pairs) * pair.asked.rtt.sending_ns / 1e9 for pair in pairs)))
        for _ in range(ECHOES):
            for pair in pairs:
                self._send(pair)
                await asyncio.sleep(gap / len(pairs))
        longest = max(pair.asked.rtt.delay_ns + 6 * pair.asked.rtt.deviation_ns for pair in pairs) / 1e9
        with suppress(TimeoutError):
            async with asyncio.timeout(longest + WAIT_S):
                while any(pair.rounds[-1].answered < pair.rounds[-1].sent for pair in pairs):
                    self._heard.clear()
                    await self._heard.wait()

    def _send(self, pair: _Pair) -> None:
        pair.sequence += 1
        echo = icmp.request(pair.identifier, pair.sequence)
        with suppress(OSError):  # a host that has died: its echoes go unanswered
            sent_ns = time.time_ns()
            pair.near.sendto(echo, (pair.asked.target.address, 0))
            if time.time_ns() - sent_ns < _SENDING_MOST_NS:
                pair.sent[pair.sequence] = sent_ns, pair.rounds[-1]
        pair.rounds[-1].sent += pair.sequence in pair.sent

    def _receive(self, sock: socket.socket) -> None:
        echo = icmp.receive(sock)
        if echo is None or echo.stamp_ns is None or not 1 <= echo.identifier <= len(self.pairs):
            return
        pair = self.pairs[echo.identifier - 1]
        if echo.kind == icmp.REQUEST and sock is pair.far:
            pair.arrived.setdefault(echo.sequence, echo.stamp_ns)
        elif echo.kind == icmp.REPLY and sock is pair.near:
            pair.replied.setdefault(echo.sequence, echo.stamp_ns)
        pair.complete(echo.sequence)
        self._heard.set()

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        for sock in self._sockets.values():
            loop.remove_reader(sock)
            sock.close()


def _is_cut(network: Network, source: Host, target: Host) -> bool:
    return network.is_cut(source.name, target.name) or network.is_cut(target.name, source.name)
