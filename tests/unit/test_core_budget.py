"""The budget of control bytes: the controller alone, against nodes that cost what they must and what they may."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opus_node.core.budget import (
    AIM,
    LEASE_RATE,
    LEASE_SELDOM,
    LEASE_SHARE,
    PACE_MOST,
    PER_NODE,
    SERVING,
    SETTLING,
    Budget,
    meter_every,
)
from opus_node.core.types import SECOND, NodeConfig

ROUNDS = 200


def settled(
    must: float, may: float, budget: int, nodes: int | None = None, rounds: int = ROUNDS, every: int | None = None
) -> tuple[Budget, float]:
    """A node that costs `must` B/s and, at pace 1, `may` more; its mean rate over the last third of its rounds."""
    config = NodeConfig(control_budget=budget)
    one, every = Budget(config), meter_every(config) if every is None else every
    total, now, spent = 0.0, 0, []
    for _ in range(rounds):
        now += every
        rate = must + may / one.pace
        total += rate * every / SECOND
        spent.append(rate)
        one.metered(round(total), now, now, nodes, False)
    late = spent[-rounds // 3 :]
    return one, sum(late) / len(late)


@given(st.floats(10, 55), st.floats(0, 500), st.sampled_from((70, 100, 250)))
def test_a_node_settles_within_its_budget(must: float, may: float, budget: int) -> None:
    one, rate = settled(must, may, budget)
    assert rate <= budget
    assert 1 <= one.pace <= PACE_MOST


@given(st.floats(10, 55), st.floats(0, 500))
def test_it_is_held_back_no_more_than_its_budget_asks_for(must: float, may: float) -> None:
    _, rate = settled(must, may, 100)
    assert rate >= 0.99 * min(AIM * 100, must + may)


def test_a_tighter_budget_is_a_greater_pace() -> None:
    paces = [settled(50, 300, budget)[0].pace for budget in (400, 200, 100, 60)]
    assert paces[0] == 1
    assert paces == sorted(paces)
    assert len(set(paces)) == len(paces)


def test_a_node_is_told_what_it_costs_with_each_second_lease() -> None:
    assert meter_every(NodeConfig()) == 10 * SECOND
    tight = NodeConfig(control_budget=32)
    assert meter_every(tight) == 2 * Budget(tight).lease_interval() > 30 * SECOND


def test_told_less_often_it_comes_to_the_same_pace_in_the_same_time() -> None:
    often, seldom = (settled(50, 300, 60, rounds=600 // every, every=every * SECOND)[0].pace for every in (10, 30))
    assert 0.7 < often / seldom < 1.4


def test_what_cannot_be_held_back_is_not_waited_for_without_end() -> None:
    one, rate = settled(200, 100, 100)
    assert one.pace == PACE_MOST
    assert rate < 205


def test_more_is_allowed_while_young_to_agents_and_to_replicas() -> None:
    one = Budget(NodeConfig(control_budget=100))
    assert one.allowed(2 * SETTLING, None, False) == 100
    assert one.allowed(SETTLING // 3, None, False) == 300
    assert one.allowed(2 * SETTLING, 10, False) == 100 + 10 * PER_NODE * 100
    assert one.allowed(2 * SETTLING, None, True) == SERVING * 100


def test_leases_take_no_more_than_a_share_of_a_tight_budget() -> None:
    def interval(budget: int) -> int:
        return Budget(NodeConfig(control_budget=budget)).lease_interval()

    usual = NodeConfig().lease_interval
    assert interval(200) == interval(100) == usual
    assert LEASE_RATE * usual / interval(60) == pytest.approx(60 * LEASE_SHARE)
    assert interval(1) == LEASE_SELDOM * usual, "silence must be noticed"


def test_pauses_grow_and_counts_shrink_with_the_pace() -> None:
    one = settled(50, 300, 60)[0]
    assert one.stretched(10 * SECOND) > 100 * SECOND
    assert one.some(8) == 1
    fresh = Budget(NodeConfig())
    assert (fresh.stretched(10 * SECOND), fresh.some(8)) == (10 * SECOND, 8)
