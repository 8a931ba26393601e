"""The rule of the claim about denial of service, with figures under which it holds, and does not."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.planted_lives import setting
from opus_controller.claims.catalogue import chosen
from opus_controller.claims.claim import CONDITIONS, FAILS, HOLDS, Figures, Finding
from opus_controller.claims.measure.attacks import ATTACKS

SETTING = setting()


def struck(served_s: float) -> Figures:
    return {
        "victims": 4,
        "seeds": 1,
        "alive": 30,
        "served_s": served_s,
        "median_s": served_s / 2,
        "unserved": 0,
        "issued": 100,
        "ok": 90,
        "end_issued": 10,
        "end_ok": 10,
        "bytes_per_s": 200.0,
    }


def judged(ours: dict[str, float], theirs: dict[str, float], else_s: float = 1.0) -> Finding:
    """By attack; `theirs` of Kademlia, while all others take very long."""
    (claim,) = chosen(["denial-of-service"])
    planted = {}
    for task in claim.tasks(SETTING):
        run: Any = task.run
        label = run.args[0].overlay.label
        seconds = ours if label == "opus" else theirs if label == "kademlia" else dict.fromkeys(ATTACKS, 14.0)
        planted[task.name] = {attack: struck(seconds.get(attack, else_s)) for attack in ATTACKS}
    return claim.judge(planted, SETTING)


def test_it_holds_where_all_attacks_are_survived_as_soon_as_by_the_best() -> None:
    assert judged({}, {"both": 0.6}).verdict == HOLDS


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [({"both": 15.0}, {"both": 15.0}), ({"both": 2.0}, {"both": 1.4})],
    ids=["too late", "later than the best"],
)
def test_attacks_that_are_survived_are_named(ours: dict[str, float], theirs: dict[str, float]) -> None:
    found = judged(ours, theirs)
    assert found.verdict == CONDITIONS
    said = found.because.split("So after")[1]
    assert "as many agents" in said
    assert "all replicas and all agents" not in said


def test_it_fails_where_the_others_are_always_back_sooner() -> None:
    assert judged(dict.fromkeys(ATTACKS, 3.0), {}).verdict == FAILS
