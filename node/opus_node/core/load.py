"""How busy a replica is, as it says itself and as others remember it.

    every BUCKET:  toll += RAISE x (work asked for / work possible - TARGET)          never below 0

The toll is how much longer a way (a round trip) a request should rather take than come here: the price by which demand is spread
without anyone who knows all of it. Each client compares round trip + toll, those on the border between two replicas change sides
first, and near replicas fill up to TARGET before farther ones are used (dual prices of capacity: Kelly, Maulloo, Tan, *Rate
control for communication networks*, 1998). It sums up over time, so that it settles where demand is met, and stands for demand
that was turned away, too.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from opus_node.core.choice import Option
from opus_node.core.messages import Load
from opus_node.core.types import MILLISECOND, SECOND, Nanos, NodeId

BUCKET: Nanos = 250 * MILLISECOND
BUCKETS = 4
"""Of which `used` is the mean: one second, and what has passed of the present one."""
TARGET = 0.8
"""Of what is possible: with requests at random instants, the mean wait at more is over two service times (M/D/1)."""
RAISE: Nanos = 200 * MILLISECOND
LOWER: Nanos = 100 * MILLISECOND
"""Added in each second, for each whole of what is possible that was asked for beyond TARGET; taken away where less was. Demand
goes away within seconds, and comes back slowly enough not to swing."""
TOLL_MOST: Nanos = 400 * MILLISECOND
"""No way on Earth is longer."""
QUIET: Nanos = 10 * SECOND
"""After so long without a request nothing is left of any toll."""
FULL: Nanos = 250 * MILLISECOND
"""Who has just turned a request away gets none for so long, if there is anyone else."""
PER_CENT = 100


class Meter:
    """A replica's own account: work asked for, whether it was taken or not, against the work that was possible."""

    __slots__ = ("_buckets", "_since", "_start", "_work", "toll")

    def __init__(self, now: Nanos) -> None:
        self._buckets: deque[Nanos] = deque(maxlen=BUCKETS)
        self._start = self._since = now
        self._work: Nanos = 0
        self.toll: Nanos = 0

    def add(self, work: Nanos, now: Nanos) -> None:
        self._roll(now)
        self._work += work

    def used(self, now: Nanos) -> float:
        """Asked for / possible, over the last second or so; above 1 where more is asked for than can be done."""
        self._roll(now)
        span = len(self._buckets) * BUCKET + now - self._since
        return (sum(self._buckets) + self._work) / max(span, BUCKET)

    def _roll(self, now: Nanos) -> None:
        if now - self._since >= QUIET:
            self._buckets.clear()
            self.toll, self._work, self._since = 0, 0, now
        while now - self._since >= BUCKET:
            self._buckets.append(self._work)
            self._work = 0
            self._since += BUCKET
            mean = sum(self._buckets) / (len(self._buckets) * BUCKET)
            pace = RAISE if mean > TARGET else LOWER
            self.toll = min(max(0, self.toll + int(pace * (mean - TARGET) * BUCKET / SECOND)), TOLL_MOST)


class Heard:
    """What somebody else remembers of a replica's load; never changed, so that all of whom nothing was heard share one."""

    __slots__ = ("_at", "_full_until", "_load")

    def __init__(self, load: Load | None = None, at: Nanos = 0, full_until: Nanos = 0) -> None:
        self._load = load
        self._at = at
        self._full_until = full_until

    def told(self, told: tuple[Load, ...], now: Nanos) -> Heard:
        """`told` is empty where nobody counts."""
        return Heard(told[0], now, self._full_until) if told else self

    def turned_away(self, now: Nanos) -> Heard:
        return Heard(self._load, self._at, now + FULL)

    def full(self, now: Nanos) -> bool:
        return self._full_until > now

    def option(self, node: NodeId, rtt: Nanos, now: Nanos, staleness: Nanos) -> Option:
        """What is older than `staleness` counts half, and half of that after as long again: at last the replica is tried anew."""
        load = self._load
        halvings = (now - self._at) // max(1, staleness)
        if load is None or halvings >= 16:
            return Option(node, rtt)
        return Option(node, rtt, load.used >> halvings, load.toll >> halvings, load.spare if not halvings else -1)


UNHEARD: Final = Heard()
