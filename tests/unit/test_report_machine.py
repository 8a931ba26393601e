"""Intervals in which the machine moved a median, and what becomes of them: by requests that went straight to their replica."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Literal

import pytest
from helpers.fakerun import FakeRun, make_plan
from opus_controller.report import machine
from opus_controller.report.build import build
from opus_controller.report.run import Run, read

ONE_WAY_MS = 20.0
HOP_MS = 1.0
QUIET_MS = ONE_WAY_MS + HOP_MS


def a_run(
    directory: Path,
    *,
    added: dict[int, float],
    cpu: float = 1.0,
    via: str = "direct",
    setting: Literal["strict", "exclude", "annotate"] = "strict",
    seed: int = 1,
    one_way_ms: float = ONE_WAY_MS,
    late_ms: float = 0.1,
    hops: int = 0,
) -> Run:
    """A minute of ten requests a second from a-1 to b-1; `added`: second to what the machine adds to their median, as a share."""
    plan = make_plan(one_way_ms={("a", "b"): one_way_ms}, hosts={"a": 1, "b": 1})
    run = FakeRun(plan.model_copy(update={"validity": setting}))
    run.begin()
    run.role(0.5, "b-1", "replica", "web")
    rng = Random(seed)
    for second in range(1, 60):
        run.sick(second + 1, cpu=cpu if second in added else 0.2, link_lag_ms=late_ms if second in added else 0.1)
        for tenth in range(10):
            share = added.get(second, 0.0)
            taken = (one_way_ms + HOP_MS) * (1 + share) + rng.uniform(-0.6, 0.6)
            run.request(
                second + tenth / 10, "a-1", routing_ms=taken, replica="b-1", hops=hops or (1 if via == "direct" else 2), via=via
            )
    return read(run.write(directory))


@pytest.mark.parametrize("share", [0.0, 0.05, 0.08, 0.13, 0.2, 1.0])
def test_an_interval_is_marked_exactly_when_its_median_moved_by_more_than_a_tenth(tmp_path: Path, share: float) -> None:
    """Against the same requests on a quiet machine, which the test knows."""
    run = a_run(tmp_path, added=dict.fromkeys(range(21, 36), share))
    assert run.invalid_spans == ([(20.0, 36.0)] if share > machine.MOVED else [])
    result = build(run)
    assert result.validity.ok is (share <= machine.MOVED)
    assert (result.verdict == "invalid") is (share > machine.MOVED)
    if share > machine.MOVED:
        (reason,) = result.validity.reasons
        assert machine.WHAT in reason
        assert "from 21 to 36 s" in reason


def test_alone_a_run_is_valid(tmp_path: Path) -> None:
    for seed in range(5):
        assert build(a_run(tmp_path / str(seed), added={}, seed=seed)).validity.ok


def test_two_intervals_are_two(tmp_path: Path) -> None:
    added = {**dict.fromkeys(range(11, 16), 0.3), **dict.fromkeys(range(41, 51), 0.5)}
    run = a_run(tmp_path, added=added)
    assert run.invalid_spans == [(10.0, 16.0), (40.0, 51.0)]
    (reason,) = build(run).validity.reasons
    assert "from 41 to 51 s" in reason, "the longest is told"
    assert [(span.from_s, span.to_s) for span in build(run).validity.spans] == [(11, 16), (41, 51)]


def test_what_moved_while_the_machine_was_idle_was_asked_for(tmp_path: Path) -> None:
    """Queues of access links, say."""
    assert build(a_run(tmp_path, added=dict.fromkeys(range(21, 36), 0.5), cpu=0.3)).validity.ok


@pytest.mark.parametrize(("share", "told"), [(0.02, []), (0.5, ["cpu while timers are late", machine.WHAT])])
def test_where_harm_is_presumed_requests_are_believed(tmp_path: Path, share: float, told: list[str]) -> None:
    """Cores busy and timers late for fifteen seconds: whether that moved anything, requests tell; without them, it counts."""
    run = a_run(tmp_path, added=dict.fromkeys(range(21, 36), share), late_ms=3.0)
    assert [breach.what for breach in run.validity.breaches] == told
    unknown = a_run(tmp_path / "agents", added=dict.fromkeys(range(21, 36), share), late_ms=3.0, via="agent")
    assert [breach.what for breach in unknown.validity.breaches] == ["cpu while timers are late"]


def test_requests_passed_on_by_an_agent_say_nothing(tmp_path: Path) -> None:
    assert build(a_run(tmp_path, added=dict.fromkeys(range(21, 36), 0.5), via="agent")).validity.ok


def test_one_hop_by_an_agent_is_as_good(tmp_path: Path) -> None:
    """The agent serves, or asks for itself: three quarters of a run of six hosts, without which medians are of few."""
    added = dict.fromkeys(range(21, 36), 0.5)
    assert not build(a_run(tmp_path, added=added, via="agent", hops=1)).validity.ok


def test_exclude_leaves_those_requests_out_of_every_figure(tmp_path: Path) -> None:
    result = build(a_run(tmp_path, added=dict.fromkeys(range(21, 36), 1.0), setting="exclude"))
    assert result.verdict == "pass"
    assert result.validity.ok
    assert result.routing_latency_ms.max is not None
    assert result.routing_latency_ms.max < QUIET_MS + 1
    assert result.requests.issued == 590 - result.validity.excluded_requests
    assert 150 <= result.validity.excluded_requests <= 165
    (note,) = result.validity.notes
    assert machine.WHAT in note


def test_too_little_left_is_invalid(tmp_path: Path) -> None:
    result = build(a_run(tmp_path, added=dict.fromkeys(range(11, 56), 1.0), setting="exclude"))
    assert result.verdict == "invalid"
    assert "too little is left" in result.validity.reasons[0]


def test_annotate_counts_all_and_says_so(tmp_path: Path) -> None:
    result = build(a_run(tmp_path, added=dict.fromkeys(range(21, 36), 1.0), setting="annotate"))
    assert result.verdict == "pass"
    assert result.requests.issued == 590
    assert result.validity.excluded_requests == 0
    assert len(result.validity.notes) == len(result.validity.spans) == 1


def test_a_machine_that_was_busy_all_along_has_no_quiet_seconds_to_be_held_against(tmp_path: Path) -> None:
    run = a_run(tmp_path, added=dict.fromkeys(range(1, 60), 0.3))
    assert run.invalid_spans == [(0.0, 61.0)]
    assert build(a_run(tmp_path / "slow", added=dict.fromkeys(range(1, 60), 0.01))).validity.ok


def test_half_a_millisecond_moves_nothing_however_near_replicas_are(tmp_path: Path) -> None:
    near = a_run(tmp_path, added=dict.fromkeys(range(21, 36), 0.1), one_way_ms=1.0)
    assert near.validity.ok
