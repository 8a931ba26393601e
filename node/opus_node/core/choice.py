"""Which of several replicas a request goes to: functions of quality of service that an application names (`AppConfig.choice`).

A choice gets the replicas that answer, as the chooser knows them (a node its cache, an agent the whole set), and a generator,
and returns the index of one. It must depend on nothing else: the same run twice makes the same choices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from opus_node.core.types import AppConfig, Nanos, NodeId

ALIKE = 1.2
"""Within this factor of the best, replicas are equally good (DESIGN section 4, Route)."""
UNKNOWN_SPARE = 1.0
"""Thousandths of a core that are free where nobody has told, if nobody has told of any other either."""


@dataclass(frozen=True, slots=True)
class Option:
    """One replica as the chooser sees it."""

    node: NodeId
    rtt: Nanos
    """Round trip, measured; `rtt.UNKNOWN` if it was not."""
    used: int = 0
    """Per cent of what it can do that was asked of it, as last heard; above 100 if more."""
    toll: Nanos = 0
    """How much longer a round trip a request should rather take than come here (`load`)."""
    spare: int = -1
    """Thousandths of a core that are free; -1: not heard lately."""


Choice = Callable[[Sequence[Option], Random], int]


def latency(options: Sequence[Option], rng: Random) -> int:
    """The least round trip; load is looked at by nobody, what a replica turns away goes where it says."""
    return min(range(len(options)), key=lambda i: (options[i].rtt, options[i].node))


def latency_load(options: Sequence[Option], rng: Random) -> int:
    """The least round trip and toll; of two drawn from those that are about as good, the one that is used less.

    Two choices: Mitzenmacher, *The power of two choices in randomized load balancing*, IEEE TPDS 12(10), 2001.
    """
    cost = [option.rtt + option.toll for option in options]
    bound = ALIKE * min(cost)
    alike = [i for i in range(len(options)) if cost[i] <= bound]
    drawn = rng.sample(alike, 2) if len(alike) > 2 else alike
    return min(drawn, key=lambda i: (options[i].used, cost[i], options[i].node))


def capacity(options: Sequence[Option], rng: Random) -> int:
    """At random, in proportion to what is free: however far away."""
    told = [option.spare for option in options if option.spare >= 0]
    unknown = max(UNKNOWN_SPARE, sum(told) / len(told)) if told else UNKNOWN_SPARE
    weights = [unknown if option.spare < 0 else float(max(1, option.spare)) for option in options]
    mark = rng.random() * sum(weights, 0.0)
    for i, weight in enumerate(weights):
        mark -= weight
        if mark < 0:
            return i
    return len(options) - 1


LATENCY: Final = "latency"
CHOICES: Final[Mapping[str, Choice]] = {LATENCY: latency, "latency-load": latency_load, "capacity": capacity}


def by_latency(app: AppConfig) -> bool:
    """Whether nothing but latency is looked at, for which nobody need ask a function."""
    return app.choice == LATENCY and app.choose is None


def choice_of(app: AppConfig) -> Choice:
    """The function that `app` names, or has been given."""
    return app.choose or CHOICES[app.choice]


def pick(choice: Choice, options: Sequence[Option], rng: Random) -> Option:
    """What `choice` says; the nearest if it names none of them, as one of the user's own may."""
    chosen = choice(options, rng)
    return options[chosen if 0 <= chosen < len(options) else latency(options, rng)]
