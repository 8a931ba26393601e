"""netem's delay distributions: 4,096 deviations from the mean, in units of jitter / 8192.

The kernel's netem draws one entry of a table at random for every packet, and iproute2 ships the tables (normal.dist,
pareto.dist, paretonormal.dist). They are computed here by the formulas of iproute2's netem/normal.c, pareto.c and
paretonormal.c, so both kinds of links have the same jitter with the same quirks. 16-bit entries cut pareto's long tail: its
deviation is 0.82 of the asked one (0.83 for paretonormal), its mean 0.03 jitter below the asked delay, its median 0.32 below.
uniform is netem's own: up to one jitter either side of the delay, a deviation of 0.58.

    delay = mean + (jitter * table[random 12 bits]) / 8192
"""

from __future__ import annotations

from functools import cache
from statistics import NormalDist

SIZE = 4096
BITS = 12
SCALE_BITS = 13
SCALE = 1 << SCALE_BITS
_FINE = 4 * SIZE
_LONGEST = 32767
_PARETO_SHAPE = 3.0


@cache
def table(distribution: str) -> tuple[int, ...]:
    """The deviations of "uniform", "normal", "pareto" or "paretonormal", ascending. KeyError for another name."""
    return _MAKERS[distribution]()


def _uniform() -> tuple[int, ...]:
    return tuple((2 * i + 1) * SCALE // SIZE - SCALE for i in range(SIZE))


def _normal() -> tuple[int, ...]:
    return tuple(max(-_LONGEST - 1, _normal_entry(4 * i)) for i in range(SIZE))


def _normal_entry(i: int) -> int:
    """Where the cumulative normal distribution leaves the i-th of 16,384 steps (normal.c: the same on a grid of 0.00005)."""
    x = NormalDist().inv_cdf((i + 0.5) / _FINE)
    return round(x * SCALE)


def _pareto() -> tuple[int, ...]:
    return tuple(_pareto_entry(4 * i) for i in range(SIZE))


def _pareto_entry(i: int) -> int:
    value: float = ((1 - i / _FINE) ** (-1 / _PARETO_SHAPE) - 1.5) * (4 / 3) * SCALE
    return round(min(value, _LONGEST))


def _paretonormal() -> tuple[int, ...]:
    """A quarter normal, three quarters pareto, added at the same rank."""
    return tuple(
        min(_LONGEST, int((_normal_entry(4 * i) + 3 * _pareto_entry(4 * i)) / 4))  # C divides towards zero
        for i in range(SIZE)
    )


_MAKERS = {"uniform": _uniform, "normal": _normal, "pareto": _pareto, "paretonormal": _paretonormal}
