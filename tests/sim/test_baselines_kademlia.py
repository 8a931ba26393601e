"""Kademlia among live nodes of the simulator: joins, holders that all agree on, hops, churn, the loss of half."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from random import Random
from statistics import fmean
from typing import Any

import pytest
from opus_controller.bench.overlay.churn import Comings, availability
from opus_controller.bench.overlay.lab import Lab
from opus_controller.bench.worlds import APP, SECOND, six_regions
from opus_controller.model.plan import OverlaySettings, Plan
from opus_node.baselines.ids import of_app, of_node
from opus_node.baselines.kademlia_lookup import walk
from opus_node.baselines.kademlia_table import ideal
from opus_node.core.events import Wake
from opus_node.core.types import KADEMLIA

REPLICAS = 5


def plan(hosts: int) -> Plan:
    return six_regions(hosts, duration_s=900, replicas=REPLICAS, overlay=OverlaySettings(protocol=KADEMLIA))


def overlays(lab: Lab) -> list[Any]:
    return [getattr(host.core, "_overlay", None) for host in lab.alive()]


def nearest(lab: Lab, key: int, count: int = REPLICAS) -> tuple[str, ...]:
    names = [overlay.ctx.me for overlay in overlays(lab)]
    return tuple(sorted(names, key=lambda node: of_node(node) ^ key)[:count])


def check_agreement(lab: Lab, keys: Sequence[int]) -> None:
    for key in keys:
        true = nearest(lab, key)
        for overlay in overlays(lab):
            told = overlay.holders(key, REPLICAS)
            assert told == true if overlay.ctx.me in true else told in ((), true)
    serving = [snapshot.replica_of for snapshot in lab.snapshots().values()]
    assert sum(APP in one for one in serving) == REPLICAS


def keys() -> list[int]:
    rng = Random("keys")
    return [of_app(APP), *(rng.getrandbits(60) for _ in range(10))]


@cache
def settled() -> tuple[Lab, list[dict[str, Any]]]:
    """96 hosts that booted in the same second, after a minute and one request of each."""
    lab = Lab(plan(96))
    lab.run_until(60)
    lab.ask([host.plan.name for host in lab.alive()], lab.now, deadline_s=5)
    lab.run_for(6)
    return lab, list(lab.requests)


def test_all_join_at_once_and_agree_on_who_holds_what() -> None:
    lab, asked = settled()
    check_agreement(lab, keys())
    assert [one["outcome"] for one in asked] == ["ok"] * 96


def test_hops_and_entries_are_those_of_converged_tables() -> None:
    lab, asked = settled()
    names = [overlay.ctx.me for overlay in overlays(lab)]
    ring, rng, key = sorted((of_node(name), name) for name in names), Random("ideal"), of_app(APP)
    tables = {name: ideal(name, ring, 20, rng) for name in names}
    state = fmean(table.entries() for table in tables.values())
    spares = fmean(sum(map(len, overlay.table.spares.values())) for overlay in overlays(lab))
    assert state <= fmean(overlay.entries() - spares for overlay in overlays(lab)) < 1.25 * state
    hops = fmean(walk(tables[name], key, REPLICAS, tables.__getitem__)[1] for name in names if name not in nearest(lab, key))
    live = [one["hops"] - 1 for one in asked if one["via"] != "self"]
    assert hops - 0.3 < fmean(live) < hops + 0.3
    assert max(live) <= 2


def test_those_who_come_one_after_the_other_are_known_to_all_who_should() -> None:
    made = plan(48)
    late = (h if h.name in made.seeds else h.model_copy(update={"boot_at_ns": (2 + h.index) * SECOND}) for h in made.hosts)
    lab = Lab(made.model_copy(update={"hosts": tuple(late)}))
    lab.run_until(50 + 60)
    check_agreement(lab, keys())


def test_half_fall_silent_and_the_others_agree_again_and_were_all_served() -> None:
    """Within four rounds of upkeep: of eight seeds one has a pair of nodes that meet in the fourth only."""
    lab = Lab(plan(96))
    lab.run_until(60)
    names = [host.name for host in lab.plan.hosts]
    dead = Random("half").sample(names, 48)
    lab.power_off(dead)
    lab.ask([name for name in names if name not in dead], lab.now, deadline_s=30)
    lab.run_for(80)
    assert [one["outcome"] for one in lab.requests] == ["ok"] * 48
    check_agreement(lab, keys())
    gone = {host.plan.address for host in lab.world.hosts.values() if host.plan.name in dead}
    assert not [node for overlay in overlays(lab) for node in overlay.table.near() if node in gone]


def test_a_node_whose_seeds_are_down_joins_when_one_is_back() -> None:
    lab = Lab(plan(24))
    seeds = list(lab.plan.seeds)
    lab.run_until(0.001)
    lab.power_off(seeds)
    lab.run_until(5)
    assert lab.replicas() == []
    lab.restart(seeds)
    lab.run_for(60)
    check_agreement(lab, keys())


def searched(lab: Lab, coming: Comings, rng: Random, searches: int) -> float:
    """Of searches for random keys by nodes that have joined, the share that find the nearest node alive within a second."""
    right = 0
    for _ in range(searches):
        joined = [host for host in lab.alive() if host.core is not None and host.core._overlay.table.joined]  # type: ignore[attr-defined]
        host, key, told = rng.choice(joined), rng.getrandbits(60), []  # type: ignore[var-annotated]
        true = nearest(lab, key, 1)
        host.core._overlay.find(key, REPLICAS, lambda nodes, depth, told=told: told.append(nodes))  # type: ignore[union-attr]
        lab.world.step(host, Wake(), lab.now)
        coming.live(1.0)
        right += bool(told) and true[0] in told[0]
    return right / searches


@pytest.mark.parametrize(("median_s", "least"), [(20.0, 0.75), (180.0, 0.95)])
def test_searches_succeed_while_everybody_comes_and_goes(median_s: float, least: float) -> None:
    lab = Lab(plan(48))
    lab.run_until(30)
    coming = Comings(lab, Random("churn"), median_s)
    coming.live(20)
    share = searched(lab, coming, Random("searches"), 40)
    assert coming.ends > 2
    assert share >= least


def test_clients_are_served_while_everybody_comes_and_goes() -> None:
    lab = Lab(plan(48))
    lab.run_until(30)
    found = availability(lab, 1, 60.0, 20.0)
    assert found["ends"] > 10
    assert found["grown_ok"] >= 0.98 * found["grown_issued"] > 1000


def test_the_same_seed_has_the_same_history() -> None:
    def run() -> list[Any]:
        lab = Lab(plan(24))
        lab.everyone_asks(20)
        lab.run_until(20)
        return [lab.tally.sent, lab.requests, lab.control_bytes()]

    assert run() == run()
