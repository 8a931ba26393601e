"""Is a recorded history of registers linearizable: could each operation have happened at one moment between call and return?

    operations --by key--> the order that the versions say, if they say one --it does not hold, or there is none-->
        the search of Wing and Gong (1993), with Lowe's memory of states seen (2017) --> Verdict

A key is a register, and a history is linearizable if and only if it is for each key (Herlihy, Wing 1990, locality). An operation
of which the client never heard may have happened at any moment after its call, or not at all: only for writes does that matter.

The search is exponential at worst, in how many operations of one key overlap. `STEPS` bounds it; then the verdict is "unknown",
which is not a pass. Where whoever is judged told a version with each value, that order is tried first: it is only a guess, but
one order that holds is proof enough, and it takes no search to see whether it does.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

STEPS = 2_000_000
"""Operations tried for one key at most."""
ABSENT = None
"""What a register holds before the first write."""


@dataclass(frozen=True, slots=True)
class Operation:
    client: str
    key: Hashable
    kind: Literal["read", "write"]
    value: Hashable
    """Written, or what the read returned."""
    called_at: int
    """Nanoseconds, of one clock for all clients."""
    returned_at: int | None
    """None: the client never heard, it may have happened or not."""
    version: tuple[int, str] | None = None
    """Of the value, as the client was told: greater ones are said to have come later."""


@dataclass(frozen=True, slots=True)
class Verdict:
    found: Literal["linearizable", "kept", "violated", "unknown"]
    """kept: what was promised, where that is less."""
    key: Hashable = None
    """Which register is not, or might not be."""
    explained: tuple[Operation, ...] = ()
    """The longest order of operations that was found to be possible ..."""
    stuck_at: tuple[Operation, ...] = ()
    """... and those of which none can come next."""


def check(operations: Iterable[Operation], steps: int = STEPS) -> Verdict:
    """All keys; the verdict is of the first that is violated, else of the first that is unknown."""
    by_key: dict[Hashable, list[Operation]] = {}
    for one in operations:
        by_key.setdefault(one.key, []).append(one)
    unknown = Verdict("linearizable")
    for key in sorted(by_key, key=repr):
        verdict = check_register(by_key[key], steps)
        if verdict.found == "violated":
            return verdict
        if verdict.found == "unknown" and unknown.found == "linearizable":
            unknown = verdict
    return unknown


def check_register(operations: Sequence[Operation], steps: int = STEPS) -> Verdict:
    """One key's. ValueError for an operation that returned before it was called."""
    if _in_order_of_versions(operations):
        return Verdict("linearizable")
    return _Search(operations, steps).verdict()


def _in_order_of_versions(operations: Sequence[Operation]) -> bool:
    """Whether all that happened for certain could have in the order of versions: a version's write, then its reads, as called."""
    read = {one.version for one in operations if one.kind == "read" and one.returned_at is not None}
    told = [one for one in operations if one.returned_at is not None or (one.kind == "write" and one.version in read)]
    if any(one.version is None or _end(one) < one.called_at for one in told):
        return False
    value, last, latest = ABSENT, None, -inf
    for one in sorted(told, key=lambda one: (one.version or (0, ""), one.kind == "read", one.called_at)):
        if one.kind == "write":
            if one.version == last:
                return False  # two writes of one version: one of them is wrong
            value, last = one.value, one.version
        elif one.value != value:
            return False
        if _end(one) < latest:
            return False  # it was over before one that is said to have come earlier began
        latest = max(latest, one.called_at)
    return True


class _Search:
    """Depth first over what may come next: operations called before any other that is left has returned.

    A read that fits is taken at once, which rules nothing out. A write of which nobody heard is taken only for a read that
    wants it. So searches branch at writes that overlap, and nowhere else. What was taken and the value then are remembered:
    twice the same leads nowhere new.
    """

    def __init__(self, operations: Sequence[Operation], steps: int) -> None:
        # A read of which nobody heard explains nothing and is explained by anything.
        told = [one for one in operations if one.kind == "write" or one.returned_at is not None]
        if any(one.returned_at is not None and one.returned_at < one.called_at for one in told):
            raise ValueError("an operation returned before it was called")
        self._ops = sorted(told, key=lambda one: (one.called_at, _end(one)))
        self._steps = steps
        self._must = sum(1 << i for i, one in enumerate(self._ops) if one.returned_at is not None)
        """Those that happened for certain."""
        self._maybe = [i for i, one in enumerate(self._ops) if one.returned_at is None]

    def verdict(self) -> Verdict:
        ops, must = self._ops, self._must
        taken, value = 0, ABSENT
        path: list[tuple[int, Hashable, Iterator[int]]] = []
        """What was taken and the value, before each step, and what else might be taken there."""
        order: list[int] = []
        best: list[int] = []
        seen: set[Hashable] = set()
        moves = iter(self._moves(taken, value))
        while taken & must != must:
            index = next(moves, None)
            if index is None:
                if not path:
                    return self._violated(best)
                taken, value, moves = path.pop()
                order.pop()
                continue
            self._steps -= 1
            if self._steps < 0:
                return Verdict("unknown", ops[0].key)
            after = ops[index].value
            state = self._state(taken | 1 << index, after)
            if state in seen:
                continue
            seen.add(state)
            path.append((taken, value, moves))
            order.append(index)
            taken, value = taken | 1 << index, after
            if len(order) > len(best):
                best = list(order)
            moves = iter(self._moves(taken, value))
        return Verdict("linearizable")

    def _moves(self, taken: int, value: Hashable) -> list[int]:
        ops, found = self._ops, self._next(taken)
        reads = [i for i in found if ops[i].kind == "read"]
        fits = next((i for i in reads if ops[i].value == value), None)
        if fits is not None:
            return [fits]
        wanted = {ops[i].value for i in reads}
        return [i for i in found if ops[i].kind == "write" and (self._must >> i & 1 or ops[i].value in wanted)]

    def _open(self, taken: int) -> int:
        """The first that happened for certain and is not taken; all before it are, or are maybes."""
        left = self._must & ~taken
        return (left & -left).bit_length() - 1 if left else len(self._ops)

    def _state(self, taken: int, value: Hashable) -> Hashable:
        """What was taken and the value, in brief: long histories are nearly all taken."""
        start = self._open(taken)
        return start, taken >> start, tuple(i for i in self._maybe if i < start and taken >> i & 1), value

    def _next(self, taken: int) -> list[int]:
        """Not taken, and called before any that is not taken has returned; in order."""
        start = self._open(taken)
        found = [i for i in self._maybe if i < start and not taken >> i & 1]
        first_end = inf
        for i in range(start, len(self._ops)):
            if self._ops[i].called_at > first_end:
                break
            if not taken >> i & 1:
                found.append(i)
                first_end = min(first_end, _end(self._ops[i]))
        return [i for i in found if self._ops[i].called_at <= first_end]

    def _violated(self, best: list[int]) -> Verdict:
        taken = sum(1 << i for i in best)
        explained = tuple(self._ops[i] for i in best)
        return Verdict("violated", self._ops[0].key, explained, tuple(self._ops[i] for i in self._next(taken)))


def _end(one: Operation) -> float:
    return inf if one.returned_at is None else one.returned_at
