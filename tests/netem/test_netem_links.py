"""netem links as a runtime uses them: three hosts wired, restarts, another process, cuts, silence, and the end of it all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
from helpers.fidelity.live import LiveNetwork, live_network, network_of
from helpers.fidelity.prober import Flow, probe
from helpers.fidelity.rates import tcp_rate
from helpers.netem_state import NetemState
from opus_controller.model.network import Cut, Network
from opus_controller.model.plan import Host
from opus_controller.model.shapes import AccessLink, Direction, HostChange, PathShape
from opus_controller.net import namespaces
from opus_controller.net.choose import choose, open_links
from opus_controller.net.netem import NetemLinks

pytestmark = pytest.mark.netem

MS = 1_000_000
MBIT = 1_000_000
CONTROLLER = Path(__file__).resolve().parents[2] / "controller"


def three() -> Network:
    """Round trips of 27 ms (a, b) and 81 ms (a, c); a sends at most 100 Mbit/s."""
    access = {"a": AccessLink(up=Direction(rate_bps=100 * MBIT)), "b": AccessLink(), "c": AccessLink()}
    near, far = PathShape(delay_ns=13_500_000), PathShape(delay_ns=40_500_000)
    return network_of(access, {("a", "b"): near, ("b", "a"): near, ("a", "c"): far, ("c", "a"): far})


def one_way_ms(live: LiveNetwork, source: str, target: str) -> float | None:
    """Of 20 packets the third fastest (what a busy machine adds is not the links'); None if not all of them came."""
    seen = probe(live, [Flow("x", source, target, 20, 5 * MS)]).flows["x"]
    return sorted(seen.delays_ns)[2] / MS if sum(seen.arrived) == 20 else None


def inside(live: LiveNetwork, host: str, *command: str) -> str:
    name = namespaces.host_namespace(live.run, host)
    return subprocess.run(["ip", "netns", "exec", name, *command], capture_output=True, text=True, check=True).stdout


def test_three_hosts(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Round trips and rate as asked; prints the qdiscs' counters for the record."""
    with live_network("netem", three(), tmp_path) as live:
        for target, asked in (("b", 27), ("c", 81)):
            there, back = one_way_ms(live, "a", target), one_way_ms(live, target, "a")
            assert there is not None
            assert back is not None
            assert asked <= there + back <= asked + 3
            if shutil.which("ping"):
                text = inside(live, "a", "ping", "-q", "-c", "5", "-i", "0.2", live.hosts[target].address)
                least = float(text.rsplit("=", 1)[1].split("/")[0])
                assert asked <= least <= asked + 5
        best = max(median(tcp_rate(live, "a", "b")) for _ in range(3))  # a busy machine only makes it less
        assert 85 * MBIT < best < 105 * MBIT
        found = live.links.counters()
        text = subprocess.run(
            ["ip", "netns", "exec", namespaces.wan_namespace(live.run), "tc", "-s", "qdisc"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    with capfd.disabled():
        print(f"\nqdiscs of three hosts under Linux {os.uname().release}:\n{text}")
    assert found["b"].overflow == found["c"].overflow == 0
    assert found["b"].received >= 20
    assert found["b"].received_bytes <= 1500 * found["b"].received


def test_access_links_get_narrow_and_wide_again(tmp_path: Path) -> None:
    """And a host that is attached meanwhile has the rate of the moment."""
    wide = three()
    a, b, c = wide.hosts
    narrow = replace(wide, hosts=(strained(a, up_bps=4 * MBIT), strained(b, down_bps=2 * MBIT), c))
    with live_network("netem", wide, tmp_path) as live:
        live.links.apply(narrow)
        name = namespaces.host_namespace(live.run, "a")
        namespaces.delete(name)
        namespaces.create([name])
        live.links.attach("a", namespaces.path_of(name))
        assert 3.6 * MBIT < median(tcp_rate(live, "a", "c")) < 4.2 * MBIT
        with NetemState(live) as kernel:
            assert kernel.differs(narrow) == []
            live.links.apply(wide)
            assert kernel.differs(wide) == []


def strained(host: Host, **rates: int) -> Host:
    return host.model_copy(update={"access": HostChange(**rates).on(host.access)})


def test_auto_takes_netem_where_the_kernel_has_it() -> None:
    """And says so."""
    assert choose("auto").kind == "netem"
    assert "sch_netem" in choose("auto").why


def test_a_restarted_host_has_its_links_again(tmp_path: Path) -> None:
    """A new namespace replaces the old one, and the same namespace again does no harm."""
    with live_network("netem", three(), tmp_path) as live:
        name = namespaces.host_namespace(live.run, "b")
        namespaces.delete(name)
        namespaces.create([name])
        live.links.attach("b", namespaces.path_of(name))
        assert one_way_ms(live, "a", "b") == pytest.approx(13.5, abs=2)
        live.links.attach("b", namespaces.path_of(name))
        assert one_way_ms(live, "b", "a") == pytest.approx(13.5, abs=2)


def test_a_host_that_is_gone_is_silent(tmp_path: Path) -> None:
    """Neither a detached host nor one that is down makes anyone say that it cannot be reached."""
    with live_network("netem", three(), tmp_path) as live:
        live.links.detach("b")
        live.links.detach("b")
        live.links.apply(replace(live.network, down=frozenset({"c"})))
        for target in ("b", "c"):
            with live.udp("a") as sock:
                sock.connect((live.hosts[target].address, 9))
                deadline = time.monotonic() + 0.5
                while time.monotonic() < deadline:
                    sock.send(b"anyone?")  # an ICMP error would be raised here
                    time.sleep(0.01)
        assert live.links.counters()["c"].cut > 0


def test_a_host_that_was_down_comes_back(tmp_path: Path) -> None:
    with live_network("netem", three(), tmp_path) as live:
        live.links.apply(replace(live.network, down=frozenset({"c"})))
        assert one_way_ms(live, "a", "c") is None
        assert one_way_ms(live, "c", "a") is None
        assert one_way_ms(live, "a", "b") == pytest.approx(13.5, abs=2)
        live.links.apply(live.network)
        assert one_way_ms(live, "a", "c") == pytest.approx(40.5, abs=2)


def test_cuts_stack_and_unwind_in_any_order(tmp_path: Path) -> None:
    """Two cuts over the same pair: it stays cut until both are gone."""
    first, second = Cut(frozenset("a"), frozenset("bc")), Cut(frozenset("ac"), frozenset("b"))
    with live_network("netem", three(), tmp_path) as live:
        for cuts, open_paths in (
            ((first, second), {"ba", "ca"}),
            ((second,), {"ac", "ba", "ca", "bc"}),
            ((), {"ab", "ac", "ba", "ca", "bc", "cb"}),
        ):
            live.links.apply(replace(live.network, cuts=cuts))
            seen = probe(live, [Flow(x + y, x, y, 5, MS) for x, y in ("ab", "ac", "ba", "ca", "bc", "cb")]).flows
            passed = {pair for pair, found in seen.items() if all(found.arrived)}
            assert passed >= open_paths
            blocked = {pair for pair, found in seen.items() if not any(found.arrived)}
            assert passed | blocked == set(seen)
            expected = {x + y for x, y in ("ab", "ac", "bc", "cb", "ba", "ca") if not _cut(cuts, x, y)}
            assert passed == expected


def _cut(cuts: tuple[Cut, ...], source: str, target: str) -> bool:
    return any(source in cut.sources and target in cut.targets for cut in cuts)


def test_a_pair_of_hosts_can_have_a_shape_of_its_own(tmp_path: Path) -> None:
    """Stronger than the sites' shape, and nobody else's."""
    hosts = {name: AccessLink() for name in ("a", "b", "c")}
    network = network_of(hosts, {("a", "b"): PathShape(delay_ns=10 * MS)})
    with live_network("netem", network, tmp_path) as live:
        live.links.apply(replace(network, host_overrides={("a", "b"): PathShape(delay_ns=70 * MS)}))
        assert one_way_ms(live, "a", "b") == pytest.approx(70, abs=2)
        assert one_way_ms(live, "a", "c") == pytest.approx(1, abs=2)
        assert one_way_ms(live, "c", "b") == pytest.approx(1, abs=2)
        live.links.apply(network)
        assert one_way_ms(live, "a", "b") == pytest.approx(10, abs=2)


def test_more_senders_than_classes(tmp_path: Path) -> None:
    """A hundred sites: each receiver's classes end at 64, the error is known and kept."""
    names = [f"h{i}" for i in range(100)]
    paths = {(name, "h0"): PathShape(delay_ns=(5 + 3 * i) * MS) for i, name in enumerate(names)}
    network = network_of({name: AccessLink() for name in names}, paths)
    run = namespaces.new_run()
    few = ["h0", "h3", "h50", "h51", "h99"]
    links = NetemLinks(run)
    live = LiveNetwork(links, network, run)
    namespaces_made = [namespaces.host_namespace(run, name) for name in few]
    try:
        links.apply(network)
        namespaces.create(namespaces_made)
        for name in few:
            links.attach(name, live.path_of(name))
        error = links.facts["quantisation_error_ms"]
        assert links.facts["classes_most"] <= 64
        assert 0 < error < 10
        for name in few[1:]:
            asked = 5 + 3 * names.index(name)
            found = one_way_ms(live, name, "h0")
            assert found is not None
            assert asked - error - 0.1 <= found <= asked + error + 3
    finally:
        links.close()
        for name in namespaces_made:
            namespaces.delete(name)


def test_another_process_changes_the_links(tmp_path: Path) -> None:
    """As `opus link set` does: it finds the run's links by name and says the whole state anew."""
    with live_network("netem", three(), tmp_path) as live:
        live.links.apply(replace(live.network, cuts=(Cut(frozenset("a"), frozenset("c")),)))
        other = open_links("netem", live.run, tmp_path)
        assert isinstance(other, NetemLinks)
        other.apply(replace(live.network, overrides={("a", "b"): PathShape(delay_ns=50 * MS, duplicate=1.0)}))
        seen = probe(live, [Flow("b", "a", "b", 20, 5 * MS), Flow("c", "a", "c", 20, 5 * MS)]).flows
        assert len(seen["b"].arrivals) == 40
        assert min(seen["b"].delays_ns) > 49.9 * MS
        assert all(seen["c"].arrived)
        assert other.counters()["c"].received >= 20


def test_links_outlive_the_controller_and_end_with_the_namespace(tmp_path: Path) -> None:
    """A controller that is killed leaves them as they are; deleting the one namespace removes them."""
    run = namespaces.new_run()
    hosts = [namespaces.host_namespace(run, name) for name in ("a", "b")]
    code = (
        f"import sys; sys.path[:0] = {[str(CONTROLLER), str(CONTROLLER.parent / 'tests')]!r}\n"
        "import os, signal\n"
        "from helpers.fidelity.live import network_of\n"
        "from opus_controller.model.shapes import AccessLink, PathShape\n"
        "from opus_controller.net import namespaces\n"
        "from opus_controller.net.netem import NetemLinks\n"
        "network = network_of({'a': AccessLink(), 'b': AccessLink()}, {('a', 'b'): PathShape(delay_ns=30_000_000)})\n"
        f"namespaces.create({hosts!r})\n"
        f"links = NetemLinks({run!r})\n"
        "links.apply(network)\n"
        f"for name in 'ab': links.attach(name, namespaces.path_of(namespaces.host_namespace({run!r}, name)))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    network = network_of({"a": AccessLink(), "b": AccessLink()}, {("a", "b"): PathShape(delay_ns=30 * MS)})
    links = NetemLinks.open(run)
    live = LiveNetwork(links, network, run)
    try:
        assert namespaces.of_run(run) == sorted([*hosts, namespaces.wan_namespace(run)])
        assert one_way_ms(live, "a", "b") == pytest.approx(30, abs=2)
        links.close()
        assert namespaces.of_run(run) == sorted(hosts)
        _wait_until(lambda: "eth0" not in inside(live, "a", "ip", "-o", "link"))
    finally:
        for name in hosts:
            namespaces.delete(name)


def test_timer_lag_is_measured(tmp_path: Path) -> None:
    """The canary has something to say, and says it once."""
    with live_network("netem", three(), tmp_path) as live:
        _wait_until(lambda: live.links.lag().packets > 0)
        probe(live, [Flow("x", "a", "b", 50, 5 * MS)])
        lag = live.links.lag()
        assert lag.packets > 10
        assert 0 < lag.p50_ns <= lag.p99_ns <= lag.max_ns


def test_a_rate_without_a_queue_gets_the_same_one_as_userspace_links() -> None:
    """100 ms, but at least ten large packets."""
    assert Direction(rate_bps=100 * MBIT).may_wait == 1_250_000
    assert Direction(rate_bps=100_000).may_wait == 15_000


def _wait_until(fact: object, seconds: float = 20.0) -> None:
    assert callable(fact)
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
