"""The figures that tests take from `ping`, and the interval they judge losses by."""

from __future__ import annotations

import pytest
from helpers.pings import parse, plausible_losses
from scipy.stats import binom

pytestmark = pytest.mark.clock


@pytest.mark.parametrize(("sent", "probability"), [(20, 0.001), (100, 0.1), (400, 0.19), (400, 0.95)])
def test_the_interval_is_the_exact_one(sent: int, probability: float) -> None:
    low, high = binom.interval(0.9999, sent, probability)
    assert plausible_losses(sent, probability) == (low, high)


def test_what_ping_prints() -> None:
    iputils = "64 bytes from x (198.18.0.2): icmp_seq=1 ttl=63 time=40.3 ms\n64 bytes from x: icmp_seq=3 ttl=63 time=41 ms\n"
    pings = parse(iputils + "3 packets transmitted, 2 received, 33.3% packet loss, time 2003ms\n")
    assert (pings.sent, pings.lost, pings.rtt_ms) == (3, 1, (40.3, 41.0))
    busybox = (
        "64 bytes from 198.18.0.2: seq=0 ttl=63 time=40.347 ms\n2 packets transmitted, 1 packets received, 50% packet loss\n"
    )
    pings = parse(busybox)
    assert (pings.sent, pings.lost, pings.least_ms, pings.median_ms) == (2, 1, 40.347, 40.347)
    assert parse("5 packets transmitted, 0 received, 100% packet loss").lost == 5
