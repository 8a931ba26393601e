"""What the userspace links carry, and how exactly: delay, packets and bytes a second, rates; of netem, how exact its delay is.

Nothing but the links runs: hosts are bare namespaces. "Every property on" is jitter that keeps order, loss, duplicates,
reordering and corruption of one packet in 100,000 each (so that TCP's own retreat from loss does not hide what the links
carry), an access link with loss, and rates and queues at both ends that are never the limit.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from opus_controller.bench.bare import bare_hosts, datagram_rate, flood, round_trips, tcp_rate
from opus_controller.bench.table import Row, row
from opus_controller.model.shapes import AccessLink, Direction, PathShape
from opus_controller.net.choose import choose
from opus_controller.net.links import LinkCounters

MS = 1_000_000
MBIT = 1_000_000
ROUND_TRIPS_MS = (10, 30, 50, 100, 200, 300)
PROBES = 400
RARE = 1e-5
EVERY_PROPERTY = PathShape(
    delay_ns=5 * MS, jitter_ns=MS // 10, keep_order=True, loss=RARE, duplicate=RARE, reorder=RARE, corrupt=RARE
)
NEVER_THE_LIMIT = Direction(rate_bps=2000 * MBIT, queue_bytes=16 << 20)
SHAPED_ACCESS = AccessLink(delay_ns=MS // 10, loss=RARE / 10, up=NEVER_THE_LIMIT, down=NEVER_THE_LIMIT)
DELAY_ONLY = PathShape(delay_ns=5 * MS)
DATAGRAM = 200
"""IP bytes of the packets of "packets a second"."""
STEPS = (48_000, 60_000, 75_000, 90_000, 105_000)
"""Packets a second offered, one after the other."""
FRAMING = 1500 / 1448
"""IP bytes for a byte of TCP payload at MTU 1500: 20 of IP, 32 of TCP with time stamps. Rates count IP bytes."""


def run(links: str = "auto", seconds: float = 4.0) -> list[Row]:
    """Every figure, about a minute and a half; netem's if asked for, and by `auto` too where the kernel has it.

    PlatformError if it is asked for and the kernel has none.
    """
    netem = list(delays(netem=True)) if choose(links).kind == "netem" else []
    return netem if links == "netem" else [*delays(), *packets(seconds), *tcp(seconds), *rates(seconds), *netem]


def delays(probes: int = PROBES, *, netem: bool = False) -> Iterator[Row]:
    """Round trips against those asked for."""
    targets = range(1, len(ROUND_TRIPS_MS) + 1)
    shapes = {}
    for target, asked in zip(targets, ROUND_TRIPS_MS, strict=True):
        shapes[0, target] = shapes[target, 0] = PathShape(delay_ns=asked * MS // 2)
    with bare_hosts(len(ROUND_TRIPS_MS) + 1, netem=netem) as bare:
        bare.apply(shapes)
        found = round_trips(bare, targets, probes, gap_s=0.005)
    asked_of = dict(zip(targets, ROUND_TRIPS_MS, strict=True))
    errors = [abs(took / MS - asked_of[target]) for target, values in found.items() for took in values]
    what, most_p99 = ("netem: round-trip error", 5) if netem else ("round-trip error", 2)
    yield row(f"{what}, median of {len(errors)} over 10 to 300 ms", float(np.median(errors)), "ms", 0.7, digits=3)
    yield row(f"{what}, p99", float(np.percentile(errors, 99)), "ms", most_p99, digits=3)


def packets(seconds: float) -> Iterator[Row]:
    """The most datagrams a second that the links keep up with, every property on; how late they are at the least of the steps."""
    best = 0.0
    lateness = []
    with bare_hosts(2, offloads=False) as bare:
        bare.apply({(0, 1): EVERY_PROPERTY, (1, 0): EVERY_PROPERTY}, SHAPED_ACCESS)
        for offered in STEPS:
            bare.links.lag()
            delivered, counted = flood(bare, DATAGRAM, offered, seconds)
            lag = bare.links.lag()
            lateness.append(lag.p99_ns / MS)
            if not _not_asked(counted) and lag.p50_ns <= MS:  # a backlog that grew would make the median late
                best = max(best, delivered)
    yield row("packets a second, every property on, none dropped unasked", best, "packets/s", 45_000, least=True, digits=0)
    yield row(f"   lateness at {STEPS[0]:,} a second, p99", lateness[0], "ms", digits=3)


def tcp(seconds: float) -> Iterator[Row]:
    """One TCP stream's payload."""
    for what, shape, access, offloads, bound in (
        ("every property on, MTU 1500", EVERY_PROPERTY, SHAPED_ACCESS, False, 450),
        ("every property on, offloads", EVERY_PROPERTY, SHAPED_ACCESS, True, None),
        ("delay only, MTU 1500", DELAY_ONLY, AccessLink(), False, None),
        ("delay only, offloads", DELAY_ONLY, AccessLink(), True, 1500),
        ("delay and rate of 2 Gbit/s, offloads", DELAY_ONLY, SHAPED_ACCESS, True, None),
    ):
        with bare_hosts(2, offloads=offloads) as bare:
            bare.apply({(0, 1): shape, (1, 0): shape}, access)
            rate, counted = tcp_rate(bare, seconds)
        yield row(f"TCP, {what}", rate / MBIT, "Mbit/s", bound, least=True, digits=0)
        if bound:
            yield row("   dropped without being asked to", _not_asked(counted), "packets", 0, digits=0)


def rates(seconds: float) -> Iterator[Row]:
    """What an up link lets through against its rate: datagrams by their IP bytes, TCP by payload and framing."""
    for asked in (1, 10, 100):
        link = Direction(rate_bps=asked * MBIT, queue_bytes=max(15_000, asked * MBIT // 8 // 10))
        with bare_hosts(2) as bare:
            bare.apply({(0, 1): DELAY_ONLY, (1, 0): DELAY_ONLY}, AccessLink(up=link))
            got = datagram_rate(bare, asked * MBIT * 1.2, seconds)
            yield row(f"rate {asked} Mbit/s, error of datagrams", abs(got / MBIT / asked - 1) * 100, "%", 5, digits=2)
            stream, _ = tcp_rate(bare, max(seconds, 8.0), warm_up=2.0)
        error = abs(stream * FRAMING / MBIT / asked - 1) * 100
        yield row(f"rate {asked} Mbit/s, error of TCP ({stream / MBIT:.2f} Mbit/s x 1500/1448)", error, "%", 5, digits=2)


def _not_asked(counted: LinkCounters) -> int:
    """Dropped by the testbed, or by a queue that was never meant to be the limit."""
    return counted.overflow + counted.queue_dropped
