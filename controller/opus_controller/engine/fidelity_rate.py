"""Whether access links carry what the plan asks for: short trains of packets between some of the sampled hosts.

A train is sent at once and leaves the slower of the two access links at its rate; what the token buckets let pass at first is
not counted. Of the rest, packets half of it apart are compared, and the median taken: a machine that stalls for a while and
catches up makes some of these wrong and leaves the others. A rate may be 0.7 to 1.4 times what was asked for, so that neither
half nor twice is within; a way has several trains, and the nearest counts. A train that could not be sent twice as fast as it is
to arrive says nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from opus_controller.model.network import Network
from opus_controller.model.plan import Host

WAYS = 4
"""Measured at most, each by itself."""
FASTEST_BPS = 200_000_000
"""Beyond, a machine's own speed is measured."""
TRAIN_NS = 40_000_000
"""How long a train takes to arrive, its first packets aside, or as long as PACKETS of the smallest take."""
PACKETS = 16
SIZES = (200, 1400)
"""Bytes of a packet, IP header included: the least and the most."""
BLUR = 0.05
"""Share of packets lost or doubled with which a rate can still be told."""
COUNTED = 4
"""Fewer packets say nothing."""
SLOWEST, QUICKEST = 0.7, 1.4
"""Of the rate asked for."""
_BURST_NS = 4_000_000
_BURST_PACKETS = 2 * 1514
_QUEUED = 0.8
"""Of what may wait: a train is to fit."""
_BITS = 8_000_000_000


@dataclass(frozen=True)
class AskedRate:
    """One way between two hosts whose access links have a rate."""

    source: Host
    target: Host
    rate_bps: int
    size: int
    """Bytes of each packet of a train."""
    packets: int
    skipped: int
    """Bytes that the buckets let pass at first."""
    delay_ns: int

    @staticmethod
    def of(network: Network, source: Host, target: Host) -> AskedRate | None:
        """None if nothing can be told: no rate, one beyond a machine's, or a path whose jitter, losses or copies blur it."""
        limits = [limit for limit in (source.access.up, target.access.down) if limit.rate_bps is not None]
        shape = network.path(source, target)
        rate = min((limit.rate_bps or 0 for limit in limits), default=0)
        blurred = 16 * shape.jitter_ns > TRAIN_NS or max(shape.loss_mean, shape.duplicate) > BLUR or shape.burst is not None
        if not 0 < rate <= FASTEST_BPS or blurred or network.is_cut(source.name, target.name):
            return None
        skipped = _BURST_PACKETS + rate * _BURST_NS // _BITS
        room = round(_QUEUED * min(limit.may_wait for limit in limits))
        least, most = SIZES
        counted = max(PACKETS * least, rate * TRAIN_NS // _BITS)
        size = min(most, max(least, counted // PACKETS))
        packets = (skipped + min(counted, room)) // size
        return AskedRate(source, target, rate, size, packets, skipped, network.one_way_ns(source, target))

    @property
    def takes_ns(self) -> int:
        """From the first packet's arrival to the last one's."""
        return self.packets * self.size * _BITS // self.rate_bps


@dataclass
class Train:
    """What became of one: how long the sending took, and when its packets were there, by their numbers."""

    sending_ns: int = 0
    arrived_ns: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckedRate:
    """One way, measured and judged; None: no train told."""

    asked: AskedRate
    measured_bps: float | None
    wrong: str

    def figures(self) -> dict[str, Any]:
        """An entry of result.json's `fidelity.gate.rates`."""
        measured = self.measured_bps
        return {
            "source": self.asked.source.name,
            "target": self.asked.target.name,
            "asked_bps": self.asked.rate_bps,
            "measured_bps": None if measured is None else round(measured),
            "ok": not self.wrong,
            "wrong": self.wrong,
        }


def ways(network: Network, pairs: Iterable[tuple[Host, Host]], most: int = WAYS) -> list[AskedRate]:
    """Both ways of these pairs, as far as there are rates to be told: every rate once before any of them twice."""
    left = [way for a, b in pairs for way in (AskedRate.of(network, a, b), AskedRate.of(network, b, a)) if way is not None]
    chosen: list[AskedRate] = []
    while left and len(chosen) < most:
        seen = [way.rate_bps for way in chosen]
        rarest = min(left, key=lambda way: seen.count(way.rate_bps))
        left.remove(rarest)
        chosen.append(rarest)
    return chosen


def judge(asked: AskedRate, trains: Sequence[Train]) -> CheckedRate:
    """By the train that was nearest to what is asked for."""
    told = [rate for train in trains if (rate := measured_bps(asked, train)) is not None]
    if not told:
        return CheckedRate(asked, None, "")
    nearest = min(told, key=lambda rate: max(rate / asked.rate_bps, asked.rate_bps / rate))
    if SLOWEST <= nearest / asked.rate_bps <= QUICKEST:
        return CheckedRate(asked, nearest, "")
    words = f"{asked.rate_bps / 1e6:.3g} Mbit/s asked, {nearest / 1e6:.3g} Mbit/s measured"
    return CheckedRate(asked, nearest, f"{asked.source.name} to {asked.target.name}: {words}")


def measured_bps(asked: AskedRate, train: Train) -> float | None:
    """Bits of IP packets per second, once what passed at first is there; None if the train does not tell."""
    if 2 * train.sending_ns > asked.takes_ns:
        return None
    stamps = sorted(train.arrived_ns.values())[asked.skipped // asked.size :]
    if len(stamps) <= COUNTED:
        return None
    half = len(stamps) // 2
    took = statistics.median(later - earlier for earlier, later in zip(stamps, stamps[half:], strict=False))
    return half * asked.size * _BITS / took if took > 0 else None
