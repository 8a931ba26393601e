"""Agents are kept sorted by how far they are, and that is what sorting them anew would give, whatever happens to them. Of those
a node is told."""

from __future__ import annotations

from random import Random

import pytest
from helpers.corenet import APP, Chance, six_regions
from opus_node.core.held import Held
from opus_node.core.swim import nearest_first
from opus_node.core.types import MILLISECOND, SECOND, AppConfig, NodeConfig


@pytest.mark.parametrize("depth", [2, 3])
def test_the_nearest_first_at_any_time(depth: int) -> None:
    config = NodeConfig(apps=(AppConfig(APP, 3),), nodes_per_agent=4, depth=depth)
    net = six_regions(config, per_site=6, chance=Chance(loss=0.02, jitter=20 * MILLISECOND))
    rng, gone, looked = Random(5), list[str](), 0
    for second in range(90):
        net.run_for(SECOND)
        if second > 20 and second % 5 == 0:
            if gone and rng.random() < 0.5:
                net.boot(gone.pop())
            else:
                gone.append(rng.choice(net.live()))
                net.power_off(gone[-1])
        for node in net.live():
            for level in net.cores[node]._levels:
                if level.role is not None:
                    peers = level.role.peers
                    assert list(peers.near()) == nearest_first(peers.members.values())
                    looked += len(peers.near()) > 2
    assert looked > 500


@pytest.mark.parametrize("known", [3, 14])
def test_a_newcomer_is_told_of_no_more_agents_than_it_can_remember(known: int) -> None:
    net = six_regions(NodeConfig(apps=(AppConfig(APP, 3),), nodes_per_agent=2, known_agents=known), per_site=6)
    net.run_for(60 * SECOND)
    told, agent = [], net.agents()[0]
    leases = net.cores[agent]._levels[0].role.leases  # type: ignore[union-attr]
    assert len(net.agents()) > 10
    for node in net.live():
        if node != agent:
            told.append({hint.agent for hint in leases.first_hints(Held(node, net.now))})
    assert {len(one) for one in told} <= {min(known, len(net.agents()) - 2), min(known, len(net.agents()) - 1)}
    assert len(set().union(*told)) > known, "half of them by chance"
