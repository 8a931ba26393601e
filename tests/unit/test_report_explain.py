"""`opus explain` of applications without a utility and of those whose data move; and the report's page of who holds what."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from helpers.divided import UTILITY, division
from helpers.fakerun import MS, SECOND, FakeRun, make_plan
from opus_controller.cli._app import run as opus
from opus_controller.model.plan import App
from opus_controller.report import explain, holders, plots
from opus_controller.report.build import build
from opus_controller.report.html import render
from opus_controller.report.run import read
from opus_node.core.events import DataKept, HostsDivided, MembersPlaced, ReplicaSetDecided


def fake(**plan: Any) -> FakeRun:
    return FakeRun(make_plan(one_way_ms={}, hosts={"x": 4}, clients=["x-1"], duration_s=20.0, **plan))


def placed(made: FakeRun, at_s: float, members: list[str], before: list[str], cause: str, app: str = "web", **more: Any) -> None:
    """A decision with its inputs, as a steward tells it."""
    gone = [one for one in before if one not in members]
    figures: dict[str, Any] = {
        "wanted": 2, "candidates": 3, "demand": 4.25, "cost": 0.0, "e": 0.0, "delay": 20 * MS, "delay_before": 30 * MS,
        "silent": [round(2.5 * SECOND)] * len(gone), "keeps": [11 * MS] * len(members),
    }  # fmt: skip
    nodes = {"members": [made.node(one) for one in members], "before": [made.node(one) for one in before]}
    made.put(at_s, "placement", "x-1", app=app, epoch=int(at_s) * 1000, cause=cause, **nodes, **{**figures, **more})
    decided(made, at_s, members, cause, app)


def decided(made: FakeRun, at_s: float, members: list[str], cause: str, app: str = "web") -> None:
    nodes = [made.node(one) for one in members]
    made.put(at_s, "replica_set", "x-1", app=app, epoch=int(at_s) * 1000, members=nodes, cause=cause)


def test_each_change_is_told_with_what_it_was_made_by(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = fake()
    made.begin()
    placed(made, 1.0, ["x-2", "x-3"], [], "first", delay_before=-1)
    placed(made, 9.0, ["x-2", "x-4"], ["x-2", "x-3"], f"lost {made.node('x-3')}", keeps=[12 * MS, -1])
    where = made.write(tmp_path / "run")
    assert opus(["explain", "web", "--out", str(where)]) == 0
    out = capsys.readouterr().out
    for text in ("first", "lost x-3", "x-3 (silent 2.5 s)", "4.2/s", "20.0 ms", "30.0 ms", "32.0 ms (+12.0)", "unknown"):
        assert text in out, text
    assert "web at 9.0 s, by x-1: 2 of 3 hosts that could serve, 2 wanted; 4.2 requests/s" in out
    assert opus(["explain", "web", "--out", str(where), "--json"]) == 0
    first, last = json.loads(capsys.readouterr().out)["decisions"]
    assert first["delay_before_ms"] is None
    assert (last["lost"], last["silent_s"]) == (["x-3"], {"x-3": 2.5})
    assert [(one["host"], one["new"], one["keeps"]) for one in last["held"]] == [("x-2", False, 12.0), ("x-4", True, None)]


def test_a_record_that_lacks_the_inputs_is_told_as_far_as_it_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = fake()
    made.begin()
    decided(made, 1.0, ["x-2"], "first")
    decided(made, 5.0, ["x-3"], f"lost {made.node('x-2')}")
    assert opus(["explain", "web", "--out", str(made.write(tmp_path / "run")), "--json"]) == 0
    last = json.loads(capsys.readouterr().out)["decisions"][-1]
    assert (last["cause"], last["lost"], [one["host"] for one in last["held"]]) == ("lost x-2", ["x-2"], ["x-3"])


def test_of_one_with_a_utility_sets_that_no_division_made_are_told_too(tmp_path: Path) -> None:
    made = fake()
    made.begin()
    division(made, 1.0, ["x-2"], [], "first")
    decided(made, 4.0, ["x-2"], f"took over from {made.node('x-3')}")
    division(made, 9.0, ["x-2", "x-3"], ["x-2"])
    reader = read(made.write(tmp_path / "run"))
    app = made.plan.apps[0].model_copy(update={"utility": UTILITY})
    found = explain.of_app(app, reader.decided, str)
    assert [(one.cause.split(" ")[0], type(one)) for one in found.decisions] == [
        ("first", explain.Decision),
        ("took", explain.Decided),
        ("worth", explain.Decision),
    ]


def test_where_data_move_the_configurations_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One is in force when a majority has entered it; the second never is."""
    made = fake()
    made.begin()
    placed(made, 1.0, ["x-2", "x-3", "x-4"], [], "first")
    placed(made, 9.0, ["x-1", "x-3", "x-4"], ["x-2", "x-3", "x-4"], f"lost {made.node('x-2')}")
    one, two = (made.plan, [made.node(host) for host in ("x-2", "x-3", "x-4")]), [made.node(h) for h in ("x-1", "x-3", "x-4")]
    for at, host in ((1.5, "x-2"), (1.7, "x-3"), (1.9, "x-4")):
        made.put(at, "data", host, app="web", member=True, number=1, members=one[1])
    made.put(9.8, "data", "x-3", app="web", member=True, number=2, members=two)
    where = made.write(tmp_path / "run")
    assert opus(["explain", "web", "--out", str(where), "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["configurations"]
    assert (first["cause"], first["decided_s"], first["began_s"], first["in_force_s"], first["entered"]) == (
        "first",
        1,
        1.5,
        1.7,
        3,
    )
    assert (second["cause"], second["in_force_s"], second["entered"]) == ("lost x-2", None, 1)
    assert opus(["explain", "web", "--out", str(where)]) == 0
    assert "never, 1 of 3" in capsys.readouterr().out


def test_a_wrong_name_is_one_line_with_the_right_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = fake(apps={"web": 1, "wiki": 1})
    made.begin()
    where = made.write(tmp_path / "run")
    assert opus(["explain", "wkii", "--out", str(where)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("there is no application 'wkii'; allowed: web, wiki")


@pytest.mark.parametrize("notice", [MembersPlaced, HostsDivided, ReplicaSetDecided, DataKept])
def test_what_explain_reads_is_what_stewards_and_keepers_tell(notice: Any) -> None:
    assert notice.kind in explain.DECIDED
    assert {one.name for one in fields(notice)} >= {"app", "members"}


# The page


def test_bars_are_from_when_a_host_serves_until_it_does_not_or_is_dead(tmp_path: Path) -> None:
    made = fake(apps={"web": 1, "wiki": 1})
    made.begin()
    made.role(1.0, "x-2", "replica", "web")
    made.role(6.0, "x-2", "replica", "web", active=False)
    made.role(6.0, "x-2", "replica", "wiki")
    made.role(2.0, "x-3", "replica", "web")
    made.fault(8.0, "power-off", "loss", target="x-3", victims=["x-3"])
    made.role(9.0, "x-2", "replica", "web")  # both at a time
    made.put(20.0, "end")
    run = read(made.write(tmp_path / "run"))
    spans = [(b.host, b.app, b.start / SECOND, b.end / SECOND) for b in holders.bars(run)]
    assert spans == [(1, 0, 1.0, 6.0), (1, 0, 9.0, 20.0), (1, 1, 6.0, 20.0), (2, 0, 2.0, 8.0)]
    assert holders.rows(run, holders.bars(run)) == [1, 2]
    lanes = holders._lanes([b for b in holders.bars(run) if b.host == 1])
    assert lanes == [0, 1, 0]


def test_the_page_shows_who_holds_what_and_why(tmp_path: Path) -> None:
    made = fake()
    made.begin()
    for at in range(1, 18):
        members, before = (["x-2"], ["x-3"]) if at % 2 else (["x-3"], ["x-2"])
        placed(made, at, members, before if at > 1 else [], f"nearer to demand: {at}% of all delay and dues less")
        made.role(at, members[0], "replica", "web")
        made.role(at, before[0], "replica", "web", active=False)
    made.request(3.5, "x-1", replica="x-2")
    made.put(20.0, "end")
    run = read(made.write(tmp_path / "run"))
    page = render(run, build(run))
    assert '<section id="holders">' in page
    assert "who serves which application" in page
    assert "nearer to demand: 17% of all" in page
    assert "nearer to demand: 5% of all" not in page, "only the latest twelve"
    assert "And 5 earlier ones" in page
    nobody = fake()
    nobody.begin()
    run = read(nobody.write(tmp_path / "nobody"))
    assert '<section id="holders">' not in render(run, build(run))


def test_clients_that_begin_later_or_end_sooner_are_marked() -> None:
    plan = make_plan(one_way_ms={}, hosts={"x": 2}, clients=["x-1", "x-2"], duration_s=20.0)
    assert plots.crowds(plan) == []
    first, second = plan.workload
    rush = second.model_copy(update={"start_ns": 5 * SECOND, "stop_ns": 9 * SECOND})
    assert plots.crowds(plan.model_copy(update={"workload": (first, rush, rush)})) == [("web", 5 * SECOND, 9 * SECOND)]
    assert plots.crowds(plan.model_copy(update={"workload": ()})) == []
    assert isinstance(plan.apps[0], App)
