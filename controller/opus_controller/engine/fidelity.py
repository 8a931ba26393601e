"""Whether the links are what the plan asks for: echoes between sampled pairs of hosts, judged before the workload begins.

An echo is stamped by the kernels at both ends, which share one clock, so each direction is judged by itself and the round
trip as their sum. A busy machine only adds, and only for a while: a pair is probed in several rounds, and passes with the
first whose medians are within tolerance. A link that is wrong is wrong in every round.

Rates are judged by trains of packets (`fidelity_rate`).
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

from opus_controller.engine.fidelity_rate import CheckedRate
from opus_controller.model.network import Network
from opus_controller.model.plan import Host
from opus_controller.model.shapes import PathShape

PAIRS = 32
ECHO_BYTES = 84
"""Of an IP packet with an ICMP echo of 64 bytes, as `ping` sends it."""
FLOOR_NS = 2_000_000
SHARE = 0.05
"""A time may differ from the one asked for by so much and this share of it: what two milliseconds of lag may add, and more
than either kind of links was ever off in the conformance suite."""
STANDARD_ERRORS = 4.0
"""Of a median of jittered times, on top."""
ALPHA = 1e-6
"""A share of lost echoes is wrong if what was asked for gives it, or one further off, less often than this."""
DOUBT = 0.05
"""And is to be looked at again if it does so less often than this: a round has too few echoes to condemn many a loss."""
LOST_ANYWAY = 0.02
"""An echo may be lost to a full buffer of the prober; more is the links' affair."""

_MS = 1_000_000
_BITS = 8_000_000_000


