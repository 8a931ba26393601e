"""Availability of data that change against the number of replicas: runs of `bench.availability`'s instances, and the planner's
forecast for the curve between them."""

from __future__ import annotations

from collections.abc import Sequence

from opus_controller.bench.availability.played import counted
from opus_controller.bench.availability.table import TRAIN
from opus_controller.bench.availability.worlds import Size, plan_of, plans_of, sized
from opus_controller.claims.claim import Figures
from opus_controller.model.plan import Plan
from opus_controller.planner.choose import NEAR, SPREAD, Forecast

RATE = 0.25
"""Of the instances' requests a second, in runs: what fails is a matter of how many incidents there are, not of how often one "
"asks."""
RECONFIGURED, STATIC = MEMBERSHIPS = ("reconfigured", "static")


def played(family: str, replicas: int, seed: int, duration_s: float) -> Figures:
    """One run: of each application, and so of each mode, (requests asked, answered in time)."""
    plan = plan_of(family, seed, f"duration={duration_s:g}s")
    asked = tuple(one.model_copy(update={"rate_per_s": one.rate_per_s * RATE}) for one in plan.workload)
    plan = plan.model_copy(update={"workload": asked})
    mode = {app.name: app.consistency for app in plan.apps}
    found = counted(sized(plan, {name: Size(replicas) for name in mode}, static=False), None)
    return {mode[name]: {"asked": asked, "ok": ok} for name, (asked, ok) in found.items()}


def forecast(family: str, sizes: Sequence[int], courses: int) -> Figures:
    """By membership and mode, for each size: availability in each of `courses` courses of events, of seeds that are not run."""
    plans = plans_of(family, range(TRAIN, TRAIN + courses))
    return {
        membership: {app.consistency: _curve(plans, app.name, app.consistency, membership, sizes) for app in plans[0].apps}
        for membership in MEMBERSHIPS
    }


def _curve(plans: Sequence[Plan], app: str, mode: str, membership: str, sizes: Sequence[int]) -> list[Sequence[float]]:
    """The overlay places replicas by delay; those that stay are best spread (`planner.choose.PLACES`)."""
    static = membership == STATIC
    told = Forecast(plans, app, mode, static)
    return [told.at(size, SPREAD if static else NEAR).by_course for size in sizes]
