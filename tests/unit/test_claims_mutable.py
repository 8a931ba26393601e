"""The rule of the claim about data that change, with figures under which it holds, and does not."""

from __future__ import annotations

from collections.abc import Callable, Collection

import pytest
from helpers.planted_lives import setting
from opus_controller.claims.catalogue import chosen
from opus_controller.claims.claim import CONDITIONS, FAILS, HOLDS, Figures, Finding
from opus_controller.claims.measure.mutable import MEMBERSHIPS, RECONFIGURED
from opus_controller.claims.mutable import COORDINATED, FORECAST
from opus_node.core.types import CONSISTENCIES

SETTING = setting(effort=1.0, seeds=2)
Available = Callable[[str, str, int], float]
"""By family, mode and m."""


def judged(run: Available, told: Available) -> Finding:
    (claim,) = chosen(["mutable-data"])
    planted: dict[str, Figures] = {}
    for task in claim.tasks(SETTING):
        if "forecast" in task.name:
            family = task.name.split()[-1]
            curves = {mode: [[told(family, mode, m)] * 3 for m in FORECAST] for mode in CONSISTENCIES}
            planted[task.name] = dict.fromkeys(MEMBERSHIPS, curves)
        else:
            _, family, m, _ = task.name.split()
            of = {mode: run(family, mode, int(m.removeprefix("m="))) for mode in CONSISTENCIES}
            planted[task.name] = {mode: {"asked": 10_000, "ok": round(10_000 * share)} for mode, share in of.items()}
    return claim.judge(planted, SETTING)


def hurting(modes: Collection[str], families: Collection[str] = ("churn", "cuts")) -> Available:
    """These lose a fifth of a point at the largest m; all others win a little with each replica."""

    def available(family: str, mode: str, m: int) -> float:
        return 0.988 if mode in modes and family in families and m == 15 else 0.99 + m / 10_000

    return available


@pytest.mark.parametrize("families", [("churn",), ("cuts",)])
def test_it_holds_where_every_coordinated_mode_is_hurt_by_something(families: tuple[str, ...]) -> None:
    found = judged(hurting(COORDINATED, families), hurting(COORDINATED, families))
    assert found.verdict == HOLDS


def test_modes_that_are_hurt_are_named() -> None:
    found = judged(hurting(("write-all", "eventual")), hurting(("write-all", "eventual")))
    assert found.verdict == CONDITIONS
    assert "So for write-all." in found.because


@pytest.mark.parametrize(
    ("run", "told"),
    [
        (hurting(()), hurting(())),
        (hurting(COORDINATED), hurting(())),
        (hurting(()), hurting(COORDINATED)),
        (hurting(("eventual",)), hurting(("eventual",))),
    ],
    ids=["nobody", "in runs alone", "in the forecast alone", "only who does not coordinate"],
)
def test_it_fails_where_no_coordinated_mode_is_hurt(run: Available, told: Available) -> None:
    assert judged(run, told).verdict == FAILS


def test_members_that_stay_are_told_apart() -> None:
    assert RECONFIGURED in MEMBERSHIPS
    found = judged(hurting(()), hurting(()))
    assert found.because.endswith("If members were never replaced, so the forecast, for none.")
