"""Who is in a zone, as its head sees it: a log of who came and who left, of which each agent hears what it has not heard yet.

Bounded: of those that have left only the last are remembered. Whoever missed more of them finds out by measuring.
"""

from __future__ import annotations

from collections.abc import Collection

from opus_node.core.messages import MemberUpdate
from opus_node.core.types import MILLISECOND, Nanos, NodeId

AT_ONCE = 16
"""Changes told in one message."""
LEFT_KEPT = 32
COMING, LEAVING = "alive", "left"


class Roster:
    __slots__ = ("_changes", "seq")

    def __init__(self, now: Nanos) -> None:
        self.seq = now // MILLISECOND
        """Above all that an earlier process of this host has counted."""
        self._changes: dict[NodeId, tuple[int, str]] = {}
        """The last change of each, in the order of changes."""

    def update(self, present: Collection[NodeId]) -> None:
        """Compares with who is present now; `seq` has grown by as many changes as there were."""
        for node in present:
            if self._changes.get(node, (0, LEAVING))[1] == LEAVING:
                self._change(node, COMING)
        for node in [node for node, (_, state) in self._changes.items() if state == COMING and node not in present]:
            self._change(node, LEAVING)
        left = [node for node, (_, state) in self._changes.items() if state == LEAVING]
        for node in left[:-LEFT_KEPT]:
            del self._changes[node]

    def _change(self, node: NodeId, state: str) -> None:
        self.seq += 1
        self._changes.pop(node, None)
        self._changes[node] = (self.seq, state)

    def since(self, seen: int) -> tuple[MemberUpdate, ...]:
        """The first changes after those `seen`."""
        found = [MemberUpdate(node, state, seq, "") for node, (seq, state) in self._changes.items() if seq > seen]
        return tuple(found[:AT_ONCE])
