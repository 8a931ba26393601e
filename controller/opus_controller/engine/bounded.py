"""Is a recorded history of registers what bounded staleness promises? No search is needed: each value was told with its version.

    writes    one that began after another had ended has the greater version
    reads     tell what was written, by a write that had begun; and of the writes that had ended when the read began they miss
              none that had ended longer ago than the bound, and at most so many of the others

Source: Yu, Vahdat, *Design and evaluation of a conit-based continuous consistency model for replicated services* (2002); a
register is a conit, each write weighs one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from opus_controller.engine.linearizable import ABSENT, Operation, Verdict

MODE = "bounded"
NEVER = (0, "")
"""The version of what was never written."""


def check_register(operations: Sequence[Operation], staleness: int, missed: int = -1) -> Verdict:
    """One key's. `staleness` in nanoseconds; `missed`: writes, -1 for any number."""
    writes = [one for one in operations if one.kind == "write"]
    ended = sorted((one for one in writes if one.returned_at is not None), key=lambda one: one.returned_at or 0)
    ends = [one.returned_at or 0 for one in ended]
    greatest: list[tuple[int, str]] = []
    """Of the first so many that ended."""
    for one in ended:
        greatest.append(max(_version(one), greatest[-1] if greatest else NEVER))
    by_value = {one.value: one for one in writes}

    def before(at: int) -> tuple[int, str]:
        """The greatest version of all writes that had ended by then."""
        count = bisect_left(ends, at)
        return greatest[count - 1] if count else NEVER

    for one in ended:
        if before(one.called_at) >= _version(one):
            return _violated(one, ended)
    for one in operations:
        if one.kind == "write" or one.returned_at is None:
            continue
        source = by_value.get(one.value)
        if one.value is not ABSENT and (source is None or source.called_at > one.returned_at):
            return _violated(one, ended)
        if one.value is ABSENT and _version(one) != NEVER:
            return _violated(one, ended)
        if before(one.called_at - staleness) > _version(one):
            return _violated(one, ended)
        if 0 <= missed < sum(_version(write) > _version(one) for write in ended[: bisect_left(ends, one.called_at)]):
            return _violated(one, ended)
    return Verdict("kept")


def staleness(operations: Sequence[Operation]) -> list[int]:
    """Of each read of one key, for how long a write had ended, in nanoseconds, that it missed; 0: it missed none."""
    ended = sorted(
        ((one.returned_at, _version(one)) for one in operations if one.kind == "write" and one.returned_at is not None),
    )
    found = []
    for one in operations:
        if one.kind == "read" and one.returned_at is not None:
            missed = next((end for end, version in ended if end >= one.called_at or version > _version(one)), one.called_at)
            found.append(max(0, one.called_at - missed))
    return found


def _version(one: Operation) -> tuple[int, str]:
    return one.version or NEVER


def _violated(one: Operation, ended: Sequence[Operation]) -> Verdict:
    """With those of the writes that ended before it began that it should have come after."""
    count = bisect_right([write.returned_at or 0 for write in ended], one.called_at)
    missing = [write for write in ended[:count] if _version(write) > _version(one)]
    return Verdict("violated", one.key, tuple(missing), (one,))
