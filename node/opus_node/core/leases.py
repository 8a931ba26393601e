"""An agent's side of leases: which nodes it serves, what they can do and need, and which other agents to tell them of."""

from __future__ import annotations

import heapq

from opus_node.core.context import Context
from opus_node.core.coordinates import Place
from opus_node.core.messages import AgentHint, Lease, LeaseReply
from opus_node.core.swim import Member, Swim
from opus_node.core.types import MILLISECOND, SECOND, AppId, Nanos, NodeId

HARD_CAP = 32
"""An agent accepts up to this many times `nodes_per_agent` (while others are promoted), then refuses: its tables are bounded."""
FIRST_HINTS = 14
LATER_HINTS = 4


class Held:
    """One node's lease."""

    __slots__ = (
        "at",
        "bandwidth",
        "born_at",
        "cpu",
        "heard_at",
        "hinted_at",
        "incarnation",
        "memory",
        "node",
        "owed",
        "passed",
        "rates",
        "rtt",
        "since",
        "storage",
    )

    def __init__(self, node: NodeId, now: Nanos) -> None:
        self.node = node
        self.since = now
        self.heard_at = now
        self.hinted_at = now
        self.rtt: Nanos = 0
        self.at: Place = 0
        self.born_at: Nanos = now
        self.incarnation = 0
        self.cpu = 0.0
        self.memory = 0
        self.storage = 0
        self.bandwidth = 0
        self.rates: dict[AppId, float] = {}
        self.owed: list[NodeId] = []
        """New agents it is still to be told of."""
        self.passed = 0
        """New agents it was told of at once, since it is far, and did not move to."""

    def take(self, lease: Lease, now: Nanos) -> None:
        self.heard_at = now
        self.rtt = lease.rtt
        self.at = lease.at
        self.born_at = now - lease.age
        self.incarnation = lease.incarnation
        self.cpu = lease.cpu
        self.memory = lease.memory
        self.storage = lease.storage
        self.bandwidth = lease.bandwidth
        if lease.demand:
            self.rates = {demand.app: demand.rate for demand in lease.demand}
        elif self.rates:
            self.rates = {}


class Leases:
    __slots__ = ("_ctx", "_swim", "refused", "table")

    def __init__(self, ctx: Context, swim: Swim) -> None:
        self._ctx = ctx
        self._swim = swim
        self.table: dict[NodeId, Held] = {}
        self.refused = 0

    def room(self) -> int:
        return self._ctx.config.nodes_per_agent - len(self.table)

    def on_lease(self, source: NodeId, lease: Lease) -> None:
        ctx = self._ctx
        if not lease.primary:
            ctx.send(source, LeaseReply(lease.seq, self.room() > 0, (), ctx.position.at))
            return
        held = self.table.get(source)
        if held is None:
            hints = self.ring(lease.rtt, FIRST_HINTS, source)
            if len(self.table) >= HARD_CAP * ctx.config.nodes_per_agent:
                self.refused += 1
                ctx.send(source, LeaseReply(lease.seq, False, hints, ctx.position.at))
                return
            held = self.table[source] = Held(source, ctx.now)
        elif held.owed:
            hints = tuple(self._hint(agent) for agent in held.owed[-LATER_HINTS:])
            held.owed = []
            held.hinted_at = ctx.now
        else:
            hints = ()
        held.take(lease, ctx.now)
        ctx.send(source, LeaseReply(lease.seq, True, hints, ctx.position.at))

    def release(self, source: NodeId) -> None:
        self.table.pop(source, None)

    def expire(self) -> None:
        """Forgets nodes that have been silent for the lease time-out (three missed leases at least)."""
        config = self._ctx.config
        limit = self._ctx.now - max(config.lease_timeout, 3 * config.lease_interval + SECOND)
        for node in [node for node, held in self.table.items() if held.heard_at < limit]:
            del self.table[node]

    def slept(self, span: Nanos) -> None:
        """This process stood still for `span`; the nodes are not to blame for it."""
        for held in self.table.values():
            held.heard_at += span

    # Hints

    def _hint(self, agent: NodeId) -> AgentHint:
        member = self._swim.members.get(agent)
        return AgentHint(agent, 0) if member is None else AgentHint(agent, member.rtt.srtt, member.at)

    def ring(self, rtt: Nanos, limit: int, asker: NodeId = "") -> tuple[AgentHint, ...]:
        """Agents likeliest to be near a node that is `rtt` away from here.

        By the triangle inequality nobody nearer to that node than d is farther than d off its ring around this agent
        (Meridian's rings, Wong, Slivkins, Sirer 2005).
        """
        live = [member for member in self._swim.members.values() if member.live and member.node != asker]
        best = heapq.nsmallest(limit, live, key=lambda member: (abs(member.rtt.delay() - rtt), member.node))
        return tuple(AgentHint(member.node, member.rtt.srtt, member.at) for member in best)

    def offer(self, member: Member) -> None:
        """A new agent was measured: nodes it may suit are told now if they are badly served, the others with their next lease."""
        ctx = self._ctx
        near_enough = ctx.config.near_enough
        distance = member.rtt.srtt
        hint = (AgentHint(member.node, distance, member.at),)
        for held in self.table.values():
            if held.node == member.node:
                continue
            off = abs(held.rtt - distance)
            if held.rtt > near_enough and off <= max(near_enough, held.rtt // 3):
                held.hinted_at = ctx.now
                held.passed += 1
                ctx.send(held.node, LeaseReply(0, True, hint))
            elif len(held.owed) < LATER_HINTS:
                held.owed.append(member.node)
            elif off <= max(held.rtt, MILLISECOND):
                held.owed[ctx.rng.randrange(LATER_HINTS)] = member.node
