"""Is a recorded history of registers what eventual consistency promises? Little, so that much of this is what was measured.

    always       a read tells nothing, or what was written by a write that had begun
    in the end   once nothing goes wrong any more and nobody writes, for CONVERGED, all reads of a key tell the same

Source: Vogels, *Eventually consistent* (2009).
"""

from __future__ import annotations

from collections.abc import Sequence

from opus_controller.engine.linearizable import ABSENT, Operation, Verdict

MODE = "eventual"
CONVERGED = 10_000_000_000
"""Nanoseconds."""


def check_register(operations: Sequence[Operation], calm_from: int) -> Verdict:
    """One key's. `calm_from`: when the last thing went wrong or was mended; nanoseconds, of the operations' clock."""
    by_value = {one.value: one for one in operations if one.kind == "write"}
    reads = [one for one in operations if one.kind == "read" and one.returned_at is not None]
    for one in reads:
        source = by_value.get(one.value)
        if one.value is not ABSENT and (source is None or source.called_at > (one.returned_at or 0)):
            return Verdict("violated", one.key, (), (one,))
    active = [one.returned_at or one.called_at for one in operations if one.kind == "write"]
    last = max([calm_from, *active]) + CONVERGED
    late = [one for one in reads if one.called_at >= last]
    other = next((one for one in late if one.value != late[0].value), None)
    return Verdict("kept") if other is None else Verdict("violated", other.key, (late[0],), (other,))
