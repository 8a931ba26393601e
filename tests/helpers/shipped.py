"""The scenarios that come with Opus, played on real hosts in less time than they take: things happen sooner and end sooner."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet
from opus_controller.engine import needs
from opus_controller.engine.runtime import RunInfo
from opus_controller.model.compile import compile_plan
from opus_controller.model.errors import ScenarioError
from opus_controller.model.plan import Plan
from opus_controller.model.scenario import load_scenario
from opus_controller.model.settings import parse_setting

from helpers.netns_runs import leftovers, start_run, state_of, until

SCENARIOS = {path.stem: path for path in sorted((Path(__file__).parents[2] / "scenarios").glob("*.yaml"))}
NO_FAULT = {
    "steady": "nothing breaks",
    "hot-spot": "demand moves, nothing breaks",
    "competing": "applications share hosts, nothing breaks",
    "rush": "applications share hosts, nothing breaks",
}
SOONER = 0.3
"""What a scenario takes after `settle`, by what it says."""
OTHERWISE = {"churn": 0.1, "memory": 1.0, "seti": 0.6, "updates": 0.6}
"""Churn is alike all along; a program that runs short of memory takes its time to be ended, a subset to grow to all hosts; of
updates those of the last 10 s are not judged."""
JOINED = 0.6
"""Of `settle`, which is ample."""
GENTLER = {"flood": ("timeline.0.rate=40/s", "timeline.1.rate=40/s")}
"""What two cores can carry beside another run; ten times the clients' own rate is the simulator's, and a quiet machine's."""
LEFT_OUT = "validity=exclude"
"""Seconds that the machine spoilt are in no figure, so that the others can be held to what is expected."""
TRIES = 2
SHARED = 2
"""How many times longer than expected a request may take where a second run and other processes share the cores: what a scenario
expects is the simulator's, and a quiet machine's."""
COUNTS = {"requests.shed", "replicas"}
"""At least so many are expected: of what is counted, or grows, a shorter run has less."""


def part(name: str) -> float:
    return OTHERWISE.get(name, SOONER)


def sooner(name: str) -> list[str]:
    """KEY=VALUE settings by which a scenario takes a part of its time. What flaps does so as often as before."""
    form, factor = load_scenario(SCENARIOS[name]).form, part(name)
    settle = form.settle if factor == 1 else form.settle * JOINED

    def at(ns: int) -> str:
        return span(settle + (ns - form.settle) * factor)

    def span(ns: float) -> str:
        return f"{round(ns / 1e6)}ms"

    settings = {"settle": span(settle), "duration": at(form.duration)}
    for k, event in enumerate(form.timeline):
        settings[f"timeline.{k}.at"] = at(event.at)
        if event.for_ is not None:
            settings[f"timeline.{k}.for"] = span(event.for_ * factor)
    for k, load in enumerate(form.workload):
        times = {"start": load.start, "stop": load.stop}
        settings |= {f"workload.{k}.{key}": at(ns) for key, ns in times.items() if ns is not None}
    if form.churn and form.churn[0].start is not None:
        settings["churn.start"] = at(form.churn[0].start)
    return [LEFT_OUT, *(f"{key}={value}" for key, value in settings.items()), *GENTLER.get(name, ())]


@dataclass(frozen=True)
class Played:
    plan: Plan
    factor: float
    """What it took of its time."""
    code: int
    result: dict[str, Any]
    errors: str
    left: dict[str, list[str]]
    """On the machine, of the run."""

    def assert_it_holds(self) -> None:
        """What the scenario promises, unless the machine was too busy for the whole run to mean anything."""
        assert self.code in (0, 1, 4), self.errors
        assert self.left == {}
        assert self.result["plan_digest"] == self.plan.digest
        assert self.result["died"] == []
        assert {fault.name for fault in self.plan.timeline} <= {fault["name"] for fault in self.result["faults"]}
        if self.code == 4:
            assert self.result["validity"]["reasons"], "invalid, and does not say why"
            return
        assert self.result["expectations"]
        missed = [one for one in self.result["expectations"] if not self._holds(one)]
        assert missed == [], f"{missed}\n{self.errors}"

    def _holds(self, expected: dict[str, Any]) -> bool:
        """As it says. But what takes its time after a fault however long that lasts is so much more of a shorter run, and what is
        counted is less of one; where the machine spoilt all the seconds that a figure is of, there is none, and a count lacks
        what was in them; and what may take longer than there is until something else happens cannot be missed."""
        if expected["note"] == "no data":
            return bool(self.result["validity"]["spans"])
        if expected["note"] == "never, by the end":
            return bool(self.result["validity"]["spans"])
        if expected["note"] == "did not recover":
            fault = expected["name"].partition(" after ")[2]
            return bool(fault) and bool(expected["target"] > self._span_after(fault))
        if expected["figure"] == "availability" and " outside " not in expected["name"]:
            return bool(1 - expected["actual"] <= (1 - expected["target"]) / self.factor)
        if "latency_ms" in expected["figure"]:
            return bool(expected["actual"] <= expected["target"] * SHARED)
        if expected["figure"] in COUNTS and not expected["ok"]:
            return bool(self.result["validity"]["spans"] or expected["actual"] >= expected["target"] * self.factor)
        return bool(expected["ok"])

    def _span_after(self, fault: str) -> float:
        """Seconds from it to the next that is another."""
        times = {one["name"]: one["at_s"] for one in self.result["faults"]}
        return float(
            min((at for at in times.values() if at >= times[fault] + 1), default=self.plan.duration_ns / 1e9) - times[fault]
        )


def play(name: str, runtime: str, directory: Path) -> Played:
    """To the end; once more if the machine was too busy."""
    settings = sooner(name)
    plan = compile_plan(load_scenario(SCENARIOS[name], [parse_setting(setting) for setting in settings]))
    for attempt in range(TRIES):
        process = start_run(SCENARIOS[name], directory / f"{name}-{attempt}", runtime, settings)
        run = until("a run's state", lambda: state_of(process))  # noqa: B023
        output, errors = process.communicate(timeout=200)
        if process.returncode != 4:
            break
    return Played(plan, part(name), process.returncode, json.loads(output), errors, leftovers(run))


@contextmanager
def side_by_side(names: Sequence[str], runtime: str, directory: Path, at_a_time: int = 2) -> Iterator[dict[str, Future[Played]]]:
    """They are played in this order."""
    with ThreadPoolExecutor(at_a_time) as pool:
        yield {name: pool.submit(play, name, runtime, directory) for name in names}
        pool.shutdown(cancel_futures=True)


def chosen(request: pytest.FixtureRequest) -> list[str]:
    """The `name` of each of the module's tests that are to be run."""
    mine = [item for item in request.session.items if item.path == request.path]
    return [str(item.callspec.params["name"]) for item in mine if isinstance(item, pytest.Function)]


def params(names: Iterable[str], seldom: Collection[str]) -> list[ParameterSet]:
    """For `parametrize`: some of them only in `make soak`, as what they do to real hosts others do as well."""
    return [pytest.param(name, marks=[pytest.mark.soak] if name in seldom else []) for name in names]


def impossible(name: str, runtime: str) -> str:
    """Why the product refuses the scenario there before anything starts; empty if it does not."""
    plan = compile_plan(load_scenario(SCENARIOS[name]))
    try:
        needs.check(plan.timeline, RunInfo(runtime, "userspace"), plan.apps)
    except ScenarioError as refused:
        return str(refused)
    return ""
