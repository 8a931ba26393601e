"""The rule of the claim about adaptation, with figures under which it holds, and does not."""

from __future__ import annotations

import pytest
from helpers.planted_lives import setting
from opus_controller.claims.catalogue import chosen
from opus_controller.claims.claim import CONDITIONS, FAILS, HOLDS, Finding
from opus_controller.claims.measure.adapting import FALLEN, JOINED, KINDS, LENGTHENED

SETTING = setting(effort=0.5)


def judged(seconds: dict[str, list[float]]) -> Finding:
    """Of two seeds; whatever is not named takes 10 s."""
    (claim,) = chosen(["adaptation"])
    planted = {}
    for task in claim.tasks(SETTING):
        seed = int(task.name.split()[-1])
        planted[task.name] = {kind: {"seconds": seconds.get(kind, [10.0, 10.0])[seed - 1]} for kind in KINDS}
    return claim.judge(planted, SETTING)


def test_it_holds_where_each_is_soon_over_in_the_mean() -> None:
    assert judged({JOINED: [100.0, 15.0]}).verdict == HOLDS


def test_what_takes_long_is_named() -> None:
    found = judged({LENGTHENED: [100.0, 90.0], FALLEN: [61.0, 61.0]})
    assert found.verdict == CONDITIONS
    assert "Not within 60 s: node status and network conditions." in found.because


@pytest.mark.parametrize(("soon", "verdict"), [(2, CONDITIONS), (1, FAILS), (0, FAILS)])
def test_it_fails_where_nearly_everything_takes_long(soon: int, verdict: str) -> None:
    assert judged({kind: [80.0, 80.0] for kind in KINDS[soon:]}).verdict == verdict
