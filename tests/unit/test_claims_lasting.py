"""Members chosen for their past: the laws of sessions, and when the claim holds."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
from opus_controller.claims import lasting
from opus_controller.claims.claim import CONDITIONS, FAILS, HOLDS, Figures
from opus_controller.claims.measure import lasting as measure
from opus_controller.claims.measure.networks import Network
from opus_controller.claims.setting import QUICK, Setting


def _nowhere(hosts: int) -> Any:
    raise AssertionError("no network is needed to judge")


SETTING = Setting(QUICK, [Network("here", "a network", _nowhere)])


def _found(**gains: float) -> dict[str, Figures]:
    """By law and policy, how many times less often members fail than random ones, which do 20 times in 100 hours."""
    found = {}
    for task in lasting.tasks(SETTING):
        law, policy = task.name.split()[3:5]
        rate = 0.2 / gains.get(f"{law}_{policy}", 1.0)
        hours = {"member_hours": 400 / rate, "node_hours": 400 / 0.3}
        found[task.name] = {"departures": 400, "deaths": 400, "delay": 1.1, **hours}
    return found


def test_it_holds_where_chosen_members_fail_less_often_under_both_heavy_tails() -> None:
    finding = lasting.judge(_found(weibull_best=2.0, pareto_best=1.8), SETTING)

    assert finding.verdict == HOLDS
    assert "2.0 [1.7, 2.3] (weibull)" in finding.because
    assert len(finding.tables[0].rows) == 9


def test_under_one_law_only_that_is_the_condition() -> None:
    finding = lasting.judge(_found(weibull_best=2.0, pareto_best=1.2), SETTING)

    assert finding.verdict == CONDITIONS
    assert "under weibull sessions only" in finding.because


def test_where_age_alone_has_to_decide_that_is_the_condition() -> None:
    finding = lasting.judge(_found(weibull_oldest=3.0, pareto_oldest=3.0), SETTING)

    assert finding.verdict == CONDITIONS
    assert "Only where age alone decides, and delay does not count, under weibull and pareto sessions" in finding.because


@pytest.mark.parametrize("gains", [{"weibull_best": 1.2, "pareto_best": 1.2}, {"pareto_best": 1.8, "exponential_best": 1.8}])
def test_it_does_not_hold_without_a_gain_or_where_the_control_gains_as_much(gains: dict[str, float]) -> None:
    assert lasting.judge(_found(**gains), SETTING).verdict == FAILS


def test_all_laws_have_the_same_mean() -> None:
    rng = Random("means")
    for name, law in measure.LAWS.items():
        drawn = [law.draw(rng, 0) for _ in range(40_000)]
        assert np.mean(drawn) == pytest.approx(measure.MEAN, rel=0.1), name


def test_found_sessions_are_as_old_as_they_have_yet_to_last() -> None:
    """An inspector's moment is uniform in a session: what has been and what is to come have one law."""
    rng = Random("found")
    found = np.array([measure.PARETO.found(rng, 0) for _ in range(40_000)])

    for q in (0.25, 0.5, 0.75):
        age, left = np.quantile(found, q, axis=0)
        assert age == pytest.approx(left, rel=0.1)


def test_the_older_a_session_is_the_longer_it_goes_on() -> None:
    rng = Random("age")
    found = sorted(measure.PARETO.found(rng, 0) for _ in range(20_000))

    young, old = (np.median([left for _, left in some]) for some in (found[:5000], found[-5000:]))
    assert old > 2 * young
