"""Parts of `opus bench overlay` that need no simulated overlay: settings, rows, branches in processes, lives without messages."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import pytest
from helpers.plane import matrix_file
from opus_controller.bench.overlay import data, forks, hotspot, placing, rows, silence, stability
from opus_controller.bench.overlay.experiments import TINY, all_experiments
from opus_controller.bench.overlay.rows import Line, Row, mean_of
from opus_controller.bench.overlay.settings import Settings, known
from opus_controller.bench.overlay.statistics import Estimate
from opus_controller.bench.worlds import SECOND
from opus_controller.model.errors import InvalidRun, PlatformError, ScenarioError
from opus_node.core.placement import OLDEST
from opus_node.core.types import MILLISECOND, AppConfig, NodeConfig

# Settings


def test_settings_are_the_cores_own_fields() -> None:
    settings = Settings.parse(["nodes_per_agent=30", "near_enough=25ms", "timeout_rtts=2", "direct=false"])
    config = settings.of(NodeConfig(apps=(AppConfig("web", 7),)))
    assert (config.nodes_per_agent, config.near_enough, config.timeout_rtts, config.direct) == (30, 25 * MILLISECOND, 2.0, False)
    assert config.apps == (AppConfig("web", 7),)
    assert settings.told() == {"nodes_per_agent": 30, "near_enough": 25 * MILLISECOND, "timeout_rtts": 2.0, "direct": False}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nodes_per_agnet=3", "did you mean 'nodes_per_agent'"),
        ("app.flavour=mild", "no such setting"),
        ("replicas=3", "no such setting"),
        ("nodes_per_agent=many", "allowed: int"),
        ("direct=perhaps", "allowed: bool"),
        ("nodes_per_agent", "allowed: int"),
    ],
)
def test_what_is_no_setting_is_said_in_one_line(text: str, says: str) -> None:
    with pytest.raises(ScenarioError, match=says):
        Settings.parse([text])


def test_known_tells_what_the_core_has() -> None:
    assert known("wave")
    assert not known("app.flavour")


# The matrix


def test_the_matrix_is_found_by_option_variable_or_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = tmp_path / "shared" / "data"
    beside.mkdir(parents=True)
    (beside / data.FILE).touch()
    here = tmp_path / "work" / "deep"
    here.mkdir(parents=True)
    monkeypatch.delenv(data.VARIABLE, raising=False)
    monkeypatch.chdir(here)
    assert data.find(None) == beside / data.FILE
    assert data.find(beside) == beside / data.FILE
    monkeypatch.setenv(data.VARIABLE, str(beside / data.FILE))
    assert data.find(None) == beside / data.FILE
    monkeypatch.setenv(data.VARIABLE, str(here))
    with pytest.raises(PlatformError, match=r"skipped: .* --data DIR"):
        data.find(None)
    with pytest.raises(ScenarioError, match="--data"):
        data.find(here)


# Rows


def a_line(value: float, low: float, high: float, **row: object) -> Line:
    made = replace(Row("a", "what", "x", mean_of("y"), 1.0), **row)  # type: ignore[arg-type]
    return Line(made, Estimate(value, low, high, 10), "")


def test_a_verdict_says_whether_the_interval_holds_the_bound() -> None:
    assert a_line(0.8, 0.7, 0.9).verdict == "ok"
    assert a_line(0.8, 0.5, 1.1).verdict == "ok?"
    assert a_line(1.2, 0.9, 1.5).verdict == "MISSED?"
    assert a_line(1.2, 1.1, 1.3).verdict == "MISSED"
    assert a_line(1.2, 1.1, 1.3, least=True).verdict == "ok"
    assert a_line(0.8, 0.7, 0.9, least=True).verdict == "MISSED"
    assert a_line(1.2, 1.1, 1.3, bound=None).verdict == ""
    assert a_line(float("nan"), 0, 0).verdict == "MISSED"
    assert a_line(0.8, 0.7, 0.9, missing="the thing").verdict == "missing"


def test_an_interval_around_a_value_must_hold_it_and_be_narrow() -> None:
    assert a_line(1.05, 0.96, 1.14, bound=0.1, around=1.0).verdict == "ok"
    assert a_line(1.05, 0.90, 1.20, bound=0.1, around=1.0).verdict == "MISSED"
    assert a_line(1.15, 1.10, 1.20, bound=0.1, around=1.0).verdict == "MISSED"


def test_a_line_reads_as_a_person_would_write_it() -> None:
    line = a_line(0.99912, 0.9985, 0.9999, bound=0.999, least=True, unit="%", scale=100, digits=2)
    assert (line.to_reach, line.measured) == ("at least 99.9%", "99.91% [99.85, 99.99]")
    assert a_line(1.234, float("-inf"), float("inf"), unit="ms").measured == "1.23 ms"
    assert line.plain()["value"] == 0.99912


def test_every_row_has_an_experiment_that_makes_its_figures() -> None:
    names = {one.name for one in all_experiments(TINY)}
    assert all(row.missing or row.experiment in names for row in rows.all_rows(TINY))


# Processes


def test_branches_bring_back_what_they_return_and_change_nothing_here() -> None:
    state = [1]

    def grow(by: int) -> list[int]:
        state.append(by)
        return state

    found = dict(forks.each([partial(grow, by) for by in (2, 3, 4)], 2))
    assert found == {0: [1, 2], 1: [1, 3], 2: [1, 4]}
    assert state == [1]


def test_a_branch_may_return_more_than_a_pipe_holds() -> None:
    assert len(forks.call(lambda: bytes(3 << 20))) == 3 << 20


def test_errors_of_a_branch_come_back_as_they_were() -> None:
    def invalid() -> None:
        raise InvalidRun("the node of a died")

    def bug() -> None:
        raise ZeroDivisionError("by what")

    with pytest.raises(InvalidRun, match="the node of a died"):
        forks.call(invalid)
    with pytest.raises(RuntimeError, match="ZeroDivisionError: by what"):
        forks.call(bug)
    with pytest.raises(RuntimeError, match="without an answer"):
        forks.call(lambda: os._exit(3))


def test_a_failing_branch_ends_the_others(tmp_path: Path) -> None:
    def fail() -> None:
        while not (tmp_path / "pid").exists():
            time.sleep(0.01)
        raise InvalidRun("over")

    def last() -> None:
        (tmp_path / "new").write_text(str(os.getpid()))
        (tmp_path / "new").rename(tmp_path / "pid")
        time.sleep(600)

    with pytest.raises(InvalidRun):
        list(forks.each([last, fail], 2))
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


# Lives without messages


@pytest.fixture
def knowledge(tmp_path: Path) -> placing.Knowledge:
    return placing.Knowledge(data.Matrix(matrix_file(tmp_path, 80)).topology())


def gain(policy: stability.Policy, sessions: stability.Sessions, knowledge: placing.Knowledge, departures: int) -> float:
    arm = stability.live(policy, sessions, knowledge.delay, 5, knowledge.ideal(5).mean, Random(3), departures)
    assert arm.departures == departures
    return arm.deaths / arm.nodes_minutes * arm.members_minutes / departures


def test_random_members_outlive_the_rest_by_the_inspection_paradox_alone(knowledge: placing.Knowledge) -> None:
    """E[X^2] / 2 E[X]^2: 2.05 for Weibull 0.6, 1 for exponential sessions."""
    policy = stability.AtRandom(5, Random(1))
    assert gain(policy, stability.WEIBULL, knowledge, 1500) == pytest.approx(2.05, rel=0.15)
    assert gain(policy, stability.EXPONENTIAL, knowledge, 1500) == pytest.approx(1.0, rel=0.10)


def test_the_oldest_live_longest_only_where_age_tells(tmp_path: Path, knowledge: placing.Knowledge) -> None:
    made = data.plan(data.Matrix(matrix_file(tmp_path, 80)).topology(), seed=1, replicas=5)

    def oldest() -> stability.OfCore:
        return stability.OfCore(made, knowledge.delay, 5, policy=OLDEST)

    assert gain(oldest(), stability.WEIBULL, knowledge, 200) > 2.4
    assert gain(oldest(), stability.EXPONENTIAL, knowledge, 400) == pytest.approx(1.0, rel=0.15)


def test_the_population_dies_at_the_rate_of_its_law_from_the_first_minute(knowledge: placing.Knowledge) -> None:
    arm = stability.live(
        stability.AtRandom(5, Random(1)), stability.WEIBULL, knowledge.delay, 5, knowledge.ideal(5).mean, Random(5), 300
    )
    assert arm.nodes_minutes / arm.deaths == pytest.approx(stability.WEIBULL.mean, rel=0.05)


def test_forecasts_are_held_against_what_happens() -> None:
    told = stability.Forecasts()
    told.look(stability.Population([-60.0] * 4), 0.0)  # all 60 minutes old: all alike
    told.look(stability.Population([-60.0] * 4), 59.0)
    assert told.told()["forecasts"] == 0, "not due yet"
    told.look(stability.Population([-60.0, -60.0, -60.0, 7.0]), 61.0)
    found = told.told()
    expected = (1.5 + 1) / (1.5 + 1 + 1)  # scale 90 min
    p = expected**2
    assert (found["forecasts"], found["stayed"]) == (4, 0.75)
    assert found["brier"] == pytest.approx((3 * (p - 1) ** 2 + p**2) / 4)
    assert found["calibration"] == pytest.approx(abs(p - 0.75))
    assert found["skill"] == pytest.approx(1 - found["brier"] / 0.1875)


def test_the_cores_forecasts_say_more_than_the_overall_share_where_age_tells(knowledge: placing.Knowledge) -> None:
    arm = stability.live(
        stability.AtRandom(5, Random(1)), stability.WEIBULL, knowledge.delay, 5, knowledge.ideal(5).mean, Random(5), 300
    )
    assert arm.forecasts["forecasts"] > 5000
    assert arm.forecasts["skill"] > 0.005
    assert arm.forecasts["calibration"] < 0.05


def test_what_hosts_remember_says_more_than_their_ages(tmp_path: Path, knowledge: placing.Knowledge) -> None:
    """And members chosen by it live longer, where sessions without memory would make all alike by age."""
    made = data.plan(data.Matrix(matrix_file(tmp_path, 80)).topology(), seed=1, replicas=5)
    own = stability.Own.of(80, Random(3))
    policy = stability.OfCore(made, knowledge.delay, 5)
    arm = stability.live(policy, own, knowledge.delay, 5, knowledge.ideal(5).mean, Random(5), 40)
    assert arm.forecasts["skill"] > arm.by_age["skill"] + 0.02
    assert arm.deaths / arm.nodes_minutes * arm.members_minutes / arm.departures > 1.5


def test_the_cores_own_choice_keeps_the_living_and_replaces_the_dead(tmp_path: Path) -> None:
    topology = data.Matrix(matrix_file(tmp_path, 80)).topology()
    made = data.plan(topology, seed=1, replicas=5)
    policy = stability.OfCore(made, placing.Knowledge(topology).delay, 5)
    population = stability.Population([-float(i) for i in range(80)], now=1.0)
    first = policy.fill(population, [], [])
    again = policy.fill(population, first[1:], first[:1])
    assert len(set(first)) == len(set(again)) == 5
    assert set(first[1:]) < set(again)
    assert first[0] not in again


# Small calculations


def test_a_region_is_a_host_and_those_nearest_to_it(knowledge: placing.Knowledge) -> None:
    found = silence.region(knowledge.delay, 7, 10)
    assert found[0] == 7
    assert len(set(found)) == 10
    outside = [i for i in range(80) if i not in found]
    assert max(knowledge.delay[7, found]) <= min(knowledge.delay[7, outside])


def test_latency_is_back_at_the_end_of_the_last_slow_window() -> None:
    settled = {"a": 100.0, "b": 10.0}

    def asked(at_s: float, host: str, took: int) -> dict[str, object]:
        at = round(at_s * SECOND)
        return {"host": host, "outcome": "ok", "issued_at": at, "arrived_at": at + took}

    quick = [asked(t / 2, "ab"[t % 2], (100, 10)[t % 2]) for t in range(120)]
    assert hotspot.back_after(quick, settled, 0, 60 * SECOND) == 0
    slow = [asked(12.2, "b", 1000)]
    assert hotspot.back_after([*quick, *slow], settled, 0, 60 * SECOND) == 17
    strangers = [asked(30.0, "c", 10**9)]
    assert hotspot.back_after([*quick, *strangers], settled, 0, 60 * SECOND) == 0


def test_a_hot_spot_moves_to_hosts_that_were_cold(knowledge: placing.Knowledge) -> None:
    first, second = hotspot._regions(knowledge.delay, Random(1))
    assert len(first) == len(second) == 12
    assert not set(first) & set(second)
    centres = knowledge.delay[first[0], second[0]]
    assert centres >= np.median(knowledge.delay[first[0]])
