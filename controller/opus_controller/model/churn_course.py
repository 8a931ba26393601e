"""One host's ups and downs, drawn or read from a trace; in nanoseconds, by whole milliseconds.

A course begins in equilibrium: the session or absence that is under way at its start has an age and a rest drawn for that
(`Lifetimes.under_way`), so the number of hosts up and the distribution of their ages are the same, in expectation, at any time.
"""

from __future__ import annotations

import cmath
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from random import Random
from typing import Final

from opus_controller.model.availability_trace import Session
from opus_controller.model.lifetimes import Lifetimes, transform
from opus_controller.model.units import LONGEST

MILLISECOND: Final = 1_000_000
MOST_CHANGES: Final = 200_000
"""Of a whole plan: a plan is a file that people open."""
REMEMBERED: Final = 10
"""Sessions before the one under way of which a host still knows, in a course that is drawn."""


class TooMany(ValueError):
    def __init__(self) -> None:
        super().__init__(f"more than {MOST_CHANGES} departures and returns; allowed: longer sessions, fewer hosts, a shorter run")


@dataclass(frozen=True)
class Course:
    up: bool
    """At its start."""
    age: int
    """Of the session or absence under way then."""
    changes: tuple[int, ...]
    """Since the origin, ascending: each ends a session or an absence."""
    sessions: int = 0
    """Before the one under way, as far as remembered; with their sum and that of the absences."""
    up_sum: int = 0
    away_sum: int = 0

    def is_up(self, t: int) -> bool:
        """At `t`; before its start as at its start."""
        return self.up == (bisect_right(self.changes, t) % 2 == 0)


def nanoseconds(seconds: float) -> int:
    """By whole milliseconds, at least one: whose last digit differs from machine to machine does not change a plan."""
    return min(LONGEST, max(1, round(min(seconds, 1e12) * 1000)) * MILLISECOND)


def renewal(sessions: Lifetimes, downtimes: Lifetimes, rng: Random, memory: Random, start: int, end: int) -> Course:
    """Sessions and absences in turn, each independent of all others (an alternating renewal process)."""
    up = rng.random() * (sessions.mean + downtimes.mean) < sessions.mean
    age, rest = (sessions if up else downtimes).under_way(rng)
    following = (downtimes, sessions) if up else (sessions, downtimes)
    changes = _alternate(start + nanoseconds(rest), following, rng, end)
    return _remembering(Course(up, nanoseconds(age), changes), sessions.sample, downtimes.sample, memory)


def arrival(at: int, sessions: Lifetimes, downtimes: Lifetimes | None, rng: Random, end: int) -> Course:
    """Comes for the first time at `at`; leaves for good after its session unless there are downtimes."""
    if downtimes is not None:
        return Course(False, 0, _alternate(at, (sessions, downtimes), rng, end))
    leaves = at + nanoseconds(sessions.sample(rng))
    return Course(False, 0, tuple(t for t in (at, leaves) if t < end))


def traced(sessions: Sequence[Session], begin: float, speed: float, start: int, end: int) -> Course:
    """`sessions` of one measured host (seconds, in order), from `begin` on, `speed` times as fast."""
    changes: list[int] = []
    span = (end - start) / 1e9 * speed
    for t in (t for session in sessions for t in session):
        if begin < t < begin + span:
            at = start + nanoseconds((t - begin) / speed)
            changes.append(max(at, changes[-1] + MILLISECOND) if changes else at)
    now = next((s for s in sessions if s[0] <= begin < s[1]), None)
    before = [s for s in sessions if s[1] <= begin]
    since = now[0] if now else before[-1][1] if before else 0.0
    away = sum(later[0] - earlier[1] for earlier, later in zip(before, [*before[1:], *([now] if now else [])], strict=False))
    return Course(
        now is not None,
        nanoseconds((begin - since) / speed),
        tuple(t for t in changes if t < end),
        len(before),
        round(sum(s[1] - s[0] for s in before) / speed * 1000) * MILLISECOND,
        round(away / speed * 1000) * MILLISECOND,
    )


