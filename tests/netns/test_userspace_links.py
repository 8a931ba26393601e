"""Userspace links end to end: packets between namespaces, through the shaper process.

What each property of a path does to packets is judged in tests/fidelity, for both kinds of links; here is what is this
kind's own: the process, its devices, its control socket, and what it does with packets that are nobody's.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.fidelity.live import LiveNetwork, live_network, network_of
from opus_controller.model.errors import PlatformError
from opus_controller.model.network import Cut, Network
from opus_controller.model.shapes import AccessLink, Direction, PathShape
from opus_controller.net import namespaces
from opus_controller.net.userspace import UserspaceLinks, kill_shaper
from opus_controller.net.userspace_protocol import SOCKET_NAME

pytestmark = pytest.mark.netns

MS = 1_000_000
PORT = 9000
NO_ACCESS = AccessLink()


def two_hosts(shape: PathShape, access: AccessLink = NO_ACCESS) -> Network:
    return network_of({"a": access, "b": access}, {("a", "b"): shape, ("b", "a"): shape})


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveNetwork]:
    """Hosts a and b, 5 ms apart."""
    with live_network("userspace", two_hosts(PathShape(delay_ns=5 * MS)), tmp_path) as found:
        yield found


def links_of(live: LiveNetwork) -> UserspaceLinks:
    assert isinstance(live.links, UserspaceLinks)
    return live.links


def shaper_pid(links: UserspaceLinks) -> int:
    pid = links.facts["pid"]
    assert isinstance(pid, int)
    return pid


def eventually(fact: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


def passes(live: LiveNetwork, source: str, target: str) -> bool:
    """Whether a datagram arrives."""
    with live.udp(target) as sink, live.udp(source) as probe:
        sink.settimeout(20)
        probe.sendto(b"?", (live.hosts[target].address, sink.getsockname()[1]))
        return sink.recv(10) == b"?"


def is_cut(live: LiveNetwork, source: str, target: str) -> bool:
    """Whether a datagram is dropped as cut: one of the source's, and nothing reaches the target."""
    before = live.links.counters()
    with live.udp(source) as probe:
        probe.sendto(b"?", (live.hosts[target].address, PORT))
        eventually(lambda: live.links.counters()[source].cut == before[source].cut + 1, "counted")
    return live.links.counters()[target].received == before[target].received


def listening(live: LiveNetwork, host: str) -> socket.socket:
    server = live.tcp(host)
    server.bind((live.hosts[host].address, PORT))
    server.listen()
    server.settimeout(60)
    return server


def connected(live: LiveNetwork, source: str, target: str) -> socket.socket:
    sock = live.tcp(source)
    sock.settimeout(60)
    sock.connect((live.hosts[target].address, PORT))
    return sock


def send_all(sock: socket.socket, data: bytes) -> None:
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


# --- what applications see ---


def test_eth0_is_what_was_promised(live: LiveNetwork) -> None:
    name = namespaces.host_namespace(live.run, "a")

    def shown(*what: str) -> str:
        return subprocess.run(["ip", "-n", name, "-o", *what], capture_output=True, text=True, check=True).stdout

    assert f"inet {live.hosts['a'].address}/32" in shown("addr", "show", "eth0")
    assert shown("route", "show", "default").split()[:5] == ["default", "dev", "eth0", "scope", "link"]
    link = shown("link", "show", "eth0")
    assert "qlen 10000" in link
    assert "mtu 1500" in link
    assert ",UP" in link
    assert "inet 127.0.0.1/8" in shown("addr", "show", "lo")
    assert live.inside("a", lambda: socket.create_server(("127.0.0.1", 0))).getsockname()[1] > 0


