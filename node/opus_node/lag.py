"""How late this process' own timers fire: the measure of a machine too busy for its figures to mean anything."""

from __future__ import annotations

from collections import deque

from opus_node.core.types import MILLISECOND, SECOND, Nanos
from opus_node.folds import LAG_BOUNDS, Histogram

KEPT = 4096
"""Of the latest lags between two readings; the maximum is of all."""
DOUBTFUL: Nanos = 500 * MILLISECOND
DOUBTED: Nanos = 200 * MILLISECOND
"""So long a lag counts only after so long: the kernel may give SIGCONT to another thread, and timers that a pause has made late
may fire before its handler runs."""


class LagMeter:
    """Lags since the last reading, and totals for metrics. A pause of the whole process (SIGSTOP) is no lag."""

    def __init__(self) -> None:
        self._lags: deque[Nanos] = deque(maxlen=KEPT)
        self._doubted: deque[tuple[Nanos, Nanos]] = deque(maxlen=KEPT)
        """(lag, when the timer fired)."""
        self._max: Nanos = 0
        self._resumed_at: Nanos = -1
        self._worst: Nanos = 0
        self._worst_at: Nanos = 0
        self.histogram = Histogram(LAG_BOUNDS)
        """Cumulated."""

    def record(self, due: Nanos, now: Nanos) -> None:
        """A timer due at `due` fired at `now`."""
        if due <= self._resumed_at:
            return
        lag = max(0, now - due)
        self._settle(now - DOUBTED)
        if lag < DOUBTFUL:
            self._count(lag, now)
        else:
            self._doubted.append((lag, now))

    def _settle(self, before: Nanos) -> None:
        """Those that fired by then were no pause."""
        while self._doubted and self._doubted[0][1] <= before:
            self._count(*self._doubted.popleft())

    def _count(self, lag: Nanos, now: Nanos) -> None:
        if lag >= self._faded(now):
            self._worst, self._worst_at = lag, now
        self._lags.append(lag)
        self._max = max(self._max, lag)
        self.histogram.observe(lag)

    def recent(self, now: Nanos) -> Nanos:
        """The worst of late, halved with each second since, as the core has it (`core.context`)."""
        self._settle(now - DOUBTED)
        return self._faded(now)

    def _faded(self, now: Nanos) -> Nanos:
        return self._worst >> min(max(0, now - self._worst_at) // SECOND, 63)

    def resumed(self, now: Nanos) -> None:
        """The process runs again after a pause that somebody wanted: what was due before is not late by its own fault."""
        self._resumed_at = now
        self._settle(now - DOUBTED)
        self._doubted.clear()

    def read(self) -> tuple[Nanos, Nanos]:
        """The 99th percentile and the maximum since the last reading; 0 if no timer fired."""
        if self._doubted:
            self._settle(self._doubted[-1][1])
        ordered = sorted(self._lags)
        p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] if ordered else 0
        worst = self._max
        self._lags.clear()
        self._max = 0
        return p99, worst
