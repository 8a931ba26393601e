"""How many replicas, and where: forecast from what fails, by whom an operation needs."""

from __future__ import annotations

import json
from itertools import pairwise
from math import exp
from pathlib import Path
from typing import Any

import pytest
from opus_controller.cli._app import run
from opus_controller.model.compile import compile_plan
from opus_controller.model.plan import Plan
from opus_controller.model.scenario import load_scenario
from opus_controller.planner.choose import NEAR, PLACES, SPREAD, TOGETHER, curve, placed
from opus_controller.planner.course import Span, course_of
from opus_controller.planner.delays import SECOND, Delays
from opus_controller.planner.membership import Case, Course

EACH = frozenset[str]()
RATES = {"c": (7.0, 3.0)}


def span(start: int, end: int, down: str = "", cut: str = "", lives: dict[str, int] | None = None) -> Span:
    """Hosts a to e and a client; seconds."""
    everyone = dict.fromkeys("abcdec", 0)
    up = {host: life for host, life in {**everyone, **(lives or {})}.items() if host not in down}
    cuts = ((frozenset(cut), frozenset(everyone) - frozenset(cut)),) if cut else ()
    return Span(start * SECOND, end * SECOND, up, EACH, cuts)


AFTER = Delays.alike(5 * SECOND)


def availability(mode: str, hosts: str, *spans: Span, static: bool = True, staleness: int = 0, **of_case: Any) -> float:
    spares = tuple(host for host in "abde" if host not in hosts)
    told = {"delays": AFTER, "keys": (10**9, 0.0), **of_case}
    case = Case(mode, tuple(hosts), spares, static, staleness=staleness * SECOND, **told)
    return Course(case, RATES).play(spans).availability


# Which operations can be answered


@pytest.mark.parametrize(
    ("mode", "one_cut", "two_cut"),
    [
        ("linearizable", 1.0, 0.0),
        ("write-all", 0.7, 0.14),  # reads until the lease is over
        ("primary", 0.0, 0.0),
        ("bounded", 1.0, 0.0),
        ("eventual", 1.0, 1.0),
    ],
)
def test_of_three_one_or_two_are_out_of_reach(mode: str, one_cut: float, two_cut: float) -> None:
    assert availability(mode, "abd", span(0, 10)) == 1.0
    assert availability(mode, "abd", span(0, 10, cut="a")) == pytest.approx(one_cut)
    assert availability(mode, "abd", span(0, 10, cut="ab")) == pytest.approx(two_cut)


def test_a_primary_is_missed_and_a_backup_is_not() -> None:
    assert availability("primary", "abd", span(0, 10, cut="d")) == 1.0


def test_a_client_is_answered_on_the_side_of_the_majority_only() -> None:
    assert availability("linearizable", "abd", span(0, 10, cut="abd")) == 0.0
    assert availability("linearizable", "abd", span(0, 10, cut="abcd")) == 1.0


def test_bounded_reads_go_on_until_the_bound() -> None:
    apart = (span(0, 5), span(5, 15, cut="ab"))
    assert availability("bounded", "abd", *apart, staleness=5) == pytest.approx((5 + 0.7 * 4.5) / 15)


def test_a_client_that_is_down_asks_nothing() -> None:
    assert Course(Case("linearizable", ("a",), ()), RATES).play([span(0, 10, down="c")]).asked == 0.0


# Members that are lost


def test_a_lost_member_is_replaced_after_a_while() -> None:
    spans = (span(0, 10), span(10, 30, down="a"))
    assert availability("write-all", "abd", *spans) == pytest.approx((10 + 20 * 0.7) / 30)
    assert availability("write-all", "abd", *spans, static=False) == pytest.approx((10 + 5 * 0.7 + 15) / 30)


def test_the_primary_is_followed_by_another() -> None:
    spans = (span(0, 10), span(10, 30, down="a"))
    assert availability("primary", "abd", *spans, static=False) == pytest.approx(25 / 30)


def test_who_comes_back_has_no_memory_and_is_taken_in_anew() -> None:
    back = span(12, 30, lives={"a": 1})
    spans = (span(0, 10), span(10, 12, down="a"), back)
    assert availability("write-all", "abd", *spans) == pytest.approx((10 + 0.7 * 7 + 13) / 30)


def test_data_whose_majority_has_died_are_lost_for_good() -> None:
    spans = (span(0, 10), span(10, 12, down="ab"), span(12, 30, lives={"a": 1, "b": 1}))
    for static in (True, False):
        assert availability("linearizable", "abd", *spans, static=static) == pytest.approx(10 / 30)
    assert availability("eventual", "abd", *spans) == 1.0


