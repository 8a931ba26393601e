"""The exact optimum of an instance: a dynamic program over how many hosts of each kind an application has.

    best(apps 1..k, hosts n) = max over m <= n of best(apps 1..k-1, n - m) + utility(app k, m)          n, m: counts by kind

Hosts of a kind are all the same to every application, so only counts matter. Any evaluator will do: every configuration of
every application is looked at. Held against an integer program (scipy's HiGHS) in the tests.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt
from opus_node.core.forecast import Forecast, Need

from opus_controller.bench.utility.instances import Instance

Floats = npt.NDArray[np.float64]


def tables(instance: Instance) -> list[Floats]:
    """By application: utility by counts of each kind, minus infinity below its floor."""
    return [_table(instance, need) for need in instance.needs()]


def _table(instance: Instance, need: Need) -> Floats:
    forecast = Forecast(need, instance.units())
    shape = tuple(kind.count + 1 for kind in instance.kinds)
    firsts = np.cumsum([0, *(kind.count for kind in instance.kinds)]).tolist()
    found = np.empty(shape)
    for counts in product(*map(range, shape)):
        members = [first + i for first, count in zip(firsts, counts, strict=False) for i in range(count)]
        found[counts] = need.utility.of(forecast.felt(members)) if len(members) >= need.floor else -np.inf
    return found


def optimum(utilities: list[Floats]) -> float:
    """The greatest sum that the hosts there are allow; minus infinity if they do not allow the floors."""
    best = np.zeros(utilities[0].shape)
    for utility in utilities:
        grown = np.full(best.shape, -np.inf)
        for counts in product(*map(range, utility.shape)):
            if utility[counts] == -np.inf:
                continue
            with_them = tuple(slice(count, None) for count in counts)
            without = tuple(slice(0, most - count) for count, most in zip(counts, utility.shape, strict=True))
            np.maximum(grown[with_them], best[without] + utility[counts], out=grown[with_them])
        best = grown
    return float(best.max())
