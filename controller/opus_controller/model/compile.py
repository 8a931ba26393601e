"""Scenario and seed to plan. All randomness of a run that can be spent beforehand is spent here.

Every purpose has a stream of its own, `Random(f"{seed}/compile/{purpose}")`, named after what it decides (an event, a
workload entry), so that adding one thing does not reshuffle the others. Only `Random.random` is used: Python promises the
same sequence for it in every version, and for no other method. No set is iterated, so PYTHONHASHSEED changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from opus_controller.model.churn import ChurnCompiler
from opus_controller.model.document import KeyPath, Problems
from opus_controller.model.errors import ScenarioError
from opus_controller.model.expectations import PER_REQUEST, SPREAD
from opus_controller.model.fields import listed, suggestion
from opus_controller.model.overlays import check_overlay
from opus_controller.model.plan import App, Expectation, Fault, OverlaySettings, Plan, Workload
from opus_controller.model.scenario import Scenario
from opus_controller.model.scenario_form import (
    AUTO,
    COPIES,
    EVERYWHERE,
    LEAST_REPLICAS,
    NONE,
    STATIC,
    AppForm,
    ScenarioForm,
    WorkloadForm,
)
from opus_controller.model.selectors import ALLOWED_STATIC, Chooser, Selector
from opus_controller.model.service import ServiceCompiler
from opus_controller.model.timeline import TimelineCompiler
from opus_controller.model.topology import Topology
from opus_controller.model.units import format_duration, format_size, shown
from opus_controller.model.utility import compiled as utilities_of

MOST_DATA = 64 << 20
"""Bytes of an application's registers: all of them are in each replica's memory, and sent to each new one."""
CELL = 64
"""Bytes of a register besides its value, about."""
NEEDED: Mapping[str, tuple[Callable[[AppForm], object], str]] = {
    "utility": (lambda app: app.utility, "without a utility; allowed: where there is one"),
    "consistency": (lambda app: app.consistency != NONE, f"which promises none; allowed: where consistency is not {NONE}"),
    SPREAD: (lambda app: app.spread, "without spread; allowed: where there is a bound"),
    "shards": (lambda app: app.shards, "which has none; allowed: of an application with shards"),
}
"""By what a figure is about: what an application has to have for it, and how it is said that none has."""
MOST_UPDATE = (64 << 10) - 8
"""Bytes of a write that replicas tell each other of (opus_node.core.updates.MOST, less the key)."""


def compile_plan(scenario: Scenario, seed: int | None = None) -> Plan:
    """The plan of a scenario; `seed` stands in for the scenario's own.

    Raises ScenarioError (one line with file, line, key and what is allowed) for what does not fit together.
    """
    return _Compiler(scenario, scenario.form.seed if seed is None else seed).plan()


def plan_of_topology(topology: Topology, *, seed: int = 1, apps: Sequence[App] = (), duration_ns: int) -> Plan:
    """A plan that only brings a network up: no workload, no faults, nothing expected. For `opus up`."""
    chosen = _spread(topology, 3, _stream(seed, "seeds"))
    return _plan(topology, name=topology.name, seed=seed, duration_ns=duration_ns, seeds=chosen, apps=tuple(apps))


def _stream(seed: int, purpose: str) -> Random:
    return Random(f"{seed}/compile/{purpose}")


def _bounds(app: AppForm) -> dict[str, int]:
    """Of what a read may miss, where they were given."""
    given = {"staleness_ns": app.staleness, "missed": app.missed}
    return {key: value for key, value in given.items() if value is not None}


def _plan(topology: Topology, *, name: str, seed: int, duration_ns: int, seeds: tuple[str, ...], apps: tuple[App, ...]) -> Plan:
    return Plan(
        name=name,
        seed=seed,
        topology=topology.name,
        duration_ns=duration_ns,
        sites=tuple(site.name for site in topology.sites),
        places=tuple(site.place for site in topology.sites),
        hosts=topology.hosts,
        paths=topology.paths,
        seeds=seeds,
        apps=apps,
    )


def _spread(topology: Topology, count: int, rng: Random) -> tuple[str, ...]:
    """`count` hosts drawn so that no site has two while another has none; in the topology's order."""
    by_site: dict[str, list[tuple[float, str]]] = {}
    for host in topology.hosts:
        by_site.setdefault(host.site, []).append((rng.random(), host.name))
    order = sorted((rng.random(), site) for site in by_site)
    ranked = [sorted(by_site[site]) for _, site in order]
    rounds = max(len(hosts) for hosts in ranked)
    drawn = [hosts[k][1] for k in range(rounds) for hosts in ranked if k < len(hosts)][:count]
    return tuple(host.name for host in topology.hosts if host.name in drawn)


