"""The player: what is done when, what is kept, and how a run ends."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_runtime import SECOND, FakeRuntime, small_plan
from opus_controller.engine.play import Outcome, Progress, play
from opus_controller.engine.record import RecordReader, RunRecord
from opus_controller.engine.runtime import LiveHost, Record, RunInfo
from opus_controller.model.errors import PlatformError
from opus_controller.model.plan import Heal, HostFault, LinkChange, Partition, Plan, Strain, Target
from opus_controller.model.shapes import HostChange, PathShape, ShapeChange


def play_it(tmp_path: Path, plan: Plan, runtime: FakeRuntime, seen: list[Progress] | None = None) -> tuple[Outcome, RecordReader]:
    record = RunRecord.create(tmp_path / "runs", plan)
    outcome = asyncio.run(play(plan, runtime, record, on_progress=(seen if seen is not None else []).append))
    record.close()
    return outcome, RecordReader(tmp_path / "runs" / "latest")


def faults_of(reader: RecordReader) -> list[dict[str, Any]]:
    return [event for event in reader.events() if event["kind"] == "fault"]


def kill(at_s: int, target: Target, name: str = "loss") -> HostFault:
    return HostFault(kind="power-off", at_ns=at_s * SECOND, name=name, target=target)


def test_plays_to_the_last_deadline_and_goes_down(tmp_path: Path) -> None:
    runtime = FakeRuntime()
    outcome, reader = play_it(tmp_path, small_plan(duration_s=10), runtime)
    assert outcome.ended == "done"
    assert outcome.exit_code == 0
    assert [name for _, name, _ in runtime.calls if name != "health"] == ["up", "start_workload", "down"]
    assert runtime.t == 13 * SECOND  # 10 s, requests of the last instant open for 2 s, 1 s for word of them
    assert len(runtime.did("health")) >= 13
    kinds = [event["kind"] for event in reader.events()]
    assert kinds == ["host_up"] * 6 + ["workload_start", "end"]
    assert reader.about()["ended"] == "done"
    assert reader.about()["runtime"] == "fake"
    assert reader.about()["facts"] == {"colour": "blue"}
    assert reader.about()["validity"] == {"ok": True, "reasons": []}


def test_a_role_is_resolved_when_it_is_due_and_the_choice_recorded(tmp_path: Path) -> None:
    names = [f"{site}-{number}" for site in "abc" for number in (1, 2)]
    hosts = {name: LiveHost(name, True, replica_of=("web",) if name in ("b-2", "c-1") else ()) for name in names}
    runtime = FakeRuntime(hosts=hosts)
    plan = small_plan(kill(4, Target(text="a replica of web", role="replica", app="web", pick=0.99)))
    outcome, reader = play_it(tmp_path, plan, runtime)
    assert runtime.did("power_off") == [(4.0, ("c-1",))]
    assert runtime.networks[0].down == {"c-1"}
    (fault,) = faults_of(reader)
    assert (fault["t"], fault["fault"], fault["victims"], fault["name"]) == (4 * SECOND, "power-off", ["c-1"], "loss")
    assert {"t": 4 * SECOND, "host": "c-1", "kind": "host_down", "cause": "power-off"} in list(reader.events())
    assert outcome.validity.ok


def test_a_fault_that_finds_nobody_makes_the_run_invalid(tmp_path: Path) -> None:
    runtime = FakeRuntime()
    plan = small_plan(kill(4, Target(text="a replica of web", role="replica", app="web")))
    outcome, reader = play_it(tmp_path, plan, runtime)
    assert outcome.ended == "done"
    assert runtime.did("power_off") == []
    assert faults_of(reader)[0]["victims"] == []
    assert not outcome.validity.ok
    assert "found nobody to hit (a replica of web)" in reader.about()["validity"]["reasons"][0]


def test_restart_takes_the_same_victims_and_lets_them_back_in(tmp_path: Path) -> None:
    plan = small_plan(
        kill(2, Target(text="b", hosts=("b-1", "b-2"))),
        HostFault(kind="restart", at_ns=5 * SECOND, name="back", target=Target(text="what loss killed"), same_as="loss"),
    )
    runtime = FakeRuntime()
    _, reader = play_it(tmp_path, plan, runtime)
    assert runtime.did("restart") == [(5.0, ("b-1", "b-2"))]
    assert [network.down for network in runtime.networks] == [frozenset({"b-1", "b-2"}), frozenset()]
    assert faults_of(reader)[1]["undoes"] == "loss"
    assert [event["host"] for event in reader.events() if event["kind"] == "host_up"][-2:] == ["b-1", "b-2"]


def test_only_hosts_that_are_dead_lose_what_they_have_and_before_they_are_back(tmp_path: Path) -> None:
    both = Target(text="site b", hosts=("b-1", "b-2"))
    plan = small_plan(
        kill(2, Target(text="b-1", hosts=("b-1",))),
        HostFault(kind="restart", at_ns=5 * SECOND, name="anew", target=both, state="lost"),
        kill(6, Target(text="b-2", hosts=("b-2",))).model_copy(update={"name": "again"}),
        HostFault(kind="restart", at_ns=7 * SECOND, name="back", target=both),
    )
    runtime = FakeRuntime()
    _, reader = play_it(tmp_path, plan, runtime)
    done = [(name, hosts) for _, name, hosts in runtime.calls if name in ("lose_state", "restart")]
    assert done == [("lose_state", ("b-1",)), ("restart", ("b-1",)), ("restart", ("b-2",))]
    assert [fault.get("state") for fault in faults_of(reader)] == [None, "lost", None, None]


def test_partitions_and_link_changes_unwind_in_any_order(tmp_path: Path) -> None:
    slow = PathShape(delay_ns=77)
    change = ShapeChange(put={"delay_ns": 77, "loss": 0.0, "jitter_ns": 0})
    plan = small_plan(
        Partition(
            kind="partition", at_ns=1 * SECOND, name="cut", a=Target(text="site a", hosts=("a-1", "a-2")), b=Target(text="")
        ),
        LinkChange(kind="link", at_ns=2 * SECOND, name="slow", source="b", target="c", change=change),
        Heal(kind="heal", at_ns=3 * SECOND, undoes="cut"),
        Heal(kind="heal", at_ns=4 * SECOND, undoes="slow"),
    )
    runtime = FakeRuntime()
    _, reader = play_it(tmp_path, plan, runtime)
    cut, both, slowed, whole = runtime.networks
    assert cut.is_cut("a-1", "c-2")
    assert cut.is_cut("c-2", "a-1")
    assert not cut.is_cut("a-1", "a-2")
    assert not cut.is_cut("b-1", "c-1")
    assert both.is_cut("a-1", "b-1")
    assert both.overrides == {("b", "c"): slow, ("c", "b"): slow}
    assert not slowed.is_cut("a-1", "b-1")
    assert slowed.overrides == both.overrides
    assert whole.overrides == {}
    assert [fault["undoes"] for fault in faults_of(reader)] == ["", "", "cut", "slow"]
    assert faults_of(reader)[0]["b"] == ["b-1", "b-2", "c-1", "c-2"]
    assert faults_of(reader)[2]["victims"] == ["a-1", "a-2"]


def test_a_plan_that_needs_more_than_the_runtime_has_is_refused_before_it_starts(tmp_path: Path) -> None:
    runtime = FakeRuntime(info=RunInfo("sim", "model"))
    squeeze = Strain(
        kind="strain", at_ns=SECOND, name="squeeze", target=Target(text="a-1", hosts=("a-1",)), change=HostChange(memory=1 << 27)
    )
    outcome, _ = play_it(tmp_path, small_plan(squeeze), runtime)
    assert outcome.exit_code == 2
    assert "'squeeze': simulated hosts have no memory" in str(outcome.error)
    assert runtime.did("up") == []


def test_a_one_way_partition_lets_the_other_direction_pass(tmp_path: Path) -> None:
    a, b = Target(text="a-1", hosts=("a-1",)), Target(text="b-1", hosts=("b-1",))
    runtime = FakeRuntime()
    play_it(tmp_path, small_plan(Partition(kind="partition", at_ns=SECOND, name="cut", a=a, b=b, both_ways=False)), runtime)
    assert runtime.networks[0].is_cut("a-1", "b-1")
    assert not runtime.networks[0].is_cut("b-1", "a-1")


@pytest.mark.parametrize("operation", ["up", "start_workload", "power_off", "live", "health"])
@pytest.mark.parametrize(("failure", "code"), [(PlatformError("no tun device"), 3), (RuntimeError("planted"), 70)])
def test_an_error_ends_in_a_record_and_a_clean_down(tmp_path: Path, operation: str, failure: Exception, code: int) -> None:
    plan = small_plan(
        kill(3, Target(text="b", hosts=("b-1",))), kill(4, Target(text="an agent", role="agent"), name="other"), duration_s=6
    )
    runtime = FakeRuntime(fail_at=operation, failure=failure)
    outcome, reader = play_it(tmp_path, plan, runtime)
    assert outcome.ended == "failed"
    assert outcome.exit_code == code
    assert runtime.calls[-1][1] == "down"
    (error,) = [event for event in reader.events() if event["kind"] == "error"]
    assert str(failure) in error["error"]
    assert str(failure) in reader.about()["error"]


def test_ctrl_c_keeps_the_record_so_far_and_cleans_up(tmp_path: Path) -> None:
    noticed: dict[int, list[Record]] = {
        2: [{"t": 2 * SECOND, "host": "a-1", "kind": "attached", "agent": "198.18.0.2", "rtt": 5}]
    }
    runtime = FakeRuntime(signal_at=3, noticed=noticed)
    outcome, reader = play_it(tmp_path, small_plan(duration_s=1000), runtime)
    assert outcome.ended == "interrupted"
    assert outcome.exit_code == 130
    assert runtime.t < 10 * SECOND
    assert runtime.calls[-1][1] == "down"
    assert [event["host"] for event in reader.events() if event["kind"] == "attached"] == ["a-1"]
    assert reader.about()["ended"] == "interrupted"


def test_ctrl_c_is_heard_though_a_call_that_ended_just_then_says_nothing_of_it(tmp_path: Path) -> None:
    runtime = FakeRuntime(signal_in="start_workload")
    outcome, reader = play_it(tmp_path, small_plan(duration_s=1000), runtime)
    assert (outcome.ended, outcome.exit_code) == ("interrupted", 130)
    assert runtime.t < 10 * SECOND
    assert runtime.calls[-1][1] == "down"
    assert reader.about()["ended"] == "interrupted"


def test_ctrl_c_while_the_run_cleans_up_does_not_break_that_off(tmp_path: Path) -> None:
    runtime = FakeRuntime(signal_in="down")
    outcome, reader = play_it(tmp_path, small_plan(duration_s=5), runtime)
    assert runtime.calls[-1][1] == "down"
    assert outcome.ended == "done", "it was"
    assert reader.about()["ended"] == "done"


def test_a_host_that_died_by_itself_is_reported_with_its_last_words(tmp_path: Path) -> None:
    runtime = FakeRuntime(deaths={4: {"c-2": "MemoryError"}})
    plan = small_plan(HostFault(kind="restart", at_ns=6 * SECOND, name="back", target=Target(text="c-2", hosts=("c-2",))))
    outcome, reader = play_it(tmp_path, plan, runtime)
    (death,) = [event for event in reader.events() if event["kind"] == "host_down"]
    assert (death["host"], death["cause"], death["log"]) == ("c-2", "died", "MemoryError")
    assert outcome.died == {"c-2": "MemoryError"}
    assert runtime.did("restart") == [(6.0, ("c-2",))]  # known to be dead, so it can be restarted


def test_a_host_that_somebody_started_again_is_up_and_can_be_hit(tmp_path: Path) -> None:
    runtime = FakeRuntime(deaths={4: {"c-2": "Killed"}}, returns={5: ["c-2"]})
    plan = small_plan(HostFault(kind="crash", at_ns=7 * SECOND, name="again", target=Target(text="c-2", hosts=("c-2",))))
    _, reader = play_it(tmp_path, plan, runtime)
    changes = [event for event in reader.events() if event["host"] == "c-2" and event["kind"] in ("host_down", "host_up")]
    assert [(event["kind"], event["cause"]) for event in changes[1:]] == [
        ("host_down", "died"),
        ("host_up", "returned"),
        ("host_down", "crash"),
    ]
    assert runtime.did("crash") == [(7.0, ("c-2",))]


def test_requests_are_counted_and_samples_kept_apart(tmp_path: Path) -> None:
    def request(outcome: str) -> dict[str, Any]:
        return {"t": 2 * SECOND, "host": "a-1", "kind": "request", "outcome": outcome}

    sample = {"t": 2 * SECOND, "host": "a-1", "kind": "sample", "entries": 9}
    runtime = FakeRuntime(noticed={2: [request("ok"), request("deadline"), sample, request("ok")]})
    seen: list[Progress] = []
    _, reader = play_it(tmp_path, small_plan(), runtime, seen)
    assert (seen[-1].ok, seen[-1].failed) == (2, 1)
    assert [line["entries"] for line in reader.samples()] == [9]
    assert "sample" not in {event["kind"] for event in reader.events()}
    assert [line.t_ns for line in reader.health()] == sorted(line.t_ns for line in reader.health())


def test_plan_json_is_the_plan(tmp_path: Path) -> None:
    plan = small_plan()
    _, reader = play_it(tmp_path, plan, FakeRuntime())
    assert (reader.directory / "plan.json").read_bytes() == plan.canonical()
    assert reader.plan.digest == plan.digest == json.loads((reader.directory / "run.json").read_text())["plan_digest"]
