"""What a request costs, in core-seconds, measured while replicas serve: the factor of u in m/n = u/(d E) (ADR 47).

    replica: core time spent, requests answered, both since boot --ReplicaBeat--> Sizer --what each grew by--> Costs

The cost is the ratio of what all members together have spent and answered, not the mean of their ratios: one that answers little
says little. What a program consumes while nobody asks is in it, so that requests/s x cost is what is consumed in all.
"""

from __future__ import annotations

from opus_node.core.types import SECOND, Nanos

SAMPLE: Nanos = 5 * SECOND
"""A sample rests on so long at least: programs' time comes once a second, in steps of 10 ms ..."""
REQUESTS = 20
"""... and on so many requests ..."""
SAMPLE_MOST: Nanos = 60 * SECOND
"""... within so long: if fewer came, most of what was spent was spent on something else, and nothing is learned."""
GAIN = 0.5
"""Of a new sample on the estimate, at least; of one with more requests than the last by their share of both."""


class Costs:
    """Of one application."""

    __slots__ = ("_answered", "_last", "_since", "_spent", "cost")

    def __init__(self, assumed: float) -> None:
        """`assumed`: core-seconds a request until it is measured."""
        self.cost = assumed
        """Core-seconds a request."""
        self._spent = 0.0
        self._answered = 0
        self._since: Nanos = -1
        self._last = 0
        """Requests of the last sample; 0: there was none."""

    @property
    def measured(self) -> bool:
        return self._last > 0

    def add(self, spent: float, answered: int) -> None:
        """By one member, since it last told: core-seconds and requests."""
        self._spent += spent
        self._answered += answered

    def look(self, now: Nanos) -> None:
        """Takes a sample, if it is time and there is enough for one."""
        if self._since < 0:
            self._since = now
        if now - self._since < SAMPLE:
            return
        if self._answered >= REQUESTS and self._spent > 0:
            sample, answered = self._spent / self._answered, self._answered
            gain = max(GAIN, answered / (answered + self._last))
            self.cost += gain * (sample - self.cost)
            self._last = answered
        elif now - self._since < SAMPLE_MOST:
            return
        self._spent, self._answered, self._since = 0.0, 0, now
