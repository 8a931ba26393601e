"""Pastry's tables: the paper's own figures on converged ones, its rule of routing, and who holds a key."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import ceil, dist, log
from random import Random

import pytest
from opus_node.baselines.ids import DIGITS, SPACE, around, of_node, shared_digits
from opus_node.baselines.pastry_table import Ring, Table, ideal, ring_of

PLACES: dict[str, tuple[float, float]] = {}


def at(node: str) -> tuple[float, float]:
    """On the unit square, by the node's name."""
    if node not in PLACES:
        rng = Random(f"place/{node}")
        PLACES[node] = (rng.random(), rng.random())
    return PLACES[node]


def delay_from(node: str) -> Callable[[str], float]:
    return lambda other: dist(at(node), at(other))


def names(n: int) -> list[str]:
    return [f"n{k}" for k in range(n)]


def route(ring: Ring, tables: dict[str, Table], make: Callable[[str], Table], start: str, key: int) -> list[str]:
    """All nodes on the way, the start included."""
    path = [start]
    while len(path) < 50:
        node = path[-1]
        if node not in tables:
            tables[node] = make(node)
        ways = tables[node].ways(key, (), 1)
        if not ways:
            return path
        path.append(ways[0])
    raise AssertionError(f"a circle: {path}")


def routes(n: int, count: int, near: bool) -> tuple[list[list[str]], dict[str, Table], Ring]:
    ring, rng = ring_of(names(n)), Random(f"routes/{n}")
    tables: dict[str, Table] = {}

    def make(node: str) -> Table:
        return ideal(node, ring, Random(f"ideal/{node}"), delay_from(node) if near else None)

    return [route(ring, tables, make, f"n{rng.randrange(n)}", rng.randrange(SPACE)) for _ in range(count)], tables, ring


@pytest.mark.parametrize("n", [100, 1000, 10_000])
def test_fewer_hops_than_log16_n_on_average_and_none_above_its_ceiling(n: int) -> None:
    """Middleware 2001, section 3.1: the maximum is ceil(log16 n), the average slightly below log16 n (0.05: what chance does)."""
    paths, _, _ = routes(n, 400, near=False)
    hops = [len(path) - 1 for path in paths]
    assert log(n, 16) - 0.5 < sum(hops) / len(hops) < log(n, 16) + 0.05
    assert sum(h > ceil(log(n, 16)) for h in hops) <= 0.02 * len(hops)


def test_about_75_entries_in_the_routing_table_of_one_of_a_million() -> None:
    """The paper counts (2^b - 1) log16 n, which is 75: the routing table alone, all rows full. The last rows are not."""
    ring = ring_of(names(1_000_000))
    tables = [ideal(f"n{k}", ring, Random(k)) for k in range(0, 1_000_000, 50_000)]
    entries = [table.routing_entries() for table in tables]
    assert 15 * log(1_000_000, 16) == pytest.approx(75, abs=0.5)
    assert 0.9 * 75 < sum(entries) / len(entries) < 1.05 * 75
    for table in tables:
        assert len(table.leaves()) == len(table.near) == 16
        assert table.entries() == table.routing_entries() + 32


def test_a_message_goes_little_farther_than_as_the_crow_flies() -> None:
    """Section 3.2: with tables that prefer who is near, 30 to 40% farther; without, a multiple (each hop goes anywhere)."""

    def stretch(near: bool) -> float:
        paths, _, _ = routes(3000, 150, near)
        went = sum(dist(at(a), at(b)) for path in paths for a, b in pairwise(path))
        return went / sum(dist(at(path[0]), at(path[-1])) for path in paths)

    assert stretch(near=True) < 1.7
    assert stretch(near=False) > 1.4 * stretch(near=True)


def test_every_route_ends_at_the_numerically_closest() -> None:
    paths, _, ring = routes(3000, 100, near=False)
    rng = Random("routes/3000")  # the same keys once more
    for path in paths:
        rng.randrange(3000)
        key = rng.randrange(SPACE)
        assert path[-1] == min((around(key, of), node) for of, node in ring)[1]
        for before, after in pairwise(path):
            alike = [shared_digits(of_node(node), key) for node in (before, after)]
            assert alike[1] > alike[0] or around(of_node(after), key) < around(of_node(before), key)


def test_holders_are_the_m_closest_or_unknown() -> None:
    ring = ring_of(names(200))
    tables = {node: ideal(node, ring, Random(node)) for _, node in ring}
    rng = Random("holders")
    for _ in range(20):
        key = rng.randrange(SPACE)
        closest = tuple(node for _, node in sorted((around(key, of), node) for of, node in ring)[:5])
        told = {node: table.holders(key, 5) for node, table in tables.items()}
        assert set(told.values()) == {closest, ()}
        assert all(told[node] == closest for node in closest)


def test_a_small_ring_is_known_as_a_whole() -> None:
    ring = ring_of(names(6))
    table = ideal("n0", ring, Random(0))
    assert table.whole
    assert table.entries() == 5 + table.routing_entries() + len(table.near)
    assert set(table.holders(7, 10)) == set(names(6))
    assert Table("alone").holders(7, 3) == ("alone",)
    assert Table("alone").ways(7, (), 3) == []


def test_the_leaf_set_keeps_the_nearest_on_each_side_in_any_order_of_coming() -> None:
    ring = ring_of(names(100))
    exact = ideal("n0", ring, Random(0))
    others = names(100)[1:]
    Random("shuffled").shuffle(others)
    table = Table("n0")
    assert set(table.wanted_leaves(others)) == set(exact.leaves())
    for node in others:
        table.add_leaf(node)
    assert (table.before, table.after) == (exact.before, exact.after)


def test_who_is_removed_is_in_no_table_and_on_no_way() -> None:
    ring = ring_of(names(300))
    table = ideal("n0", ring, Random(0))
    for key in range(0, SPACE, SPACE // 40):
        for node in table.ways(key, (), 2):
            table.remove(node)
            assert not table.has(node)
            assert node not in table.nodes()
            assert node not in table.ways(key, (), 100)
            assert node not in table.holders(key, 3)


def test_a_side_of_which_all_have_died_makes_no_node_know_everybody() -> None:
    ring = ring_of(names(300))
    for side, there in (("before", -1), ("after", 1)):
        table = ideal("n0", ring, Random(0))
        for node in [node for _, node in getattr(table, side)]:
            table.remove(node)
        assert not getattr(table, side)
        assert not table.whole
        for key in range(0, SPACE, SPACE // 40):
            assert set(table.ways(key, (), 300)) <= set(table.nodes())
        assert table.holders((table.at + there) % SPACE, 3) == ()


def test_alternatives_come_after_the_slot_and_all_lead_nearer() -> None:
    table = ideal("n0", ring_of(names(2000)), Random(0))
    rng = Random("ways")
    for _ in range(50):
        key = rng.randrange(SPACE)
        shared, mine = shared_digits(table.at, key), around(table.at, key)
        ways = table.ways(key, (), 8)
        assert len(ways) == len(set(ways))
        for node in ways:
            alike = shared_digits(of_node(node), key)
            assert alike > shared or around(of_node(node), key) < mine
        if ways:
            assert table.ways(key, ways[:1], 7) == ways[1:]


def test_a_row_holds_who_shares_so_many_digits() -> None:
    table = ideal("n0", ring_of(names(5000)), Random(0))
    assert len(table.rows) == DIGITS
    for row, entries in enumerate(table.rows):
        for node in entries.values():
            assert shared_digits(table.at, of_node(node)) == row
    assert len(table.rows[0]) == len(table.rows[1]) == 15
