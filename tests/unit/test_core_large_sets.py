"""Sets of many members: an agent measures all of them once, and goes by the nearest from then on."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from opus_node.core.context import Context
from opus_node.core.held import Held
from opus_node.core.messages import Demand, Probe, ProbeReply, ReplicaSet
from opus_node.core.once import Once
from opus_node.core.prober import Prober
from opus_node.core.relay import FIRST_ASKED, MANY, NEAREST, NEAREST_AGAIN, Relay
from opus_node.core.types import MILLISECOND, SECOND, AppConfig, NodeConfig

APP = "web"
MEMBERS = tuple(f"10.0.{k // 100}.{k % 100}" for k in range(300))


class Bench:
    """A relay whose probes are answered: the k-th member is k ms away, from 1."""

    def __init__(self) -> None:
        self.ctx = Context("10.1.0.1", NodeConfig(apps=(AppConfig(APP),)), Random(1))
        self.prober = Prober(self.ctx)
        self.reported: list[str] = []
        self.relay = Relay(self.ctx, self.prober, Once(self.ctx), lambda app, node: self.reported.append(node), lambda: "")
        self.asked: Counter[str] = Counter()
        self.reached: Counter[str] = Counter()

    def learn(self, members: tuple[str, ...], epoch: int = 1) -> None:
        self.relay.learn(ReplicaSet(APP, epoch, "10.9.0.1", members))

    def second(self) -> int:
        """One passes; how many members were measured in it."""
        self.relay.tick()
        probes = [(one.to, one.message) for one in self.ctx.sends if isinstance(one.message, Probe)]
        self.ctx.sends.clear()
        began = self.ctx.now
        for node, probe in probes:
            (self.reached if probe.stream else self.asked)[node] += 1
            self.ctx.now = began + (1 + MEMBERS.index(node)) * MILLISECOND
            self.prober.on_reply(node, ProbeReply(probe.nonce, False, 0, stream=probe.stream))
        self.ctx.now = began + SECOND
        self.ctx.timers.fire(self.ctx.now)
        return sum(not probe.stream for _, probe in probes)

    def seconds(self, count: int) -> list[int]:
        return [self.second() for _ in range(count)]


@pytest.fixture
def settled() -> Bench:
    bench = Bench()
    bench.learn(MEMBERS)
    bench.seconds(30)
    return bench


def test_all_are_measured_once_a_few_at_a_time_and_only_the_nearest_are_connected_to() -> None:
    bench = Bench()
    bench.learn(MEMBERS)
    assert not bench.ctx.sends, "not all at once"
    counts = bench.seconds(30)
    assert max(counts) <= FIRST_ASKED + NEAREST
    assert set(bench.asked) == set(MEMBERS)
    bench.reached.clear()
    bench.asked.clear()
    bench.seconds(400)
    assert set(bench.reached) <= set(MEMBERS[:NEAREST])
    assert len(bench.reached) == NEAREST, "their connections are kept"
    assert not set(bench.asked) - set(MEMBERS[:NEAREST]), "the others are left in peace"


def test_a_small_set_is_measured_at_once() -> None:
    bench = Bench()
    bench.learn(MEMBERS[:MANY])
    assert {one.to for one in bench.ctx.sends} == set(MEMBERS[:MANY])


def test_requests_go_to_the_nearest_and_beyond_only_when_those_are_silent(settled: Bench) -> None:
    relay = settled.relay
    assert {one.node for one in relay.able(APP, 0)} == set(MEMBERS[:NEAREST])
    chosen = relay.choose(APP, [], 1)
    assert chosen is not None
    assert chosen.node == MEMBERS[0]
    for node in MEMBERS[:NEAREST]:
        target = relay.target(APP, node)
        assert target is not None
        relay.strike(APP, target)
    beyond = relay.choose(APP, [], 1)
    assert beyond is not None
    assert beyond.node == MEMBERS[NEAREST]
    assert set(settled.reported) == set(MEMBERS[:NEAREST])


def test_a_member_that_comes_and_is_near_is_gone_to_soon(settled: Bench) -> None:
    gone, here = MEMBERS[0], MEMBERS[1:]
    settled.learn(here, 2)
    settled.seconds(3)
    first = settled.relay.choose(APP, [], 1)
    assert first is not None
    assert first.node == MEMBERS[1], "who has left is chosen no more"
    settled.asked.clear()
    settled.learn((gone, *here), 3)
    settled.seconds(NEAREST_AGAIN // SECOND)
    back = settled.relay.choose(APP, [], 1)
    assert back is not None
    assert back.node == gone
    assert set(settled.asked) <= set(MEMBERS[: NEAREST + 1]), "those known before are not measured again"


def test_nodes_are_told_of_near_ones(settled: Bench) -> None:
    held = Held("10.2.0.1", 0)
    held.demand = (Demand(APP, 1.0),)
    held.rtt = MILLISECOND
    (told,) = settled.relay.near(held)
    assert set(told.replicas) <= set(MEMBERS[:NEAREST])
    assert MEMBERS[0] in told.replicas


def test_one_that_grows_small_is_as_any_other_small_one(settled: Bench) -> None:
    settled.learn(MEMBERS[-MANY:], 2)
    assert {one.node for one in settled.relay.able(APP, 0)} == set(MEMBERS[-MANY:])
