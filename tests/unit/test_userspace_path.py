"""What a path does to packets, counted over many of them at a seed: shares, bursts, distributions, order."""

from __future__ import annotations

import statistics
import struct
from dataclasses import replace
from itertools import groupby, pairwise
from math import sqrt
from pathlib import Path as FilePath

import pytest
from helpers.tcp_packets import MSS, super_packet
from opus_controller.net.userspace_engine import Engine
from opus_controller.net.userspace_host import Host
from opus_controller.net.userspace_jitter import SCALE, table
from opus_controller.net.userspace_packets import VNET, wire_counts
from opus_controller.net.userspace_path import Path, Shape

MS = 1_000_000
N = 20_000


class Lab:
    """Two hosts and a path, in virtual time: what arrives is noted instead of written."""

    def __init__(self, shape: Shape, access: tuple[int, float] = (0, 0.0), cut: bool = False) -> None:
        self.engine = Engine(seed="path")
        self.a, self.b = (Host(self.engine, name, bytes([198, 18, 0, i]), lambda *_: None) for i, name in enumerate("ab"))
        for host in (self.a, self.b):
            host.configure_access(*access, (None, None), (None, None))
        self.path = Path(self.engine, self.a, self.b)
        self.arrived: list[tuple[int, bytes]] = []
        self.b.arrive = lambda due, data: self.arrived.append((due, data))
        self.path.configure(shape, cut)

    def send(self, count: int, gap: int = MS) -> list[tuple[int, int]]:
        """Send numbered packets; (time of arrival, number) in order of arrival."""
        for i in range(count):
            self.engine.run(i * gap, 10)
            self.path.enter(i * gap, bytes(VNET) + struct.pack(">I", i) + bytes(36))
        self.engine.run(1 << 62, 1 << 62)
        return [(due, struct.unpack_from(">I", data, VNET)[0]) for due, data in self.arrived]


def within(count: int, trials: int, share: float) -> bool:
    """Inside the normal approximation of the 99.99% binomial interval."""
    return abs(count - trials * share) <= 3.9 * sqrt(trials * share * (1 - share)) + 1


def test_delay_alone_is_exact() -> None:
    lab = Lab(Shape(delay=20 * MS), access=(3 * MS, 0.0))
    assert lab.send(100) == [(i * MS + 26 * MS, i) for i in range(100)]


@pytest.mark.parametrize("share", [0.001, 0.05, 0.5])
@pytest.mark.parametrize("kind", ["loss", "duplicate", "reorder", "corrupt"])
def test_each_share_is_the_asked_one_and_counted(kind: str, share: float) -> None:
    lab = Lab(replace(Shape(delay=50 * MS), **{kind: share}))  # type: ignore[arg-type]
    arrived = lab.send(N)
    counted = {
        "loss": lab.a.lost, "duplicate": lab.a.duplicated, "reorder": lab.a.reordered, "corrupt": lab.a.corrupted,
    }  # fmt: skip
    assert within(counted.pop(kind), N, share)
    assert set(counted.values()) == {0}
    assert len(arrived) == N - lab.a.lost + lab.a.duplicated
    if kind == "reorder":
        assert lab.a.reordered == sum(due == number * MS for due, number in arrived)
    if kind == "corrupt":
        flipped = [sum(byte.bit_count() for byte in data[VNET + 4 :]) for _, data in lab.arrived]
        assert set(flipped) <= {0, 1}
        assert sum(flipped) >= lab.a.corrupted * 0.8, "the rest hit the four bytes of the number"


def test_everything_at_once_keeps_each_share() -> None:
    shares = {"loss": 0.1, "duplicate": 0.2, "reorder": 0.3, "corrupt": 0.4}
    lab = Lab(Shape(delay=50 * MS, **shares), access=(0, 0.05))  # type: ignore[arg-type]
    arrived = lab.send(N)
    past_source = N * 0.95
    assert abs(lab.a.duplicated / past_source - 0.2) < 0.015
    copies = past_source * 1.2
    assert abs(len(arrived) / copies - 0.9 * 0.95) < 0.015
    assert abs(lab.a.corrupted / (copies * 0.9 * 0.95) - 0.4) < 0.015
    assert abs(lab.a.reordered / (copies * 0.9 * 0.95) - 0.3) < 0.015


def test_losing_all_and_duplicating_all() -> None:
    assert Lab(Shape(loss=1.0)).send(100) == []
    assert len(Lab(Shape(duplicate=1.0)).send(100)) == 200


