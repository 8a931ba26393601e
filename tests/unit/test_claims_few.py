"""Few well-placed replicas against many random ones: what is counted, and when the claim holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from opus_controller.bench.overlay.oracles import Floats, nearest
from opus_controller.claims import few
from opus_controller.claims.claim import CONDITIONS, FAILS, HOLDS, Figures
from opus_controller.claims.measure import few as measure
from opus_controller.claims.measure.networks import Network
from opus_controller.claims.setting import QUICK, Setting


def _nowhere(hosts: int) -> Any:
    raise AssertionError("no network is needed to judge")


SETTING = Setting(QUICK, [Network("here", "a network", _nowhere), Network("there", "another", _nowhere)])
CURVE = [100.0 / k for k in range(1, 121)]
"""Of k random replicas."""


def _found(placed_ms: float, live_ms: float, m: int = 10) -> dict[str, Figures]:
    """The same everywhere but live."""
    felt = {str(m): {"mean": placed_ms, "p95": placed_ms}}
    random = dict.fromkeys(("mean", "p95", "mean_sure", "p95_sure"), CURVE)
    figures = {"hosts": 120, "random": random, "ideal": felt, "stewards": felt}
    live = {str(m): {"mean": live_ms, "p95": live_ms, "replicas": m}}
    n = QUICK.hosts
    return {f"few-replicas here {n}": figures, f"few-replicas there {n}": figures, f"few-replicas live here {n} 1": live}


def test_it_holds_where_many_more_random_ones_are_needed() -> None:
    found = few.judge(_found(placed_ms=100 / 20, live_ms=100 / 16), SETTING)

    assert found.verdict == HOLDS
    assert "1.6 to 2.0 times as many random replicas give the same mean" in found.because
    assert "20 (2.0x)" in found.tables[0].rows[0]


def test_where_live_placement_is_no_better_than_chance_that_is_the_condition() -> None:
    found = few.judge(_found(placed_ms=100 / 20, live_ms=100 / 10), SETTING)

    assert found.verdict == CONDITIONS
    assert "here, live, m = 10, mean (1.00)" in found.because
    assert "there" not in found.because


def test_it_does_not_hold_where_random_ones_are_as_good() -> None:
    found = few.judge(_found(placed_ms=100 / 11, live_ms=100 / 30), SETTING)

    assert found.verdict == FAILS


def test_tasks_are_one_a_network_and_one_that_lives_on_the_main_one() -> None:
    names = [task.name for task in few.tasks(SETTING)]

    assert sorted(names) == sorted(_found(1.0, 1.0))


@pytest.fixture
def line() -> Floats:
    """Hosts in a row, 1 ms apart."""
    at = np.arange(41.0)
    return np.abs(at[:, None] - at[None, :])


def test_curves_of_random_replicas_fall_to_nothing_and_sure_ones_lie_above(line: Floats) -> None:
    found = measure.curves(line, draws=20)

    assert found["mean"][0] > found["mean"][10] > found["mean"][-1] == 0.0
    assert all(sure >= mean - 1e-9 for sure, mean in zip(found["mean_sure"], found["mean"], strict=True))


def test_as_many_are_needed_as_are_as_good(line: Floats) -> None:
    curve = measure.curves(line, draws=50)["mean"]
    placed = measure.felt(line, [4, 12, 20, 28, 36])
    assert placed["mean"] == pytest.approx(nearest(line, [4, 12, 20, 28, 36]).mean())

    count = measure.needed(curve, placed["mean"])

    assert 5 < count < 20
    assert curve[count - 1] <= placed["mean"] < curve[count - 2]
    assert measure.needed(curve, -1.0) == 41
