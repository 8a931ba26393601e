"""Churn as it is played: side by side, in order for each host, in time or told of, and together with the timeline."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_runtime import SECOND, FakeRuntime, small_plan
from opus_controller.engine.churn import AT_ONCE, Lateness
from opus_controller.engine.play import Outcome, play
from opus_controller.engine.record import RecordReader, RunRecord
from opus_controller.engine.turns import Turns
from opus_controller.model.errors import PlatformError
from opus_controller.model.network import Network
from opus_controller.model.plan import Churn, ChurnEvent, Fault, HostFault, Life, Plan, Target


def churning(*events: tuple[float, str, str], timeline: Iterable[Fault] = (), absent: dict[str, str] | None = None) -> Plan:
    """The small plan with (second, kind, hosts parted by spaces); `absent`: host to how it left before the start."""
    plan = small_plan(*timeline)
    left = absent or {}
    lives = tuple(
        Life(host=host.name, up=host.name not in left, left_by=left.get(host.name, ""), churns_from_ns=0)  # type: ignore[arg-type]
        for host in plan.hosts
    )
    moves = tuple(
        ChurnEvent(at_ns=round(at * SECOND), kind=kind, hosts=tuple(hosts.split()))  # type: ignore[arg-type]
        for at, kind, hosts in events
    )
    return plan.model_copy(update={"churn": Churn(text=("as told",), lives=lives, events=moves)})


def play_it(tmp_path: Path, plan: Plan, runtime: FakeRuntime) -> tuple[Outcome, list[dict[str, Any]]]:
    record = RunRecord.create(tmp_path / "runs", plan)
    outcome = asyncio.run(play(plan, runtime, record))
    record.close()
    return outcome, list(RecordReader(tmp_path / "runs" / "latest").events())


def churn_of(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["kind"] == "churn"]


def fault(kind: str, at_s: float, host: str, name: str, same_as: str = "") -> HostFault:
    target = Target(text=host, hosts=(host,))
    return HostFault(kind=kind, at_ns=round(at_s * SECOND), name=name, target=target, same_as=same_as)  # type: ignore[arg-type]


@dataclass
class SlowRuntime(FakeRuntime):
    """Starts take until the test lets them end; what was under way at once is counted."""

    let: asyncio.Event = field(default_factory=asyncio.Event)
    let_at: float = 1e9
    """The second from which on starts end."""
    starting: list[str] = field(default_factory=list)
    most_at_once: int = 0

    async def sleep_until(self, t_ns: int) -> None:
        await super().sleep_until(t_ns)
        if self.t >= self.let_at * SECOND:
            self.let.set()
        await asyncio.sleep(0)

    async def restart(self, hosts: Iterable[str], network: Network) -> None:
        names = list(hosts)
        self.starting += names
        self.most_at_once = max(self.most_at_once, len(self.starting))
        await self.let.wait()
        for name in names:
            self.starting.remove(name)
        await super().restart(names, network)


# When and how


def test_departures_and_returns_at_their_instants(tmp_path: Path) -> None:
    plan = churning((2, "power-off", "b-1"), (2.5, "crash", "c-1 c-2"), (4.25, "return", "b-1"), (5, "return", "c-1 c-2"))
    runtime = FakeRuntime()
    outcome, events = play_it(tmp_path, plan, runtime)
    assert outcome.ended == "done"
    assert outcome.validity.ok
    assert runtime.did("power_off") == [(2.0, ("b-1",))]
    assert runtime.did("crash") == [(2.5, ("c-1", "c-2"))]
    assert runtime.did("restart") == [(4.25, ("b-1",)), (5.0, ("c-1", "c-2"))]
    assert [network.down for network in runtime.networks] == [{"b-1"}, frozenset(), frozenset()], "a crash cuts nothing"
    told = [(e["change"], e["hosts"], e["due_t"], e["t"], e["done_t"]) for e in churn_of(events)]
    assert told[0] == ("power-off", ["b-1"], 2 * SECOND, 2 * SECOND, 2 * SECOND)
    assert [(e["host"], e["kind"], e["by"]) for e in events if e.get("cause") == "churn"] == [
        ("b-1", "host_down", "power-off"),
        ("c-1", "host_down", "crash"),
        ("c-2", "host_down", "crash"),
        ("b-1", "host_up", "return"),
        ("c-1", "host_up", "return"),
        ("c-2", "host_up", "return"),
    ]
    assert not [event for event in events if event["kind"] == "fault"]


def test_who_is_absent_at_first_is_not_said_to_be_up_and_comes_as_from_any_absence(tmp_path: Path) -> None:
    plan = churning((3, "return", "a-2 b-2"), absent={"a-2": "power-off", "b-2": "crash", "c-2": "power-off"})
    assert Network.of(plan).down == {"a-2", "c-2"}
    runtime = FakeRuntime()
    _, events = play_it(tmp_path, plan, runtime)
    assert {e["host"] for e in events if e["kind"] == "host_up" and e["cause"] == "boot"} == {"a-1", "b-1", "c-1"}
    assert runtime.did("restart") == [(3.0, ("a-2", "b-2"))]
    assert runtime.networks[-1].down == {"c-2"}


def test_a_slow_start_holds_up_nobody_else(tmp_path: Path) -> None:
    plan = churning(
        (2, "return", "a-2"), (3, "power-off", "b-1"), (4, "return", "c-2"), absent=dict.fromkeys(("a-2", "c-2"), "crash")
    )
    runtime = SlowRuntime(let_at=6)
    outcome, events = play_it(tmp_path, plan, runtime)
    assert outcome.ended == "done"
    assert runtime.did("power_off") == [(3.0, ("b-1",))], "in time, though a-2 was still starting"
    assert runtime.most_at_once == 2
    assert {(e["change"], e["due_t"] // SECOND, e["done_t"] // SECOND) for e in churn_of(events)} == {
        ("return", 2, 6),
        ("power-off", 3, 3),
        ("return", 4, 6),
    }


def test_one_hosts_moves_wait_for_each_other(tmp_path: Path) -> None:
    plan = churning((2, "return", "a-2"), (3, "crash", "a-2"), (4, "return", "a-2"), absent={"a-2": "crash"})
    runtime = SlowRuntime(let_at=6)
    _, events = play_it(tmp_path, plan, runtime)
    assert [name for _, name, _ in runtime.calls if name in ("restart", "crash")] == ["restart", "crash", "restart"]
    assert [e["change"] for e in churn_of(events)] == ["return", "crash", "return"]


def test_not_more_at_once_than_two_cores_are_good_for(tmp_path: Path) -> None:
    plan = small_plan()
    hosts = [f"h-{k}" for k in range(40)]
    some = plan.hosts[0]
    many = tuple(some.model_copy(update={"name": name, "index": k}) for k, name in enumerate(hosts))
    lives = tuple(Life(host=name, up=False, left_by="crash", churns_from_ns=0) for name in hosts)
    moves = tuple(ChurnEvent(at_ns=2 * SECOND + k, kind="return", hosts=(name,)) for k, name in enumerate(hosts))
    crowd = plan.model_copy(update={"hosts": many, "workload": (), "churn": Churn(text=(), lives=lives, events=moves)})
    runtime = SlowRuntime(let_at=4)
    outcome, _ = play_it(tmp_path, crowd, runtime)
    assert outcome.ended == "done"
    assert runtime.most_at_once == AT_ONCE
    assert len(runtime.did("restart")) == 40


# Lateness


def test_a_run_whose_churn_fell_behind_is_invalid(tmp_path: Path) -> None:
    absent = dict.fromkeys(("a-2", "b-2", "c-2"), "crash")
    moves = [(2.0, "return", "a-2"), (2.1, "return", "b-2"), (2.2, "return", "c-2")]
    late, _ = play_it(tmp_path / "late", churning(*moves, absent=absent), SlowRuntime(let_at=7))
    assert not late.validity.ok
    assert (
        "churn fell behind: 3 of 3 departures and returns were in force more than 2 s late, the worst 5.0 s"
        in late.validity.reasons[0]
    )
    slow, _ = play_it(tmp_path / "slow", churning(*moves, absent=absent), SlowRuntime(let_at=3))
    assert slow.validity.ok


@pytest.mark.parametrize(
    ("late_s", "ok"),
    [([], True), ([0.3] * 40 + [9.0] * 2, True), ([0.3] * 40 + [9.0] * 3, False), ([0.3] * 100 + [11.0], False)],
)
def test_one_late_move_in_twenty_is_let_pass_but_none_very_late(late_s: list[float], ok: bool) -> None:
    assert (Lateness([round(s * SECOND) for s in late_s]).problems() == []) is ok


# Together with the timeline


def test_whom_a_fault_killed_churn_does_not_bring_back(tmp_path: Path) -> None:
    """Killed at 2, would leave at 3 and return at 4: stays dead until the timeline's restart at 6."""
    timeline = [fault("power-off", 2, "b-1", "loss"), fault("restart", 6, "b-1", "back", same_as="loss")]
    runtime = FakeRuntime()
    _, events = play_it(tmp_path, churning((3, "crash", "b-1"), (4, "return", "b-1"), timeline=timeline), runtime)
    assert runtime.did("crash") == []
    assert runtime.did("restart") == [(6.0, ("b-1",))]
    assert [(e["hosts"], e["skipped"]) for e in churn_of(events)] == [([], ["b-1"]), ([], ["b-1"])]


