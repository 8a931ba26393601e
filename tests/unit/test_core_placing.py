"""Placement: the search against what trying everything finds, and the survey that feeds it."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from random import Random
from typing import Any

import pytest
from helpers.corenet import APP, CoreNet, six_regions
from hypothesis import given, settings
from hypothesis import strategies as st
from opus_node.core.cluster import Cluster, homes
from opus_node.core.context import Context
from opus_node.core.kmedian import greedy, placed, substitutes, swapped, total
from opus_node.core.landscape import Landscape, demand, moved
from opus_node.core.messages import Candidate, Measured, Summary, Survey, Surveyed
from opus_node.core.placement import EVERYWHERE, NEAREST, OLDEST, POLICIES, RANDOM, filled, improved, score
from opus_node.core.stability import SHAPE, hazard, survives
from opus_node.core.survey import ASK_AGAIN, ERRAND_AGAIN, KEPT, Surveyor
from opus_node.core.types import BEST, MILLISECOND, SECOND, AppConfig, NodeConfig

small = st.integers(0, 9).map(float)


Problem = tuple[list[list[float]], list[float], int]


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Columns, dues, how many to choose."""
    points, width = draw(st.integers(1, 6)), draw(st.integers(2, 7))
    columns = draw(st.lists(st.lists(small, min_size=points, max_size=points), min_size=width, max_size=width))
    dues = draw(st.lists(st.integers(0, 3).map(float), min_size=width, max_size=width))
    return columns, dues, draw(st.integers(1, width))


@given(problems())
@settings(max_examples=60, deadline=None)
def test_no_single_swap_is_left_and_the_best_is_not_far(problem: Problem) -> None:
    columns, dues, count = problem
    found = placed(columns, count, dues)
    assert len(set(found)) == len(found) == count
    cost = total(columns, found, dues)
    for out in found:
        for into in range(len(columns)):
            if into not in found:
                assert total(columns, [into if c == out else c for c in found], dues) >= cost - 1e-9
    best = min(total(columns, some, dues) for some in combinations(range(len(columns)), count))
    assert cost <= 5 * best + 1e-9, "Arya et al.: a local optimum of single swaps is within five times the best"


