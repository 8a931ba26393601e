"""The judges of the weaker modes: what they promise is kept by histories that keep it, and broken by those that are known to."""

from __future__ import annotations

import pytest
from opus_controller.engine import bounded, eventual
from opus_controller.engine.linearizable import Operation
from opus_node.core.types import SECOND


def write(value: str, count: int, start: float, end: float | None) -> Operation:
    return op("write", value, count, start, end)


def read(value: str | None, count: int, start: float, end: float | None) -> Operation:
    return op("read", value, count, start, end)


def op(kind: object, value: str | None, count: int, start: float, end: float | None) -> Operation:
    version = (count, "w") if count else (0, "")
    until = None if end is None else int(end * SECOND)
    return Operation("c", "k", kind, value, int(start * SECOND), until, version)  # type: ignore[arg-type]


FIRST = write("a", 1, 0, 1)
SECOND_ONE = write("b", 2, 2, 3)


# Bounded, by three seconds


@pytest.mark.parametrize(
    "history",
    [
        (FIRST, read("a", 1, 2, 3)),
        (FIRST, SECOND_ONE, read("b", 2, 4, 5)),
        (FIRST, SECOND_ONE, read("a", 1, 5.9, 6)),  # b had ended 2.9 s before
        (FIRST, read(None, 0, 3.9, 5)),
        (write("a", 1, 0, None), read(None, 0, 50, 51)),  # nobody was told that it was written
        (write("a", 1, 0, None), read("a", 1, 50, 51)),
        (write("b", 2, 0, 1), write("a", 1, 0.5, 2), read("b", 2, 9, 10)),  # they overlap
        (FIRST, SECOND_ONE, read("b", 2, 3.1, 3.2), read("a", 1, 3.3, 3.4)),  # it may go back
    ],
)
def test_what_bounded_staleness_allows(history: tuple[Operation, ...]) -> None:
    assert bounded.check_register(history, 3 * SECOND).found == "kept"


@pytest.mark.parametrize(
    "history",
    [
        (FIRST, SECOND_ONE, read("a", 1, 6.1, 7)),  # b had ended 3.1 s before
        (FIRST, read(None, 0, 4.1, 5)),
        (FIRST, read("x", 2, 2, 3)),  # nobody wrote it
        (FIRST, read(None, 3, 2, 3)),  # nothing, with a version
        (write("a", 1, 5, 6), read("a", 1, 1, 2)),  # before anybody wrote it
        (write("b", 2, 0, 1), write("a", 1, 2, 3)),  # acknowledged, and never to be seen
        (write("a", 1, 0, 1), write("b", 1, 2, 3)),  # the same version twice
    ],
)
def test_what_bounded_staleness_does_not_allow(history: tuple[Operation, ...]) -> None:
    verdict = bounded.check_register(history, 3 * SECOND)
    assert verdict.found == "violated"
    assert verdict.stuck_at


def test_so_many_writes_may_be_missed_and_not_one_more() -> None:
    writes = [write(f"v{count}", count, count / 10, count / 10 + 0.05) for count in range(1, 6)]
    for missing in range(5):
        history = (*writes, read(f"v{5 - missing}", 5 - missing, 1, 1.1))
        for most in range(5):
            assert bounded.check_register(history, 9 * SECOND, most).found == ("kept" if missing <= most else "violated")
        assert bounded.check_register(history, 9 * SECOND).found == "kept"


def test_how_stale_reads_were() -> None:
    history = (FIRST, SECOND_ONE, read("b", 2, 4, 5), read("a", 1, 5, 6), read(None, 0, 5, 6), read("a", 1, 1.5, 2))
    assert bounded.staleness(history) == [0, 2 * SECOND, 4 * SECOND, 0]


# Eventual


@pytest.mark.parametrize(
    "history",
    [
        (FIRST, SECOND_ONE, read("a", 1, 4, 5), read("b", 2, 4, 5), read("a", 1, 6, 7)),
        (FIRST, SECOND_ONE, read("b", 2, 14, 15), read("b", 2, 16, 17)),
        (FIRST, SECOND_ONE, read("a", 1, 14, 15), read("a", 1, 16, 17)),  # b was lost with the one that took it
        (FIRST, read(None, 0, 3, 4)),
    ],
)
def test_what_eventual_consistency_allows(history: tuple[Operation, ...]) -> None:
    assert eventual.check_register(history, calm_from=0).found == "kept"


@pytest.mark.parametrize(
    "history",
    [
        (FIRST, read("x", 2, 2, 3)),  # nobody wrote it
        (write("a", 1, 5, 6), read("a", 1, 1, 2)),  # before anybody wrote it
        (FIRST, SECOND_ONE, read("b", 2, 14, 15), read("a", 1, 16, 17)),  # all is calm, and they differ
    ],
)
def test_what_eventual_consistency_does_not_allow(history: tuple[Operation, ...]) -> None:
    assert eventual.check_register(history, calm_from=0).found == "violated"


def test_while_something_is_wrong_they_may_differ() -> None:
    history = (FIRST, SECOND_ONE, read("b", 2, 14, 15), read("a", 1, 16, 17))
    assert eventual.check_register(history, calm_from=8 * SECOND).found == "kept"
