"""What the report says of data that change: histories by hand, who had a path to a majority, and what a scenario may expect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.fakerun import FakeRun, make_plan, s
from helpers.simulated import result_of_text
from opus_controller.model.plan import App, Expectation, Plan
from opus_controller.report import words
from opus_controller.report.build import build
from opus_controller.report.consistency import history_of, summary
from opus_controller.report.html import render
from opus_controller.report.result import Result
from opus_controller.report.run import read
from opus_controller.runtimes.hosts.control import _app as told_on_the_wire
from opus_controller.runtimes.sim.world import _told as told_in_sim
from opus_node.control import _app as heard
from opus_node.core.client import Client
from opus_node.core.types import LINEARIZABLE

NONE = Expectation(name="kept", figure="consistency.violations", op="==", bound=0.0)


def fake(*, consistency: str = LINEARIZABLE, expectations: tuple[Expectation, ...] = (NONE,)) -> FakeRun:
    made = make_plan(
        one_way_ms={("a", "b"): 10.0, ("a", "c"): 20.0, ("b", "c"): 30.0},
        hosts={"a": 2, "b": 2, "c": 2},
        clients=["a-1", "b-1"],
        apps={"web": 3, "other": 1},
        expectations=expectations,
    )
    web, other = made.apps
    run = FakeRun(made.model_copy(update={"apps": (web.model_copy(update={"consistency": consistency}), other)}))
    run.begin()
    for host in ("a-2", "b-2", "c-2"):
        run.role(0.1, host, "replica", "web")
    return run


def record(made: FakeRun, host: str, request: int, at_s: tuple[float, float], **more: Any) -> None:
    """A register's operation; `value` v1 was written under the tag (1, "w1"), unless more is said."""
    value = more.pop("value", "")
    known: dict[str, Any] = {
        "app": "web", "request": request, "key": 0, "write": False, "issued_at": s(at_s[0]), "done_at": s(at_s[1]),
        "outcome": "ok", "value": value, "count": int(value[1:] or 0), "writer": f"w{value[1:]}" if value else "", "life": 0,
    }  # fmt: skip
    made.put(at_s[1], "register", host, **{**known, **more})


def write(made: FakeRun, host: str, request: int, at_s: tuple[float, float], value: str, **more: Any) -> None:
    record(made, host, request, at_s, write=True, value=value, **more)


def judged(made: FakeRun, tmp_path: Path) -> Result:
    return build(read(made.write(tmp_path / "run")))


# Histories


def test_what_can_be_explained_is_kept(tmp_path: Path) -> None:
    made = fake()
    record(made, "b-1", 0, (0.5, 0.6))
    write(made, "a-1", 0, (1.0, 1.2), "v1")
    record(made, "b-1", 1, (1.1, 1.3), value="v1")
    write(made, "a-1", 1, (2.0, 2.2), "v2", key=1)
    result = judged(made, tmp_path)
    told = result.consistency
    assert told is not None
    assert (told.violations, [app.app for app in told.apps]) == (0, ["web"])
    assert (told.apps[0].operations, told.apps[0].keys, told.apps[0].unheard) == (4, 2, 0)
    assert [one.ok for one in result.expectations] == [True]
    assert ("data of web", "linearizable: kept for all of 2 keys; 4 operations, 0 writes unheard") in words.headline(
        replace_requests(result)
    )


def replace_requests(result: Result) -> Result:
    """As if there had been one: without any the headline is short."""
    return result.model_copy(update={"requests": result.requests.model_copy(update={"issued": 1})})


def test_a_stale_read_is_a_violation_that_is_told_and_fails_the_run(tmp_path: Path) -> None:
    made = fake()
    write(made, "a-1", 0, (1.0, 1.2), "v1")
    write(made, "a-1", 1, (2.0, 2.2), "v2")
    record(made, "b-1", 0, (3.0, 3.2), value="v1")
    made.request(1.0, "a-1", replica="a-2")
    directory = made.write(tmp_path / "run")
    run = read(directory)
    result = build(run)
    assert result.consistency is not None
    assert result.consistency.violations == 1
    assert "b-1 0/0 read v1, 3.000 s to 3.200 s" in result.consistency.apps[0].violated[0].stuck_at
    assert result.verdict == "fail"
    page = render(run, result)
    assert "Violated: key 0 of web" in page
    assert "b-1 0/0 read v1, 3.000 s to 3.200 s" in page


def test_a_write_that_was_not_heard_of_may_have_happened_and_one_without_a_tag_has_not(tmp_path: Path) -> None:
    made = fake()
    write(made, "a-1", 0, (1.0, 3.0), "v1", outcome="deadline")
    write(made, "a-1", 1, (1.0, 3.0), "v2", outcome="deadline", count=0, writer="")
    record(made, "b-1", 0, (4.0, 4.2), value="v1")
    record(made, "b-1", 1, (5.0, 5.2), outcome="deadline")
    told = judged(made, tmp_path).consistency
    assert told is not None
    assert (told.violations, told.apps[0].operations, told.apps[0].unheard) == (0, 4, 1)


def test_a_write_whose_client_died_is_known_by_who_read_it(tmp_path: Path) -> None:
    """It was asked after what the same life of its client had asked before, so it explains nothing that was read earlier."""
    made = fake()
    writer = f"{made.node('a-1')}/1/7"
    write(made, "a-1", 6, (2.0, 2.1), "v1", key=5, life=1)
    record(made, "b-1", 0, (3.0, 3.2), value="v9", writer=writer)
    told = judged(made, tmp_path / "possible").consistency
    assert told is not None
    assert (told.violations, told.apps[0].unheard) == (0, 1)
    record(made, "b-1", 1, (1.0, 1.2), value="v9", writer=writer)
    told = judged(made, tmp_path / "not").consistency
    assert told is not None
    assert told.violations == 1


