"""What counts as a good choice among replicas: a factor of the best, or so little farther that nobody can tell."""

from __future__ import annotations

import numpy as np
import pytest
from opus_controller.claims.measure.choices import judged
from opus_controller.report.world import NO_PATH

MS = 1_000_000


def test_a_choice_is_within_a_factor_of_the_best_or_hardly_farther() -> None:
    best = np.array([100, 100, 100, 1, 1], dtype=np.int64) * MS
    chosen = np.array([100, 119, 130, 3, 4], dtype=np.int64) * MS

    found = judged(chosen, best)

    assert found["count"] == 5
    assert found["within"]["1"] == pytest.approx(2 / 5)  # the best itself, and 2 ms farther
    assert found["within"]["1.2"] == pytest.approx(3 / 5)
    assert found["within_strictly"]["1.2"] == pytest.approx(2 / 5)
    assert found["within"]["3"] == pytest.approx(4 / 5)  # 4 ms instead of 1 is a poor one
    assert found["farther_ms"]["p50"] == pytest.approx(3.0)


def test_who_is_not_answered_has_not_chosen_well() -> None:
    found = judged(np.array([10 * MS, NO_PATH], dtype=np.int64), np.array([10 * MS, 10 * MS], dtype=np.int64))

    assert found["within"]["5"] == pytest.approx(1 / 2)
    assert found["farther_ms"]["p99"] == pytest.approx(0.0)


def test_without_requests_there_are_no_shares() -> None:
    nobody = np.zeros(0, dtype=np.int64)

    found = judged(nobody, nobody)

    assert found["count"] == 0
    assert found["within"]["1.2"] is None
    assert found["farther_ms"]["p95"] is None
