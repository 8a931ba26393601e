"""What a TCP stream between two hosts shows of the path under it: when a message of n packets has arrived whole.

TCP repairs what a path does to packets, so a message is never lost, duplicated or damaged here, only late:

- delay: access, path and access link, one way.
- jitter: every packet draws from netem's own table (`model.jitter`); the message waits for its slowest packet. Messages of
  one stream never overtake (the channel sees to that).
- reorder: a packet that skips the path's delay brings its message forward, as far as the stream's order lets it.
- loss, corruption (a damaged packet fails its checksum), bursts: the time until a retransmission arrives. One packet alone
  is sent again after one RTO (as a tail-loss probe), two, four, eight; the last of several after 2 SRTT and then likewise;
  one before the last by the acknowledgements that the later ones cause, one round trip and a quarter (RACK's reordering
  window, RFC 8985). Linux' RTO is SRTT + max(200 ms, 4 RTTVAR), where 4 RTTVAR begins as 2 SRTT and decays.
- duplication: nothing.

Not modelled: that a later message on the same stream would reveal the loss of an earlier one sooner (fast retransmit
across messages; rare where traffic is sparse), delayed acknowledgements, congestion control beyond slow start from ten packets.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

from opus_controller.model.jitter import SCALE_BITS, SIZE, table
from opus_controller.model.network import Network
from opus_controller.model.plan import Host
from opus_controller.model.shapes import PathShape
from opus_controller.runtimes.sim.costs import INITIAL_WINDOW, MIN_RTO, PROBE_RTTS, RTTVAR_DECAY

_DEVIATION = {"uniform": 0.58, "normal": 1.0, "pareto": 0.82, "paretonormal": 0.83}
"""Standard deviation in units of jitter (model.jitter)."""
_MEAN_DEVIATION = 0.8
"""RTTVAR is a mean deviation: sqrt(2/pi) of a normal's standard deviation."""
HOPELESS = 0.999
"""A path that loses more than this carries no TCP; it counts as cut."""