def test_whom_churn_took_away_the_timeline_does_not_bring_back(tmp_path: Path) -> None:
    """Killed at 2, gone by churn at 3: the restart at 4 finds it away, and churn brings it back at 6."""
    timeline = [fault("power-off", 2, "b-1", "loss"), fault("restart", 4, "b-1", "back", same_as="loss")]
    runtime = FakeRuntime()
    _, events = play_it(tmp_path, churning((3, "crash", "b-1"), (6, "return", "b-1"), timeline=timeline), runtime)
    assert runtime.did("restart") == [(6.0, ("b-1",))]
    restart = next(event for event in events if event["kind"] == "fault" and event["fault"] == "restart")
    assert (restart["victims"], restart["skipped"]) == ([], ["b-1"])


def test_a_fault_waits_for_a_host_that_is_starting(tmp_path: Path) -> None:
    timeline = [fault("power-off", 3, "a-2", "loss")]
    plan = churning((2, "return", "a-2"), timeline=timeline, absent={"a-2": "crash"})
    runtime = SlowRuntime()

    async def both() -> Outcome:
        record = RunRecord.create(tmp_path / "runs", plan)
        asyncio.get_running_loop().call_later(0.05, runtime.let.set)  # virtual time is at the fault long before
        outcome = await play(plan, runtime, record)
        record.close()
        return outcome

    assert asyncio.run(both()).ended == "done"
    order = [name for _, name, _ in runtime.calls if name in ("restart", "power_off")]
    assert order == ["restart", "power_off"], "it would have been started again after its death"


