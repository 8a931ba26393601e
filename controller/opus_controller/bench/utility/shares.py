"""Shares that follow demand against shares that do not: the same pool, the same algorithm, demand drawn anew in every epoch.

following   allocated anew in each epoch, from the allocation of the one before; hosts that move cost utility
static      each application has its number of hosts for good, by its mean work (D'Hondt); which hosts they are the algorithm
            chooses anew in each epoch, and moving costs nothing: with fixed hosts it could only reach less
chosen      the same, with the numbers that the algorithm itself finds best for mean demand, and what is left then by D'Hondt
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, log, sqrt
from random import Random

from opus_node.core.allocate import Allocation, allocate
from opus_node.core.forecast import Need, Unit

from opus_controller.bench.utility.instances import Instance, normal

MOVING = 0.01
"""Of an application's worth: what a host must bring it in an epoch to be moved there."""


@dataclass(frozen=True)
class Shares:
    """Sums of utility over epochs."""

    following: float
    """Net of moving."""
    static: float
    chosen: float
    moved: int
    """Hosts that began to serve another application."""
    epochs: int


def compared(instance: Instance, deviation: float, epochs: int, rng: Random) -> Shares:
    """`deviation`: coefficient of variation of each application's demand over epochs (lognormal, independent)."""
    units, needs = instance.units(), instance.needs()
    at_first = allocate(units, needs)
    best = _counts(at_first, needs, len(units))
    by_work = divided([need.floor for need in needs], needs, len(units))
    following = static = chosen = 0.0
    moved, now = 0, at_first.serves
    for _ in range(epochs):
        asked = [_times(need, lognormal(deviation, rng)) for need in needs]
        found = allocate(units, [replace(need, moving=MOVING * need.utility.worth) for need in asked], now)
        moved += sum(app != now.get(unit) for unit, app in found.serves.items())
        now = found.serves
        following += found.utility - found.moving
        static += _placed(units, asked, by_work)
        chosen += _placed(units, asked, best)
    return Shares(following, static, chosen, moved, epochs)


def lognormal(deviation: float, rng: Random) -> float:
    """Of mean 1."""
    sigma = sqrt(log(1 + deviation * deviation))
    return exp(sigma * normal(rng) - sigma * sigma / 2)


def _times(need: Need, factor: float) -> Need:
    return replace(need, demand=tuple(factor * rate for rate in need.demand))


def _counts(found: Allocation, needs: Sequence[Need], hosts: int) -> list[int]:
    return divided([len(account.units) for account in found.accounts], needs, hosts)


def divided(held: Sequence[int], needs: Sequence[Need], hosts: int) -> list[int]:
    """`held`, and the other hosts one by one to whoever has the most work for each host it would have (D'Hondt)."""
    counts = list(held)
    work = [sum(need.demand) * need.cost for need in needs]
    for _ in range(hosts - sum(counts)):
        counts[max(range(len(counts)), key=lambda app: work[app] / (counts[app] + 1))] += 1
    return counts


def _placed(units: Sequence[Unit], needs: Sequence[Need], counts: Sequence[int]) -> float:
    """With exactly so many hosts each, where they do most."""
    return allocate(units, [replace(need, floor=count, most=count) for need, count in zip(needs, counts, strict=True)]).utility
