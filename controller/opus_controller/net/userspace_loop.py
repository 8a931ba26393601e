"""The shaper's one thread: wait for devices and for the next packet's time, to the microsecond."""

from __future__ import annotations

import ctypes
import os
import select
import time
from collections import deque
from collections.abc import Callable, Iterator

from opus_controller.net.userspace_engine import Engine

Handler = Callable[[], None]

_EVENTS = 16
"""Descriptors served before what is due is looked at again."""
_DUE = 64
"""Events of the heap served before descriptors are looked at again."""
_CLOCK_MONOTONIC = 1
_TFD_NONBLOCK = os.O_NONBLOCK
_TFD_CLOEXEC = os.O_CLOEXEC
_TFD_TIMER_ABSTIME = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Timer:
    """A timerfd: epoll_wait(2) itself counts in milliseconds."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._spec = _Itimerspec()
        self._pointer = ctypes.byref(self._spec)
        self._settime = libc.timerfd_settime
        self._armed = 0

    def arm(self, at: int) -> None:
        """Become readable at `at` ns of CLOCK_MONOTONIC."""
        if at == self._armed:
            return
        self._armed = at
        self._spec.value.seconds, self._spec.value.nanoseconds = divmod(max(at, 1), 1_000_000_000)
        self._settime(self.fd, _TFD_TIMER_ABSTIME, self._pointer, None)


class Loop:
    """Serves descriptors, the heap, and slices of longer work, none of them for long."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._timer = Timer()
        self._slices: deque[Iterator[None]] = deque()
        self.running = True
        # Edge-triggered: an expiry wakes once and need not be read away.
        self.add(self._timer.fd, lambda: None, select.EPOLLIN | select.EPOLLET)

    def add(self, fd: int, handler: Handler, events: int = select.EPOLLIN) -> None:
        """Call `handler` while `fd` is ready."""
        self._handlers[fd] = handler
        self._epoll.register(fd, events)

    def change(self, fd: int, events: int) -> None:
        self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Before it is closed."""
        del self._handlers[fd]
        self._epoll.unregister(fd)

    def spread(self, work: Iterator[None]) -> None:
        """Do a longer piece of work a step at a time, packets between the steps."""
        self._slices.append(work)

    def run(self) -> None:
        """Until `running` is false."""
        engine, handlers, slices, heap = self._engine, self._handlers, self._slices, self._engine.heap
        poll, clock = self._epoll.poll, time.monotonic_ns
        while self.running:
            now = clock()
            timeout = 0
            if heap and heap[0][0] <= now:
                engine.run(now, _DUE)
            elif slices:
                self._step()
            else:
                if heap:
                    self._timer.arm(heap[0][0])
                timeout = -1
            for fd, _ in poll(timeout, _EVENTS):
                handler = handlers.get(fd)
                if handler is not None:  # one before it in this list may have removed it
                    handler()
                    # Reading comes before delivering when there is too much of both: so packets get the right time of
                    # sending, and what is late shows in the lag.
                    if heap and heap[0][0] <= (now := clock()):
                        engine.run(now, _DUE)

    def _step(self) -> None:
        work = self._slices.popleft()
        try:
            next(work)
        except StopIteration:
            return
        self._slices.append(work)
