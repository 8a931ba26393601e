"""What applications were worth: figures by hand, expectations of them, and `opus explain`."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from helpers.divided import UTILITY, division
from helpers.fakerun import FakeRun, make_plan
from opus_controller.cli._app import run as opus
from opus_controller.model import plan as model
from opus_controller.model.compile import compile_plan
from opus_controller.model.errors import ScenarioError
from opus_controller.model.plan import Expectation
from opus_controller.model.scenario import load_scenario
from opus_controller.report import words
from opus_controller.report.build import build
from opus_controller.report.html import render
from opus_controller.report.run import read
from opus_controller.report.worth import followed_s, short_s, value
from opus_controller.runtimes.hosts.control import _app as told_on_the_wire
from opus_controller.runtimes.sim.world import _told as told_in_sim
from opus_node.control import _app as heard
from opus_node.core.utility import Felt
from opus_node.core.utility import Utility as CoreUtility

MS = 1_000_000


def fake(utility: model.Utility | None = UTILITY, **plan: Any) -> FakeRun:
    made = make_plan(one_way_ms={}, hosts={"x": 3}, clients=["x-1"], apps={"web": 1, "other": 1}, duration_s=20.0, **plan)
    web, other = made.apps
    return FakeRun(made.model_copy(update={"apps": (web.model_copy(update={"utility": utility}), other)}))


def test_each_window_is_worth_what_its_requests_felt(tmp_path: Path) -> None:
    made = fake()
    made.begin()
    division(made, 1.0, ["x-2"], [], "first")
    division(made, 7.0, ["x-2", "x-3"], ["x-2"])
    for at in (0.5, 1.5, 2.5, 3.5):  # 30 + 30 ms, all answered: half of 8
        made.request(at, "x-1", routing_ms=30.0, replica="x-2")
    for at, outcome in ((6.0, "ok"), (7.0, "ok"), (8.0, "ok"), (9.0, "deadline")):  # 20 + 20 ms, three of four: half of 8
        made.request(at, "x-1", routing_ms=20.0, replica="x-2" if outcome == "ok" else "", outcome=outcome)
    made.request(16.0, "x-1", outcome="deadline")
    made.request(1.0, "x-1", app="other", routing_ms=500.0, replica="x-2")
    result = build(read(made.write(tmp_path / "run")))
    assert result.utility is not None
    (web,) = result.utility.apps
    assert [one if one is None else pytest.approx(one) for one in web.windows[:4]] == [4.0, 4.0, None, 0.0]
    assert web.windows[0] == pytest.approx(4.0)
    assert web.mean == pytest.approx(8.0 / 3)
    assert web.share == result.utility.share == pytest.approx(1.0 / 3)
    assert web.least == 0.0
    assert web.hosts == [(1.0, 1), (7.0, 2)]
    assert words.utility(result.utility) == "33.33%: web 2.67 of 8"
    page = render(read(tmp_path / "run"), result)
    assert '<section id="worth">' in page
    assert "web, of 8" in page


def test_without_a_utility_there_is_none_and_nothing_to_explain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = fake(None)
    made.begin()
    made.request(1.0, "x-1", replica="x-2")
    where = made.write(tmp_path / "run")
    result = build(read(where))
    assert result.utility is None
    assert '<section id="worth">' not in render(read(where), result)
    assert opus(["explain", "web", "--out", str(where)]) == 2
    assert "no steward decided who serves it" in capsys.readouterr().err
    assert opus(["explain", "nothing", "--out", str(where)]) == 2
    assert "there is no application 'nothing'; allowed: web, other" in capsys.readouterr().err
    assert opus(["explain", "web", "--out", str(tmp_path)]) == 2


@pytest.mark.parametrize(("bound", "ok"), [(0.3, True), (0.4, False)])
@pytest.mark.parametrize("app", ["", "web"])
def test_it_can_be_expected(bound: float, ok: bool, app: str, tmp_path: Path) -> None:
    wanted = Expectation(name="worth it", figure="utility.share", op=">=", bound=bound, app=app)
    made = fake(expectations=[wanted])
    made.begin()
    made.request(1.0, "x-1", routing_ms=30.0, replica="x-2")
    made.request(11.0, "x-1", routing_ms=35.0, replica="x-2")  # a quarter
    (check,) = build(read(made.write(tmp_path / "run"))).expectations
    assert check.actual == pytest.approx(0.375)
    assert check.ok == ok


def test_how_soon_hosts_follow_a_crowd_is_when_half_of_them_are_there() -> None:
    hosts = [(1.0, 2), (18.0, 6), (46.2, 7), (49.2, 15), (52.0, 13), (58.0, 18), (80.0, 30)]
    assert followed_s(hosts, 40.0, 70.0) == pytest.approx(9.2), "from 6 to 18: 12 is half-way"
    assert followed_s(hosts, 18.0, 30.0) is None, "there was no rise"
    assert followed_s([(41.0, 3)], 40.0, 70.0) == pytest.approx(1.0)
    assert followed_s([], 40.0, 70.0) is None


def test_time_below_the_floor_counts_from_when_it_was_first_kept() -> None:
    hosts = [(1.0, 1), (3.0, 2), (10.0, 1), (14.0, 3), (20.0, 0)]
    assert short_s(hosts, 2, 25.0) == pytest.approx(4.0 + 5.0)
    assert short_s(hosts, 0, 25.0) == 0.0
    assert short_s(hosts, 4, 25.0) is None


def test_a_crowd_that_is_not_followed_and_a_floor_that_is_not_kept_fail_what_was_expected(tmp_path: Path) -> None:
    wanted = [
        Expectation(name="soon", figure="utility.follow_s", op="<=", bound=3.0, app="web"),
        Expectation(name="floors", figure="utility.short_s", op="==", bound=0.0),
    ]
    for grows_at, short, ok in ((7.0, False, [True, True]), (9.0, True, [False, False])):
        made = fake(UTILITY.model_copy(update={"floor": 2}), expectations=wanted)
        first = next(load for load in made.plan.workload if load.app == "web")
        crowd = first.model_copy(update={"start_ns": 5_000_000_000, "stop_ns": 15_000_000_000})
        made = FakeRun(made.plan.model_copy(update={"workload": (*made.plan.workload, crowd)}))
        made.begin()
        division(made, 1.0, ["x-2", "x-3"], [], "first")
        division(made, grows_at, ["x-1", "x-2", "x-3"], ["x-2", "x-3"])
        if short:
            division(made, 11.0, ["x-1"], ["x-1", "x-2", "x-3"])
        made.request(1.0, "x-1", routing_ms=30.0, replica="x-2")
        made.put(20.0, "end")
        checks = build(read(made.write(tmp_path / f"run-{grows_at}"))).expectations
        assert [one.ok for one in checks] == ok, checks


SCENARIO = """
name: s
topology: six-regions
duration: 30s
settle: 5s
applications:
  - {name: web, replicas: 3, utility: {availability: {points: [[50%, 0%], [99%, 100%]]}}}
  - {name: plain, replicas: 3}
