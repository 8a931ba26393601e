"""One-hop's table, its intervals, and EDRA: each event comes to each node, and once."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest
from helpers.corenet import APP, CoreNet
from opus_node.baselines import core_of
from opus_node.baselines.ids import of_app, of_node
from opus_node.baselines.one_hop_table import Ideal, Table, levels, most_events, theta
from opus_node.core.messages import Ask, Told
from opus_node.core.types import MILLISECOND, ONE_HOP, SECOND, AppConfig, NodeConfig, NodeId
from opus_node.sizes import MAX_DATAGRAM, encoded_size

NAMES = [f"198.18.{k // 250}.{k % 250}" for k in range(2000)]


def table(*names: NodeId) -> Table:
    made = Table(names[0])
    for name in names:
        made.add(name, 0)
    return made


# The table


def test_of_two_lives_the_later_counts_and_of_one_its_end() -> None:
    made = table("a", "b")
    assert not made.add("b", 0)
    assert made.add("b", 2)
    assert not made.remove("b", 1, 0), "an end of an earlier life"
    assert made.remove("b", 2, 0)
    assert not made.remove("b", 2, 0)
    assert not made.add("b", 2)
    assert [node for _, node in made.ring] == ["a"]
    assert made.add("b", 3)
    assert made.lives == {"a": 0, "b": 3}


def test_an_end_heard_before_its_beginning_is_remembered() -> None:
    made = table("a")
    assert made.remove("x", 4, 0)
    assert not made.add("x", 4)
    assert made.add("x", 5)


def test_tables_are_equal_by_digest_if_they_hold_the_same_lives_in_whatever_order_they_came() -> None:
    one, other = table(*NAMES[:500]), table(*reversed(NAMES[:500]))
    sections = ["", "0", "7f", "f", "3a2"]
    assert [one.digest(name) for name in sections] == [other.digest(name) for name in sections]
    other.add(NAMES[7], 1)
    changed = [name for name in (f"{k:02x}" for k in range(256)) if one.digest(name) != other.digest(name)]
    assert changed == [f"{of_node(NAMES[7]):015x}"[:2]]
    assert one.digest("") != other.digest("")
    one.add(NAMES[7], 1)
    one.remove(NAMES[9], 0, 0)
    other.remove(NAMES[9], 0, 0)
    assert one.digest("") == other.digest("")


def test_sections_are_the_ring() -> None:
    made = table(*NAMES[:700])
    parts = [one for k in range(256) for one in made.section(f"{k:02x}")]
    assert parts == list(made.section("")) == made.ring
    assert sum(len(made.section(f"c{k:x}")) for k in range(16)) == len(made.section("c"))
    assert len({made.digest(f"{k:02x}") for k in range(256) if made.section(f"{k:02x}")}) > 200


def test_places_on_the_ring() -> None:
    made = table(*NAMES[:9])
    ring = [node for _, node in sorted((of_node(name), name) for name in NAMES[:9])]
    assert [made.after(ring[3], k) for k in (1, 2, 8, 9, -1)] == [ring[4], ring[5], ring[2], ring[3], ring[2]]
    gone = ring[4]
    made.remove(gone, 0, 0)
    assert made.after(gone, 1) == ring[5], "the successor of one that has gone"
    assert made.successors(of_node(gone), 2) == (ring[5], ring[6])


# D1HT's figures


def test_theta_is_the_papers() -> None:
    """For n = 10,000 and 174 minutes about 7 s; theta and the bound on events are two forms of one rule."""
    gnutella = 174 * 60 * SECOND
    assert theta(10_000, gnutella) / SECOND == pytest.approx(7.2, abs=0.1)
    assert theta(1_000_000, gnutella) / SECOND == pytest.approx(5.5, abs=0.1)
    assert theta(1000, 600 * SECOND) == SECOND, "no less"
    for n in (100, 10_000):
        session = theta(n, gnutella) / SECOND
        assert most_events(n) == pytest.approx(2 * n / (gnutella / SECOND) * session)
    assert [levels(n) for n in (2, 3, 4, 5, 1024, 1025)] == [1, 2, 2, 3, 10, 11]


@pytest.mark.parametrize("n", [100, 10_000, 100_000])
def test_with_whole_tables_every_way_is_one_hop_to_a_holder(n: int) -> None:
    names = NAMES[:n] if n <= len(NAMES) else [str(k) for k in range(n)]
    ring = sorted((of_node.__wrapped__(name), name) for name in names)
    rng = Random("ideal")
    for _ in range(50):
        me, key = rng.choice(names), of_app(f"app {rng.random()}")
        ideal = Ideal(me, ring, lambda one, other: hash_of(one, other))
        holders = Ideal("", ring).ways(key, 5)
        assert len(holders) == 5
        assert ideal.entries() == n - 1
        ways = ideal.ways(key, 5)
        if me in holders:
            assert ways == []
        else:
            assert sorted(ways) == sorted(holders)
            assert hash_of(me, ways[0]) == min(hash_of(me, one) for one in holders)


def hash_of(one: NodeId, other: NodeId) -> int:
    return of_node(f"{one} to {other}")


# EDRA


def settled(n: int, seconds: int = 40, upkeep: int = 0) -> CoreNet:
    config = NodeConfig(apps=(AppConfig(APP, 3),), protocol=ONE_HOP, upkeep=upkeep)
    made = CoreNet(lambda source, to: 10 * MILLISECOND, config, seeds=tuple(NAMES[:2]), make=core_of)
    for name in NAMES[:n]:
        made.boot(name)
        made.run_for(20 * MILLISECOND)
    made.run_for(seconds * SECOND)
    assert {len(ring(made, name)) for name in made.live()} == {n}
    return made


def ring(made: CoreNet, name: NodeId) -> list[NodeId]:
    return [node for _, node in made.cores[name]._overlay.table.ring]  # type: ignore[attr-defined]


def told_of(made: CoreNet, member: NodeId) -> Counter[NodeId]:
    """How often each node is sent an event about `member` from now on."""
    found: Counter[NodeId] = Counter()
    send = made._send

    def counted(source: NodeId, one: Any) -> None:
        if isinstance(one.message, Ask) and one.message.what == "m":
            found[one.to] += sum(update.member == member for update in one.message.updates)
        send(source, one)

    made._send = counted  # type: ignore[method-assign,assignment]
    return found


@pytest.mark.parametrize("n", [31, 32, 33, 50])
def test_an_event_comes_to_every_node_once(n: int) -> None:
    made = settled(n)
    gone = NAMES[n - 1]
    copies = told_of(made, gone)
    made.leave(gone)
    made.run_for(60 * SECOND)
    assert made.broken == []
    assert all(gone not in ring(made, name) for name in made.live())
    told = [copies[name] for name in made.live()]
    assert sum(count > 1 for count in told) == 0, "nobody twice"
    assert sum(count == 0 for count in told) <= 1, "all but its root"


@pytest.mark.parametrize("upkeep", [0, 3 * SECOND])
def test_a_silent_node_goes_from_all_tables(upkeep: int) -> None:
    made = settled(40, upkeep=upkeep)
    made.power_off(NAMES[20])
    made.run_for(60 * SECOND)
    assert [name for name in made.live() if NAMES[20] in ring(made, name)] == []
    made.boot(NAMES[20])
    made.run_for(30 * SECOND)
    assert {len(ring(made, name)) for name in made.live()} == {40}


def test_who_is_wrongly_held_for_dead_says_so() -> None:
    made = settled(20)
    victim = NAMES[11]
    made.cut([victim])
    made.run_for(40 * SECOND)
    assert [name for name in made.live() if name != victim and victim in ring(made, name)] == []
    made.heal()
    made.run_for(90 * SECOND)
    assert {len(ring(made, name)) for name in made.live()} == {20}


def test_a_lost_packet_buries_nobody() -> None:
    made = settled(20)
    copies = told_of(made, NAMES[5])
    made.cores[NAMES[3]]._overlay.silent(NAMES[5])  # type: ignore[attr-defined]
    made.run_for(40 * SECOND)
    assert copies.total() == 0
    assert NAMES[5] in ring(made, NAMES[3])


def test_a_late_joiner_takes_a_list_longer_than_a_packet() -> None:
    made = settled(130, seconds=20)
    longest = [0]
    send = made._send

    def measured(source: NodeId, one: Any) -> None:
        if isinstance(one.message, Told):
            longest[0] = max(longest[0], encoded_size(one.message))
        send(source, one)

    made._send = measured  # type: ignore[method-assign,assignment]
    made.boot(NAMES[130])
    made.run_for(SECOND)
    assert len(ring(made, NAMES[130])) == 131
    assert longest[0] > MAX_DATAGRAM
