"""A host's own clock beside the testbed's: it may be ahead, lag, run fast or slow. What it never does is go backward.

    testbed's time --own--> what the host's node goes by          --true--> testbed's time, for every record

A clock that is to be further ahead jumps there, as that of a virtual machine does which was suspended. One that is to be less
far ahead is slewed, as a time daemon does it: it loses SLEW_PPM until it is where it should be.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Protocol

from opus_node.core.events import Event, Notice, Ready, RegisterDone, Request, RequestDone, Send, Serve, Snapshot
from opus_node.core.messages import Reply
from opus_node.core.types import Nanos, NodeId

PPM: Final = 1_000_000
SLEW_PPM: Final = 83_333
"""How much slower a clock goes that has to wait for the time: chrony's `maxslewrate`."""
KEPT: Final = 16
"""Of the latest stretches of constant rate: requests begun before a change are told of in the testbed's time all the same."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """From `t` on (testbed's time) the clock reads `own`, and gains PPM + `ppm` on every PPM."""

    t: Nanos
    own: Nanos
    ppm: int

    def at(self, t: Nanos) -> Nanos:
        return self.own + (t - self.t) * (PPM + self.ppm) // PPM

    def when(self, own: Nanos) -> Nanos:
        """The first instant at which it reads `own` or more; never before `t`."""
        return self.t + max(0, -(-(own - self.own) * PPM // (PPM + self.ppm)))


class HostClock:
    """Right until it is set otherwise."""

    def __init__(self) -> None:
        self._stretches = [Stretch(0, 0, 0)]

    def set(self, now: Nanos, ahead: Nanos, ppm: int) -> None:
        """From `now` on it should read `ahead` more than the testbed's (less, if negative), and run fast by `ppm`."""
        reads = self.own(now)
        kept = [stretch for stretch in self._stretches if stretch.t <= now][-KEPT:]
        surplus = reads - (now + ahead)
        if surplus <= 0:
            kept.append(Stretch(now, now + ahead, ppm))
        else:
            slewed = Stretch(now, reads, ppm - SLEW_PPM)
            there = now + -(-surplus * PPM // SLEW_PPM)
            kept += [slewed, Stretch(there, slewed.at(there), ppm)]
        self._stretches = kept

    def own(self, t: Nanos) -> Nanos:
        """What it reads at `t`."""
        return next((stretch for stretch in reversed(self._stretches) if stretch.t <= t), self._stretches[0]).at(t)

    def true(self, own: Nanos) -> Nanos:
        """The first instant at which it reads `own` or more; where it jumped over that, the instant of the jump."""
        later = [*self._stretches[1:], None]
        for stretch, following in zip(self._stretches, later, strict=True):
            if following is None or own < following.own:
                t = stretch.when(own)
                return t if following is None else min(t, following.t)
        raise AssertionError("the last stretch has no end")


@dataclass(frozen=True, slots=True)
class ClockTold:
    """How a clock is to be: it was to read `at` + `ahead` at `at`, and from then on to run fast by `ppm`."""

    at: Nanos
    ahead: Nanos
    ppm: int


class Core(Protocol):
    def step(self, event: Event, now: Nanos) -> Ready: ...

    def snapshot(self) -> Snapshot: ...


class ClockedCore:
    """A core that goes by its host's clock; around it all times are the testbed's.

    No time may pass from one host's core to another's: the one that does, a reply's `arrived_at`, is a measurement that nobody
    but the record looks at, and so leaves here in the testbed's time.
    """

    def __init__(self, core: Core, clock: HostClock, me: NodeId) -> None:
        self._core = core
        self._me = me
        self._clock = clock

    def step(self, event: Event, now: Nanos) -> Ready:
        clock = self._clock
        if type(event) is Request:
            event = replace(event, deadline=clock.own(event.deadline))
        ready = self._core.step(event, clock.own(now))
        return Ready(
            tuple(self._sent(send) for send in ready.sends),
            ready.replies,
            tuple(self._noticed(notice) for notice in ready.notices),
            None if ready.wake_at is None else max(now, clock.true(ready.wake_at)),
            tuple(self._served(serve) for serve in ready.serves),
            ready.left,
        )

    def snapshot(self) -> Snapshot:
        return self._core.snapshot()

    def _sent(self, send: Send) -> Send:
        message = send.message
        if type(message) is not Reply:
            return send
        return Send(send.to, replace(message, arrived_at=self._clock.true(message.arrived_at)))

    def _served(self, serve: Serve) -> Serve:
        return replace(serve, deadline=self._clock.true(serve.deadline))

    def _noticed(self, notice: Notice) -> Notice:
        """A node that answers itself sends no reply: `arrived_at` is then its own."""
        true = self._clock.true
        if type(notice) is RegisterDone:
            return replace(notice, issued_at=true(notice.issued_at), done_at=true(notice.done_at))
        if type(notice) is not RequestDone:
            return notice
        arrived = true(notice.arrived_at) if notice.replica == self._me else notice.arrived_at
        return replace(notice, issued_at=true(notice.issued_at), done_at=true(notice.done_at), arrived_at=arrived)
