"""When a run's figures mean nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from helpers.fake_runtime import SECOND, quiet
from opus_controller.engine.runtime import Health
from opus_controller.engine.validity import judge

MS = 1_000_000


def samples(**changes: Mapping[int, float]) -> list[Health]:
    """A quiet minute with `field={second: value}` laid over it."""
    minute = [quiet(second * SECOND) for second in range(60)]
    for name, values in changes.items():
        for second, value in values.items():
            minute[second] = replace(minute[second], **{name: value})  # type: ignore[arg-type]  # one field, known at run time
    return minute


def test_a_quiet_machine_is_valid() -> None:
    assert judge(samples()).ok
    assert judge([]).ok


@pytest.mark.parametrize(
    ("field", "value", "seconds"),
    [
        ("link_lag_p99_ns", 6 * MS, range(20, 24)),
        ("link_lag_p99_ns", 101 * MS, range(20, 21)),
        ("node_lag_p99_ns", 31 * MS, range(20, 24)),
        ("node_lag_p99_ns", 501 * MS, range(20, 21)),
        ("memory_used", 0.98, range(20, 24)),
        ("neighbour_table", 0.96, range(20, 21)),
        ("inotify", 1.0, range(20, 21)),
        ("notices_dropped", 1, range(20, 60)),
    ],
)
def test_each_limit_can_be_passed_and_says_when_and_why(field: str, value: float, seconds: range) -> None:
    validity = judge(samples(**{field: dict.fromkeys(seconds, value)}))
    assert not validity.ok
    (reason,) = validity.reasons
    assert f"{seconds[0]} " in reason
    assert str(seconds[-1]) in reason
    assert "at most" in reason


@pytest.mark.parametrize(
    ("field", "value", "seconds"),
    [
        ("link_lag_p99_ns", 6 * MS, [20, 21, 23, 24, 26]),
        ("node_lag_p99_ns", 31 * MS, [20, 21, 40, 41]),
        ("cpu_busy", 1.0, list(range(60))),
    ],
)
def test_short_peaks_are_forgiven(field: str, value: float, seconds: list[int]) -> None:
    assert judge(samples(**{field: dict.fromkeys(seconds, value)})).ok


@pytest.mark.parametrize(("late", "seconds", "ok"), [(11 * MS, 6, False), (11 * MS, 5, True), (9 * MS, 6, True)])
def test_a_saturated_processor_counts_while_timers_are_late(late: int, seconds: int, ok: bool) -> None:
    span = range(20, 20 + seconds)
    assert judge(samples(cpu_busy=dict.fromkeys(span, 0.99), node_lag_p99_ns=dict.fromkeys(span, late))).ok is ok


def test_an_overflow_is_when_it_rises_not_ever_after() -> None:
    counted = {second: 3 if second < 40 else 7 for second in range(20, 60)}
    validity = judge(samples(link_overflow=counted))
    assert [(b.from_s, b.to_s, b.worst) for b in validity.stretches] == [(15, 20, 3), (35, 40, 7)]
    assert not any(b.whole for b in validity.stretches)
    (lost,) = judge(samples(notices_dropped=dict.fromkeys(range(20, 60), 1))).breaches
    assert lost.whole, "what the record lacks is lacking in every figure"


def test_others_on_the_machine_count_while_timers_are_late() -> None:
    span = range(20, 30)
    busy = {"cpu_busy": dict.fromkeys(span, 1.0), "cpu_others": dict.fromkeys(span, 0.8)}
    assert judge(samples(**busy)).ok
    told = [b.what for b in judge(samples(**busy, node_lag_p99_ns=dict.fromkeys(span, 20 * MS))).breaches]
    assert told == ["cpu while timers are late", "cpu taken by others while timers are late"]


def test_every_stretch_is_kept_the_longest_is_the_reason() -> None:
    late = dict.fromkeys([*range(10, 15), *range(30, 40), *range(50, 52)], 6 * MS)
    validity = judge(samples(link_lag_p99_ns=late))
    assert [(b.from_s, b.to_s) for b in validity.stretches] == [(10, 14), (30, 39)]
    (reason,) = validity.reasons
    assert "from 30 to 39 s" in reason


def test_problems_of_the_run_count_too() -> None:
    validity = judge(samples(), problems=["nobody was hit"])
    assert not validity.ok
    assert validity.reasons == ("nobody was hit",)