def test_who_died_by_itself_comes_back_with_churn(tmp_path: Path) -> None:
    runtime = FakeRuntime(deaths={2: {"c-2": "MemoryError"}})
    outcome, events = play_it(tmp_path, churning((4, "power-off", "c-2"), (5, "return", "c-2")), runtime)
    assert runtime.did("power_off") == []
    assert runtime.did("restart") == [(5.0, ("c-2",))]
    assert outcome.died == {"c-2": "MemoryError"}
    assert [e["skipped"] for e in churn_of(events)] == [["c-2"], []]


# Ends


@pytest.mark.parametrize(("failure", "code"), [(PlatformError("no namespace"), 3), (RuntimeError("planted"), 70)])
def test_an_error_in_churn_ends_the_run_cleanly(tmp_path: Path, failure: Exception, code: int) -> None:
    runtime = FakeRuntime(fail_at="power_off", failure=failure)
    outcome, events = play_it(tmp_path, churning((2, "power-off", "b-1")), runtime)
    assert outcome.ended == "failed"
    assert outcome.exit_code == code
    assert runtime.t < 4 * SECOND
    assert runtime.calls[-1][1] == "down"
    assert [event for event in events if event["kind"] == "error"]


def test_ctrl_c_breaks_off_what_is_starting(tmp_path: Path) -> None:
    runtime = SlowRuntime(signal_at=3)
    outcome, _ = play_it(tmp_path, churning((2, "return", "a-2"), absent={"a-2": "crash"}), runtime)
    assert outcome.ended == "interrupted"
    assert runtime.calls[-1][1] == "down"


def test_turns_are_by_host_and_in_the_order_taken() -> None:
    async def scene() -> list[str]:
        turns, told, gate = Turns(), list[str](), asyncio.Event()

        async def act(name: str, *hosts: str, wait: bool = False) -> None:
            async with turns.take(hosts):
                if wait:
                    await gate.wait()
                told.append(name)

        first = asyncio.create_task(act("first", "a", "b", wait=True))
        await asyncio.sleep(0)
        others = [asyncio.create_task(act(name, *hosts)) for name, hosts in (("second", "b"), ("other", "c"), ("third", "bc"))]
        for _ in range(5):
            await asyncio.sleep(0)
        assert told == ["other"]
        gate.set()
        await asyncio.gather(first, *others)
        return told

    assert asyncio.run(scene()) == ["other", "first", "second", "third"]
