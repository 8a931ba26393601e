"""`opus up --runtime docker --links netem`: hosts in containers, on a kernel that shapes; `ping` and the kernel are asked."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest
from helpers.forked_opus import Done, Running, opus
from helpers.guest_engine import docker
from helpers.netns_runs import leftovers
from helpers.pings import Pings, parse, plausible_losses
from opus_controller.model.scenario import find
from opus_controller.net import namespaces
from opus_controller.runtimes.hosts import state

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(900)]

LOSS = 0.1
"""Each way between Madrid and Tokyo, in place of the shipped 0.1%, which no test could see."""
ROUND_TRIPS_MS = {("berlin", "madrid"): 44, ("berlin", "tokyo"): 244, ("madrid", "tokyo"): 264}
"""Of the sites, and 4 ms for the access links at both ends."""
EARLY_MS, LATE_MS = 2.0, 15.0
"""About a round trip's quickest of many: what jitter takes away, and what an emulated kernel on a busy machine adds."""
NETEM_DELAYS_MS = {22, 122, 132}
"""One way with both access links: what the topology asks of the kernel."""


@pytest.fixture(scope="module")
def testbed(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[state.RunState]:
    """The shipped three hosts, lossier."""
    topology = tmp_path_factory.mktemp("topology") / "three-hosts.yaml"
    shipped = find("topologies", "three-hosts").read_text()
    assert shipped.count("loss: 0.1%") == 1
    topology.write_text(shipped.replace("loss: 0.1%", f"loss: {LOSS:.0%}"))
    run = state.load(
        json.loads(fine(opus("up", topology, "--runtime", "docker", "--links", "netem", "--json", timeout_s=600)).stdout)["run"]
    )
    yield run
    fine(opus("down", run.run))
    assert leftovers(run) == {}


def fine(done: Done) -> Done:
    assert done.returncode == 0, done.stderr + done.stdout
    return done


def ping(run: state.RunState, source: str, target: str, count: int, every_s: float) -> Pings:
    """From inside a host, by its command."""
    command = ["ping", "-c", str(count), "-i", str(every_s), "-W", "2", target]
    pings = parse(opus("exec", "--run", run.run, source, "--", *command).stdout)
    print(f"{source} to {target}: {pings.sent} sent, {pings.lost} lost, {pings.least_ms} {pings.median_ms} ms")
    return pings


def netems(run: state.RunState) -> list[tuple[int, float]]:
    """(delay in ms, loss) of every path between sites, as the kernel says what it has.

    Left out: paths within a site (2 ms), and the 5 ms that the links' own timer lag is watched on.
    """
    inside = ["ip", "netns", "exec", namespaces.wan_namespace(run.run), "tc", "-json", "qdisc", "show"]
    shown = json.loads(subprocess.run(inside, capture_output=True, text=True, check=True).stdout)
    options = [qdisc["options"] for qdisc in shown if qdisc["kind"] == "netem"]
    found = [(round(one["delay"]["delay"] * 1000), one.get("loss-random", {}).get("loss", 0.0)) for one in options]
    return [(delay, loss) for delay, loss in found if delay > 5]


def test_its_hosts_are_containers_that_run_and_the_kernel_shapes_as_asked(testbed: state.RunState) -> None:
    names = docker("ps", "--filter", f"label=opus.run={testbed.run}", "--format", "{{.Names}}").split()
    assert sorted(names) == [f"opus-{testbed.run}-{host}" for host in ("berlin", "madrid", "tokyo")]
    found = netems(testbed)
    print(found)
    assert {delay for delay, _ in found} == NETEM_DELAYS_MS
    assert [loss for delay, loss in found if delay == 132] == pytest.approx([LOSS] * 2)


def test_ping_shows_the_round_trips_and_the_losses_of_the_topology(testbed: state.RunState) -> None:
    for (one, other), asked in ROUND_TRIPS_MS.items():
        lossy = (one, other) == ("madrid", "tokyo")
        pings = ping(testbed, one, other, *((400, 0.02) if lossy else (20, 0.1)))
        assert asked - EARLY_MS < pings.least_ms < asked + LATE_MS
        fewest, most = plausible_losses(pings.sent, 1 - (1 - LOSS) ** 2 if lossy else 0.0)
        assert fewest <= pings.lost <= most
        assert (fewest > 0) == lossy


def test_a_link_changed_while_packets_are_on_it(testbed: state.RunState) -> None:
    """Every packet arrives, those on their way at that moment included, the first at the old pace and the last at the new."""
    before, after = 44, 124
    with Running("exec", "--run", testbed.run, "berlin", "--", "ping", "-i", "0.1", "madrid") as pinging:
        pinging.until(lambda text: text.count("time=") >= 20, "20 answers before the change", 120)
        fine(opus("link", "set", "--run", testbed.run, "berlin", "madrid", "--rtt", "120ms"))
        answered = pinging.stdout().count("time=")
        pinging.until(lambda text: text.count("time=") >= answered + 25, "25 answers after the change", 120)
        pinging.interrupt()
        pings = parse(pinging.wait(60).stdout)
    print(f"{pings.sent} sent, {pings.lost} lost: {pings.rtt_ms}")
    assert before - EARLY_MS < min(pings.rtt_ms[:20]) < before + LATE_MS
    assert after - EARLY_MS < min(pings.rtt_ms[-20:]) < after + LATE_MS
    assert pings.lost <= 3, "no more than were on their way when it was told to end"
    assert {delay for delay, _ in netems(testbed)} >= NETEM_DELAYS_MS - {22} | {62}
    fine(opus("link", "reset", "--run", testbed.run, "berlin", "madrid"))
    # The class of the changed path stays, for what is in flight in it; nothing goes there any more.
    assert {delay for delay, _ in netems(testbed)} >= NETEM_DELAYS_MS
    again = ping(testbed, "berlin", "madrid", 10, 0.2)
    assert before - EARLY_MS < again.least_ms < before + LATE_MS
