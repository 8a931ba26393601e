"""Recovery by hand: ten requests in each second, failures where the test puts them, an availability target of 99.9%."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from helpers.fakerun import FakeRun, make_plan
from opus_controller.model.plan import Expectation
from opus_controller.report.build import build
from opus_controller.report.result import Result
from opus_controller.report.run import read

DELAYS = {("a", "b"): 10.0}


def made(
    tmp_path: Path,
    failures: Sequence[float],
    faults: Sequence[float],
    *,
    kind: str = "resume",
    expectations: Sequence[Expectation] = (),
) -> Result:
    """Requests at x.05, x.15, ... of 30 s, those at `failures` failed; faults without effect on hosts at `faults`."""
    plan = make_plan(one_way_ms=DELAYS, hosts={"a": 2, "b": 2}, clients=("b-1",), duration_s=30, expectations=expectations)
    run = FakeRun(plan)
    run.begin()
    run.role(0, "a-1", "replica", "web")
    for i, at in enumerate(faults):
        run.fault(at, kind, f"fault-{i}", target="nobody", victims=["a-2"])
    for k in range(300):
        at = round(k * 0.1 + 0.05, 2)
        run.request(at, "b-1", outcome="deadline" if at in failures else "ok")
    return build(read(run.write(tmp_path / "run")))


def recoveries(result: Result) -> list[tuple[float | None, bool | None]]:
    return [(fault.recovery_s, fault.recovered) for fault in result.faults]


def test_never_below_is_zero(tmp_path: Path) -> None:
    assert recoveries(made(tmp_path, [], [10])) == [(0, True)]


def test_recovery_is_the_end_of_the_last_window_below_counted_from_the_fault(tmp_path: Path) -> None:
    """The fault at 10.5; a failure at 12.45 lies in its window [11.5, 12.5): 2 s."""
    assert recoveries(made(tmp_path, [10.55, 12.45], [10.5])) == [(2, True)]
    assert recoveries(made(tmp_path / "next", [10.55, 12.55], [10.5])) == [(3, True)]


def test_failures_before_the_fault_and_after_the_next_are_not_its_own(tmp_path: Path) -> None:
    result = made(tmp_path, [9.95, 10.05, 20.05, 20.15], [10, 20])
    assert recoveries(result) == [(1, True), (1, True)]
    assert [fault.availability for fault in result.faults] == [0.99, 0.98]


def test_a_request_on_its_way_when_harm_strikes_counts_as_of_then(tmp_path: Path) -> None:
    """Issued at 14.95, failed by the fault at 15: that fault's loss, not one of the fault at 10."""
    assert recoveries(made(tmp_path, [14.95], [10, 15], kind="pause")) == [(0, True), (1, True)]
    # What mends does not harm: the same failure across a resume stays with the fault before it.
    assert recoveries(made(tmp_path / "mended", [14.95], [10, 15], kind="resume")) == [(None, False), (0, True)]


def test_outside_faults_leaves_out_what_was_on_its_way(tmp_path: Path) -> None:
    outside = Expectation(name="availability", figure="availability", op=">=", bound=1, outside_faults_ns=2_000_000_000)
    assert made(tmp_path, [14.95, 15.55], [15], kind="pause", expectations=[outside]).expectations[0].ok
    assert not made(tmp_path / "before", [12.95], [15], kind="pause", expectations=[outside]).expectations[0].ok


def test_still_below_when_the_next_fault_strikes_is_no_recovery(tmp_path: Path) -> None:
    assert recoveries(made(tmp_path, [10.05, 14.95], [10, 15])) == [(None, False), (0, True)]


def test_still_below_at_the_end_of_the_run_is_no_recovery(tmp_path: Path) -> None:
    assert recoveries(made(tmp_path, [29.95], [20])) == [(None, False)]


def test_faults_within_one_window_share_their_recovery(tmp_path: Path) -> None:
    """Nobody can tell which of two faults 0.4 s apart was to blame."""
    assert recoveries(made(tmp_path, [11.55], [10, 10.4])) == [(2, True), (2, True)]


