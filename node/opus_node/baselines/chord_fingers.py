"""Chord's fingers: found by look-ups, the nearest of some candidates, and asked in turn whether they are there.

PNS(16): the first 16 nodes of a finger's interval are the successor list of where it begins (Dabek et al., NSDI 2004, section
4.2). Those whose round trip is not known yet are measured once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from opus_node.baselines.chord_table import SAMPLES, Table
from opus_node.baselines.peers import OnSilent, Peers
from opus_node.core.context import Context
from opus_node.core.messages import Told
from opus_node.core.types import NodeId

MISSING: Final = 4
"""Missing fingers looked for in one round."""
AGAIN: Final = 8
"""Of so many visits of a finger one looks for a nearer one."""
NEARER: Final = 0.9
"""A finger gives way to one at less than this share of its delay."""
FROM: Final = "from"
"""The question who owns a key, and who follows."""


class Fingers:
    def __init__(self, ctx: Context, peers: Peers, table: Table, is_lost: Callable[[NodeId], bool], silent: OnSilent) -> None:
        self._ctx = ctx
        self._peers = peers
        self._table = table
        self._is_lost = is_lost
        self._silent = silent
        self._seeking: set[int] = set()
        """Being looked for; never iterated."""
        self._visit = 0

    def keep(self) -> None:
        """One round's work."""
        table, spans = self._table, self._table.spans()
        for k in [k for k in table.fingers if k not in spans]:
            table.point(k, None)
        for k in [k for k in spans if k not in table.fingers and k not in self._seeking][:MISSING]:
            self.seek(k)
        self._visit += 1
        if spans:
            turn, place = divmod(self._visit, len(spans))
            k = spans[place]
            if k in table.fingers and turn % AGAIN:
                self._peers.ask(table.fingers[k], "", _there, self._silent)
            elif k in table.fingers:
                self.seek(k)

    def seek(self, k: int) -> None:
        """By a look-up of where its interval begins."""
        table, start = self._table, self._table.start(k)
        if k in self._seeking or k not in table.spans():
            return
        owners = table.owners(start)
        ways = table.ways(start)
        if owners:
            self._sift(k, owners)
        elif ways:
            self._seeking.add(k)
            self._peers.seek(ways[0], FROM, start, partial(self._sought, k), partial(self._unsought, k))

    def _sought(self, k: int, source: NodeId, told: Told) -> None:
        self._seeking.discard(k)
        self._sift(k, told.nodes)

    def _unsought(self, k: int, node: NodeId) -> None:
        """Somebody on the way is gone: most likely nobody has noticed, but this node can see to its own first hop."""
        self._seeking.discard(k)
        self._peers.ask(node, "", _there, self._silent)

    def _sift(self, k: int, nodes: Sequence[NodeId]) -> None:
        """Those of the first nodes of the interval that may be better than the finger are asked: they must be there."""
        held = self._table.fingers.get(k)
        found = [node for node in nodes if self._table.in_finger(k, node) and not self._is_lost(node)]
        for node in found[: SAMPLES if self._ctx.config.proximity else 1]:
            if node != held and (held is None or not self._peers.known(node) or self._is_better(k, node, held)):
                self._peers.ask(node, "", partial(self._point, k), self._silent)

    def _is_better(self, k: int, node: NodeId, held: NodeId) -> bool:
        if self._ctx.config.proximity:
            return self._peers.delay(node) < NEARER * self._peers.delay(held)
        return self._table.nearer_after(node, held)

    def _point(self, k: int, node: NodeId, told: Told) -> None:
        held = self._table.fingers.get(k)
        if k in self._table.spans() and (held is None or self._is_better(k, node, held)):
            self._table.point(k, node)


def _there(node: NodeId, told: Told) -> None:
    """It lives; `Peers` has measured it."""
