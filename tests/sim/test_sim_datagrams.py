"""What travels by itself: a path does to it whatever it does to packets, and nobody repairs that."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

from helpers.sim import Bench, plan, request
from opus_controller.model.shapes import AccessLink, BurstLoss, Direction, PathShape
from opus_controller.runtimes.sim import HopCost
from opus_node.core.messages import Message, Probe, ReplicaSet, Reply, RouteRequest
from opus_node.core.types import MILLISECOND, SECOND
from opus_node.sizes import MAX_DATAGRAM, datagram_size, encoded_size

MS = MILLISECOND
Outbox = list[tuple[str, int, str, Message]]


def probes(n: int, every: int = 10 * MS, start: int = SECOND) -> Outbox:
    return [("a", start + i * every, "b", Probe(i + 1)) for i in range(n)]


def facts(bench: Bench) -> Any:
    bench.do(bench.sim.down())
    return bench.sim.info.facts


def numbers(bench: Bench) -> list[int]:
    return [message.nonce for _, message in bench.toy("b").received() if isinstance(message, Probe)]


def test_it_takes_one_way_and_the_cost_of_a_hop_and_dials_nobody() -> None:
    shapes = plan(there=PathShape(delay_ns=20 * MS), access=AccessLink(delay_ns=2 * MS))
    bench = Bench(shapes, probes(1), HopCost(700_000, "test", 0)).until(2 * SECOND)
    assert bench.arrivals("b") == [SECOND + 24 * MS + 700_000]
    assert facts(bench)["dials"] == 0


def test_what_is_lost_stays_lost() -> None:
    bench = Bench(plan(there=PathShape(delay_ns=20 * MS, loss=0.2)), probes(5000)).until(60 * SECOND)
    assert 860 <= 5000 - len(numbers(bench)) <= 1140  # 99.99% of a binomial of 0.2
    assert facts(bench)["undelivered"]["datagram lost"] == 5000 - len(numbers(bench))


def test_bursts_are_bursts_from_one_datagram_to_the_next() -> None:
    burst = BurstLoss(p=0.02, r=0.2, loss_bad=1.0, loss_good=0.0)
    heard = numbers(Bench(plan(there=PathShape(delay_ns=MS, burst=burst)), probes(5000)).until(60 * SECOND))
    gaps = [after - before - 1 for before, after in pairwise(heard) if after > before + 1]
    assert 3.5 <= sum(gaps) / len(gaps) <= 6.5, "five at a time, 1 / r"


def test_jitter_reorders_them() -> None:
    heard = numbers(Bench(plan(there=PathShape(delay_ns=50 * MS, jitter_ns=20 * MS)), probes(200, 2 * MS)).until(3 * SECOND))
    assert sorted(heard) == list(range(1, 201))
    assert heard != sorted(heard)


def test_rates_hold_them_up_and_full_queues_drop_them() -> None:
    wire = datagram_size(Probe(1))
    access = AccessLink(up=Direction(rate_bps=8_000, queue_bytes=3 * wire))
    bench = Bench(plan(access=access), [("a", SECOND, "b", Probe(1)) for _ in range(5)]).until(10 * SECOND)
    takes = wire * MS  # a byte a millisecond
    assert bench.arrivals("b") == [SECOND + i * takes + 20 * MS for i in (1, 2, 3)]
    assert facts(bench)["undelivered"]["queue full"] == 2


def test_nothing_crosses_a_cut_and_it_heals_at_once() -> None:
    bench = Bench(plan(), probes(4, SECOND)).until(SECOND + 500 * MS)
    bench.cut("a", "b")
    bench.until(3 * SECOND + 500 * MS)
    bench.apply()
    assert numbers(bench.until(10 * SECOND)) == [1, 4]
    assert bench.toy("a").unreachable() == [], "nobody is told"


def test_the_dead_hear_nothing_and_the_paused_later() -> None:
    bench = Bench(plan(names=("a", "b", "c")), [*probes(1), ("a", SECOND, "c", Probe(9))]).until(SECOND)
    bench.do(bench.sim.pause(["b"]))
    bench.do(bench.sim.crash(["c"]))
    bench.until(5 * SECOND)
    assert numbers(bench) == []
    bench.do(bench.sim.resume(["b"]))
    assert bench.until(6 * SECOND).arrivals("b") == [5 * SECOND]
    assert facts(bench)["undelivered"] == {"receiver died": 1}


# Replies, which follow on a connection

NOBODY = ReplicaSet("web", 1, "s", ())


def replies(n: int, payload: int = 200, every: int = SECOND) -> Outbox:
    return [("a", SECOND + i * every, "b", Reply("web", "b", i, 1, 0, 1, NOBODY, payload)) for i in range(n)]


def came(bench: Bench) -> list[tuple[int, int]]:
    """(when, of which request) for each reply."""
    return [(at, message.request) for at, message in bench.toy("b").received() if isinstance(message, Reply)]


def test_a_reply_to_a_stranger_comes_at_once_and_by_the_connection_and_later_ones_by_that_alone() -> None:
    bench = Bench(plan(), replies(2)).until(4 * SECOND)
    first, again, second = came(bench)
    assert first == (SECOND + 20 * MS, 0)
    assert again[1] == 0
    assert again[0] > first[0] + 40 * MS, "after a dial"
    assert second == (2 * SECOND + 20 * MS, 1)
    assert facts(bench)["dials"] == 1


def test_one_that_fits_no_packet_takes_the_connection() -> None:
    edge = MAX_DATAGRAM - encoded_size(Reply("web", "b", 0, 1, 0, 1, NOBODY, 200)) + 200
    assert encoded_size(Reply("web", "b", 0, 1, 0, 1, NOBODY, edge)) == MAX_DATAGRAM
    assert len(came(Bench(plan(), replies(1, edge)).until(4 * SECOND))) == 2
    (only,) = came(Bench(plan(), replies(1, edge + 1)).until(4 * SECOND))
    assert only[0] > SECOND + 60 * MS


def test_a_path_that_loses_packets_loses_no_reply() -> None:
    names = [f"h{i}" for i in range(60)]
    outbox: Outbox = [("a", SECOND, name, Reply("web", name, 0, 1, 0, 1, NOBODY, 200)) for name in names]
    bench = Bench(plan(there=PathShape(delay_ns=20 * MS, loss=0.05), names=("a", *names)), outbox).until(8 * SECOND)
    copies = [len(bench.toy(name).received()) for name in names]
    lost = facts(bench)["undelivered"]["datagram lost"]
    assert copies.count(1) >= lost, "of the others the connection may have lost its copy, with itself"
    assert 1 <= lost <= 11, "99.99% of a binomial of 0.05"
    assert 0 not in copies


def test_to_the_dead_neither_arrives_and_the_sender_is_told_as_ever() -> None:
    bench = Bench(plan(), replies(1)).until(SECOND // 2)
    bench.do(bench.sim.crash(["b"]))
    bench.until(4 * SECOND)
    assert bench.toy("a").unreachable() == [SECOND + 40 * MS]
    assert facts(bench)["undelivered"] == {"receiver died": 1, "refused or reset": 1}


def test_only_what_is_control_counts_as_control() -> None:
    bench = Bench(plan(), replies(1)).until(SECOND + 30 * MS)
    assert len(came(bench)) == 1
    assert bench.sim._world is not None
    assert bench.sim._world.hosts["a"].control_sent == 0


# Requests, ahead of their dial


def asked(n: int = 1, rtt: int = 40) -> Outbox:
    """From a to b, answered by b one way later."""
    answer = Reply("web", "a", 0, 1, 0, 1, NOBODY, 200)
    call = replace(request(200), hops=1)
    there = [("a", SECOND + i * SECOND, "b", call) for i in range(n)]
    back = [("b", SECOND + i * SECOND + rtt // 2 * MS + 1, "a", answer) for i in range(n)]
    return [*there, *back]


def test_a_request_to_a_stranger_comes_at_once_and_its_answer_needs_no_dial_of_its_own() -> None:
    bench = Bench(plan(), asked(2)).until(4 * SECOND)
    assert [isinstance(message, RouteRequest) for _, message in bench.toy("b").received()] == [True] * 3
    assert bench.arrivals("b")[::2] == [SECOND + 20 * MS, 2 * SECOND + 20 * MS]
    assert bench.arrivals("a")[0] == SECOND + 40 * MS + 1
    assert len(bench.arrivals("a")) == 3, "the first once more, by the connection that the request has made"
    assert facts(bench)["dials"] == 1


def test_whose_dial_does_not_come_is_dialled() -> None:
    bench = Bench(plan(there=PathShape(delay_ns=400 * MS)), asked(1, rtt=800)).until(8 * SECOND)
    assert bench.arrivals("a")[0] == SECOND + 800 * MS + 1
    assert len(bench.arrivals("a")) == 2
    assert facts(bench)["dials"] == 2


def test_what_an_agent_passes_on_takes_the_connection_that_it_has() -> None:
    assert len(Bench(plan(), [("a", SECOND, "b", replace(request(200), hops=2))]).until(4 * SECOND).arrivals("b")) == 1
