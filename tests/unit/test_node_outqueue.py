"""What waits for a peer stays within its bounds, and what is lost is the least worth and is counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from opus_node.outqueue import OutQueue, Queued


def item(name: str, *, droppable: bool = False, expires: float = 100.0, size: int = 10) -> Queued:
    return Queued(name.encode().ljust(size), expires, droppable, True)


def names(queue: OutQueue, now: float = 0.0) -> list[str]:
    return [each.envelope.decode().strip() for each in queue.take(now, 1000, 1 << 20)]


def test_a_full_queue_drops_the_oldest_droppable_first() -> None:
    queue = OutQueue(max_messages=3, max_bytes=1000)
    for each in (item("request"), item("ping 1", droppable=True), item("ping 2", droppable=True)):
        assert queue.put(each, 0.0)
    assert queue.put(item("reply"), 0.0)
    assert queue.dropped == 1
    assert names(queue) == ["request", "ping 2", "reply"]


def test_without_anything_droppable_the_newcomer_goes() -> None:
    queue = OutQueue(max_messages=2, max_bytes=1000)
    assert queue.put(item("a"), 0.0)
    assert queue.put(item("b"), 0.0)
    assert not queue.put(item("c"), 0.0)
    assert names(queue) == ["a", "b"]
    assert queue.dropped == 1


def test_the_bound_in_bytes_lets_one_of_any_size_in() -> None:
    queue = OutQueue(max_messages=10, max_bytes=100)
    assert queue.put(item("big", size=500), 0.0)
    assert not queue.put(item("small"), 0.0)
    assert names(queue) == ["big"]
    assert queue.bytes == 0


def test_what_has_expired_makes_room_and_is_never_given() -> None:
    queue = OutQueue(max_messages=2, max_bytes=1000)
    queue.put(item("old", expires=1.0), 0.0)
    queue.put(item("older", expires=1.0), 0.0)
    assert queue.put(item("new", expires=9.0), 2.0)
    assert names(queue, 2.0) == ["new"]
    assert (queue.expired, queue.dropped) == (2, 0)


def test_a_batch_keeps_within_its_limits_but_gives_at_least_one() -> None:
    queue = OutQueue(max_messages=10, max_bytes=10_000)
    for name, size in (("a", 900), ("b", 60), ("c", 60)):
        queue.put(item(name, size=size), 0.0)
    assert len(queue.take(0.0, 10, 100)) == 1
    assert len(queue.take(0.0, 10, 100)) == 1
    assert len(queue.take(0.0, 1, 1000)) == 1
    assert queue.take(0.0, 10, 100) == []


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 60), st.booleans()), max_size=80))
def test_whatever_comes_the_bounds_hold_and_everything_is_accounted_for(steps: list[tuple[bool, int, bool]]) -> None:
    queue = OutQueue(max_messages=5, max_bytes=150)
    given_out = 0
    for now, (droppable, size, take) in enumerate(steps):
        queue.put(item("x", droppable=droppable, expires=now + 4.0, size=size), float(now))
        assert len(queue) <= 5
        assert queue.bytes <= 150
        if take:
            given_out += len(queue.take(float(now), 2, 60))
    assert given_out + queue.dropped + queue.expired + queue.clear() == len(steps)
