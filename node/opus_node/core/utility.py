"""What an application is worth at what its users feel: the paper's service level agreements, evaluated.

    utility = worth x product (or least) of the shares that the functions of latency, availability and throughput give

A function is piecewise linear through its points and flat outside them. S-shapes are usual: the first host of a bundle gains
nothing. `Utility.hopeful` is the same with each function's upper concave envelope in its place, whose slope is what a unit of a
bundle gains when the bundle is whole: a direction to search in, never a figure to decide by.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

Points = tuple[tuple[float, float], ...]
"""(what is felt, share of worth), ascending."""


@dataclass(frozen=True, slots=True)
class Felt:
    """What the users of an application feel, or may be expected to."""

    latency: float = inf
    """Nanoseconds at the utility's quantile of answered requests; infinite where nobody serves."""
    availability: float = 0.0
    throughput: float = 0.0
    """Requests answered a second."""


NOTHING = Felt()


@dataclass(frozen=True, slots=True)
class Utility:
    worth: float = 1.0
    least: bool = False
    """The least share counts; otherwise their product."""
    quantile: float = 0.95
    latency: Points = ()
    """x in nanoseconds. A part without points does not matter."""
    availability: Points = ()
    throughput: Points = ()

    def of(self, felt: Felt) -> float:
        """In [0, worth]."""
        shares = [
            at(points, x)
            for points, x in (
                (self.latency, felt.latency),
                (self.availability, felt.availability),
                (self.throughput, felt.throughput),
            )
            if points
        ]
        if self.least:
            return self.worth * min(shares, default=1.0)
        found = self.worth
        for share in shares:
            found *= share
        return found

    @property
    def hopeful(self) -> Utility:
        """With concave envelopes: nowhere less than this one. They begin where nobody serves, or at twice the last latency."""
        return replace(
            self,
            latency=_envelope_falling(self.latency),
            availability=_envelope_rising(self.availability),
            throughput=_envelope_rising(self.throughput),
        )


def at(points: Points, x: float) -> float:
    """The function's value; points ascend, two at least."""
    after = bisect_right(points, x, key=_x)
    if after == 0:
        return points[0][1]
    if after == len(points):
        return points[-1][1]
    (x0, y0), (x1, y1) = points[after - 1], points[after]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


def _x(point: tuple[float, float]) -> float:
    return point[0]


def _envelope_rising(points: Points) -> Points:
    return envelope(((0.0, points[0][1]), *points)) if points else ()


def _envelope_falling(points: Points) -> Points:
    """Of the function of -x, turned round: less latency is more."""
    if not points:
        return ()
    last, y = points[-1]
    turned = ((-2.0 * last - 1.0, y), *((-x, y) for x, y in reversed(points)))
    return tuple((-x, y) for x, y in reversed(envelope(turned)))


def envelope(points: Sequence[tuple[float, float]]) -> Points:
    """Upper concave envelope of a function through ascending points (Andrew's monotone chain); of two at one x the higher."""
    found: list[tuple[float, float]] = []
    for x, y in points:
        if found and found[-1][0] == x:
            y = max(y, found.pop()[1])
        while len(found) > 1 and _below(found[-2], found[-1], (x, y)):
            found.pop()
        found.append((x, y))
    return tuple(found)


def _below(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """Whether `b` is on or under the line from `a` to `c`."""
    return (b[1] - a[1]) * (c[0] - a[0]) <= (c[1] - a[1]) * (b[0] - a[0])
