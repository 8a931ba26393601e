"""Hosts that leave in the simulator, beside the same hosts crashed and powered off: who notices, and who waits."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from helpers.churned import churned
from helpers.simulated import record_of
from opus_controller.engine.record import RecordReader
from opus_controller.engine.replay import with_victims_of
from opus_controller.model.compile import compile_plan
from opus_controller.model.plan import HostFault, Plan
from opus_controller.model.scenario import find, load_scenario
from opus_controller.model.settings import parse_setting
from opus_controller.report.build import build
from opus_controller.report.run import read

SECOND = 1_000_000_000
AFTER = 4 * SECOND
"""In which the loss itself is dealt with; later sets move towards demand, whatever the loss was."""
Played = tuple[Plan, Path, list[dict[str, Any]]]
MOVED = ("upgrade", "way-in", "head")
"""A replica, the busiest agent, the steward: they leave 15 s apart, and are back after 10 s."""


def played(plan: Plan, out: Path) -> list[dict[str, Any]]:
    return [dict(event) for event in record_of(plan, out).events()]


@cache
def shipped(seed: int) -> Plan:
    """Ten times the load, so that every instant after a fault has its requests."""
    return compile_plan(load_scenario(find("scenarios", "leave"), [parse_setting("workload.0.total_rate=200/s")]), seed)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Played:
    plan, out = shipped(1), tmp_path_factory.mktemp("leave") / "out"
    return plan, out, played(plan, out)


def otherwise(plan: Plan, kind: str) -> Plan:
    """Whoever leaves goes in another way."""
    timeline = tuple(
        fault.model_copy(update={"kind": kind}) if isinstance(fault, HostFault) and fault.kind == "leave" else fault
        for fault in plan.timeline
    )
    return plan.model_copy(update={"timeline": timeline})


@dataclass
class Felt:
    """What followed, over all the faults MOVED."""

    suspicions: int
    slow: int
    """Requests that had to be sent more than once."""
    failed: int
    replaced_s: list[float]
    """Until the first set without a victim that served."""

    def add(self, other: Felt) -> None:
        self.suspicions += other.suspicions
        self.slow += other.slow
        self.failed += other.failed
        self.replaced_s += other.replaced_s


def felt(plan: Plan, events: list[dict[str, Any]]) -> Felt:
    faults = {e["name"]: e for e in events if e["kind"] == "fault" and e["name"] in MOVED}
    assert set(faults) == set(MOVED)
    address = {host.name: host.address for host in plan.hosts}
    found = Felt(0, 0, 0, [])
    for fault in faults.values():
        (victim,) = fault["victims"]
        after = [e for e in events if 0 <= e["t"] - fault["t"] < AFTER]
        found.suspicions += sum(e["kind"] == "member" and e["state"] in ("suspect", "dead") for e in after)
        asked = [e for e in events if e["kind"] == "request" and 0 <= e["issued_at"] - fault["t"] < AFTER]
        others = [e for e in asked if e["host"] != victim]
        assert len(others) > 600
        found.failed += sum(e["outcome"] != "ok" for e in others)
        found.slow += sum(e["attempts"] > 1 for e in others)
        sets = [e for e in events if e["kind"] == "replica_set"]
        before = [e for e in sets if e["t"] <= fault["t"]][-1]
        if address[victim] in before["members"]:
            without = [e["t"] for e in sets if e["t"] > fault["t"] and address[victim] not in e["members"]]
            found.replaced_s.append((without[0] - fault["t"]) / SECOND)
    return found


def test_beside_a_crash_and_silence(run: Played, tmp_path: Path) -> None:
    """The same plans, the same victims, over three seeds. Who has cached a replica that leaves goes there until it hears."""
    left, crash, silent = (Felt(0, 0, 0, []) for _ in range(3))
    for seed in (1, 2, 3):
        here = tmp_path / str(seed)
        plan, out = shipped(seed), run[1] if seed == 1 else here / "leave"
        left.add(felt(plan, run[2] if seed == 1 else played(plan, out)))
        fixed = with_victims_of(plan, RecordReader(out))
        crash.add(felt(plan, played(otherwise(fixed, "crash"), here / "crash")))
        silent.add(felt(plan, played(otherwise(fixed, "power-off"), here / "off")))
    assert left.suspicions == 0, "nobody is thought dead who has said goodbye"
    assert min(crash.suspicions, silent.suspicions) > 0, "or this test shows nothing"
    assert left.failed == 0
    assert 2 * left.slow <= min(crash.slow, silent.slow), "of the others' requests few had to be sent twice"
    assert max(left.replaced_s) < 0.4
    assert min(*crash.replaced_s, *silent.replaced_s) > 2 * max(left.replaced_s)


def test_a_leave_is_replayed_with_the_same_victims(run: Played, tmp_path: Path) -> None:
    _, out, first = run
    fixed = with_victims_of(shipped(7), RecordReader(out))
    again = played(fixed, tmp_path / "again")
    chosen, hit = ({e["name"]: e["victims"] for e in events if e.get("fault") == "leave"} for events in (first, again))
    assert chosen == hit
    assert len(chosen) == 4


def test_who_has_left_asks_nothing_more_and_is_back_after_a_restart(run: Played) -> None:
    _, _, events = run
    downs = {e["host"]: e["t"] for e in events if e["kind"] == "host_down" and e["cause"] == "leave"}
    ups = {e["host"]: e["t"] for e in events if e["kind"] == "host_up" and e["cause"] == "restart"}
    for host, at in downs.items():
        asked = [e for e in events if e["kind"] == "request" and e["host"] == host]
        assert not [e for e in asked if at < e["issued_at"] < ups[host]]
        assert [e for e in asked if e["issued_at"] >= ups[host]]
        late = [e["t"] for e in events if e["host"] == host and at < e["t"] < ups[host] and e["kind"] != "host_up"]
        assert max(late, default=at) - at <= 2.5 * SECOND, "what it still does is over within its deadline"


def test_churn_with_a_share_of_graceful_departures(tmp_path: Path) -> None:
    """The same comings and goings three times, over three seeds: those who leave are mourned less."""
    sessions = "sessions: {distribution: exponential, median: 20s}, downtimes: {distribution: exponential, median: 8s}, start: 5s"
    load = "workload: [{clients: all, total_rate: 60/s}]\n"
    suspicions: Counter[str] = Counter()
    for seed in (1, 2, 3):
        counts = {}
        for name, departures in (("silent", "power-off"), ("half", "{power-off: 50%, leave: 50%}"), ("all", "leave")):
            here = tmp_path / f"{name}-{seed}"
            here.mkdir()
            churn = f"{{{sessions}, departures: {departures}}}"
            plan = churned(here, churn, hosts=30, duration="100s", seed=seed, more=load)
            events = played(plan, here / "out")
            suspicions[name] += sum(e["kind"] == "member" and e["state"] == "suspect" for e in events)
            result = build(read(here / "out"))
            assert result.churn is not None
            counts[name] = (result.churn.power_offs, result.churn.leaves)
            assert json.loads(result.model_dump_json())["churn"]["leaves"] == counts[name][1]
        assert counts["silent"][1] == 0 < counts["silent"][0]
        assert counts["all"][0] == 0 < counts["all"][1]
        assert min(counts["half"]) > 0
        assert len({sum(one) for one in counts.values()}) == 1, "how they leave changes nothing in when"
    assert suspicions["all"] < suspicions["half"] < suspicions["silent"], suspicions


@pytest.mark.parametrize("depth", [1, 3])
def test_at_any_depth_a_leave_costs_no_request(depth: int, tmp_path: Path) -> None:
    settings = [parse_setting(f"overlay.depth={depth}"), parse_setting("overlay.nodes_per_agent=4")]
    plan = compile_plan(load_scenario(find("scenarios", "leave"), settings))
    events = played(plan, tmp_path / "out")
    silent = next(e["t"] for e in events if e["kind"] == "fault" and e["name"] == "silent")
    before = [e for e in events if e["kind"] == "request" and e["issued_at"] < silent]
    assert [e for e in before if e["outcome"] != "ok"] == []
    assert not [e for e in events if e["kind"] == "member" and e["state"] == "dead" and e["t"] < silent]
