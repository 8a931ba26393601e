"""In which order a runtime of real hosts tells nodes to join, with control lines that only note it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_runtime import small_plan
from opus_controller.model.history import History
from opus_controller.model.plan import App
from opus_controller.runtimes.hosts import nodes as hosts_nodes
from opus_controller.runtimes.hosts import state
from opus_controller.runtimes.hosts.control import boot_request
from opus_controller.runtimes.hosts.nodes import Nodes
from opus_controller.runtimes.sim.world import config_of
from opus_node.control import boot_spec

pytestmark = pytest.mark.clock


class _Line:
    """Answers a moment later, so that what is told at once shows as told at once."""

    def __init__(self, name: str, log: list[str]) -> None:
        self._name, self._log = name, log

    async def boot(self, request: object) -> None:
        self._log.append(f"{self._name} told")
        await asyncio.sleep(0)
        self._log.append(f"{self._name} there")


class _Watch:
    dropped = 0

    def __init__(self, *_: object) -> None:
        pass

    async def run(self) -> None:
        pass


def test_seeds_are_there_before_anybody_asks_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "STATE_DIR", tmp_path)
    monkeypatch.setattr(hosts_nodes, "Watch", _Watch)
    plan = small_plan()
    seed = plan.hosts[-1].name
    plan = plan.model_copy(update={"seeds": (seed,)})
    others = [host.name for host in plan.hosts if host.name != seed]
    log: list[str] = []

    async def body() -> None:
        made = state.make(plan, mode="run", runtime="netns", record=None)
        start: Any = None
        nodes = Nodes(plan, made, lambda: 0, start, None)
        for name, node in nodes._nodes.items():
            line: Any = _Line(name, log)
            node.control = line
        await nodes.boot(host.name for host in plan.hosts)

    asyncio.run(body())
    assert log[:2] == [f"{seed} told", f"{seed} there"]
    assert log[2:] == [*(f"{name} told" for name in others), *(f"{name} there" for name in others)]


def test_members_that_were_named_reach_the_node_by_address_in_every_runtime() -> None:
    plan = small_plan()
    host = plan.hosts[-1]
    app = App(name="store", replicas=1, consistency="primary", static=True, members=(host.name,))
    plan = plan.model_copy(update={"apps": (app,)})
    told = boot_spec(boot_request(plan, host, origin_ns=0, incarnation=0, past=History())).config.apps
    assert [one.members for one in told] == [one.members for one in config_of(plan, host, History()).apps] == [(host.address,)]
