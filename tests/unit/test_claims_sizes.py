"""The rules of the claims about the size of a subset, each with figures under which it holds, and does not."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.planted_lives import setting
from opus_controller.claims.catalogue import chosen
from opus_controller.claims.claim import CONDITIONS, FAILS, HOLDS, Figures
from opus_controller.claims.sizes import SHARES

SETTING = setting(effort=1.0)


def sized(half: int, twice: int) -> Figures:
    """With E = 0.5 and d = 1 of 100 hosts, 10 members are predicted for the one load and 40 for the other."""
    tried = [(20.0, 1.0), (5.0, 0.5)]
    return {
        "n": 100,
        "d": 1.0,
        "e": 0.5,
        "u_half": 0.05,
        "u_twice": 0.2,
        "m_half": half,
        "m_twice": twice,
        "tried_half": tried,
        "tried_twice": tried,
        "tried_e": [(0.5, 1.0), (0.7, 0.9)],
    }


@pytest.mark.parametrize(
    ("half", "twice", "verdict", "said"),
    [
        (9, 34, HOLDS, "6 of 6"),
        (10, 30, CONDITIONS, "beyond 20% at twice the load"),
        (7, 40, CONDITIONS, "beyond 20% at half the load"),
        (10, 20, FAILS, "40 predicted, 20 needed"),
    ],
    ids=["near", "rough above", "rough below", "twice too many"],
)
def test_the_size_is_judged_by_the_worst_case(half: int, twice: int, verdict: str, said: str) -> None:
    (claim,) = chosen(["subset-size"])
    found = claim.judge({task.name: sized(half, twice) for task in claim.tasks(SETTING)}, SETTING)
    assert found.verdict == verdict
    assert said in found.because
    assert found.tables
    assert found.plots


@pytest.mark.parametrize(
    ("share", "verdict", "said"),
    [
        (lambda load: load, HOLDS, ""),
        (lambda load: max(load, 0.5), CONDITIONS, "where u is near d"),
        (lambda load: load / 2, FAILS, "45% of 30 hosts"),
    ],
    ids=["as the load", "too many at little load", "too few at much load"],
)
def test_everybody_serves_where_the_load_is_near_what_all_can_do(share: Any, verdict: str, said: str) -> None:
    (claim,) = chosen(["everyone-serves"])
    names = {task.name: float(task.name.split()[1]) for task in claim.tasks(SETTING)}
    assert sorted(set(names.values())) == list(SHARES)
    planted = {name: {"n": 30, "load": load, "members": 30 * share(load), "answered": 1.0} for name, load in names.items()}
    found = claim.judge(planted, SETTING)
    assert found.verdict == verdict
    assert said in found.because
