"""What every stage of the packet path shares: the heap of packets in flight, its bounds, randomness, lateness.

    TUN of the sender -> up link -> path -> down link -> TUN of the receiver
                         queue,     loss, duplicate,     queue,
                         rate       corrupt, delay,      rate
                                    jitter, reorder

Each arrow is an event in one heap, (due, number, stage to call, packet). A stage is called with the time at which the
packet reaches it, which is the computed time and not the later one at which the loop came round to it: so lateness does not
add up and rates are exact. A stage without work (an unlimited rate, say) is left out.

All times are integer nanoseconds of CLOCK_MONOTONIC. One thread; nothing here blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random

Stage = Callable[[int, bytes], None]
"""Takes a packet over at a time (ns)."""

LAG_SHIFT = 13
LAG_BUCKETS = 4096
"""The histogram of lateness: steps of 8 us up to 33 ms; what is later counts in the last step."""


class Engine:
    """The packets in flight.

    `max_packets` and `max_bytes` bound them (256 MiB: a gigabit for two seconds); what comes beyond is dropped where it enters
    and counted as the host's `overflow`. `seed` makes the draws repeatable; None takes the system's entropy.
    """

    def __init__(self, seed: str | None = None, max_packets: int = 1 << 18, max_bytes: int = 256 << 20) -> None:
        rng = Random(seed)
        self.random = rng.random
        self.bits = rng.getrandbits
        self.max_packets = max_packets
        self.max_bytes = max_bytes
        self.heap: list[tuple[int, int, Stage, bytes]] = []
        self.bytes = 0
        """Of all packets in the heap."""
        self.malformed = 0
        """Packets dropped because they are not IPv4 or contradict themselves: no fault of the links."""
        self.unroutable = 0
        """Packets dropped because no host has their destination, or their sender has not their source address."""
        self.lag = [0] * LAG_BUCKETS
        self.lag_max = 0
        self._number = 0

    def push(self, due: int, stage: Stage, data: bytes) -> None:
        """Have `stage` called with the packet at `due`; packets due at the same time keep their order."""
        self._number = number = self._number + 1
        self.bytes += len(data)
        heappush(self.heap, (due, number, stage, data))

    def full(self) -> bool:
        """Whether the bound on packets in flight is reached."""
        return self.bytes >= self.max_bytes or len(self.heap) >= self.max_packets

    def run(self, until: int, most: int) -> None:
        """Call what is due at `until` or before, at most `most` events."""
        heap = self.heap
        while most and heap and heap[0][0] <= until:
            due, _, stage, data = heappop(heap)
            self.bytes -= len(data)
            stage(due, data)
            most -= 1

    def late(self, nanoseconds: int) -> None:
        """Record how late a packet was delivered."""
        step = nanoseconds >> LAG_SHIFT
        self.lag[step if step < LAG_BUCKETS else -1] += 1
        if nanoseconds > self.lag_max:
            self.lag_max = nanoseconds

    def take_lag(self) -> tuple[int, int, int, int]:
        """Packets delivered since the last call, and how late: median, 99th percentile (each to 8 us), maximum, in ns."""
        lag, longest = self.lag, self.lag_max
        self.lag, self.lag_max = [0] * LAG_BUCKETS, 0
        packets = sum(lag)
        return packets, _quantile(lag, packets, 0.5, longest), _quantile(lag, packets, 0.99, longest), longest


def _quantile(histogram: list[int], total: int, share: float, longest: int) -> int:
    seen = 0
    for step, count in enumerate(histogram):
        seen += count
        if count and seen >= share * total:
            return longest if step == LAG_BUCKETS - 1 else min(longest, (step + 1) << LAG_SHIFT)
    return 0
