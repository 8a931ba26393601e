"""What applications are worth and by what hosts were given to them, live: by hand, and as the report has it."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.divided import UTILITY, division
from helpers.fakerun import SECOND, FakeRun, make_plan
from opus_controller.engine.observer import Observed
from opus_controller.observe.applications import LEAVES, OTHER, AppsFold, reason
from opus_controller.observe.fold import RunFold
from opus_controller.observe.metrics import About, exposition
from opus_controller.report.build import build
from opus_controller.report.run import read


def fake() -> FakeRun:
    made = make_plan(one_way_ms={}, hosts={"x": 3}, clients=["x-1"], apps={"web": 1, "other": 1}, duration_s=20.0)
    web, other = made.apps
    return FakeRun(made.model_copy(update={"apps": (web.model_copy(update={"utility": UTILITY}), other)}))


def fold_of(made: FakeRun) -> AppsFold:
    fold = RunFold(made.plan)
    fold.add(made.events)
    return fold.applications


def test_what_was_felt_lately_is_the_reports_figure_and_old_requests_do_not_count(tmp_path: Path) -> None:
    made = fake()
    made.begin()
    made.request(1.0, "x-1", outcome="deadline")  # long ago
    for at, outcome in ((16.0, "ok"), (17.0, "ok"), (18.0, "ok"), (19.0, "deadline")):  # 20 + 20 ms, three of four: half of 8
        made.request(at, "x-1", routing_ms=20.0, replica="x-2" if outcome == "ok" else "", outcome=outcome)
    made.request(18.0, "x-1", app="other", routing_ms=1.0, replica="x-2")
    fold = fold_of(made)
    assert fold.felt(round(21.5 * SECOND)) == {"web": pytest.approx(4.0)}
    result = build(read(made.write(tmp_path / "run")))
    assert result.utility is not None
    assert result.utility.apps[0].windows[3] == pytest.approx(4.0)
    assert fold.felt(60 * SECOND) == {}, "nobody asked lately"
    assert fold.felt(3 * SECOND) == {"web": 0.0}


def test_decisions_are_counted_by_why_and_hosts_by_where_they_went() -> None:
    made = fake()
    made.begin()
    division(made, 1.0, ["x-2"], [], "first")
    division(made, 5.0, ["x-2", "x-3"], ["x-2"], "demand moved", demand=7.5, e=0.7, cost=0.25, utility=6.5)
    division(made, 9.0, ["x-1"], ["x-2", "x-3"], f"lost {made.node('x-2')}, {made.node('x-3')}")
    fold = fold_of(made)
    assert {why: n for (app, why), n in fold.decisions.items() if n and app == "web"} == {
        "first": 1,
        "demand moved": 1,
        "lost": 1,
    }
    assert (fold.moved["web", "gained"], fold.moved["web", "lost"]) == (3, 2)
    assert len(fold.members["web"]) == 1
    assert (fold.asked["web"], fold.e["web"], fold.cost["web"]) == (4.0, 0.6, 0.25), "the last one's"
    run = RunFold(made.plan)
    run.add(made.events)
    text = exposition(About("sim", "model", 0.0, 2.0), run, Observed(), 10 * SECOND, {"ok": 0, "failed": 0})
    for line in (
        'opus_app_worth{app="web"} 8.0',
        'opus_app_hosts_decided{app="web"} 1.0',
        'opus_app_utility_expected{app="web"} 6.0',
    ):
        assert line in text.splitlines()
    assert 'opus_app_worth{app="other"}' not in text


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        ("nearer to demand: 7% of all delay and dues less", "nearer to demand"),
        ("resized to 9: 100 ms of a core a request, E 0.76", "resized"),
        ("198.18.0.7 leaves", LEAVES),
        ("lost 198.18.0.7, 198.18.0.8", "lost"),
        ("took over from 198.18.0.7", "took over"),
        ("by decree", OTHER),
    ],
)
def test_causes_are_of_few_kinds(cause: str, kind: str) -> None:
    assert reason(cause) == kind
