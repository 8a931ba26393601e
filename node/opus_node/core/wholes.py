"""Who has had the whole of a summary: whoever has is told again only how many nodes there are and what they ask for, and which
keys if that has changed."""

from __future__ import annotations

from dataclasses import replace

from opus_node.core.messages import KeyRate, Summary
from opus_node.core.popularity import differ
from opus_node.core.types import NodeId

TOLD = 2
"""Remembered: the steward that is in office, and the one that should be."""


def refreshed(known: Summary, news: Summary) -> Summary:
    """The whole that is known, after what was told without it."""
    keys = news.keys or known.keys
    return replace(known, nodes=news.nodes, rate=news.rate, keys=keys, shards=news.shards)


class Wholes:
    """For the summaries of one application and one agent's nodes."""

    __slots__ = ("_told",)

    def __init__(self) -> None:
        self._told: dict[NodeId, tuple[int, tuple[KeyRate, ...]]] = {}
        """Version and keys, by whom they were told to, the last told last."""

    def due(self, target: NodeId, whole: Summary) -> Summary:
        """What to tell `target` now: the whole, or that nothing has changed."""
        version, keys = self._told.pop(target, (0, ()))
        alike = not differ(whole.keys, keys)
        self._told[target] = (whole.version, keys if alike else whole.keys)
        while len(self._told) > TOLD:
            del self._told[next(iter(self._told))]
        if version != whole.version:
            return whole
        return replace(whole, candidates=(), near=(), abroad=(), keys=() if alike else whole.keys)

    def wanted(self, target: NodeId) -> None:
        """It lacks what it was told."""
        self._told.pop(target, None)