def test_two_that_die_one_after_the_other_take_nothing_with_them() -> None:
    spans = (span(0, 10), span(10, 20, down="a"), span(20, 30, down="ab"))
    assert availability("linearizable", "abd", *spans, static=False) == 1.0


def test_a_static_set_begins_once_most_of_it_are_there() -> None:
    late = (span(0, 10, down="ab"), span(10, 20, down="a", lives={"b": 1}))
    assert availability("linearizable", "abd", *late) == pytest.approx(10 / 20)
    assert availability("linearizable", "a", span(0, 10, down="a"), span(10, 20, lives={"a": 1})) == pytest.approx(10 / 20)


# What clients feel of it


def test_a_request_is_asked_again_until_its_deadline() -> None:
    spans = (span(0, 10), span(10, 15, cut="ab"), span(15, 20))
    assert availability("linearizable", "abd", *spans) == pytest.approx(15 / 20)
    assert availability("linearizable", "abd", *spans, patience=2 * SECOND) == pytest.approx(17 / 20)
    assert availability("linearizable", "abd", *spans[:2], patience=2 * SECOND) == pytest.approx(10 / 15)  # it has not come back


def test_reads_of_what_was_written_while_a_member_is_silent_wait_too() -> None:
    """With write-all: such a value is not settled."""
    spans = (span(0, 10), span(10, 20, cut="a"))
    few = availability("write-all", "abd", *spans, keys=(1, 0.0))
    assert few == pytest.approx((10 + 0.7 * (1 - exp(-3 * 10)) / 3) / 20)
    assert (
        few < availability("write-all", "abd", *spans, keys=(20, 1.0)) < availability("write-all", "abd", *spans, keys=(20, 0.0))
    )
    assert availability("linearizable", "abd", *spans, keys=(1, 0.0)) == 1.0


def test_who_is_cut_off_answers_reads_until_its_lease_is_over() -> None:
    apart = (span(0, 10), span(10, 20, cut="bd"))
    for mode in ("primary", "write-all"):
        assert availability(mode, "abd", *apart) == pytest.approx((10 + 0.7 * 2) / 20)
    assert availability("linearizable", "abd", *apart) == pytest.approx(10 / 20)


# Stewards


def test_where_the_steward_is_lost_as_well_it_takes_longer() -> None:
    delays = Delays(died=3 * SECOND, cut=4 * SECOND, headless=8 * SECOND)
    dead, cut = (span(0, 10), span(10, 30, down="a")), (span(0, 10), span(10, 30, cut="a"))
    for spans, steward, seconds in ((dead, "b", 3), (cut, "b", 4), (cut, "a", 8), (dead, "a", 8)):
        found = availability("primary", "abd", *spans, static=False, delays=delays, steward=steward)
        assert found == pytest.approx((30 - seconds) / 30)


def test_a_steward_that_takes_over_goes_on_with_those_of_a_static_set_that_are_there() -> None:
    delays = Delays(headless=6 * SECOND, back=2 * SECOND, short=4 * SECOND)
    spans = (span(0, 10), span(10, 30, cut="a"), span(30, 40))
    assert availability("write-all", "abd", *spans, delays=delays, steward="b") == pytest.approx((20 + 0.7 * 20) / 40)
    assert availability("write-all", "abd", *spans, delays=delays, steward="a") == pytest.approx((30 + 0.7 * 10) / 40)


def test_without_majorities_each_side_has_its_replica_or_gets_one() -> None:
    delays = Delays(found=4 * SECOND, founded=9 * SECOND)
    spans = (span(0, 10), span(10, 30, cut="abd"))
    assert availability("eventual", "abd", *spans) == pytest.approx(10 / 30)
    for steward, seconds in (("e", 4), ("a", 9)):
        found = availability("eventual", "abd", *spans, static=False, delays=delays, steward=steward)
        assert found == pytest.approx((30 - seconds) / 30)
    assert availability("eventual", "ab", span(0, 10), span(10, 30, cut="bd")) == 1.0


# From a scenario

