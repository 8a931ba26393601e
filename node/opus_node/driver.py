"""Drives one core in real time: events in with the clock's reading, everything in `Ready` done in order, one timer.

An exception in the core must not die silently, nor may a node go on after one: `on_failure` hears of it first, once.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from opus_node.clock import PPM, ClockedCore, ClockTold, HostClock
from opus_node.core.events import ClientReply, Event, Notice, Ready, Receive, Request, Serve, Snapshot, Unreachable, Wake
from opus_node.core.messages import Message
from opus_node.core.types import SECOND, AppId, Nanos, NodeId
from opus_node.folds import NodeFold, notice_to_record
from opus_node.lag import LagMeter
from opus_node.notices import NoticeRing


class Core(Protocol):
    """`opus_node.core.node.NodeCore`, or a baseline behind the same door."""

    def step(self, event: Event, now: Nanos) -> Ready: ...

    def snapshot(self) -> Snapshot: ...


class Sender(Protocol):
    """Where messages leave; `Transport` on a real network."""

    def send(self, to: NodeId, message: Message) -> None: ...


class Driver:
    """Owns the core: nobody else may step it. Everything happens in one event loop."""

    def __init__(
        self,
        node_id: NodeId,
        core: Core,
        sender: Sender,
        origin_ns: int,
        on_failure: Callable[[BaseException], None],
        on_notice: Callable[[Notice], None] = lambda notice: None,
        apps: Iterable[AppId] = (),
        on_serve: Callable[[Serve], None] = lambda serve: None,
        on_reply: Callable[[ClientReply], None] = lambda reply: None,
    ) -> None:
        """`origin_ns`: the run's origin on CLOCK_MONOTONIC. `on_notice` hears every notice after it was recorded. `apps`: those
        that the fold counts from the beginning. `on_serve` has what programs are asked, `on_reply` every answer to a client."""
        self.node_id = node_id
        self.core = core
        self.notices = NoticeRing()
        self.fold = NodeFold(apps)
        self.lag = LagMeter()
        self.open_requests = 0
        """Requests of local clients that have no answer yet."""
        self.issued = 0
        """By local clients, which number them from 0 for the life of the process."""
        self._sender = sender
        self._origin_ns = origin_ns
        self._on_failure = on_failure
        self._on_notice = on_notice
        self._on_serve = on_serve
        self._on_reply = on_reply
        self._failed = False
        self.left = asyncio.Event()
        """Set when the core says that its node has gone, as `Leave` asked."""
        self._clock: HostClock | None = None
        self._loop = asyncio.get_running_loop()
        self._wake_at: Nanos | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: Nanos = 0

    def now(self) -> Nanos:
        """Since the run's origin."""
        return time.monotonic_ns() - self._origin_ns

    def set_clock(self, told: ClockTold) -> Nanos:
        """The core goes by this clock from its next step on; records keep the testbed's time. Gives `clock_ahead`."""
        if self._clock is None:
            self._clock = HostClock()
            self.core = ClockedCore(self.core, self._clock, self.node_id)
        now = self.now()
        self._clock.set(now, told.ahead + (now - told.at) * told.ppm // PPM, told.ppm)
        return self.clock_ahead

    @property
    def clock_ahead(self) -> Nanos:
        """Of the testbed's clock, now."""
        now = self.now()
        return self._clock.own(now) - now if self._clock is not None else 0

    def call_at(self, t: Nanos, callback: Callable[[], None]) -> asyncio.TimerHandle:
        return self._loop.call_at((self._origin_ns + t) / SECOND, callback)

    def feed(self, event: Event) -> None:
        """Step the core. Whatever it raises is reported and raised; after that nothing is fed to it any more."""
        if self._failed:
            return
        try:
            now = self.now()
            self._do(self.core.step(event, now), now)
        except BaseException as error:
            self._failed = True
            self.stop()
            self._on_failure(error)
            raise

    def issue(self, request: Callable[[int], Request]) -> int:
        """A local client's request, which is given its number; the number."""
        number = self.issued
        self.issued += 1
        self.open_requests += 1
        self.feed(request(number))
        return number

    def tell(self, notice: Notice) -> None:
        """Record what the runtime has noticed."""
        self._record(notice, self.now())

    def snapshot(self) -> Snapshot:
        return self.core.snapshot()

    def receive(self, source: NodeId, message: Message) -> None:
        self.feed(Receive(source, message))

    def unreachable(self, peer: NodeId) -> None:
        self.feed(Unreachable(peer))

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _do(self, ready: Ready, now: Nanos) -> None:
        for send in ready.sends:
            if send.to == self.node_id:
                self._loop.call_soon(self.receive, send.to, send.message)
            else:
                self._sender.send(send.to, send.message)
        self.open_requests -= len(ready.replies)
        for notice in ready.notices:
            self._record(notice, now)
            self._on_notice(notice)
        for reply in ready.replies:
            self._on_reply(reply)
        for serve in ready.serves:
            self._on_serve(serve)
        if ready.left:
            self.left.set()
        self._wake_at = ready.wake_at
        if ready.wake_at is not None and (self._timer is None or ready.wake_at < self._timer_at):
            self._arm(ready.wake_at)

    def _record(self, notice: Notice, now: Nanos) -> None:
        self.notices.append(json.dumps(notice_to_record(now, self.node_id, notice), separators=(",", ":")).encode())
        self.fold.add(notice, now)

    def _arm(self, at: Nanos) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self.call_at(at, self._fire)

    def _fire(self) -> None:
        """The timer may be earlier than the core's latest wish: moving it at every step would cost more than waking once."""
        self._timer = None
        now = self.now()
        self.lag.record(self._timer_at, now)
        if self._wake_at is None:
            return
        if self._wake_at > now:
            self._arm(self._wake_at)
        else:
            self.feed(Wake())
