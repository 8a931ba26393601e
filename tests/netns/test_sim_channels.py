"""The simulator's channels against the transport's, over the same paths: real processes, userspace links, one kernel clock."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.fidelity.live import LiveNetwork, live_network, network_of
from helpers.sim import Bench
from opus_controller.model.network import Cut, Network
from opus_controller.model.plan import App, Plan
from opus_controller.model.shapes import AccessLink, PathShape
from opus_controller.runtimes.sim.costs import DIAL_ROUND_TRIPS
from opus_node.core.messages import Probe
from opus_node.core.types import MILLISECOND, SECOND

pytestmark = pytest.mark.netns

THERE, BACK = 120 * MILLISECOND, 80 * MILLISECOND
RTT = THERE + BACK
TRIES = 3
"""The quickest counts: a busy machine only adds."""
DIALER = Path(__file__).parents[1] / "helpers" / "dialer.py"


def network() -> Network:
    access = {"a": AccessLink(), "b": AccessLink()}
    return network_of(access, {("a", "b"): PathShape(delay_ns=THERE), ("b", "a"): PathShape(delay_ns=BACK)})


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveNetwork]:
    with live_network("userspace", network(), tmp_path) as found:
        yield found


class Dialer:
    """A process with the transport in a host's namespace; ends with the block."""

    def __init__(self, live: LiveNetwork, host: str, peer: str = "") -> None:
        command = ["nsenter", f"--net={live.path_of(host)}", sys.executable, str(DIALER), live.hosts[host].address]
        command += ["--peer", live.hosts[peer].address] if peer else []
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Dialer:
        assert self._line() == ["ready"]
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def send(self, nonce: int) -> int:
        """When it was handed to the transport, ns."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{nonce}\n")
        self.process.stdin.flush()
        return self.next("sent", nonce)

    def next(self, word: str, nonce: int = 0) -> int:
        """The ns of the next line, which must be this."""
        first, number, t = self._line()
        assert (first, int(number)) == (word, nonce)
        return int(t)

    def _line(self) -> list[str]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().split()
        assert line, "the process has ended"
        return line


@pytest.fixture
def bench() -> Callable[[list[int]], Bench]:
    """The same two hosts in the simulator, without hop cost; a sends b a probe at each of these ns, number 0 first."""

    def make(sends: list[int]) -> Bench:
        net = network()
        plan = Plan(
            name="t", seed=1, topology="t", duration_ns=60 * SECOND, sites=net.sites, hosts=net.hosts, paths=net.paths,
            seeds=("a",), apps=(App(name="web", replicas=1),),
        )  # fmt: skip
        return Bench(plan, [("a", t, "b", Probe(i, stream=True)) for i, t in enumerate(sends)])

    return make


Make = Callable[[list[int]], Bench]


def exchange(a: Dialer, b: Dialer, count: int) -> list[int]:
    """Probes one after the other; how long each took."""
    return [-a.send(i) + b.next("heard", i) for i in range(count)]


def told(what: str, real: int, simulated: int) -> None:
    print(f"{what}: real {real / 1e6:.1f} ms, simulated {simulated / 1e6:.1f} ms")


def test_a_cold_dial_takes_the_round_trips_that_the_simulator_charges(live: LiveNetwork, bench: Make) -> None:
    colds, warm = [], []
    for _ in range(TRIES):
        with Dialer(live, "b") as b, Dialer(live, "a", "b") as a:
            took = exchange(a, b, 4)
        colds.append(took[0])
        warm += took[1:]
    cold = min(colds)
    expected = bench([SECOND]).until(3 * SECOND).arrivals("b")[0] - SECOND
    told("cold", cold, expected)
    told("warm", min(warm), THERE)
    assert THERE <= min(warm) < THERE + 30 * MILLISECOND
    assert round((cold - min(warm)) / RTT) == DIAL_ROUND_TRIPS
    assert abs(cold - expected) < RTT / 2


def test_a_short_cut_costs_what_the_simulator_says(live: LiveNetwork, bench: Make) -> None:
    """The time-out is between 400 and 600 ms: with the cut healed after 650, the second retransmission gets through."""
    count, cut_for = 10, 650 * MILLISECOND
    with Dialer(live, "b") as b, Dialer(live, "a", "b") as a:
        exchange(a, b, count)
        live.links.apply(replace(network(), cuts=(Cut(frozenset("a"), frozenset("b")),)))
        sent = a.send(count)
        time.sleep(cut_for / SECOND)  # not to synchronise: the length of the cut is what is tried
        live.links.apply(network())
        real = b.next("heard", count) - sent
    last = SECOND + count * THERE
    sim = bench([SECOND + i * THERE for i in range(count + 1)]).until(last - 1)
    sim.cut("a", "b", both=False)
    sim.until(last + cut_for).apply()
    expected = sim.until(30 * SECOND).arrivals("b")[-1] - last
    told("sent into a cut of 650 ms", real, expected)
    assert cut_for < expected < 1300 * MILLISECOND
    assert real == pytest.approx(expected, rel=0.3)


def test_a_crash_is_told_as_soon_as_the_simulator_says(live: LiveNetwork, bench: Make) -> None:
    resets, refusals = [], []
    for _ in range(TRIES):
        with Dialer(live, "b") as b, Dialer(live, "a", "b") as a:
            exchange(a, b, 2)
            killed = time.monotonic_ns()
            b.kill()
            resets.append(a.next("unreachable") - killed)
            dialed = a.send(9)
            refusals.append(a.next("unreachable") - dialed)
    reset, refused = min(resets), min(refusals)
    sim = bench([0, 2 * SECOND]).until(SECOND)
    sim.do(sim.sim.crash(["b"]))
    expected = sim.until(5 * SECOND).toy("a").unreachable()
    told("connection reset after", reset, expected[0] - SECOND)
    told("dial refused after", refused, expected[1] - 2 * SECOND)
    assert expected == [SECOND + BACK, 2 * SECOND + RTT]
    assert BACK <= reset < BACK + 80 * MILLISECOND
    assert RTT <= refused < RTT + 80 * MILLISECOND


def test_a_dial_to_a_paused_process_goes_on_with_the_answer_that_is_owed(live: LiveNetwork, bench: Make) -> None:
    """Its kernel accepts meanwhile; when it runs on, its settings go to the dialler, whose message comes back."""
    paused_for, tries = SECOND, []
    for _ in range(TRIES):
        with Dialer(live, "b") as b, Dialer(live, "a", "b") as a:
            b.process.send_signal(signal.SIGSTOP)
            a.send(0)
            time.sleep(paused_for / SECOND)  # not to synchronise: the length of the pause is what is tried
            resumed = time.monotonic_ns()
            b.process.send_signal(signal.SIGCONT)
            tries.append(b.next("heard") - resumed)
    sim = bench([SECOND]).until(SECOND // 2)
    sim.do(sim.sim.pause(["b"]))
    sim.until(SECOND + paused_for).do(sim.sim.resume(["b"]))
    expected = sim.until(5 * SECOND).arrivals("b")[0] - SECOND - paused_for
    told("heard after the pause", min(tries), expected)
    assert expected == RTT
    assert RTT <= min(tries) < RTT + 80 * MILLISECOND
