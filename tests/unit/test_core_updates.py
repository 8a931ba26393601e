"""Streams of updates: in order, each at most once, whatever comes when."""

from __future__ import annotations

from random import Random

import pytest
from opus_node.core.messages import Mark, Update
from opus_node.core.updates import FORGET, KEPT, KEPT_BYTES, NEWCOMER, STREAMS, Taken, Updates


def member(*members: str, joined_at: int = 0) -> Updates:
    updates = Updates("web")
    updates.join(joined_at)
    updates.of(members, joined_at)
    return updates


def published(count: int, life: int = 0, content: bytes = b"x") -> tuple[Updates, list[Update]]:
    source = member("s")
    return source, [source.publish("s", life, content) for _ in range(count)]


def test_in_order_each_once_and_gaps_are_told() -> None:
    _, (one, two, three) = published(3)
    mine = member("s", "me")
    assert mine.take(two, 0) is Taken.GAP
    assert mine.take(one, 0) is Taken.NEXT
    assert mine.take(one, 0) is Taken.OLD
    assert mine.take(three, 0) is Taken.GAP
    assert mine.take(two, 0) is Taken.NEXT
    assert mine.take(three, 0) is Taken.NEXT
    assert mine.mark("s") == Mark("s", 0, 3)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_order_with_duplicates(seed: int) -> None:
    _, updates = published(10)
    rng = Random(seed)
    mine = member("s", "me")
    delivered: list[int] = []
    while len(delivered) < 10:
        one = rng.choice(updates)
        if mine.take(one, 0) is Taken.NEXT:
            delivered.append(one.version)
    assert delivered == list(range(1, 11))


def test_a_new_life_begins_anew_and_the_old_one_is_over() -> None:
    _, old = published(3, life=1)
    _, new = published(2, life=2)
    mine = member("s", "me")
    assert [mine.take(one, 0) for one in old[:2]] == [Taken.NEXT, Taken.NEXT]
    assert mine.take(new[1], 0) is Taken.GAP
    assert mine.take(new[0], 0) is Taken.NEXT
    assert mine.take(old[2], 0) is Taken.OLD
    assert mine.take(new[1], 0) is Taken.NEXT


def test_who_lacks_more_than_is_kept_goes_on_behind_the_gap() -> None:
    source, _ = published(KEPT + 10)
    mine = member("s", "me")
    sent = source.since(mine.mark("s"), 16)
    assert [one.version for one in sent] == list(range(11, 27))
    assert all(mine.take(one, 0) is Taken.NEXT for one in sent)
    more = source.since(mine.mark("s"), 16)
    assert more[0].version == 27
    assert more[0].after == 26


def test_what_is_kept_is_bounded_by_bytes_too() -> None:
    source, _ = published(10, content=bytes(KEPT_BYTES // 2))
    assert len(source.streams["s"].kept) == 2
    source, _ = published(3, content=bytes(2 * KEPT_BYTES))
    assert [one.version for one in source.streams["s"].kept] == [3], "always the last one"


def test_lacking_and_ahead_are_each_others_mirror() -> None:
    source, updates = published(4)
    mine = member("s", "me")
    for one in updates[:2]:
        mine.take(one, 0)
    assert mine.lacking(source.marks(0), 0) == [Mark("s", 0, 4)]
    assert source.ahead(mine.marks(0), 0) == (Mark("s", 0, 4),)
    assert source.lacking(mine.marks(0), 0) == []
    assert mine.ahead(source.marks(0), 0) == ()
    assert mine.digest(0) != source.digest(0)
    for one in updates[2:]:
        mine.take(one, 0)
    assert mine.digest(0) == source.digest(0)


def test_who_has_left_is_told_of_for_a_while_and_then_forgotten_for_good() -> None:
    _, (one, two) = published(2)
    mine, newcomer = member("s", "me"), member("me", "new", joined_at=NEWCOMER // 2)
    mine.take(one, 0)
    mine.of(("me", "new"), 0)
    assert mine.marks(NEWCOMER // 2) == (Mark("s", 0, 1),)
    assert newcomer.take(one, NEWCOMER) is Taken.NEXT, "a newcomer may hear of those who left before it came"
    assert mine.marks(2 * NEWCOMER) == ()
    assert mine.take(two, 2 * NEWCOMER) is Taken.NEXT, "its last words may still come"
    mine.of(("me", "new"), FORGET + 1)
    assert not mine.streams["s"].kept
    assert mine.take(one, FORGET + 1) is Taken.OLD, "not delivered a second time"


def test_a_source_that_returns_is_a_source_again() -> None:
    _, (one, two) = published(2)
    mine = member("s", "me")
    mine.take(one, 0)
    mine.of(("me",), 1)
    mine.of(("me", "s"), 2 * FORGET)
    assert mine.take(one, 2 * FORGET) is Taken.OLD
    assert mine.take(two, 2 * FORGET) is Taken.NEXT


def test_memory_of_those_who_left_is_bounded() -> None:
    mine = member("me")
    for number in range(STREAMS + 10):
        mine.of(("me", f"s{number}"), number)
    mine.of(("me",), STREAMS + 10)
    assert len(mine.streams) == STREAMS + 1
    assert "s0" not in mine.streams