workload: [{clients: all, app: web, total_rate: 5/s}]
expectations:
"""


def test_a_scenario_may_expect_it_of_all_or_of_one_that_has_a_utility(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(SCENARIO + "  - utility.share >= 70%\n  - utility.share >= 60% of web\n")
    assert [(one.bound, one.app) for one in compile_plan(load_scenario(path)).expectations] == [(0.7, ""), (0.6, "web")]
    for wrong, why in (
        ("utility.share >= 60% of plain", "without a utility"),
        ("utility.share >= 60% at site us-east-1", "means nothing for utility.share"),
    ):
        path.write_text(f"{SCENARIO}  - {wrong}\n")
        with pytest.raises(ScenarioError, match=why):
            compile_plan(load_scenario(path))


def test_explain_tells_each_division_and_the_reasons_of_the_last(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = fake()
    made.begin()
    division(made, 1.0, ["x-2"], [], "first")
    division(made, 9.0, ["x-3", "x-1"], ["x-3", "x-2"], f"lost {made.node('x-2')}", latency=-1, whole=False)
    where = made.write(tmp_path / "run")
    assert opus(["explain", "web", "--out", str(where)]) == 0
    out = capsys.readouterr().out
    for text in ("first", "lost x-2", "web at 9.0 s, by x-1: 2 of 3 hosts, promised 1", "search cut short", "other", "0.250"):
        assert text in out
    capsys.readouterr()
    assert opus(["explain", "web", "--out", str(where), "--json"]) == 0
    last = json.loads(capsys.readouterr().out)["decisions"][-1]
    assert last["lost"] == ["x-2"]
    assert [(one["host"], one["new"], one["rival"]) for one in last["held"]] == [("x-3", False, "other"), ("x-1", True, "")]
    assert last["latency_ms"] is None


def test_felt_utility_is_the_overlays_own() -> None:
    """Two places work it out: the overlay what it expects, the report what was felt."""
    rng = Random(4)
    for combine in ("product", "least"):
        told = model.Utility(
            worth=5.0,
            combine=combine,
            latency_quantile=0.9,
            latency_ns=((10 * MS, 1.0), (50 * MS, 0.4), (90 * MS, 0.0)),
            availability=((0.2, 0.0), (0.9, 0.7), (0.99, 1.0)),
            throughput_per_s=((1.0, 0.0), (4.0, 1.0)),
        )
        core = told_in_sim(model.App(name="web", replicas=1, utility=told), {}).utility
        assert isinstance(core, CoreUtility)
        assert core.quantile == 0.9
        for _ in range(50):
            felt = (rng.uniform(0, 100 * MS), rng.random(), rng.uniform(0, 5))
            assert value(told, *felt) == pytest.approx(core.of(Felt(*felt)))
        assert value(told, float("inf"), 1.0, 9.0) == core.of(Felt(float("inf"), 1.0, 9.0)) == 0.0


@pytest.mark.parametrize("utility", [None, UTILITY, UTILITY.model_copy(update={"latency_ns": (), "latency_quantile": None})])
def test_real_hosts_are_told_the_same_as_simulated_ones(utility: model.Utility | None) -> None:
    app = model.App(name="web", replicas=2, most=5, service_time_ns=MS, utility=utility)
    wire = heard(told_on_the_wire(app, {}))
    assert wire == told_in_sim(app, {})
    assert wire.divided == (utility is not None)
    assert wire.floor == (1 if utility else 0)
