from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from helpers.fakerun import FakeRun, make_plan
from opus_controller.engine.checks import Check, evaluate, holds, judge, lookup, verdict
from opus_controller.model.plan import Expectation
from opus_controller.report.build import build
from opus_controller.report.result import Result
from opus_controller.report.run import read

FIGURES: dict[str, Any] = {
    "requests": {"availability": 0.9995, "issued": 2000},
    "hops": {"max": 2},
    "routing_latency_ms": {"p50": None},
    "stretch": None,
    "verdict": "pass",
}


def expect(figure: str, op: Literal["<=", ">=", "=="] = "<=", bound: float = 2, **more: Any) -> Expectation:
    return Expectation(name=f"{figure} {op} {bound}", figure=figure, op=op, bound=bound, **more)


def test_figures_are_found_by_their_path_and_availability_by_its_short_name() -> None:
    assert lookup(FIGURES, "hops.max") == 2
    assert lookup(FIGURES, "availability") == 0.9995
    assert lookup(FIGURES, "stretch") is None
    assert lookup(FIGURES, "routing_latency_ms.p50") is None


@pytest.mark.parametrize("path", ["hops.mox", "speed", "verdict", "hops", "hops.max.more"])
def test_what_is_no_figure_is_an_error_not_an_absence(path: str) -> None:
    with pytest.raises(KeyError):
        lookup(FIGURES, path)


@pytest.mark.parametrize(
    ("actual", "op", "bound", "ok"),
    [
        (2, "<=", 2, True), (2.0001, "<=", 2, False), (0.999, ">=", 0.999, True), (0.9989, ">=", 0.999, False),
        (0.1 + 0.2, "==", 0.3, True), (0.31, "==", 0.3, False), (float("nan"), "<=", 2, False), (float("nan"), ">=", 2, False),
    ],
)  # fmt: skip
def test_bounds_include_themselves_and_nan_never_passes(actual: float, op: str, bound: float, ok: bool) -> None:
    assert holds(actual, op, bound) is ok


@pytest.mark.parametrize("figure", ["stretch", "routing_latency_ms.p50", "no_such_figure"])
@pytest.mark.parametrize("op", ["<=", ">="])
def test_no_data_never_passes(figure: str, op: Literal["<=", ">="]) -> None:
    check = judge(expect(figure, op, 0), FIGURES)
    assert not check.ok
    assert check.actual is None
    assert check.note


def test_each_expectation_is_judged_by_its_own_figures() -> None:
    checks = evaluate([expect("hops.max"), expect("hops.max", app="web")], lambda e: {"hops": {"max": 9 if e.app else 1}})
    assert [(check.ok, check.actual) for check in checks] == [(True, 1), (False, 9)]


def test_a_busy_testbed_proves_neither_success_nor_failure() -> None:
    good, bad = Check("x", 1, 1, True, "<="), Check("y", 1, 2, False, "<=")
    assert verdict([good]) == "pass"
    assert verdict([]) == "pass"
    assert verdict([good, bad]) == "fail"
    assert verdict([good], ["cpu"]) == "invalid"
    assert verdict([bad], ["cpu"]) == "invalid"


def a_run(expectations: list[Expectation], tmp_path: Path, *, ended: bool = True, **about: Any) -> Result:
    """a-1 serves web; of web's 20 requests 10 from each site, b's half failed; db has one request."""
    plan = make_plan(
        one_way_ms={("a", "b"): 10}, hosts={"a": 2, "b": 1}, clients=("a-2", "b-1"), apps={"web": 1, "db": 1},
        expectations=expectations,
    )  # fmt: skip
    run = FakeRun(plan)
    run.begin()
    run.role(0, "a-1", "replica", "web")
    for t in range(10):
        run.request(t + 1, "a-2", routing_ms=5)
        run.request(t + 1, "b-1", routing_ms=15, outcome="ok" if t % 2 else "deadline")
    run.request(30, "a-2", app="db", routing_ms=50)
    return build(read(run.write(tmp_path / "run", ended=ended, about=about)))


def test_an_expectation_is_about_the_requests_it_names(tmp_path: Path) -> None:
    result = a_run(
        [
            expect("availability", ">=", 0.5),
            expect("availability", ">=", 0.5, app="web"),
            expect("availability", ">=", 0.5, site="b"),
            expect("routing_latency_ms.max", "<=", 5, app="web", site="a"),
            expect("routing_latency_ms.max", "<=", 100, app="db"),
            expect("availability", ">=", 0.5, app="db", reachable=True),
            expect("availability", ">=", 0.5, site="nowhere"),
            expect("requests.issued", "==", 21),
        ],
        tmp_path,
    )
    assert [expected.actual for expected in result.expectations] == [
        pytest.approx(16 / 21), 0.75, 0.5, 5, 50, None, None, 21,
    ]  # fmt: skip
    assert [expected.ok for expected in result.expectations] == [True, True, True, True, True, False, False, True]


def test_state_and_control_bytes_of_a_site_and_outside_faults(tmp_path: Path) -> None:
    """Samples every 10 s: a-1 sends 100 B/s, and 1,000 B/s in the 10 s after the fault at 30 s, when it holds 50 entries; b-1
    sends 20 B/s and holds 5."""
    figures = ("state_entries.node.max", "control_bytes_per_s.max")
    plan = make_plan(
        one_way_ms={("a", "b"): 10},
        hosts={"a": 1, "b": 1},
        clients=("a-1",),
        expectations=[
            expect(figure, "<=", 50, **more)
            for more in ({}, {"site": "b"}, {"outside_faults_ns": 5 * 10**9}, {"site": "a", "outside_faults_ns": 40 * 10**9})
            for figure in figures
        ],
    )
    run = FakeRun(plan)
    run.begin()
    run.link(31, "a", "b", 20)
    sent = 0
    for t in (10, 20, 30, 40, 50):
        sent += 10_000 if t == 40 else 1_000
        run.sample(t, "a-1", entries=50 if 31 <= t < 45 else 8, control=sent)
        run.sample(t, "b-1", entries=5, control=20 * t)
    result = build(read(run.write(tmp_path / "run")))
    told = [expected.actual for expected in result.expectations]
    assert told == [50, pytest.approx(325), 5, pytest.approx(20), 50, pytest.approx(100), 8, pytest.approx(100)]


def test_a_run_that_broke_off_is_invalid_and_says_when(tmp_path: Path) -> None:
    result = a_run([], tmp_path, ended=False)
    assert result.verdict == "invalid"
    assert result.validity.reasons == ["the run broke off after 30 of 60 s"]
    assert result.requests.issued == 21


def test_reasons_of_the_player_and_of_the_health_samples_are_told_once(tmp_path: Path) -> None:
    run = FakeRun(make_plan(one_way_ms={}, hosts={"a": 2}))
    run.begin()
    for t in range(10):
        run.sick(t, link_lag_ms=50 if 3 <= t <= 8 else 0.1)
    directory = run.write(tmp_path / "first")
    (reason,) = build(read(directory)).validity.reasons
    reasons = ["power-off 'x' found nobody to hit (a replica)", reason]
    result = build(read(run.write(tmp_path / "second", about={"validity": {"ok": False, "reasons": reasons}})))
    assert result.verdict == "invalid"
    assert sorted(result.validity.reasons) == sorted(reasons)
    assert [(span.from_s, span.to_s) for span in result.validity.spans] == [(3, 8)]
