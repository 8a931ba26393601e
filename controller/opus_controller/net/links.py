"""What both implementations of links promise: bring `Network`, the desired state, about and say what they did.

Declarative: the caller hands over the whole desired state, the implementation finds the difference to what it has and
changes that, packets in flight staying in flight. So faults can stack and unwind in any order above this line, and a
host that was restarted is brought to the desired state again by `attach`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from opus_controller.model.network import Network


@dataclass(frozen=True)
class LinkCounters:
    """Of one host since it was attached; packets unless said."""

    sent: int = 0
    received: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    lost: int = 0
    """Dropped because the shape asked for it. Userspace links count it at the sender, netem at the receiver (the kernel does
    not tell senders apart): sums over hosts can be compared, single hosts cannot. The same holds for `cut`, `duplicated` and
    `reordered`; `corrupted` is 0 with netem, which does not count it."""
    cut: int = 0
    """Dropped by a cut or a powered-off end."""
    queue_dropped: int = 0
    """Dropped by a full queue of an access link, as asked."""
    overflow: int = 0
    """Dropped by the testbed itself (TUN queue, scheduler backlog): not asked for, counts against validity."""
    duplicated: int = 0
    corrupted: int = 0
    reordered: int = 0
    queued_bytes: int = 0
    """Waiting in the access link's two queues at this moment: no count, but a level."""


@dataclass(frozen=True)
class TimerLag:
    """How late the links delivered, against the time they had computed, since the last call."""

    packets: int = 0
    p50_ns: int = 0
    p99_ns: int = 0
    max_ns: int = 0


class Links(Protocol):
    """One run's links."""

    kind: str
    """netem or userspace."""

    def attach(self, host: str, netns: Path) -> None:
        """Give the namespace at `netns` (a path such as /proc/PID/ns/net or /run/netns/NAME) its shaped `eth0`:
        address/32, up, default route, loopback up. Again after a restart: the new namespace replaces the old."""

    def detach(self, host: str) -> None:
        """The host is gone; drop what is in flight to it. No error if it was never attached."""

    def apply(self, network: Network) -> None:
        """Make `network` the state of the links; returns when it is in force."""

    def counters(self) -> dict[str, LinkCounters]: ...

    def lag(self) -> TimerLag: ...

    def close(self) -> None:
        """End the links' own processes and remove what they created."""
