"""Estimates with 95% intervals. The unit that is repeated is the seed (or the fault), never the request: requests of one run
are not independent of each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, nan, sqrt

import numpy as np

_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""Student's t, 97.5%, by degrees of freedom from 1."""
Z = 1.959964


@dataclass(frozen=True)
class Estimate:
    value: float
    low: float
    high: float
    count: int
    """Seeds or faults it rests on."""


NOTHING = Estimate(nan, nan, nan, 0)


def t975(degrees: int) -> float:
    """Above the table by Cornish and Fisher's first terms, good to 0.001 there."""
    if degrees < 1:
        return inf
    if degrees <= len(_T):
        return _T[degrees - 1]
    return Z + (Z**3 + Z) / (4 * degrees) + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * degrees**2)


def mean(values: Sequence[float]) -> Estimate:
    """Student's interval around the mean over seeds; without bounds for a single one."""
    n = len(values)
    if not n:
        return NOTHING
    centre = float(np.mean(values))
    if n == 1:
        return Estimate(centre, -inf, inf, 1)
    half = t975(n - 1) * float(np.std(values, ddof=1)) / sqrt(n)
    return Estimate(centre, centre - half, centre + half, n)


def worst(values: Sequence[float]) -> Estimate:
    """The greatest: a fact about these seeds, so without an interval."""
    if not values:
        return NOTHING
    top = float(max(values))
    return Estimate(top, top, top, len(values))


def ratio(pairs: Sequence[tuple[float, float]]) -> Estimate:
    """Ratio of sums over clusters of (numerator, denominator), by the delta method with Student's t."""
    n = len(pairs)
    over, under = (np.array(column, dtype=np.float64) for column in zip(*pairs, strict=True)) if n else (np.zeros(0),) * 2
    if not n or under.sum() == 0:
        return NOTHING
    value = float(over.sum() / under.sum())
    if n == 1:
        return Estimate(value, -inf, inf, 1)
    half = t975(n - 1) * _ratio_error(over, under, value)
    return Estimate(value, value - half, value + half, n)


def _ratio_error(
    over: np.ndarray[tuple[int], np.dtype[np.float64]], under: np.ndarray[tuple[int], np.dtype[np.float64]], value: float
) -> float:
    n = len(over)
    residual = over - value * under
    return float(sqrt(float((residual**2).sum()) / (n - 1) * n) / under.sum())


def share(pairs: Sequence[tuple[int, int]]) -> Estimate:
    """Successes of trials over clusters: Wilson's interval with the trials that the clusters are worth (Kish's design effect).

    Wilson's, because shares here are near 1, often with no failure at all, where a normal interval has no width.
    """
    trials = sum(n for _, n in pairs)
    if not trials:
        return NOTHING
    value = sum(k for k, _ in pairs) / trials
    effect = 1.0
    if len(pairs) > 1 and 0 < value < 1:
        over, under = (np.array(column, dtype=np.float64) for column in zip(*pairs, strict=True))
        effect = max(1.0, _ratio_error(over, under, value) ** 2 / (value * (1 - value) / trials))
    n = trials / effect
    centre = (value + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * sqrt(value * (1 - value) / n + Z**2 / (4 * n**2))
    return Estimate(value, min(value, centre - half), max(value, centre + half), len(pairs))


RESAMPLED = 2000


def quantile(clusters: Sequence[Sequence[float]], q: float) -> Estimate:
    """Of all values (type 7), with the percentile bootstrap's interval over clusters; without bounds for a single one."""
    if not clusters:
        return NOTHING
    value = float(np.quantile(np.concatenate([np.asarray(one) for one in clusters]), q))
    n = len(clusters)
    if n == 1:
        return Estimate(value, -inf, inf, 1)
    rng = np.random.default_rng(0)
    again = [np.quantile(np.concatenate([clusters[k] for k in rng.integers(0, n, n)]), q) for _ in range(RESAMPLED)]
    low, high = np.quantile(again, [0.025, 0.975])
    return Estimate(value, float(low), float(high), n)
