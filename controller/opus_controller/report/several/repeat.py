"""One scenario over several seeds: `repeat.json`. Means with 95% intervals, the worst verdict, the exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import isfinite
from statistics import median
from typing import Any, Literal

from opus_controller.report.result import Part, Result
from opus_controller.report.several import measures, student

REPEAT = "repeat.json"
Verdict = Literal["pass", "fail", "invalid"]
EXIT: dict[Verdict, int] = {"pass": 0, "fail": 1, "invalid": 4}
INTERRUPTED = 130
WORST: tuple[Verdict, ...] = ("fail", "invalid", "pass")
"""Worst first: a valid run that failed has failed, whatever the others are worth."""


class OneRun(Part):
    """What a comparison needs to know of a run, so that repeat.json alone can be kept as a baseline."""

    seed: int
    directory: str
    """From repeat.json's own."""
    verdict: Verdict
    plan_digest: str
    trace_digest: str | None = None
    """Of everything that every node did; in sim only."""
    wall_s: float | None
    reasons: list[str]
    """Why it is invalid."""
    figures: dict[str, float | None]
    """By the names of expectations; null: nothing measured."""
    did_not_recover: bool
    """From a fault; then recovery_s.max is null."""


class Summary(Part):
    """A figure over the valid runs that have it."""

    runs: int
    mean: float
    low: float | None
    """Student's 95% interval of the mean; null for a single run."""
    high: float | None
    median: float
    min: float
    max: float


class Held(Part):
    name: str
    held: int
    runs: int
    """Valid ones."""


class Repeat(Part):
    """The whole of repeat.json."""

    format: Literal[1] = 1
    kind: Literal["repeat"] = "repeat"
    scenario: str
    topology: str
    settings: dict[str, Any]
    """What --set put in place of the scenario's own, by dotted key."""
    runtime: str
    links: str
    hosts: int
    versions: dict[str, str]
    asked: int
    """Runs asked for; fewer are below if it was interrupted or failed."""
    interrupted: bool
    verdict: Verdict | None
    """The worst; null: no run ended."""
    exit_code: int
    runs: list[OneRun]
    figures: dict[str, Summary]
    expectations: list[Held]


def of_run(result: Result, directory: str) -> OneRun:
    figures = measures.of(result.model_dump(mode="json"))
    return OneRun(
        seed=result.seed,
        directory=directory,
        verdict=result.verdict,
        plan_digest=result.plan_digest,
        trace_digest=result.facts.get("trace_digest"),
        wall_s=result.wall_s,
        reasons=result.validity.reasons,
        figures={name: value if value is None or isfinite(value) else None for name, value in figures.items()},
        did_not_recover=any(value is not None and not isfinite(value) for value in figures.values()),
    )


def summed_up(
    results: Sequence[tuple[str, Result]], *, asked: int, settings: dict[str, Any] | None = None, interrupted: bool = False
) -> Repeat | None:
    """Of (directory, result) by seed; None if there is none."""
    if not results:
        return None
    results = sorted(results, key=lambda each: each[1].seed)
    first = results[0][1]
    runs = [of_run(result, directory) for directory, result in results]
    valid = [result for _, result in results if result.verdict != "invalid"]
    worst = next(verdict for verdict in WORST if any(run.verdict == verdict for run in runs))
    return Repeat(
        scenario=first.scenario,
        topology=first.topology,
        settings=settings or {},
        runtime=first.runtime,
        links=first.links,
        hosts=first.hosts,
        versions=first.versions,
        asked=asked,
        interrupted=interrupted,
        verdict=worst,
        exit_code=INTERRUPTED if interrupted else EXIT[worst],
        runs=runs,
        figures=figures_of(runs),
        expectations=_held(valid),
    )


def figures_of(runs: Iterable[OneRun]) -> dict[str, Summary]:
    """Of valid runs: an invalid one's figures mean nothing."""
    valid = [run for run in runs if run.verdict != "invalid"]
    found: dict[str, Summary] = {}
    for name in measures.NAMES:
        values = [value for run in valid if (value := run.figures.get(name)) is not None]
        if values:
            found[name] = summary(name, values)
    return found


def summary(name: str, values: Sequence[float]) -> Summary:
    interval = student.mean(values)
    low, high = max(interval.low, min(0.0, *values)), min(interval.high, measures.most(name))
    single = len(values) < 2
    return Summary(
        runs=len(values),
        mean=interval.value,
        low=None if single else low,
        high=None if single else high,
        median=median(values),
        min=min(values),
        max=max(values),
    )


def _held(valid: Sequence[Result]) -> list[Held]:
    kept: Counter[str] = Counter()
    runs: Counter[str] = Counter()
    for result in valid:
        for expected in result.expectations:
            runs[expected.name] += 1
            kept[expected.name] += expected.ok
    return [Held(name=name, held=kept[name], runs=count) for name, count in runs.items()]
