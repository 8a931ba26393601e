"""The traps of the kernel's netem (DESIGN section 5), each sprung once: every test fails if its precaution is taken away."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.fidelity.live import LiveNetwork, live_network, network_of
from helpers.fidelity.prober import Flow, Observation, probe
from opus_controller.model.network import Network
from opus_controller.model.shapes import AccessLink, BurstLoss, Direction, PathShape
from opus_controller.net import namespaces, netem_desired, tc_link, tc_offload, tc_qdisc
from opus_controller.net.netem import NetemLinks
from opus_controller.net.netem_options import KIND, NetemOptions, encode, refused
from opus_controller.net.netem_port import GATEWAY
from opus_controller.net.tc_netlink import Netlink, NetlinkError

pytestmark = pytest.mark.netem

MS = 1_000_000
EVERYTHING = PathShape(
    delay_ns=50 * MS,
    jitter_ns=10 * MS,
    distribution="pareto",
    keep_order=True,
    burst=BurstLoss(p=0.1, r=0.5),
    reorder=0.2,
    corrupt=0.2,
)


def two(shape: PathShape, access: AccessLink | None = None) -> Network:
    """a to b by `shape`, the way back plain; `access` is that of a."""
    return network_of({"a": access or AccessLink(), "b": AccessLink()}, {("a", "b"): shape})


def send(live: LiveNetwork, packets: int, gap_ns: int = 2 * MS, source: str = "a", target: str = "b") -> Observation:
    return probe(live, [Flow("x", source, target, packets, gap_ns, unchecked=True)]).flows["x"]


def wan(live: LiveNetwork, *command: str) -> str:
    name = namespaces.wan_namespace(live.run)
    return subprocess.run(["ip", "netns", "exec", name, *command], capture_output=True, text=True, check=True).stdout


def change(live: LiveNetwork, shape: PathShape) -> None:
    live.links.apply(replace(live.network, overrides={("a", "b"): shape}))


# --- limit ---


def test_limit_has_room_for_what_is_under_way(tmp_path: Path) -> None:
    """2,500 packets at once on a path of 800 ms all arrive; netem's default would keep 1,000 of them."""
    with live_network("netem", two(PathShape(delay_ns=800 * MS)), tmp_path) as live:
        seen = send(live, 2500, 0)
        assert sum(seen.arrived) == 2500
        assert live.links.counters()["b"].overflow == 0


