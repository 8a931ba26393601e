"""Student's t: quantiles at any level, and the intervals of means and of differences of means that are made of them.

The unit that is repeated is the run (the seed), never the request: requests of one run are not independent of each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, isfinite, lgamma, log, nan, sqrt

LEVEL = 0.95
_TINY = 1e-300


@dataclass(frozen=True)
class Interval:
    """An estimate and its bounds; infinite bounds where there is too little to tell (one run)."""

    value: float
    low: float
    high: float

    def excludes(self, value: float) -> bool:
        return self.low > value or self.high < value


def mean(values: Sequence[float], level: float = LEVEL, least_variance: float = 0.0) -> Interval:
    """Of at least one value. `least_variance`: of one value, at least (how coarsely it was measured)."""
    n = len(values)
    centre = sum(values) / n
    if n == 1:
        return Interval(centre, -inf, inf)
    error = sqrt(max(_variance(values), least_variance) / n)
    return _around(centre, error, n - 1, level)


def difference(before: Sequence[float], after: Sequence[float], level: float = LEVEL, least_variance: float = 0.0) -> Interval:
    """Mean of `after` less mean of `before`, independent samples whose variances may differ (Welch 1947)."""
    centre = sum(after) / len(after) - sum(before) / len(before)
    if min(len(before), len(after)) < 2:
        return Interval(centre, -inf, inf)
    parts = [(max(_variance(side), least_variance) / len(side), len(side) - 1) for side in (before, after)]
    total = sum(part for part, _ in parts)
    if total == 0.0:
        return Interval(centre, centre, centre)
    degrees = total**2 / sum(part**2 / free for part, free in parts)
    return _around(centre, sqrt(total), degrees, level)


def _around(centre: float, error: float, degrees: float, level: float) -> Interval:
    half = quantile((1 + level) / 2, degrees) * error if error else 0.0
    return Interval(centre, centre - half, centre + half)


def _variance(values: Sequence[float]) -> float:
    """Unbiased; exactly 0 for values that are all alike, which rounding in the mean would spoil."""
    if min(values) == max(values):
        return 0.0
    centre = sum(values) / len(values)
    return sum((value - centre) ** 2 for value in values) / (len(values) - 1)


def quantile(p: float, degrees: float) -> float:
    """The t below which lies the share `p` (0.5 to below 1) of Student's distribution; `degrees` may be a fraction.

    By bisection of the distribution function, to 12 digits.
    """
    if not 0.5 <= p < 1 or not degrees > 0:
        return nan
    low, high = 0.0, 1.0
    while distribution(high, degrees) < p and isfinite(high):
        low, high = high, 2 * high
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high) or high - low <= 1e-13 * high:
            break
        low, high = (middle, high) if distribution(middle, degrees) < p else (low, middle)
    return (low + high) / 2


def distribution(t: float, degrees: float) -> float:
    """Student's distribution function at t >= 0 (Abramowitz and Stegun 26.5.27)."""
    return 1.0 - 0.5 * _incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t))


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularized, by its continued fraction (DLMF 8.17.22), on the side where that converges fast."""
    if x <= 0.0 or x >= 1.0:
        return min(1.0, max(0.0, x))
    if x > (a + 1) / (a + b + 2):
        return 1.0 - _incomplete_beta(b, a, 1 - x)
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log(1 - x)) / a
    return front * _continued_fraction(a, b, x)


def _continued_fraction(a: float, b: float, x: float) -> float:
    """1/(1 + d1/(1 + d2/(1 + ...))) by Lentz's method, as Thompson and Barnett (1986) changed it."""
    f, c, d = 1.0, 1.0, 0.0
    for k in range(1, 1000):
        m = k // 2
        if k % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / ((1 + term * d) or _TINY)
        c = (1 + term / c) or _TINY
        f *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return 1 / f
