"""Every scenario that comes with Opus holds what it promises, in the simulator."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from opus_controller.engine.play import play
from opus_controller.engine.record import RunRecord
from opus_controller.model.compile import compile_plan
from opus_controller.model.scenario import load_scenario
from opus_controller.report.build import build
from opus_controller.report.run import read
from opus_controller.runtimes.sim import SimRuntime

SCENARIOS = sorted((Path(__file__).parents[2] / "scenarios").glob("*.yaml"))


@pytest.mark.parametrize("path", SCENARIOS, ids=[path.stem for path in SCENARIOS])
def test_its_expectations_hold(path: Path, tmp_path: Path) -> None:
    plan = compile_plan(load_scenario(path))
    record = RunRecord.at(tmp_path / "out", plan)
    outcome = asyncio.run(play(plan, SimRuntime(trace=False), record))
    record.close()
    assert outcome.ended == "done", outcome.error
    result = build(read(tmp_path / "out"))
    assert result.expectations, "a scenario without expectations shows nothing"
    assert [one for one in result.expectations if not one.ok] == []
    assert result.verdict == "pass"
