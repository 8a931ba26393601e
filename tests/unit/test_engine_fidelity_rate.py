"""Judging trains of packets by the rate that their access links are asked for."""

from __future__ import annotations

import pytest
from helpers.fidelity.live import network_of
from opus_controller.engine.fidelity_rate import WAYS, AskedRate, Train, judge, measured_bps, ways
from opus_controller.model.network import Network
from opus_controller.model.shapes import AccessLink, Direction, PathShape

MBIT = 1_000_000
MS = 1_000_000


def limit(bps: int | None) -> Direction:
    return Direction(rate_bps=bps, queue_bytes=None if bps is None else max(15_000, bps // 160))


def network(up: int | None, down: int | None, path: PathShape | None = None) -> Network:
    access = {"a": AccessLink(up=limit(up)), "b": AccessLink(down=limit(down))}
    return network_of(access, {("a", "b"): path or PathShape(delay_ns=10 * MS)})


def asked(up: int | None = 10 * MBIT, down: int | None = 40 * MBIT, path: PathShape | None = None) -> AskedRate | None:
    found = network(up, down, path)
    return AskedRate.of(found, *found.hosts)


def train(of: AskedRate, bps: float, *, at_once: int = 0, lost: int = 0, sending_ns: int = 0) -> Train:
    """Packets at a rate, the first bytes of them at once."""
    gap = of.size * 8e9 / bps
    first = at_once // of.size
    return Train(sending_ns, {k: round(max(0, k - first) * gap) for k in range(of.packets) if not lost or k % lost})


@pytest.mark.parametrize("rate", [64_000, 1 * MBIT, 10 * MBIT, 100 * MBIT])
def test_a_train_fits_the_queue_and_tells_the_rate(rate: int) -> None:
    of = asked(rate, None)
    assert of is not None
    assert of.rate_bps == rate
    assert of.packets * of.size <= of.skipped + max(15_000, rate // 160)
    assert of.packets * of.size <= 1 << 20, "bounded, whatever the rate"
    assert measured_bps(of, train(of, rate, at_once=of.skipped)) == pytest.approx(rate, rel=0.01)
    assert measured_bps(of, train(of, rate)) == pytest.approx(rate, rel=0.01), "no bucket"


def test_the_slower_of_the_two_links_counts_and_what_cannot_be_told_is_left_out() -> None:
    found = asked(100 * MBIT, 3 * MBIT)
    assert found is not None
    assert found.rate_bps == 3 * MBIT
    assert asked(None, None) is None
    assert asked(1_000 * MBIT, None) is None
    assert asked(path=PathShape(delay_ns=10 * MS, jitter_ns=30 * MS)) is None
    assert asked(path=PathShape(delay_ns=10 * MS, loss=0.3)) is None


@pytest.mark.parametrize(
    ("bps", "right"), [(10e6, True), (7.5e6, True), (13e6, True), (5e6, False), (6.5e6, False), (15e6, False), (20e6, False)]
)
def test_neither_half_of_it_nor_twice_is_within(bps: float, right: bool) -> None:
    of = asked()
    assert of is not None
    checked = judge(of, [train(of, bps)])
    assert (checked.wrong == "") == right
    if not right:
        assert checked.wrong.startswith("a to b: 10 Mbit/s asked, ")


def test_the_nearest_train_counts_and_one_that_was_sent_too_slowly_does_not() -> None:
    of = asked()
    assert of is not None
    assert judge(of, [train(of, 2e6), train(of, 9e6)]).wrong == ""
    slow = train(of, 2e6, sending_ns=of.takes_ns)
    assert judge(of, [slow]).measured_bps is None
    assert judge(of, [slow]).wrong == ""
    assert judge(of, [slow, train(of, 2e6)]).wrong
    assert judge(of, [Train()]).measured_bps is None


def test_a_machine_that_stalls_and_catches_up_does_not_change_what_a_train_tells() -> None:
    of = asked()
    assert of is not None
    steady = train(of, 10e6)
    there = steady.arrived_ns
    stalled = [(k + 0.5) * 1e7 for k in range(5) if k % 2]
    held = {k: round(min([at for at in stalled if at - 5e6 < t <= at] or [t])) for k, t in there.items()}
    assert held != there
    assert measured_bps(of, Train(0, held)) == pytest.approx(10e6, rel=0.15)
    late = {k: t + (20 * MS if k == max(there) else 0) for k, t in there.items()}
    assert measured_bps(of, Train(0, late)) == pytest.approx(10e6, rel=0.02)


def test_every_rate_is_measured_once_before_any_is_twice() -> None:
    rates = [1 * MBIT, 10 * MBIT, 10 * MBIT, 10 * MBIT, 10 * MBIT, 20 * MBIT]
    access = {f"h{i}": AccessLink(up=Direction(rate_bps=rate)) for i, rate in enumerate(rates)}
    found = network_of(access, {})
    chosen = ways(found, [(found.hosts[i], found.hosts[i - 1]) for i in range(6)])
    assert len(chosen) == WAYS
    assert [way.rate_bps for way in chosen[:3]] == [1 * MBIT, 20 * MBIT, 10 * MBIT]
