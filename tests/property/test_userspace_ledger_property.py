"""Any overlapping faults and strains, undone in any order: the shaper of userspace links has in force what the rest asks for.

What it is told goes through the same JSON as on its socket; what is in force is read from its hosts and paths.
"""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import fields
from typing import Any

from helpers.fake_runtime import FakeRuntime, small_plan
from helpers.timelines import EVERYTHING_ON_ONE_PATH, timelines, told, undoing
from hypothesis import example, given, settings
from opus_controller.engine.faults import Faults
from opus_controller.model.network import Network
from opus_controller.model.plan import Fault
from opus_controller.model.shapes import Direction
from opus_controller.net import userspace_desired
from opus_controller.net.userspace_engine import Engine
from opus_controller.net.userspace_host import Host
from opus_controller.net.userspace_network import NetworkState
from opus_controller.net.userspace_path import Shape


class Shaper(FakeRuntime):
    """Told as `UserspaceLinks` tells it: the base when it differs, what lies over it at each change."""

    def __init__(self) -> None:
        super().__init__()
        self.state = NetworkState(Engine(seed="ledger"))
        self.base: dict[str, Any] = {}
        self.tell(Network.of(small_plan()))

    def tell(self, network: Network) -> None:
        base = userspace_desired.base(network)
        if base != self.base:
            self.base = base
            self.state.set_base(json.loads(json.dumps(base)))
        self.state.set_over(json.loads(json.dumps(userspace_desired.over(network))))

    async def apply_links(self, network: Network) -> None:
        self.tell(network)

    async def power_off(self, hosts: Any, network: Network) -> None:
        self.tell(network)

    async def restart(self, hosts: Any, network: Network) -> None:
        self.tell(network)


def differs(shaper: Shaper, network: Network) -> list[str]:
    """Every way in which something else is in force."""
    state, wrong = shaper.state, []
    for source in network.hosts:
        own = state.hosts[source.name]
        for name, asked, found in (("up", source.access.up, _up(own)), ("down", source.access.down, _down(own))):
            if asked.rate_bps != found:
                wrong.append(f"{source.name} {name}: {found} in force, {asked.rate_bps} asked")
        for target in network.hosts:
            path = state._find(own, socket.inet_aton(target.address))
            assert path is not None
            if (path.enter == path._cut) != network.is_cut(source.name, target.name):
                wrong.append(f"{source.name} to {target.name}: cut or not")
            shape = network.path(source, target)
            in_force = {one.name: getattr(path.shape, one.name) for one in fields(Shape)}
            if any(in_force[name] != value for name, value in told(shape).items()):
                wrong.append(f"{source.name} to {target.name}: {in_force}")
    return wrong


def _up(host: Host) -> int | None:
    return host._up._rate if host._ingress == host._up.enter else None


def _down(host: Host) -> int | None:
    return host._down._rate if host.arrive == host._down.enter else None


@given(timelines())
@example(EVERYTHING_ON_ONE_PATH)
@settings(max_examples=60, deadline=None)
def test_the_shaper_has_in_force_what_the_rest_asks_for(faults: list[Fault]) -> None:
    plan, shaper = small_plan(), Shaper()
    hands = Faults(plan, shaper)
    for fault in [*faults, *undoing(faults)]:
        asyncio.run(hands.strike(fault))
        assert differs(shaper, hands.ledger.network) == []
    assert differs(shaper, Network.of(plan)) == []


def test_whatever_else_is_in_force_is_seen() -> None:
    plan, shaper = small_plan(), Shaper()
    first, *rest = plan.hosts
    slow = first.access.model_copy(update={"up": Direction(rate_bps=1_000)})
    shaper.tell(Network(hosts=(first.model_copy(update={"access": slow}), *rest), sites=plan.sites, paths=plan.paths))
    assert differs(shaper, Network.of(plan)) == ["a-1 up: 1000 in force, None asked"]
