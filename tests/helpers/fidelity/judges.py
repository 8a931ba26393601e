"""Judgements of observed packets against what was asked for. Pure: they see only what was sent and what arrived.

Intervals are those of the property's own distribution, wide enough that all of them together fail a correct link less
than once in a thousand runs: independent loss at 99.99%, the others at 99.999% (`Z`). Delays have a tolerance on top for the
machine, on medians and means; it is small against the planted wrong values, which every judge must reject.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from statistics import NormalDist

import numpy as np
from opus_controller.model.shapes import PathShape
from opus_controller.net.userspace_jitter import SCALE, table

from helpers.fidelity.prober import Observation

Z = NormalDist().inv_cdf(1 - 0.5e-5)
Z_LOSS = NormalDist().inv_cdf(1 - 0.5e-4)
MACHINE_NS = 1_500_000
"""What a busy machine may add to a median delay."""
EARLY_NS = 100_000
RATE_TOLERANCE = 0.05
_PIECE = 25
_NOISE, _THINNED, _SAMPLES = 400, 8, 400
"""Samples of noise, one in so many steps of a table, and samples of the sum, that are enough to say what to expect."""
MS = 1e6
Figures = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True)
class Judgement:
    """`ok`, and the words of the comparison for people."""

    ok: bool
    asked: str
    measured: str
    allowed: str
    packets: int


def delay(seen: Observation, asked_ns: int) -> Judgement:
    """The median, and all but one in a hundred not early."""
    delays = np.array(seen.delays_ns)
    early, median, late = (float(np.quantile(delays, share)) for share in (0.01, 0.5, 0.99))
    ok = asked_ns - EARLY_NS <= early and median <= asked_ns + MACHINE_NS
    allowed = f"{(asked_ns - EARLY_NS) / MS:.1f} to {(asked_ns + MACHINE_NS) / MS:.1f}"
    return Judgement(ok, f"{asked_ns / MS:g} ms", f"{median / MS:.3f} ms, p99 {late / MS:.2f}", allowed, len(delays))


def jitter(seen: Observation, asked: PathShape, noise_ns: Sequence[int]) -> Judgement:
    """The distribution: its median, its deviation, and the largest distance between the two (Kolmogorov and Smirnov).

    `noise_ns` is what the machine added to delays without jitter, measured beside: expected is the sum of the two. The
    deviation is told from the distance of the 10% and 80% quantiles, in proportion to the table's own, since one moment in which
    the machine stood still would outweigh everything in a mean of squares. Intervals come from samples of the expected.
    """
    steps = np.array(table(asked.distribution)) / SCALE * asked.jitter_ns
    noise = np.sort(np.array(noise_ns))[:: max(1, len(noise_ns) // _NOISE)]
    expected = np.sort((asked.delay_ns + steps[::_THINNED, None] + noise[None, :]).ravel())
    delays = np.sort(np.array(seen.delays_ns))
    n = len(delays)
    samples = np.random.default_rng(1).choice(expected, (_SAMPLES, n))
    per_spread = steps.std() / _spread_of(steps)
    medians, deviations = np.median(samples, axis=1), per_spread * _spread_of(samples)
    median, deviation = float(np.median(delays)), per_spread * float(_spread_of(delays))
    (median_low, median_high), (low, high) = _spread(medians, 0.01 * asked.jitter_ns), _spread(deviations, 0.01 * asked.jitter_ns)
    cumulative = np.searchsorted(expected, delays, side="right") / len(expected)
    distance = float(np.abs(cumulative - (np.arange(n) + 0.5) / n).max())
    distance_within = math.sqrt(-math.log(0.5e-5) / (2 * n)) + 0.02
    return Judgement(
        median_low <= median <= median_high and low <= deviation <= high and distance <= distance_within,
        f"median {asked.delay_ns / MS + float(np.median(steps)) / MS:.2f}, sd {steps.std() / MS:.2f} ms",
        f"median {median / MS:.2f}, sd {deviation / MS:.2f} ms, KS {distance:.3f}",
        f"{median_low / MS:.2f} to {median_high / MS:.2f}, {low / MS:.2f} to {high / MS:.2f}, < {distance_within:.3f}",
        n,
    )


def in_order(seen: Observation, jitter_ns: int) -> Judgement:
    """No packet overtakes another although delays vary."""
    numbers = [arrival.number for arrival in seen.arrivals]
    overtaken = sum(1 for before, after in pairwise(numbers) if after < before)
    deviation = float(np.std(seen.delays_ns))
    ok = overtaken == 0 and deviation > 0.2 * jitter_ns
    return Judgement(ok, "in order", f"{overtaken} overtaken, sd {deviation / MS:.1f} ms", "0", len(numbers))


def loss(seen: Observation, asked: float) -> Judgement:
    """Independent: the share, and as many runs of losses as independence makes."""
    lost = [not came for came in seen.arrived]
    n, k = len(lost), sum(lost)
    share, within = k / n, Z_LOSS * math.sqrt(asked * (1 - asked) / n)
    runs = len(_runs(lost))
    expected_runs = k * (n - k + 1) / n
    runs_within = Z * math.sqrt(max(1.0, k * (k - 1) * (n - k + 1) * (n - k) / (n * n * max(1, n - 1)))) + 1
    ok = abs(share - asked) <= within and abs(runs - expected_runs) <= runs_within
    allowed = f"{asked - within:.2%} to {asked + within:.2%}"
    return Judgement(ok, f"{asked:.1%}", f"{share:.2%}, mean run {k / max(1, runs):.2f}", allowed, n)


def burst_loss(seen: Observation, asked: PathShape, access_loss: float = 0.0) -> Judgement:
    """Gilbert-Elliott: share and mean length of bursts, within the spread of the chain itself (simulated)."""
    assert asked.burst is not None
    lost = np.array([not came for came in seen.arrived])
    b = asked.burst
    kept = 1 - access_loss
    chain = (b.p, b.r, 1 - kept * (1 - b.loss_bad), 1 - kept * (1 - b.loss_good))
    shares, bursts = _simulated(chain, len(lost))
    share, burst = float(lost.mean()), _mean_run(lost)
    (share_low, share_high), (burst_low, burst_high) = _spread(shares), _spread(bursts)
    ok = share_low <= share <= share_high and burst_low <= burst <= burst_high
    return Judgement(
        ok,
        f"{shares.mean():.1%}, bursts of {bursts.mean():.2f}",
        f"{share:.1%}, bursts of {burst:.2f}",
        f"{share_low:.1%} to {share_high:.1%}, {burst_low:.2f} to {burst_high:.2f}",
        len(lost),
    )


def duplicates(seen: Observation, asked: float) -> Judgement:
    """The share of packets that came twice."""
    counts: dict[int, int] = {}
    for arrival in seen.arrivals:
        counts[arrival.number] = counts.get(arrival.number, 0) + 1
    return _binomial(sum(count > 1 for count in counts.values()), len(seen.sent_ns), asked)


def reordered(seen: Observation, asked: float, delay_ns: int) -> Judgement:
    """The share of packets that skipped the delay, overtaking those before them."""
    ahead = sum(found < delay_ns / 2 for found in seen.delays_ns)
    return _binomial(ahead, len(seen.sent_ns), asked)


def corrupted(seen: Observation, asked: float) -> Judgement:
    """The share of packets that came damaged, by one bit, or not at all (hit in a header that is checked)."""
    damaged = [arrival for arrival in seen.arrivals if arrival.number < 0]
    missing = len(seen.sent_ns) - len(seen.arrivals)
    judged = _binomial(len(damaged) + missing, len(seen.sent_ns), asked)
    one_bit = all(arrival.flipped_bits == 1 for arrival in damaged) and len(damaged) > missing
    return Judgement(judged.ok and one_bit, judged.asked, judged.measured, judged.allowed, judged.packets)


def rate(seen: Observation, asked_bps: int) -> Judgement:
    """Bits of IP packets per second, after the first third (the queue fills then), in pieces of 25 packets."""
    times = [arrival.at_ns for arrival in seen.arrivals[len(seen.arrivals) // 3 :]]
    bits = _PIECE * seen.flow.size * 8
    pieces = [bits * 1e9 / (end - start) for start, end in zip(times[::_PIECE], times[_PIECE::_PIECE], strict=False)]
    return rate_of(pieces, asked_bps, len(times))


def rate_of(pieces_bps: Sequence[float], asked_bps: int, packets: int) -> Judgement:
    """The median over short pieces of time: one in which the machine stood still says nothing about the link."""
    measured_bps = float(np.median(pieces_bps))
    ok = abs(measured_bps / asked_bps - 1) <= RATE_TOLERANCE
    return Judgement(ok, f"{asked_bps / 1e6:g} Mbit/s", f"{measured_bps / 1e6:.3f} Mbit/s", "± 5%", packets)


def queue(seen: Observation, asked_bytes: int, burst_bytes: int) -> Judgement:
    """Of packets sent at once: as many come as fit in the queue, and what a token bucket lets pass beside it."""
    size = seen.flow.size
    came = len(seen.arrivals) * size
    low, high = asked_bytes - size, asked_bytes + burst_bytes + size
    return Judgement(low <= came <= high, f"{asked_bytes} B", f"{came} B", f"{low} to {high}", len(seen.sent_ns))


def passed(seen: Observation, between: tuple[int, int], asked: bool) -> Judgement:
    """Of the packets sent between two times: all came, or none."""
    low, high = between
    came = [arrived for sent, arrived in zip(seen.sent_ns, seen.arrived, strict=True) if low <= sent <= high]
    share = sum(came) / max(1, len(came))
    ok = len(came) >= 20 and (all(came) if asked else not any(came))
    return Judgement(ok, "all" if asked else "none", f"{share:.0%}", "", len(came))


def in_flight(seen: Observation, change: tuple[int, int], before_ns: int, after_ns: int) -> Judgement:
    """A change of delay loses nothing: what was under way keeps its old delay, what comes later has the new one."""
    began, in_force = change
    delays: dict[bool, list[int]] = {False: [], True: []}
    for arrival in seen.arrivals:
        sent = seen.sent_ns[arrival.number]
        if sent < began or sent > in_force:
            delays[sent > in_force].append(arrival.at_ns - sent)
    early, late = (float(np.median(delays[key])) if delays[key] else math.inf for key in (False, True))
    under_way = sum(1 for sent in seen.sent_ns if began - before_ns < sent < began)
    lost = len(seen.sent_ns) - sum(seen.arrived)
    ok = (
        lost == 0 and under_way >= 20
        and abs(early - before_ns) <= 2 * MACHINE_NS and abs(late - after_ns) <= 2 * MACHINE_NS
    )  # fmt: skip
    measured = f"{lost} of {under_way} lost, {early / MS:.1f} then {late / MS:.1f} ms"
    return Judgement(ok, f"0 lost, {before_ns / MS:g} then {after_ns / MS:g} ms", measured, "", len(seen.sent_ns))


# --- helpers ---


def _binomial(count: int, n: int, asked: float) -> Judgement:
    within = Z * math.sqrt(asked * (1 - asked) / n)
    allowed = f"{asked - within:.1%} to {asked + within:.1%}"
    return Judgement(abs(count / n - asked) <= within, f"{asked:.1%}", f"{count / n:.2%}", allowed, n)


def _runs(lost: Sequence[bool]) -> list[int]:
    return [sum(1 for _ in group) for value, group in groupby(lost) if value]


def _mean_run(lost: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> float:
    starts = int(lost[0]) + int((lost[1:] & ~lost[:-1]).sum())
    return float(lost.sum() / max(1, starts))


def _simulated(chain: tuple[float, float, float, float], n: int, runs: int = 1500) -> tuple[Figures, Figures]:
    """Shares lost and mean lengths of bursts of `runs` independent chains of `n` packets."""
    p, r, loss_bad, loss_good = chain
    rng = np.random.default_rng(1)
    bad = rng.random(runs) < p / (p + r)
    before = np.zeros(runs, dtype=bool)
    total, starts = np.zeros(runs), np.zeros(runs)
    for _ in range(n):
        lost = rng.random(runs) < np.where(bad, loss_bad, loss_good)
        total += lost
        starts += lost & ~before
        before = lost
        bad = np.where(bad, rng.random(runs) >= r, rng.random(runs) < p)
    return total / n, total / np.maximum(1, starts)


def _spread(values: Figures, more: float = 0.0) -> tuple[float, float]:
    """Where all but one in a hundred thousand such values lie, if they are about normal; a little more for if not quite."""
    middle, within = float(values.mean()), 1.1 * Z * float(values.std()) + more
    return middle - within, middle + within


def _spread_of(values: Figures) -> Figures:
    """Distance from the 10% quantile to the 80% one, along the last axis."""
    low, high = np.quantile(values, (0.1, 0.8), axis=-1)
    return np.asarray(high - low)
