"""What a steward tells of its decisions on an application without a utility: the inputs, true to what is so."""

from __future__ import annotations

from itertools import pairwise

from helpers.corenet import CoreNet, six_regions
from opus_node.core.events import MembersPlaced, ReplicaSetDecided
from opus_node.core.types import MILLISECOND, SECOND, AppConfig, NodeConfig


def network(replicas: int = 3, **app: object) -> CoreNet:
    config = AppConfig("web", replicas, **app)  # type: ignore[arg-type]
    return six_regions(config=NodeConfig(apps=(config,)), per_site=4, seed="reasons")


def told(net: CoreNet) -> list[MembersPlaced]:
    return [one.notice for one in net.told if isinstance(one.notice, MembersPlaced)]


def ask(net: CoreNet, seconds: int) -> None:
    """Each host once a second, one after the other."""
    for _ in range(seconds):
        nodes = sorted(net.live())
        for node in nodes:
            net.request(node)
            net.run_for(SECOND // len(nodes))


def test_every_set_is_told_with_its_inputs() -> None:
    net = network()
    net.run(8 * SECOND)
    ask(net, 25)
    placed = told(net)
    decided = [one.notice for one in net.told if isinstance(one.notice, ReplicaSetDecided)]
    assert [(one.epoch, one.members, one.cause) for one in placed] == [(one.epoch, one.members, one.cause) for one in decided]
    first, last = placed[0], placed[-1]
    assert (first.before, first.delay_before) == ((), -1)
    assert first.wanted == len(first.members) == 3
    assert 3 <= last.candidates <= 24
    assert all(after.before == before.members for before, after in pairwise(placed))
    moved = [one for one in placed if one.cause.startswith("nearer to demand: ")]
    assert moved
    assert all(one.delay < one.delay_before for one in moved)
    assert 5.0 < last.demand < 36.0, "24 a second, told over leases"
    assert all(0 <= keeps <= 200 * MILLISECOND for keeps in last.keeps)


def test_who_is_lost_is_told_with_its_silence_and_what_its_loss_costs() -> None:
    net = network()
    net.run(8 * SECOND)
    ask(net, 25)
    (victim,) = told(net)[-1].members[:1]
    net.power_off(victim)
    net.run_for(6 * SECOND)
    one = next(one for one in told(net) if victim in one.cause)
    assert victim in one.before
    assert victim not in one.members
    assert len(one.silent) == len([node for node in one.before if node not in one.members])
    assert 1 * SECOND < one.silent[0] < 6 * SECOND


def test_a_size_is_told_with_what_it_was_made_of() -> None:
    net = network(1, most=20, service_time=200 * MILLISECOND, queue=400 * MILLISECOND)
    net.run(8 * SECOND)
    ask(net, 30)
    one = next(one for one in reversed(told(net)) if one.cause.startswith("resized to "))
    assert "200 ms of a core a request" in one.cause
    assert "requests/s on hosts of 1 cores take" in one.cause
    assert one.cost == 0.2
    assert f", E {one.e:.2f}; " in one.cause
    assert one.wanted == len(one.members) > 4
