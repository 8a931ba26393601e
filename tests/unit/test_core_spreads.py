"""Writes among the replicas of a running overlay: each replica hears of each, once and in order; others hear nothing."""

from __future__ import annotations

from dataclasses import replace

from helpers.corenet import APP, CoreNet, six_regions
from opus_node.core.events import UpdateDelivered
from opus_node.core.types import SECOND, AppConfig, NodeConfig

SPREAD = NodeConfig(apps=(AppConfig(APP, 5, spread=1.75),))


def delivered(net: CoreNet) -> dict[str, list[tuple[str, int]]]:
    """By replica: (source, version), in the order of delivery."""
    found: dict[str, list[tuple[str, int]]] = {}
    for told in net.told:
        if isinstance(told.notice, UpdateDelivered):
            assert not told.notice.missed
            found.setdefault(told.node, []).append((told.notice.source, told.notice.version))
    return found


def write(net: CoreNet, count: int) -> None:
    clients = [node for node in net.live() if node not in net.replicas()]
    for number in range(count):
        net.request(clients[number % len(clients)], write=True)
        net.run_for(SECOND // 5)


def test_every_replica_hears_of_every_write_in_order() -> None:
    net = six_regions(config=SPREAD)
    net.run_for(40 * SECOND)
    write(net, 20)
    net.request(net.live()[-1])
    net.run_for(3 * SECOND)
    heard = delivered(net)
    assert all(len(heard[node]) == 20 for node in net.replicas()), "of every write, whoever answered it, and of no read"
    for own in heard.values():
        for source in heard:
            versions = [version for by, version in own if by == source]
            assert versions == list(range(1, len(versions) + 1))


def test_a_replica_that_comes_later_hears_of_it_too() -> None:
    net = six_regions(config=SPREAD)
    net.run_for(40 * SECOND)
    write(net, 5)
    net.run_for(2 * SECOND)
    lost = next(node for node in net.replicas() if node not in net.seeds)
    net.power_off(lost)
    net.run_for(60 * SECOND)
    assert len(net.replicas()) == 5
    new = [node for node in net.replicas() if node in delivered(net) and node != lost]
    assert sorted(new) == sorted(net.replicas())
    assert {tuple(sorted(delivered(net)[node])) for node in new} == {tuple(sorted(delivered(net)[new[0]]))}
    assert net.snapshot(new[0]).entries > 0


def test_an_application_that_names_no_bound_spreads_nothing() -> None:
    net = six_regions(config=replace(SPREAD, apps=(AppConfig(APP, 5),)))
    net.run_for(40 * SECOND)
    write(net, 5)
    net.run_for(3 * SECOND)
    assert delivered(net) == {}
