"""The oracles of `opus bench overlay`, against trying everything."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from helpers.plane import matrix_file
from opus_controller.bench.overlay.data import Matrix, plan
from opus_controller.bench.overlay.oracles import Floats, delays_ms, local_search, nearest, random_draws


def a_matrix(n: int, seed: int) -> Floats:
    at = np.random.default_rng(seed).random((n, 2))
    delay: Floats = np.hypot(at[:, None, 0] - at[None, :, 0], at[:, None, 1] - at[None, :, 1])
    return delay


def by_trying_all(delay: Floats, m: int, weight: Floats) -> float:
    n = len(delay)
    share = weight / weight.sum()
    sums = (sum(share[c] * min(delay[c, r] for r in chosen) for c in range(n)) for chosen in combinations(range(n), m))
    return float(min(sums))


def test_the_nearest_replica_is_the_least_of_all_asked_one_by_one() -> None:
    delay = a_matrix(12, 1)
    assert nearest(delay, [3, 7, 8]).tolist() == [min(delay[c, 3], delay[c, 7], delay[c, 8]) for c in range(12)]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("m", [1, 2, 3])
def test_local_search_finds_what_trying_all_subsets_finds(seed: int, m: int) -> None:
    delay = a_matrix(11, seed)
    assert local_search(delay, m).mean == pytest.approx(by_trying_all(delay, m, np.ones(11)))


@pytest.mark.parametrize("seed", range(4))
def test_local_search_goes_where_the_weight_is(seed: int) -> None:
    delay = a_matrix(11, seed)
    weight = np.random.default_rng(seed).random(11) ** 4
    found = local_search(delay, 2, weight=weight)
    assert found.mean == pytest.approx(by_trying_all(delay, 2, weight))
    assert float(nearest(delay, found.chosen) @ weight / weight.sum()) == pytest.approx(found.mean)


def test_as_many_replicas_as_hosts_leave_no_delay() -> None:
    assert local_search(a_matrix(5, 1), 5).mean == 0


def test_random_draws_come_to_the_mean_over_all_subsets() -> None:
    delay = a_matrix(8, 3)
    every = np.mean([nearest(delay, chosen).mean() for chosen in combinations(range(8), 3)])
    assert random_draws(delay, 3, draws=4000) == pytest.approx(float(every), rel=0.02)


def test_delays_are_half_the_round_trips_of_the_file(tmp_path: Path) -> None:
    path = matrix_file(tmp_path, 9)
    made = plan(Matrix(path).topology(), seed=1, replicas=2)
    rtt = np.loadtxt(path, delimiter=",")
    assert np.allclose(delays_ms(made), rtt / 2, atol=1e-6)


def test_more_hosts_than_rows_share_them_and_fewer_take_the_first(tmp_path: Path) -> None:
    matrix = Matrix(matrix_file(tmp_path, 9))
    assert len(matrix.topology(27).hosts) == 27
    small = plan(matrix.topology(4), seed=1, replicas=2)
    assert np.allclose(delays_ms(small), np.loadtxt(matrix.path, delimiter=",")[:4, :4] / 2, atol=1e-6)


def test_boots_are_spread_in_order_after_the_seeds(tmp_path: Path) -> None:
    made = plan(Matrix(matrix_file(tmp_path, 9)).topology(), seed=1, replicas=2, boot_over_s=9)
    late = [host.boot_at_ns for host in made.hosts if host.name not in made.seeds]
    assert late == sorted(late)
    assert max(late) < 9_000_000_000
    assert all(host.boot_at_ns == 0 for host in made.hosts if host.name in made.seeds)
