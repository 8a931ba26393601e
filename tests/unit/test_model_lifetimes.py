"""Distributions of sessions: what is drawn is what was asked for, and an instant meets them as renewal theory says."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
from helpers.churned import ENOUGH, equilibrium
from opus_controller.model import lifetimes
from opus_controller.model.lifetimes import Constant, Lifetimes, transform
from scipy import integrate, stats

DRAWS = 20_000

CASES: list[tuple[Lifetimes, Any]] = [
    (lifetimes.of("exponential", None, mean=300), stats.expon(scale=300)),
    (lifetimes.of("weibull", 0.59, scale=2514), stats.weibull_min(0.59, scale=2514)),
    (lifetimes.of("weibull", 0.4, scale=100), stats.weibull_min(0.4, scale=100)),
    (lifetimes.of("weibull", 3.0, scale=100), stats.weibull_min(3.0, scale=100)),
    (lifetimes.of("lognormal", 1.5, scale=180), stats.lognorm(1.5, scale=180)),
    (lifetimes.of("pareto", 3.0, scale=600), stats.lomax(3.0, scale=600)),
    (lifetimes.of("pareto", 1.5, scale=60), stats.lomax(1.5, scale=60)),
]
IDS = [f"{ours.name}-{ours.shape:g}" for ours, _ in CASES]


@pytest.mark.parametrize(("ours", "theirs"), CASES, ids=IDS)
def test_draws_fit_their_distribution(ours: Lifetimes, theirs: Any) -> None:
    rng = Random("draws")
    drawn = [ours.sample(rng) for _ in range(DRAWS)]
    assert stats.kstest(drawn, theirs.cdf).pvalue > ENOUGH
    assert ours.mean == pytest.approx(theirs.mean())
    assert ours.median == pytest.approx(theirs.median())
    assert stats.kstest([1.15 * x for x in drawn], theirs.cdf).pvalue < ENOUGH, "the test would see sessions 15% too long"


@pytest.mark.parametrize(("ours", "theirs"), CASES, ids=IDS)
def test_what_is_under_way_fits_the_equilibrium(ours: Lifetimes, theirs: Any) -> None:
    rng = Random("under way")
    met = [ours.under_way(rng) for _ in range(DRAWS)]
    expected = equilibrium(theirs)
    for of_all in zip(*met, strict=True):
        assert stats.kstest(of_all, expected).pvalue > ENOUGH
    if ours.name != "exponential":
        assert stats.kstest([ours.sample(rng) for _ in range(DRAWS)], expected).pvalue < 1e-9, "newborns would not pass"


def test_the_old_stay_longer_exactly_where_the_distribution_says_so() -> None:
    """Rank correlation of age and rest: none without memory, positive with decreasing hazard."""
    rng = Random("memory")
    for ours, least, most in ((CASES[0][0], -0.03, 0.03), (CASES[2][0], 0.3, 1.0), (CASES[6][0], 0.2, 1.0)):
        ages, rests = zip(*(ours.under_way(rng) for _ in range(5000)), strict=True)
        assert least < stats.spearmanr(ages, rests).statistic < most


@pytest.mark.parametrize(("name", "shape"), [("exponential", None), ("weibull", 0.6), ("lognormal", 1.9), ("pareto", 2.5)])
def test_given_by_median_mean_or_scale(name: str, shape: float | None) -> None:
    assert lifetimes.of(name, shape, median=180).median == pytest.approx(180)
    assert lifetimes.of(name, shape, mean=180).mean == pytest.approx(180)
    assert lifetimes.of(name, shape, scale=180).scale == 180


def test_a_constant_is_met_anywhere_in_it() -> None:
    rng = Random("constant")
    met = [Constant(60.0).under_way(rng) for _ in range(2000)]
    assert stats.kstest([age for age, _ in met], stats.uniform(scale=60).cdf).pvalue > ENOUGH
    assert all(age + rest == pytest.approx(60) for age, rest in met)
    assert Constant(60.0).sample(rng) == 60.0


@pytest.mark.parametrize(("ours", "theirs"), CASES, ids=IDS)
def test_the_transform_of_the_survival(ours: Lifetimes, theirs: Any) -> None:
    """Against quadrature, at a period of twice the mean; far below any frequency it is the mean."""
    omega = np.pi / ours.mean
    x = np.linspace(0, 400 * ours.mean, 4_000_001)
    survival = theirs.sf(x)
    expected = integrate.trapezoid(survival * np.cos(omega * x), x) - 1j * integrate.trapezoid(survival * np.sin(omega * x), x)
    assert abs(transform(ours, omega) - expected) < 0.01 * ours.mean
    assert abs(transform(ours, 1e-9 / ours.mean)) == pytest.approx(ours.mean, rel=0.01)


def test_draws_are_those_of_every_version_of_python() -> None:
    rng = Random("1/compile/churn")
    weibull, lognormal, pareto = CASES[1][0], CASES[4][0], CASES[5][0]
    drawn = [*weibull.under_way(rng), weibull.sample(rng), lognormal.sample(rng), *pareto.under_way(rng)]
    assert drawn == pytest.approx(EXPECTED, rel=1e-9)


EXPECTED = [58772.77220674196, 15170.257425946584, 8876.750360569667, 3952.6478587380875, 197.68519531602877, 140.05630650825617]
