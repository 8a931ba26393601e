"""From a run to `result.json`: every figure once, every expectation on the requests it is about."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np

from opus_controller.engine import checks
from opus_controller.model.plan import Expectation
from opus_controller.report import figures, result, spreading, steady, worth
from opus_controller.report.recovery import of_faults
from opus_controller.report.requests import OTHER, ROUTES
from opus_controller.report.run import Run
from opus_controller.report.world import Bools

SECOND = 1_000_000_000
HOP_COST = "--hop-cost"


def build(run: Run) -> result.Result:
    """Work the result out. Deterministic: the same directory gives the same result."""
    all_figures = figures.of(run.judged)
    spread = spreading.summary(run.spread, run.world)
    utility = worth.summary(run.plan, run.judged.requests, run.decided, run.end)
    faults = of_faults(run.judged, run.world.faults, run.end, run.plan.availability_target)
    whole = {
        **all_figures.model_dump(),
        "requests": _all_requests(run).model_dump(),
        "state_entries": steady.state_entries(run.steady_samples).model_dump(),
        "control_bytes_per_s": steady.control_bytes_per_s(steady.control_rates(run.steady_samples, run.starts)).model_dump(),
        "agents": len(run.world.live(run.world.final, run.world.final.agents)),
        "replicas": sum(len(_serving(run, app.name)) for app in run.plan.apps),
        "utility": None if utility is None else utility.model_dump(),
        "consistency": None if run.consistency is None else run.consistency.model_dump(),
        "spread": None if spread is None else spread.model_dump(),
        "shards": None if run.shards is None else run.shards.model_dump(),
    }
    judged = checks.evaluate(run.plan.expectations, lambda wanted: _about(run, wanted, whole, faults))
    validity = _validity(run)
    about = run.about
    return result.Result.model_validate(
        {
            **whole,
            "verdict": checks.verdict(judged, validity.reasons),
            "scenario": run.plan.name,
            "topology": run.plan.topology,
            "seed": run.plan.seed,
            "plan_digest": run.plan.digest,
            "runtime": about.get("runtime") or "unknown",
            "links": about.get("links") or "unknown",
            "hosts": len(run.plan.hosts),
            "duration_s": run.plan.duration_ns / SECOND,
            "wall_s": about.get("wall_s"),
            "first_requests": figures.of(run.judged.where(run.judged.requests.first)),
            "repeat_requests": figures.of(run.judged.where(~run.judged.requests.first)),
            "by_route": _by_route(run),
            "by_site": _by_site(run),
            "by_app": _by_app(run),
            "floods": run.floods,
            "services": run.services,
            "faults": faults,
            "churn": run.churn,
            "expectations": [vars(check) for check in judged],
            "fidelity": about.get("fidelity") or {},
            "validity": validity,
            "facts": {**(about.get("facts") or {}), **({"chosen": about["chosen"]} if about.get("chosen") else {})},
            "versions": {name: str(version) for name, version in (about.get("versions") or {}).items()},
            "died": sorted(about.get("died") or ()),
            "started_at": about.get("started_at"),
            "command": command(run),
        }
    )


def command(run: Run) -> str:
    """The command line that makes this run again: what was chosen for it is said outright, where the result went is not."""
    scenario = run.about.get("scenario_path") or f"scenarios/{run.plan.name}.yaml"
    words = ["opus", "run", str(scenario)]
    if not run.about.get("pack"):
        words += ["--seed", str(run.plan.seed)]
    for key, value in (run.about.get("settings") or {}).items():
        words += ["--set", f"{key}={value}"]
    for option in ("runtime", "links"):
        value = run.about.get(option)
        if value and value != "model":
            words += [f"--{option}", str(value)]
    if hop_cost := hop_cost_given(run.about.get("facts") or {}):
        words += [HOP_COST, hop_cost]
    return shlex.join(words)


def hop_cost_given(facts: Mapping[str, Any]) -> str | None:
    """What `opus run --hop-cost` gave in place of the simulator's constant, by the runtime's facts."""
    option, _, value = str(facts.get("hop_cost_source")).partition(" ")
    return value if option == HOP_COST else None


def selection(run: Run, wanted: Expectation) -> Bools:
    """The requests that an expectation is about: its application, the site of its clients, outside faults, with a path."""
    requests = run.judged.requests
    mask = np.ones(requests.size, dtype=np.bool_)
    if wanted.app:
        mask &= requests.app == next((i for i, app in enumerate(run.plan.apps) if app.name == wanted.app), -1)
    if wanted.site:
        mask &= requests.site == run.world.geometry.index_of_site.get(wanted.site, -1)
    if wanted.outside_faults_ns is not None:
        since = run.since_churn if wanted.outside_churn else run.judged.since_fault
        mask &= since >= wanted.outside_faults_ns
    if wanted.reachable:
        mask &= run.judged.oracle.reachable
    return mask


def _about(run: Run, wanted: Expectation, whole: Mapping[str, Any], faults: list[result.FaultResult]) -> Mapping[str, Any]:
    """The figures an expectation is judged by: result.json's, those of requests over its selection, recovery over its faults."""
    narrowed = figures.of(run.judged.where(selection(run, wanted))).model_dump()
    narrowed["requests"] = {**whole["requests"], **narrowed["requests"]}
    of_apps: dict[str, Any] = {key: _of_app(wanted, whole[key]) for key in ("utility", "consistency", "shards")}
    if run.spread:
        of_apps["spread"] = _of_updates(run, wanted)
    if wanted.app:
        of_apps["replicas"] = len(_serving(run, wanted.app))
    return {**whole, **narrowed, **_of_hosts(run, wanted), **_recovery(run, wanted, faults), **of_apps}