class Tide:
    """A share of hosts up that follows a cosine exactly (in expectation), whatever the distribution of sessions.

    With births at the rate B(t) a host and second, the share up is the sum of those born and still there,
    a(t) = integral of B(t - x) S(x) over x, S the sessions' survival. For a(t) = m + A cos(w (t - peak)) that is solved by
    B(t) = m / mean + A |1/T| cos(w (t - peak) - arg T), T the transform of S at w. Hosts that are away return as a Poisson
    process of rate B(t) / (1 - a(t)) each. If B were negative somewhere, sessions would be too long for the number to fall so
    fast: ValueError.
    """

    def __init__(self, sessions: Lifetimes, low: float, high: float, period: int, peak: int) -> None:
        self._sessions = sessions
        self._mean, self._swing, self._high = (low + high) / 2, (high - low) / 2, high
        self._omega = 2 * math.pi / (period / 1e9)
        self._peak = peak / 1e9
        answer = transform(sessions, self._omega)
        self._births = self._mean / sessions.mean
        self._birth_swing = self._swing / abs(answer)
        self._birth_lag = cmath.phase(answer)
        if self._birth_swing > self._births:
            most = self._births * abs(answer) / self._mean
            fits = math.floor(100 * (1 - most) / (1 + most) * high) + 1
            raise ValueError(
                f"sessions of {sessions.mean:,.0f} s in the mean are too long for so deep a fall in half a period; allowed: "
                f"low from {fits}% on, a longer period or shorter sessions"
            )

    def share(self, t: float) -> float:
        """Of hosts up at `t` seconds."""
        return self._mean + self._swing * math.cos(self._omega * (t - self._peak))

    def births(self, t: float) -> float:
        return self._births + self._birth_swing * math.cos(self._omega * (t - self._peak) - self._birth_lag)

    def course(self, rng: Random, memory: Random, start: int, end: int) -> Course:
        sessions, begin = self._sessions, start / 1e9
        up = rng.random() < self.share(begin)
        most = self._births + self._birth_swing
        if up:
            age, rest = sessions.under_way(rng)
            while rng.random() * most >= self.births(begin - age):
                age, rest = sessions.under_way(rng)
            first = start + nanoseconds(rest)
        else:
            age = self._wait(begin, -1, self._departing, most + self._swing * self._omega, rng)
            first = start + nanoseconds(self._wait(begin, 1, self.births, most, rng))
        changes = self._changes(first, up, rng, end)
        mean_away = (1 - self._mean) / self._births
        return _remembering(
            Course(up, nanoseconds(age), changes), sessions.sample, lambda r: -mean_away * math.log1p(-r.random()), memory
        )

    def _departing(self, t: float) -> float:
        """Departures a host and second: births less the growth of the share up."""
        return self.births(t) + self._swing * self._omega * math.sin(self._omega * (t - self._peak))

    def _changes(self, first: int, up: bool, rng: Random, end: int) -> tuple[int, ...]:
        changes: list[int] = []
        t, most = first, self._births + self._birth_swing
        while t < end:
            changes.append(t)
            if len(changes) > MOST_CHANGES:
                raise TooMany
            up = not up
            lasts = self._sessions.sample(rng) if up else self._wait(t / 1e9, 1, self.births, most, rng)
            t += nanoseconds(lasts)
        return tuple(changes)

    def _wait(self, t: float, direction: int, flow: Callable[[float], float], most: float, rng: Random) -> float:
        """From `t` on (or back) to the first event that meets a host that is away, flow(t) / (1 - share(t)); by thinning."""
        rate = most / (1 - self._high)
        waited = 0.0
        while True:
            waited -= math.log1p(-rng.random()) / rate
            then = t + direction * waited
            if rng.random() * rate * (1 - self.share(then)) < flow(then):
                return waited


def blacked_out(course: Course, spans: Sequence[tuple[int, int]], end: int) -> Course:
    """The same host where it is away as well during `spans` (ascending, apart): what its own course does meanwhile shows at
    the end of the span, if that is before `end`."""
    changes: list[int] = []
    edges = [edge for span in spans for edge in span]
    up = course.up
    for t in sorted(t for t in {*course.changes, *edges} if t < end):
        now = course.is_up(t) and bisect_right(edges, t) % 2 == 0
        if now != up:
            changes.append(t)
            up = now
    return replace(course, changes=tuple(changes))


def outages(rate: float, lasts: Lifetimes, rng: Random, start: int, end: int) -> Iterator[tuple[int, int]]:
    """(from, to) of each: exponential times in between. The last may end after `end`."""
    t = start
    for _ in range(MOST_CHANGES):
        t += nanoseconds(-math.log1p(-rng.random()) / rate)
        if t >= end:
            return
        over = t + nanoseconds(lasts.sample(rng))
        yield t, over
        t = over
    raise TooMany


def _alternate(first: int, kinds: tuple[Lifetimes, Lifetimes], rng: Random, end: int) -> tuple[int, ...]:
    """Changes from `first` on; what begins there is of the first kind."""
    changes: list[int] = []
    t, following = first, cycle(kinds)
    while t < end:
        changes.append(t)
        if len(changes) > MOST_CHANGES:
            raise TooMany
        t += nanoseconds(next(following).sample(rng))
    return tuple(changes)


def _remembering(
    course: Course, session: Callable[[Random], float], absence: Callable[[Random], float], memory: Random
) -> Course:
    """With a past: sessions and absences before the one under way are of the ordinary kind, by the renewal property."""
    ups = [nanoseconds(session(memory)) for _ in range(REMEMBERED)]
    aways = [nanoseconds(absence(memory)) for _ in range(REMEMBERED)]
    return replace(course, sessions=REMEMBERED, up_sum=sum(ups), away_sum=sum(aways[: REMEMBERED if course.up else -1]))
