"""Do real hosts feel what the simulator foretells? Shipped scenarios of 60 hosts, the same plan in netns and in sim.

The simulator runs twice: with what a hop and a start cost here, measured just before on another topology, and with the release's
constants. The runs' directories stay, for `opus report` and `opus compare`, and to go on with more seeds.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from opus_controller.bench import hop
from opus_controller.bench.agreement import Felt, Line, felt, lines, pooled, struck_elsewhere
from opus_controller.engine.play import play
from opus_controller.engine.record import RecordReader, RunRecord
from opus_controller.engine.runtime import Runtime
from opus_controller.model.compile import compile_plan
from opus_controller.model.errors import InvalidRun, PlatformError, ScenarioError
from opus_controller.model.plan import Plan
from opus_controller.model.scenario import Scenario, find, load_scenario
from opus_controller.model.settings import parse_setting
from opus_controller.model.topology import load_topology
from opus_controller.net.choose import Choice, choose
from opus_controller.report.conclude import judge
from opus_controller.report.run import Run, read
from opus_controller.runtimes.netns import NetnsRuntime
from opus_controller.runtimes.sim import SimRuntime
from opus_controller.runtimes.sim.costs import HopCost, StartCost

SCENARIOS: Mapping[str, tuple[str, ...]] = {
    "half-kill": (),
    "hot-spot": ("duration=180s",),  # a minute to come back in, and a minute that tells what latency settles at
    "quickstart": tuple(f"workload.{k}.total_rate={rate}/s" for k, rate in enumerate((16, 10, 14, 4))),
    "churn": ("workload.0.total_rate=44/s",),
}
"""Shipped ones, and what is set in each. The last two ask twice as much as shipped, as twice as many hosts do."""
TOPOLOGIES: Mapping[str, tuple[str, ...]] = {
    "quickstart": ("groups.servers.count=10",),
    "churn": ("groups.servers.count=10",),
}
"""What is set in the topology of a scenario that ships with fewer than 60 hosts."""
LEFT_OUT = "validity=exclude"
"""What the machine spoilt is left out, as `opus run` does where a scenario says so."""
REAL = "netns"
ASIDE = "netns-invalid"
CALIBRATION = "calibration.json"
HOP_S = 30.0


@dataclass(frozen=True)
class Order:
    rows: Sequence[str] = tuple(SCENARIOS)
    seeds: int = 1
    """Of each scenario, from its own on."""
    draws: int = 1
    """How often the simulator plays each seed, the hop a microsecond longer each time. Who comes to serve is chaos: of one plan a
    single run is a single draw, on either side, and pooling some of the side that costs nothing leaves the other's."""
    links: str = "auto"
    directory: Path | None = None
    """Of an earlier comparison: its calibration holds, and what it has is not played again."""

    def __post_init__(self) -> None:
        if unknown := [name for name in self.rows if name not in SCENARIOS]:
            raise ScenarioError(f"--rows {','.join(unknown)}: not known; allowed: {', '.join(SCENARIOS)}")
        if self.directory is not None and not (self.directory / CALIBRATION).is_file():
            raise ScenarioError(f"--into {self.directory}: no comparison is there; allowed: what `opus bench agree` has made")


@dataclass(frozen=True)
class Calibration:
    """What this machine's hops and starts take, measured on another topology."""

    hop_ms: float
    start_ms: float
    """From one host told to join to the next."""

    @staticmethod
    def measured(choice: Choice) -> Calibration:
        found = asyncio.run(hop.measure(choice, HOP_S))
        return Calibration(float(np.median(found.hop_ms)), found.start_ms)

    def simulator(self, draw: int = 0) -> SimRuntime:
        source = "opus bench hop on three sites, just before"
        hop_cost = HopCost(round(self.hop_ms * 1e6) + draw * 1000, source)
        return SimRuntime(hop_cost=hop_cost, start_cost=StartCost(round(self.start_ms * 1e6), source))


@dataclass(frozen=True)
class Agreement:
    calibration: Calibration
    release_hop_ms: float
    lines: list[Line]
    notes: list[str]
    """What was left out, and why; and which faults struck other hosts in the simulator."""
    directory: Path