def test_what_nobody_ever_wrote_is_a_violation() -> None:
    made = fake()
    write(made, "a-1", 0, (1.0, 1.1), "v1")
    record(made, "b-1", 0, (2.0, 2.1), value="v3", count=1, writer="w1")
    history = history_of(one for one in made.events if one["kind"] == "register")
    assert len(history.operations) == 2
    told = summary(made.plan, [one for one in made.events if one["kind"] == "register"])
    assert told is not None
    assert told.violations == 1


def test_where_nothing_is_promised_nothing_is_said(tmp_path: Path) -> None:
    made = fake(consistency="", expectations=())
    directory = made.write(tmp_path / "run")
    run = read(directory)
    result = build(run)
    assert result.consistency is None
    assert 'id="consistency"' not in render(run, result)


# Who had a path


def kept(
    made: FakeRun, at_s: float, number: int, members: list[str], hosts: list[str] | None = None, *, member: bool = True
) -> None:
    for host in members if hosts is None else hosts:
        nodes = [made.node(one) for one in members]
        made.put(at_s, "data", host, app="web", member=member, number=number, members=nodes)


def with_a_path(made: FakeRun, tmp_path: Path, client: str, *times: float) -> list[bool]:
    for at in times:
        made.request(at, client, outcome="deadline")
    return [bool(one) for one in read(made.write(tmp_path / "run")).judged.oracle.reachable]


def test_a_path_to_a_replica_is_not_enough_without_one_to_a_majority(tmp_path: Path) -> None:
    made = fake()
    kept(made, 1.0, 1, ["a-2", "b-2", "c-2"])
    made.partition(5.0, ["a-1", "a-2"])
    made.heal(8.0, "cut")
    assert with_a_path(made, tmp_path, "a-1", 0.5, 2.0, 6.0, 9.0) == [False, True, False, True]


def test_a_member_that_restarts_is_none_until_it_is_taken_in_anew(tmp_path: Path) -> None:
    made = fake()
    kept(made, 1.0, 1, ["a-2", "b-2", "c-2"])
    made.power_off(5.0, "b-2")
    made.power_off(6.0, "c-2", "other")
    made.restart(7.0, "c-2")
    made.role(7.1, "c-2", "replica", "web")
    assert with_a_path(made, tmp_path, "a-1", 5.5, 6.5, 7.5) == [True, False, False]


def test_a_configuration_is_in_force_once_a_majority_keeps_it_and_for_good(tmp_path: Path) -> None:
    """c-2 never heard that it is no member any more; that it is still one of the former ones helps nobody."""
    made = fake()
    kept(made, 1.0, 1, ["a-2", "b-2", "c-2"])
    kept(made, 2.0, 2, ["a-2", "b-2", "b-1"], ["a-2"])
    kept(made, 3.0, 2, ["a-2", "b-2", "b-1"], ["b-2", "b-1"])
    made.power_off(5.0, "b-2")
    made.power_off(6.0, "b-1", "other")
    assert with_a_path(made, tmp_path, "a-1", 2.5, 3.5, 5.5, 6.5) == [True, True, True, False]


# Asked for, and played


@pytest.mark.parametrize("consistency", ["", LINEARIZABLE])
def test_a_node_is_told_the_same_by_every_runtime(consistency: str) -> None:
    app = App(name="web", replicas=3, consistency=consistency)
    assert heard(told_on_the_wire(app, {})) == told_in_sim(app, {})
    assert heard(told_on_the_wire(app, {})).consistency == consistency


def test_a_node_refuses_what_it_does_not_know() -> None:
    told = told_on_the_wire(App(name="web", replicas=3, consistency="sometimes"), {})
    with pytest.raises(ValueError, match="sometimes: not known; allowed: linearizable"):
        heard(told)


def test_a_plan_that_promises_nothing_has_the_bytes_it_had() -> None:
    plan = make_plan(one_way_ms={}, hosts={"x": 3})
    assert b"consistency" not in plan.canonical()
    promised = plan.model_copy(update={"apps": (plan.apps[0].model_copy(update={"consistency": LINEARIZABLE}),)})
    assert Plan.model_validate_json(promised.canonical()).apps[0].consistency == LINEARIZABLE


SCENARIO = """
name: small
topology: six-regions
duration: 40s
applications: [{name: store, replicas: 3, consistency: linearizable}]
workload:
  - {clients: all, total_rate: 60/s, write_share: 40%, keys: 5}
timeline:
  - {at: 15s, power-off: a replica of store, for: 5s}
  - {at: 25s, partition: a replica of store, for: 5s}
expectations:
  - consistency.violations == 0 of app store
  - availability >= 99% where reachable
"""


def test_a_scenario_that_asks_for_it_gets_it(tmp_path: Path) -> None:
    result = result_of_text(SCENARIO, tmp_path)
    assert result.verdict == "pass", result.expectations
    assert result.consistency is not None
    assert result.consistency.apps[0].operations == result.requests.issued > 1000
    assert result.consistency.apps[0].keys == 5


def test_a_node_that_lies_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that take a write for done as soon as it has its tag."""
    monkeypatch.setattr(Client, "_commit", hasty(Client._finish))
    result = result_of_text(SCENARIO, tmp_path)
    assert result.consistency is not None
    assert result.consistency.violations
    assert result.verdict == "fail"


def hasty(finish: Callable[..., None]) -> Callable[..., None]:
    def commit(self: Client, pending: Any, tag: Any) -> None:
        pending.tag = replace(tag)
        finish(self, pending, "ok", pending.flights[-1].peer, self._ctx.now, 1)

    return commit
