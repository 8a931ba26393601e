"""When a run's figures mean nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.fake_runtime import SECOND, quiet
from opus_controller.engine.runtime import Health
from opus_controller.engine.validity import judge

MS = 1_000_000


def samples(**changes: dict[int, float]) -> list[Health]:
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
        ("link_overflow", 1, range(20, 60)),
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


def test_problems_of_the_run_count_too() -> None:
    validity = judge(samples(), problems=["nobody was hit"])
    assert not validity.ok
    assert validity.reasons == ("nobody was hit",)
