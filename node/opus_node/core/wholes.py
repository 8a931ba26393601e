"""Who has had the whole of a summary: whoever has is told again only how many nodes there are and what they ask for."""

from __future__ import annotations

from dataclasses import replace

from opus_node.core.messages import Summary
from opus_node.core.types import NodeId

TOLD = 2
"""Remembered: the steward that is in office, and the one that should be."""


class Wholes:
    """For the summaries of one application and one agent's nodes."""

    __slots__ = ("_versions",)

    def __init__(self) -> None:
        self._versions: dict[NodeId, int] = {}
        """By whom it was told to, the last told last."""

    def due(self, target: NodeId, whole: Summary) -> Summary:
        """What to tell `target` now: the whole, or that nothing has changed."""
        known_there = self._versions.pop(target, 0) == whole.version
        self._versions[target] = whole.version
        while len(self._versions) > TOLD:
            del self._versions[next(iter(self._versions))]
        return replace(whole, candidates=(), near=(), abroad=()) if known_there else whole

    def wanted(self, target: NodeId) -> None:
        """It lacks what it was told."""
        self._versions.pop(target, None)
