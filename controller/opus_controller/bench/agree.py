"""Do real hosts feel what the simulator foretells? Shipped scenarios of 60 hosts, the same plan in netns and in sim.

The simulator runs twice: with a hop's cost as it was measured here, just before and on another topology, and with the release's
constant. The runs' directories stay, for `opus report` and `opus compare`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from opus_controller.bench import hop
from opus_controller.bench.agreement import Felt, Line, Spans, felt, lines, pooled
from opus_controller.engine.play import play
from opus_controller.engine.record import RunRecord
from opus_controller.engine.runtime import Runtime
from opus_controller.model.compile import compile_plan
from opus_controller.model.errors import InvalidRun, PlatformError
from opus_controller.model.plan import Plan
from opus_controller.model.scenario import find, load_scenario
from opus_controller.model.settings import parse_setting
from opus_controller.net.choose import Choice, choose
from opus_controller.report.conclude import judge
from opus_controller.report.run import read
from opus_controller.runtimes.netns import NetnsRuntime
from opus_controller.runtimes.sim import SimRuntime
from opus_controller.runtimes.sim.costs import HopCost

SCENARIOS: Mapping[str, tuple[str, ...]] = {
    "half-kill": (),
    "hot-spot": ("duration=180s",),  # a minute to come back in, and a minute that tells what latency settles at
}
LEFT_OUT = "validity=exclude"
"""What the machine spoilt is left out, as `opus run` does where a scenario says so."""
SIDES = ("netns", "sim", "sim-release")


@dataclass(frozen=True)
class Agreement:
    hop_ms: float
    """What a hop costs on this machine, measured on another topology."""
    release_hop_ms: float
    lines: list[Line]
    notes: list[str]
    """What was left out, and why."""
    directory: Path


def run(seeds: int = 1, links: str = "auto", base: Path = Path("runs")) -> Agreement:
    """PlatformError where there are no real hosts; InvalidRun if the machine spoilt a whole run."""
    choice = choose(links)
    _say("what a hop costs, on three sites")
    hop_ms = float(np.median(asyncio.run(hop.measure(choice, 30.0)).hop_ms))
    costs = {"sim": HopCost(round(hop_ms * 1e6), "opus bench hop on three sites, just before"), "sim-release": HopCost()}
    directory = base / f"agree-{datetime.now():%Y%m%d-%H%M%S}"  # `latest` goes on naming a run
    found: list[Line] = []
    notes: list[str] = []
    for name, settings in SCENARIOS.items():
        scenario = load_scenario(find("scenarios", name), [parse_setting(text) for text in (*settings, LEFT_OUT)])
        sides: dict[str, list[Felt]] = {side: [] for side in SIDES}
        for seed in range(scenario.form.seed, scenario.form.seed + seeds):
            plan = compile_plan(scenario, seed)
            spans: Spans = ()
            for side in SIDES:
                _say(f"{name}, seed {seed}: {side}")
                place = directory / f"{name}-{seed}" / side
                play_into(place, plan, SimRuntime(hop_cost=costs[side]) if side in costs else _netns(choice, place))
                if side == "netns":
                    spans, words = left_out(place)
                    notes += [f"{name}, seed {seed}: {note}" for note in words]
                sides[side].append(felt(read(place), spans))
        found += lines(name, *(pooled(sides[side]) for side in SIDES))
    return Agreement(hop_ms, costs["sim-release"].per_message_ns / 1e6, found, notes, directory)


def _netns(choice: Choice, place: Path) -> Runtime:
    return NetnsRuntime(choice, mode="run", record=place)


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


def left_out(place: Path) -> tuple[Spans, Sequence[str]]:
    """The spans that do not count, s, and words for what was left out. InvalidRun if too little is left to tell anything."""
    validity = judge(place).validity
    if not validity.ok:
        raise InvalidRun(f"{place}: {'; '.join(validity.reasons)}")
    run = read(place)
    words = [f"{span.from_s:.0f} to {span.to_s:.0f} s left out: {span.reason}" for span in validity.spans]
    return run.invalid_spans, [*words, *([f"{validity.excluded_requests} requests left out"] if words else [])]


def _say(news: str) -> None:
    print(f"bench agree: {news}", file=sys.stderr, flush=True)
