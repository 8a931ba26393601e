"""What a report says of churn: counted, apart from faults, with medians that know of sessions seen in part."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from helpers.fakerun import FakeRun, make_plan, s
from opus_controller.model.lifetimes import of
from opus_controller.model.plan import Churn, Expectation, Life
from opus_controller.report import words
from opus_controller.report.build import build
from opus_controller.report.churn import Spell, product_limit_median
from opus_controller.report.html import render
from opus_controller.report.result import Result
from opus_controller.report.run import read
from scipy import stats

OUTSIDE = {"figure": "availability", "op": ">=", "bound": 1.0, "outside_faults_ns": s(2)}


def fake(**more: object) -> FakeRun:
    """60 s; a-1 never leaves, a-2 is 30 s old at the start, b-1 is absent until 20 s; churn from 10 s on."""
    plan = make_plan(one_way_ms={("a", "b"): 10.0}, hosts={"a": 2, "b": 1}, clients=("a-1",), **more)  # type: ignore[arg-type]
    lives = (
        Life(host="a-1", age_ns=s(40)),
        Life(host="a-2", age_ns=s(30), churns_from_ns=s(10)),
        Life(host="b-1", up=False, left_by="crash", age_ns=s(5), churns_from_ns=s(10)),
    )
    run = FakeRun(plan.model_copy(update={"churn": Churn(text=("2 hosts: as told",), lives=lives, events=())}))
    for host in ("a-1", "a-2"):
        run.put(0, "host_up", host, cause="boot")
    run.put(0, "workload_start")
    run.role(0.1, "a-1", "replica", "web")
    return run


def move(run: FakeRun, at_s: float, change: str, host: str, *, late_s: float = 0.1, skipped: bool = False) -> None:
    hosts = [] if skipped else [host]
    left_out = [host] if skipped else []
    run.put(at_s, "churn", change=change, hosts=hosts, skipped=left_out, due_t=s(at_s), done_t=s(at_s + late_s))
    if not skipped:
        run.put(at_s, "host_up" if change == "return" else "host_down", host, cause="churn", by=change)


def made(run: FakeRun, tmp_path: Path) -> Result:
    return build(read(run.write(tmp_path / "run")))


def test_moves_are_counted_and_are_no_faults(tmp_path: Path) -> None:
    run = fake()
    move(run, 20, "return", "b-1")
    move(run, 30, "crash", "b-1", late_s=0.5)
    move(run, 40, "power-off", "a-2")
    move(run, 50, "return", "b-1", skipped=True)
    result = made(run, tmp_path)
    assert result.faults == []
    churn = result.churn
    assert churn is not None
    assert (churn.hosts, churn.crashes, churn.power_offs, churn.returns, churn.skipped) == (2, 1, 1, 1, 1)
    # From 10 s on: two for 10 s, three for 10 s, two for 10 s, one for 20 s.
    assert churn.alive.mean == pytest.approx((2 * 10 + 3 * 10 + 2 * 10 + 1 * 20) / 50)
    assert (churn.alive.min, churn.alive.max) == (1, 3)
    assert (churn.late_ms.p50, churn.late_ms.max) == (100, 500)
    assert (churn.sessions.ended, churn.sessions.under_way, churn.sessions.median_s) == (2, 0, None), "two are too few"
    assert (churn.downtimes.ended, churn.downtimes.under_way) == (1, 2)


def test_without_churn_there_is_nothing_to_say(tmp_path: Path) -> None:
    run = FakeRun(make_plan(one_way_ms={("a", "b"): 10.0}, hosts={"a": 2, "b": 1}, clients=("a-1",)))
    run.begin()
    assert made(run, tmp_path).churn is None


def test_who_never_came_was_never_up(tmp_path: Path) -> None:
    result = made(fake(), tmp_path)
    assert result.churn is not None
    assert result.churn.alive.max == 2


def test_outside_faults_and_churn_only_if_asked(tmp_path: Path) -> None:
    """A departure at 20 s; requests fail at 19.9 (open when it came), 20.5 and, to show that it can be seen, 30 s."""
    expectations = [
        Expectation(name="outside both", outside_churn=True, **OUTSIDE),  # type: ignore[arg-type]
        Expectation(name="outside faults", **OUTSIDE),  # type: ignore[arg-type]
    ]

    def judged(name: str, *failures: float) -> list[bool]:
        run = fake(expectations=expectations)
        move(run, 20, "power-off", "a-2")
        for k in range(1, 550):
            run.request(k / 10, "a-1", replica="a-1", outcome="deadline" if k / 10 in failures else "ok")
        return [check.ok for check in made(run, tmp_path / name).expectations]

    assert judged("near", 19.9, 20.5) == [True, False]
    assert judged("far", 30.0) == [False, False]


def test_a_request_cut_off_by_a_return_is_not_its_fault(tmp_path: Path) -> None:
    run = fake(expectations=[Expectation(name="outside both", outside_churn=True, **OUTSIDE)])  # type: ignore[arg-type]
    move(run, 20, "return", "b-1")
    run.request(19.5, "a-1", outcome="deadline")
    assert not made(run, tmp_path).expectations[0].ok


# Medians


def test_the_product_limit_by_hand() -> None:
    """Ends at 1 (one of four at risk) and 2 (one of three): 3/4, then 2/4."""
    spells = [Spell(0, 1, True), Spell(0, 2, True), Spell(0, 3, False), Spell(0, 9, False)]
    assert product_limit_median(spells) == 2
    longer = [*spells, Spell(0, 9, False)]
    assert product_limit_median(longer) is None, "4/5, 3/5: half of them were not seen to end"
    # Two more are met at the age of 3; at 4 one of four ends: 3/5 x 3/4 is below a half.
    assert product_limit_median([*longer, Spell(3, 4, True), Spell(3, 5, False)]) == 4
    assert product_limit_median([]) is None


def test_a_run_shorter_than_most_sessions_still_tells_their_median() -> None:
    """Sessions with a median of 180 s watched for 150 s from the equilibrium: the naive median is far too short."""
    rng, lifetimes, watched = Random("watched"), of("weibull", 0.6, median=180), 150.0
    spells, naive = [], []
    for _ in range(20_000):
        age, rest = lifetimes.under_way(rng)
        spells.append(Spell(s(age), s(age + min(rest, watched)), rest < watched))
        t = rest
        while t < watched:
            length = lifetimes.sample(rng)
            spells.append(Spell(0, s(min(length, watched - t)), length < watched - t))
            naive += [length] if length < watched - t else []
            t += length + 1
    median = product_limit_median(spells)
    assert median is not None
    assert median / 1e9 == pytest.approx(180, rel=0.05)
    assert stats.scoreatpercentile(naive, 50) < 60


# In words


def test_in_words_and_on_the_page(tmp_path: Path) -> None:
    run = fake()
    move(run, 20, "return", "b-1")
    move(run, 30, "crash", "b-1")
    directory = run.write(tmp_path / "run")
    loaded = read(directory)
    result = build(loaded)
    assert result.churn is not None
    assert words.churn(result.churn, 3) == "1 crash, 1 return; 2.20 of 3 hosts up (2 to 3)"
    assert ("churn", words.churn(result.churn, 3)) in words.headline(result)
    page = render(loaded, result)
    assert 'id="churn"' in page
    assert "2 hosts: as told" in page
