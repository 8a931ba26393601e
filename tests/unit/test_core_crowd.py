"""Demand that moves: when it counts as moving, and what was asked lately by rates that lag behind."""

from __future__ import annotations

import pytest
from helpers.corenet import APP, CoreNet, six_regions
from hypothesis import given
from hypothesis import strategies as st
from opus_node.core.crowd import LASTS, Crowd
from opus_node.core.landscape import demand
from opus_node.core.messages import Candidate, Summary
from opus_node.core.types import SECOND, AppConfig, NodeConfig

LEASE = 5 * SECOND
EVEN = dict.fromkeys("abcdefghij", 10.0)


def told(rates: dict[str, float]) -> dict[str, Summary]:
    return {agent: Summary(APP, 20, rate, 1, (Candidate("x", 0, 0, 1.0, 1),), ()) for agent, rate in rates.items()}


class Steward:
    """Looks each second at rates of which each lease takes half; nodes' leases are spread evenly over time."""

    def __init__(self, rates: dict[str, float]) -> None:
        self.crowd, self.now, self.begun = Crowd(), 0, 0
        self.rates = [dict(rates) for _ in range(LEASE // SECOND)]
        """As told by those nodes whose leases fall into one second of five."""
        self.decided = demand(told(rates))

    @property
    def told(self) -> dict[str, Summary]:
        return told({agent: sum(one[agent] for one in self.rates) / len(self.rates) for agent in self.rates[0]})

    def live(self, seconds: int, asked: dict[str, float]) -> None:
        for _ in range(seconds):
            self.now += SECOND
            group = self.rates[self.now // SECOND % len(self.rates)]
            for agent, rate in asked.items():
                group[agent] = (group[agent] + rate) / 2
            self.begun += self.crowd.begins(self.now, self.told, self.decided, LEASE)


def test_what_is_asked_is_known_a_lease_after_it_changed_though_rates_lag() -> None:
    steward = Steward({**EVEN, "a": 100.0})
    steward.live(30, {**EVEN, "a": 100.0})
    assert steward.begun == 0
    assert steward.crowd.asked(steward.told) is None, "what is told rests on more requests"
    for seconds, told_rate, over in ((5, 55, 1), (5, 77.5, 2), (5, 88.75, 2)):
        steward.live(seconds, {**EVEN, "b": 100.0})
        assert steward.begun == 1
        assert steward.told["b"].rate == pytest.approx(told_rate)
        asked = steward.crowd.asked(steward.told)
        assert asked is not None
        assert asked.window_s == over * LEASE / SECOND
        assert asked.rates == pytest.approx({**EVEN, "b": 100.0})


@given(st.lists(st.floats(0, 100), min_size=2, max_size=6), st.lists(st.floats(0, 100), min_size=2, max_size=6))
def test_no_rate_is_below_nothing_and_a_steady_one_is_what_it_was(before: list[float], after: list[float]) -> None:
    names = "abcdef"[: min(len(before), len(after))]
    steward = Steward(dict(zip(names, before, strict=False)))
    steward.decided = {"a": 1.0, **dict.fromkeys(names[1:], 0.0)}
    for _ in range(12):
        steward.live(1, dict(zip(names, after, strict=False)))
        asked = steward.crowd.asked(steward.told)
        assert asked is None or min(asked.rates.values()) >= 0
    steward.live(60, dict(zip(names, after, strict=False)))
    asked = steward.crowd.asked(steward.told)
    assert asked is None or asked.rates == pytest.approx(dict(zip(names, after, strict=False)), abs=0.1)


def test_it_is_over_some_leases_after_members_have_followed() -> None:
    steward = Steward(EVEN)
    crowd = {**EVEN, "a": 100.0}
    steward.live(10, EVEN)
    steward.live(10, crowd)
    assert steward.crowd.on(steward.now)
    steward.decided = demand(told(crowd))
    steward.live(10 + LASTS * LEASE // SECOND, crowd)
    assert not steward.crowd.on(steward.now)
    assert steward.begun == 1


def test_more_of_everything_and_a_lost_agent_are_no_crowd() -> None:
    steward = Steward(EVEN)
    steward.live(20, {agent: 3 * rate for agent, rate in EVEN.items()})
    assert steward.begun == 0
    steward = Steward(EVEN)
    for group in steward.rates:
        del group["j"]
    steward.live(20, {agent: 11.0 for agent in EVEN if agent != "j"})
    assert steward.begun == 0
    steward = Steward(EVEN)
    for group in steward.rates:
        del group["j"], group["i"]
    steward.live(20, {agent: 10.0 + 60.0 * (agent == "a") for agent in EVEN if agent not in "ij"})
    assert steward.begun == 0, "too many agents are others"


def test_chance_is_no_crowd_though_each_of_twenty_agents_sees_few_requests() -> None:
    rates = {f"{i:02}": 2.0 + 0.8 * (-1) ** i for i in range(20)}
    steward = Steward(dict.fromkeys(rates, 2.0))
    steward.live(30, rates)
    assert steward.begun == 0


def test_members_follow_demand_that_moves_and_then_rest() -> None:
    net = six_regions(config=NodeConfig(apps=(AppConfig(APP, 3),)), per_site=6)
    net.run(60 * SECOND)
    ask_from(net, ("use", "eu"), 40)
    assert served(net) >= {"use", "eu"}
    ask_from(net, ("in", "jp"), 15)
    assert served(net) >= {"in", "jp"}
    followed = net.replicas()
    ask_from(net, ("in", "jp"), 60)
    assert served(net) >= {"in", "jp"}
    assert len(set(net.replicas()) - set(followed)) <= 1


def ask_from(net: CoreNet, regions: tuple[str, ...], seconds: int) -> None:
    net.load(seconds * SECOND, SECOND // 20, [node for node in net.live() if node.split("-")[0] in regions])


def served(net: CoreNet) -> set[str]:
    return {node.split("-")[0] for node in net.replicas()}
