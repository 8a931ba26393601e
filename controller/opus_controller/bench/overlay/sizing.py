"""How many replicas a load needs, as m/n = u/(d E) says, against the least m that carries it.

    E     at m = 10: the highest open-loop load of which 99.9% is answered within 1 s / what the ten provide, by bisection
    u, d  as the steward is told: requests/s by its agents' summaries, cores by its members
    m     for half and twice the load of m = 10, by E of the other seeds; hosts' cores are drawn anew under each seed

A load is carried, or not, in a branch of the world's future of its own, so that no trial sees what another has left behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from opus_node.core.sizing import members_for
from opus_node.core.types import MILLISECOND
from opus_node.core.types import SECOND as CORE_SECOND

from opus_controller.bench.overlay import forks
from opus_controller.bench.overlay.lab import Lab
from opus_controller.bench.worlds import APP, SECOND

Figures = dict[str, Any]
Tried = list[tuple[float, float]]
"""(what was tried: a fraction of what is provided, or m; share answered), in the order of trials."""

CALIBRATED = 10
"""m."""
SERVICE = 50 * MILLISECOND
"""Of one core: twenty requests a second and core."""
CHOICE = "latency-load"
STALENESS = 5 * CORE_SECOND
OTHERS = (("latency-load", CORE_SECOND), ("latency-load", 20 * CORE_SECOND), ("latency", STALENESS), ("capacity", STALENESS))
"""Further (choice, staleness) of which E is printed."""
ANSWERED = 0.999
DEADLINE_S = 1.0
USED = 0.6
"""The load of m = 10, by what ten mean hosts provide."""
LOADS = (("half", 0.5), ("twice", 2.0))
RESIZED_S = 20.0
"""At most: for a set of another size to be found, placed and known."""
WARM_S = 8.0
"""At most: of a new load, before it counts, while tolls find their level."""
TOLD_S = 60.0
"""At most: for nodes' rates, smoothed over leases, to reach the steward."""
STEPS = 4
"""Of the bisection of E, between 0.1 and 1."""
MOST = 4
"""At most so many times the m that the load would need if E were 1 is looked at."""


def sizing(lab: Lab, count_s: float, choices: int) -> Figures:
    cores = [host.abilities.cpu for host in lab.plan.hosts]
    provided = _provided(lab)
    found, tried = _bisected(lab, provided, count_s, CHOICE, STALENESS)
    e = {(CHOICE, STALENESS): found}
    for choice, staleness in OTHERS[:choices]:
        e[choice, staleness], _ = _bisected(lab, provided, count_s, choice, staleness)
    figures: Figures = {
        "e": e[CHOICE, STALENESS],
        "e_by": {_name(choice, staleness): found for (choice, staleness), found in e.items()},
        "n": len(cores),
        "d": provided / len(lab.replicas()),
        "tried_e": tried,
    }
    base = USED * CALIBRATED * sum(cores) / len(cores) * SECOND / SERVICE
    for name, times in LOADS:
        rate = times * base
        figures[f"m_{name}"], figures[f"tried_{name}"] = _needed(lab, rate, count_s, figures["d"])
        told: float = forks.call(partial(_told, lab, rate, min(TOLD_S, 6 * count_s)))
        figures[f"u_{name}"] = told * SERVICE / SECOND / len(cores)
    return figures


def _name(choice: str, staleness: int) -> str:
    return f"{choice}, {staleness / CORE_SECOND:g} s"


@dataclass(frozen=True)
class Case:
    """One load under one seed."""

    load: str
    e: float
    """The other seeds' mean; of a single seed its own."""
    predicted: int
    needed: int

    @property
    def off(self) -> float:
        """How far the m predicted is off, as a share; 0 for one replica."""
        apart = abs(self.predicted - self.needed)
        return 0.0 if apart <= 1 else apart / self.needed


def cases(every: Sequence[Figures]) -> list[Case]:
    """Seed by seed, in the order of LOADS."""
    found = []
    for i, one in enumerate(every):
        others = [other["e"] for k, other in enumerate(every) if k != i] or [one["e"]]
        e = sum(others) / len(others)
        for name, _ in LOADS:
            found.append(Case(name, e, members_for(one["n"], one[f"u_{name}"], one["d"], e), one[f"m_{name}"]))
    return found


def errors(every: Sequence[Figures]) -> list[float]:
    return [case.off for case in cases(every)]


def _provided(lab: Lab) -> float:
    """Cores, of all members."""
    serving = set(lab.replicas())
    return sum(host.abilities.cpu for host in lab.plan.hosts if host.name in serving)


def _bisected(lab: Lab, provided: float, count_s: float, choice: str, staleness: int) -> tuple[float, Tried]:
    """(E, what was tried)."""
    low, high = 0.1, 1.0
    tried: Tried = []
    for _ in range(STEPS):
        middle = (low + high) / 2
        rate = middle * provided * SECOND / SERVICE
        share = forks.call(partial(_trial, lab, rate, count_s, None, choice, staleness))
        tried.append((middle, share))
        low, high = (middle, high) if share >= ANSWERED else (low, middle)
    return low, tried


def _needed(lab: Lab, rate: float, count_s: float, d: float) -> tuple[int, Tried]:
    """(the least m that carries `rate`, by bisection; what was tried)."""
    work = rate * SERVICE / SECOND
    low, high = max(0, int(work / d / 1.5)), min(len(lab.plan.hosts) // 2, int(MOST * work / d) + 1)
    tried: Tried = []
    while high - low > 1:
        middle = (low + high) // 2
        share = forks.call(partial(_trial, lab, rate, count_s, middle, CHOICE, STALENESS))
        tried.append((middle, share))
        low, high = (low, middle) if share >= ANSWERED else (middle, high)
    return high, tried


def _trial(lab: Lab, rate: float, count_s: float, m: int | None, choice: str, staleness: int) -> float:
    """Share answered within the deadline."""
    lab.reconfigure(load_staleness=staleness)
    lab.retell(choice=choice)
    if m is not None:
        lab.retell(replicas=m)
        lab.run_for(min(RESIZED_S, 4 * count_s))
    lab.everyone_asks(rate, deadline_s=DEADLINE_S, label="load")
    lab.run_for(min(WARM_S, 2 * count_s))
    lab.forget()
    since = lab.now
    lab.run_for(count_s)
    until = lab.now
    lab.workload({})
    lab.run_for(DEADLINE_S + 0.1)
    counted = [one for one in lab.requests if since <= one["issued_at"] < until]
    ok = sum(one["outcome"] == "ok" and one["done_at"] - one["issued_at"] <= DEADLINE_S * SECOND for one in counted)
    return float(ok / max(1, len(counted)))


def _told(lab: Lab, rate: float, wait_s: float) -> float:
    """Requests/s of all, as the steward is told."""
    lab.everyone_asks(rate, deadline_s=DEADLINE_S, label="load")
    lab.run_for(wait_s)
    for host in lab.alive():
        role = getattr(host.core, "_role", None)
        if role is not None and APP in role.stewards.acting_for():
            desk = role.stewards.desks[APP]
            return float(sum(cluster.summary.rate for _, cluster in desk.summaries.values()))
    return 0.0
