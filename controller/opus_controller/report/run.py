"""One run, read from its directory and worked out once: what the figures, the tables and the plots are all made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from opus_controller.engine.record import RecordReader
from opus_controller.engine.runtime import Health
from opus_controller.engine.validity import Validity, judge, longest
from opus_controller.model.plan import Plan
from opus_controller.report import consistency, machine, services, shards, spreading
from opus_controller.report.churn import summary
from opus_controller.report.explain import DECIDED
from opus_controller.report.figures import Judged
from opus_controller.report.floods import parted
from opus_controller.report.ideal import ideal_delay
from opus_controller.report.recovery import charged_at, since_last_fault
from opus_controller.report.requests import columns, consult
from opus_controller.report.result import ChurnResult, ConsistencyResult, FloodResult, ServiceResult, ShardsResult
from opus_controller.report.steady import Sample, steady
from opus_controller.report.world import Ints, World

SECOND = 1_000_000_000


@dataclass(frozen=True)
class Run:
    """Everything a report knows. Times in ns since the origin."""

    directory: Path
    plan: Plan
    about: Mapping[str, Any]
    """run.json; what a broken-off run did not write is missing."""
    world: World
    everyone: Judged
    """All requests."""
    judged: Judged
    """Those that count: all, unless the plan says that spans in which the machine was too busy are left out."""
    validity: Validity
    samples: list[Sample]
    """All of samples/hosts.ndjson; see `steady_samples`."""
    health: list[Health]
    ended: bool
    """The record has its "end"."""
    end: int
    """Of the timeline, or of the last request issued if that was later."""
    workload_start: int | None
    """When the first client could have asked; None if the workload never began."""
    starts: Mapping[str, list[int]]
    """When each host came up, ascending."""
    churn: ChurnResult | None
    services: list[ServiceResult]
    floods: list[FloodResult]
    consistency: ConsistencyResult | None
    spread: tuple[spreading.AppTold, ...]
    """Of applications whose replicas tell each other of writes."""
    shards: ShardsResult | None
    decided: list[Mapping[str, Any]]
    """Records of who decided what on replicas, in order of time."""

    @cached_property
    def since_churn(self) -> Ints:
        """Of each request, as `judged.since_fault`, with departures and returns by churn among the faults."""
        changes = sorted([*self.world.faults, *self.world.churn], key=lambda change: change.t)
        return since_last_fault(changes, charged_at(changes, self.judged.requests))

    @cached_property
    def invalid_spans(self) -> list[tuple[float, float]]:
        """From when to when (s) the machine was too busy, in order, none over another."""
        return machine.merged(self.validity.stretches)

    @property
    def steady_samples(self) -> list[Sample]:
        return steady(self.samples, self.workload_start if self.workload_start is not None else self.end // 2)


def read(directory: Path) -> Run:
    """Read and work out the run in `directory`, finished or broken off. Raises ScenarioError if it is no run's directory."""
    reader = RecordReader(directory)
    requests: list[dict[str, Any]] = []
    registers: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    updates: list[dict[str, Any]] = []
    kinds = {"request": requests, consistency.REGISTER: registers, spreading.UPDATE: updates}
    for event in reader.events():
        kinds.get(event["kind"], others).append(event)
    last = max([e["t"] for e in others if e["kind"] in ("fault", "end")] + [r["issued_at"] for r in requests], default=0)
    ended = any(e["kind"] == "end" for e in others)
    end = max(reader.plan.duration_ns, max((r["issued_at"] for r in requests), default=0)) if ended else int(last)
    world = World(reader.plan, others, end)
    requests, floods = parted(requests, others)
    table = columns(world.geometry, requests)
    charged = charged_at(world.faults, table)
    since = since_last_fault(world.faults, charged)
    everyone = Judged(table, consult(world, table), ideal_delay(world, table), charged, since)
    health, about = list(reader.health()), reader.about()
    validity = _validity(
        about, health, machine.shown(world, table, health), None if ended else _broken_off(about, reader.plan, end)
    )
    left_out = machine.inside(table, machine.merged(validity.stretches))
    starts: dict[str, list[int]] = {}
    for event in others:
        if event["kind"] == "host_up":
            starts.setdefault(event["host"], []).append(int(event["t"]))
    starts = {host: sorted(times) for host, times in starts.items()}
    samples: list[Sample] = list(reader.samples())
    return Run(
        directory=directory,
        plan=reader.plan,
        about=about,
        world=world,
        everyone=everyone,
        judged=everyone.where(~left_out) if reader.plan.validity == "exclude" else everyone,
        validity=validity,
        samples=samples,
        health=health,
        ended=ended,
        end=end,
        workload_start=_workload_start(reader.plan, others),
        starts=starts,
        churn=summary(reader.plan, others, world.up, min(end, reader.plan.duration_ns)),
        services=services.summary(reader.plan, others),
        floods=floods,
        consistency=consistency.summary(reader.plan, registers),
        spread=spreading.told(reader.plan, updates, others, samples, world, starts),
        shards=shards.summary(reader.plan, others, registers, end),
        decided=sorted((e for e in others if e["kind"] in DECIDED), key=lambda e: int(e["t"])),
    )


def _workload_start(plan: Plan, events: Iterable[Mapping[str, Any]]) -> int | None:
    """Clients are handed their part early and begin when the plan says."""
    handed = next((int(e["t"]) for e in events if e["kind"] == "workload_start"), None)
    return None if handed is None else max([handed, *([min(load.start_ns for load in plan.workload)] if plan.workload else [])])


def _validity(about: Mapping[str, Any], health: list[Health], shown: machine.Shown, broken_off: str | None) -> Validity:
    """What the player judged it to be, judged again for a run that broke off before it could say; and what requests show."""
    problems = [] if broken_off is None else [broken_off]
    said, judged = about.get("validity"), judge(health)
    if isinstance(said, Mapping):
        lines = {str(breach) for breach in judged.breaches}
        problems += [reason for reason in said.get("reasons", ()) if reason not in lines]
    stretches = [breach for breach in (*judged.stretches, *shown.moved) if not shown.belies(breach)]
    return Validity(longest(stretches), tuple(problems), tuple(sorted(stretches, key=lambda breach: breach.from_s)))


def _broken_off(about: Mapping[str, Any], plan: Plan, end: int) -> str:
    how = {"interrupted": "was interrupted", "failed": "failed"}.get(str(about.get("ended")), "broke off")
    error = f": {about['error']}" if about.get("error") else ""
    return f"the run {how} after {end / SECOND:.0f} of {plan.duration_ns / SECOND:.0f} s{error}"
