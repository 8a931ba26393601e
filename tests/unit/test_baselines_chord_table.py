"""Chord's tables, converged: whom they know, and the paper's figures for hops, state and simultaneous failures."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from math import log2
from random import Random
from statistics import mean

import pytest
from opus_node.baselines.chord_table import Ideal, Table
from opus_node.baselines.ids import BITS, around, of_node
from opus_node.core.types import Nanos, NodeId


def names(n: int) -> list[NodeId]:
    return [f"host-{k}" for k in range(n)]


@lru_cache
def paper(n: int) -> Ideal:
    """As in the paper's simulations: 20 successors (2 log2 1000), nobody but the predecessor before."""
    return Ideal(names(n), successors=20, predecessors=1)


def hops(ideal: Ideal, n: int, looks: int, copies: int = 1) -> float:
    rng = Random(f"{n}/look-ups")
    nodes = names(n)
    return mean(len(ideal.route(rng.choice(nodes), rng.getrandbits(BITS), copies)[0]) for _ in range(looks))


def test_whoever_can_tell_the_holders_of_a_key_tells_the_same() -> None:
    nodes = names(60)
    ring = sorted(nodes, key=of_node)
    ideal = Ideal(nodes)
    rng = Random("keys")
    for _ in range(50):
        key = rng.getrandbits(BITS)
        place = next((k for k, node in enumerate(ring) if of_node(node) >= key), 0)
        expected = tuple(ring[(place + k) % 60] for k in range(5))
        told = {node: ideal.table(node).holders(key, 5) for node in ring}
        assert {one for one in told.values() if one} == {expected}
        assert all(told[node] for node in expected), "each holder knows that it is one"


def test_a_small_ring_is_known_in_full_and_a_lone_node_is_one() -> None:
    ideal = Ideal(names(4))
    for node in names(4):
        assert sorted(ideal.table(node).holders(7, 9)) == names(4)
        assert not ideal.table(node).fingers
    assert Table("alone", 16, 8).holders(7, 3) == ("alone",)


def test_ways_lie_between_here_and_the_key_the_closest_first() -> None:
    table = paper(1000).table("host-1")
    key = of_node("host-2")
    ways = table.ways(key, (), 50)
    left = [(key - of_node(node)) % (1 << BITS) for node in ways]
    assert len(ways) > 5
    assert left == sorted(left)
    assert all(0 < one < (key - of_node("host-1")) % (1 << BITS) for one in left)
    assert table.ways(key, ways[:2], 50) == ways[2:]


def test_a_thousand_nodes_need_as_many_hops_as_the_paper_says() -> None:
    assert hops(paper(1000), 1000, 600) == pytest.approx(3.84, abs=0.2)


def test_hops_grow_by_half_a_hop_and_entries_by_one_with_each_doubling() -> None:
    sizes = (128, 1024, 8192, 65536)
    rows = [(Ideal(names(n), successors=1, predecessors=1), n) for n in sizes]
    found = [hops(ideal, n, 300) for ideal, n in rows]
    for n, one in zip(sizes, found, strict=True):
        assert one == pytest.approx(log2(n) / 2 + 1, abs=0.5), "half of log2 n to the key's predecessor, and one to its owner"
    state = [mean(ideal.table(node).entries() for node in names(60)) for ideal, _ in rows]
    for (few, many), (smaller, larger) in zip(pairwise(state), pairwise(sizes), strict=True):
        assert many - few == pytest.approx(log2(larger / smaller), abs=0.6)


@pytest.mark.parametrize(("share", "path", "silences"), [(0.2, 4.22, 1.17), (0.5, 5.09, 5.10)])
def test_half_may_fail_at_once_and_every_key_is_still_found(share: float, path: float, silences: float) -> None:
    """Table II of the ToN paper: 1,000 nodes, 20 successors, nobody has noticed yet."""
    rng = Random(f"{share}/failures")
    nodes = names(1000)
    dead = frozenset(rng.sample(nodes, int(share * 1000)))
    alive = [node for node in nodes if node not in dead]
    left = Ideal(alive)
    lengths, tried = [], []
    for _ in range(400):
        start, key = rng.choice(alive), rng.getrandbits(BITS)
        route, silent = paper(1000).route(start, key, 1, dead)
        assert (route or [start])[-1] == left.owner(key)
        lengths.append(len(route))
        tried.append(silent)
    assert mean(lengths) == pytest.approx(path, rel=0.1)
    assert mean(tried) == pytest.approx(silences, rel=0.35)


def test_near_fingers_cost_no_hops_and_save_most_of_the_delay() -> None:
    """PNS(16) on a circle of hosts: a hop's mean delay is far below that to any node."""

    def delay(one: NodeId, other: NodeId) -> Nanos:
        return around(of_node(f"{one} stands"), of_node(f"{other} stands"))

    nodes = names(2000)
    plain, near = Ideal(nodes), Ideal(nodes, delay=delay)
    assert hops(near, 2000, 300) == pytest.approx(hops(plain, 2000, 300), abs=0.3)
    some = [(node, finger) for node in nodes[:50] for finger in near.table(node).fingers.values()]
    assert mean(delay(*pair) for pair in some) < (1 << BITS) / 4 / 4, "a quarter of the mean of all pairs"
