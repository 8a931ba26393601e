"""What stewards know of an instance, in place of what is so.

demand         requests counted for 15 s (`landscape.WINDOW_S`) some seconds ago; since then every place has changed by a tenth
round trips    by coordinates, off by a fifth (lognormal; Vivaldi's median error was 11%: Dabek, Cox, Kaashoek, Morris 2004)
lives          chances to die known to a factor of about 1.6
E              known to 5%
"""

from __future__ import annotations

from dataclasses import replace
from math import exp, sqrt
from random import Random

from opus_node.core.forecast import Need, Unit
from opus_node.core.landscape import WINDOW_S

from opus_controller.bench.utility.instances import Instance, normal

DRIFT = 0.1
RTT = 0.2
LIVES = 0.5
E_ERROR = 0.05


def told(instance: Instance, rng: Random) -> tuple[list[Unit], list[Need]]:
    units = [replace(one, up=max(0.0, 1 - (1 - one.up) * exp(LIVES * normal(rng)))) for one in instance.units()]
    needs = instance.needs()
    rtts = {name: [rtt * exp(RTT * normal(rng)) for rtt in row] for name, row in needs[0].rtts.items()}
    return units, [_told(need, rtts, rng) for need in needs]


def _told(need: Need, rtts: dict[str, list[float]], rng: Random) -> Need:
    demand = tuple(_counted(rate * exp(DRIFT * normal(rng)), rng) for rate in need.demand)
    return replace(need, demand=demand, rtts=rtts, e=min(0.95, need.e * (1 + E_ERROR * normal(rng))))


def _counted(rate: float, rng: Random) -> float:
    """As counted over the window: by the normal law, which is Poisson's for as many."""
    return max(0.0, rate + sqrt(rate / WINDOW_S) * normal(rng))