def test_independent_loss_has_no_memory() -> None:
    lab = Lab(Shape(loss=0.3))
    got = {number for _, number in lab.send(N)}
    lost = [i not in got for i in range(N)]
    after_loss = [b for a, b in pairwise(lost) if a]
    assert within(sum(after_loss), len(after_loss), 0.3)


@pytest.mark.parametrize("jitter", [0, MS])
def test_a_super_packet_loses_its_packets_one_by_one(jitter: int) -> None:
    lab = Lab(Shape(delay=5 * MS, loss=0.02, jitter=jitter))
    for i in range(500):
        lab.path.enter(i * MS, super_packet(bytes(40 * MSS)))
    lab.engine.run(1 << 62, 1 << 62)
    parts = [wire_counts(data)[0] for _, data in lab.arrived]
    assert within(lab.a.lost, N, 0.02)
    assert sum(parts) == N - lab.a.lost
    assert max(parts) == (1 if jitter else 40), "it stays together where nothing tells its packets apart"


def test_burst_loss_has_the_chains_mean_and_bursts() -> None:
    lab = Lab(Shape(burst=(0.02, 0.25, 1.0, 0.0)))
    got = {number for _, number in lab.send(N)}
    bursts = [len(list(run)) for lost, run in groupby(i not in got for i in range(N)) if lost]
    assert abs(statistics.mean(bursts) - 4) < 0.6, "1/r packets"
    assert abs(lab.a.lost / N - 0.02 / 0.27) < 0.012
    assert lab.a.lost == sum(bursts)


def test_burst_loss_in_both_states() -> None:
    lab = Lab(Shape(burst=(0.1, 0.1, 0.6, 0.2)))
    lab.send(N)
    assert abs(lab.a.lost / N - 0.4) < 0.03


@pytest.mark.parametrize(
    ("distribution", "mean", "deviation"),
    [("uniform", 0.0, 0.577), ("normal", 0.0, 1.0), ("pareto", -0.033, 0.82), ("paretonormal", -0.025, 0.834)],
)
def test_jitter_has_its_distributions_moments(distribution: str, mean: float, deviation: float) -> None:
    lab = Lab(Shape(delay=100 * MS, jitter=10 * MS, distribution=distribution))
    jitter = [(due - number * MS - 100 * MS) / (10 * MS) for due, number in lab.send(N)]
    assert abs(statistics.mean(jitter) - mean) < 0.03
    assert abs(statistics.pstdev(jitter) - deviation) < 0.03


def test_jitter_beyond_the_delay_does_not_go_back_in_time() -> None:
    lab = Lab(Shape(delay=1 * MS, jitter=5 * MS), access=(2 * MS, 0.0))
    delays = [due - number * MS for due, number in lab.send(2000)]
    assert min(delays) == 4 * MS
    assert max(delays) > 10 * MS


def test_jitter_reorders_unless_order_is_kept() -> None:
    loose = Lab(Shape(delay=50 * MS, jitter=10 * MS)).send(2000)
    kept = Lab(Shape(delay=50 * MS, jitter=10 * MS, keep_order=True)).send(2000)
    assert [number for _, number in loose] != sorted(number for _, number in loose)
    assert [number for _, number in kept] == list(range(2000))


def test_a_change_leaves_what_is_in_flight() -> None:
    lab = Lab(Shape(delay=300 * MS))
    lab.path.enter(0, bytes(VNET + 40))
    lab.path.configure(Shape(delay=10 * MS), cut=False)
    lab.path.enter(1, bytes(VNET + 40))
    lab.path.configure(Shape(), cut=True)
    lab.path.enter(2, bytes(VNET + 40))
    lab.engine.run(1 << 62, 10)
    assert [due for due, _ in lab.arrived] == [10 * MS + 1, 300 * MS]
    assert lab.a.cut == 1


def test_equal_seeds_draw_equal_losses() -> None:
    assert Lab(Shape(loss=0.2, jitter=MS)).send(500) == Lab(Shape(loss=0.2, jitter=MS)).send(500)


@pytest.mark.parametrize("distribution", ["normal", "pareto", "paretonormal"])
def test_tables_are_iproute2s(distribution: str) -> None:
    places = [FilePath("/usr/lib/tc"), FilePath("/usr/lib64/tc"), *FilePath("/usr/lib").glob("*-linux-gnu/tc")]
    file = next((f for place in places if (f := place / f"{distribution}.dist").exists()), None)
    if file is None:
        pytest.skip("iproute2's tables are not installed")
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    theirs = sorted(int(word) for line in lines for word in line.split())
    ours = table(distribution)
    assert len(ours) == len(theirs)
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) <= SCALE // 1000
