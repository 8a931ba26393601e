"""What control traffic a node may cost, and how it stays within that: it measures less often, and less, while it costs more.

    Metered(bytes so far) --rate, smoothed--> pace x (rate / allowed)^GAIN, at least 1 --> pauses x pace, counts / pace

Held back is only what makes the overlay better: looking for nearer agents and replicas, measuring for others, keeping idle
connections, telling stewards anew and in detail of one's nodes. Beats, SWIM and whatever a time-out sets off go on as ever;
leases too, unless they alone would take most of the budget: then all nodes send them less often. A budget below what those cost
is exceeded by them.
"""

from __future__ import annotations

from math import log2

from opus_node.core.types import SECOND, Nanos, NodeConfig

SETTLING: Nanos = 300 * SECOND
"""A newcomer has its place to find: at an age below this it is allowed as much as it would have spent by then on an even rate."""
PER_NODE = 1.5
"""An agent is allowed this share of the budget for each of its nodes besides its own: it has the other end of all that they say,
and membership to keep. With one agent in 22 nodes the mean over all hosts is then 2.5 budgets."""
SERVING = 2.5
"""Budgets of a replica: its beats alone are nearly two."""
SMOOTH: Nanos = 60 * SECOND
"""Time constant of the rate: one dial, a kilobyte, must not look like a habit."""
AIM = 0.9
"""Of what is allowed: what cannot be put off comes on top now and then, and must have room."""
GAIN = 0.15
"""So that the loop, with SMOOTH as its lag, overshoots little."""
STEP = 1.3
"""The pace changes by no more than this factor at a time."""
PACE_MOST = 64.0
LEASE_RATE = 58.0
"""B/s: a lease that says little and its answer, with the acknowledgements of both, at the usual interval of 5 s."""
LEASE_SHARE = 0.6
"""Of a budget, spent on leases at most: a tight one makes them seldom, for all alike, so agents know when one is overdue."""
LEASE_SELDOM = 4
"""By no more than this."""


class Budget:
    """`pace` is 1 while the node may do all it would like to; at 4 it measures a quarter as often."""

    __slots__ = ("_config", "_last_at", "_last_total", "_rate", "pace")

    def __init__(self, config: NodeConfig) -> None:
        self._config = config
        self._rate = 0.0
        self._last_at: Nanos = -1
        """When it was last told what it costs; -1: never. Then that was ..."""
        self._last_total = 0
        """... so many bytes."""
        self.pace = 1.0

    def metered(self, total: int, now: Nanos, age: Nanos, nodes: int | None, serving: bool) -> None:
        """`total` control bytes since the process began; `nodes` attached to it, None if it is no agent."""
        last_at, last_total = self._last_at, self._last_total
        self._last_at, self._last_total = now, total
        if last_at < 0 or now <= last_at or total < last_total:
            self._rate = total * SECOND / age if age > 0 else 0.0
            return
        span = now - last_at
        rate = (total - last_total) * SECOND / span
        self._rate += (rate - self._rate) * span / (span + SMOOTH)
        error = self._rate / (AIM * self.allowed(age, nodes, serving))
        self.pace = min(PACE_MOST, max(1.0, self.pace * min(STEP, max(1 / STEP, error**GAIN))))

    def allowed(self, age: Nanos, nodes: int | None, serving: bool) -> float:
        """Bytes/s."""
        base = self._config.control_budget * (SERVING if serving else 1.0)
        if nodes is not None:
            base += self._config.control_budget * PER_NODE * nodes
        return base * max(1.0, SETTLING / max(age, SECOND))

    def lease_interval(self) -> Nanos:
        """Between two leases of a node: as told, or so many times longer as a tight budget asks for; the same at all nodes."""
        scarce = LEASE_RATE / (LEASE_SHARE * self._config.control_budget)
        return int(self._config.lease_interval * min(LEASE_SELDOM, max(1.0, scarce)))

    def stretched(self, span: Nanos) -> Nanos:
        """A pause, as long as this node can afford it."""
        return int(span * self.pace)

    def coarse(self, count: int) -> int:
        """How finely to tell of what is told again whenever it has changed: by whole halvings, so that no wavering pace makes it
        change."""
        return max(1, count >> int(log2(self.pace)))

    def some(self, count: int) -> int:
        """How many of `count` it can afford, one at least."""
        return max(1, int(count / self.pace))
