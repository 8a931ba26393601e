"""Churn in the simulator: to the nanosecond, reproducible, silent clients while away, and the shipped scenario passes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from helpers.churned import SECOND, churned, stays
from opus_controller.engine.play import play
from opus_controller.engine.record import RecordReader, RunRecord
from opus_controller.model.compile import compile_plan
from opus_controller.model.plan import Plan
from opus_controller.model.scenario import find, load_scenario
from opus_controller.report.build import build
from opus_controller.report.run import read
from opus_controller.runtimes.sim import SimRuntime
from opus_node.core.node import NodeCore
from opus_node.core.types import History, NodeConfig

LOAD = "workload: [{clients: all, total_rate: 20/s}]\n"
FAST = (
    "{sessions: {distribution: weibull, shape: 0.6, median: 20s}, downtimes: {distribution: exponential, mean: 8s},"
    " departures: {crash: 50%, power-off: 50%}, start: 5s}"
)


def played(plan: Plan, out: Path, sim: SimRuntime | None = None) -> Path:
    record = RunRecord.at(out, plan)
    outcome = asyncio.run(play(plan, sim or SimRuntime(), record))
    record.close()
    assert outcome.ended == "done", outcome.error
    assert outcome.validity.ok, outcome.validity.reasons
    return out


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path]:
    """Thirty hosts, two minutes, some 150 moves."""
    place = tmp_path_factory.mktemp("fast")
    plan = churned(place, FAST, hosts=30, duration="120s", more=LOAD)
    return plan, played(plan, place / "out")


def test_every_move_at_its_instant(fast: tuple[Plan, Path]) -> None:
    plan, out = fast
    assert plan.churn is not None
    happened = [(e["t"], e["change"], tuple(e["hosts"])) for e in RecordReader(out).events() if e["kind"] == "churn"]
    assert happened == [(event.at_ns, event.kind, event.hosts) for event in plan.churn.events]
    assert len(happened) > 80


def test_who_is_away_asks_nothing_and_goes_on_when_back(fast: tuple[Plan, Path]) -> None:
    plan, out = fast
    away = [stay for stay in stays(plan) if not stay.up]
    requests = [event for event in RecordReader(out).events() if event["kind"] == "request"]
    for request in requests:
        t = request["issued_at"] / SECOND
        assert not any(stay.host == request["host"] and stay.covers(t) for stay in away)
    back = {stay.host for stay in away if stay.end is not None and stay.end < 100}
    asked_after = {
        r["host"] for r in requests for stay in away if stay.host == r["host"] and stay.end and r["issued_at"] > stay.end * SECOND
    }
    assert len(back & asked_after) >= 0.9 * len(back)


def test_the_overlay_lives_with_it_and_the_report_tells(fast: tuple[Plan, Path]) -> None:
    """Sessions of 20 s are nine times as short as the shipped scenario's: a rough ride, but not the end."""
    plan, out = fast
    result = build(read(out))
    assert result.faults == []
    assert result.churn is not None
    moves = plan.churn.events if plan.churn else ()
    assert result.churn.crashes + result.churn.power_offs == sum(len(e.hosts) for e in moves if e.kind != "return")
    assert result.churn.returns == sum(len(e.hosts) for e in moves if e.kind == "return")
    assert result.churn.late_ms.max == 0
    assert result.requests.reachable.availability is not None
    assert result.requests.reachable.availability > 0.98
    seen = [sum(stay.up and stay.covers(t) for stay in stays(plan)) + 1 for t in range(5, 120)]
    assert result.churn.alive.mean == pytest.approx(sum(seen) / len(seen), abs=0.5), "with the seed, which stays"


def test_same_plan_same_steps(tmp_path: Path) -> None:
    plan = churned(tmp_path, FAST, hosts=20, duration="60s", more=LOAD)
    sims = SimRuntime(), SimRuntime()
    for k, sim in enumerate(sims):
        played(plan, tmp_path / str(k), sim)
    assert sims[0].trace_digest() == sims[1].trace_digest()


def test_nodes_are_told_their_own_past(tmp_path: Path) -> None:
    """At the first start the plan's ages, at a return what has happened since."""
    plan = churned(tmp_path, FAST, hosts=20, duration="60s")
    assert plan.churn is not None
    told: dict[str, list[History]] = {}

    def make(node_id: str, config: NodeConfig, rng: object) -> NodeCore:
        told.setdefault(node_id, []).append(config.history)
        return NodeCore(node_id, config, rng)  # type: ignore[arg-type]

    played(plan, tmp_path / "out", SimRuntime(make_core=make))
    of_host = {stay.host: [] for stay in stays(plan)}  # type: ignore[var-annotated]
    for stay in sorted(stays(plan), key=lambda stay: stay.start):
        of_host[stay.host].append(stay)
    for host, life in zip(plan.hosts, plan.churn.lives, strict=True):
        if life.churns_from_ns is None:
            assert told[host.address] == [History(age=life.age_ns)]
            continue
        sessions = [stay for stay in of_host[host.name] if stay.up]
        assert len(told.get(host.address, [])) == len(sessions)
        for k, (history, session) in enumerate(zip(told.get(host.address, []), sessions, strict=True)):
            assert history.age == (life.age_ns if life.up and k == 0 else 0)
            assert history.sessions == life.sessions + k
            before = [stay for stay in of_host[host.name] if stay.start < session.start]
            assert history.up == life.up_ns + sum(round((s.end - s.start) * SECOND) for s in before if s.up and s.end is not None)
            assert history.away == life.away_ns + sum(
                round((s.end - s.start) * SECOND) for s in before if not s.up and s.end is not None
            )


@pytest.mark.parametrize("seed", [1, 2])
def test_the_shipped_scenario_passes(tmp_path: Path, seed: int) -> None:
    plan = compile_plan(load_scenario(find("scenarios", "churn")), seed)
    assert (len(plan.hosts), plan.duration_ns) == (30, 312 * SECOND)
    assert sum(load.rate_per_s for load in plan.workload) <= 25, "what one machine carries without being busy"
    result = build(read(played(plan, tmp_path / "out", SimRuntime(trace=False))))
    assert result.verdict == "pass", result.expectations
    assert result.churn is not None
    assert result.churn.returns >= 5


def test_a_region_cut_off_by_churn_is_a_fault_with_a_recovery(tmp_path: Path) -> None:
    """The report shows it like one of the timeline; whoever has no path is told apart."""
    plan = churned(tmp_path, "{regional: {rate: 60/h, lasts: 6s}, start: 15s}", hosts=10, duration="80s", more=LOAD)
    assert plan.timeline
    result = build(read(played(plan, tmp_path / "out")))
    assert [fault.name for fault in result.faults] == [fault.name for fault in plan.timeline]
    assert result.churn is not None
    assert result.churn.returns == 0
    reachable = result.requests.reachable
    assert 0 < reachable.issued < result.requests.issued
    assert reachable.availability is not None
    assert reachable.availability >= (result.requests.availability or 0)  # equal where a replica was cut off with its clients
