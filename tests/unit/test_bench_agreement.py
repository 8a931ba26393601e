"""What `opus bench agree` holds against each other, by hand: who counts, what is left out, when a bound is kept."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.fakerun import FakeRun, make_plan, s
from opus_controller.bench import agree
from opus_controller.bench.agreement import Felt, felt, lines, off, pooled, struck_elsewhere
from opus_controller.model.compile import compile_plan
from opus_controller.report.run import Run, read

HOSTS = {"a": 2, "b": 3}
CLIENTS = ("b-1", "b-2", "b-3")


def begun(duration_s: float = 30, clients: tuple[str, ...] = CLIENTS) -> FakeRun:
    run = FakeRun(make_plan(one_way_ms={("a", "b"): 10.0}, hosts=HOSTS, clients=clients, duration_s=duration_s))
    run.begin()
    run.role(0, "a-1", "replica", "web")
    return run


def test_of_a_power_off_each_survivors_first_request_counts_and_only_that(tmp_path: Path) -> None:
    run = begun()
    run.request(5, "b-1")  # before
    run.power_off(10, "b-3")
    run.request(9.5, "b-1", routing_ms=700, reply_ms=800)  # under way: 1.0 s after the fault
    run.request(11, "b-1", outcome="deadline")  # its second
    run.request(10.2, "b-2", routing_ms=2000, reply_ms=1000)
    run.request(10.4, "b-3")  # a victim's
    found = felt(read(run.write(tmp_path / "run")))
    assert sorted(found.after_fault_s) == pytest.approx([1.0, 3.0])
    assert (found.served_within(2), found.served_within(6)) == (0.5, 1)
    assert (found.ok, found.issued) == (4, 5)


def test_who_is_never_answered_is_not_served(tmp_path: Path) -> None:
    run = begun()
    run.power_off(10, "b-3")
    run.request(10.2, "b-1", outcome="deadline")
    found = felt(read(run.write(tmp_path / "run")))
    assert found.after_fault_s == (math.inf,)
    assert found.served_within(6) == 0


def test_what_was_under_way_in_a_bad_span_is_left_out(tmp_path: Path) -> None:
    run = begun()
    for at in (1, 2, 3, 4, 5):
        run.request(at, "b-1", routing_ms=100 * at)
    found = felt(read(run.write(tmp_path / "run")), [(1.9, 3.5)])
    assert found.routing_ms.tolist() == [100, 400, 500]
    assert found.issued == 3


def test_demand_that_moves_is_seen_in_the_plan_and_how_long_latency_took(tmp_path: Path) -> None:
    """Moved at 10; 100 ms until 25, then 50 ms: windows of 5 s that begin up to 24 are above, the last of them ends at 29.
    The right replica serves from 15 on: by paths alone the last ends at 19."""
    paths = {("a", "b"): 10.0, ("b", "c"): 30.0}
    run = FakeRun(make_plan(one_way_ms=paths, hosts={**HOSTS, "c": 1}, clients=CLIENTS, duration_s=100))
    run.begin()
    run.role(0, "a-1", "replica", "web")
    before, after = run.plan.workload[:2]
    early = before.model_copy(update={"stop_ns": s(10)})
    late = after.model_copy(update={"start_ns": s(10)})
    run.plan = run.plan.model_copy(update={"workload": (early, late)})
    for k in range(200):
        at = k * 0.5
        run.request(at, "b-2", routing_ms=100 if at < 25 else 50, replica="c-1" if at < 15 else "a-1")
    found = felt(read(run.write(tmp_path / "run")))
    assert (found.back_s, found.back_path_s) == ((19,), (9,))


def test_demand_that_does_not_move_has_no_such_line(tmp_path: Path) -> None:
    run = begun()
    run.request(1, "b-1")
    found = felt(read(run.write(tmp_path / "run")))
    assert found.back_s == ()
    assert [line.what for line in lines("x", [found], [found], [found])] == [
        "x: routing latency, median of 1",
        "x: routing latency, p95",
        "x: routing latency, mean",
        "x: availability",
        "x: way to the best live replica, median",
        "x: stretch",
    ]


def flat(ms: float, *, ok: int = 1000, issued: int = 1000, p95: float | None = None) -> Felt:
    """900 requests of `ms`, 100 of `p95`."""
    return Felt(np.array([ms] * 900 + [ms if p95 is None else p95] * 100, dtype=np.float64), ok, issued)


@pytest.mark.parametrize(
    ("real", "verdicts"),
    [
        (flat(109, p95=119), [True, True, True]),
        (flat(91, p95=81), [True, True, True]),
        (flat(111, p95=119), [False, True, True]),
        (flat(100, p95=121), [True, False, True]),
        (flat(70, p95=79), [False, False, True]),
        (flat(100, ok=998), [True, True, False]),
        (flat(100, ok=999), [True, True, True]),
    ],
)
def test_the_bounds_hold_both_ways(real: Felt, verdicts: list[bool]) -> None:
    """Median within 10%, p95 within 20%, availability within 0.1 points, of the calibrated simulator."""
    calibrated, release = flat(100, ok=1000), flat(10)
    assert [line.ok for line in lines("x", [real], [calibrated], [release]) if line.promised] == verdicts


def test_a_share_is_off_by_points_and_a_time_by_a_part() -> None:
    assert off("%", 99.8, 99.9) == pytest.approx(-0.1)
    assert off("ms", 11, 10) == pytest.approx(0.1)
    assert math.isnan(off("ms", 11, 0))


@pytest.mark.parametrize(
    ("cut_off", "verdicts"),
    [
        ((0, 20), {"availability": False, "availability where a replica could be reached": True}),  # one more host was cut off
        ((0, 18), {"availability": False, "availability where a replica could be reached": False}),  # and two more were lost
        ((0, 10), {"availability": False, "availability where a replica could be reached": False}),
    ],
)
def test_whom_a_fault_cuts_off_is_told_apart_from_what_is_lost(cut_off: tuple[int, int], verdicts: dict[str, bool]) -> None:
    """Real hosts lose 20 of 1,000 requests, the simulator 10 of clients that were cut off."""
    real = replace(flat(100, ok=980), cut_off=cut_off)
    sim = replace(flat(100, ok=990), cut_off=(0, 10))
    found = {line.what: line for line in lines("x", [real], [sim], [sim]) if line.unit == "%"}
    assert {what: found[f"x: {what}"].ok for what in verdicts} == verdicts
    assert found["x: availability"].off == pytest.approx(-1)


def test_nobody_cut_off_nothing_told_apart() -> None:
    found = lines("x", [flat(1)], [flat(1)], [flat(1)])
    assert [line.what for line in found if line.unit == "%"] == ["x: availability"]


def test_requests_of_clients_that_are_cut_off_are_counted_apart(tmp_path: Path) -> None:
    run = begun()
    run.request(5, "b-1")
    run.partition(10, ["b-1"])
    run.request(11, "b-1", outcome="deadline")
    run.request(11, "b-2")
    run.heal(20, "cut")
    run.request(21, "b-1", outcome="deadline")
    found = felt(read(run.write(tmp_path / "run")))
    assert (found.ok, found.issued, found.cut_off) == (2, 4, (0, 1))
    assert (found.availability, found.availability_reachable) == (2 / 4, 2 / 3)
    both = pooled([found, found])
    assert (both.cut_off, both.availability_reachable) == ((0, 2), 2 / 3)


def test_who_went_to_a_farther_agent_is_seen(tmp_path: Path) -> None:
    """b-1 to a-1 though b-2 is an agent beside it; b-3 to b-2, a-2 to a-1. Agents do not count, nor what comes later."""
    run = FakeRun(make_plan(one_way_ms={("a", "b"): 10.0}, hosts=HOSTS, clients=CLIENTS, duration_s=30))
    run.begin(at_s=5)
    run.role(0, "a-1", "agent")
    run.role(1, "b-2", "agent")
    for host, agent in (("b-1", "a-1"), ("b-3", "b-2"), ("a-2", "a-1"), ("b-2", "a-1")):
        run.attach(2, host, agent)
    run.attach(6, "b-1", "b-2")
    found = felt(read(run.write(tmp_path / "run")))
    assert found.at_nearest == (2, 3)
    assert pooled([found, found]).at_nearest == (4, 6)
    told = {line.what: line for line in lines("x", [found], [found], [found])}
    assert told["x: hosts at their nearest agent when demand began"].real == pytest.approx(200 / 3)


def test_a_fault_that_struck_others_is_named(tmp_path: Path) -> None:
    def struck(name: str, lost: str, cut: list[str]) -> Run:
        run = begun()
        run.power_off(5, lost, name="loss")
        run.partition(10, cut)
        run.heal(20, "cut", name="heal-cut")
        return read(run.write(tmp_path / name))

    real = struck("netns", "a-1", ["b-1", "b-2"])
    same = struck("sim-1", "a-1", ["b-2", "b-1"])
    assert struck_elsewhere(real, [same]) == []
    others = [struck("sim-2", "a-2", ["b-1"]), same, struck("sim-3", "a-2", ["b-3"])]
    assert struck_elsewhere(real, others) == ["loss struck a-1; in sim a-2", "cut struck b-1, b-2; in sim b-1, or b-3"]


@pytest.mark.parametrize("row", agree.SCENARIOS)
def test_every_row_is_of_sixty_hosts_that_all_ask(row: str) -> None:
    plan = compile_plan(agree.scenario_of(row))
    assert (plan.name, len(plan.hosts), plan.validity) == (row, 60, "exclude")
    assert {load.client for load in plan.workload} == {host.name for host in plan.hosts}


def test_who_goes_straight_to_a_replica_is_held_against_the_path(tmp_path: Path) -> None:
    run = FakeRun(make_plan(one_way_ms={("a", "b"): 25.0, ("b", "a"): 10.0}, hosts=HOSTS, clients=CLIENTS, duration_s=30))
    run.begin()
    run.role(0, "a-1", "replica", "web")
    run.request(1, "b-1", routing_ms=13, via="direct", replica="a-1")  # 10 ms to a-1
    run.request(2, "b-2", routing_ms=12, via="agent", replica="a-1")
    run.request(3, "b-3", outcome="deadline")
    run.request(4, "a-1", routing_ms=0, via="self", replica="a-1")
    found = felt(read(run.write(tmp_path / "run")))
    assert found.beyond_ms.tolist() == [3]
    assert found.best_ms.tolist() == [10, 10, 0]
    assert found.stretch == 1.25, "of those who are no replica themselves"


def test_seeds_have_an_interval_and_one_alone_has_none() -> None:
    """Off by +10, -10 and 0%: mean 0, deviation 10%, t(2) = 4.303; pooled it is another figure."""
    real, sim = [flat(110), flat(90), flat(100)], [flat(100)] * 3
    median = lines("x", real, sim, sim)[0]
    half = 4.303 * 0.1 / math.sqrt(3)
    seeds = median.by_seed
    assert (seeds.value, seeds.low, seeds.high, seeds.count) == pytest.approx((0, -half, half, 3), abs=1e-4)
    assert median.off == pytest.approx(0)
    availability = next(line for line in lines("x", [flat(1, ok=998), flat(1)], sim[:2], sim[:2]) if line.unit == "%")
    assert availability.by_seed.value == pytest.approx(-0.1), "in points"
    assert math.isinf(lines("x", real[:1], sim[:1], sim[:1])[0].by_seed.high)


def test_seeds_are_pooled_request_by_request() -> None:
    one, other = flat(10), Felt(np.array([30.0] * 3000), 3000, 3001, after_fault_s=(1.0,), back_s=(20.0,), back_path_s=(9.0,))
    both = pooled([one, other])
    assert both.quantile(0.5) == 30
    assert both.availability == 4000 / 4001
    assert (both.after_fault_s, both.back_s, both.back_path_s) == ((1.0,), (20.0,), (9.0,))
