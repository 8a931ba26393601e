"""The workload generator: rate, popularity, and that nothing but the seed decides."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from opus_node.core.types import MILLISECOND, SECOND
from opus_node.workload import Arrival, Arrivals, WorkloadSpec, Zipf
from scipy import stats

SPEC = WorkloadSpec(
    app="web",
    seed="7/client",
    rate_per_s=50.0,
    start_ns=2 * SECOND,
    stop_ns=202 * SECOND,
    deadline_ns=800 * MILLISECOND,
    keys=1000,
    zipf=0.9,
    write_share=0.25,
)


def everything(spec: WorkloadSpec) -> list[Arrival]:
    arrivals = Arrivals(spec)
    found = []
    while (arrival := arrivals.next()) is not None:
        found.append(arrival)
    assert arrivals.next() is None, "a stopped workload stays stopped"
    return found


def test_same_seed_same_requests_and_another_seed_others() -> None:
    assert everything(SPEC) == everything(SPEC)
    assert everything(SPEC) != everything(replace(SPEC, seed="8/client"))


def test_gaps_are_exponential_within_the_span() -> None:
    times = [a.at_ns for a in everything(SPEC)]
    assert times[0] > SPEC.start_ns
    assert times[-1] < SPEC.stop_ns
    gaps = [(b - a) / SECOND for a, b in zip([SPEC.start_ns, *times], times, strict=False)]
    assert stats.kstest(gaps, stats.expon(scale=1 / SPEC.rate_per_s).cdf).pvalue > 1e-4
    assert stats.kstest(gaps, stats.expon(scale=1.1 / SPEC.rate_per_s).cdf).pvalue < 1e-4, "the check must be able to fail"


def test_writes_have_their_share_and_deadlines_are_absolute() -> None:
    arrivals = everything(SPEC)
    assert stats.binomtest(sum(a.write for a in arrivals), len(arrivals), 0.25).pvalue > 1e-4
    assert all(a.deadline == a.at_ns + SPEC.deadline_ns for a in arrivals)
    assert [a.number for a in arrivals] == list(range(len(arrivals)))


def test_another_popularity_or_write_share_leaves_the_times_alone() -> None:
    base = [a.at_ns for a in everything(SPEC)]
    assert [a.at_ns for a in everything(replace(SPEC, zipf=1.3, keys=7, write_share=0.9))] == base


def test_a_restarted_client_goes_on_with_the_rest() -> None:
    whole = everything(SPEC)
    now = whole[40].at_ns
    assert Arrivals(SPEC).next_after(now) == whole[41]
    assert Arrivals(SPEC).next_after(SPEC.stop_ns) is None


@pytest.mark.parametrize("s", [0.0, 0.5, 0.99, 1.0, 1.000001, 1.5, 3.0])
@pytest.mark.parametrize("n", [1, 2, 30])
def test_zipf_is_exact(n: int, s: float) -> None:
    rng, zipf, draws = Random(f"{n}/{s}"), Zipf(n, s), 20_000
    counts = Counter(zipf.sample(rng) for _ in range(draws))
    assert set(counts) <= set(range(1, n + 1))
    weights = [k**-s for k in range(1, n + 1)]
    expected = [draws * w / sum(weights) for w in weights]
    rare = next((i for i, e in enumerate(expected) if e < 5), n)  # chi-square wants at least 5 in a class
    observed = [float(counts[k]) for k in range(1, rare + 1)]
    wanted = expected[:rare]
    if rare < n:
        observed.append(draws - sum(observed))
        wanted.append(draws - sum(wanted))
    if len(wanted) > 1:
        assert stats.chisquare(observed, wanted).pvalue > 1e-5


def test_zipf_with_very_many_keys_needs_no_table() -> None:
    rng, zipf = Random(1), Zipf(10**12, 1.0)
    samples = sorted(zipf.sample(rng) for _ in range(2_000))
    assert samples[0] >= 1
    assert samples[-1] <= 10**12
    assert 10**4 < samples[1_000] < 10**8, "the median of Zipf(1) over n keys is near sqrt(n)"


@pytest.mark.parametrize("wrong", [{"rate_per_s": 0.0}, {"keys": 0}, {"zipf": -1.0}, {"write_share": 1.5}])
def test_nonsense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="workload of 'web'"):
        replace(SPEC, **wrong)  # type: ignore[arg-type]
