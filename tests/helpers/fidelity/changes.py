"""What changes while packets flow: cuts one way and both, healing, a new delay; and a stream over a bad path."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from opus_controller.model.network import Cut
from opus_controller.model.shapes import AccessLink, PathShape

from helpers.fidelity import judges
from helpers.fidelity.judges import Judgement
from helpers.fidelity.live import LiveNetwork, live_network, network_of
from helpers.fidelity.prober import Change, Flow, Probed, probe

MS = 1_000_000
_LONG, _SHORT = PathShape(delay_ns=400 * MS), PathShape(delay_ns=100 * MS)
_PATH = PathShape(delay_ns=30 * MS)
_BAD = PathShape(
    delay_ns=10 * MS, jitter_ns=2 * MS, loss=0.01, duplicate=0.01, reorder=0.01, corrupt=0.005
)  # fmt: skip
_STREAM = bytes(i * i >> 8 & 255 for i in range(1 << 16)) * 16
_END = 1 << 62


@dataclass(frozen=True)
class Changes:
    probed: Probed
    received: bytes
    """The digest of the stream."""

    def judge(self, name: str, flow: str) -> Judgement:
        return PROPERTIES[name].judge(self, flow)


@dataclass(frozen=True)
class Property:
    judge: Callable[[Changes, str], Judgement]
    right: str
    wrong: tuple[str, ...]


def _between(first: int, asked: bool) -> Callable[[Changes, str], Judgement]:
    """Of what was sent from when change `first` was in force until the next began."""

    def judge(found: Changes, flow: str) -> Judgement:
        changes = found.probed.changes
        until = changes[first + 1][0] if first + 1 < len(changes) else _END
        return judges.passed(found.probed.flows[flow], (changes[first][1], until), asked)

    return judge


def _in_flight(found: Changes, flow: str) -> Judgement:
    return judges.in_flight(found.probed.flows[flow], found.probed.changes[0], _LONG.delay_ns, _SHORT.delay_ns)


def _still_delayed(found: Changes, flow: str) -> Judgement:
    return judges.delay(found.probed.flows[flow], _PATH.delay_ns)


def _stream_intact(found: Changes, flow: str) -> Judgement:
    asked = _STREAM if flow == "stream" else _STREAM[:-1] + b"!"
    ok = found.received == hashlib.sha256(asked).digest()
    return Judgement(ok, "intact", "intact" if ok else "damaged", "", len(asked) // 1448)


_CUT_ONE_WAY, _CUT_BOTH, _HEALED = 1, 2, 3

PROPERTIES = {
    "change keeps packets in flight": Property(_in_flight, "changed", ("!taken away and made anew", "!not changed")),
    "cut one way": Property(_between(_CUT_ONE_WAY, False), "a to b", ("b to a", "a to c")),
    "cut one way, the other way passes": Property(_between(_CUT_ONE_WAY, True), "b to a", ("a to b",)),
    "cut both ways": Property(_between(_CUT_BOTH, False), "b to a", ("a to c",)),
    "a cut host reaches others": Property(_between(_CUT_BOTH, True), "a to c", ("a to b",)),
    "a cut host's delay to others": Property(_still_delayed, "a to c", ("changed",)),
    "healed": Property(_between(_HEALED, True), "a to b", ("never healed",)),
    "TCP over a bad path": Property(_stream_intact, "stream", ("!another stream",)),
}


def measure(kind: str, directory: Path) -> Changes:
    names = ("a", "b", "c", "d", "e", "f", "g", "h", "i")
    paths = {(x, y): _PATH for x in names for y in names if x != y}
    paths |= {("a", "d"): _LONG, ("a", "e"): _LONG, ("a", "f"): _LONG, ("h", "i"): _BAD, ("i", "h"): _BAD}
    network = network_of({name: AccessLink() for name in names}, paths)
    changed = replace(network, overrides={("a", "d"): _SHORT, ("a", "e"): _SHORT})
    never = Cut(frozenset("g"), frozenset("b"))
    one_way, other_way = Cut(frozenset("a"), frozenset("b")), Cut(frozenset("b"), frozenset("a"))
    with live_network(kind, network, directory) as live:

        def change() -> None:
            live.links.apply(changed)
            live.links.detach("e")
            live.links.attach("e", live.path_of("e"))

        flows = [
            _flow("changed", "a", "d"), _flow("!taken away and made anew", "a", "e"), _flow("!not changed", "a", "f"),
            _flow("a to b", "a", "b"), _flow("b to a", "b", "a"), _flow("a to c", "a", "c"), _flow("never healed", "g", "b"),
        ]  # fmt: skip
        probed = probe(
            live,
            flows,
            [
                Change(1_000 * MS, change),
                Change(2_000 * MS, lambda: live.links.apply(replace(changed, cuts=(never, one_way)))),
                Change(3_000 * MS, lambda: live.links.apply(replace(changed, cuts=(never, one_way, other_way)))),
                Change(4_000 * MS, lambda: live.links.apply(replace(changed, cuts=(never,)))),
            ],
        )
        return Changes(probed, _stream(live, "h", "i"))


def _flow(name: str, source: str, target: str) -> Flow:
    return Flow(name, source, target, 500, 10 * MS)


def _stream(live: LiveNetwork, source: str, target: str) -> bytes:
    server, client = live.tcp(target), live.tcp(source)
    server.bind((live.hosts[target].address, 5002))
    server.listen(1)
    digest = hashlib.sha256()

    def read() -> None:
        connection, _ = server.accept()
        with connection:
            while data := connection.recv(1 << 16):
                digest.update(data)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    with client, server:
        client.connect((live.hosts[target].address, 5002))
        client.sendall(_STREAM)
        client.shutdown(socket.SHUT_WR)
        reader.join(60)
    return digest.digest()
