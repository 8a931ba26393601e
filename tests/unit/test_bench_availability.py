"""`opus bench availability`: its instances, what it counts and keeps, its verdicts, and what delays it finds in records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from opus_controller.bench.availability import delays, played, shown, table
from opus_controller.bench.availability.table import Line, Order, Scale, Spot
from opus_controller.bench.availability.worlds import FAMILIES, Size, plan_of, sized
from opus_controller.cli._app import run
from opus_controller.model.plan import Plan
from opus_controller.planner.course import Span

MODES = ("linearizable", "write-all", "primary", "bounded", "eventual")
SECOND = 1_000_000_000


@pytest.mark.parametrize("family", FAMILIES)
def test_an_instance_has_an_application_for_each_mode_and_hosts_that_keep_nothing(family: str) -> None:
    plan = plan_of(family, 3)
    assert tuple(app.consistency for app in plan.apps) == MODES
    assert {load.app for load in plan.workload} == {app.name for app in plan.apps}
    assert not {load.client for load in plan.workload} & set(plan.seeds)
    small = [host for host in plan.hosts if host.abilities.memory < plan.apps[0].memory]
    assert sorted(host.name for host in small) == sorted(plan.seeds)
    assert plan.digest != plan_of(family, 4).digest


def test_sizes_and_members_reach_the_plan() -> None:
    plan = plan_of("cuts", 1)
    sizes = {app.name: Size(2, ("use1-1", "usw2-1")) for app in plan.apps}
    assert {(app.replicas, app.static, app.members) for app in sized(plan, sizes, static=True).apps} == {
        (2, True, ("use1-1", "usw2-1"))
    }


def small(seed: int = 1) -> Plan:
    """One application of a short run."""
    plan = plan_of("cuts", seed)
    plan = sized(plan, {app.name: Size(3) for app in plan.apps}, static=False)
    loads = tuple(load.model_copy(update={"stop_ns": 16 * SECOND}) for load in plan.workload if load.app == "eventual")
    return plan.model_copy(update={"apps": plan.apps[-1:], "workload": loads, "duration_ns": 16 * SECOND, "timeline": ()})


def test_a_run_is_counted_and_never_played_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = small()
    found = played.counted(plan, tmp_path)
    asked, ok = found["eventual"]
    assert asked == ok > 0
    told = json.loads((tmp_path / f"{plan.digest}.json").read_text())
    assert told["apps"] == {"eventual": [3, False, []]}

    def never(*_: object) -> None:
        raise AssertionError("played again")

    monkeypatch.setattr(played, "play_into", never)
    assert played.counted(plan, tmp_path) == found


def line(chosen: int, **measured: tuple[float, ...]) -> Line:
    spots = tuple(Spot(int(name[1:]), (), shares, shares, 0.0) for name, shares in measured.items())
    return Line("cuts", "static", "primary", spots, chosen, {})


def test_the_verdict_is_by_regret_and_by_m() -> None:
    shares = {"m1": (0.90, 0.90), "m3": (0.95, 0.968), "m5": (0.9605, 0.9602), "m7": (0.9606, 0.9600)}
    assert line(5, **shares).best.replicas == 5
    assert reached(line(5, **shares))
    assert not reached(line(7, **shares)), "as good, but two more"
    assert not reached(line(3, **shares))
    assert line(3, **shares).regret.value == pytest.approx(0.00135)
    assert not reached(line(1, **shares))
    found = shown.row(line(1, **shares))
    assert len(found) == len(shown.COLUMNS)
    assert found[6].startswith("5.50 ")
    assert found[7] == "MISSED"


def reached(one: Line) -> bool:
    return one.reached(one.ours)


def test_whether_the_reckoning_is_right_is_told_apart_from_which_failures_were_foreseen() -> None:
    """With the failures of the runs before it the planner would have taken five; from others it took three."""
    told = {1: 0.90, 3: 0.94, 5: 0.96}
    spots = tuple(Spot(m, (), (share - 0.01, share + 0.01), (share, share), 0.0) for m, share in told.items())
    one = Line("cuts", "static", "primary", spots, 3, {})
    assert one.told.replicas == one.best.replicas == 5
    assert one.lost(one.told).value == 0
    assert one.reached(one.told)
    assert not one.reached(one.ours)
    assert shown.row(one)[7:11] == ("MISSED", "5", "0.00 [0.00, 0.00]", "ok")
    assert shown.plain([one])[0]["ok_for_these"] is True


def test_by_other_seeds_luck_is_no_regret() -> None:
    one = line(3, m3=(0.9, 0.8), m5=(0.8, 0.9))
    assert one.fair.value < 0


EACH = frozenset[str]()


def span(start: int, end: int, down: str = "", cut: str = "", life: int = 0) -> Span:
    up = {host: life if host == "a" else 0 for host in "abcd" if host not in down}
    cuts = ((frozenset(cut), frozenset("abcd") - frozenset(cut)),) if cut else ()
    return Span(start * SECOND, end * SECOND, up, EACH, cuts)


def data(at: float, host: str, number: int, members: str) -> dict[str, Any]:
    told = {"t": int(at * SECOND), "kind": "data", "app": "store", "host": host}
    return {**told, "member": True, "number": number, "members": list(members)}


def decided(at: float, host: str, members: str) -> dict[str, Any]:
    return {"t": int(at * SECOND), "kind": "replica_set", "app": "store", "host": host, "members": list(members)}


@pytest.mark.parametrize(
    ("spans", "head", "kind"),
    [
        ((span(0, 10), span(10, 30, down="a")), "b", "died"),
        ((span(0, 10), span(10, 30, cut="a")), "b", "cut"),
        ((span(0, 10), span(10, 30, cut="a")), "a", "headless"),
        ((span(0, 10), span(10, 12, cut="a"), span(12, 30)), "b", None),
    ],
)
def test_a_member_is_lost_until_one_configuration_lacks_nobody(
    spans: tuple[Span, ...], head: str, kind: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delays, "course_of", lambda plan: list(spans))
    plan = small().model_copy(update={"apps": (small().apps[0].model_copy(update={"name": "store", "consistency": "primary"}),)})
    first = [decided(1, head, "abc"), *(data(2, host, 1, "abc") for host in "abc")]
    later = [data(14, "b", 2, "bcd"), data(15, "c", 2, "bcd"), data(16, "d", 2, "bcd")]
    found = delays.incidents(plan, [*first, *later])
    assert [(one.kind, one.took_s) for one in found] == ([] if kind is None else [(kind, 5.0)])


def test_sides_that_get_a_replica_and_hosts_that_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    app = small().apps[0].model_copy(update={"name": "store"})
    plan = small().model_copy(update={"apps": (app,)})
    monkeypatch.setattr(delays, "course_of", lambda plan: [span(0, 10), span(10, 30, cut="d"), span(30, 40)])
    plan = plan.model_copy(update={"duration_ns": 40 * SECOND})
    events = [decided(1, "b", "abc"), decided(17, "d", "d")]
    assert [(one.kind, one.took_s) for one in delays.incidents(plan, events)] == [("founded", 7.0)]
    stays = app.model_copy(update={"consistency": "primary", "static": True, "members": ("a", "b", "c")})
    plan = plan.model_copy(update={"apps": (stays,)})
    monkeypatch.setattr(delays, "course_of", lambda plan: [span(0, 10), span(10, 20, down="a"), span(20, 40, life=1)])
    events = [data(2, "a", 1, "abc"), data(23, "a", 2, "abc")]
    assert [(one.kind, one.took_s) for one in delays.incidents(plan, events)] == [("back", 3.0)]


def test_the_table_is_made_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def counted(plan: Plan, keep: Path | None) -> dict[str, tuple[int, int]]:
        assert plan.seed < table.TRAIN, "the planner's courses are not played"
        return {app.name: (1000, 900 + app.replicas) for app in plan.apps}

    monkeypatch.setattr(table, "counted", counted)
    found = table.measure(Order(("cuts/static",), 2, Scale((1, 3), 2), tmp_path))
    assert [(one.mode, one.membership, one.best.replicas) for one in found] == [(mode, "static", 3) for mode in MODES]
    assert all(len(spot.members) == spot.replicas for one in found for spot in one.spots)
    pictures = shown.keep(found, tmp_path)
    assert len(pictures) == 1 + len(MODES)
    assert "forecast" in pictures[1].read_text()


def test_what_does_not_exist_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "availability", "--rows", "storms"]) == 2
    error = capsys.readouterr().err
    assert "churn/static" in error
    assert error.count("\n") == 1
