"""Student's t against scipy's, and intervals by how often they hold the truth."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from opus_controller.report.several import student
from scipy import stats


@pytest.mark.parametrize("degrees", [1, 1.5, 2, 4, 9.25, 30, 200, 1e5])
@pytest.mark.parametrize("p", [0.5, 0.6, 0.975, 0.999, 0.99999])
def test_quantiles_are_scipys(degrees: float, p: float) -> None:
    assert student.quantile(p, degrees) == pytest.approx(float(stats.t.ppf(p, degrees)), rel=1e-9, abs=1e-9)


def test_the_mean_has_scipys_interval_at_any_level() -> None:
    values = [1.0, 1.2, 0.9, 1.4, 1.1]
    for level in (0.95, 0.999):
        low, high = stats.t.interval(level, 4, loc=np.mean(values), scale=stats.sem(values))
        found = student.mean(values, level)
        assert (found.value, found.low, found.high) == pytest.approx((1.12, low, high))


def test_welchs_interval_is_scipys() -> None:
    before, after = [1.0, 1.2, 0.9, 1.4, 1.1], [2.0, 2.9, 1.1, 2.4]
    theirs = stats.ttest_ind(after, before, equal_var=False).confidence_interval(0.95)
    found = student.difference(before, after)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))


def test_one_value_tells_nothing_of_how_values_differ() -> None:
    assert student.mean([3.0]) == student.Interval(3.0, -inf, inf)
    assert student.difference([3.0], [4.0, 5.0]).high == inf


def test_values_that_are_alike_have_no_interval_unless_they_were_measured_coarsely() -> None:
    alike = student.mean([0.1] * 7)
    assert alike.low == alike.value == alike.high == pytest.approx(0.1)
    coarse = student.mean([1.0] * 7, least_variance=1 / 12)
    assert coarse.low < 1.0 < coarse.high


def test_95_of_100_intervals_hold_the_truth() -> None:
    rng = np.random.default_rng(7)
    held = [student.mean(rng.normal(3.0, 1.0, 8).tolist()) for _ in range(1500)]
    assert 0.92 < np.mean([one.low <= 3.0 <= one.high for one in held]) < 0.98
    held = [student.difference(rng.normal(0, 1, 6).tolist(), rng.normal(1, 3, 9).tolist()) for _ in range(1500)]
    assert 0.92 < np.mean([one.low <= 1.0 <= one.high for one in held]) < 0.98