def _of_hosts(run: Run, wanted: Expectation) -> dict[str, Any]:
    """State and control bytes of the hosts at the site that is meant, outside the spans that are; nothing if all of it is."""
    if not wanted.site and wanted.outside_faults_ns is None:
        return {}
    there = {host.name for host in run.plan.hosts if wanted.site in ("", host.site)}
    changes = [*run.world.faults, *(run.world.churn if wanted.outside_churn else ())]
    left = steady.Left((change.t for change in changes), wanted.outside_faults_ns or 0)
    samples = [sample for sample in run.steady_samples if sample["host"] in there]
    held = [sample for sample in samples if not left.out(int(sample["t"]), int(sample["t"]))]
    return {
        "state_entries": steady.state_entries(held).model_dump(),
        "control_bytes_per_s": steady.control_bytes_per_s(steady.control_rates(samples, run.starts, left)).model_dump(),
    }


def _of_app(wanted: Expectation, told: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Of all applications, or of the one that is meant."""
    if told is None or not wanted.app:
        return told
    return next((one for one in told["apps"] if one["app"] == wanted.app), None)


def _of_updates(run: Run, wanted: Expectation) -> dict[str, Any]:
    """Of the application that is meant, and of what was published from the event that is meant until the next."""
    since, until = 0, None
    if wanted.fault:
        since = next((fault.t for fault in run.world.faults if fault.name == wanted.fault), run.end)
        until = min((fault.t for fault in run.world.faults if fault.t > since), default=None)
    apps = [app for app in run.spread if wanted.app in ("", app.app)]
    return spreading.figures(apps, run.world, since, until)


def _recovery(run: Run, wanted: Expectation, faults: list[result.FaultResult]) -> dict[str, Any]:
    """`recovery_s` and `recovery_s.max`: the longest recovery of the faults meant; infinite if from one there was none.

    Of an application, a site or clients with a path only if the expectation says so, then from those requests alone.
    """
    if wanted.app or wanted.site or wanted.reachable:
        some = run.judged.where(selection(run, wanted.model_copy(update={"outside_faults_ns": None})))
        faults = of_faults(some, run.world.faults, run.end, run.plan.availability_target)
    meant = [fault for fault in faults if wanted.fault in ("", fault.name)]
    told = [fault for fault in meant if fault.recovered is not None]
    seconds = [float("inf") if fault.recovery_s is None else fault.recovery_s for fault in told]
    # One fault without requests to tell by leaves the bound unproven, so there is no figure at all.
    longest = max(seconds) if seconds and len(told) == len(meant) else None
    return {"recovery_s": longest} if wanted.figure == "recovery_s" else {"recovery_s": {"max": longest}}


def _all_requests(run: Run) -> result.AllRequests:
    requests = run.judged.requests
    return result.AllRequests(
        **figures.counts(requests).model_dump(),
        outcomes=figures.outcomes(requests),
        attempts_mean=float(requests.attempts.mean()) if requests.size else None,
        shed=steady.shed(run.samples, run.starts),
        reachable=figures.reachable_counts(run.judged),
    )


def _by_route(run: Run) -> dict[str, result.Figures]:
    route = run.judged.requests.route
    return {name: figures.of(run.judged.where(route == i)) for i, name in enumerate((*ROUTES, OTHER)) if bool((route == i).any())}


def _by_site(run: Run) -> list[result.SiteResult]:
    """Sites in the plan's order, those without clients too: a reader looks for them."""
    rows = []
    clients = {load.client for load in run.plan.workload}
    for s, site in enumerate(run.plan.sites):
        of_site = run.judged.where(run.judged.requests.site == s)
        hosts = [host for host in run.plan.hosts if host.site == site]
        rows.append(
            result.SiteResult(
                site=site,
                hosts=len(hosts),
                clients=sum(host.name in clients for host in hosts),
                requests=figures.counts(of_site.requests),
                reachable=figures.reachable_counts(of_site),
                routing_latency_ms=figures.routing_latency_ms(of_site.requests),
                request_latency_ms=figures.request_latency_ms(of_site.requests),
            )
        )
    return rows


def _serving(run: Run, app: str) -> frozenset[int]:
    """Live replicas at the end."""
    final = run.world.final
    return run.world.live(final, final.replicas.get(app, ()))


def _by_app(run: Run) -> list[result.AppResult]:
    return [
        result.AppResult(
            app=app.name,
            replicas_wanted=max(app.replicas, min(app.most, live)),
            replicas_live=live,
            figures=figures.of(run.judged.where(run.judged.requests.app == a)),
        )
        for a, app in enumerate(run.plan.apps)
        for live in (len(_serving(run, app.name)),)
    ]


def _validity(run: Run) -> result.Validity:
    """By the plan's setting: breaches make the run invalid, or are noted. What is wrong of the whole run cannot be left out."""
    judged, setting = run.validity, run.plan.validity
    left_out = run.everyone.requests.size - run.judged.requests.size
    reasons = list(judged.problems)
    notes: list[str] = []
    for breach in judged.breaches:
        bad = setting == "strict" or (setting == "exclude" and breach.whole)
        (reasons if bad else notes).append(str(breach))
    if 2 * left_out > run.everyone.requests.size:
        reasons.append(f"{left_out} of {run.everyone.requests.size} requests would have to be left out: too little is left")
    return result.Validity(
        ok=not reasons,
        reasons=reasons,
        setting=setting,
        notes=notes,
        excluded_requests=left_out,
        spans=[result.InvalidSpan(from_s=b.from_s, to_s=b.to_s, reason=f"{b.what}: {b.why}") for b in judged.stretches],
    )
