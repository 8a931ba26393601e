"""What an agent knows of one of its nodes, from its last lease."""

from __future__ import annotations

from opus_node.core.coordinates import Place
from opus_node.core.messages import AppDelay, Demand, KeyRate, Lease
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
        "heard_at",
        "heard_of",
        "hint_at",
        "hint_pause",
        "hinted",
        "incarnation",
        "keys",
        "memory",
        "nearest",
        "node",
        "owed",
        "rates",
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
        self.rates: dict[AppId, float] = NOTHING
        self.keys: dict[AppId, tuple[KeyRate, ...]] = NOTHING
        self.nearest: dict[AppId, Nanos] = NOTHING
        """Round trips to the nearest replicas it has measured."""
        self.spare: Nanos = 0
        self.agents = 0
        """How many there were when it was last told of some."""
        self.told: tuple[AppDelay, ...] = ()
        """The delays it was last told of."""
        self.told_at: Place = 0
        """Where it was told that its agent is."""
        self.heard_of: dict[AppId, tuple[int, NodeId]] = {}
        """Replica sets of which it was told the near ones, by (epoch, steward)."""
        self.owed: list[NodeId] = []
        """New agents it is still to be told of."""
        self.hinted: dict[NodeId, tuple[int, Nanos]] = {}
        """Agents it was told of as better ones: how often, and when it may be told again."""
        self.hint_at = now
        """When to look for such again."""
        self.hint_pause: Nanos = 0

    def age(self, now: Nanos) -> Nanos:
        """Of the host."""
        return max(0, now - self.born_at)

    def take(self, lease: Lease, now: Nanos) -> None:
        self.heard_at = now
        if lease.brief:
            self.rtt = lease.rtt or self.rtt
            self.at = lease.at or self.at
            self.spare = lease.spare or self.spare
            if lease.demand:
                self._ask(lease.demand)
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
        self._ask(lease.demand)

    def _ask(self, demand: tuple[Demand, ...]) -> None:
        if not demand:
            self.rates = self.keys = self.nearest = NOTHING
            return
        self.rates = {one.app: one.rate for one in demand}
        self.keys = {one.app: one.keys for one in demand if one.keys} or NOTHING
        self.nearest = {one.app: one.nearest for one in demand if one.nearest} or NOTHING