class Path:
    """One direction between two hosts under one state of the network."""

    __slots__ = (
        "_bad", "_burst", "_delay", "_jitter", "_loss", "_reorder", "_rto_excess", "_table",
        "base", "cut", "deaf", "dialable", "extra", "has_state", "lossy", "plain", "rto", "rtt",
    )  # fmt: skip

    def __init__(self, network: Network, source: Host, target: Host) -> None:
        there, back = network.path(source, target), network.path(target, source)
        self.extra = source.access.delay_ns + target.access.delay_ns
        """The access links' part of the one-way delay, which nothing skips."""
        self._delay = there.delay_ns
        self.base = self.extra + self._delay
        """One way without jitter, ns."""
        self._jitter = there.jitter_ns
        self._table = table(there.distribution)
        self._reorder = there.reorder
        self._loss = _loss(there, source, target)
        self._burst = there.burst
        self._bad = False
        self.has_state = self._burst is not None
        """Whether it remembers, and so cannot stand for more than one pair of hosts."""
        self.cut = network.is_cut(source.name, target.name) or _mean_loss(there, source, target) > HOPELESS
        """Whether nothing arrives."""
        self.deaf = network.is_cut(target.name, source.name) or _mean_loss(back, target, source) > HOPELESS
        """Whether nothing comes back."""
        self.dialable = not self.cut and not self.deaf
        """Whether a connection can be made, and acknowledgements come."""
        self.rtt = network.one_way_ns(source, target) + network.one_way_ns(target, source)
        variation = max(MIN_RTO, 4 * _rtt_variation(there, back))
        self.rto = self.rtt + variation
        """Of a connection that has been in use for long."""
        self._rto_excess = max(0, 2 * self.rtt - variation)
        self.lossy = bool(self._loss or self._burst)
        self.plain = not (self._jitter or self._reorder or self.lossy)
        """Whether every message takes `base`."""

    @property
    def least(self) -> int:
        """No packet takes less."""
        return self.extra + (0 if self._reorder else max(0, self._delay + (self._jitter * self._table[0] >> SCALE_BITS)))

    def transit(self, packets: int, random: Callable[[], float]) -> int:
        """One-way time of a message of so many packets if none is lost, ns."""
        if packets == 1 and not self._reorder:
            delay = self._delay + (self._jitter * self._table[int(random() * SIZE)] >> SCALE_BITS)
            return self.extra + (delay if delay > 0 else 0)
        total = self.extra + self._flight(packets, random)
        if packets > INITIAL_WINDOW:
            total += self.rtt * _slow_start_rounds(packets)
        return total

    def _flight(self, packets: int, random: Callable[[], float]) -> int:
        """The slowest packet's delay on the path proper."""
        if not self._jitter and not self._reorder:
            return self._delay
        slowest = 0
        for _ in range(packets):
            if self._reorder and random() < self._reorder:
                continue
            delay = self._delay
            if self._jitter:
                delay += self._jitter * self._table[int(random() * SIZE)] >> SCALE_BITS
            if delay > slowest:
                slowest = delay
        return slowest

    def rto_after(self, round_trips: int) -> int:
        """The retransmission time-out of a connection that has measured so many round trips."""
        return self.rto + round(self._rto_excess * RTTVAR_DECAY**round_trips)

    def recovery(self, packets: int, round_trips: int, random: Callable[[], float]) -> int:
        """How much later a message of so many packets is for those lost, 0 mostly. Not for a path that is cut."""
        if self._burst is None:
            # All that matters is whether any is lost, and if so whether the last is, which is so in loss / any of all cases.
            draw = random()
            if draw >= (self._loss if packets == 1 else 1.0 - (1.0 - self._loss) ** packets):
                return 0
            last_lost = draw < self._loss
        else:
            lost = [self.loses(random) for _ in range(packets)]
            if not any(lost):
                return 0
            last_lost = lost[-1]
        rto = self.rto_after(round_trips)
        if packets == 1:
            late = rto
        elif last_lost:
            late = min(PROBE_RTTS * self.rtt, rto)
        else:
            late = self.rtt + self.rtt // 4
        while self.loses(random):
            late += rto
            rto *= 2
        return late

    def loses(self, random: Callable[[], float]) -> bool:
        """Whether the next packet is lost; steps the Gilbert-Elliott chain where there is one (the state before decides)."""
        if self._loss and random() < self._loss:
            return True
        burst = self._burst
        if burst is None:
            return False
        if self._bad:
            self._bad = random() >= burst.r
            return random() < burst.loss_bad
        self._bad = random() < burst.p
        return random() < burst.loss_good

    def handshake(self, rounds: int, first_timeout: int, random: Callable[[], float]) -> int:
        """How long so many round trips take, one small packet each way, a lost first one costing `first_timeout`."""
        total = rounds * self.rtt
        for i in range(rounds):
            timeout = first_timeout if i == 0 else self.rto_after(0)
            while self.loses(random):
                total += timeout
                timeout *= 2
        return total


def _loss(shape: PathShape, source: Host, target: Host) -> float:
    """Share of packets that do not arrive intact, bursts aside."""
    kept = (1 - source.access.loss) * (1 - target.access.loss) * (1 - shape.corrupt)
    if shape.burst is None:
        kept *= 1 - shape.loss
    return 1 - kept


def _mean_loss(shape: PathShape, source: Host, target: Host) -> float:
    return 1 - (1 - _loss(shape, source, target)) * (1 - (shape.burst.mean if shape.burst is not None else 0.0))


def _rtt_variation(there: PathShape, back: PathShape) -> int:
    """RTTVAR that the jitter of both directions makes, ns."""
    there_ns = there.jitter_ns * _DEVIATION[there.distribution]
    back_ns = back.jitter_ns * _DEVIATION[back.distribution]
    return round(_MEAN_DEVIATION * sqrt(there_ns**2 + back_ns**2))


def _slow_start_rounds(packets: int) -> int:
    """Round trips beyond the first that a message takes to be sent: 10, 20, 40 ... packets a round."""
    return ((packets - 1) // INITIAL_WINDOW + 1).bit_length() - 1
