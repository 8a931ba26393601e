"""Effects and gates on made-up runs, whose truth is known: what is found, what is not, and how often by mistake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from opus_controller.model.errors import ScenarioError
from opus_controller.report.several import gate
from opus_controller.report.several.effects import Effect, Matched, effects, match
from opus_controller.report.several.repeat import OneRun

P50, AVAILABILITY, HOPS = "routing_latency_ms.p50", "availability", "hops.max"
LATENCIES = [f"{kind}_latency_ms.{q}" for kind in ("routing", "request") for q in ("mean", "p50", "p90", "p99", "max")]


def runs(
    figures: Mapping[str, Sequence[float | None]], first_seed: int = 1, verdict: str = "pass", lost: int = 0
) -> list[OneRun]:
    count = len(next(iter(figures.values())))
    return [
        OneRun.model_validate(
            {
                "seed": first_seed + k,
                "directory": f"seed-{first_seed + k}",
                "verdict": verdict,
                "plan_digest": "",
                "wall_s": 1.0,
                "reasons": [],
                "figures": {name: values[k] for name, values in figures.items()},
                "did_not_recover": k < lost,
            }
        )
        for k in range(count)
    ]


def found(before: list[OneRun], after: list[OneRun]) -> dict[str, Effect]:
    return {effect.figure: effect for effect in effects(match(before, after))}


def test_what_the_seed_does_falls_out_of_the_pairs() -> None:
    """Seeds differ tenfold, the change is 10% with a noise of 1%."""
    before = [10.0, 100.0, 30.0, 55.0, 14.0, 80.0]
    after = [value * 1.1 * noise for value, noise in zip(before, (1.01, 0.99, 1.0, 1.005, 0.995, 1.0), strict=True)]
    effect = found(runs({P50: before}), runs({P50: after}))[P50]
    assert (effect.finding, effect.scale, effect.runs) == ("different", "ratio", 6)
    assert effect.low is not None
    assert effect.high is not None
    assert 1.08 < effect.low < 1.1 < effect.high < 1.12
    unpaired = found(runs({P50: before}), runs({P50: after}, first_seed=100))[P50]
    assert unpaired.finding == "no difference", "the same without pairs is lost in what the seeds do"


def test_seeds_without_a_partner_and_invalid_runs_are_left_out() -> None:
    before = runs({P50: [10.0, 11.0, 12.0]}) + runs({P50: [999.0]}, first_seed=4, verdict="invalid")
    matched = match(before, runs({P50: [13.0, 14.0, 15.0]}, first_seed=2))
    assert [run.seed for run in matched.before] == [run.seed for run in matched.after] == [2, 3]
    assert matched.paired


def test_a_single_pair_tells_a_change_and_not_whether_it_is_chance() -> None:
    effect = found(runs({P50: [10.0]}), runs({P50: [12.0]}))[P50]
    assert effect.change == pytest.approx(1.2)
    assert (effect.finding, effect.low, effect.high) == ("unknown", None, None)


def test_a_ratio_of_what_may_be_nothing_is_told_as_a_difference() -> None:
    effect = found(runs({"regret_ms.p50": [0.0, 1.0]}), runs({"regret_ms.p50": [1.0, 2.0]}))["regret_ms.p50"]
    assert (effect.scale, effect.change) == ("difference", 1.0)


def test_equal_steps_of_what_is_counted_are_no_certainty() -> None:
    two = found(runs({HOPS: [2.0, 2.0]}), runs({HOPS: [3.0, 3.0]}))[HOPS]
    assert two.finding == "no difference", "by chance in one of a few tries"
    eight = found(runs({HOPS: [2.0] * 8}), runs({HOPS: [3.0] * 8}))[HOPS]
    assert eight.finding == "different"


def test_runs_without_the_figure_are_left_out_of_it() -> None:
    none = found(runs({P50: [10.0, None, 12.0]}), runs({P50: [11.0, 5.0, None]}))[P50]
    assert (none.runs, none.finding) == (1, "unknown")
    silent = found(runs({P50: [10.0, 11.0]}), runs({P50: [None, None]}))[P50]
    assert (silent.change, silent.finding) == (None, "unknown")


def noisy(rng: np.random.Generator, count: int, factor: float = 1.0) -> tuple[list[OneRun], list[OneRun]]:
    """Ten latencies that follow each other (a common part and one of their own), heavy-tailed, and a count."""
    level = rng.lognormal(3, 1, count)
    sides = []
    for grows in (1.0, factor):
        common = rng.standard_t(4, count) * 0.03
        figures = {name: (level * grows * np.exp(common + rng.standard_t(4, count) * 0.02)).tolist() for name in LATENCIES}
        sides.append(runs({**figures, HOPS: rng.binomial(3, 0.6, count).astype(float).tolist()}))
    return sides[0], sides[1]


@pytest.mark.parametrize("count", [3, 5, 10])
def test_two_equal_settings_show_no_difference_in_19_of_20_tries(count: int) -> None:
    """Of 400 tries at most 5%, plus what chance adds to that once in a thousand times."""
    rng = np.random.default_rng(count)
    wrong = sum(any(e.finding == "different" for e in effects(match(*noisy(rng, count)))) for _ in range(400))
    assert wrong <= 400 * 0.05 + 3 * (400 * 0.05 * 0.95) ** 0.5


def test_a_change_of_10_percent_is_found_by_20_seeds_that_differ_by_7() -> None:
    rng = np.random.default_rng(1)
    seen = sum(found(*noisy(rng, 20, 1.1))[LATENCIES[0]].finding == "different" for _ in range(100))
    assert seen >= 95


def test_intervals_hold_together() -> None:
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(300):
        every = found(*noisy(rng, 6, 1.3)).values()
        held += all((e.low or 0) <= (1.3 if e.scale == "ratio" else 0.0) <= (e.high or 0) for e in every if e.finding != "same")
    assert held >= 300 * 0.95 - 3 * (300 * 0.05 * 0.95) ** 0.5


# --- the gate ---


def struck(condition: str, before: Matched | tuple[list[OneRun], list[OneRun]]) -> gate.Judged:
    matched = before if isinstance(before, Matched) else match(*before)
    (judged,) = gate.judge([gate.parse_condition(condition)], matched)
    return judged


SLOWER = (runs({P50: [10.0, 20.0, 30.0, 40.0]}), runs({P50: [11.0, 22.1, 32.9, 44.1]}))


@pytest.mark.parametrize(
    ("condition", "failed"),
    [
        (f"{P50} > 5%", True),
        (f"{P50} > 15%", False),
        (f"{P50} > 2ms", True),
        (f"{P50}>0.002s", True),
        (f"{P50} > 4 ms", False),
        (f"{P50} < -1%", False),
    ],
)
def test_bounds_in_percent_and_in_units(condition: str, failed: bool) -> None:
    assert struck(condition, SLOWER).failed is failed


def test_shares_are_compared_in_points_and_counts_in_steps_or_percent() -> None:
    less = (runs({AVAILABILITY: [1.0, 0.999, 1.0, 1.0]}), runs({AVAILABILITY: [0.995, 0.994, 0.996, 0.995]}))
    assert struck("availability < -0.1%", less).failed
    assert not struck("availability < -1%", less).failed
    more = (runs({"hops.mean": [1.0, 1.1, 0.9]}), runs({"hops.mean": [1.2, 1.3, 1.11]}))
    assert struck("hops.mean > 0.1", more).failed
    assert struck("hops.mean > 15%", more).failed
    assert not struck("hops.mean > 30%", more).failed


def test_what_chance_could_have_done_is_no_regression() -> None:
    judged = struck(f"{P50} > 5%", (runs({P50: [10.0, 20.0, 30.0]}), runs({P50: [20.0, 11.0, 45.0]})))
    assert judged.effect.change is not None
    assert judged.effect.change > 1.05
    assert not judged.failed
    assert "more seeds" in judged.why


def test_one_pair_is_judged_by_its_change_alone() -> None:
    judged = struck(f"{P50} > 5%", (runs({P50: [10.0]}), runs({P50: [11.0]})))
    assert judged.failed
    assert "chance cannot be told apart" in judged.why


def test_silence_and_lost_recoveries_fail() -> None:
    assert struck(f"{P50} > 5%", (runs({P50: [10.0, 11.0]}), runs({P50: [None, None]}))).why == "no data"
    recovery = "recovery_s.max"
    lost = (runs({recovery: [1.0, 1.0, 1.0]}), runs({recovery: [None, 1.0, 1.0]}, lost=1))
    judged = struck(f"{recovery} > 1s", lost)
    assert judged.failed
    assert judged.why == "no recovery in 1 of 3 runs, against 0 of 3"


def test_fewer_conditions_have_narrower_intervals_than_all_figures() -> None:
    before, after = noisy(np.random.default_rng(3), 6, 1.05)
    alone = struck(f"{P50} > 1%", (before, after)).effect
    among = found(before, after)[P50]
    assert None not in (alone.low, alone.high, among.low, among.high)
    assert (alone.high or 0) - (alone.low or 0) < (among.high or 0) - (among.low or 0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not understood; allowed: FIGURE > BOUND"),
        ("latency", "not understood"),
        (f"{P50} > 5% > 3", "not understood"),
        ("routing_latency_ms.p51 > 5%", "did you mean 'routing_latency_ms.p50'?"),
        ("routing_latency_ms > 5%", "allowed: routing_latency_ms.mean"),
        (f"{P50} < 5%", f"bounds are of the change; allowed: {P50} < -5%"),
        (f"{P50} > -5%", f"allowed: {P50} > 5%"),
        (f"{P50} > 5", "5 has no unit; allowed: %, ms or s"),
        (f"{P50} > 5parsec", "is not a duration"),
        ("availability < -1", "allowed: % (percentage points)"),
        ("hops.max > 1ms", '"ms" is no unit of hops.max; allowed: % or a bare number'),
    ],
)
def test_mistakes_are_told_in_one_line(text: str, words: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        gate.parse_condition(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
