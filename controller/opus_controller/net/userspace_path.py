"""One direction of a path between two hosts: who gets through, how often, damaged or not, and when.

The order of decisions is netem's (net/sched/sch_netem.c): duplicate, loss, corrupt, then delay or reorder; a duplicate
goes through all but the first of them by itself. The losses of the two access links stand before and after, their
delays are added to the path's. All of it is decided for each packet on the wire: a TCP super-packet is split where its
parts fare differently, and only there.

Nothing happens to most packets. So instead of drawing for every one, the number of packets until the next to which
something happens is drawn (geometric, like the gaps of independent draws), and for that one what.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING

from opus_controller.net.userspace_engine import Engine
from opus_controller.net.userspace_jitter import BITS, SCALE_BITS, table
from opus_controller.net.userspace_packets import GSO_TYPE, Malformed, SuperPacket, corrupted, wire_counts

if TYPE_CHECKING:
    from opus_controller.net.userspace_host import Host

_FOREVER = 1 << 62

# What may happen to a packet, in this order.
_LOST_AT_SOURCE, _DUPLICATED, _LOST, _CORRUPTED, _REORDERED, _LOST_AT_TARGET = range(6)


@dataclass(frozen=True, slots=True)
class Shape:
    """`model.shapes.PathShape` as the shaper process has it, without the library that checks its form."""

    delay: int = 0
    jitter: int = 0
    distribution: str = "normal"
    keep_order: bool = False
    loss: float = 0.0
    burst: tuple[float, float, float, float] | None = None
    """p, r, loss in the bad state, loss in the good state."""
    duplicate: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0


class Path:
    """Packets from `source` to `target`; `enter` is the stage that takes them."""

    __slots__ = (
        "_burst", "_cumulative", "_delay", "_engine", "_extra", "_in_bad", "_jitter", "_keep_order", "_last", "_log_plain",
        "_shares", "_skip", "_table", "enter", "shape", "source", "target",
    )  # fmt: skip

    def __init__(self, engine: Engine, source: Host, target: Host) -> None:
        self._engine = engine
        self.source = source
        self.target = target
        self._last = 0
        """When the last packet left, for `keep_order`."""
        self._in_bad = False
        """Whether the Gilbert-Elliott chain is in its bad state."""
        self.configure(Shape(), cut=False)

    def configure(self, shape: Shape, cut: bool) -> None:
        """Treat packets from now on by `shape`; those in flight stay as they were decided."""
        self.shape = shape
        self._delay, self._jitter, self._keep_order = shape.delay, shape.jitter, shape.keep_order
        self._table = table(shape.distribution)
        self._extra = self.source.access_delay + self.target.access_delay
        self._burst = shape.burst
        loss = 0.0 if shape.burst else shape.loss
        self._shares = (
            self.source.access_loss, shape.duplicate, loss, shape.corrupt, shape.reorder, self.target.access_loss,
        )  # fmt: skip
        plain, self._cumulative = _first_events(self._shares)
        self._log_plain = log(plain) if plain > 0 else -float("inf")
        self._skip = self._draw_skip()
        if cut:
            self.enter = self._cut
        elif shape.burst or shape.jitter:
            self.enter = self._enter_each
        elif plain < 1:
            self.enter = self._enter_runs
        else:
            self.enter = self._pass

    # --- stages ---

    def _cut(self, due: int, data: bytes) -> None:
        self.source.cut += wire_counts(data)[0]

    def _pass(self, due: int, data: bytes) -> None:
        """Nothing happens to it but delay."""
        delay = self._delay
        if self._jitter:
            delay += self._jitter * self._table[self._engine.bits(BITS)] >> SCALE_BITS
            if delay < 0:
                delay = 0
        due += delay + self._extra
        if self._keep_order:
            if due < self._last:
                due = self._last
            else:
                self._last = due
        self._engine.push(due, self.target.arrive, data)

    def _enter_each(self, due: int, data: bytes) -> None:
        """Every wire packet has a delay or a state of its own."""
        if data[GSO_TYPE]:
            packet = SuperPacket(data)
            for i in range(packet.count):
                self._enter_one(due, packet.part(i, 1))
        else:
            self._enter_one(due, data)

    def _enter_one(self, due: int, data: bytes) -> None:
        if self._skip:
            self._skip -= 1
            self._pass(due, data)
        else:
            self._happen(due, data)

    def _enter_runs(self, due: int, data: bytes) -> None:
        """Packets to which nothing happens share their delay: they may stay together in a super-packet."""
        if not data[GSO_TYPE]:
            self._enter_one(due, data)
            return
        packet = SuperPacket(data)
        first, end = 0, packet.count
        while first < end:
            run = min(self._skip, end - first)
            if run:
                self._skip -= run
                self._pass(due, data if run == end else packet.part(first, run))
                first += run
            else:
                self._happen(due, packet.part(first, 1))
                first += 1

    # --- what happens ---

    def _draw_skip(self) -> int:
        """Packets until the next one to which something happens."""
        if self._burst:
            return 0
        if not self._log_plain:
            return _FOREVER
        return int(log(1.0 - self._engine.random()) / self._log_plain)

    def _happen(self, due: int, data: bytes) -> None:
        """Something happens to this wire packet (with burst loss: perhaps)."""
        random, shares = self._engine.random, self._shares
        first = -1 if self._burst else bisect_right(self._cumulative, random())
        self._skip = self._draw_skip()

        def happens(event: int) -> bool:
            return event == first or (event > first and random() < shares[event])

        if happens(_LOST_AT_SOURCE):
            self.source.lost += 1
            return
        duplicate = happens(_DUPLICATED)
        lost = self._lost_in_burst() if self._burst else happens(_LOST)
        if lost:
            self.source.lost += 1
        else:
            self._forward(due, data, happens(_CORRUPTED), happens(_REORDERED), happens(_LOST_AT_TARGET))
        if duplicate:
            self.source.duplicated += 1
            first = -1
            if self._lost_in_burst() if self._burst else happens(_LOST):
                self.source.lost += 1
            else:
                self._forward(due, data, happens(_CORRUPTED), happens(_REORDERED), happens(_LOST_AT_TARGET))

    def _forward(self, due: int, data: bytes, corrupt: bool, reorder: bool, lost_at_target: bool) -> None:
        if lost_at_target:
            self.source.lost += 1
            return
        if corrupt:
            try:
                data = corrupted(data, self._engine.bits(32))
            except Malformed:
                self._engine.malformed += 1
                return
            self.source.corrupted += 1
        if reorder:
            self.source.reordered += 1
            self._engine.push(due + self._extra, self.target.arrive, data)
        else:
            self._pass(due, data)

    def _lost_in_burst(self) -> bool:
        """One step of the chain, as loss_gilb_ell() in sch_netem.c: the state before the step decides the loss."""
        assert self._burst is not None
        p, r, loss_bad, loss_good = self._burst
        random = self._engine.random
        if self._in_bad:
            self._in_bad = random() >= r
            return random() < loss_bad
        self._in_bad = random() < p
        return random() < loss_good


def _first_events(shares: tuple[float, ...]) -> tuple[float, list[float]]:
    """The share of packets to which nothing happens, and for the others the cumulated share of what happens first."""
    plain, first = 1.0, []
    for share in shares:
        first.append(plain * share)
        plain *= 1.0 - share
    total = sum(first)
    if total == 0.0:
        return 1.0, []
    cumulative, so_far = [], 0.0
    for share in first[:-1]:  # the last one is what remains
        so_far += share / total
        cumulative.append(so_far)
    return (0.0 if 1.0 in shares else plain), cumulative
