"""The attacker of `opus claims` strikes whom he means to, and no more of them than he may."""

from __future__ import annotations

from random import Random

import pytest
from helpers.planted_lives import clouds
from opus_controller.bench.overlay.lab import Lab
from opus_controller.claims.measure.attacks import AGENTS, ATTACKS, BOTH, REPLICAS, attacked, serving_now, targets
from opus_controller.claims.measure.life import Life, born
from opus_controller.claims.measure.overlays import OURS, RIVAL, Overlay
from opus_controller.claims.setting import TINY


def life(overlay: Overlay) -> Life:
    return Life(clouds(), overlay, 30, 4, 1, TINY)


@pytest.fixture(scope="module", params=[OURS, RIVAL], ids=lambda overlay: str(overlay.label))
def lab(request: pytest.FixtureRequest) -> tuple[Life, Lab]:
    of = life(request.param)
    grown = born(of)
    grown.run_until(TINY.settle_s)
    return of, grown


def test_replicas_and_agents_are_struck_by_role(lab: tuple[Life, Lab]) -> None:
    of, grown = lab
    serving, agents = set(grown.replicas()), set(grown.agents())
    assert set(targets(grown, REPLICAS, of)) == serving
    others = set(targets(grown, AGENTS, of))
    both = targets(grown, BOTH, of)
    assert 0 < len(others) <= of.replicas
    assert serving <= set(both)
    assert len(both) == len(set(both))
    if agents:
        assert others <= agents <= set(both)
    else:
        assert not others & serving
        assert len(both) == len(serving) + 2, "one host in fifteen"


def test_the_budget_is_kept(lab: tuple[Life, Lab]) -> None:
    _, grown = lab
    assert len(serving_now(grown, 2, Random(1))) == 2


def test_an_attack_is_felt_and_counted() -> None:
    found = attacked(life(RIVAL))
    assert set(found) == set(ATTACKS)
    for attack in ATTACKS:
        one = found[attack]
        assert 0 < one["ok"] <= one["issued"]
        assert one["median_s"] <= one["served_s"] <= 15.0
    assert found["replicas"]["victims"] == 4
    assert found["persistent"]["victims"] > 12, "strike after strike"
