"""Round-trip estimates and the time-outs that follow from them (Jacobson 1988, RFC 6298, with faster gains)."""

from __future__ import annotations

from opus_node.core.types import MILLISECOND, SECOND, Nanos, NodeConfig

UNKNOWN: Nanos = 400 * MILLISECOND
"""Time-out towards a peer that was never measured: the longest terrestrial round trip is about 350 ms."""
DIAL: Nanos = 5 * MILLISECOND
"""What a dial takes besides its round trips, about."""
LONGEST: Nanos = 3 * SECOND
"""No estimate makes anybody wait longer."""
KEPT_OPEN: Nanos = 170 * SECOND
"""Connections are closed when they were idle for three minutes (`transport`)."""
NEVER: Nanos = -KEPT_OPEN - 1
FIRST = -1
"""In place of a mean deviation, while it follows from the first sample."""
LONG_AGO: Nanos = -KEPT_OPEN


class Rtt:
    """A smoothed round trip and its mean deviation.

    Peers that are measured derive from it (`ways.Way`, `cache.Entry`, `relay.Target`, `swim.Member`): an object of its own for
    each would take 48 bytes more.

    The first sample often carries a dial (three round trips more), so a sample under two thirds of the estimate
    starts it anew; upward it moves by a quarter of the error. A later one may carry a dial as well, after the connection was
    idle: what is twice the estimate is believed only if the next sample is, too.
    """

    __slots__ = ("_doubted", "_var", "met_at", "samples", "srtt")

    def __init__(self) -> None:
        self.srtt: Nanos = 0
        self._var: Nanos = FIRST
        self.samples = 0
        self.met_at: Nanos = NEVER
        """When something last came through a connection with the peer: soon after, another message need not dial."""
        self._doubted = False

    def sample(self, rtt: Nanos, met_at: Nanos = NEVER) -> bool:
        """`met_at`: now, of a round trip through a connection. Whether it is believed."""
        self.met_at = max(self.met_at, met_at)
        if rtt < 0:
            return False
        if not self.samples or rtt * 3 < self.srtt * 2:
            self.srtt = rtt
            self._var = FIRST
        elif rtt > 2 * self.srtt + DIAL and not self._doubted:
            self._doubted = True
            return False
        else:
            error, var = rtt - self.srtt, self.var
            self.srtt += error >> 2
            self._var = var + ((abs(error) - var) >> 2)
        self._doubted = False
        self.samples += 1
        return True

    @property
    def var(self) -> Nanos:
        """Mean deviation: an eighth of the round trip while there is but one sample. Most peers stay at that."""
        return self._var if self._var >= 0 else self.srtt >> 3

    def timeout(self, config: NodeConfig, unknown: Nanos = UNKNOWN) -> Nanos:
        """How long silence is still ordinary: max(1.5 srtt, srtt + 4 var) + slack; `unknown` without a sample."""
        if not self.samples:
            return unknown
        wait = max(int(config.timeout_rtts * self.srtt), self.srtt + 4 * self.var) + config.timeout_slack
        return wait if wait < LONGEST else LONGEST

    def delay(self) -> Nanos:
        """For comparisons: the estimate, or a large one while nothing is known."""
        return self.srtt if self.samples else UNKNOWN
