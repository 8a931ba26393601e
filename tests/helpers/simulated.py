"""A plan played in the simulator to its end."""

from __future__ import annotations

import asyncio
from pathlib import Path

from opus_controller.engine.play import Outcome, play
from opus_controller.engine.record import RecordReader, RunRecord
from opus_controller.model.compile import compile_plan
from opus_controller.model.plan import Plan
from opus_controller.model.scenario import load_scenario
from opus_controller.report.build import build
from opus_controller.report.result import Result
from opus_controller.report.run import read
from opus_controller.runtimes.sim import SimRuntime


def played(plan: Plan, out: Path) -> Outcome:
    """However it ends."""
    record = RunRecord.at(out, plan)
    outcome = asyncio.run(play(plan, SimRuntime(trace=False), record))
    record.close()
    return outcome


def record_of(plan: Plan, out: Path) -> RecordReader:
    """Of a run that went to its end, in which no host's program died by itself."""
    outcome = played(plan, out)
    assert outcome.ended == "done", outcome.error
    assert not outcome.died
    return RecordReader(out)


def result_of(plan: Plan, out: Path) -> Result:
    record_of(plan, out)
    return build(read(out))


def result_of_text(scenario: str, directory: Path) -> Result:
    """Of a scenario as it would stand in a file."""
    (directory / "scenario.yaml").write_text(scenario)
    return result_of(compile_plan(load_scenario(directory / "scenario.yaml")), directory / "out")
