from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from opus_controller.report import placement
from opus_controller.report.placement import k_median, total


def random_plane(n: int, seed: int) -> tuple[placement.Floats, placement.Floats]:
    rng = np.random.default_rng(seed)
    points = rng.random((n, 2))
    delay = np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=2))
    return delay, rng.integers(1, 9, n).astype(np.float64)


def test_on_a_line_the_median_of_the_weights_wins() -> None:
    where = np.array([0.0, 1.0, 2.0, 10.0])
    delay = np.abs(where[:, None] - where[None])
    assert k_median(delay, np.ones(4), 1) == (1,)
    assert k_median(delay, np.array([1.0, 1.0, 1.0, 9.0]), 1) == (3,)
    assert k_median(delay, np.ones(4), 2) == (1, 3)


def test_as_many_as_there_are_takes_all() -> None:
    delay, weight = random_plane(4, 1)
    assert k_median(delay, weight, 4) == (0, 1, 2, 3)
    assert k_median(delay, weight, 9) == (0, 1, 2, 3)


@pytest.mark.parametrize("m", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(5))
def test_search_finds_what_counting_through_finds(monkeypatch: pytest.MonkeyPatch, m: int, seed: int) -> None:
    """On a dozen small planes the search is the optimum or within 2% of it; counting through is compared with a plain loop."""
    delay, weight = random_plane(14, seed)
    cost = delay * weight[:, None]
    plain = min(combinations(range(14), m), key=lambda chosen: total(cost, chosen))
    assert k_median(delay, weight, m) == plain
    monkeypatch.setattr(placement, "EXACT_UP_TO", 0)
    assert total(cost, k_median(delay, weight, m)) <= 1.02 * total(cost, plain)


def test_search_is_deterministic_and_beats_a_random_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    delay, weight = random_plane(200, 3)
    cost = delay * weight[:, None]
    found = k_median(delay, weight, 7)
    assert found == k_median(delay, weight, 7)
    rng = np.random.default_rng(1)
    drawn = min(total(cost, tuple(rng.choice(200, 7, replace=False).tolist())) for _ in range(200))
    assert total(cost, found) < drawn


def test_a_warm_start_is_never_worse_than_itself() -> None:
    delay, weight = random_plane(120, 5)
    cost = delay * weight[:, None]
    start = tuple(range(6))
    assert total(cost, k_median(delay, weight, 6, starts=(start,), restarts=0)) <= total(cost, start)
