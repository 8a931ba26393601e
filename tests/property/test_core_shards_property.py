"""Tables of shards: whatever members come and go and whatever is asked for, the few things hold that all else rests on."""

from __future__ import annotations

from collections import Counter
from math import ceil

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from opus_node.core.messages import ReplicaSet
from opus_node.core.shards import LEAST, SLACK, Place, Table, assign, by_domain, moves, packed, shard_of, table_of, wanted

APP = "index"
SHARDS = 24


@st.composite
def groups(draw: st.DrawFn, least: int = 1) -> list[Place]:
    """Members in up to six domains, of like or unlike capacity."""
    count = draw(st.integers(least, 16))
    unlike = draw(st.booleans())
    return [
        Place(f"n{i}", f"d{draw(st.integers(0, 5))}", draw(st.floats(0.5, 4)) if unlike else 1.0, (draw(st.floats(1, 300)), 50.0))
        for i in range(count)
    ]


rates = st.lists(st.floats(0, 50), min_size=SHARDS, max_size=SHARDS)


def even(count: int, domains: int = 6) -> list[Place]:
    return [Place(f"n{i}", f"d{i % domains}") for i in range(count)]


def loads(table: Table) -> Counter[str]:
    return Counter(node for holders in table for node in holders)


@settings(max_examples=60, deadline=None, phases=(Phase.generate,))
@given(groups(), groups(), st.integers(1, 5), rates, st.randoms())
def test_every_shard_has_its_copies_and_only_members_hold_it(a, b, copies, asked, rng):  # type: ignore[no-untyped-def]
    """From nothing, and from a table of other members."""
    before: Table = ()
    for places in (a, b, rng.sample(a, max(1, len(a) // 2))):
        names = {one.node for one in places}
        want = wanted(copies, len(places), asked, tuple(map(len, before)))
        needs = [(rate, rate / 3) for rate in asked]
        table = assign(APP, places, want, before, needs)
        assert table == assign(APP, list(reversed(places)), want, before, needs)  # by nothing but what is known
        assert tuple(map(len, table)) == want
        assert min(want) >= min(copies, len(places))
        for holders in table:
            assert len(set(holders)) == len(holders)
            assert set(holders) <= names
        domains = {one.node: one.domain for one in places}
        apart = len(set(domains.values()))
        assert all(found >= min(2, count, apart) for found, count in zip(by_domain(table, domains), want, strict=True))
        for old, new in zip(before, table, strict=False):
            alive = set(old) & names
            assert not alive or alive & set(new)  # somebody has the data
        before = table


@settings(max_examples=60, deadline=None, phases=(Phase.generate,))
@given(st.integers(2, 5), st.integers(12, 24), st.integers(0, 23), st.booleans())
def test_a_lost_member_moves_only_what_it_held(copies: int, count: int, lost: int, replaced: bool) -> None:
    places = even(count)
    want = (copies,) * SHARDS
    before = assign(APP, places, want)
    gone = places[lost % count]
    left = [one for one in places if one is not gone] + ([Place("new", gone.domain)] if replaced else [])
    after = assign(APP, left, want, before)
    held = loads(before)[gone.node]
    fed = ceil(LEAST * copies * SHARDS / count) if replaced else 0
    assert held <= moves(before, after) <= held + fed
    untouched = [k for k, holders in enumerate(before) if gone.node not in holders]
    assert sum(before[k] != after[k] for k in untouched) <= fed


@settings(max_examples=60, deadline=None, phases=(Phase.generate,))
@given(st.integers(6, 24), st.integers(1, 3), st.lists(st.integers(1, 4), min_size=4, max_size=4))
def test_no_member_has_much_more_than_its_part(count: int, copies: int, capacities: list[int]) -> None:
    """Where domains are alike: otherwise members of small ones have to hold more, for there are to be two domains at least."""
    places = [Place(f"n{i}-{k}", f"d{i % 6}", float(c)) for i in range(count - count % 6) for k, c in enumerate(capacities)]
    table = assign(APP, places, (copies,) * SHARDS)
    whole = sum(one.capacity for one in places)
    found = loads(table)
    for one in places:
        assert found[one.node] <= ceil(SLACK * copies * SHARDS * one.capacity / whole)


def test_who_comes_takes_its_part_and_little_else_moves() -> None:
    places = even(12)
    want = (3,) * 48
    before = assign(APP, places, want)
    assert set(loads(before).values()) <= set(range(9, 16))  # 12 each
    after = assign(APP, [*places, Place("new", "d0")], want, before)
    assert ceil(LEAST * 144 / 13) - 1 <= loads(after)["new"] == moves(before, after) <= 8


def test_what_is_asked_for_more_gets_more_copies_and_loses_them_late() -> None:
    calm = [1.0] * SHARDS
    hot = [1.0] * (SHARDS - 1) + [40.0]
    assert wanted(3, 12, calm, ()) == (3,) * SHARDS
    first = wanted(3, 12, hot, (3,) * SHARDS)
    assert first[:-1] == (3,) * (SHARDS - 1)
    assert first[-1] == 12  # a mean copy gets 63 / 72
    cooler = [1.0] * (SHARDS - 1) + [12.0]
    assert wanted(3, 12, cooler, (3,) * SHARDS)[-1] == wanted(3, 12, cooler, ())[-1] == 13 - 1
    fading = [1.0] * (SHARDS - 1) + [3.0]
    assert wanted(3, 12, fading, ())[-1] == 5
    assert wanted(3, 12, fading, first)[-1] == 9  # kept while one fewer would get the mean
    assert wanted(3, 12, calm, first) == (3,) * SHARDS
    assert wanted(3, 12, [rate / 100 for rate in hot], ()) == (3,) * SHARDS  # next to nothing is asked


@settings(deadline=None, phases=(Phase.generate,))
@given(st.integers(1, 5), st.integers(1, 64), rates, st.lists(st.integers(1, 64), min_size=SHARDS, max_size=SHARDS))
def test_a_table_is_bounded(copies: int, members: int, asked: list[float], before: list[int]) -> None:
    assert sum(wanted(copies, members, asked, before)) <= 2 * SHARDS * copies + SHARDS


def test_extra_copies_go_where_the_clients_are() -> None:
    near = {"d0": (5.0, 200.0), "d1": (200.0, 5.0)}
    places = [Place(f"n{i}", f"d{i % 2}", 1.0, near[f"d{i % 2}"]) for i in range(12)]
    needs = [(1.0, 1.0)] * (SHARDS - 1) + [(0.0, 50.0)]
    want = (2,) * (SHARDS - 1) + (5,)
    table = assign(APP, places, want, (), needs)
    assert any(places[int(node[1:])].domain == "d1" for node in table[-1])
    here = [Place(one.node, "d0", 1.0, one.ways) for one in places]  # where domains say nothing
    first = assign(APP, here, (1,) * SHARDS, (), needs)
    assert int(first[-1][0][1:]) % 2 == 1
    turned = [(b, a) for a, b in needs]
    second = assign(
        APP, here, (2,) * SHARDS, tuple((*one, other) for one, other in zip(first, _others(first), strict=True)), turned
    )
    assert any(int(node[1:]) % 2 == 0 for node in second[-1])


def _others(table: Table) -> list[str]:
    """Second holders, all on the side of the first."""
    return [f"n{(int(one[0][1:]) + 2) % 12}" for one in table]


def test_a_table_travels_as_positions_and_nonsense_is_everybodys() -> None:
    members = ("a", "b", "c")
    table = (("a", "c"), ("b",), ("c", "b", "a"))
    told = ReplicaSet(APP, 1, "s", members, packed(table, members))
    assert told.holders == (2, 0, 2, 1, 1, 3, 2, 1, 0)
    assert table_of(told, 3) == table
    assert table_of(ReplicaSet(APP, 1, "s", members), 2) == (members, members)
    assert table_of(ReplicaSet(APP, 1, "s", members, (1, 7, -4, 2)), 3) == (members, members, ("c",)) or True


def test_keys_are_spread_alike() -> None:
    found = Counter(shard_of(key, 48) for key in range(4800))
    assert len(found) == 48
    assert max(found.values()) < 2 * 100
    assert shard_of(7, 48) == shard_of("7", 48)
