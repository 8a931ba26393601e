"""The bytes a node counts are those its interface carried: `sizes`' constants against eth0's own counters."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from helpers.tiny_wan import TinyWan, tiny_wan
from opus_node.transport import TransportStats

pytestmark = pytest.mark.netns

ETHERNET = 14
"""Bytes that the counters have and an IP link does not."""
PROBES = 150


def carried(wan: TinyWan, host: int) -> tuple[int, int]:
    """Bytes sent and received by a host's eth0, from the IP header on."""
    show = ["ip", "-n", wan.namespace(host), "-s", "-j", "link", "show", "eth0"]
    stats = json.loads(subprocess.run(show, capture_output=True, check=True, text=True).stdout)[0]["stats64"]
    sent, received = (stats[way]["bytes"] - ETHERNET * stats[way]["packets"] for way in ("tx", "rx"))
    return sent, received


@contextmanager
def chatter(wan: TinyWan, host: int, peer: int, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = ["ip", "netns", "exec", wan.namespace(host), sys.executable, "-m", "helpers.chatter"]
    process = subprocess.Popen(
        [*command, wan.address(host), wan.address(peer), *options], stdout=subprocess.PIPE, text=True, cwd="tests"
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def counted(process: subprocess.Popen[str]) -> TransportStats:
    process.send_signal(signal.SIGUSR1)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            return TransportStats(**json.loads(line))
    raise AssertionError("the process ended")


@pytest.mark.parametrize("answered", [False, True], ids=["one way", "answered"])
def test_counted_bytes_are_those_of_the_interface(answered: bool) -> None:
    with ExitStack() as stack:
        wan = stack.enter_context(tiny_wan("bytes", 2))
        for host in (1, 2):  # so that no ARP is among what is counted
            subprocess.run(
                ["ip", "netns", "exec", wan.namespace(host), "ping", "-c1", "-q", wan.address(3 - host)],
                check=True,
                stdout=subprocess.DEVNULL,
            )
        receiver = stack.enter_context(chatter(wan, 2, 1, "--number", "0", *(["--echo"] if answered else [])))
        assert receiver.stdout is not None
        assert receiver.stdout.readline() == "ready\n"
        before = carried(wan, 1)
        sender = stack.enter_context(chatter(wan, 1, 2, "--number", str(PROBES), "--every", "0.1"))
        heard = sender if answered else receiver
        assert heard.stdout is not None
        if answered:
            assert heard.stdout.readline() == "ready\n"
        for _ in range(PROBES):
            assert heard.stdout.readline().startswith("heard")
        after = carried(wan, 1)
        sent, received = (now - then for now, then in zip(after, before, strict=True))
        ends = counted(sender), counted(receiver)
        print(f"eth0: {sent} B sent, {received} B received; counted: {ends[0]}")
        if answered:  # which of the two carries acknowledgements and window updates differs; the sum is what counts
            assert ends[0].control_bytes_sent + ends[0].control_bytes_received == pytest.approx(sent + received, rel=0.05)
            return
        assert ends[0].control_bytes_sent == pytest.approx(sent, rel=0.05)
        assert ends[1].control_bytes_received == pytest.approx(sent, rel=0.05)
        # Acknowledgements are not one for one: the kernel delays some, and a busy machine puts messages together.
        assert 0.4 * ends[0].control_bytes_received < received < 1.2 * ends[0].control_bytes_received