@given(problems(), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_what_is_there_moves_only_for_what_a_move_is_worth(problem: Problem, seed: int) -> None:
    columns, dues, count = problem
    current = Random(seed).sample(range(len(columns)), count)
    found = placed(columns, count, dues, current, worth=2.0)
    moved = len(set(found) - set(current))
    saved = total(columns, current, dues) - total(columns, found, dues)
    assert saved > 2.0 * moved - 1e-9 if moved else found == current
    assert placed(columns, count, dues, current, worth=1e9) == current


@given(problems())
@settings(max_examples=40, deadline=None)
def test_a_lazy_choice_is_the_greedy_choice(problem: Problem) -> None:
    columns, dues, count = problem
    chosen: list[int] = []
    while len(chosen) < count:
        left = [c for c in range(len(columns)) if c not in chosen]
        highest = [max(column[i] for column in columns) for i in range(len(columns[0]))]
        nearest = [min((columns[c][i] for c in chosen), default=highest[i]) for i in range(len(highest))]
        saves = {c: sum(max(0.0, now - cost) for now, cost in zip(nearest, columns[c], strict=True)) - dues[c] for c in left}
        chosen.append(max(left, key=lambda c: saves[c]))
    assert greedy(columns, count, dues) == chosen


@given(problems(), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_each_has_the_best_of_all_substitutes(problem: Problem, seed: int) -> None:
    columns, dues, count = problem
    chosen = Random(seed).sample(range(len(columns)), count)
    free = [c for c in range(len(columns)) if c not in chosen]
    found = substitutes(columns, chosen, dues)
    assert len(found) == (count if free else 0)
    for lost, heir in zip(chosen, found, strict=False):
        others = [c for c in chosen if c != lost]
        best = min(total(columns, [*others, c], dues) for c in free)
        assert total(columns, [*others, heir], dues) == pytest.approx(best)


def test_those_that_are_barred_are_not_taken() -> None:
    columns, free = [[0.0, 0.0], [5.0, 9.0], [5.0, 5.0]], [0.0] * 3
    assert greedy(columns, 1, free) == [0]
    assert greedy(columns, 1, free, barred=(0,)) == [2]
    assert swapped(columns, [1], free, barred=(0,)) == [2]


def test_who_costs_more_to_have_serves_only_where_that_is_worth_it() -> None:
    columns = [[10.0, 0.0], [11.0, 0.0]]
    assert placed(columns, 1, [0.0, 0.0]) == [0]
    assert placed(columns, 1, [2.0, 0.0]) == [1]


def test_among_equals_the_first_wins() -> None:
    assert placed([[3.0], [3.0], [3.0]], 2, [0.0] * 3) == [0, 1]


# Demand


def summary(nodes: int, rate: float) -> Summary:
    return Summary(APP, nodes, rate, 1, (Candidate("x", 0, 0, 1.0, 1),), ())


def test_a_few_requests_say_little_and_a_crowd_is_believed() -> None:
    calm = demand({"a": summary(21, 0.8), "b": summary(21, 1.2)})
    assert 1.0 < calm["b"] / calm["a"] < 1.3, "1.5 by what was seen, which is chance"
    crowd = demand({"a": summary(21, 1.0), "b": summary(21, 50.0)})
    assert crowd["b"] / crowd["a"] > 15
    lopsided = demand({f"{i:02}": summary(21, 3.0 if i < 3 else 0.3) for i in range(22)})
    assert lopsided["00"] / lopsided["21"] > 7, "10 by what was seen: counts as unlike as these are no chance"
    one = demand({f"{i:02}": summary(5, 0.0 if i else 0.2) for i in range(6)})
    assert one["00"] / one["05"] < 1.2, "three requests are no crowd, though nobody else asked"
    nobody = demand({"a": summary(9, 0.0), "b": summary(19, 0.0)})
    assert nobody["b"] / nobody["a"] == 2, "where none ask, all nodes are alike"


def test_demand_has_moved_by_the_share_that_is_elsewhere() -> None:
    even = dict.fromkeys("abcd", 1.0)
    assert moved(even, dict.fromkeys("abcd", 5.0)) == 0, "more of everything is no other place"
    assert moved(even, {"a": 4.0}) == pytest.approx(0.75)
    assert moved({"a": 1.0}, {"b": 1.0}) == 1


# Policies


def summary_of(agent: str, rate: float, *nodes: str, rtt_ms: int = 1, ages_s: tuple[int, ...] = ()) -> Summary:
    """Agents are 100 ms from each other."""
    ages = ages_s or (60,) * len(nodes)
    candidates = [Candidate(node, rtt_ms * MILLISECOND, age * SECOND, 1.0, 10**8) for node, age in zip(nodes, ages, strict=True)]
    candidates.append(Candidate(agent, 0, SECOND, 1.0, 10**8))
    near = tuple(Measured(other, 100 * MILLISECOND) for other in "abcd" if other != agent)
    return Summary(APP, len(nodes), rate, 1, tuple(candidates), near)


def land(config: AppConfig, *told: Summary, members: tuple[str, ...] = (), barred: tuple[str, ...] = ()) -> Landscape:
    clusters = {one.candidates[-1].node: Cluster(one.candidates[-1].node, one) for one in told}
    return Landscape(config, clusters, members, barred, 20 * MILLISECOND, lambda agent: {})


THREE = AppConfig(APP, 3)


def test_the_best_replicas_are_where_demand_is() -> None:
    told = [
        summary_of("a", 5.0, "a1", "a2"),
        summary_of("b", 50.0, "b1", "b2"),
        summary_of("c", 20.0, "c1"),
        summary_of("d", 1.0, "d1"),
    ]
    members = filled(THREE, land(THREE, *told), 3)
    assert sorted(member[0] for member in members) == ["a", "b", "c"]
    assert set(members).isdisjoint("abcd"), "agents serve only when there is nobody else"


def test_agents_near_each_other_need_no_replica_each() -> None:
    near = [Measured("b", MILLISECOND), Measured("c", 100 * MILLISECOND)]
    told = [summary_of("a", 50.0, "a1"), summary_of("b", 40.0, "b1"), summary_of("c", 10.0, "c1")]
    told[0] = replace(told[0], near=tuple(near))
    told[1] = replace(told[1], near=(Measured("a", MILLISECOND), near[1]))
    two = AppConfig(APP, 2)
    members = filled(two, land(two, *told), 2)
    assert sorted(member[0] for member in members) in (["a", "c"], ["b", "c"])


@pytest.mark.parametrize("policy", POLICIES)
def test_whatever_the_policy_who_serves_stays_and_nobody_barred_is_taken(policy: str) -> None:
    config = AppConfig(APP, 3, policy=policy)
    told = [summary_of("a", 9.0, "a1", "a2"), summary_of("b", 5.0, "b1", "b2", "b3")]
    barred = ("b1", "a1")
    members = filled(config, land(config, *told, members=("a2",), barred=barred), 3, ("a2",))
    assert members[0] == "a2"
    assert {*members[1:]} == {"b2", "b3"}


@pytest.mark.parametrize("policy", POLICIES)
def test_agents_serve_when_there_are_too_few_nodes(policy: str) -> None:
    config = AppConfig(APP, 3, policy=policy)
    told = [summary_of("a", 1.0, "a1"), summary_of("b", 1.0)]
    assert set(filled(config, land(config, *told), 3)) == {"a1", "a", "b"}
    assert len(filled(config, land(config, *told), 9)) == 3


def test_the_oldest_are_the_oldest() -> None:
    config = AppConfig(APP, 2, policy=OLDEST)
    told = [summary_of("a", 9.0, "a1", "a2", ages_s=(60, 3600)), summary_of("b", 5.0, "b1", "b2", ages_s=(7200, 30))]
    assert filled(config, land(config, *told), 2) == ("b1", "a2")


def test_nearest_to_demand_goes_by_demand_for_each_member() -> None:
    config = AppConfig(APP, 3, policy=NEAREST)
    told = [summary_of("a", 90.0, "a1", "a2", "a3"), summary_of("b", 40.0, "b1", "b2")]
    assert [member[0] for member in filled(config, land(config, *told), 3)] == ["a", "a", "b"]


def test_members_that_live_are_moved_to_those_that_are_better_by_the_policys_measure() -> None:
    told = [summary_of("a", 90.0, "a1", "a2", ages_s=(60, 900)), summary_of("b", 1.0, "b1", "b2", ages_s=(60, 70))]
    for policy, to in ((BEST, "a"), (NEAREST, "a"), (OLDEST, "a2"), (RANDOM, "")):
        config = AppConfig(APP, 1, policy=policy)
        there = land(config, *told, members=("b1",))
        members, saved = improved(config, there, ("b1",))
        assert members[0].startswith(to)
        assert improved(config, there, members) == (members, 0.0)
        if policy == RANDOM:
            assert members == filled(config, there, 1), "whoever came first"
        else:
            assert saved > 0


def test_those_hardly_better_move_nobody() -> None:
    told = [summary_of("a", 90.0, "a1", ages_s=(70,)), summary_of("b", 89.0, "b1", ages_s=(60,))]
    for policy in (OLDEST, NEAREST, EVERYWHERE):
        config = AppConfig(APP, 1, policy=policy)
        assert improved(config, land(config, *told, members=("b1",)), ("b1",)) == (("b1",), 0.0)


def test_one_that_is_likely_to_go_is_passed_over_for_one_that_is_not() -> None:
    one = AppConfig(APP, 1)
    told = [summary_of("a", 9.0, "a1", "a2", "a3", ages_s=(10, 86400, 86400))]
    assert filled(one, land(one, *told), 1) == ("a2",)


def test_one_that_has_often_gone_is_passed_over_for_one_of_the_same_age_that_has_not() -> None:
    one, hour = AppConfig(APP, 1), 3600 * SECOND
    told = summary_of("a", 9.0, "a1", "a2", "a3", ages_s=(3600, 3600, 3600))
    (chosen,) = filled(one, land(one, told), 1)
    restless = [replace(each, sessions=30, up=10 * hour) if each.node == chosen else each for each in told.candidates]
    assert filled(one, land(one, replace(told, candidates=tuple(restless))), 1) != (chosen,)
    steady = [replace(each, sessions=30, up=9000 * hour) if each.node == chosen else each for each in told.candidates]
    assert filled(one, land(one, replace(told, candidates=tuple(steady))), 1) == (chosen,)


@pytest.mark.parametrize("policy", POLICIES)
def test_who_lacks_what_it_takes_does_not_serve_but_its_demand_counts(policy: str) -> None:
    config = AppConfig(APP, 2, policy=policy)
    told = [summary_of("a", 90.0, "a1", "a2"), summary_of("b", 1.0, "b1", "b2")]
    told[0] = replace(told[0], candidates=tuple(replace(one, unfit=True) for one in told[0].candidates))
    there = land(config, *told)
    assert set(filled(config, there, 2)) == {"b1", "b2"}
    assert set(filled(config, there, 9)) == {"b1", "b2"}, "nobody else can"
    assert there.demand["a"] > there.demand["b"]


def test_a_node_two_agents_claim_belongs_to_the_nearer() -> None:
    told = {"a": summary_of("a", 1.0, "x", rtt_ms=80), "b": summary_of("b", 1.0, "x", rtt_ms=2)}
    assert homes({agent: Cluster(agent, one) for agent, one in told.items()})["x"] == "b"


# Predicted stability


def test_the_longer_up_the_longer_it_will_stay() -> None:
    hour = 3600 * SECOND
    assert hazard(2 * hour, hour) == pytest.approx(hazard(0, hour) / 3), "Lindy: a hazard like 1 / (scale + age)"
    assert survives(hour, hour, hour) == pytest.approx((2 / 3) ** SHAPE)
    assert survives(hour, hour, hour, sessions=9, up=9 * hour) < survives(hour, hour, hour, sessions=1, up=9 * hour)
    assert survives(0, 0, hour) == 1


# Survey


def surveyor() -> tuple[Surveyor, Context, list[tuple[str, Survey]]]:
    asked: list[tuple[str, Survey]] = []
    ctx = Context("me", NodeConfig(), Random(1))
    return Surveyor(ctx, lambda agent, question: asked.append((agent, question))), ctx, asked


def test_what_is_missing_is_asked_for_once_and_what_is_old_again() -> None:
    survey, ctx, asked = surveyor()
    assert survey.ask("a", ["x", "y"]) == 2
    assert asked == [("a", Survey(("x", "y")))]
    survey.ask("a", ["x", "y"])
    assert len(asked) == 1, "the answer may be under way"
    survey.on_surveyed("a", Surveyed((Measured("x", 9), Measured("never asked", 1))))
    assert survey.told("a") == {"x": (9, ctx.now)}
    ctx.now += ASK_AGAIN
    assert survey.ask("a", ["x", "y"]) == 1
    assert asked[-1] == ("a", Survey(("y",))), "it did not answer"
    ctx.now += KEPT
    survey.ask("a", ["x"])
    assert asked[-1] == ("a", Survey(("x",))), "paths change"
    survey.on_surveyed("stranger", Surveyed((Measured("b", 7),)))
    assert survey.entries() == 1
    survey.attend(APP, ["a"])
    assert survey.entries() == 0


def test_a_path_that_stays_as_it_was_is_asked_for_ever_more_seldom() -> None:
    survey, ctx, asked = surveyor()

    def told_after(span: int, rtt: int) -> bool:
        """Whether the question came; then it is answered."""
        ctx.now += span
        before = len(asked)
        survey.ask("a", ["x"])
        survey.on_surveyed("a", Surveyed((Measured("x", rtt * MILLISECOND),)))
        return len(asked) > before

    assert told_after(0, 50)
    assert told_after(KEPT, 51)
    assert not told_after(KEPT, 50)
    assert told_after(KEPT, 90), "after twice as long"
    assert told_after(KEPT, 90), "it had changed"


def test_what_one_application_has_measured_another_does_not_forget() -> None:
    survey, _, _ = surveyor()
    for app, node in (("web", "x"), ("mail", "y")):
        survey.attend(app, ["a", node])
        survey.ask("a", [node])
        survey.on_surveyed("a", Surveyed((Measured(node, 7),)))
    assert sorted(survey.told("a")) == ["x", "y"]
    survey.attend("mail", ["a"])
    assert sorted(survey.told("a")) == ["x"]


def test_a_node_is_sent_on_an_errand_once_in_a_while() -> None:
    survey, ctx, asked = surveyor()
    survey.send("a", "n", ["x"])
    survey.send("a", "n", ["x"])
    assert asked == [("a", Survey(("x",), "n"))]
    ctx.now += ERRAND_AGAIN
    survey.send("a", "n", ["x", "y"])
    assert asked[1:] == [("a", Survey(("x", "y"), "n"))]
    ctx.now += ERRAND_AGAIN
    survey.send("a", "n", ["x", "y"])
    assert asked[2:] == [("a", Survey(("y",), "n"))], "who does not tell is sent ever more seldom"


# The whole of it


def mean_delay(net: CoreNet, replicas: list[str]) -> float:
    nodes = list(net.cores)
    return sum(min(net.delay(node, one) for one in replicas) for node in nodes) / len(nodes)


@pytest.mark.parametrize("seed", ["one", "two"])
def test_replicas_end_where_the_mean_delay_is_least(seed: str) -> None:
    net = six_regions(seed=seed)
    net.run(60 * SECOND)
    nodes = list(net.cores)
    sites = sorted({node.split("-")[0] for node in nodes})
    one_each = {site: next(node for node in nodes if node.startswith(site + "-")) for site in sites}
    best = min(mean_delay(net, list(some)) for some in combinations(one_each.values(), 3))
    assert mean_delay(net, net.replicas()) <= 1.1 * best + MILLISECOND
    assert not set(net.replicas()) & set(net.agents())


@pytest.mark.parametrize("policy", POLICIES)
def test_each_policy_ends_in_a_set_of_its_own_kind_and_stays(policy: str) -> None:
    net = six_regions(config=NodeConfig(apps=(AppConfig(APP, 30 if policy == EVERYWHERE else 3, policy=policy),)))
    net.run(90 * SECOND)
    found = net.replicas()
    assert len(found) == (30 if policy == EVERYWHERE else 3)
    if policy == RANDOM:
        others = [node for node in net.cores if node not in net.agents()]
        assert set(found) == set(sorted(others, key=lambda node: score(APP, node))[:3])
    net.run(150 * SECOND)
    assert set(net.replicas()) == set(found)
    assert net.broken == []


def test_the_whole_is_told_seldom_at_rest_and_again_to_a_steward_that_lost_it() -> None:
    net = six_regions()
    net.run(180 * SECOND)
    told: list[Summary] = []
    send = net._send

    def count(source: str, one: Any) -> None:
        if isinstance(one.message, Summary):
            told.append(one.message)
        send(source, one)

    net._send = count  # type: ignore[method-assign,assignment]
    net.run(240 * SECOND)
    whole = [one for one in told if one.candidates]
    assert len(told) > 60
    assert len(whole) < len(told) / 10
    steward = net.stewards()[0]
    role = net.cores[steward]._role
    assert role is not None
    assert role.stewards is not None
    desk = role.stewards.desks[APP]
    desk.summaries.clear()
    net.run_for(10 * SECOND)
    assert sorted(desk.summaries) == sorted(net.agents())
    assert all(cluster.summary.candidates for _, cluster in desk.summaries.values())
