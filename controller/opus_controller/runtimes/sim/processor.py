"""A slow host's processor: the kernel's quota. In each period the process may run for a share of it, and then stands still.

That is how real hosts are slowed (`runtimes.hosts.cgroups`: CFS bandwidth control), and why a tenth of a processor is felt as a
stall of up to 90 ms and not as everything taking ten times as long.
"""

from __future__ import annotations

from opus_node.core.types import MICROSECOND, MILLISECOND, Nanos

PERIOD: Nanos = 100 * MILLISECOND
"""The kernel's default, and what `cgroups.PERIOD_US` sets."""
MESSAGE: Nanos = 500 * MICROSECOND
"""Of processor time that a message takes its receiver, with all that the core does for it: half of the 0.8 to 1.1 ms that a
message on a sparse stream costs both ends (DESIGN section 6). Hosts that are not slowed pay it within a hop's constant cost."""


class Processor:
    """Takes one message after the other."""

    def __init__(self, share: float, now: Nanos) -> None:
        self._quota = max(1, round(share * PERIOD))
        self._free = now
        self._period = -1
        self._used: Nanos = 0

    def enter(self, now: Nanos) -> Nanos:
        """When the message that has come at `now` is taken up by the process."""
        start = max(now, self._free)
        if start // PERIOD != self._period:
            self._period, self._used = start // PERIOD, 0
        left = MESSAGE
        while self._used + left > self._quota:
            left -= self._quota - self._used
            self._period, self._used = self._period + 1, 0
            start = self._period * PERIOD
        self._used += left
        self._free = start + left
        return self._free
