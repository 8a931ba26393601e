"""How long a host is likely to stay, from its age and what it remembers of its past: the longer it has, the longer it will.

Sessions of a host end at a rate that is its own; over hosts rates vary like a gamma distribution. What is known of one host,
sessions ended and time up, then leaves a gamma distribution of its rate, and its next session is Lomax (Pareto II), with

    hazard = (SHAPE + sessions) / (scale + time up, this session included)

For a host without a past that is Lindy's law: half as likely to go at twice the age. `scale` says what age is young; it comes
from the ages of all candidates, so that sessions of minutes and of months are judged alike. (Bustamante and Qiao, *Friendships
that last*, WCW 2004, found Pareto lifetimes in Gnutella; Weibull and lognormal fits of other systems have falling hazards too.)
"""

from __future__ import annotations

from collections.abc import Sequence

from opus_node.core.types import SECOND, Nanos

SHAPE = 2.0
"""Sessions' worth of belief in the average host ..."""
SCALE = 1.5
"""... and by how much the scale is above the median age. Forecasts for an hour then are off by 0.02 on average where sessions are
Weibull's (0.6, 200 min), by 0.06 where they are exponential; at 1 and 1 by 0.07 and 0.08."""
YOUNGEST: Nanos = 60 * SECOND
"""The least scale: where all are born together, nobody is older than anybody by more than a start takes."""


def scale_of(ages: Sequence[Nanos], least: Nanos = YOUNGEST) -> Nanos:
    """SCALE times the median age, or `least`."""
    return max(least, int(SCALE * sorted(ages)[len(ages) // 2])) if ages else least


def hazard(age: Nanos, scale: Nanos, sessions: int = 0, up: Nanos = 0) -> float:
    """Ends per second of a session that is `age` old, after `sessions` that took `up` together."""
    return (SHAPE + sessions) * SECOND / (scale + up + age)


def expected_minutes(age: Nanos, sessions: int = 0, up: Nanos = 0) -> int:
    """How long it may be expected to stay, where all that counts is who does for longer: the inverse of its hazard with nothing
    but its own life to judge it by."""
    return int(SHAPE * (up + age) / ((SHAPE + sessions) * 60 * SECOND))


def survives(span: Nanos, age: Nanos, scale: Nanos, sessions: int = 0, up: Nanos = 0) -> float:
    """Probability that the session goes on for `span`."""
    known = scale + up + age
    return float((known / (known + span)) ** (SHAPE + sessions))