class _Compiler:
    def __init__(self, scenario: Scenario, seed: int) -> None:
        self._form: ScenarioForm = scenario.form
        self._topology = scenario.topology
        self._problems = Problems(scenario.document)
        self._seed = seed
        self._chooser = Chooser(scenario.topology)
        self._apps = [app.name for app in self._form.applications]

    def plan(self) -> Plan:
        self._check_apps()
        check_overlay(self._problems, self._form)
        members = [self._members(k, app) for k, app in enumerate(self._form.applications)]
        services = ServiceCompiler(self._problems, self._form).compile()
        utilities = utilities_of(self._problems, self._form, len(self._topology.hosts))
        seeds = self._seeds()
        workload = self._workload()
        draws = partial(_stream, self._seed)
        named = [event.name for event in self._form.timeline if event.name]
        churn = ChurnCompiler(self._problems, self._topology, self._form, self._static, draws).compile(seeds, named)
        compiler = TimelineCompiler(self._problems, self._topology, self._apps, self._form.duration, draws, churn.absent)
        timeline = compiler.compile(self._form.timeline)
        self._check_roles_have_clients(timeline, workload)
        timeline = tuple(sorted((*timeline, *churn.timeline), key=lambda fault: fault.at_ns))
        expectations = self._expectations(timeline)
        self._problems.raise_if_any()
        base = _plan(
            self._topology,
            name=self._form.name,
            seed=self._seed,
            duration_ns=self._form.duration,
            seeds=seeds,
            apps=tuple(
                App(
                    name=app.name,
                    **self._size(app),
                    policy=app.policy,
                    service=service,
                    service_time_ns=app.service_time,
                    queue_ns=app.queue,
                    choice=app.choice,
                    hedge_ns=app.hedge or 0,
                    utility=utility,
                    memory=app.memory,
                    storage=app.storage,
                    consistency="" if app.consistency == NONE else app.consistency,
                    **_bounds(app),
                    static=app.membership == STATIC,
                    members=who,
                    spread=app.spread or 0.0,
                    shards=app.shards or 0,
                    copies=(app.copies or COPIES) if app.shards else COPIES,
                )
                for app, service, utility, who in zip(self._form.applications, services, utilities, members, strict=True)
            ),
        )
        return base.model_copy(
            update={
                "overlay": OverlaySettings(**self._form.overlay.model_dump()),
                "workload": workload,
                "timeline": timeline,
                "churn": churn.churn,
                "expectations": expectations,
                "availability_target": self._form.availability_target,
                "fidelity": self._form.fidelity,
                "validity": self._form.validity,
            }
        )

    def _check_apps(self) -> None:
        hosts = len(self._topology.hosts)
        for k, app in enumerate(self._form.applications):
            if app.name in self._apps[:k]:
                self._problems.add(("applications", k, "name"), f"{shown(app.name)} is given twice; allowed: names that differ")
            self._check_needs(k, app)
            if app.spread is not None and hosts == 1:
                message = f"there is one host in {self._topology.name}, and nobody to tell; allowed: with 2 hosts or more"
                self._problems.add(("applications", k, "spread"), message)
            if app.policy == EVERYWHERE:
                continue
            key, least = ("min_replicas", app.min_replicas or 1) if app.replicas == AUTO else ("replicas", int(app.replicas or 0))
            if least > hosts:
                message = f"{least} replicas on {hosts} hosts; allowed: at most {hosts}, the hosts of {self._topology.name}"
                self._problems.add(("applications", k, key), message)

    def _check_needs(self, k: int, app: AppForm) -> None:
        """Somebody must be able to serve it; how many need not, as they may be fewer at any time."""
        for key, needed in (("memory", app.memory), ("storage", app.storage)):
            most = max((getattr(host.abilities, key) for host in self._topology.hosts), default=0)
            if needed > most:
                message = f"{format_size(needed)} of {key}, but no host has more than {format_size(most)}; allowed: at most that"
                self._problems.add(("applications", k, key), message)

    def _members(self, k: int, app: AppForm) -> tuple[str, ...]:
        """In the order given, since the first may be the primary: as many as there are to be, each with what a replica needs."""
        if app.members is None:
            return ()
        keys: KeyPath = ("applications", k, "members")
        some = [self._static(keys, (one,), f"applications/{app.name}/members/{i}") for i, one in enumerate(app.members)]
        hosts = tuple(dict.fromkeys(host for part in some for host in part))
        if hosts and len(hosts) != app.replicas:
            self._problems.add(keys, f"{len(hosts)} hosts, but replicas: {app.replicas}; allowed: as many")
        for host in self._topology.hosts:
            short = host.abilities.memory < app.memory or host.abilities.storage < app.storage
            if host.name in hosts and short:
                needs = f"{format_size(app.memory)} of memory and {format_size(app.storage)} of storage"
                self._problems.add(keys, f"{host.name} has less than {needs}; allowed: hosts that have it")
        return hosts

    def _size(self, app: AppForm) -> dict[str, Any]:
        hosts = len(self._topology.hosts)
        if app.replicas != AUTO:
            return {"replicas": hosts if app.policy == EVERYWHERE else app.replicas}
        least = app.min_replicas or min(LEAST_REPLICAS, hosts)
        most = min(app.max_replicas or hosts, hosts)
        return {"replicas": least, "most": max(least, most), "availability": self._form.availability_target}

    def _seeds(self) -> tuple[str, ...]:
        given = self._form.seeds
        if isinstance(given, int):
            explicit = "seeds" in self._form.model_fields_set
            if given > len(self._topology.hosts) and explicit:
                hosts = len(self._topology.hosts)
                self._problems.add(("seeds",), f"{given} seeds of {hosts} hosts; allowed: at most {hosts}")
            return _spread(self._topology, given, _stream(self._seed, "seeds"))
        return self._static(("seeds",), given, "seeds")

    def _static(self, keys: KeyPath, selectors: Sequence[Selector], purpose: str) -> tuple[str, ...]:
        """The hosts of selectors that must be known before the run."""
        try:
            for selector in selectors:
                if selector.role or selector.same_as or selector.rest:
                    raise ValueError(f"{shown(selector.text)} is known only while running; allowed: {ALLOWED_STATIC}")
            hosts = self._chooser.choose(selectors, lambda k: _stream(self._seed, f"{purpose}/{k}"))
            if not hosts:
                raise ValueError("means no host of this topology; allowed: at least one")
        except ValueError as error:
            self._problems.add(keys, str(error))
            return ()
        return hosts

    # --- workload ---

    def _workload(self) -> tuple[Workload, ...]:
        made: list[Workload] = []
        names: list[str] = []
        for k, form in enumerate(self._form.workload):
            keys: KeyPath = ("workload", k)
            app = self._app(keys, form)
            name = form.name or f"{app}/{', '.join(selector.text for selector in form.clients)}"
            if form.name and form.name in names:
                self._problems.add((*keys, "name"), f"{shown(name)} is given twice; allowed: names that differ")
            self._check_registers(keys, form, app)
            self._check_updates(keys, form, app)
            names.append(name)
            repeat = names.count(name)
            made.extend(self._clients(keys, form, app, name if repeat == 1 else f"{name}#{repeat}"))
        return tuple(made)

    def _app(self, keys: KeyPath, form: WorkloadForm) -> str:
        if form.app is None and len(self._apps) == 1:
            return self._apps[0]
        if form.app in self._apps:
            return form.app
        known = listed(self._apps)
        if form.app is None:
            self._problems.add(keys, f"the key 'app' is missing; there are several applications; allowed: {known}")
        else:
            hint = suggestion(form.app, self._apps)
            self._problems.add((*keys, "app"), f"there is no application {shown(form.app)}; {hint}allowed: {known}")
        return form.app or ""

    def _check_registers(self, keys: KeyPath, form: WorkloadForm, app: str) -> None:
        """All registers of an application are in each replica's memory, each with its key, tag and value."""
        if form.write_share and any(one.name == app and one.consistency != NONE for one in self._form.applications):
            most = MOST_DATA // (form.request_size + CELL)
            if form.keys > most:
                message = (
                    f"{form.keys} registers of {format_size(form.request_size)} are more than move at once, "
                    f"{format_size(MOST_DATA)}; allowed: at most {most} keys, or a smaller request_size"
                )
                self._problems.add((*keys, "keys" if "keys" in form.model_fields_set else "request_size"), message)

    def _check_updates(self, keys: KeyPath, form: WorkloadForm, app: str) -> None:
        if form.write_share and form.request_size > MOST_UPDATE and self._spreads(app):
            message = (
                f"writes of {format_size(form.request_size)} are too large to be spread among replicas; "
                f"allowed: at most {MOST_UPDATE} B, or no spread"
            )
            self._problems.add((*keys, "request_size"), message)

    def _spreads(self, app: str) -> bool:
        """Whether replicas of `app`, or with no name of any application, tell each other of writes."""
        return any(one.spread and app in ("", one.name) for one in self._form.applications)

    def _clients(self, keys: KeyPath, form: WorkloadForm, app: str, name: str) -> list[Workload]:
        clients = self._static((*keys, "clients"), form.clients, f"workload/{name}")
        end = self._form.duration
        stop = end if form.stop is None else form.stop
        if form.first_key >= form.keys:
            message = f"{form.first_key} is not one of {form.keys} keys; allowed: 0 to {form.keys - 1}"
            self._problems.add((*keys, "first_key"), message)
        start = self._form.settle if form.start is None else form.start
        if stop > end:
            message = (
                f"{format_duration(stop)} is after the end of the run; allowed: at most the duration, {format_duration(end)}"
            )
            self._problems.add((*keys, "stop"), message)
        if start >= stop:
            which = next((key for key in ("start", "stop") if getattr(form, key) is not None), None)
            where = (*keys, which) if which else ("settle",) if "settle" in self._form.model_fields_set else ("duration",)
            message = f"the workload would start at {format_duration(start)} and stop at {format_duration(stop)}"
            self._problems.add(where, f"{message}; allowed: a start (or settle) before the stop (or duration)")
        if not clients or start >= stop:
            return []
        rate = form.rate if form.rate is not None else (form.total_rate or 0.0) / len(clients)
        return [
            Workload(
                client=client,
                app=app,
                seed=f"{self._seed}/workload/{name}/{client}",
                rate_per_s=rate,
                start_ns=start,
                stop_ns=stop,
                deadline_ns=form.deadline,
                keys=form.keys,
                zipf=form.zipf,
                first_key=form.first_key,
                write_share=form.write_share,
                request_bytes=form.request_size,
                reply_bytes=form.reply_size,
            )
            for client in clients
        ]

    # --- faults and expectations ---

    def _check_roles_have_clients(self, timeline: Sequence[Fault], workload: Sequence[Workload]) -> None:
        """A site is chosen for its clients; without any the event could never find one."""
        served = [load.app for load in workload]
        for k, event in enumerate(self._form.timeline):
            for key in ("partition", "crash", "power_off", "pause", "strain", "flood"):
                for selector in getattr(event, key) or ():
                    app = selector.app or (self._apps[0] if len(self._apps) == 1 else "")
                    if selector.role == "site-without-replica" and app in self._apps and app not in served:
                        where: KeyPath = ("timeline", k, key.replace("_", "-"))
                        self._problems.add(where, f"no clients of {app} in the workload; allowed: an application with clients")

    def _expectations(self, timeline: Sequence[Fault]) -> tuple[Expectation, ...]:
        faults = [fault.name for fault in timeline]
        sites = [site.name for site in self._topology.sites]
        made = []
        for k, form in enumerate(self._form.expectations):
            for what, name, known in (
                ("application", form.app, self._apps),
                ("site", form.site, sites),
                ("event", form.after, faults),
            ):
                if name and name not in known:
                    hint = suggestion(name, known)
                    allowed = listed(known) or "none, the timeline is empty"
                    self._problems.add(("expectations", k), f"there is no {what} {shown(name)}; {hint}allowed: {allowed}")
            if not self._form.workload and form.figure.split(".")[0] in PER_REQUEST:
                self._problems.add(("expectations", k), f"{form.figure} without a workload; allowed: what needs no requests")
            self._check_of_app(k, form.figure, form.app)
            if form.outside_churn and not self._form.churn:
                self._problems.add(
                    ("expectations", k), "outside churn, of which there is none; allowed: outside ... after faults"
                )
            if form.figure.startswith("recovery_s") and not timeline and not self._problems:
                self._problems.add(("expectations", k), f"{form.figure} without a timeline; allowed: expectations of steady runs")
            made.append(
                Expectation(
                    name=form.name,
                    figure=form.figure,
                    op=form.op,
                    bound=form.bound,
                    app=form.app,
                    site=form.site,
                    outside_faults_ns=form.outside,
                    outside_churn=form.outside_churn,
                    reachable=form.reachable,
                    fault=form.after,
                )
            )
        return tuple(made)

    def _check_of_app(self, k: int, figure: str, app: str) -> None:
        """Whether there is anything that it could be about."""
        about = figure.split(".")[0]
        if about not in NEEDED:
            return
        has, lacking = NEEDED[about]
        whose = shown(app) if app else "any application"
        if not any(has(one) and app in ("", one.name) for one in self._form.applications):
            self._problems.add(("expectations", k), f"{figure} of {whose}, {lacking}")
        elif about == SPREAD and not any(self._spreads(one) and app in ("", one) for one in self._written()):
            message = f"{figure} of {whose}, to which nobody writes; allowed: with a write_share in its workload"
            self._problems.add(("expectations", k), message)

    def _written(self) -> list[str]:
        """Applications to which clients write."""
        return [load.app or self._apps[0] for load in self._form.workload if load.write_share]


# Plans in files


def save_plan(plan: Plan, path: Path) -> None:
    """Write the plan's canonical bytes."""
    path.write_bytes(plan.canonical())


def load_plan(path: Path) -> Plan:
    """Read a plan that `save_plan` wrote. Raises ScenarioError if it is none, or if a byte of it was changed in form."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        return Plan.model_validate_json(raw)
    except ValueError as error:
        reason = " ".join(str(error).splitlines()[0:3])[:200]
        raise ScenarioError(f"{path}: is not a plan of this version of Opus ({reason}); make it anew with `opus plan`") from None
