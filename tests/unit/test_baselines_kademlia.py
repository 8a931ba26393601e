"""Kademlia's table and searches at rest, against the paper's figures; no messages."""

from __future__ import annotations

from functools import lru_cache
from math import log2
from random import Random
from statistics import fmean

import pytest
from opus_node.baselines.ids import BITS, of_node
from opus_node.baselines.kademlia_lookup import ANSWERED, ASKED, SILENT, SLOW, Shortlist, walk
from opus_node.baselines.kademlia_table import SPARES, Table, ideal
from opus_node.core.types import MILLISECOND


@lru_cache(maxsize=2)
def ring(n: int) -> list[tuple[int, str]]:
    return sorted((of_node(f"n{i}"), f"n{i}") for i in range(n))


def nearest(n: int, key: int, count: int) -> list[str]:
    return [node for _, node in sorted(ring(n), key=lambda one: one[0] ^ key)[:count]]


def filled(me: str, nodes: list[str], k: int = 20) -> Table:
    table = Table(me, k)
    for at, node in enumerate(nodes):
        table.add(node, at)
    return table


def test_the_nearest_come_in_the_order_of_exclusive_or_whatever_the_key() -> None:
    table, rng = filled("n0", [f"n{i}" for i in range(1, 200)]), Random("keys")
    known = [node for bucket in table.buckets for node in bucket]
    for key in [table.identifier, *(rng.getrandbits(BITS) for _ in range(50))]:
        ordered = sorted(known, key=lambda node: of_node(node) ^ key)
        assert table.closest(key, 7) == ordered[:7]
        assert table.closest(key, 7, ordered[:3]) == ordered[3:10]
        assert table.ways(key, (), 1000) == [node for node in ordered if of_node(node) ^ key < table.identifier ^ key]


def test_a_full_bucket_keeps_who_is_in_it_and_remembers_a_few_others() -> None:
    table = filled("n0", [f"n{i}" for i in range(1, 400)], k=4)
    came = [f"n{i}" for i in range(1, 400) if table.place(of_node(f"n{i}")) == 0]
    assert list(table.buckets[0]) == came[: len(table.buckets[0])]
    assert 4 <= len(table.buckets[0]) < 12  # whole at first, while it knew fewer
    assert max(map(len, table.spares.values())) == SPARES
    oldest = next(iter(table.buckets[0]))
    assert table.seen(oldest, 1000)
    assert list(table.buckets[0])[-1] == oldest
    assert table.buckets[0][oldest].seen_at == 1000
    before = table.entries()
    assert table.remove(oldest)
    assert not table.remove(oldest)
    assert table.entries() == before - 1
    assert table.contact(oldest) is None


def test_those_near_are_all_kept_and_the_whole_part_grows_when_they_die() -> None:
    table = filled("n0", [f"n{i}" for i in range(1, 1000)])
    kept = set(table.near())
    low = BITS - table.depth
    assert kept == {node for _, node in ring(1000) if of_node(node) >> low == table.identifier >> low} - {"n0"}
    assert len(kept) >= 20
    depth = table.depth
    for node in table.near()[:-19]:
        table.remove(node)
    assert table.depth < depth


def test_nobody_tells_holders_before_it_has_looked_for_its_neighbours() -> None:
    table = Table("n0", 20)
    assert table.holders(of_node("key"), 3) == []
    table.joined = True
    assert table.holders(of_node("key"), 3) == ["n0"]


@pytest.mark.parametrize("n", [30, 400])
@pytest.mark.parametrize("m", [3, 10, 20])
def test_every_holder_can_tell_all_of_them_and_nobody_tells_others(n: int, m: int) -> None:
    rng = Random("holders")
    tables = {node: ideal(node, ring(n), 20, rng) for _, node in ring(n)}
    for _ in range(30):
        key = rng.getrandbits(BITS)
        true = nearest(n, key, m)
        told = {node: table.holders(key, m) for node, table in tables.items()}
        assert all(told[node] == true for node in true)
        assert all(found in ([], true) for found in told.values())


@pytest.mark.parametrize("n", [100, 5000, 50_000])
def test_hops_and_state_are_the_papers_at_any_size(n: int) -> None:
    """With one node a bucket a search resolves a bit that differs and, by chance, half of the time the next: half of log2 n hops.
    With 20 a hop resolves 1 + log2 20 bits, until the whole part of a table is reached. State: k for each of log2(n / k) buckets,
    and between k and about 2 k nearby."""
    for k, low, high in ((1, 0.35 * log2(n), 0.6 * log2(n)), (20, 0.5 * log2(n / 20) / 5.3, 0.7 + log2(n / 20) / 5.3)):
        rng = Random(f"{n}/{k}")
        tables: dict[str, Table] = {}

        def table_of(node: str, k: int = k, rng: Random = rng, tables: dict[str, Table] = tables) -> Table:
            return tables.get(node) or tables.setdefault(node, ideal(node, ring(n), k, rng))

        hops, state = [], []
        for _ in range(20):
            start, key = table_of(rng.choice(ring(n))[1]), rng.getrandbits(BITS)
            found, depth, asked = walk(start, key, 1, table_of)
            assert found == [min(ring(n), key=lambda one: one[0] ^ key)[1]]
            assert asked <= 3 * (depth + 1)
            hops.append(depth)
            state.append(start.entries())
        assert low < fmean(hops) < high
        assert k * log2(n / k) < fmean(state) < k * (log2(n / k) + 3)


def test_with_proximity_full_buckets_hold_the_nearest() -> None:
    def delay(node: str) -> int:
        return (int(node[1:]) % 100) * MILLISECOND

    by_chance, chosen = (ideal("n0", ring(5000), 20, Random("near"), one) for one in (None, delay))
    first = [fmean(map(delay, table.buckets[0])) for table in (by_chance, chosen)]
    assert first[1] < first[0] / 4
    assert list(chosen.buckets[chosen.depth]) == list(by_chance.buckets[by_chance.depth])


def test_a_search_passes_over_who_is_slow_and_waits_for_it_only_if_nobody_answers() -> None:
    shortlist = Shortlist(of_node("key"), 2)
    shortlist.add(["a", "b", "c"], 1)
    ordered = sorted("abc", key=lambda node: of_node(node) ^ of_node("key"))
    assert shortlist.next() == ordered[0]
    shortlist.states[ordered[0]] = shortlist.states[ordered[1]] = ASKED
    assert shortlist.next() is None
    assert not shortlist.over()
    shortlist.states[ordered[0]] = SLOW
    assert shortlist.next() == ordered[2]
    shortlist.states[ordered[1]] = shortlist.states[ordered[2]] = SILENT
    assert shortlist.next() is None
    assert not shortlist.over()
    shortlist.states[ordered[0]] = ANSWERED
    assert shortlist.over()
    assert shortlist.answered(5) == (ordered[0],)


def test_a_search_that_knows_nobody_is_over_at_once() -> None:
    shortlist = Shortlist(of_node("key"), 2)
    assert shortlist.next() is None
    assert shortlist.over()
    assert shortlist.answered(3) == ()


def test_of_those_near_enough_to_the_key_the_least_delay_is_asked_first() -> None:
    delays = {"a": 30, "b": 10, "c": 20}
    shortlist = Shortlist(of_node("key"), 3, 1 << BITS, delays.__getitem__)
    shortlist.add("abc", 1)
    assert shortlist.next() == "b"
