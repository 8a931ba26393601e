"""m from u/(d E) and from the availability target; E while running."""

from __future__ import annotations

from collections import Counter
from itertools import product
from math import prod

import pytest
from helpers.corenet import APP, CoreNet, six_regions
from opus_node.core.events import ReplicaSetDecided
from opus_node.core.sizing import (
    ASSUMED,
    CLEAN_S,
    Knee,
    Prospect,
    members_for,
    members_to_last,
    outlook,
    resized,
)
from opus_node.core.stability import YOUNGEST, survives
from opus_node.core.types import MILLISECOND, SECOND, AppConfig, NodeConfig


def test_the_equation() -> None:
    assert members_for(100, 0.05, 1.0, 0.5) == 10
    assert members_for(100, 0.051, 1.0, 0.5) == 11
    assert members_for(100, 0.1, 2.0, 0.5) == 10
    assert members_for(100, 0.0, 1.0, 0.5) == 1


@pytest.mark.parametrize("u", [0.9, 1.0, 3.0])
def test_who_consumes_about_what_a_member_provides_serves_himself(u: float) -> None:
    assert members_for(490, u, 1.0, 0.9) == 490


def test_e_is_what_was_carried_when_it_began_to_overload() -> None:
    knee = Knee()
    assert knee.e == ASSUMED
    for asked in (2.0, 4.0, 6.0, 7.0):
        knee.report(asked, 0.0, 10.0)
    assert knee.e == 0.7, "seen to be carried"
    knee.report(8.0, 0.5, 10.0)
    assert knee.e == 0.75
    assert knee.overloaded
    for _ in range(5):
        knee.report(20.0, 10.5, 10.0)
    assert knee.e == 0.75, "the same overload goes on: how it is borne says nothing of where it begins"
    for _ in range(CLEAN_S):
        knee.report(5.0, 0.0, 10.0)
    knee.report(7.0, 1.5, 10.0)
    assert (knee.e, knee.onsets) == (0.65, 2)


def test_a_little_turned_away_is_no_overload() -> None:
    knee = Knee()
    knee.report(9.0, 0.008, 10.0)
    assert not knee.overloaded
    assert knee.onsets == 0


@pytest.mark.parametrize("work", [0.0, 1.5, 4.0])
def test_the_outlook_is_the_expectation_over_all_that_may_fail(work: float) -> None:
    members = [Prospect(1.0, 0.9), Prospect(1.0, 0.8), Prospect(1.0, 0.99), Prospect(1.0, 0.5)]
    expected = 0.0
    for lives in product((True, False), repeat=4):
        chance = prod(one.up if up else 1 - one.up for one, up in zip(members, lives, strict=True))
        alive = sum(lives)
        expected += chance * (0.0 if not alive else 1.0 if not work else min(1.0, alive * 0.75 / work))
    assert outlook(members, work, 0.75).availability == pytest.approx(expected)
    assert outlook(members, work, 0.75).used == pytest.approx(work / 4)


def test_the_target_asks_for_more_where_members_are_young() -> None:
    def least(age: int) -> int:
        up = survives(10 * SECOND, age * SECOND, YOUNGEST)
        return members_to_last([Prospect(1.0, up)] * 20, 1, 20, 0.0, 0.8, 0.9999)

    assert [least(age) for age in (10, 90, 10_000_000)] == [7, 5, 1]
    assert members_to_last([Prospect(1.0, 0.1)] * 3, 1, 20, 0.0, 0.8, 0.9999) == 3, "no more are known"


def test_up_at_once_down_only_when_clearly_fewer_are_enough() -> None:
    assert resized(10, 12, 3, 50) == 12
    assert resized(10, 9, 3, 50) == 10
    assert resized(10, 8, 3, 50) == 8
    assert resized(10, 1, 3, 50) == 3
    assert resized(10, 99, 3, 50) == 50
    assert resized(60, 55, 3, 50) == 50


# The steward follows


SERVICE = 50 * MILLISECOND
"""Twenty requests a second and host."""


def crowd(net: CoreNet, rate: int, seconds: int) -> Counter[str]:
    since = net.now
    net.load(seconds * SECOND, SECOND // rate)
    net.run_for(3 * SECOND)
    assert net.broken == []
    return Counter(done.outcome for done in net.outcomes(since))


def test_the_steward_has_as_many_as_demand_needs_and_lays_off_the_rest() -> None:
    app = AppConfig(APP, 2, most=12, service_time=SERVICE, choice="latency-load", availability=0.5)
    net = six_regions(config=NodeConfig(apps=(app,)))
    net.run(30 * SECOND)
    assert len(net.replicas()) == 2
    crowd(net, 100, 60)
    grown = len(net.replicas())
    assert 100 / 20 < grown <= 12, "5 cores of work"
    assert crowd(net, 100, 20)["ok"] >= 0.99 * 2000
    steward = net.stewards()[0]
    net.power_off(steward)
    crowd(net, 100, 30)
    assert net.stewards() != [steward]
    assert len(net.replicas()) >= 6, "who takes over begins with the size that it finds"
    crowd(net, 10, 60)
    assert 2 <= len(net.replicas()) <= 4
    assert any("resized to" in told.notice.cause for told in net.told if isinstance(told.notice, ReplicaSetDecided))


def test_young_hosts_are_not_trusted_to_stay() -> None:
    net = six_regions(config=NodeConfig(apps=(AppConfig(APP, 2, most=12, service_time=SERVICE),)))
    net.run(20 * SECOND)
    young = len(net.replicas())
    assert young == 4, "of four that are twenty seconds old one is alive in five seconds, 99.9% sure"
    net.run(300 * SECOND)
    assert len(net.replicas()) == 2, "of some that are minutes old fewer are enough"


def test_a_fixed_size_stays_whatever_is_asked() -> None:
    net = six_regions(config=NodeConfig(apps=(AppConfig(APP, 3, service_time=SERVICE),)))
    net.run(20 * SECOND)
    crowd(net, 100, 20)
    assert len(net.replicas()) == 3
