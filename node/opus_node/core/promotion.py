"""Agents by need: an agent that is crowded, or has nodes far from every agent, promotes one of them; an idle one steps down.

Far first: that is where delay is gained. One promotion at a time, the next only after leases have settled, so that a
burst of joins does not make a burst of agents.
"""

from __future__ import annotations

from bisect import bisect_right

from opus_node.core.context import Context
from opus_node.core.leases import Held, Leases
from opus_node.core.messages import AgentHint, LeaseReply, Promote
from opus_node.core.sets import ReplicaSets
from opus_node.core.swim import Member, Swim
from opus_node.core.types import MILLISECOND, SECOND, Nanos, NodeId

SETTLE: Nanos = 1500 * MILLISECOND
"""A node must have been attached, and have had time to try the agents it was told of, for so long before it counts as far.

Doubled for each agent it passed over after the first: where promotions bring nothing, they cease.
"""
BETWEEN: Nanos = 2 * SECOND
"""Between two promotions by one agent, counted from when the last new agent was heard of."""
PATIENCE: Nanos = 3 * SECOND
"""A promoted node that is not heard of as an agent after this was lost; another is chosen."""
LONE: Nanos = 10 * SECOND
"""A far node without company in its region waits so long before an agent is made of it."""
ALIKE = 1.3
"""Far nodes whose round trips differ by no more than this factor may share a region."""
FEWEST = 3
"""Fewer live agents than this are too few to lose one: the first of them promotes, without other need, after LONE."""
IDLE_NODES = 2
IDLE_FOR: Nanos = 60 * SECOND
"""An agent with fewer nodes than IDLE_NODES for this long steps down, if another is near."""


class Promotion:
    __slots__ = (
        "_ctx",
        "_few_since",
        "_idle_since",
        "_leases",
        "_pending",
        "_pending_since",
        "_quiet_until",
        "_sets",
        "_split",
        "_swim",
        "_tried",
    )

    def __init__(self, ctx: Context, leases: Leases, swim: Swim, sets: ReplicaSets) -> None:
        self._ctx = ctx
        self._leases = leases
        self._swim = swim
        self._sets = sets
        self._pending: NodeId = ""
        self._pending_since: Nanos = 0
        self._split = False
        self._quiet_until: Nanos = ctx.now + SETTLE
        self._few_since: Nanos = -1
        self._idle_since: Nanos = ctx.now
        self._tried: dict[NodeId, Nanos] = {}

    # Up

    def tick(self) -> None:
        """Once a second: at most one promotion."""
        ctx = self._ctx
        if self._pending:
            if ctx.now - self._pending_since < PATIENCE:
                return
            self._tried[self._pending] = ctx.now + 30 * SECOND
            self._pending = ""
        if ctx.now < self._quiet_until or not self._leases.table:
            return
        far = self._far_group()
        if far:
            self._promote(self._fittest(far), split=False)
        elif len(self._leases.table) > ctx.config.nodes_per_agent:
            self._promote(self._fittest(list(self._leases.table.values())), split=True)
        elif self._too_few():
            self._promote(self._fittest(list(self._leases.table.values())), split=False)

    def _far_group(self) -> list[Held]:
        """The largest group of settled far nodes with similar round trips; a lone node only after a longer wait."""
        ctx = self._ctx
        near_enough = ctx.config.near_enough
        far = [
            held
            for held in self._leases.table.values()
            if held.rtt > near_enough
            and not held.owed
            and ctx.now - max(held.since, held.hinted_at) >= SETTLE << min(max(held.passed - 1, 0), 8)
        ]
        if not far:
            return []
        far.sort(key=lambda held: (held.rtt, held.node))
        delays = [held.rtt for held in far]
        best: list[Held] = []
        for index, delay in enumerate(delays):
            end = bisect_right(delays, int(delay * ALIKE) + 2 * MILLISECOND)
            if end - index > len(best):
                best = far[index:end]
        if len(best) == 1:
            held = best[0]
            agents, nodes = len(self._swim.agents()), len(self._leases.table)
            lonely_long = ctx.now - max(held.since, held.hinted_at) >= LONE
            # Agents of one node each help nobody else: about 3 sqrt(n) of them at most.
            if not lonely_long or agents * agents > 9 * agents * (nodes + 1):
                return []
        return best

    def _too_few(self) -> bool:
        """One agent is a single point of failure, whatever its nodes need."""
        agents = self._swim.agents()
        if len(agents) >= FEWEST or agents[0] != self._ctx.me or len(self._leases.table) < 2:
            self._few_since = -1
            return False
        if self._few_since < 0:
            self._few_since = self._ctx.now
        return self._ctx.now - self._few_since >= LONE

    def _fittest(self, group: list[Held]) -> Held | None:
        """Old, capable, well connected; among equals, chance (all nodes of an emulation are born together)."""
        now = self._ctx.now
        group = [held for held in group if self._tried.get(held.node, 0) <= now]
        if not group:
            return None

        def merit(held: Held) -> tuple[int, float, int]:
            return ((now - held.born_at) // (60 * SECOND), held.cpu, held.bandwidth)

        best = max(merit(held) for held in group)
        return self._ctx.rng.choice([held for held in group if merit(held) == best])

    def _promote(self, held: Held | None, split: bool) -> None:
        if held is None:
            return
        ctx = self._ctx
        self._pending = held.node
        self._pending_since = ctx.now
        self._split = split
        if len(self._tried) > 64:
            self._tried = {node: until for node, until in self._tried.items() if until > ctx.now}
        ctx.send(held.node, Promote(self._swim.table(), self._sets.all()))

    def on_agent(self, member: Member) -> None:
        """Somebody has become an agent; perhaps the one this agent promoted."""
        ctx = self._ctx
        self._leases.release(member.node)
        if member.node != self._pending:
            return
        self._pending = ""
        self._quiet_until = ctx.now + BETWEEN
        if not self._split:
            return
        nodes = sorted(self._leases.table)
        ctx.rng.shuffle(nodes)
        hint = (AgentHint(member.node, 0, member.at),)
        for node in nodes[: len(nodes) // 2]:
            del self._leases.table[node]
            ctx.send(node, LeaseReply(0, False, hint))

    # Down

    def idle(self) -> bool:
        """Whether this agent, not a seed, should step down: hardly any nodes for long, and another agent near."""
        ctx = self._ctx
        if len(self._leases.table) >= IDLE_NODES or len(self._swim.agents()) <= FEWEST:
            self._idle_since = ctx.now
            return False
        if ctx.now - self._idle_since < IDLE_FOR:
            return False
        near = ctx.config.near_enough // 2
        return any(member.live and member.rtt.samples and member.rtt.srtt <= near for member in self._swim.members.values())