def run(order: Order, base: Path = Path("runs")) -> Agreement:
    """PlatformError where there are no real hosts; InvalidRun if the machine was too busy for every seed."""
    choice = choose(order.links)
    directory = order.directory or base / f"agree-{datetime.now():%Y%m%d-%H%M%S}"  # `latest` goes on naming a run
    calibration = _calibration(directory, choice)
    found: list[Line] = []
    notes: list[str] = []
    for name in order.rows:
        scenario = scenario_of(name)
        seeds: list[tuple[Felt, Felt, Felt]] = []
        for seed in range(scenario.form.seed, scenario.form.seed + order.seeds):
            plan = compile_plan(scenario, seed)
            try:
                sides, words = _one_seed(directory / f"{name}-{seed}", plan, choice, calibration, order.draws)
            except InvalidRun as why:
                notes.append(f"{name}, seed {seed}: not counted: {why}")
                continue
            seeds.append(sides)
            notes += [f"{name}, seed {seed}: {word}" for word in words]
        if seeds:
            found += lines(name, *zip(*seeds, strict=True))
    if not found:
        raise InvalidRun("; ".join(notes))
    return Agreement(calibration, HopCost().per_message_ns / 1e6, found, notes, directory)


def scenario_of(row: str) -> Scenario:
    """Of 60 hosts, all of them clients."""
    scenario = load_scenario(find("scenarios", row), [parse_setting(text) for text in (*SCENARIOS[row], LEFT_OUT)])
    wider = [parse_setting(text) for text in TOPOLOGIES.get(row, ())]
    return replace(scenario, topology=load_topology(scenario.topology.files[0], wider)) if wider else scenario


def _calibration(directory: Path, choice: Choice) -> Calibration:
    """The directory's own, or this machine's, which is kept there."""
    file = directory / CALIBRATION
    if file.is_file():
        return Calibration(**json.loads(file.read_text()))
    _say("what a hop costs, on three sites")
    calibration = Calibration.measured(choice)
    directory.mkdir(parents=True)
    file.write_text(json.dumps(vars(calibration)) + "\n")
    return calibration


def _one_seed(
    place: Path, plan: Plan, choice: Choice, calibration: Calibration, draws: int
) -> tuple[tuple[Felt, Felt, Felt], Sequence[str]]:
    """What was felt on real hosts, in the simulator as calibrated and as released, and words for what was left out of all and
    what else differed. InvalidRun if the machine was too busy."""
    real = _played(place / REAL, plan, NetnsRuntime(choice, mode="run", record=place / REAL))
    try:
        spans, words = left_out(place / REAL)
    except InvalidRun:
        shutil.rmtree(place / ASIDE, ignore_errors=True)
        (place / REAL).rename(place / ASIDE)  # another time may be better
        raise
    sims = [_played(place / f"sim-{draw + 1}", plan, calibration.simulator(draw)) for draw in range(draws)]
    release = _played(place / "sim-release", plan, SimRuntime())
    words = [*words, *struck_elsewhere(real, sims)]
    return (felt(real, spans), pooled(felt(sim, spans) for sim in sims), felt(release, spans)), words


def _played(place: Path, plan: Plan, runtime: Runtime) -> Run:
    """The run of this plan in `place`, played unless it is there from its beginning to its end."""
    if not _is_done(place, plan):
        shutil.rmtree(place, ignore_errors=True)
        _say(f"{place.parent.name}: {place.name}")
        play_into(place, plan, runtime)
    return read(place)


def _is_done(place: Path, plan: Plan) -> bool:
    """ScenarioError if there is a run of another plan: an older version's perhaps."""
    about = RecordReader(place).about() if place.exists() else {}
    if about and about["plan_digest"] != plan.digest:
        raise ScenarioError(f"{place}: is a run of another plan; take another directory")
    return about.get("ended") == "done" and not about["died"]


def play_into(place: Path, plan: Plan, runtime: Runtime) -> None:
    """Play to the end, recorded in `place`. Raises what the run failed of; PlatformError if hosts died by themselves."""
    place.parent.mkdir(parents=True, exist_ok=True)
    record = RunRecord.at(place, plan)
    try:
        outcome = asyncio.run(play(plan, runtime, record))
    finally:
        record.close()
    if outcome.ended == "interrupted":
        raise KeyboardInterrupt
    if outcome.error is not None:
        raise outcome.error
    if outcome.died:
        raise PlatformError(f"{place}: {', '.join(sorted(outcome.died))} died by themselves")


def left_out(place: Path) -> tuple[Sequence[tuple[float, float]], Sequence[str]]:
    """The spans that do not count, s, and words for what was left out. InvalidRun if too little is left to tell anything."""
    validity = judge(place).validity
    if not validity.ok:
        raise InvalidRun("; ".join(validity.reasons))
    run = read(place)
    words = [f"{span.from_s:.0f} to {span.to_s:.0f} s left out: {span.reason}" for span in validity.spans]
    return run.invalid_spans, [*words, *([f"{validity.excluded_requests} requests left out"] if words else [])]


def _say(news: str) -> None:
    print(f"bench agree: {news}", file=sys.stderr, flush=True)
