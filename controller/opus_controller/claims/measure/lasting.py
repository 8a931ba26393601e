"""Do chosen members live longer than random ones? Membership without messages (`bench.overlay.stability`), under three laws.

    weibull       shape 0.6: heavy-tailed; half of the sessions are shorter than 109 of a mean of 301 minutes
    pareto        Lomax's, P(longer than x) = (1 + x / scale)^-shape: the tail is a power law
    exponential   the control: age tells nothing

Each with the members chosen at random, by age alone, and as the core does it by default: where delays allow it.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from opus_node.core.placement import OLDEST
from opus_node.core.types import BEST

from opus_controller.bench.overlay.oracles import delays_ms, local_search
from opus_controller.bench.overlay.stability import WEIBULL, AtRandom, Law, OfCore, Policy, Sessions, live
from opus_controller.claims.claim import Figures
from opus_controller.claims.measure.networks import Network
from opus_controller.model.compile import plan_of_topology

RANDOM = "random"
POLICIES = (RANDOM, OLDEST, BEST)
STARTS = 4
FAST = 20
"""Random members are chosen at once: so many times as many departures are waited for."""


@dataclass(frozen=True)
class Pareto:
    shape: float
    scale: float

    returns = False

    def draw(self, rng: Random, host: int) -> float:
        return self._lomax(rng, self.shape, self.scale)

    def found(self, rng: Random, host: int) -> tuple[float, float]:
        """The age's law is the sessions' with a shape less by 1; who has come to an age has the more before it."""
        age = self._lomax(rng, self.shape - 1, self.scale)
        return age, self._lomax(rng, self.shape, self.scale + age)

    @staticmethod
    def _lomax(rng: Random, shape: float, scale: float) -> float:
        return scale * (rng.paretovariate(shape) - 1)


MEAN = WEIBULL.mean
"""Minutes, of all laws."""
PARETO = Pareto(2.5, 1.5 * MEAN)
LAWS: dict[str, Law] = {"weibull": WEIBULL, "pareto": PARETO, "exponential": Sessions(1.0, MEAN)}


def lasting(network: Network, hosts: int, m: int, law: str, policy: str, departures: int, seed: int) -> Figures:
    """Until so many members have gone (FAST times as many at random): departures, hours of members and of all nodes, delay."""
    made = plan_of_topology(network.topology(hosts), seed=seed, duration_ns=1)
    delay = delays_ms(made)
    chooser: Policy
    if policy == RANDOM:
        chooser, departures = AtRandom(m, Random(f"{seed}/lasting/draws")), FAST * departures
    else:
        chooser = OfCore(made, delay, m, policy=policy)
    ideal = local_search(delay, m, starts=STARTS).mean
    arm = live(chooser, LAWS[law], delay, m, ideal, Random(f"{seed}/lasting/{law}/{policy}"), departures)
    return {
        "departures": arm.departures,
        "member_hours": arm.members_minutes / 60,
        "deaths": arm.deaths,
        "node_hours": arm.nodes_minutes / 60,
        "delay": arm.placement,
    }
