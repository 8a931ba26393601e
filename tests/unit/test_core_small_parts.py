"""The core's small parts on their own: timers, round-trip estimates, the order of replica sets, placement."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from opus_node.core.messages import ReplicaSet
from opus_node.core.placement import first_of
from opus_node.core.rtt import LONGEST, UNKNOWN, Rtt
from opus_node.core.sets import ReplicaSets, newer
from opus_node.core.timers import Timers
from opus_node.core.types import MILLISECOND, SECOND, NodeConfig

CONFIG = NodeConfig()


def test_timers_fire_in_order_of_time_then_of_setting() -> None:
    timers = Timers()
    fired: list[str] = []
    for when, name in [(30, "c"), (10, "a"), (20, "b1"), (20, "b2")]:
        timers.at(when, fired.append, name)
    timers.fire(20)
    assert fired == ["a", "b1", "b2"]
    assert timers.next() == 30


def test_a_cancelled_timer_neither_fires_nor_wakes() -> None:
    timers = Timers()
    fired: list[str] = []
    first = timers.at(10, fired.append, "no")
    timers.at(20, fired.append, "yes")
    first.cancel()
    assert timers.next() == 20
    timers.fire(100)
    assert fired == ["yes"]
    assert timers.next() is None


def test_a_timer_set_while_firing_fires_in_the_same_go_if_it_is_due() -> None:
    timers = Timers()
    fired: list[str] = []

    def again(_: Any) -> None:
        fired.append("first")
        timers.at(5, fired.append, "second")

    timers.at(10, again)
    timers.fire(10)
    assert fired == ["first", "second"]


def test_many_cancelled_timers_do_not_pile_up() -> None:
    timers = Timers()
    for number in range(50_000):
        timers.at(1_000_000 + number, print).cancel()
    assert len(timers._heap) < 10_000


def test_an_unmeasured_peer_gets_the_conservative_time_out() -> None:
    assert Rtt().timeout(CONFIG) == UNKNOWN


def test_a_steady_round_trip_gives_one_and_a_half_of_it_plus_slack() -> None:
    rtt = Rtt()
    for _ in range(50):
        rtt.sample(100 * MILLISECOND)
    assert rtt.srtt == 100 * MILLISECOND
    assert rtt.timeout(CONFIG) == 150 * MILLISECOND + CONFIG.timeout_slack


def test_an_unsteady_round_trip_is_waited_for_longer() -> None:
    steady, unsteady = Rtt(), Rtt()
    for number in range(100):
        steady.sample(100 * MILLISECOND)
        unsteady.sample((70 if number % 2 else 130) * MILLISECOND)
    assert unsteady.timeout(CONFIG) > steady.timeout(CONFIG) + 20 * MILLISECOND


def test_a_first_sample_that_paid_for_a_dial_is_forgotten() -> None:
    rtt = Rtt()
    rtt.sample(400 * MILLISECOND)
    rtt.sample(100 * MILLISECOND)
    assert rtt.srtt == 100 * MILLISECOND


def test_a_path_that_gets_worse_is_followed_within_a_few_samples() -> None:
    rtt = Rtt()
    rtt.sample(50 * MILLISECOND)
    for _ in range(10):
        rtt.sample(150 * MILLISECOND)
    assert 140 * MILLISECOND < rtt.srtt <= 150 * MILLISECOND


def test_no_time_out_is_endless() -> None:
    rtt = Rtt()
    rtt.sample(60 * SECOND)
    assert rtt.timeout(CONFIG) == LONGEST


def test_the_greatest_set_wins_in_any_order_of_arrival() -> None:
    sets = [ReplicaSet("web", epoch, steward, (f"r{epoch}{steward}",)) for epoch, steward in [(1, "b"), (2, "a"), (2, "c")]]
    for order in permutations(sets):
        known: ReplicaSet | None = None
        for one in order:
            if newer(one, known):
                known = one
        assert known == sets[2]


def test_a_set_is_gossiped_a_bounded_number_of_times() -> None:
    table = ReplicaSets()
    table.put(ReplicaSet("web", 1, "a", ("r",)), agents=7)
    carried = sum(1 for _ in range(100) if table.gossip())
    assert carried == 9
    assert table.get("web") is not None


@pytest.mark.parametrize("gone", ["n3", "n7", "n0"])
def test_rendezvous_hashing_moves_only_what_the_lost_agent_had(gone: str) -> None:
    agents = [f"n{number}" for number in range(10)]
    apps = [f"app{number}" for number in range(200)]
    before = {app: first_of(app, agents) for app in apps}
    after = {app: first_of(app, [agent for agent in agents if agent != gone]) for app in apps}
    assert all(after[app] == before[app] for app in apps if before[app] != gone)
    share = sum(1 for app in apps if before[app] == gone) / len(apps)
    assert 0.02 < share < 0.25
