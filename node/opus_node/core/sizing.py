"""How many replicas: the paper's equation, what is measured for it, and what a candidate configuration would be worth.

    m / n = u / (d E)       n participants, each of which consumes u on the mean; a member provides d on the mean; the
                            system begins to overload when the fraction E of what the members provide is in use

All resources are processor time, in cores. With u near d it says m = n: everybody serves, as in SETI@home. The availability
target may ask for more members than the load does: `outlook` is what a configuration may be expected to answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

SHEDDING = 0.001
"""Share of what is asked for that is turned away: from here on the system overloads (99.9% answered)."""
CLEAN_S = 3
"""Reports in a row without any before a new overload counts as one: its first second tells E, the rest only that it lasts."""
GAIN = 0.5
"""Of a new onset of overload on the estimate of E."""
ASSUMED = 0.6
"""E before any overload was seen; more if more was carried without one."""
LEAST_E = 0.05
E_MOST = 0.75
"""Where a host overloads only when it is busy all the time, nobody would want it to be: waits grow without end towards that."""
SLACK = 0.15
"""So much less than the present m must be enough before members are laid off: each change costs transfers and cold caches."""


def members_for(n: int, u: float, d: float, e: float) -> int:
    """m of the equation: at least 1, at most n. `u` and `d` in cores, `e` in (0, 1]."""
    if n < 1 or u <= 0:
        return min(1, n)
    if d <= 0:
        return n
    return max(1, min(n, ceil(n * u / (d * max(e, LEAST_E)) - 1e-9)))


class Knee:
    """E while running: the load that the subset carried when it began to overload."""

    __slots__ = ("_carried", "_clean", "carried_most", "onsets", "seen")

    def __init__(self) -> None:
        self._carried = 0.0
        self._clean = CLEAN_S
        self.carried_most = 0.0
        """Greatest fraction carried without an overload."""
        self.seen = 0.0
        """E from the overloads so far; 0: there was none."""
        self.onsets = 0

    def report(self, asked: float, shed: float, provided: float) -> None:
        """Of one interval (seconds, not minutes): cores asked for in all, turned away thereof, and provided by all members."""
        if provided <= 0:
            return
        carried = min(1.0, max(0.0, asked - shed) / provided)
        if shed > SHEDDING * asked:
            if self._clean >= CLEAN_S:
                onset = max(carried, self._carried, LEAST_E)
                self.seen = onset if not self.onsets else self.seen + GAIN * (onset - self.seen)
                self.onsets += 1
            self._clean = 0
            return
        self._clean += 1
        self._carried = carried
        self.carried_most = max(self.carried_most, carried)

    @property
    def e(self) -> float:
        """The best estimate: from overloads, or, before the first, what was assumed or has been carried without one."""
        return self.seen if self.onsets else max(ASSUMED, min(1.0, self.carried_most))

    @property
    def overloaded(self) -> bool:
        """Whether the last report told of one."""
        return self._clean == 0


@dataclass(frozen=True, slots=True)
class Prospect:
    """A member, or somebody who may be one."""

    cores: float
    up: float
    """Probability that it lives through the time it takes to replace it."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a configuration may be expected to do."""

    availability: float
    """Share of requests answered: of each possible number of live members, what those can carry."""
    used: float
    """Work asked for / provided by all members."""


def outlook(members: Sequence[Prospect], work: float, e: float) -> Outlook:
    """Expected of these members, who live or not independently of each other, under `work` cores of demand.

    The number of live members follows the Poisson binomial distribution; k of them carry k d E.
    """
    if not members:
        return Outlook(0.0, 0.0)
    alive = [1.0]
    for one in members:
        grown = [0.0] * (len(alive) + 1)
        for k, chance in enumerate(alive):
            grown[k] += chance * (1.0 - one.up)
            grown[k + 1] += chance * one.up
        alive = grown
    provided = sum((one.cores for one in members), 0.0)
    each = provided / len(members) * e
    share = sum((chance * (min(1.0, k * each / work) if work > 0 else 1.0) for k, chance in enumerate(alive) if k), 0.0)
    return Outlook(min(1.0, share), work / provided if provided > 0 else 0.0)


def members_to_last(pool: Sequence[Prospect], least: int, most: int, work: float, e: float, target: float) -> int:
    """The least m in [least, most] whose first m of `pool` reach the availability `target`; `most` if none does."""
    for m in range(max(1, least), min(most, len(pool)) + 1):
        if outlook(pool[:m], work, e).availability >= target:
            return m
    return min(most, max(least, len(pool)))


def resized(now: int, needed: int, least: int, most: int) -> int:
    """The m to have: up at once, down only when clearly fewer are enough."""
    bounded = max(least, min(most, needed))
    return bounded if bounded >= now or now > most or bounded <= (1 - SLACK) * now else now
