"""Approximate knowledge: what errors, sums and age cost a placement, and when the claim holds."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest
from opus_controller.bench.overlay.oracles import Floats
from opus_controller.claims import knowledge
from opus_controller.claims.claim import CONDITIONS, FAILS, HOLDS, Figures
from opus_controller.claims.measure import knowledge as measure
from opus_controller.claims.measure.networks import Network
from opus_controller.claims.setting import FULL, Setting


def _nowhere(hosts: int) -> Any:
    raise AssertionError("no network is needed to judge")


SETTING = Setting(FULL, [Network("here", "a network", _nowhere), Network("there", "another", _nowhere)])


def _found(limits: dict[str, float] | None = None, stewards: float = 0.05) -> dict[str, Figures]:
    """Losses of 1% below and 30% from these levels on, on the second network only."""

    def figures(limits: dict[str, float]) -> Figures:
        def loss(kind: str, level: float) -> float:
            return 0.3 if level >= limits.get(kind, np.inf) else 0.01

        levels = {measure.DELAYS: measure.ERRORS, measure.HOSTS: measure.ERRORS, measure.DEMAND: measure.ERRORS}
        lost = {kind: {f"{one:g}": [loss(kind, one)] * 2 for one in of} for kind, of in levels.items()}
        lost[measure.SUMS] = {f"{one:g}": [loss(measure.SUMS, one)] * 2 for one in measure.NODES_EACH}
        stale = {str(stay): {str(age): loss(measure.STALE, age) for age in measure.STALE_S} for stay in measure.STAYS_S}
        return {"hosts": 490, "lost": lost, "by_chance": [0.8, 0.9], "stewards": stewards, measure.STALE: stale}

    return {"approximate-knowledge here 490": figures({}), "approximate-knowledge there 490": figures(limits or {})}


def test_it_holds_where_no_error_asked_for_costs_much() -> None:
    found = knowledge.judge(_found({measure.DELAYS: 1.0, measure.STALE: 120}), SETTING)

    assert found.verdict == HOLDS
    assert "errors of 50% in each delay" in found.because
    assert "demand 60 s old" in found.because


def test_what_is_borne_only_in_part_is_the_condition() -> None:
    found = knowledge.judge(_found({measure.HOSTS: 0.5}), SETTING)

    assert found.verdict == CONDITIONS
    assert "20% in each host's delays" in found.because
    assert "Less than asked for: delays, an error for each host (asked for: 50%)" in found.because


@pytest.mark.parametrize("limits", [{measure.DELAYS: 0.2}, {measure.SUMS: 5}, {measure.STALE: 15}])
def test_it_does_not_hold_where_small_errors_cost_much(limits: dict[str, float]) -> None:
    assert knowledge.judge(_found(limits), SETTING).verdict == FAILS


def test_stewards_count_as_well() -> None:
    assert knowledge.judge(_found(stewards=0.15), SETTING).verdict == CONDITIONS
    assert knowledge.judge(_found(stewards=0.25), SETTING).verdict == FAILS


def test_where_there_are_few_agents_the_least_sums_count() -> None:
    found = _found({measure.SUMS: 5})
    for figures in found.values():
        for level in ("22", "50", "100"):
            del figures["lost"][measure.SUMS][level]

    assert knowledge.judge(found, SETTING).verdict == FAILS


@pytest.fixture
def line() -> Floats:
    """Hosts in a row, 1 ms apart."""
    at = np.arange(60.0)
    return np.abs(at[:, None] - at[None, :])


def test_sums_lose_little_against_knowing_nothing(line: Floats) -> None:
    demand = np.ones(60)
    exact = measure.cost(line, demand, measure.places(line, demand, 4))

    assert measure.cost(line, demand, [0, 1, 2, 3]) > 2 * exact
    assert measure.cost(line, demand, measure.by_sums(line, demand, 4, 5)) < 1.2 * exact


def test_errors_of_pairs_are_the_same_in_both_directions() -> None:
    factors = measure.by_pair(np.random.default_rng(1), 30, 0.5)

    assert np.array_equal(factors, factors.T)
    assert 0.5 <= factors.min() < 0.7
    assert 1.3 < factors.max() <= 1.5


def test_errors_of_hosts_lengthen_or_shorten_all_their_delays() -> None:
    factors = measure.by_host(np.random.default_rng(1), 30, 0.5)

    assert np.linalg.matrix_rank(factors) == 1


def test_the_older_the_knowledge_the_more_a_moving_crowd_costs(line: Floats) -> None:
    by_age = measure.stale(line, 4, regions=5)["600"]

    assert 0 < by_age["15"] < by_age["120"] < by_age["600"]


def test_a_crowd_stays_about_as_long_as_it_should_and_then_goes_elsewhere() -> None:
    where = measure.course(4, 20.0, 20_000, Random("here"))

    moves = sum(a != b for a, b in pairwise(where))
    assert 800 < moves < 1200
    assert set(where) == {0, 1, 2, 3}
