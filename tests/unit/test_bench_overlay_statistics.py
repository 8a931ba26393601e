"""Intervals: against scipy's quantiles, and by how often they hold the truth they were drawn from."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isnan

import numpy as np
import pytest
from opus_controller.bench.overlay import statistics
from opus_controller.bench.overlay.statistics import Estimate, mean, ratio, share, worst
from scipy import stats

DRAWS = 1500
LEAST, MOST = 0.92, 0.98
"""Of 1,500 intervals of 95%: so far off only once in ten thousand."""


@pytest.mark.parametrize("degrees", [1, 2, 9, 30, 31, 60, 1000])
def test_students_quantile(degrees: int) -> None:
    assert statistics.t975(degrees) == pytest.approx(float(stats.t.ppf(0.975, degrees)), abs=2e-3)


def test_the_mean_has_scipys_interval() -> None:
    values = [1.0, 1.2, 0.9, 1.4, 1.1]
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    found = mean(values)
    assert found.count == 5
    assert found.value == pytest.approx(1.12)
    assert [found.low, found.high] == pytest.approx([low, high], abs=1e-3)


def held(draw: Callable[[np.random.Generator], Estimate], truth: float) -> float:
    rng = np.random.default_rng(7)
    return float(np.mean([one.low <= truth <= one.high for one in (draw(rng) for _ in range(DRAWS))]))


def test_the_interval_of_a_mean_holds_it_95_times_in_100() -> None:
    assert LEAST < held(lambda rng: mean(rng.normal(3.0, 1.0, 10).tolist()), 3.0) < MOST


def test_the_interval_of_a_ratio_of_sums_holds_it_though_clusters_differ_in_size() -> None:
    def draw(rng: np.random.Generator) -> Estimate:
        size = rng.uniform(50, 150, 12)
        return ratio([(float(s * rng.normal(0.5, 0.1)), float(s)) for s in size])

    assert LEAST - 0.02 < held(draw, 0.5) < MOST


def test_the_interval_of_a_share_holds_it_though_failures_come_in_clusters() -> None:
    """Requests of one kill fail together: counted as independent they would promise six times the precision there is."""

    def draw(rng: np.random.Generator) -> Estimate:
        failing = rng.beta(0.5, 4.5, 60)  # 10% on average, most clusters next to none
        return share([(int(100 - rng.binomial(100, p)), 100) for p in failing])

    assert LEAST - 0.03 < held(draw, 0.9) < MOST


def test_no_failure_at_all_is_no_proof_of_none() -> None:
    found = share([(250, 250)] * 4)
    assert found.value == found.high == 1.0
    assert found.low == pytest.approx(1 - statistics.Z**2 / (1000 + statistics.Z**2))


def test_one_seed_says_nothing_of_its_neighbours() -> None:
    assert mean([2.0]) == Estimate(2.0, -inf, inf, 1)
    assert ratio([(1.0, 2.0)]) == Estimate(0.5, -inf, inf, 1)


def test_nothing_measured_is_no_number() -> None:
    assert all(isnan(one.value) for one in (mean([]), ratio([]), share([]), worst([]), ratio([(1.0, 0.0), (2.0, 0.0)])))


def test_the_worst_is_the_greatest() -> None:
    assert worst([1.0, 3.0, 2.0]) == Estimate(3.0, 3.0, 3.0, 3)
