"""What an agent knows of one of its nodes, from its last lease."""

from __future__ import annotations

from opus_node.core.coordinates import Place
from opus_node.core.messages import AppDelay, Demand, KeyRate, Lease
from opus_node.core.pauses import Pauses
from opus_node.core.types import NOTHING, AppId, Nanos, NodeId


class Held:
    """One node's lease."""

    __slots__ = (
        "agents",
        "ask_at",
        "at",
        "bandwidth",
        "born_at",
        "cpu",
        "demand",
        "heard_at",
        "heard_of",
        "hint_at",
        "hint_pause",
        "hinted",
        "incarnation",
        "memory",
        "node",
        "owed",
        "rtt",
        "sessions",
        "since",
        "spare",
        "storage",
        "told",
        "told_at",
        "up",
    )

    def __init__(self, node: NodeId, now: Nanos) -> None:
        self.node = node
        self.since = now
        """Its first lease here."""
        self.ask_at: Nanos = 0
        """Not before this it is asked to measure others (`siblings`)."""
        self.heard_at = now
        self.rtt: Nanos = 0
        self.at: Place = 0
        self.born_at: Nanos = now
        self.sessions = 0
        self.up: Nanos = 0
        self.incarnation = 0
        self.cpu = 0.0
        self.memory = 0
        self.storage = 0
        self.bandwidth = 0
        self.demand: tuple[Demand, ...] = ()
        """By application."""
        self.spare: Nanos = 0
        self.agents = 0
        """How many there were when it was last told of some."""
        self.told: tuple[AppDelay, ...] = ()
        """The delays it was last told of."""
        self.told_at: Place = 0
        """Where it was told that its agent is."""
        self.heard_of: dict[AppId, tuple[int, NodeId]] = NOTHING
        """Replica sets of which it was told the near ones, by (epoch, steward)."""
        self.owed: tuple[NodeId, ...] = ()
        """New agents it is still to be told of."""
        self.hinted: dict[NodeId, Pauses] = NOTHING
        """Agents it was told of as better ones."""
        self.hint_at = now
        """When to look for such again."""
        self.hint_pause: Nanos = 0

    def age(self, now: Nanos) -> Nanos:
        """Of the host."""
        return max(0, now - self.born_at)

    def rate(self, app: AppId) -> float:
        """Its requests per second."""
        told = self._told_of(app)
        return 0.0 if told is None else told.rate

    def rates(self) -> dict[AppId, float]:
        return {one.app: one.rate for one in self.demand}

    def keys(self, app: AppId) -> tuple[KeyRate, ...]:
        """Those that it asks for most."""
        told = self._told_of(app)
        return () if told is None else told.keys

    def nearest(self, app: AppId) -> Nanos:
        """Round trip to the nearest replica that it has measured; 0: none."""
        told = self._told_of(app)
        return 0 if told is None else told.nearest

    def _told_of(self, app: AppId) -> Demand | None:
        for one in self.demand:
            if one.app == app:
                return one
        return None

    def take(self, lease: Lease, now: Nanos) -> None:
        self.heard_at = now
        if lease.brief:
            self.rtt = lease.rtt or self.rtt
            self.at = lease.at or self.at
            self.spare = lease.spare or self.spare
            self.demand = lease.demand or self.demand
            return
        self.rtt = lease.rtt
        self.at = lease.at
        self.born_at = now - lease.age
        self.sessions = lease.sessions
        self.up = lease.up
        self.incarnation = lease.incarnation
        self.cpu = lease.cpu
        self.memory = lease.memory
        self.storage = lease.storage
        self.bandwidth = lease.bandwidth
        self.spare = lease.spare
        self.demand = lease.demand
