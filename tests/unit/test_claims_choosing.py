"""Good choices in most cases: when the claim holds."""

from __future__ import annotations

from typing import Any

from opus_controller.claims import choosing
from opus_controller.claims.claim import CONDITIONS, FAILS, HOLDS, Figures
from opus_controller.claims.measure.choices import FACTORS
from opus_controller.claims.measure.networks import Network
from opus_controller.claims.setting import QUICK, Setting


def _nowhere(hosts: int) -> Any:
    raise AssertionError("no network is needed to judge")


SETTING = Setting(QUICK, [Network("here", "a network", _nowhere), Network("there", "another", _nowhere)])


def _found(shares: dict[tuple[str, str], tuple[float, float]]) -> dict[str, Figures]:
    """Lives in which 95% of the choices are within 1.2x and all within 3x, but for those of a network and kind of request."""
    found: dict[str, Figures] = {}
    for task in choosing.tasks(SETTING):
        network, overlay = task.name.split()[1], task.name.split()[3]
        requests = {}
        for which in ("first", "repeat"):
            good, near = shares.get((network, which), (0.95, 1.0)) if overlay == "opus" else (0.2, 0.3)
            within = {f"{factor:g}": near if factor >= 3 else good for factor in FACTORS}
            told = {"count": 1000, "within": within, "within_strictly": within}
            requests[which] = {"choices": told | {"farther_ms": {"p50": 0.0, "p95": 1.0, "p99": 2.0}}}
        found[task.name] = {"requests": requests}
    return found


def test_it_holds_where_most_choices_are_good_and_hardly_any_poor() -> None:
    finding = choosing.judge(_found({}), SETTING)

    assert finding.verdict == HOLDS
    assert "At least 95.0%" in finding.because
    assert any("one-hop" in row for row in finding.tables[0].rows)


def test_first_requests_that_go_astray_are_the_condition() -> None:
    finding = choosing.judge(_found({("here", "first"): (0.85, 1.0), ("there", "first"): (0.95, 0.98)}), SETTING)

    assert finding.verdict == CONDITIONS
    assert "first requests on here (85.0% good, 0.0% poor)" in finding.because
    assert "first requests on there (95.0% good, 2.0% poor)" in finding.because
    assert "repeat" not in finding.because


def test_it_does_not_hold_where_most_cases_are_not_good_enough() -> None:
    poor = (0.85, 1.0)

    finding = choosing.judge(_found({("here", "first"): poor, ("here", "repeat"): poor, ("there", "first"): poor}), SETTING)

    assert finding.verdict == FAILS
