"""The judge of histories, on histories known to be right and known to be wrong."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opus_controller.engine.linearizable import Operation, check, check_register


def write(value: str, called: int, returned: int | None, client: str = "a", key: str = "k") -> Operation:
    return Operation(client, key, "write", value, called, returned)


def read(value: str | None, called: int, returned: int | None, client: str = "b", key: str = "k") -> Operation:
    return Operation(client, key, "read", value, called, returned)


RIGHT = {
    "nothing": [],
    "one after the other": [write("1", 0, 1), read("1", 2, 3)],
    "nobody has written": [read(None, 0, 1)],
    "a read during the write sees either": [write("1", 0, 10), read(None, 1, 2), read("1", 3, 4)],
    "overlapping writes in either order": [write("1", 0, 10), write("2", 0, 10, "c"), read("1", 11, 12), read("1", 13, 14)],
    "the same moment": [write("1", 0, 5), read("1", 5, 5)],
    "never heard of, and it happened": [write("1", 0, None), read("1", 50, 51)],
    "never heard of, and it did not": [write("1", 0, None), read(None, 50, 51), read(None, 60, 61)],
    "never heard of, and it happened late": [write("1", 0, None), write("2", 1, 2, "c"), read("2", 3, 4), read("1", 5, 6)],
    "a read of which nobody heard": [write("1", 0, 1), read("7", 2, None)],
    "written twice alike": [write("1", 0, 1), write("2", 2, 3), write("1", 4, 5), read("1", 6, 7)],
}

WRONG = {
    "stale": [write("1", 0, 1), write("2", 2, 3), read("1", 4, 5)],
    "lost": [write("1", 0, 1), read(None, 2, 3)],
    "never written": [write("1", 0, 1), read("2", 2, 3)],
    "back in time": [write("1", 0, 10), read("1", 1, 2), read(None, 3, 4)],
    "two readers disagree on the order": [
        write("1", 0, 10), write("2", 0, 10, "c"),
        read("1", 11, 12), read("2", 13, 14),
    ],
    "from the future": [read("1", 0, 1), write("1", 2, 3)],
    "not heard of, then there, then gone": [write("1", 0, None), read("1", 5, 6), read(None, 7, 8)],
    "applied a second time": [write("1", 0, 1), write("2", 2, 3, "c"), read("2", 4, 5), read("1", 6, 7)],
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_what_could_have_been_is_linearizable(name: str) -> None:
    assert check(RIGHT[name]).found == "linearizable"


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_have_been_is_violated_and_says_where(name: str) -> None:
    verdict = check(WRONG[name])
    assert verdict.found == "violated"
    assert verdict.key == "k"
    assert len(verdict.explained) < len(WRONG[name])
    assert not set(verdict.stuck_at) & set(verdict.explained)


def test_keys_are_apart() -> None:
    right, wrong = RIGHT["one after the other"], WRONG["stale"]
    moved = [Operation(one.client, "other", one.kind, one.value, one.called_at, one.returned_at) for one in wrong]
    assert check([*right, *moved]).key == "other"
    assert check([*right, *moved]).found == "violated"


def test_what_takes_too_long_is_not_a_pass() -> None:
    many = [write(str(i), 0, 100, f"c{i}") for i in range(40)]
    impossible = [*many, read("never", 101, 102)]
    assert check_register(impossible, steps=1000).found == "unknown"
    violated = [Operation("a", "z", one.kind, one.value, one.called_at, one.returned_at) for one in WRONG["stale"]]
    verdict = check([*impossible, *violated], steps=1000)
    assert (verdict.found, verdict.key) == ("violated", "z")


def test_an_answer_before_the_question_is_refused() -> None:
    with pytest.raises(ValueError, match="returned before"):
        check([write("1", 5, 4)])


@st.composite
def histories(draw: st.DrawFn) -> list[Operation]:
    """Six operations at most, few values and moments, so that chance makes right and wrong ones."""
    found = []
    for i in range(draw(st.integers(0, 6))):
        called = draw(st.integers(0, 6))
        returned = draw(st.one_of(st.none(), st.integers(called, 8)))
        kind = draw(st.sampled_from(["read", "write"]))
        value = draw(st.sampled_from(["1", "2"] if kind == "write" else [None, "1", "2"]))
        found.append(Operation(f"c{i}", "k", kind, value, called, returned))  # type: ignore[arg-type]
    return found


@given(histories())
@settings(max_examples=400, deadline=None)
def test_it_says_what_trying_every_order_says(history: list[Operation]) -> None:
    assert (check(history).found == "linearizable") == _by_trying(history)


@given(histories(), st.lists(st.integers(0, 3), min_size=6, max_size=6))
@settings(max_examples=400, deadline=None)
def test_what_versions_are_told_changes_no_verdict(history: list[Operation], versions: list[int]) -> None:
    """They may be wrong, or miss: whoever is judged has told them."""
    told = [replace(one, version=(at, "w") if at else None) for one, at in zip(history, versions, strict=False)]
    assert check(told).found == check(history).found


def test_versions_that_hold_need_no_search() -> None:
    """Forty writes at once, of which the search does not find the order in time."""
    rng = Random(3)
    writes = [replace(write(f"v{i}", 0, 100, f"c{i}"), version=(i, "")) for i in range(1, 41)]
    reads = [replace(read(f"v{i}", 0, 101 + i, f"d{i}"), version=(i, "")) for i in range(1, 41)]
    history = writes + reads
    rng.shuffle(history)
    assert check_register(history, steps=0).found == "linearizable"
    late = [replace(one, called_at=200, returned_at=300) if one.value == "v7" and one.kind == "read" else one for one in history]
    assert check_register([*late, replace(read("v8", 150, 151), version=(8, ""))], steps=0).found == "unknown"


def _by_trying(history: list[Operation]) -> bool:
    """Every choice of unheard writes, in every order that time allows."""
    sure = [one for one in history if one.returned_at is not None]
    maybe = [one for one in history if one.returned_at is None and one.kind == "write"]
    for chosen in range(1 << len(maybe)):
        some = sure + [one for i, one in enumerate(maybe) if chosen >> i & 1]
        if any(_in_time(order) and _explains(order) for order in permutations(some)):
            return True
    return False


def _in_time(order: tuple[Operation, ...]) -> bool:
    return not any(
        later.returned_at is not None and later.returned_at < one.called_at
        for i, one in enumerate(order)
        for later in order[i + 1 :]
    )


def _explains(order: tuple[Operation, ...]) -> bool:
    value: object = None
    for one in order:
        if one.kind == "write":
            value = one.value
        elif one.value != value:
            return False
    return True


def test_ten_thousand_operations_of_one_key_are_judged() -> None:
    """A real register's history: each operation takes effect at one moment inside it; some answers are lost."""
    rng, draws = Random(1), 10_000
    value, history = None, []
    for i in range(draws):
        at = 10 * i
        called, returned = at - rng.randrange(30), at + rng.randrange(30)
        if rng.random() < 0.5:
            value = f"v{i}"
            history.append(write(value, called, None if rng.random() < 0.01 else returned, f"c{i}"))
        else:
            history.append(read(value, called, returned, f"c{i}"))
    assert check(history).found == "linearizable"
    stale = [read("v0", 10 * draws + 100, 10 * draws + 101)]
    assert check(history + stale).found == "violated"
