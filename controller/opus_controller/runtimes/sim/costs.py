"""What the simulator charges for what it does not execute. Every constant says where it comes from.

Those about channels repeat what the node's transport does (`opus_node.transport`, `opus_node.lines`, which may not be
imported here: they need grpc); tests/sim compares the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opus_node.core.types import MICROSECOND, MILLISECOND, SECOND, Nanos


@dataclass(frozen=True, slots=True)
class HopCost:
    """Time a message takes beyond its path: serializing, gRPC, the kernels' stacks and scheduling at both ends."""

    per_message_ns: Nanos = 520 * MICROSECOND
    """Added to the one-way time of every message: the median that `opus bench hop` printed. Datagrams cost no less (0.7 ms in a
    quickstart's attachments). A constant of the release, so that a run can be repeated on another machine (docs/adr/0005)."""
    source: str = "opus bench hop: median 0.520 ms of 401 requests on three sites, userspace links, 2 cores, Linux 6.18"
    """Where the figures came from, for `result.json`."""
    dial_ns: Nanos = 4 * MILLISECOND
    """Added to a dial beyond its round trips: making a channel and a stream at both ends. Real cold dials over a 100 ms path took
    3 to 7 ms more than the round trips and a warm message's cost (tests/netns/test_sim_channels.py prints one)."""


@dataclass(frozen=True, slots=True)
class StartCost:
    """When processes are there at a run's beginning. Real ones take turns at the machine's cores."""

    each_ns: Nanos = 0
    """From one host to the next, seeds first. 0: all at once, as if there were a core for each; so a run does not depend on how
    many cores some machine had (docs/adr/0038)."""
    source: str = "none: all at once"
    """Where the figure came from, for `result.json`."""

    def delays(self, hosts: Sequence[str], seeds: Sequence[str]) -> dict[str, Nanos]:
        """Of each host, beyond its own time. Seeds, then the others in their order, as runtimes of real hosts start them."""
        order = [*seeds, *(name for name in hosts if name not in set(seeds))]
        return {name: turn * self.each_ns for turn, name in enumerate(order)}


# Packets. IPv4 and TCP with timestamps on an MTU of 1500.

MSS = 1448
INITIAL_WINDOW = 10
"""Segments a connection sends before the first acknowledgement (RFC 6928), also after idling (RFC 2861)."""

# TCP's timers (RFC 6298 with Linux' constants).

MIN_RTO = 200 * MILLISECOND
"""Linux: RTO = SRTT + max(200 ms, 4 RTTVAR). With one packet outstanding the tail-loss probe waits as long."""
RTTVAR_DECAY = 0.82
"""What is left after each round trip of the first estimate's excess, which makes the first RTO 3 RTT. Linux takes a quarter
off at most once a round trip; measured: 547 ms after 2 messages over 200 ms, 419 after 12; 803 after 2 over 300 ms, 557 after 10.
Messages that follow each other faster than a round trip, and delayed acknowledgements, make it decay later than here."""
SYN_RTO = 1 * SECOND
"""A lost SYN or SYN-ACK: from one to the next, the first four times (net.ipv4.tcp_syn_linear_timeouts, Linux 6.5)."""
PROBE_RTTS = 2
"""Tail-loss probe with several packets outstanding: 2 SRTT (RFC 8985)."""

# Channels, as `opus_node.transport.TransportSettings` has them by the same names.

DIAL_ROUND_TRIPS = 2
"""From the dial to the first message leaving: TCP's handshake and HTTP/2's settings. With the message's own way and the
acknowledgement that is three round trips, as DESIGN has it; tests/netns/test_sim_channels.py measures it."""
MAX_LINKS = 64
MAX_LINKS_SERVING = 512
"""Of an agent or a replica."""
IDLE_TIMEOUT = 180 * SECOND
CONNECT_TIMEOUT = 1 * SECOND
CONNECT_MOST = 5 * SECOND
"""Towards a peer that this process has never reached."""
SILENCE_TIMEOUT = 1_500 * MILLISECOND
"""A connection whose oldest unacknowledged data is this old is given up (TCP_USER_TIMEOUT)."""
LINGER = 2 * CONNECT_TIMEOUT
"""Who has closed a connection in good order hears for so long what was sent before the other end knew (`lines.Dialled.close`)."""
CALLED_WAIT = 500 * MILLISECOND
"""Whom something reaches ahead of its dial waits so long for that."""
BACKOFF_FIRST = 100 * MILLISECOND
BACKOFF_FACTOR = 1.6
BACKOFF_MAX = 1 * SECOND
"""From the start of one dial to the start of the next."""
BACKOFF_SPREAD = 0.1
"""Each is shortened by up to this share."""
EXPIRY = 3 * SECOND
QUEUE_MESSAGES = 256
"""What waits for a connection. The transport bounds bytes as well; no message here is near 4 MiB."""
