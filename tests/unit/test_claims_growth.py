"""The rules of the claims about n, latency, failures and monitoring, each with figures under which it holds, and does not."""

from __future__ import annotations

from math import log2
from typing import Any

import pytest
from helpers.planted_lives import judged, life, setting
from opus_controller.claims.catalogue import chosen
from opus_controller.claims.claim import CONDITIONS, FAILS, HOLDS, Figures
from opus_controller.claims.measure.life import spread
from opus_controller.claims.monitoring import mesh_bytes

SETTING = setting()


def converged(name: str, *, grows: bool = True) -> Figures:
    n = int(name.split()[-1])
    return {"n": n, "hops": spread([log2(n) / 2 if grows else 2.0]), "entries": spread([75.0])}


def opus_against(ours: dict[str, Any], others: dict[str, Any] | None = None) -> Any:
    return lambda label, hosts: life(SETTING, hosts, **(ours if label.startswith("opus") else others or {}))


def test_constant_hops_hold_where_ours_are_two_and_theirs_grow() -> None:
    (claim,) = chosen(["constant-hops"])
    assert judged(claim, SETTING, opus_against({}), converged).verdict == HOLDS


def test_constant_hops_fail_where_ours_grow() -> None:
    (claim,) = chosen(["1"])
    found = judged(claim, SETTING, lambda label, hosts: life(SETTING, hosts, hops=1 + hosts / 1000), converged)
    assert found.verdict == FAILS


def test_constant_hops_hold_under_conditions_against_who_does_not_grow() -> None:
    (claim,) = chosen(["1"])
    found = judged(claim, SETTING, opus_against({}), lambda name: converged(name, grows="kademlia" not in name))
    assert found.verdict == CONDITIONS
    assert "kademlia" in found.because


@pytest.mark.parametrize(
    ("entries", "agents", "verdict"),
    [(15.0, lambda n: 40.0, HOLDS), (15.0, lambda n: n / 2, CONDITIONS), (25.0, lambda n: 40.0, FAILS)],
    ids=["bounded", "agents grow", "too many"],
)
def test_constant_state_is_of_nodes_and_agents(entries: float, agents: Any, verdict: str) -> None:
    (claim,) = chosen(["constant-state"])
    found = judged(claim, SETTING, lambda label, hosts: life(SETTING, hosts, entries=entries, agents=agents(hosts)), converged)
    assert found.verdict == verdict


def test_constant_state_fails_where_nodes_go_on_growing() -> None:
    (claim,) = chosen(["constant-state"])
    found = judged(claim, SETTING, lambda label, hosts: life(SETTING, hosts, entries=19 if hosts == 1000 else 10), converged)
    assert found.verdict == FAILS


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        (lambda n: 5000.0, 9000.0, HOLDS),
        (lambda n: 5000.0, 3000.0, CONDITIONS),
        (lambda n: 50.0 * n, 90000.0, FAILS),
    ],
    ids=["cheaper", "dearer", "growing"],
)
def test_membership_is_cheap_if_it_costs_less_and_does_not_grow(ours: Any, theirs: float, verdict: str) -> None:
    (claim,) = chosen(["cheap-membership"])

    def figures(label: str, hosts: int) -> Figures:
        return life(SETTING, hosts, join_bytes=ours(hosts) if label == "opus" else theirs)

    found = judged(claim, SETTING, figures)
    assert found.verdict == verdict
    if verdict == CONDITIONS:
        assert "chord" in found.because


@pytest.mark.parametrize(
    ("others_ms", "verdict", "words"),
    [
        ({"chord": 60.0, "pastry": 60.0, "kademlia": 60.0, "one-hop": 40.0}, HOLDS, "3 of 3"),
        ({"chord": 60.0, "pastry": 60.0, "kademlia": 60.0, "one-hop": 21.0}, CONDITIONS, "1 of 3"),
        ({"chord": 19.0, "pastry": 60.0, "kademlia": 60.0, "one-hop": 40.0}, FAILS, ""),
    ],
    ids=["all ratios", "one-hop is near", "Chord is faster"],
)
def test_latency_is_judged_by_the_best_of_the_others(others_ms: dict[str, float], verdict: str, words: str) -> None:
    (claim,) = chosen(["latency"])

    def figures(label: str, hosts: int) -> Figures:
        if label.startswith("opus"):
            return life(SETTING, hosts, first_ms=20.0, repeat_ms=15.0)
        ms = others_ms[label.split(",")[0].split(" x")[0]]
        return life(SETTING, hosts, first_ms=ms, repeat_ms=ms)

    found = judged(claim, SETTING, figures)
    assert found.verdict == verdict
    assert words in found.because


def test_latency_counts_the_best_setting_of_a_rival() -> None:
    tuned = setting(arms=(2.0,))
    (claim,) = chosen(["latency"])

    def figures(label: str, hosts: int) -> Figures:
        ms = 20.0 if label.startswith("opus") else 15.0 if label == "pastry x2" else 100.0
        return life(tuned, hosts, first_ms=ms, repeat_ms=ms)

    assert judged(claim, tuned, figures).verdict == FAILS


def test_massive_failure_holds_where_all_are_served_soon() -> None:
    (claim,) = chosen(["massive-failure"])
    assert judged(claim, SETTING, opus_against({"served_s": lambda share: 1.0}, {"served_s": lambda share: 3.0})).verdict == HOLDS


def test_massive_failure_names_the_share_that_was_too_much() -> None:
    (claim,) = chosen(["massive-failure"])
    found = judged(claim, SETTING, opus_against({"served_s": lambda share: 12.0 if share > 0.5 else 1.0}))
    assert found.verdict == CONDITIONS
    assert "90%" in found.because


def test_massive_failure_fails_where_others_are_served_sooner() -> None:
    (claim,) = chosen(["massive-failure"])
    assert judged(claim, SETTING, opus_against({"served_s": lambda share: 2.0}, {"served_s": lambda share: 1.0})).verdict == FAILS


@pytest.mark.parametrize(
    ("rate", "verdict"),
    [(lambda n: 100.0, HOLDS), (lambda n: 2.0 * n**0.5, CONDITIONS), (lambda n: 5.0 * n, FAILS)],
    ids=["flat", "root", "linear"],
)
def test_monitoring_is_judged_by_how_bytes_grow(rate: Any, verdict: str) -> None:
    (claim,) = chosen(["monitoring"])
    assert judged(claim, SETTING, lambda label, hosts: life(SETTING, hosts, bytes_per_s=rate(hosts))).verdict == verdict


def test_a_full_mesh_costs_what_its_authors_say() -> None:
    """RON's table 1: 33 kbit/s sent by each of 50 nodes."""
    assert mesh_bytes(50) / 2 * 8 == pytest.approx(33_000, rel=0.15)
