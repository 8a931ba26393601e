"""What placement loses where what it knows is wrong, old or only of many hosts together: by the core's own k-median.

    delays   every pair's delay times a factor of its own, uniform in [1 - error, 1 + error]
    hosts    every host's delays times a factor of its own (at both ends): errors that do not cancel out, as of bad coordinates
    demand   every host's demand times such a factor
    sums     nothing is known but the sum of the demand of all nodes of an agent, and how far the agent is from everybody
    stale    a crowd moves from region to region; where it was so long ago is where it is taken to be

Loss: how much longer the demand's true mean delay is than with a placement by the same search that knows everything, as a share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import numpy as np
from opus_node.core.kmedian import placed

from opus_controller.bench.overlay.oracles import Floats, delays_ms, local_search, nearest
from opus_controller.bench.overlay.silence import region
from opus_controller.bench.overlay.stability import OfCore, Population
from opus_controller.claims.claim import Figures
from opus_controller.claims.measure.few import AGE_MIN
from opus_controller.claims.measure.networks import Network
from opus_controller.model.compile import plan_of_topology

DELAYS, HOSTS, DEMAND, SUMS, STALE = "delays", "hosts", "demand", "sums", "stale"
ERRORS = (0.1, 0.2, 0.5, 1.0)
NODES_EACH = (5, 22, 50, 100)
"""Nodes an agent; 22 is what Opus aims at."""
STALE_S = (15, 30, 60, 120, 300, 600)
STAYS_S = (600, 3600)
"""How long the crowd stays in a region, on the mean (exponential)."""
CROWD_HOSTS, CROWD_DEMAND = 0.15, 0.5
"""Shares: of all hosts in the crowd's region, of all demand that comes from there."""
COURSE_S, STEP_S = 48 * 3600, 15
UNEVEN = 1.0
"""Demand of hosts is lognormal: this deviation of its logarithm."""


def lost(network: Network, hosts: int, m: int, draws: int, regions: int) -> Figures:
    """By kind of error and its size, the loss in each draw."""
    made = plan_of_topology(network.topology(hosts), duration_ns=1)
    delay = delays_ms(made)
    found: dict[str, dict[str, list[float]]] = {kind: {} for kind in (DELAYS, HOSTS, DEMAND, SUMS)}
    by_chance = []
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        demand = rng.lognormal(0.0, UNEVEN, len(delay))
        exact = cost(delay, demand, places(delay, demand, m))
        by_chance.append(cost(delay, demand, rng.choice(len(delay), m, replace=False).tolist()) / exact - 1)

        def note(kind: str, level: float, chosen: Sequence[int], d: Floats = demand, best: float = exact) -> None:
            found[kind].setdefault(f"{level:g}", []).append(cost(delay, d, chosen) / best - 1)

        for error in ERRORS:
            note(DELAYS, error, places(delay * by_pair(rng, len(delay), error), demand, m))
            note(HOSTS, error, places(delay * by_host(rng, len(delay), error), demand, m))
            note(DEMAND, error, places(delay, demand * _factors(rng, len(delay), error), m))
        for each in NODES_EACH:
            if len(delay) // each >= m:
                note(SUMS, each, by_sums(delay, demand, m, each))
    even = np.ones(len(delay))
    told = OfCore(made, delay, m).fill(Population([-AGE_MIN] * len(delay)), [], [])
    return {
        "hosts": len(delay),
        "lost": found,
        "by_chance": by_chance,
        "stewards": cost(delay, even, told) / cost(delay, even, places(delay, even, m)) - 1,
        STALE: stale(delay, m, regions),
    }


def cost(delay: Floats, demand: Floats, chosen: Sequence[int]) -> float:
    """Mean delay of the demand to the nearest, ms."""
    return float(np.average(nearest(delay, chosen), weights=demand))


def places(delay: Floats, demand: Floats, m: int) -> list[int]:
    """As the core would choose among all hosts, if these were the delays (clients x hosts) and the demand."""
    columns = (delay * demand[:, None]).T.tolist()
    return placed(columns, m, [0.0] * len(columns))


def by_sums(delay: Floats, demand: Floats, m: int, each: int) -> list[int]:
    """Agents stand for the nodes nearest to them."""
    agents = np.array(local_search(delay, len(delay) // each, starts=1).chosen)
    of = delay[:, agents].argmin(axis=1)
    return places(delay[agents], np.bincount(of, weights=demand, minlength=len(agents)).astype(np.float64), m)


def by_pair(rng: np.random.Generator, count: int, error: float) -> Floats:
    """Factors, the same in both directions."""
    upper = np.triu(_factors(rng, (count, count), error), 1)
    found: Floats = upper + upper.T + np.eye(count)
    return found


def by_host(rng: np.random.Generator, count: int, error: float) -> Floats:
    own = _factors(rng, count, error)
    return np.sqrt(np.outer(own, own))


def _factors(rng: np.random.Generator, shape: int | tuple[int, int], error: float) -> Floats:
    return rng.uniform(1 - error, 1 + error, shape)


def stale(delay: Floats, m: int, regions: int) -> dict[str, dict[str, float]]:
    """By how long the crowd stays, and by how old what is known of it is, the loss over the whole course."""
    centres = Random("crowd").sample(range(len(delay)), min(regions, len(delay)))
    demands = [crowd(delay, centre) for centre in centres]
    chosen = [places(delay, demand, m) for demand in demands]
    costs = np.array([[cost(delay, demand, one) for demand in demands] for one in chosen])
    found = {}
    for stay in STAYS_S:
        where = course(len(centres), stay / STEP_S, COURSE_S // STEP_S, Random(f"course/{stay}"))
        found[str(stay)] = {str(age): _loss(costs, where, age // STEP_S) for age in STALE_S}
    return found


def _loss(costs: Floats, where: Sequence[int], late: int) -> float:
    """Of always being so many steps late. `costs`: of the placement for one crowd, while another is there."""
    now, taken = np.array(where[late:]), np.array(where[: len(where) - late])
    return float(costs[taken, now].sum() / costs[now, now].sum() - 1)


def crowd(delay: Floats, centre: int) -> Floats:
    """Demand of every host while the crowd is there."""
    there = region(delay, centre, max(1, round(CROWD_HOSTS * len(delay))))
    demand = np.full(len(delay), (1 - CROWD_DEMAND) / max(1, len(delay) - len(there)))
    demand[there] = CROWD_DEMAND / len(there)
    return demand


def course(regions: int, stay: float, steps: int, rng: Random) -> list[int]:
    """Where the crowd is at each step; it never goes where it has just been."""
    where, here = [], rng.randrange(regions)
    draw: Callable[[], float] = lambda: rng.expovariate(1 / stay)  # noqa: E731
    left = draw()
    for _ in range(steps):
        where.append(here)
        left -= 1
        while left <= 0:
            here = (here + rng.randrange(1, regions)) % regions
            left += draw()
    return where