@dataclass(frozen=True)
class Way:
    """One direction of a pair: what is asked of it."""

    delay_ns: int
    deviation_ns: float
    """Standard deviation by the jitter asked for."""
    sending_ns: int
    """What an echo takes on both access links at their rates; a bucket with tokens left lets it pass at once."""

    @staticmethod
    def of(network: Network, source: Host, target: Host) -> Way:
        rates = (source.access.up.rate_bps, target.access.down.rate_bps)
        sending = sum(ECHO_BYTES * _BITS // rate for rate in rates if rate is not None)
        return Way(network.one_way_ns(source, target), _deviation(network.path(source, target)), sending)

    def tolerance_ns(self, echoes: int) -> float:
        """Of a median of so many: pi/2 is the variance of a normal sample's median against its mean's."""
        return FLOOR_NS + SHARE * self.delay_ns + STANDARD_ERRORS * self.deviation_ns * math.sqrt(math.pi / 2 / max(1, echoes))

    def off_ns(self, measured_ns: float) -> float:
        """How far beyond what is asked for; 0 between the delay with and without the time of sending."""
        return measured_ns - min(max(measured_ns, self.delay_ns), self.delay_ns + self.sending_ns)


@dataclass(frozen=True)
class Asked:
    """What the plan asks of a pair of hosts."""

    source: Host
    target: Host
    there: Way
    back: Way
    loss: float
    """Share of echoes that the two directions are to lose together, by corruption too."""
    bursty: bool
    """Losses come together: a few echoes say nothing of their share."""

    @staticmethod
    def of(network: Network, source: Host, target: Host) -> Asked:
        shapes = network.path(source, target), network.path(target, source)
        passes = (1 - source.access.loss) ** 2 * (1 - target.access.loss) ** 2
        for shape in shapes:
            passes *= (1 - shape.loss_mean) * (1 - shape.corrupt)
        bursty = any(shape.burst is not None for shape in shapes)
        return Asked(source, target, Way.of(network, source, target), Way.of(network, target, source), 1 - passes, bursty)

    @property
    def rtt(self) -> Way:
        there, back = self.there, self.back
        deviation = math.hypot(there.deviation_ns, back.deviation_ns)
        return Way(there.delay_ns + back.delay_ns, deviation, there.sending_ns + back.sending_ns)


@dataclass
class Round:
    """Echoes of a pair that were sent one after the other; times in ns of those answered."""

    sent: int = 0
    there_ns: list[int] = field(default_factory=list)
    back_ns: list[int] = field(default_factory=list)

    @property
    def answered(self) -> int:
        return len(self.back_ns)


@dataclass(frozen=True)
class Checked:
    """A pair, measured and judged; measured times are medians of the round that was nearest to what is asked."""

    asked: Asked
    there_ns: float | None
    back_ns: float | None
    sent: int
    answered: int
    tolerance_ns: float
    """Of the round trip."""
    wrong: str
    """In a line what is beyond tolerance; empty: nothing is."""
    doubtful: bool = False
    """Chance seldom loses that many, or that few."""

    @property
    def rtt_ns(self) -> float | None:
        return None if self.there_ns is None or self.back_ns is None else self.there_ns + self.back_ns

    def figures(self) -> dict[str, Any]:
        """An entry of result.json's `fidelity.gate.pairs`; ms, and shares of echoes."""
        asked = self.asked
        return {
            "source": asked.source.name,
            "target": asked.target.name,
            "asked_ms": _ms(asked.rtt.delay_ns),
            "measured_ms": _ms(self.rtt_ns),
            "there_ms": {"asked": _ms(asked.there.delay_ns), "measured": _ms(self.there_ns)},
            "back_ms": {"asked": _ms(asked.back.delay_ns), "measured": _ms(self.back_ns)},
            "tolerance_ms": _ms(self.tolerance_ns),
            "loss": {"asked": round(asked.loss, 6), "measured": round(1 - self.answered / self.sent, 6) if self.sent else None},
            "echoes": self.sent,
            "ok": not self.wrong,
            "wrong": self.wrong,
        }


@dataclass(frozen=True)
class Gate:
    """What was found before the workload."""

    setting: Literal["stop", "annotate"]
    pairs: tuple[Checked, ...]
    seconds: float
    rates: tuple[CheckedRate, ...] = ()

    @property
    def wrong(self) -> list[str]:
        return [wrong for wrong in (*(pair.wrong for pair in self.pairs), *(rate.wrong for rate in self.rates)) if wrong]

    def figures(self) -> dict[str, Any]:
        """result.json's `fidelity.gate`."""
        measured = {"pairs": [pair.figures() for pair in self.pairs], "rates": [rate.figures() for rate in self.rates]}
        return {"setting": self.setting, "ok": not self.wrong, "seconds": round(self.seconds, 3), **measured}

    def summary(self) -> str:
        """One line, of a gate that did not let the run through."""
        wrong = self.wrong
        told = f"{len(self.pairs)} pairs" + (f" and {len(self.rates)} rates" if self.rates else "")
        more = f" (and {len(wrong) - 1} more of {told})" if len(wrong) > 1 else f" (of {told})"
        return f"the links are not what the plan asks for: {wrong[0]}{more}"


def sample(hosts: Sequence[Host], seed: str, most: int = PAIRS) -> list[tuple[Host, Host]]:
    """Up to `most` pairs drawn by `seed`: every site and group as early as can be, then every pair of sites; either of a pair
    may be the one that asks, since each direction is judged."""
    rng = random.Random(seed)
    members: dict[tuple[str, str], list[Host]] = {}
    for host in hosts:
        members.setdefault((host.site, host.group), []).append(host)
    classes = sorted(members)
    classes = sorted(rng.sample(classes, min(len(classes), 4 * most)))
    for one in classes:
        rng.shuffle(members[one])
    pairs = [(a, b) for i, a in enumerate(classes) for b in classes[i:] if a != b or len(members[a]) > 1]
    rng.shuffle(pairs)
    of_class: Counter[tuple[str, str]] = Counter()
    of_sites: Counter[frozenset[str]] = Counter()
    drawn: list[tuple[Host, Host]] = []
    while pairs and len(drawn) < most:
        k = min(range(len(pairs)), key=lambda k: (of_sites[_sites(pairs[k])], sum(of_class[one] for one in pairs[k])))
        pair = pairs.pop(k)
        of_sites[_sites(pair)] += 1
        two = []
        for one in pair:
            two.append(members[one][of_class[one] % len(members[one])])
            of_class[one] += 1
        rng.shuffle(two)
        drawn.append((two[0], two[1]))
    return drawn


def judge(asked: Asked, rounds: Sequence[Round]) -> Checked:
    """A pair by all its rounds: times by the nearest of them, loss by all together."""
    sent, answered = sum(one.sent for one in rounds), sum(one.answered for one in rounds)
    told = [_times(asked, one) for one in rounds if one.answered]
    lost = _wrong_loss(asked, sent, answered)
    if not told:
        wrong = lost or ("" if asked.loss or asked.bursty else f"{_name(asked)}: no answer to {sent} echoes")
        wrong = wrong if sent else f"{_name(asked)}: no echo could be sent"
        return Checked(asked, None, None, sent, answered, asked.rtt.tolerance_ns(1), wrong)
    _, there, back, tolerance, wrong = min(told)
    return Checked(asked, there, back, sent, answered, tolerance, wrong or lost, bool(_wrong_loss(asked, sent, answered, DOUBT)))


def _times(asked: Asked, of: Round) -> tuple[float, float, float, float, str]:
    """(how far off in tolerances, there, back, tolerance of the round trip, what is wrong) of one round."""
    there, back, n = median(of.there_ns), median(of.back_ns), of.answered
    arrow = f"{asked.source.name} to {asked.target.name}", f"{asked.target.name} to {asked.source.name}"
    judged = [
        (f"{_name(asked)}", asked.rtt, there + back),
        (f"{arrow[0]}, one way", asked.there, there),
        (f"{arrow[1]}, one way", asked.back, back),
    ]
    worst, wrong = 0.0, ""
    for name, way, measured in judged:
        off = abs(way.off_ns(measured)) / way.tolerance_ns(n)
        worst = max(worst, off)
        if off > 1 and not wrong:
            wrong = (
                f"{name}: {_ms(way.delay_ns):g} ms asked, {_ms(measured):.4g} ms measured "
                f"(tolerance {_ms(way.tolerance_ns(n)):.3g} ms)"
            )
    return worst, there, back, asked.rtt.tolerance_ns(n), wrong


def _wrong_loss(asked: Asked, sent: int, answered: int, alpha: float = ALPHA) -> str:
    """By the binomial tails beyond what was lost."""
    if asked.bursty or not sent:
        return ""
    lost = sent - answered
    too_many = _tail(sent, lost, max(asked.loss, LOST_ANYWAY)) < alpha
    too_few = _tail(sent, answered, 1 - asked.loss) < alpha
    if not (too_many or too_few):
        return ""
    return f"{_name(asked)}: {asked.loss:.3g} of the echoes to be lost, {lost} of {sent} were"


def _tail(n: int, at_least: int, p: float) -> float:
    """P(X >= at_least) of a binomial X."""
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(at_least, n + 1))


def _name(asked: Asked) -> str:
    return f"{asked.source.name} to {asked.target.name} and back"


def _sites(pair: tuple[tuple[str, str], tuple[str, str]]) -> frozenset[str]:
    return frozenset(site for site, _ in pair)


def _deviation(shape: PathShape) -> float:
    return shape.jitter_ns / math.sqrt(3) if shape.distribution == "uniform" else float(shape.jitter_ns)


def _ms(ns: float | None) -> Any:
    return None if ns is None else round(ns / _MS, 4)