def test_a_limit_that_is_too_small_is_seen_as_overflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drops that nobody asked for are counted as such, apart from the asked-for loss on the same path."""
    monkeypatch.setattr(netem_desired, "with_limit", lambda options, rate: replace(options, limit=1000))
    with live_network("netem", two(PathShape(delay_ns=800 * MS, loss=0.1)), tmp_path) as live:
        seen = send(live, 2500, 0)
        found = live.links.counters()["b"]
        assert found.overflow > 100, "1250 if all come in the 0.8 s for which the first waits; a busy machine is slower"
        assert 0.05 < found.lost / 2500 < 0.15
        assert found.overflow + found.lost == 2500 - sum(seen.arrived)


# --- super-packets ---


def test_streams_cross_as_packets_of_the_wire(tmp_path: Path) -> None:
    """TCP hands over 64 kB at a time unless told not to; then rates and losses would count those."""
    access = AccessLink(up=Direction(rate_bps=1_000_000_000, queue_bytes=1_000_000))
    with live_network("netem", two(PathShape(delay_ns=5 * MS), access), tmp_path) as live:
        assert live.inside("a", lambda: tc_offload.large_packets("eth0")) == []
        assert namespaces.run_inside(namespaces.path_of(namespaces.wan_namespace(live.run)), _large_at_w0) == []
        size = 2_000_000
        _stream(live, size)
        packets, counted = _sent_by_queue(live)
        assert packets >= size / 1448
        assert counted <= 1500 * packets
        assert live.links.counters()["b"].received >= size / 1448


def _large_at_w0() -> list[str]:
    return tc_offload.large_packets("w0")


def _sent_by_queue(live: LiveNetwork) -> tuple[int, int]:
    """(packets, bytes) that the up queue of a says it has let through."""
    text = live.inside("a", lambda: subprocess.run(["tc", "-s", "qdisc"], capture_output=True, text=True, check=True).stdout)
    found = re.search(r"qdisc tbf .*?Sent (\d+) bytes (\d+) pkt", text, re.DOTALL)
    assert found
    return int(found[2]), int(found[1])


def _stream(live: LiveNetwork, size: int) -> None:
    server, client = live.tcp("b"), live.tcp("a")
    with server, client:
        server.bind((live.hosts["b"].address, 7000))
        server.listen(1)
        client.connect((live.hosts["b"].address, 7000))
        connection, _ = server.accept()
        with connection:
            client.setblocking(False)
            sent = received = 0
            data, buffer = bytes(1 << 16), bytearray(1 << 18)
            while received < size:
                if sent < size:
                    try:
                        sent += client.send(data[: size - sent])
                    except BlockingIOError:
                        received += connection.recv_into(buffer)
                else:
                    received += connection.recv_into(buffer)


# --- change ---


def test_a_change_restates_everything(tmp_path: Path) -> None:
    """From a path with everything on to a plain one: nothing of the old shape is left."""
    with live_network("netem", two(EVERYTHING), tmp_path) as live:
        send(live, 50)
        change(live, PathShape(delay_ns=20 * MS))
        seen = send(live, 300)
        assert [arrival.number for arrival in seen.arrivals] == list(range(300))
        assert min(seen.delays_ns) > 19.9 * MS
        assert sorted(seen.delays_ns)[150] < 23 * MS


def test_a_change_back_to_uniform_leaves_the_old_table(tmp_path: Path) -> None:
    """A table once loaded cannot be taken away, only replaced: uniform has to be a table too."""
    uniform = PathShape(delay_ns=100 * MS, jitter_ns=30 * MS, distribution="uniform")
    with live_network("netem", two(uniform.model_copy(update={"distribution": "normal"})), tmp_path) as live:
        normal = send(live, 150, 4 * MS)
        assert min(normal.delays_ns) < 69 * MS  # 15% of a normal distribution lie beyond
        change(live, uniform)
        assert min(send(live, 300, 4 * MS).delays_ns) > 69.9 * MS


@pytest.mark.parametrize("duplicate", [0.0, 1.0])
def test_duplicating_starts_and_stops(tmp_path: Path, duplicate: float) -> None:
    """A class that begins to duplicate moves to a tree of its own, and back."""
    shape = PathShape(delay_ns=20 * MS)
    with live_network("netem", two(shape.model_copy(update={"duplicate": duplicate})), tmp_path) as live:
        first = send(live, 50)
        change(live, shape.model_copy(update={"duplicate": 1.0 - duplicate}))
        second = send(live, 50)
        copies = [len(first.arrivals), len(second.arrivals)]
        assert copies == ([100, 50] if duplicate else [50, 100])
        assert live.links.counters()["b"].duplicated == 50


# --- duplicate beside another netem ---


def test_duplicate_beside_other_netems(tmp_path: Path) -> None:
    """One receiver with a duplicating path and a jittering one, which new kernels refuse in one tree."""
    paths = {("a", "c"): PathShape(delay_ns=30 * MS, duplicate=1.0), ("b", "c"): PathShape(delay_ns=60 * MS, jitter_ns=MS)}
    network = network_of({name: AccessLink() for name in "abc"}, paths)
    with live_network("netem", network, tmp_path) as live:
        flows = [Flow("double", "a", "c", 50, 4 * MS), Flow("single", "b", "c", 50, 4 * MS)]
        seen = probe(live, flows).flows
        assert len(seen["double"].arrivals) == 100
        assert sorted(seen["double"].delays_ns)[50] < 35 * MS
        assert len(seen["single"].arrivals) == 50
        assert min(seen["single"].delays_ns) > 50 * MS


def test_why_duplicates_have_a_tree_of_their_own() -> None:
    """This kernel refuses the simple way (or would multiply packets, as older ones do)."""
    name = namespaces.wan_namespace(namespaces.new_run())
    namespaces.create([name])

    def together() -> None:
        netlink = Netlink()
        try:
            netlink.do([
                tc_link.add_ifb("x", 50, 1500, 32),
                tc_qdisc.htb(50, 0x10000),
                tc_qdisc.htb_class(50, 0x10000, 1),
                tc_qdisc.htb_class(50, 0x10000, 2),
                tc_qdisc.qdisc(50, KIND, 0x20000, 0x10001, encode(NetemOptions(duplicate=0.5), 1)),
                tc_qdisc.qdisc(50, KIND, 0x30000, 0x10002, encode(NetemOptions(), 1)),
            ])  # fmt: skip
        finally:
            netlink.close()

    try:
        with pytest.raises(NetlinkError, match="netem"):
            namespaces.run_inside(namespaces.path_of(name), together)
    finally:
        namespaces.delete(name)


# --- what the kernel accepted ---


def test_everything_is_read_back_to_the_nanosecond(tmp_path: Path) -> None:
    """64-bit delay and jitter, a burst model, all shares: the kernel says what was asked."""
    asked = NetemOptions(
        delay_ns=123_456_789, jitter_ns=7_654_321, distribution="normal", keep_order=True, burst=(0.1, 0.25, 0.9, 0.01),
        reorder=0.125, corrupt=0.0625, limit=54_321,
    )  # fmt: skip
    accepted = _accepted(asked)
    assert refused(asked, accepted) == []
    assert refused(replace(asked, delay_ns=123_456_790), accepted) == ["delay asked 123456790, set 123456789"]


def test_the_seed_is_sent_and_its_acceptance_known(tmp_path: Path) -> None:
    """Kernels from 6.6 on take it; what this one did is a fact of the run."""
    major, minor = (int(part) for part in platform.release().split(".")[:2])
    with live_network("netem", two(PathShape()), tmp_path) as live:
        assert isinstance(live.links, NetemLinks)
        assert live.links.facts["seeded"] is ((major, minor) >= (6, 6))


def _accepted(options: NetemOptions) -> bytes:
    name = namespaces.wan_namespace(namespaces.new_run())
    namespaces.create([name])

    def work() -> list[bytes]:
        netlink = Netlink()
        try:
            requests = [
                tc_link.add_ifb("x", 50, 1500, 32),
                tc_qdisc.qdisc(50, KIND, 0x10000, tc_qdisc.ROOT, encode(options, 1), echo=True),
            ]
            return netlink.do(requests)
        finally:
            netlink.close()

    try:
        answers = namespaces.run_inside(namespaces.path_of(name), work)
    finally:
        namespaces.delete(name)
    return next(found.options for found in map(tc_qdisc.read_qdisc, answers) if found.kind == KIND)


# --- global tables ---


def test_neighbours_are_permanent_and_few(tmp_path: Path) -> None:
    """The neighbour table is one for all namespaces and ends at about 1,000 entries that are not permanent."""
    names = "abcdef"
    with live_network("netem", network_of({name: AccessLink() for name in names}, {}), tmp_path) as live:
        probe(live, [Flow(f"{x}{y}", x, y, 2, MS) for x in names for y in names if x != y])
        entries = wan(live, "ip", "neigh").splitlines()
        assert len(entries) == len(names)
        assert all(entry.split()[-1] == "PERMANENT" for entry in entries)
        host = live.inside("a", lambda: subprocess.run(["ip", "neigh"], capture_output=True, text=True, check=True).stdout)
        assert host.split()[0] == GATEWAY
        assert len(host.splitlines()) == 1
        assert "PERMANENT" in host


@pytest.fixture
def root_interfaces() -> Iterator[list[str]]:
    """Interfaces of the root namespace before; the same after."""
    before = sorted(Path("/sys/class/net").iterdir())
    yield [path.name for path in before]
    assert sorted(Path("/sys/class/net").iterdir()) == before


def test_nothing_is_in_the_root_namespace(tmp_path: Path, root_interfaces: list[str]) -> None:
    """While it runs and after."""
    with live_network("netem", two(EVERYTHING), tmp_path):
        assert sorted(path.name for path in Path("/sys/class/net").iterdir()) == sorted(root_interfaces)
