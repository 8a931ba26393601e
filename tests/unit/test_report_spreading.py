"""What the report says of updates among replicas: worked out by hand; asked for, and played."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.fakerun import FakeRun, make_plan
from helpers.simulated import result_of_text
from opus_controller.model.compile import MOST_UPDATE
from opus_controller.model.plan import App, Expectation, Plan
from opus_controller.report import words
from opus_controller.report.build import build
from opus_controller.report.html import render
from opus_controller.report.result import Result
from opus_controller.report.run import read
from opus_controller.runtimes.hosts.control import _app as told_on_the_wire
from opus_controller.runtimes.sim.world import _told as told_in_sim
from opus_node.control import _app as heard
from opus_node.core.spreads import KEY, Spreads
from opus_node.core.updates import MOST

SERVE = ("a-1", "a-2", "b-1", "b-2", "c-1")


def fake(*expectations: Expectation, bound: float = 1.75) -> FakeRun:
    """Five of six hosts serve; 60 s."""
    made = make_plan(
        one_way_ms={("a", "b"): 10.0, ("a", "c"): 20.0, ("b", "c"): 30.0},
        hosts={"a": 2, "b": 2, "c": 2},
        apps={"web": 5},
        expectations=expectations,
    )
    run = FakeRun(made.model_copy(update={"apps": (made.apps[0].model_copy(update={"spread": bound}),)}))
    run.begin()
    for host in SERVE:
        run.role(0.1, host, "replica", "web")
    return run


def update(made: FakeRun, at_s: float, version: int, came_s: dict[str, tuple[float, str]], source: str = "a-1") -> None:
    """Published by `source`, and who had it after how many seconds from whom."""
    of: dict[str, Any] = {"app": "web", "source": made.node(source), "life": 0, "version": version, "bytes": 108, "missed": 0}
    made.put(at_s, "update", source, by="", **of)
    for host, (after_s, by) in came_s.items():
        made.put(at_s + after_s, "update", host, by=made.node(by), **of)


ALL = {"a-2": (0.1, "a-1"), "b-1": (0.2, "a-1"), "b-2": (0.3, "b-1"), "c-1": (0.5, "a-1")}


def judged(made: FakeRun, tmp_path: Path) -> Result:
    return build(read(made.write(tmp_path)))


def test_whom_an_update_reached_and_when(tmp_path: Path) -> None:
    made = fake()
    update(made, 10.0, 1, ALL)
    update(made, 11.0, 2, {**ALL, "c-1": (4.0, "b-1")})
    update(made, 12.0, 3, {host: came for host, came in ALL.items() if host != "b-2"})
    update(made, 55.0, 4, {})  # too late to be judged
    result = judged(made, tmp_path)
    assert result.spread is not None
    app = result.spread.apps[0]
    assert (app.app, app.bound, app.published, app.judged, app.lost, app.bytes) == ("web", 1.75, 4, 3, 0, 4 * 108)
    assert (app.reached, app.unreached) == (11 / 12, 1)
    assert app.all_s.p50 == pytest.approx(4.0)
    assert (app.all_s.p99, app.all_s.max) == (None, None), "never"
    assert app.within_s == app.all_s, "of four, 99.9% are all"
    assert "91.67% of live replicas reached" in words.spread(app)


def test_an_update_need_not_reach_who_dies_leaves_or_comes_later(tmp_path: Path) -> None:
    made = fake()
    made.power_off(10.1, "b-2", "loss")
    made.role(10.2, "c-1", "replica", "web", active=False)
    made.role(10.3, "c-2", "replica", "web")
    update(made, 10.0, 1, {"a-2": (0.1, "a-1"), "b-1": (0.2, "a-1"), "c-2": (9.0, "b-1")})
    update(made, 30.0, 2, {"a-2": (0.1, "a-1"), "b-1": (0.2, "a-1")})  # c-2 should have it
    result = judged(made, tmp_path)
    assert result.spread is not None
    assert (result.spread.reached, result.spread.unreached) == (4 / 5, 1)


def test_who_got_it_before_it_died_counts(tmp_path: Path) -> None:
    made = fake()
    made.power_off(10.4, "b-2", "loss")
    update(made, 10.0, 1, ALL)
    result = judged(made, tmp_path)
    assert result.spread is not None
    assert result.spread.all_s.max == pytest.approx(0.5)
    assert result.spread.reached == 1


def test_what_died_with_its_publisher_is_told_apart(tmp_path: Path) -> None:
    made = fake()
    update(made, 10.0, 1, {}, source="b-1")
    update(made, 10.0, 1, {"a-1": (0.1, "b-2")}, source="b-2")  # one had it: the others should have, too
    made.power_off(10.2, "b-1", "loss")
    made.power_off(10.2, "b-2", "loss-2")
    result = judged(made, tmp_path)
    assert result.spread is not None
    assert (result.spread.judged, result.spread.lost, result.spread.unreached) == (2, 1, 2)


def test_expectations_of_an_event_are_about_what_was_published_until_the_next(tmp_path: Path) -> None:
    def within(bound: float, fault: str = "") -> Expectation:
        return Expectation(name=f"{bound} {fault}", figure="spread.within_s.max", op="<=", bound=bound, fault=fault)

    never = Expectation(name="never", figure="spread.all_s.p50", op="<=", bound=9.0, fault="late")
    made = fake(within(3.0), within(3.0, "loss"), within(0.2, "loss"), within(5.0, "late"), never)
    update(made, 10.0, 1, ALL)
    made.power_off(20.0, "c-1", "loss")
    update(made, 21.0, 1 + 1, {"a-2": (0.1, "a-1"), "b-1": (0.2, "a-1"), "b-2": (0.3, "b-1")})
    made.power_off(30.0, "b-2", "late")
    update(made, 31.0, 3, {"a-2": (0.1, "a-1")})
    result = judged(made, tmp_path)
    assert [(one.ok, one.actual) for one in result.expectations] == [
        (False, None), (True, pytest.approx(0.3)), (False, pytest.approx(0.3)), (False, None), (False, None),
    ]  # fmt: skip
    assert result.expectations[0].note == "never, by the end"
    assert words.measured(result.expectations[1]) == "0.30 s"


def test_copies_are_counted_over_lives_up_to_the_last_sample(tmp_path: Path) -> None:
    made = fake()
    update(made, 10.0, 1, ALL)
    update(made, 45.0, 2, ALL)
    for at_s, host, counts in ((12.0, "a-1", [2, 5, 0]), (30.0, "a-1", [2, 1, 1]), (12.0, "b-1", [1, 1, 0])):
        made.sample(at_s, host)
        made.events[-1]["spread"] = {"web": counts}
    made.restart(20.0, "a-1")
    result = judged(made, tmp_path)
    assert result.spread is not None
    assert result.spread.copies == pytest.approx((5 + 1 + 1) / 4), "those of the second update no sample has counted"
    assert result.spread.apps[0].needless == 1


def test_degree_and_the_way_of_one_update(tmp_path: Path) -> None:
    made = fake()
    links = {"a-1": ("a-2", "b-1", "c-1"), "a-2": ("a-1",), "b-1": ("a-1", "b-2"), "b-2": ("b-1", "c-1"), "c-1": ("a-1", "b-2")}
    for host, own in links.items():
        made.put(1.0, "mesh", host, app="web", links=[made.node(one) for one in own])
    made.put(50.0, "mesh", "a-1", app="web", links=[made.node(one) for one in ("a-2", "c-1")])
    update(made, 10.0, 1, {**ALL, "c-2": (9.0, "b-1")})  # who joins later hears of it, but that is not the way it went
    run = read(made.write(tmp_path))
    result = build(run)
    assert result.spread is not None
    assert result.spread.links.max == 3
    assert result.spread.links.mean == pytest.approx(9 / 5)
    page = render(run, result)
    drawn = page[page.index('id="spread"') : page.index("The way of one update")]
    mesh, way = (drawn.split(f'<g class="{name}">')[1].split("</g>")[0].count("<line") for name in ("mesh", "way"))
    assert (mesh, way) == (1, 4), "b-2 to c-1 is the one link it did not take"
    assert "after 300 ms from b-1" in page


def test_without_a_bound_nothing_is_said_and_the_plan_has_the_bytes_it_had(tmp_path: Path) -> None:
    made = fake(bound=0.0)
    run = read(made.write(tmp_path))
    result = build(run)
    assert result.spread is None
    assert 'id="spread"' not in render(run, result)
    assert "spread" not in json.loads(made.plan.canonical())["apps"][0]
    asked = made.plan.model_copy(update={"apps": (made.plan.apps[0].model_copy(update={"spread": 2.0}),)})
    assert Plan.model_validate_json(asked.canonical()).apps[0].spread == 2.0


# Asked for, and played


@pytest.mark.parametrize("bound", [0.0, 1.75])
def test_a_node_is_told_the_same_by_every_runtime(bound: float) -> None:
    app = App(name="web", replicas=3, spread=bound)
    assert heard(told_on_the_wire(app, {})) == told_in_sim(app, {})
    assert told_in_sim(app, {}).spread == bound


@pytest.mark.parametrize("bound", [1.0, 0.5, -1.0, float("nan")])
def test_a_node_refuses_a_bound_that_is_none(bound: float) -> None:
    told = told_on_the_wire(App(name="web", replicas=3), {})
    told.spread = bound
    with pytest.raises(ValueError, match="allowed: a bound above 1"):
        heard(told)


def test_the_largest_write_that_is_accepted_can_be_published() -> None:
    assert MOST_UPDATE + KEY == MOST


SCENARIO = """
name: small
topology: six-regions
duration: 42s
settle: 12s
applications: [{name: feed, replicas: 9, spread: 1.75}]
workload:
  - {clients: all, total_rate: 10/s, write_share: 50%, request_size: 300B}
timeline:
  - {at: 25s, name: loss, power-off: 33% of replicas of feed}
expectations:
  - spread.reached >= 99.9% of feed
  - spread.within_s.p99 <= 3s after loss
"""


def test_a_scenario_that_asks_for_it_gets_it(tmp_path: Path) -> None:
    result = result_of_text(SCENARIO, tmp_path)
    assert result.verdict == "pass", result.expectations
    assert result.spread is not None
    app = result.spread.apps[0]
    assert app.published > 100
    assert app.bytes == app.published * (300 + KEY), "updates are as large as the writes"
    assert 1 <= (app.copies or 0) < 1.5
    assert len(result.faults[0].victims) == 3, "a third of nine"


def test_replicas_that_tell_nobody_are_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Spreads, "on", lambda self, source, message: None)
    result = result_of_text(SCENARIO, tmp_path)
    assert result.spread is not None
    assert result.spread.reached == 0
    assert result.verdict == "fail"
