"""A path that was dead for long carries messages again within about a second of its healing."""

from __future__ import annotations

import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO

import pytest
from helpers.tiny_wan import TinyWan, tiny_wan

pytestmark = pytest.mark.netns

HEALED = 3.0
"""Seconds after which messages must flow: one dial a second, its handshake, and a machine that others use too. Doubling
pauses between dials, gRPC's own habit, would be at 8 s after the longest cut."""


class Chatter:
    """One `helpers.chatter` in a host of the wan."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._lines: IO[str] = process.stdout
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._lines, selectors.EVENT_READ)

    def heard_after(self, t: float, deadline: float) -> float:
        """When the first message after monotonic time `t` came; raises if none did by `deadline`."""
        while self._selector.select(max(0.0, deadline - time.monotonic())):
            word, _, at = self._lines.readline().partition(" ")
            if word == "heard" and float(at) > t:
                return float(at)
        raise TimeoutError("nothing heard")

    def silent_until(self, deadline: float) -> None:
        """Nothing is heard until `deadline`; what was on its way at the start does not count."""
        grace = time.monotonic() + 0.2
        with pytest.raises(TimeoutError):
            self.heard_after(grace, deadline)


@contextmanager
def chatter(wan: TinyWan, host: int, peer: int) -> Iterator[Chatter]:
    command = ["ip", "netns", "exec", wan.namespace(host), sys.executable, "-m", "helpers.chatter"]
    process = subprocess.Popen([*command, wan.address(host), wan.address(peer)], stdout=subprocess.PIPE, text=True, cwd="tests")
    try:
        yield Chatter(process)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("cut_for", [0.7, 2.6, 10.0])
def test_messages_flow_again_soon_after_a_cut_heals(cut_for: float) -> None:
    with ExitStack() as stack:
        wan = stack.enter_context(tiny_wan(f"heal{int(cut_for)}", 2))
        ends = [stack.enter_context(chatter(wan, 1, 2)), stack.enter_context(chatter(wan, 2, 1))]
        start = time.monotonic()
        for end in ends:
            end.heard_after(start, start + 30)

        wan.cut([1, 2])
        cut_at = time.monotonic()
        for end in ends:
            end.silent_until(cut_at + cut_for)
        wan.heal([1, 2])
        healed_at = time.monotonic()
        delays = [end.heard_after(healed_at, healed_at + 20) - healed_at for end in ends]
        print(f"cut for {cut_for} s: messages flow {[f'{delay:.2f}' for delay in delays]} s after the heal")
        assert max(delays) <= HEALED
