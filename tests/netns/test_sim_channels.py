"""The simulator's channels against the transport's, over the same paths: real processes, userspace links, one kernel clock."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.fidelity.live import LiveNetwork, live_network, network_of
from helpers.sim import Bench
from opus_controller.model.network import Network
from opus_controller.model.plan import App, Plan
from opus_controller.model.shapes import AccessLink, PathShape
from opus_controller.runtimes.sim.costs import DIAL_ROUND_TRIPS
from opus_node.core.messages import Probe
from opus_node.core.types import MILLISECOND, SECOND

pytestmark = pytest.mark.netns

THERE, BACK = 120 * MILLISECOND, 80 * MILLISECOND
RTT = THERE + BACK
DIALER = Path(__file__).parents[1] / "helpers" / "dialer.py"


def network() -> Network:
    access = {"a": AccessLink(), "b": AccessLink()}
    return network_of(access, {("a", "b"): PathShape(delay_ns=THERE), ("b", "a"): PathShape(delay_ns=BACK)})


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveNetwork]:
    with live_network("userspace", network(), tmp_path) as found:
        yield found


class Dialer:
    """A process in a host's namespace; ends with the block."""

    def __init__(self, live: LiveNetwork, host: str, *options: str) -> None:
        command = ["nsenter", f"--net={live.path_of(host)}", sys.executable, str(DIALER), live.hosts[host].address, *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Dialer:
        assert self._line() == ["ready"]
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def times(self, word: str, count: int) -> dict[int, int]:
        """Nonce to ns of the next `count` lines that begin with `word`."""
        found: dict[int, int] = {}
        while len(found) < count:
            first, nonce, t = self._line()
            if first == word:
                found[int(nonce)] = int(t)
        return found

    def _line(self) -> list[str]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().split()
        assert line, "the process has ended"
        return line


def simulated(count: int, every: int) -> list[int]:
    """What the simulator says of the same, without hop cost: one-way times of probes from a to b, the first one cold."""
    net = network()
    plan = Plan(
        name="t", seed=1, topology="t", duration_ns=60 * SECOND, sites=net.sites, hosts=net.hosts, paths=net.paths,
        seeds=("a",), apps=(App(name="web", replicas=1),),
    )  # fmt: skip
    bench = Bench(plan, [("a", SECOND + i * every, "b", Probe(i)) for i in range(count)]).until(30 * SECOND)
    return [t - SECOND - i * every for i, t in enumerate(bench.arrivals("b"))]


def test_a_cold_dial_takes_the_round_trips_that_the_simulator_charges(live: LiveNetwork) -> None:
    count, every = 4, 1.0
    options = ("--peer", live.hosts["b"].address, "--count", str(count), "--every", str(every))
    with Dialer(live, "b") as b, Dialer(live, "a", *options) as a:
        sent = a.times("sent", count)
        heard = b.times("heard", count)
    took = [heard[i] - sent[i] for i in range(count)]
    expected = simulated(count, round(every * SECOND))
    print("ms, real and simulated:", [(round(x / 1e6, 1), y / 1e6) for x, y in zip(took, expected, strict=True)])
    cold, warm = took[0], min(took[1:])
    assert THERE <= warm < THERE + 30 * MILLISECOND
    assert expected[1:] == [THERE] * (count - 1)
    assert round((cold - warm) / RTT) == DIAL_ROUND_TRIPS
    assert abs(cold - expected[0]) < RTT / 2