@pytest.mark.parametrize("shape", [
    PathShape(delay_ns=2 * MS, loss=0.01, duplicate=0.01, reorder=0.01, corrupt=0.01),
    PathShape(delay_ns=2 * MS, jitter_ns=MS // 5, loss=0.003, duplicate=0.003, corrupt=0.003),
], ids=["in runs", "one by one"])  # fmt: skip
def test_tcp_with_offloads_arrives_whole_through_a_bad_path(shape: PathShape, tmp_path: Path) -> None:
    rate = Direction(rate_bps=200_000_000, queue_bytes=1 << 20)
    sent = random.Random(7).randbytes(4 << 20)
    with live_network("userspace", two_hosts(shape, AccessLink(up=rate, down=rate)), tmp_path) as live:
        with listening(live, "b") as server, connected(live, "a", "b") as source:
            sink, _ = server.accept()
            pump = threading.Thread(target=send_all, args=(source, sent))
            pump.start()
            received = hashlib.sha256()
            with sink:
                sink.settimeout(60)
                while data := sink.recv(1 << 16):
                    received.update(data)
            pump.join()
        assert received.digest() == hashlib.sha256(sent).digest()
        a = live.links.counters()["a"]
        assert a.lost > 0
        assert a.corrupted > 0
        assert a.duplicated > 0
        assert a.overflow == 0
        assert links_of(live).strays()["malformed"] == 0


def test_counters_count_packets_on_the_wire(live: LiveNetwork) -> None:
    size = 1 << 20
    with listening(live, "b") as server, connected(live, "a", "b") as source:
        sink, _ = server.accept()
        pump = threading.Thread(target=send_all, args=(source, bytes(size)))
        pump.start()
        with sink:
            while sink.recv(1 << 20):
                pass
        pump.join()
    eventually(lambda: live.links.counters()["a"].sent == live.links.counters()["b"].received, "all delivered")
    counters = live.links.counters()
    a, b = counters["a"], counters["b"]
    assert a.sent_bytes == b.received_bytes
    data_packets = -(-size // 1448)
    assert data_packets <= a.sent <= data_packets * 1.1 + 10, "not the few super-packets the kernel handed over"
    assert size + 52 * data_packets <= a.sent_bytes <= (size + 52 * data_packets) * 1.1
    assert (a.lost, a.cut, a.queue_dropped, a.overflow, a.corrupted) == (0, 0, 0, 0, 0)


def test_lag_tells_of_packets_since_the_last_call(live: LiveNetwork) -> None:
    assert passes(live, "a", "b")
    first = live.links.lag()
    assert first.packets >= 1
    assert 0 < first.p50_ns <= first.p99_ns <= first.max_ns
    assert live.links.lag().packets == 0


# --- changes ---


def test_cut_one_way_both_ways_and_healed(live: LiveNetwork) -> None:
    network = live.network
    live.links.apply(replace(network, cuts=(Cut(frozenset("a"), frozenset("b")),)))
    assert is_cut(live, "a", "b")
    assert passes(live, "b", "a")
    live.links.apply(replace(network, cuts=(Cut(frozenset("a"), frozenset("b")), Cut(frozenset("b"), frozenset("a")))))
    assert is_cut(live, "b", "a")
    live.links.apply(network)
    assert passes(live, "a", "b")
    assert passes(live, "b", "a")


def test_a_cut_and_a_change_leave_packets_in_flight(tmp_path: Path) -> None:
    slow = two_hosts(PathShape(delay_ns=1500 * MS))
    with live_network("userspace", slow, tmp_path) as live, live.udp("b") as sink, live.udp("a") as source:
        sink.settimeout(10)
        there = (live.hosts["b"].address, sink.getsockname()[1])
        source.sendto(b"early", there)
        eventually(lambda: live.links.counters()["a"].sent == 1, "on its way")
        live.links.apply(replace(slow, host_overrides={("a", "b"): PathShape(delay_ns=MS)}))
        source.sendto(b"late", there)
        assert sink.recv(10) == b"late", "the new delay holds at once"
        live.links.apply(replace(slow, cuts=(Cut(frozenset("a"), frozenset("b")),)))
        assert sink.recv(10) == b"early", "what was in flight arrives, cut or not"


def test_a_powered_off_host_is_silent_and_hears_nothing(tmp_path: Path) -> None:
    network = two_hosts(PathShape(delay_ns=1500 * MS))
    with live_network("userspace", network, tmp_path) as live, live.udp("b") as sink, live.udp("a") as source:
        source.sendto(b"x", (live.hosts["b"].address, sink.getsockname()[1]))
        eventually(lambda: live.links.counters()["a"].sent == 1, "on its way")
        live.links.apply(replace(network, down=frozenset("b")))
        eventually(lambda: live.links.counters()["b"].cut == 1, "dropped at its door")
        with pytest.raises(BlockingIOError):
            sink.recv(10, socket.MSG_DONTWAIT)
        assert is_cut(live, "b", "a")
        live.links.apply(network)
        assert passes(live, "b", "a")


def test_a_restarted_host_gets_its_links_back(live: LiveNetwork) -> None:
    name = namespaces.host_namespace(live.run, "b")
    for _ in range(3):
        before = namespaces.identity(live.path_of("b"))
        namespaces.delete(name)
        namespaces.create([name])
        live.links.attach("b", live.path_of("b"))
        assert namespaces.identity(live.path_of("b")) != before
        assert passes(live, "a", "b")
        assert passes(live, "b", "a")


def test_attaching_the_same_namespace_again_changes_nothing(live: LiveNetwork) -> None:
    live.links.attach("a", live.path_of("a"))
    assert passes(live, "a", "b")
    assert passes(live, "b", "a")


def test_a_detached_host_is_gone_and_no_one_minds(live: LiveNetwork) -> None:
    live.links.detach("b")
    live.links.detach("b")
    live.links.detach("never-heard-of")
    assert not live.inside("b", lambda: "eth0" in [name for _, name in socket.if_nameindex()])
    with live.udp("a") as source:
        source.sendto(b"?", (live.hosts["b"].address, PORT))
        eventually(lambda: live.links.counters()["b"].cut == 1, "counted")


def test_a_host_that_is_not_in_the_network_is_refused(live: LiveNetwork) -> None:
    with pytest.raises(KeyError):
        live.links.attach("c", live.path_of("a"))


def test_a_namespace_of_a_process_without_privileges_is_attached_by_its_pid(live: LiveNetwork) -> None:
    """As of a container without capabilities: its processes could not configure anything themselves."""
    code = "import os, sys; os.setgid(60999); os.setuid(60999); print('ready', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        ["unshare", "--net", sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:  # fmt: skip
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        netns = Path(f"/proc/{child.pid}/ns/net")
        assert "CapEff:\t0000000000000000" in Path(f"/proc/{child.pid}/status").read_text()
        live.links.attach("b", netns)
        with namespaces.run_inside(netns, lambda: socket.create_server((live.hosts["b"].address, PORT))) as server:
            server.settimeout(20)
            with connected(live, "a", "b"):
                server.accept()[0].close()
        assert child.stdin is not None
        child.stdin.close()


# --- packets that are nobody's ---


def test_an_unknown_address_is_counted_and_harms_no_one(live: LiveNetwork) -> None:
    with live.udp("a") as source:
        for address in ("198.18.99.99", "10.0.0.1", "255.255.255.255", "224.0.0.1"):
            source.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            source.sendto(b"?", (address, PORT))
    eventually(lambda: links_of(live).strays()["unroutable"] >= 4, "all four dropped")
    assert passes(live, "a", "b")


def test_a_forged_source_does_not_pass(live: LiveNetwork) -> None:
    forged = bytes.fromhex("4500001c00004000401100000a0000010a000002") + bytes(8)
    forged = forged[:12] + socket.inet_aton("198.18.77.77") + socket.inet_aton(live.hosts["b"].address) + forged[20:]
    received = live.links.counters()["b"].received
    raw_send(live, "a", [forged] * 3)
    eventually(lambda: links_of(live).strays()["unroutable"] == 3, "dropped")
    assert live.links.counters()["b"].received == received


def test_garbage_does_not_end_it(live: LiveNetwork) -> None:
    rng = random.Random(3)
    addresses = socket.inet_aton(live.hosts["a"].address) + socket.inet_aton(live.hosts["b"].address)
    well_addressed = [bytes([first]) + rng.randbytes(11) + addresses + rng.randbytes(20) for first in range(0, 256, 5)]
    ipv6 = bytes.fromhex("6000000000083aff") + bytes(31) + b"\x02" + bytes(8)
    raw_send(
        live,
        "a",
        [b"\x45", b"\x00", ipv6, bytes(40), b"\xff" * 1500, *(rng.randbytes(n) for n in range(1, 200)), *well_addressed],
    )
    eventually(lambda: links_of(live).strays()["malformed"] > 50, "dropped and counted")
    assert links_of(live).alive()
    assert passes(live, "a", "b")
    assert passes(live, "b", "a")


def raw_send(live: LiveNetwork, host: str, packets: list[bytes]) -> None:
    """Straight onto the host's eth0, past the IP layer."""

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as sock:
            for packet in packets:
                sock.sendto(packet, ("eth0", 0x0800, 0, 0, b""))

    live.inside(host, send)


def test_what_the_kernel_drops_when_the_shaper_does_not_keep_up_is_overflow(live: LiveNetwork) -> None:
    before = live.links.counters()["a"]
    pid = shaper_pid(links_of(live))
    os.kill(pid, signal.SIGSTOP)
    try:
        with live.udp("a") as source:
            for _ in range(12_000):
                try:
                    source.sendto(b"?", (live.hosts["b"].address, PORT))
                except BlockingIOError:
                    break
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: live.links.counters()["a"].sent - before.sent >= 10_000, "the queue was read")
    after = live.links.counters()["a"]
    assert after.overflow - before.overflow == 12_000 - (after.sent - before.sent)
    assert after.overflow - before.overflow >= 1000


# --- the process ---


def test_another_process_finds_the_links_by_the_directory(live: LiveNetwork, tmp_path: Path) -> None:
    assert passes(live, "a", "b")
    again = UserspaceLinks.open(tmp_path)
    again.apply(replace(live.network, down=frozenset("a")))
    assert is_cut(live, "b", "a")
    again.attach("b", live.path_of("b"))
    again.apply(live.network)
    assert passes(live, "b", "a")
    assert again.facts["pid"] == links_of(live).facts["pid"]


def test_it_outlives_the_process_that_started_it(tmp_path: Path) -> None:
    code = "import sys, pathlib, opus_controller.net.userspace as u; u.UserspaceLinks(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    links = UserspaceLinks.open(tmp_path)
    assert links.alive()
    links.close()
    assert not (tmp_path / SOCKET_NAME).exists()
    with pytest.raises(PlatformError, match="is gone"):
        UserspaceLinks.open(tmp_path)


def test_it_ends_with_the_process_it_was_told_of(tmp_path: Path) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        links = UserspaceLinks(tmp_path, exit_with=child.pid)
        try:
            assert links.alive()
            assert child.stdin is not None
            child.stdin.close()
            child.wait()
            eventually(lambda: not links.alive(), "it ended too")
        finally:
            links.close()


def test_a_killed_shaper_leaves_nothing_that_cannot_be_removed(tmp_path: Path) -> None:
    network = two_hosts(PathShape())
    with live_network("userspace", network, tmp_path) as live:
        os.kill(shaper_pid(links_of(live)), signal.SIGKILL)
        eventually(lambda: not links_of(live).alive(), "it is dead")
        with pytest.raises(PlatformError, match="shaper process"):
            live.links.apply(network)
        interfaces = [name for _, name in live.inside("a", socket.if_nameindex)]
        assert "eth0" not in interfaces, "its devices went with it"
        names = namespaces.of_run(live.run)
        assert [namespaces.delete(name) for name in names] == [True, True]
        assert namespaces.of_run(live.run) == []


def test_new_links_take_over_after_a_killed_shaper(tmp_path: Path) -> None:
    network = two_hosts(PathShape())
    with live_network("userspace", network, tmp_path) as live:
        os.kill(shaper_pid(links_of(live)), signal.SIGKILL)
        eventually(lambda: not links_of(live).alive(), "it is dead")
        live.links = UserspaceLinks(tmp_path)
        try:
            live.links.apply(network)
            for host in ("a", "b"):
                live.links.attach(host, live.path_of(host))
            assert passes(live, "a", "b")
        finally:
            live.links.close()


def test_gc_ends_a_shaper_even_a_stopped_one_and_only_that(tmp_path: Path) -> None:
    directories = [tmp_path / name for name in ("one", "two", "none")]
    for directory in directories:
        directory.mkdir()
    one, two = (UserspaceLinks(directory) for directory in directories[:2])
    try:
        assert not kill_shaper(directories[2])
        assert kill_shaper(directories[0])
        eventually(lambda: not one.alive(), "it ended")
        assert two.alive()
        os.kill(shaper_pid(two), signal.SIGSTOP)
        assert kill_shaper(directories[1])
        assert not kill_shaper(directories[1])
    finally:
        one.close()
        two.close()


def test_two_runs_side_by_side_do_not_meet(tmp_path: Path) -> None:
    """The same addresses twice."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    network = two_hosts(PathShape(delay_ns=MS))
    with (
        live_network("userspace", network, tmp_path / "one") as one,
        live_network("userspace", network, tmp_path / "two") as two,
    ):
        one.links.apply(replace(network, cuts=(Cut(frozenset("ab"), frozenset("ab")),)))
        assert is_cut(one, "a", "b")
        assert passes(two, "a", "b")
        assert one.links.counters()["b"].received == 0
        one.links.close()
        assert passes(two, "a", "b")


def test_a_shaper_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match=r"did not start: process \d+, to end with, is gone already; its log is"):
        UserspaceLinks(tmp_path, exit_with=2**22 - 1)


def test_requests_it_cannot_understand_are_answered_in_a_line(tmp_path: Path) -> None:
    links = UserspaceLinks(tmp_path)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(str(tmp_path / SOCKET_NAME))
            sock.sendall(b'not json\n{"op": "dance"}\n{"op": "attach", "host": "x"}\n[]\n{"op": "lag"}\n')
            with sock.makefile() as answers:
                lines = [answers.readline() for _ in range(5)]
        assert all("error" in line for line in lines[:4])
        assert "no such op: dance" in lines[1]
        assert '"lag"' in lines[4]
        assert links.alive()
    finally:
        links.close()


def test_a_directory_with_a_very_long_name_will_do(tmp_path: Path) -> None:
    directory = tmp_path / ("x" * 100) / ("y" * 100)
    directory.mkdir(parents=True)
    links = UserspaceLinks(directory)
    assert UserspaceLinks.open(directory).alive()
    links.close()


def test_whoever_attaches_a_host_opens_its_device_as_the_run_does(tmp_path: Path) -> None:
    with live_network("userspace", two_hosts(PathShape()), tmp_path) as live:
        live.links.close()
        live.links = UserspaceLinks(tmp_path, offloads=False, mtu=1280)
        try:
            live.links.apply(live.network)
            again = UserspaceLinks.open(tmp_path)
            assert (again.facts["offloads"], again.facts["mtu"]) == (False, 1280)
            again.attach("a", live.path_of("a"))
            name = namespaces.host_namespace(live.run, "a")
            shown = subprocess.run(["ip", "-n", name, "link", "show", "eth0"], capture_output=True, text=True, check=True)
            assert "mtu 1280" in shown.stdout
        finally:
            live.links.close()
