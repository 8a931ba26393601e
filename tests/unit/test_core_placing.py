"""Placement: the search against what trying everything finds, and the survey that feeds it."""

from __future__ import annotations

from itertools import combinations
from random import Random

import pytest
from helpers.corenet import APP, CoreNet, six_regions
from hypothesis import given, settings
from hypothesis import strategies as st
from opus_node.core.context import Context
from opus_node.core.kmedian import greedy, place, swapped, total
from opus_node.core.messages import Candidate, Measured, Summary, Survey, Surveyed
from opus_node.core.placer import demand
from opus_node.core.survey import ASK_AGAIN, KEPT, Surveyor
from opus_node.core.types import MILLISECOND, SECOND, NodeConfig

small = st.integers(0, 9).map(float)


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[float], list[list[float]], int]:
    points, width = draw(st.integers(1, 6)), draw(st.integers(2, 7))
    costs = draw(st.lists(st.lists(small, min_size=width, max_size=width), min_size=points, max_size=points))
    weights = draw(st.lists(st.integers(1, 5).map(float), min_size=points, max_size=points))
    return weights, costs, draw(st.integers(1, width))


@given(problems())
@settings(max_examples=60, deadline=None)
def test_no_single_swap_is_left_and_the_best_is_not_far(problem: tuple[list[float], list[list[float]], int]) -> None:
    weights, costs, count = problem
    found = place(weights, costs, count)
    assert len(set(found)) == len(found) == count
    cost = total(weights, costs, found)
    for out in found:
        for into in range(len(costs[0])):
            if into not in found:
                assert total(weights, costs, [into if c == out else c for c in found]) >= cost - 1e-9
    best = min(total(weights, costs, some) for some in combinations(range(len(costs[0])), count))
    assert cost <= 5 * best + 1e-9, "Arya et al.: a local optimum of single swaps is within five times the best"


@given(problems(), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_what_is_there_moves_only_for_what_a_move_is_worth(
    problem: tuple[list[float], list[list[float]], int], seed: int
) -> None:
    weights, costs, count = problem
    current = Random(seed).sample(range(len(costs[0])), count)
    found = place(weights, costs, count, current, move=2.0)
    moved = len(set(found) - set(current))
    saved = total(weights, costs, current) - total(weights, costs, found)
    assert saved > 2.0 * moved - 1e-9 if moved else found == current
    assert place(weights, costs, count, current, move=1e9) == current


def test_those_that_are_barred_are_not_taken() -> None:
    costs = [[0.0, 5.0, 5.0], [0.0, 9.0, 5.0]]
    assert greedy([1, 1], costs, 1) == [0]
    assert greedy([1, 1], costs, 1, barred=(0,)) == [2]
    assert swapped([1, 1], costs, [1], barred=(0,)) == [2]


def test_among_equals_the_first_wins() -> None:
    assert place([1.0], [[3.0, 3.0, 3.0]], 2) == [0, 1]


# Demand


def summary(nodes: int, rate: float) -> Summary:
    return Summary(APP, nodes, rate, (Candidate("x", "x", 0, 0, 1.0, 1),), ())


def test_a_few_requests_say_little_and_a_crowd_is_believed() -> None:
    calm = demand({"a": summary(21, 0.8), "b": summary(21, 1.2)})
    assert 1.0 < calm["b"] / calm["a"] < 1.2, "1.5 by what was seen, which is chance"
    crowd = demand({"a": summary(21, 1.0), "b": summary(21, 50.0)})
    assert crowd["b"] / crowd["a"] > 15
    nobody = demand({"a": summary(9, 0.0), "b": summary(19, 0.0)})
    assert nobody["b"] / nobody["a"] == 2, "where none ask, all nodes are alike"


# Survey


def surveyor() -> tuple[Surveyor, Context, list[tuple[str, Survey]]]:
    asked: list[tuple[str, Survey]] = []
    ctx = Context("me", NodeConfig(), Random(1))
    return Surveyor(ctx, lambda agent, question: asked.append((agent, question))), ctx, asked


def test_what_is_missing_is_asked_for_once_and_what_is_old_again() -> None:
    survey, ctx, asked = surveyor()
    assert survey.ask("a", ["a", "b"], ["x", "y"]) == 3, "its distance to itself is no question"
    assert asked == [("a", Survey(("b", "x", "y")))]
    survey.ask("a", ["a", "b"], ["x", "y"])
    assert len(asked) == 1, "the answer may be under way"
    survey.on_surveyed("a", Surveyed((Measured("b", 7), Measured("x", 9), Measured("never asked", 1))))
    assert (survey.rtt("a", "b"), survey.rtt("b", "a"), survey.rtt("a", "never asked")) == (7, 7, None)
    ctx.now += ASK_AGAIN
    assert survey.ask("a", ["b"], ["x", "y"]) == 1
    assert asked[-1] == ("a", Survey(("y",))), "it did not answer"
    ctx.now += KEPT
    survey.ask("a", ["b"], ["x"])
    assert asked[-1] == ("a", Survey(("b", "x"))), "paths change"
    survey.on_surveyed("stranger", Surveyed((Measured("b", 7),)))
    assert survey.entries() == 2
    survey.attend(APP, ["a", "x"])
    assert survey.entries() == 1


def test_what_one_application_has_measured_another_does_not_forget() -> None:
    survey, _, _ = surveyor()
    for app, node in (("web", "x"), ("mail", "y")):
        survey.attend(app, ["a", node])
        survey.ask("a", [], [node])
        survey.on_surveyed("a", Surveyed((Measured(node, 7),)))
    assert (survey.rtt("a", "x"), survey.rtt("a", "y")) == (7, 7)
    survey.attend("mail", ["a"])
    assert (survey.rtt("a", "x"), survey.rtt("a", "y")) == (7, None)


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
