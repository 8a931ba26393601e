"""The fidelity gate over userspace links: what was changed behind the controller's back is found, what is right passes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.fidelity.gated import gate_over
from helpers.fidelity.live import network_of
from helpers.netns_runs import scenario
from opus_controller.engine.fidelity_rate import WAYS
from opus_controller.engine.play import Outcome, play
from opus_controller.engine.record import RunRecord
from opus_controller.model.compile import compile_plan
from opus_controller.model.network import Network
from opus_controller.model.plan import Plan
from opus_controller.model.scenario import load_scenario
from opus_controller.model.settings import parse_setting
from opus_controller.model.shapes import AccessLink, Direction, HostChange, PathShape
from opus_controller.net import namespaces
from opus_controller.net.choose import choose, open_links
from opus_controller.report.conclude import conclude
from opus_controller.report.result import Result
from opus_controller.runtimes.netns import NetnsRuntime

pytestmark = pytest.mark.netns

MS = 1_000_000
TEN = network_of(
    dict.fromkeys("abc", AccessLink()), {pair: PathShape(delay_ns=5 * MS) for pair in (("a", "b"), ("b", "a"))}
)  # fmt: skip

WIDE = Direction(rate_bps=10_000_000, queue_bytes=125_000)
TEN_MBIT = network_of(dict.fromkeys("abc", AccessLink(up=WIDE, down=WIDE)), {})


def test_a_link_of_10_ms_that_is_really_15_ms_is_caught(tmp_path: Path) -> None:
    wrong = PathShape(delay_ns=7_500_000)
    gate = gate_over("userspace", TEN, {("a", "b"): wrong, ("b", "a"): wrong}, tmp_path)
    by_pair = {frozenset((pair.asked.source.name, pair.asked.target.name)): pair for pair in gate.pairs}
    assert set(by_pair) == {frozenset("ab"), frozenset("ac"), frozenset("bc")}
    found = by_pair[frozenset("ab")]
    assert "10 ms asked, " in found.wrong
    assert found.rtt_ns is not None
    assert 15 * MS <= found.rtt_ns < 20 * MS
    assert [pair.wrong for pair in gate.pairs if pair is not found] == ["", ""]


def test_right_links_pass(tmp_path: Path) -> None:
    gate = gate_over("userspace", TEN, {}, tmp_path)
    assert gate.wrong == []
    assert all(pair.sent > 0 and pair.answered > 0 for pair in gate.pairs)


def test_one_direction_is_caught_and_so_is_loss(tmp_path: Path) -> None:
    planted = {
        ("a", "b"): PathShape(delay_ns=9 * MS),
        ("b", "c"): PathShape(delay_ns=1 * MS, loss=0.9),
    }  # two of the eight echoes are surely lost
    gate = gate_over("userspace", TEN, planted, tmp_path)
    wrong = sorted(gate.wrong)
    assert len(wrong) == 2
    assert sum("10 ms asked" in one for one in wrong) == 1
    assert sum("0 of the echoes to be lost" in one for one in wrong) == 1


def test_a_rate_is_measured_and_a_wrong_one_is_caught(tmp_path: Path) -> None:
    right = gate_over("userspace", TEN_MBIT, {}, tmp_path)
    assert right.wrong == []
    assert len(right.rates) == WAYS
    assert {rate.asked.rate_bps for rate in right.rates} == {10_000_000}
    told = [rate.measured_bps for rate in right.rates if rate.measured_bps is not None]
    assert all(7_000_000 < rate < 14_000_000 for rate in told)
    wrong = gate_over("userspace", TEN_MBIT, {}, tmp_path, {"a": HostChange(up_bps=5_000_000)})
    assert [line for line in wrong.wrong if "10 Mbit/s asked" not in line] == []
    caught = [rate for rate in wrong.rates if rate.wrong]
    assert {rate.asked.source.name for rate in caught} == {"a"}
    assert all(rate.measured_bps is not None and rate.measured_bps < 7_000_000 for rate in caught)


class _Fooled(NetnsRuntime):
    """Somebody else lays half as much again on every path of the run, once its hosts are there."""

    async def _make_hosts(self, plan: Plan, names: list[str]) -> dict[str, Any]:
        facts = await super()._make_hosts(plan, names)
        network = Network.of(plan)
        shapes = tuple(shape.model_copy(update={"delay_ns": shape.delay_ns * 3 // 2}) for shape in plan.paths.shapes)
        wrong = replace(network, paths=plan.paths.model_copy(update={"shapes": shapes}))
        open_links(self.state.links, self.state.run, self.state.directory).apply(wrong)
        return facts


def fooled(tmp_path: Path, setting: str) -> tuple[Outcome, Result, str]:
    path = scenario(tmp_path, duration=5)
    plan = compile_plan(load_scenario(path, [parse_setting(f"fidelity={setting}")]))
    runtime = _Fooled(choose("userspace"))
    record = RunRecord.at(tmp_path / "out", plan)
    outcome = asyncio.run(play(plan, runtime, record))
    record.close()
    return outcome, conclude(tmp_path / "out"), runtime.run


def test_a_run_whose_links_are_wrong_stops_with_exit_code_4_before_any_node_boots(tmp_path: Path) -> None:
    outcome, result, run = fooled(tmp_path, "stop")
    assert (outcome.ended, outcome.exit_code) == ("failed", 4)
    assert "the links are not what the plan asks for" in str(outcome.error)
    assert result.verdict == "invalid"
    assert result.requests.issued == 0
    assert result.fidelity.gate is not None
    wrong = [pair for pair in result.fidelity.gate.pairs if not pair.ok]
    assert all(pair.measured_ms is not None and pair.measured_ms > 1.2 * pair.asked_ms for pair in wrong)
    assert {frozenset((pair.source[0], pair.target[0])) for pair in wrong} >= {frozenset("ab"), frozenset("ac"), frozenset("bc")}
    assert namespaces.of_run(run) == []


def test_or_it_goes_on_and_says_so(tmp_path: Path) -> None:
    outcome, result, _ = fooled(tmp_path, "annotate")
    assert (outcome.ended, outcome.exit_code) == ("done", 0)
    assert result.fidelity.gate is not None
    assert not result.fidelity.gate.ok
    assert result.fidelity.pairs > 0
    assert "Links are not what was asked for" in (tmp_path / "out" / "report.html").read_text()
