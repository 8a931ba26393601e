"""Settings in the simulator that are equal but for their draws, and one that is 10% slower: what a comparison is to tell apart.

Runs of the same seed draw the same arrivals, so two equal settings would be the same run twice and no test at all. Here the
workload's name differs, which reseeds its draws: who asks when, and for what, is another sample of the same distribution.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from opus_controller.cli._pool import Job, play_in_sim
from opus_controller.model.compile import compile_plan
from opus_controller.model.scenario import load_scenario
from opus_controller.report.conclude import load
from opus_controller.report.several.effects import Effect, effects, match
from opus_controller.report.several.repeat import OneRun, of_run

TOPOLOGY = """
name: planted
sites: [{{name: near}}, {{name: mid}}, {{name: far}}]
rtt_ms: {{near: {{mid: {mid:g}, far: {far:g}}}, mid: {{far: {mid:g}}}}}
path: {{jitter: 2ms, distribution: normal, keep_order: true}}
groups: [{{name: pc, sites: all, count: 2, access: {{delay: {access:g}ms}}}}]
"""
SCENARIO = """
name: planted
topology: net.yaml
duration: 10s
settle: 4s
applications: [{{name: web, replicas: 1}}]
workload:
  - {{name: {draws}, clients: all, app: web, total_rate: 40/s}}
"""
LATENCIES = tuple(f"{kind}_latency_ms.{q}" for kind in ("routing", "request") for q in ("mean", "p50", "p90", "p99"))


def made(place: Path, draws: str, seeds: Iterable[int], slower: float = 1.0) -> list[OneRun]:
    """One run a seed; every delay of the network `slower` times as long."""
    place.mkdir(parents=True)
    (place / "net.yaml").write_text(TOPOLOGY.format(mid=30 * slower, far=70 * slower, access=2 * slower))
    (place / "planted.yaml").write_text(SCENARIO.format(draws=draws))
    scenario = load_scenario(place / "planted.yaml")
    runs = []
    for seed in seeds:
        directory = place / f"seed-{seed}"
        ended = play_in_sim(Job(f"seed {seed}", compile_plan(scenario, seed), directory, {}))
        assert ended.how == "done", ended.error
        runs.append(of_run(load(directory), directory.name))
    return runs


def found(before: Sequence[OneRun], after: Sequence[OneRun]) -> list[Effect]:
    """Figures that are said to differ."""
    return [effect for effect in effects(match(before, after)) if effect.finding == "different"]


def tries(place: Path, count: int, seeds: int) -> tuple[int, int, list[str]]:
    """(tries in which the slower setting was told by its latencies, in which two equal ones were told apart, and by what)."""
    told = wrong = 0
    said: list[str] = []
    for k in range(count):
        of = range(1000 * k + 1, 1000 * k + 1 + seeds)
        base = made(place / f"{k}-base", "one", of)
        equal = found(base, made(place / f"{k}-equal", "two", of))
        slower = found(base, made(place / f"{k}-slower", "three", of, slower=1.1))
        told += any(effect.figure in LATENCIES and 1.02 < (effect.change or 0) < 1.2 for effect in slower)
        wrong += bool(equal)
        said += [f"try {k}: {effect.figure} {effect.change} ({effect.low} to {effect.high})" for effect in equal]
    return told, wrong, said