TEXT = """
name: planned
topology: six-regions
settle: 5s
duration: 120s
applications: [{name: store, replicas: 3, consistency: linearizable}]
workload: [{clients: all, app: store, total_rate: 10/s, write_share: 30%}]
"""
CHURN = """
churn:
  - {hosts: all, sessions: {distribution: exponential, mean: 4m}, alive: 90%, regional: {rate: 0.5/min, lasts: 15s}}
"""
CUT = """
timeline: [{at: 20s, name: cut, partition: site eu-west-1, for: 10s}]
"""


def plan_of(tmp_path: Path, more: str, seed: int = 1) -> Plan:
    path = tmp_path / "s.yaml"
    path.write_text(TEXT + more)
    return compile_plan(load_scenario(path), seed)


def test_a_course_has_every_departure_return_and_cut(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, CUT)
    assert [(one.start / SECOND, one.end / SECOND, len(one.cuts)) for one in course_of(plan)] == [
        (0, 20, 0),
        (20, 30, 1),
        (30, 120, 0),
    ]
    spans = course_of(plan_of(tmp_path, CHURN))
    assert spans[0].start == 0
    assert spans[-1].end == 120 * SECOND
    assert all(one.end == two.start for one, two in pairwise(spans))
    assert len({len(one.lives) for one in spans}) > 2
    assert max(life for one in spans for life in one.lives.values()) > 0
    assert {len(one.cuts) for one in spans} > {0}


def test_all_hosts_are_placed_once_and_the_first_as_asked(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, CUT)
    site = {host.name: host.site for host in plan.hosts}
    rates = {load.client: (load.rate_per_s, 0.0) for load in plan.workload}
    for places in PLACES:
        order = placed(plan, rates, places, 5)
        assert sorted(order) == sorted(site)
    for places, sites in ((SPREAD, 5), (NEAR, 5), (TOGETHER, 1)):
        assert len({site[host] for host in placed(plan, rates, places, 5)[:5]}) == sites


def test_only_hosts_that_have_what_a_replica_needs_are_placed(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, CUT)
    poor = plan.hosts[0]
    weak = poor.model_copy(update={"abilities": poor.abilities.model_copy(update={"memory": 1 << 20})})
    app = plan.apps[0].model_copy(update={"memory": 1 << 21})
    plan = plan.model_copy(update={"hosts": (weak, *plan.hosts[1:]), "apps": (app,)})
    for static in (True, False):
        most = len(plan.hosts) - 1
        assert poor.name not in curve([plan], "store", "linearizable", (most,), static=static).points[0].hosts


def test_write_all_is_worse_with_more_and_a_majority_is_not(tmp_path: Path) -> None:
    """The paper: adding replicas may compromise availability rather than improve it."""
    plans = [plan_of(tmp_path, CHURN, seed) for seed in range(4)]
    whole = {point.replicas: point.availability for point in curve(plans, "store", "write-all", (3, 15), static=True).points}
    majority = curve(plans, "store", "linearizable", (1, 3, 7, 15))
    assert whole[15] < whole[3]
    assert majority.best.replicas > 1
    assert majority.best.availability > majority.points[0].availability


def test_the_command_tells_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, drawn = tmp_path / "s.yaml", tmp_path / "a.svg"
    path.write_text(TEXT + CUT)
    asked = ["availability", str(path), "--sizes", "1,3", "--repeat", "2"]
    assert run([*asked, "--picture", str(drawn)]) == 0
    told = capsys.readouterr().out
    assert "<- best" in told
    keys = next(line for line in told.splitlines() if line.startswith("static: "))
    as_said = TEXT.replace("replicas: 3", keys.removeprefix("static: {").removesuffix("}"))
    path.write_text(as_said + CUT)
    plan = compile_plan(load_scenario(path))
    assert plan.apps[0].static
    assert len(plan.apps[0].members) == plan.apps[0].replicas
    path.write_text(TEXT + CUT)
    assert "reconfigured" in drawn.read_text()
    assert run([*asked, "--mode", "write-all", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(one["mode"], one["membership"]) for one in told] == [("write-all", "reconfigured"), ("write-all", "static")]
    assert [point["replicas"] for point in told[0]["points"]] == [1, 3]


@pytest.mark.parametrize(
    ("more", "options", "says"),
    [
        ("", (), "nothing fails"),
        (CUT, ("--mode", "most"), "not known; allowed: linearizable"),
        (CUT, ("--sizes", "0,3"), "numbers from 1 to 30"),
        (CUT, ("--app", "shop"), "allowed: store"),
        (CUT, ("--replace", "soon"), "--replace"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str, options: tuple[str, ...], says: str
) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(TEXT + more)
    assert run(["availability", str(path), *options]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
