"""What a runtime of real hosts samples of its own condition, with links and nodes that only answer."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_runtime import small_plan
from opus_controller.net.choose import Choice
from opus_controller.net.links import LinkCounters, TimerLag
from opus_controller.runtimes.hosts import state
from opus_controller.runtimes.hosts.processes import Process
from opus_controller.runtimes.netns import NetnsRuntime


class _Links:
    def counters(self) -> dict[str, LinkCounters]:
        return {"a-1": LinkCounters(overflow=2), "b-1": LinkCounters(overflow=1)}

    def lag(self) -> TimerLag:
        return TimerLag(10, 1_000, 2_000, 3_000)


class _Nodes:
    def lag_p99_ns(self) -> int:
        return 7_000

    def notices_dropped(self) -> int:
        return 4


def test_a_sample_of_health(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "STATE_DIR", tmp_path)
    made = state.make(small_plan(), mode="run", runtime="netns", record=None)
    made.hosts["a-1"].node = Process.of(os.getppid())
    runtime: Any = NetnsRuntime(Choice("userspace", "asked for"))
    runtime._state, runtime._links, runtime._nodes = made, _Links(), _Nodes()
    health = asyncio.run(runtime.health())
    assert (health.link_lag_p99_ns, health.link_overflow, health.node_lag_p99_ns, health.notices_dropped) == (2_000, 3, 7_000, 4)
    assert 0 < health.memory_used < 1
    assert 0 <= health.cpu_others <= 1
    assert runtime._processes() == {os.getpid(), os.getppid()}
