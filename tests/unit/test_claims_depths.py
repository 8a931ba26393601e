"""The rule of the claim about depth, with figures under which it holds, and does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from helpers.planted_lives import setting
from opus_controller.bench.overlay.deep import LEVELS
from opus_controller.claims.catalogue import chosen
from opus_controller.claims.claim import CONDITIONS, FAILS, HOLDS, Figures, Finding

SETTING = setting(effort=1.0)
Of = Callable[[int, int], float]
"""A figure by depth and n."""


def looked(depth: int, n: int, rate: float, entries: float, latency: float) -> Figures:
    found: Figures = {"depth": depth, "hosts": n, "issued": 100, "ok": 100, "latency_ms": latency}
    found |= {"hops_max": 2, "steward_entries": 9}
    for k, level in enumerate(LEVELS):
        there = k <= max(1, depth - 1)
        found[f"{level}s"] = 5 if there else 0
        found[f"{level}_bytes"] = rate / (1 if k == 1 else 2) if there else 0.0
        found[f"{level}_entries_max"] = round(entries) if there else 0
    return found


def judged(rate: Of, entries: Of, latency: Of) -> Finding:
    (claim,) = chosen(["depth"])
    planted = {}
    for task in claim.tasks(SETTING):
        _, depth, _, n = task.name.split()
        at = (int(depth), int(n))
        planted[task.name] = looked(*at, rate(*at), entries(*at), latency(*at))
    return claim.judge(planted, SETTING)


def alike(depth: int, n: int) -> float:
    return 30.0


@pytest.mark.parametrize(
    ("rate", "entries", "latency", "verdict"),
    [
        (lambda d, n: n / d, alike, alike, HOLDS),
        (alike, lambda d, n: n / d, alike, HOLDS),
        (lambda d, n: n / d, lambda d, n: n / d, lambda d, n: 20.0 * d, FAILS),
        (lambda d, n: n * d, lambda d, n: n * d, alike, FAILS),
    ],
    ids=["fewer bytes", "fewer entries", "too slow", "more of all"],
)
def test_a_third_level_pays_by_bytes_or_entries(rate: Of, entries: Of, latency: Of, verdict: str) -> None:
    assert judged(rate, entries, latency).verdict == verdict


def test_the_size_is_named_from_which_on_a_third_level_would_pay() -> None:
    """With n at depth 2 and 100 sqrt n else the curves cross at 10,000 hosts."""
    found = judged(lambda d, n: float(n) if d == 2 else 100 * n**0.5, lambda d, n: 30.0 + d, alike)
    assert found.verdict == CONDITIONS
    assert "bytes of the busiest level from about 10,000 hosts on" in found.because
    assert "entries" not in found.because.split("By the growth")[1]
