"""How long sessions and absences last: distributions, and what is met of them at an instant chosen without regard to them.

    constant                       always exactly so long
    exponential                    P(X > x) = exp(-x / scale); without memory
    weibull     shape              P(X > x) = exp(-(x / scale)^shape); shape below 1: the old stay longer
    lognormal   shape (sigma)      ln X is normal with mean ln(scale) and deviation sigma
    pareto      shape (alpha)      P(X > x) = (1 + x / scale)^-alpha, Pareto's second kind (Lomax), which has no least value

Whoever looks at a process that has always been going on meets long sessions more often than short ones: the one under way
has the length-biased density x f(x) / mean, and the instant falls anywhere in it with equal probability (Feller, *An
Introduction to Probability Theory and Its Applications* II, XI.4; Cox, *Renewal Theory*, 1962). `under_way` draws that, so that
a run starts in equilibrium instead of with everyone newborn.

Seconds throughout. The only source of randomness is `Random.random`, whose sequence every version of Python promises.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from statistics import NormalDist
from typing import ClassVar, Final

_NORMAL: Final = NormalDist()
_LEAST: Final = 2.0**-54
"""In place of a uniform draw of 0, half the step between two draws: the normal quantile of 0 is minus infinity."""


@dataclass(frozen=True)
class Lifetimes(ABC):
    """A distribution of times."""

    scale: float
    shape: float = 1.0

    name: ClassVar[str] = ""
    shape_limits: ClassVar[tuple[float, float]] = (1.0, 1.0)
    """Least and most; both 1: the distribution has no shape."""

    @property
    @abstractmethod
    def mean(self) -> float: ...

    @abstractmethod
    def quantile(self, p: float) -> float:
        """For p in [0, 1)."""

    @abstractmethod
    def under_way(self, rng: Random) -> tuple[float, float]:
        """(age, rest) of the one that is going on at an instant chosen without regard to it."""

    @classmethod
    def has_shape(cls) -> bool:
        return cls.shape_limits[0] < cls.shape_limits[1]

    @property
    def median(self) -> float:
        return self.quantile(0.5)

    def sample(self, rng: Random) -> float:
        return self.quantile(rng.random())


class Constant(Lifetimes):
    name = "constant"

    @property
    def mean(self) -> float:
        return self.scale

    def quantile(self, p: float) -> float:
        return self.scale

    def under_way(self, rng: Random) -> tuple[float, float]:
        return _cut(self.scale, rng)


class Weibull(Lifetimes):
    """The length-biased one is scale x G^(1/shape), with G gamma distributed of shape 1 + 1/shape."""

    name = "weibull"
    shape_limits = (0.2, 20.0)

    @property
    def mean(self) -> float:
        return self.scale * math.gamma(1 + 1 / self.shape)

    def quantile(self, p: float) -> float:
        return float(self.scale * (-math.log1p(-p)) ** (1 / self.shape))

    def under_way(self, rng: Random) -> tuple[float, float]:
        return _cut(float(self.scale * _gamma(1 + 1 / self.shape, rng) ** (1 / self.shape)), rng)


class Exponential(Weibull):
    """Weibull's with shape 1."""

    name = "exponential"
    shape_limits = (1.0, 1.0)


class Lognormal(Lifetimes):
    """The length-biased one is lognormal too, exp(sigma^2) times as long."""

    name = "lognormal"
    shape_limits = (0.05, 5.0)

    @property
    def mean(self) -> float:
        return self.scale * math.exp(self.shape**2 / 2)

    def quantile(self, p: float) -> float:
        return self.scale * math.exp(self.shape * _normal(p))

    def under_way(self, rng: Random) -> tuple[float, float]:
        return _cut(self.sample(rng) * math.exp(self.shape**2), rng)


class Pareto(Lifetimes):
    """The age is of the same kind with shape alpha - 1; given the age, the rest is too, with shape alpha and scale + age."""

    name = "pareto"
    shape_limits = (1.1, 100.0)
    """At 1 the mean is infinite, and there is no equilibrium."""

    @property
    def mean(self) -> float:
        return self.scale / (self.shape - 1)

    def quantile(self, p: float) -> float:
        return self.scale * math.expm1(-math.log1p(-p) / self.shape)

    def under_way(self, rng: Random) -> tuple[float, float]:
        age = self.scale * math.expm1(-math.log1p(-rng.random()) / (self.shape - 1))
        return age, (self.scale + age) * math.expm1(-math.log1p(-rng.random()) / self.shape)


KINDS: Final[Mapping[str, type[Lifetimes]]] = {kind.name: kind for kind in (Exponential, Weibull, Lognormal, Pareto)}
"""Those that a scenario names; a constant is written as a duration."""


def of(
    name: str, shape: float | None, *, scale: float | None = None, median: float | None = None, mean: float | None = None
) -> Lifetimes:
    """The distribution of KINDS that has this scale, median or mean (exactly one is given)."""
    unit = KINDS[name](1.0, 1.0 if shape is None else shape)
    if scale is None:
        scale = mean / unit.mean if mean is not None else (median or 0.0) / unit.median
    return type(unit)(scale, unit.shape)


def transform(lifetimes: Lifetimes, omega: float) -> complex:
    """Integral of P(X > x) exp(-i omega x) over x: how a population of such sessions answers to births that go up and down.

    (1 - E[exp(-i omega X)]) / (i omega), the expectation by the midpoint rule over quantiles, closest where they are longest.
    """
    steps = 4096
    total = 0j
    for k in range(steps):
        rest = 1 - (k + 0.5) / steps
        x = omega * lifetimes.quantile(1 - rest**4)
        total += 4 * rest**3 * complex(2 * math.sin(x / 2) ** 2, math.sin(x)) / steps  # 1 - exp(-i x), exact for small x
    return total / complex(0, omega)


def _cut(length: float, rng: Random) -> tuple[float, float]:
    age = length * rng.random()
    return age, length - age


def _normal(p: float) -> float:
    """The standard normal quantile (Wichura's algorithm AS 241)."""
    return _NORMAL.inv_cdf(p or _LEAST)


def _gamma(shape: float, rng: Random) -> float:
    """A gamma variate of unit scale, for shapes of 1 or more (Marsaglia and Tsang, ACM TOMS 26(3), 2000)."""
    d = shape - 1 / 3
    c = 1 / math.sqrt(9 * d)
    while True:
        x = _normal(rng.random())
        v = (1 + c * x) ** 3
        u = rng.random() or _LEAST
        if v > 0 and math.log(u) < x * x / 2 + d * (1 - v + math.log(v)):
            return d * v
