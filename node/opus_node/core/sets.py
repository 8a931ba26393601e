"""Replica sets as one node knows them: the greatest by (epoch, steward) a application, nothing else."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable

from opus_node.core.messages import ReplicaSet
from opus_node.core.types import AppId, NodeId

LIVES = 1000
"""Epochs count in steps of this, see `next_epoch`."""
PER_MESSAGE = 2
"""Replica sets carried by one Ping or Ack at most."""


def newer(one: ReplicaSet, other: ReplicaSet | None) -> bool:
    """Whether `one` wins over `other`: a total order, the same everywhere, so that any two views end in one."""
    return other is None or (one.epoch, one.steward) > (other.epoch, other.steward)


def claimed(node: NodeId, sets: Iterable[ReplicaSet]) -> AppId:
    """Of these sets of several applications, the one whose `node` is: of those that name it, the greatest; empty if none does.

    Sets of applications that hosts are divided among have their epochs in common, so the greatest was decided last.
    """
    return max(((one.epoch, one.steward, one.app) for one in sets if node in one.members), default=(0, "", ""))[2]


def next_epoch(highest: int, incarnation: int) -> int:
    """The least epoch above `highest` that ends in this steward's incarnation.

    A restarted steward has forgotten what it decided before; ending in the incarnation, its epochs still never meet
    those of its former life (2001: the second decision in a row, by a host in its second life).
    """
    return (highest // LIVES + 1) * LIVES + incarnation % LIVES


class ReplicaSets:
    """The table, and how often each entry is still to be passed on with gossip."""

    __slots__ = ("_digest", "_left", "by_app")

    def __init__(self) -> None:
        self.by_app: dict[AppId, ReplicaSet] = {}
        self._left: dict[AppId, int] = {}
        self._digest: int | None = None

    def get(self, app: AppId) -> ReplicaSet | None:
        return self.by_app.get(app)

    def put(self, replica_set: ReplicaSet, agents: int) -> None:
        """Keeps it (the caller has compared) and passes it on about 3 log2(agents) times, as SWIM does with updates."""
        self.by_app[replica_set.app] = replica_set
        self._digest = None
        self._left[replica_set.app] = 3 * max(1, math.ceil(math.log2(agents + 1)))

    def gossip(self) -> tuple[ReplicaSet, ...]:
        """What the next message should carry."""
        if not self._left:
            return ()
        chosen = sorted(self._left, key=lambda app: (-self._left[app], app))[:PER_MESSAGE]
        for app in chosen:
            self._left[app] -= 1
            if self._left[app] <= 0:
                del self._left[app]
        return tuple(self.by_app[app] for app in chosen)

    def all(self) -> tuple[ReplicaSet, ...]:
        return tuple(self.by_app.values())

    def digest(self) -> int:
        """Equal wherever the same sets are known; 32 bits, never 0: who hears of another asks for the sets."""
        if self._digest is None:
            known = "|".join(f"{app} {one.epoch} {one.steward}" for app, one in sorted(self.by_app.items()))
            self._digest = int.from_bytes(hashlib.blake2b(known.encode(), digest_size=4).digest(), "big") | 1 << 32
        return self._digest
