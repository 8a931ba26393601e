"""Overlapping faults and strains, undone in any order, with restarts in between: the kernel has in force what is asked for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from helpers.fake_runtime import FakeRuntime, small_plan
from helpers.fidelity.live import LiveNetwork, live_network
from helpers.netem_state import NetemState
from helpers.timelines import EVERYTHING_ON_ONE_PATH, timelines, undoing
from hypothesis import HealthCheck, Phase, example, given, settings
from opus_controller.engine.faults import Faults
from opus_controller.model.network import Cut, Network
from opus_controller.model.plan import Fault
from opus_controller.model.shapes import BurstLoss, HostChange, PathShape
from opus_controller.net import namespaces

pytestmark = pytest.mark.netem


class Linked(FakeRuntime):
    """Links and namespaces are real; hosts are nothing but these."""

    def __init__(self, live: LiveNetwork) -> None:
        super().__init__()
        self._live = live

    async def apply_links(self, network: Network) -> None:
        self._live.links.apply(network)

    async def power_off(self, hosts: Any, network: Network) -> None:
        self._live.links.apply(network)

    async def restart(self, hosts: Any, network: Network) -> None:
        """As the runtimes do it: a fresh namespace each."""
        self._live.links.apply(network)
        for host in hosts:
            name = namespaces.host_namespace(self._live.run, host)
            namespaces.delete(name)
            namespaces.create([name])
            self._live.links.attach(host, namespaces.path_of(name))


@given(timelines())
@example(EVERYTHING_ON_ONE_PATH)
@settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_the_kernel_has_in_force_what_the_rest_asks_for(faults: list[Fault]) -> None:
    plan = small_plan()
    with TemporaryDirectory() as place, live_network("netem", Network.of(plan), Path(place)) as live:
        hands = Faults(plan, Linked(live))
        for fault in [*faults, *undoing(faults)]:
            asyncio.run(hands.strike(fault))
            with NetemState(live) as kernel:
                assert kernel.differs(hands.ledger.network) == []
        with NetemState(live) as kernel:
            assert kernel.differs(Network.of(plan)) == []


def test_whatever_else_is_in_force_is_seen(tmp_path: Path) -> None:
    """A check that could not fail would show nothing."""
    network = Network.of(small_plan())
    first, *rest = network.hosts
    slow = HostChange(up_bps=1_000_000).on(first.access)
    planted = [
        replace(network, hosts=(first.model_copy(update={"access": slow}), *rest)),
        replace(network, overrides={("a", "b"): PathShape(delay_ns=11_000_000)}),
        replace(network, overrides={("a", "b"): PathShape(delay_ns=10_000_000, duplicate=0.02)}),
        replace(network, overrides={("b", "c"): PathShape(delay_ns=10_000_000, burst=BurstLoss(p=0.01, r=0.5))}),
        replace(network, cuts=(Cut(frozenset({"a-1"}), frozenset({"c-2"})),)),
        replace(network, down=frozenset({"b-2"})),
    ]
    with live_network("netem", network, tmp_path) as live, NetemState(live) as kernel:
        assert kernel.differs(network) == []
        assert [len(kernel.differs(other)) for other in planted] == [1, 4, 4, 4, 1, 10]
