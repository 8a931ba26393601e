"""The comparison of `opus bench agree`, the simulator standing in for the real hosts: what is told is the hop's cost alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import tiny
from opus_controller.bench import agree
from opus_controller.bench.agreement import Line, Spans, felt, lines
from opus_controller.cli._app import build as build_app
from opus_controller.model.compile import compile_plan
from opus_controller.model.errors import InvalidRun, ScenarioError
from opus_controller.model.scenario import load_scenario
from opus_controller.net.choose import Choice
from opus_controller.report.conclude import judge
from opus_controller.report.run import read
from opus_controller.runtimes.sim import SimRuntime
from opus_controller.runtimes.sim.costs import HopCost
from typer.testing import CliRunner


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Line]:
    """Hosts whose hops take 6 ms, beside a simulator that knows it and one that thinks 0.5 ms; the network's 22 ms in all."""
    place = tmp_path_factory.mktemp("agree")
    plan = compile_plan(load_scenario(tiny.write(place / "scenario")))
    sides = []
    spans: Spans = ()
    for name, ms in (("real", 6.0), ("sim", 6.0), ("sim-release", 0.5)):
        agree.play_into(place / name, plan, SimRuntime(hop_cost=HopCost(round(ms * 1e6), "of this test")))
        if name == "real":
            spans, notes = agree.left_out(place / name)
            assert list(notes) == []
        assert judge(place / name).plan_digest == plan.digest
        sides.append([felt(read(place / name), spans)])
    return lines("tiny", *sides)


def test_one_plan_twice_agrees_to_the_nanosecond(found: list[Line]) -> None:
    assert [line.off for line in found] == [0] * len(found)
    assert [line.ok for line in found if line.promised] == [True, True, True]


def test_a_wrong_hop_cost_is_seen(found: list[Line]) -> None:
    median = found[0]
    assert median.real - median.release == pytest.approx(5.5, abs=0.6)
    assert median.off_release > 0.2


Agree = Callable[..., agree.Agreement]


@pytest.fixture
def compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Agree:
    """`opus bench agree` with the simulator in place of real hosts, and calibration as given; on the tiny scenario."""
    scenario = tiny.write(tmp_path / "scenario")
    real: Any = lambda choice, mode, record: SimRuntime(hop_cost=HopCost(2_000_000, "the real one"))  # noqa: E731
    monkeypatch.setattr(agree, "SCENARIOS", {"tiny": ()})
    monkeypatch.setattr(agree, "find", lambda kind, name: scenario)
    monkeypatch.setattr(agree, "choose", lambda links: Choice("userspace", "of this test"))
    monkeypatch.setattr(agree, "NetnsRuntime", real)
    monkeypatch.setattr(agree.Calibration, "measured", staticmethod(lambda choice: agree.Calibration(2.0, 5.0)))
    return lambda seeds, **options: agree.run(agree.Order(("tiny",), seeds, **options), tmp_path / "runs")


def invalid(monkeypatch: pytest.MonkeyPatch, *seeds: int) -> None:
    """The machine is too busy for these."""
    honest = agree.left_out

    def left_out(place: Path) -> Any:
        if any(place.parent.name.endswith(f"-{seed}") for seed in seeds):
            raise InvalidRun("too busy")
        return honest(place)

    monkeypatch.setattr(agree, "left_out", left_out)


def test_a_seed_for_which_the_machine_was_too_busy_is_left_out_and_tried_again(
    compare: Agree, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as busy:
        invalid(busy, 2)
        first = compare(3)
    assert first.notes == ["tiny, seed 2: not counted: too busy"]
    assert first.lines[0].by_seed.count == 2
    assert {path.name for path in (first.directory / "tiny-2").iterdir()} == {"netns-invalid"}

    kept = first.directory / "tiny-1" / "netns" / "run.json"
    before = kept.stat().st_mtime_ns
    again = compare(4, directory=first.directory)
    assert (again.notes, again.directory, again.calibration) == ([], first.directory, first.calibration)
    assert again.lines[0].by_seed.count == 4
    assert kept.stat().st_mtime_ns == before, "what is there is not played again"


def test_a_comparison_without_a_seed_that_counts_is_no_comparison(compare: Agree, monkeypatch: pytest.MonkeyPatch) -> None:
    invalid(monkeypatch, 1)
    with pytest.raises(InvalidRun, match="tiny, seed 1: not counted: too busy"):
        compare(1)


def test_the_simulator_may_play_a_seed_more_often(compare: Agree) -> None:
    """Hops of 2.000, 2.001 and 2.002 ms."""
    found = compare(1, draws=3)
    runs = [found.directory / "tiny-1" / f"sim-{draw}" for draw in (1, 2, 3)]
    hops = [json.loads((place / "run.json").read_text())["facts"]["hop_cost_ns"] for place in runs]
    assert hops == [2_000_000, 2_001_000, 2_002_000]
    together = np.concatenate([felt(read(place)).routing_ms for place in runs])
    assert found.lines[0].calibrated == np.median(together)


def test_the_command_says_by_how_much_each_figure_is_off_and_which_bound_it_misses(
    compare: Agree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hop is 10 ms there, not the 2 ms that were measured: the median of a path of 20 ms is off by more than a tenth."""
    slow: Any = lambda choice, mode, record: SimRuntime(hop_cost=HopCost(10_000_000, "the real one"))  # noqa: E731
    monkeypatch.setattr(agree, "NetnsRuntime", slow)
    found = compare(1)
    monkeypatch.setattr(agree, "run", lambda order: found)
    said = CliRunner().invoke(build_app(), ["bench", "agree", "--rows", "tiny"])
    assert said.exit_code == 0, said.output
    rows = {row.split("  ")[0]: row for row in said.output.splitlines()}
    median = rows[found.lines[0].what]
    assert f"{found.lines[0].real:.1f} ms" in median
    assert f"+{100 * (found.lines[0].real / found.lines[0].calibrated - 1):.1f}%" in median
    assert "within 10%" in median
    assert "MISSED" in median
    assert "+0.00 points" in rows["tiny: availability"]
    assert "MISSED" not in rows["tiny: availability"]
    told = json.loads(CliRunner().invoke(build_app(), ["bench", "agree", "--rows", "tiny", "--json"]).output)["rows"]
    assert (told[0]["off"], told[0]["ok"]) == (pytest.approx(found.lines[0].off), False)


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="--rows nowhere: not known; allowed: half-kill, hot-spot, quickstart, churn"):
        agree.Order(("half-kill", "nowhere"))
    with pytest.raises(ScenarioError, match="no comparison is there"):
        agree.Order(directory=tmp_path)
