"""Utilities of a scenario to those of the plan: whether the pool can keep what is promised."""

from __future__ import annotations

from opus_controller.model.document import Problems
from opus_controller.model.plan import Utility
from opus_controller.model.scenario_form import AUTO, EVERYWHERE, MAX_REPLICAS, AppForm, ScenarioForm
from opus_controller.model.utility_form import UtilityForm


def compiled(problems: Problems, form: ScenarioForm, hosts: int) -> list[Utility | None]:
    """One an application, None where nobody said what it is worth."""
    promised = 0
    for k, app in enumerate(form.applications):
        if app.utility is None:
            continue
        most = _most(app, hosts)
        if app.utility.floor > most:
            message = f"{app.utility.floor} hosts promised, but at most {most} serve; allowed: at most {most}"
            problems.add(("applications", k, "utility", "floor"), message)
        promised += app.utility.floor
        if promised > hosts:
            message = f"{promised} hosts promised by now, and there are {hosts}; allowed: floors that all can be kept"
            problems.add(("applications", k, "utility", "floor"), message)
    return [None if app.utility is None else _one(app.utility) for app in form.applications]


def _most(app: AppForm, hosts: int) -> int:
    """Hosts that may serve it."""
    if app.policy == EVERYWHERE:
        return hosts
    if app.replicas == AUTO:
        return min(app.max_replicas or MAX_REPLICAS, hosts)
    return int(app.replicas or 0)


def _one(form: UtilityForm) -> Utility:
    return Utility(
        worth=form.worth,
        combine=form.combine,
        floor=form.floor,
        latency_quantile=form.latency.quantile if form.latency else None,
        latency_ns=tuple(form.latency.points) if form.latency else (),
        availability=tuple(form.availability.points) if form.availability else (),
        throughput_per_s=tuple(form.throughput.points) if form.throughput else (),
    )
