"""Pastry alive: it converges however it boots, keeps its ring through leaves, churn and the loss of half, and routes well.

Looked at from above: all live nodes' tables at one instant, against the tables that are right for who lives.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from random import Random
from typing import Any, cast

import pytest
from opus_controller.bench.overlay.churn import Comings
from opus_controller.bench.overlay.lab import Lab
from opus_controller.bench.worlds import SECOND, six_regions
from opus_controller.model.network import Network
from opus_controller.model.plan import OverlaySettings
from opus_node.baselines.ids import SPACE, around, of_node
from opus_node.baselines.pastry import Pastry
from opus_node.baselines.pastry_table import Table, ideal, ring_of

HOSTS = 60
REPLICAS = 5


def booted(hosts: int = HOSTS, over_s: float = 0.0) -> Lab:
    """All in one second, or one after the other, the seeds first."""
    plan = six_regions(hosts, duration_s=3600, replicas=REPLICAS, overlay=OverlaySettings(protocol="pastry"))
    step = int(over_s * SECOND / len(plan.hosts))
    late = (h if h.name in plan.seeds else h.model_copy(update={"boot_at_ns": h.index * step}) for h in plan.hosts)
    return Lab(plan.model_copy(update={"hosts": tuple(late)}) if over_s else plan)


def overlays(lab: Lab) -> dict[str, Pastry]:
    """By address."""
    cores = [cast(Any, host.core) for host in lab.alive()]
    return {core._ctx.me: core._overlay for core in cores}


def tables(lab: Lab) -> dict[str, Table]:
    return {node: overlay._table for node, overlay in overlays(lab).items()}


def wrong_leaf_sets(lab: Lab) -> list[str]:
    alive = tables(lab)
    ring = ring_of(alive)
    right = {node: ideal(node, ring, Random(0)) for node in alive}
    return [node for node, table in alive.items() if (table.before, table.after) != (right[node].before, right[node].after)]


def walk(alive: dict[str, Table], start: str, key: int) -> tuple[list[str], int]:
    """The nodes on the way, and how many dead next hops were passed over, as acknowledgements do."""
    path, dead = [start], 0
    while len(path) < 30:
        ways = alive[path[-1]].ways(key, path, 20)
        live = [node for node in ways if node in alive]
        dead += ways.index(live[0]) if live else len(ways)
        if not live:
            return path, dead
        path.append(live[0])
    raise AssertionError(f"a circle: {path}")


def lookups(alive: dict[str, Table], count: int, seed: str, joining: Collection[str] = ()) -> Iterator[tuple[int, int, bool]]:
    """Of each, from a node that has joined: hops, dead hops, whether it came to the numerically closest; who is still
    joining may be known already, or not yet."""
    rng = Random(seed)
    joined = [node for node in sorted(alive) if node not in joining]
    for _ in range(count):
        key = rng.randrange(SPACE)
        path, dead = walk(alive, rng.choice(joined), key)
        closest = [min(some, key=lambda node: (around(of_node(node), key), node)) for some in (joined, alive)]
        yield len(path) - 1, dead, path[-1] in closest


def served(lab: Lab, seconds: float) -> tuple[int, int]:
    """Requests issued in that time, and how many of them were answered."""
    lab.forget()
    lab.everyone_asks(10)
    lab.run_for(seconds)
    lab.workload({})
    lab.run_for(3)
    return len(lab.requests), sum(one["outcome"] == "ok" for one in lab.requests)


@pytest.mark.parametrize("over_s", [0.0, 30.0])
def test_at_rest_the_ring_is_right_and_all_requests_are_answered(over_s: float) -> None:
    lab = booted(over_s=over_s)
    lab.run_until(over_s + 60)
    assert wrong_leaf_sets(lab) == []
    assert len(lab.replicas()) == REPLICAS
    issued, ok = served(lab, 15)
    assert issued > 100
    assert ok == issued
    alive = tables(lab)
    ring = ring_of(alive)
    right = {node: ideal(node, ring, Random(node)) for node in alive}
    assert [table.routing_entries() for table in alive.values()] == [table.routing_entries() for table in right.values()]
    mean = [sum(hops for hops, _, _ in lookups(some, 300, "hops")) / 300 for some in (alive, right)]
    assert mean[0] == pytest.approx(mean[1], rel=0.1)
    assert all(at_closest for _, _, at_closest in lookups(alive, 100, "ends"))
    told = {overlay.holders(of_node("a key"), REPLICAS) for overlay in overlays(lab).values()} - {()}
    assert len(told) == 1


def test_entries_are_nearer_than_chance_would_have_them() -> None:
    def mean_delay(proximity: bool) -> float:
        lab = booted()
        lab.reconfigure(proximity=proximity)
        lab.run_until(45)
        hosts, network = {host.address: host for host in lab.plan.hosts}, Network.of(lab.plan)
        delays = [
            network.path(hosts[node], hosts[other]).delay_ns
            for node, table in tables(lab).items()
            for other in table.rows[0].values()
        ]
        return sum(delays) / len(delays)

    assert mean_delay(True) < 0.8 * mean_delay(False)


def test_half_fall_silent_and_the_others_find_each_other_again() -> None:
    lab = booted()
    lab.run_until(40)
    names = sorted(host.plan.name for host in lab.alive())
    victims = Random("half").sample(names, HOSTS // 2)
    lab.power_off(victims)
    lab.ask([name for name in names if name not in victims], lab.now, deadline_s=15)
    lab.run_for(45)
    assert len(lab.requests) == HOSTS // 2
    assert all(one["outcome"] == "ok" for one in lab.requests)
    assert wrong_leaf_sets(lab) == []
    alive = tables(lab)
    assert all(node in alive for table in alive.values() for node in table.leaves())
    assert len(lab.replicas()) == REPLICAS


def test_who_leaves_is_missed_by_nobody() -> None:
    lab = booted()
    lab.run_until(40)
    leaving = [name for name in lab.replicas() if name not in lab.plan.seeds][:2]
    for name in leaving:
        lab.world.dismiss(lab.world.hosts[name])
    lab.run_for(3)
    assert not {host.plan.name for host in lab.alive()} & set(leaving)
    assert wrong_leaf_sets(lab) == []
    assert len(lab.replicas()) == REPLICAS


def churned(median_s: float) -> tuple[float, float, float]:
    """Shares of look-ups that meet a dead hop and that end at a wrong node, and of requests that are not answered."""
    lab = booted()
    lab.run_until(20)
    coming = Comings(lab, Random(f"churn/{median_s}"), median_s)
    lab.everyone_asks(20, deadline_s=2.0)
    coming.live(30)
    lab.forget()
    dead = wrong = count = 0
    for k in range(12):
        coming.live(2.5)
        joining = [node for node, overlay in overlays(lab).items() if not overlay._joined]
        for _, met, right in lookups(tables(lab), 50, f"{k}", joining):
            dead, wrong, count = dead + (met > 0), wrong + (not right), count + 1
    failed = sum(one["outcome"] != "ok" for one in lab.requests) / len(lab.requests)
    return dead / count, wrong / count, failed


def test_shorter_sessions_lose_more_lookups_and_acknowledged_ones_arrive() -> None:
    """As MSPastry has it: a twentieth of the entries may be dead by its self-tuning, which acknowledgements then hide."""
    long, short = churned(600), churned(60)
    assert long[0] < short[0] < 0.25
    assert max(long[1], short[1]) < 0.03
    assert short[2] < 0.01
