"""A rate-limited link in virtual time: exact spacing, a queue of so many bytes, super-packets in parts."""

from __future__ import annotations

import pytest
from helpers.tcp_packets import MSS, super_packet
from opus_controller.net.userspace_engine import Engine
from opus_controller.net.userspace_host import Host
from opus_controller.net.userspace_packets import VNET, wire_counts
from opus_controller.net.userspace_rate import RateLink

MBIT = 1_000_000
MS = 1_000_000


class Lab:
    def __init__(self, rate: int, queue: int | None) -> None:
        self.engine = Engine(seed="rate")
        self.host = Host(self.engine, "a", bytes(4), lambda *_: None)
        self.left: list[tuple[int, int]] = []
        self.link = RateLink(self.engine, self.host, lambda due, data: self.left.append((due, wire_counts(data)[1])))
        self.link.configure(rate, queue)

    def end(self) -> list[tuple[int, int]]:
        self.engine.run(1 << 62, 1 << 62)
        return self.left


def packet(size: int) -> bytes:
    return bytes(VNET + size)


@pytest.mark.parametrize("rate", [MBIT, 3 * MBIT, 10 * MBIT, 100 * MBIT, 7_777_777])
def test_a_backlog_leaves_at_the_rate(rate: int) -> None:
    lab = Lab(rate, 1 << 20)
    for _ in range(500):
        lab.link.enter(0, packet(1250))
    left = lab.end()
    assert len(left) == 500
    assert left[-1][0] == pytest.approx(500 * 1250 * 8 * 1e9 / rate, rel=1e-6)
    assert left[0][0] == pytest.approx(1250 * 8 * 1e9 / rate, rel=1e-6)


def test_an_idle_link_saves_nothing_up() -> None:
    lab = Lab(MBIT, 1 << 20)
    lab.link.enter(0, packet(125))
    lab.link.enter(1000 * MS, packet(125))
    lab.link.enter(1000 * MS, packet(125))
    assert [due for due, _ in lab.end()] == [1 * MS, 1001 * MS, 1002 * MS]


def test_what_does_not_fit_the_queue_is_dropped_and_counted() -> None:
    lab = Lab(MBIT, 10_000)
    for _ in range(50):
        lab.link.enter(0, packet(1000))
    assert len(lab.end()) == 10
    assert lab.host.queue_dropped == 40


def test_what_waits_is_told_in_bytes() -> None:
    lab = Lab(MBIT, 1 << 20)
    for _ in range(10):
        lab.link.enter(0, packet(1250))  # 10 ms each
    assert [lab.link.waiting(t * MS) for t in (0, 25, 100, 900)] == [12_500, 9_375, 0, 0]


def test_a_queue_smaller_than_a_packet_still_lets_it_through_when_idle() -> None:
    lab = Lab(MBIT, 500)
    lab.link.enter(0, packet(1500))
    lab.link.enter(0, packet(1500))
    assert len(lab.end()) == 1
    assert lab.host.queue_dropped == 1


def test_a_rate_without_a_queue_has_one_of_a_tenth_of_a_second() -> None:
    lab = Lab(10 * MBIT, None)
    for _ in range(1000):
        lab.link.enter(0, packet(1000))
    assert len(lab.end()) == 125


def test_a_super_packet_takes_its_packets_time_in_parts() -> None:
    lab = Lab(100 * MBIT, 1 << 20)
    lab.link.enter(0, super_packet(bytes(40 * MSS)))
    left = lab.end()
    assert sum(size for _, size in left) == 40 * 1500
    assert left[-1][0] == 40 * 1500 * 80
    assert max(size for _, size in left) * 80 <= 500_000, "no burst of more than half a millisecond"


def test_only_the_part_of_a_super_packet_that_does_not_fit_is_dropped() -> None:
    lab = Lab(MBIT, 10 * 1500)
    lab.link.enter(0, super_packet(bytes(40 * MSS)))
    assert sum(size for _, size in lab.end()) == 10 * 1500
    assert lab.host.queue_dropped == 30


def test_a_fast_link_keeps_a_super_packet_whole() -> None:
    lab = Lab(10_000 * MBIT, 1 << 20)
    lab.link.enter(0, super_packet(bytes(40 * MSS)))
    assert lab.end() == [(48_000, 40 * 1500)]


def test_a_changed_rate_holds_for_the_next_packet() -> None:
    lab = Lab(MBIT, 1 << 20)
    lab.link.enter(0, packet(1250))
    lab.link.configure(10 * MBIT, 1 << 20)
    lab.link.enter(0, packet(1250))
    assert [due for due, _ in lab.end()] == [10 * MS, 11 * MS]