def test_without_requests_nothing_can_be_told(tmp_path: Path) -> None:
    run = FakeRun(make_plan(one_way_ms=DELAYS, hosts={"a": 2}, duration_s=30))
    run.begin()
    run.power_off(10, "a-2")
    result = build(read(run.write(tmp_path / "run")))
    assert recoveries(result) == [(None, None)]


def wanted(figure: str = "recovery_s", **more: object) -> Expectation:
    return Expectation.model_validate({"name": "recovery", "figure": figure, "op": "<=", "bound": 2, **more})


def judged(result: Result) -> list[tuple[bool, float | None]]:
    return [(expected.ok, expected.actual) for expected in result.expectations]


def test_an_expectation_takes_the_longest_recovery_or_that_of_one_fault(tmp_path: Path) -> None:
    expectations = [wanted(), wanted("recovery_s.max"), wanted(fault="fault-0"), wanted(fault="fault-1"), wanted(fault="other")]
    result = made(tmp_path, [10.05, 22.05], [10, 20], expectations=expectations)
    assert judged(result) == [(False, 3), (False, 3), (True, 1), (False, 3), (False, None)]
    assert result.verdict == "fail"


def test_no_recovery_fails_whatever_the_bound(tmp_path: Path) -> None:
    result = made(tmp_path, [29.95], [20], expectations=[wanted(bound=1e9)])
    assert judged(result) == [(False, None)]
    assert "did not recover" in result.expectations[0].note


def test_clients_without_a_path_are_counted_in_one_recovery_and_not_in_the_other(tmp_path: Path) -> None:
    """b is cut off from 10 to 20 s; a's clients do not notice, b's recover with the heal at once."""
    expectations = [
        wanted(fault="cut"),
        wanted(fault="cut", reachable=True),
        wanted(fault="cut", site="a"),
        wanted(fault="healed"),
    ]
    plan = make_plan(one_way_ms=DELAYS, hosts={"a": 2, "b": 2}, clients=("a-2", "b-1"), duration_s=30, expectations=expectations)
    run = FakeRun(plan)
    run.begin()
    run.role(0, "a-1", "replica", "web")
    run.partition(10, ["b-1", "b-2"])
    run.heal(20, "cut", "healed")
    for t in range(30):
        run.request(t + 0.5, "a-2")
        run.request(t + 0.5, "b-1", outcome="deadline" if 10 <= t < 20 else "ok")
    result = build(read(run.write(tmp_path / "run")))
    cut, healed = result.faults
    assert (cut.recovery_s, cut.recovered, cut.recovery_reachable_s, cut.recovered_reachable) == (None, False, 0, True)
    assert (healed.recovery_s, healed.recovered) == (0, True)
    assert judged(result) == [(False, None), (True, 0), (True, 0), (True, 0)]
    assert result.requests.availability == pytest.approx(50 / 60)
    assert (result.requests.reachable.issued, result.requests.reachable.availability) == (50, 1.0)
    by_site = {site.site: site for site in result.by_site}
    assert by_site["b"].requests.availability == pytest.approx(20 / 30)
    assert by_site["b"].reachable.availability == 1.0


def test_availability_outside_the_time_after_faults(tmp_path: Path) -> None:
    """Failures at 10.05 and 11.95 lie in the 2 s after the fault at 10; one at 12.05 does not: 280 requests are left."""
    outside = {"name": "x", "figure": "availability", "op": ">=", "bound": 0.999, "outside_faults_ns": 2_000_000_000}
    expectations = [Expectation.model_validate(outside)]
    assert judged(made(tmp_path / "good", [10.05, 11.95], [10], expectations=expectations)) == [(True, 1.0)]
    ((ok, actual),) = judged(made(tmp_path / "bad", [10.05, 12.05], [10], expectations=expectations))
    assert not ok
    assert actual == pytest.approx(279 / 280)
