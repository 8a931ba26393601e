"""An agent's side of leases: which nodes it serves, what they can do and need, and which other agents to tell them of."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

from opus_node.core.brief import moved
from opus_node.core.context import Context
from opus_node.core.coordinates import expected
from opus_node.core.held import Held
from opus_node.core.messages import AgentHint, Lease, LeaseReply
from opus_node.core.neighbours import Neighbours
from opus_node.core.pauses import NO_PAUSE, over, paused
from opus_node.core.peers import Peers
from opus_node.core.relay import Relay
from opus_node.core.roster import Roster
from opus_node.core.siblings import TOWARDS_REPLICAS, Siblings, mix
from opus_node.core.swim import Member
from opus_node.core.types import MILLISECOND, NOTHING, SECOND, AppId, Nanos, NodeId
from opus_node.core.ways import delay_of

FIRST_HINTS = 14
"""Half of them likely to be near, half by chance: those that are near may all fall silent together."""
LATER_HINTS = 4
HINT_FIRST: Nanos = 4 * SECOND
HINT_MOST: Nanos = 64 * SECOND
"""Between two looks for agents that may serve a node better; doubled while none is found, anew when agents or replicas change."""
HINTED = 12
HINT_AGAIN: Nanos = 30 * SECOND
HINT_DOUBLED = 6
"""A node is not told of the same agent again for so long, doubled each time, as often as this."""
NEVER: Nanos = 1 << 62
"""Longer than any delay."""
GUESS_SHARE = 0.7
"""Of a guess from coordinates, to be safe: what is farther than this is not worth a look."""


class Leases:
    __slots__ = ("_all", "_ctx", "_relay", "_swim", "neighbours", "refused", "roster", "siblings", "table")

    def __init__(self, ctx: Context, swim: Peers, relay: Relay) -> None:
        self._ctx = ctx
        self._swim = swim
        self._relay = relay
        self.table: dict[NodeId, Held] = {}
        self.siblings = Siblings(ctx, self.table)
        self.neighbours = Neighbours(ctx, self.table, self.siblings)
        self.refused = 0
        self._all: tuple[Sequence[NodeId], Sequence[NodeId], Sequence[NodeId]] = ((), (), ())
        """Agents and heads as they were last, and all of them."""
        self.roster = Roster(ctx.now)
        """Of agents, where these nodes are agents: what they are told of each other."""

    def room(self) -> int:
        return self._ctx.config.nodes_per_agent - len(self.table)

    def on_lease(self, source: NodeId, lease: Lease) -> None:
        ctx, at, delays = self._ctx, self._ctx.position.at, self._relay.delays()
        held = self.table.get(source)
        hints: tuple[AgentHint, ...] = ()
        if held is None and lease.brief:
            ctx.send(source, LeaseReply(lease.seq, True, (), at, again=True))
            return
        if held is None:
            held = Held(source, ctx.now)
            held.take(lease, ctx.now)
            hints = self.first_hints(held)
            if len(self.table) >= ctx.config.nodes_most:
                self.refused += 1
                ctx.send(source, LeaseReply(lease.seq, False, hints, at))
                return
            self.table[source] = held
        else:
            held.take(lease, ctx.now)
            if held.owed:
                hints = tuple(self._hint(agent) for agent in held.owed)
                held.owed = ()
            elif ctx.now >= held.hint_at:
                hints = self._better(held)
                if not hints and 2 * len(self._swim.agents()) >= 3 * held.agents:
                    hints = self.first_hints(held)  # who came early knows only those that were there then
        if lease.measured:
            self.siblings.take(source, lease.measured)
        news = () if held.told is delays else delays
        held.told = delays
        if not moved(at, held.told_at):
            at = 0
        else:
            held.told_at = at
        wanted = self.siblings.wanted(held)
        if ctx.level:
            ctx.send(source, LeaseReply(lease.seq, True, hints, at, news, wanted, (), self.roster.since(lease.zone)))
            return
        wanted = wanted or self.neighbours.wanted(held, self._all_agents())
        ctx.send(source, LeaseReply(lease.seq, True, hints, at, news, wanted, self._relay.near(held)))

    def _all_agents(self) -> int:
        """In a zone only those of it are known: there are about as many zones as nodes of an agent, on each level above."""
        config = self._ctx.config
        zones: int = config.nodes_per_agent ** max(0, config.depth - 2)
        return len(self._swim.agents()) * zones

    def release(self, source: NodeId) -> None:
        self.table.pop(source, None)

    def expire(self) -> None:
        """Forgets nodes that have been silent for the lease time-out (three missed leases at least)."""
        limit = self._ctx.now - max(self._ctx.config.lease_timeout, 3 * self._ctx.budget.lease_interval() + SECOND)
        for node in [node for node, held in self.table.items() if held.heard_at < limit]:
            del self.table[node]
        self.neighbours.forget()

    def tell(self) -> None:
        """A head's, once a second: agents of a zone that has changed hear of it at once, unless there are too many of them."""
        before = self.roster.seq
        self.roster.update(self.table)
        if self.roster.seq > before and len(self.table) <= 2 * self._ctx.config.nodes_per_agent:
            news = self.roster.since(before)
            for node in self.table:
                self._ctx.send(node, LeaseReply(0, True, (), self._ctx.position.at, zone=news))

    def slept(self, span: Nanos) -> None:
        """This process stood still for `span`; the nodes are not to blame for it."""
        for held in self.table.values():
            held.heard_at += span

    # Hints

    def _hint(self, agent: NodeId) -> AgentHint:
        member = self._swim.members.get(agent)
        return AgentHint(agent, 0) if member is None else AgentHint(agent, member.srtt, member.at)

    def first_hints(self, held: Held) -> tuple[AgentHint, ...]:
        """For a newcomer: agents likely to serve it well, then some by chance, wherever they are."""
        held.agents = len(self._swim.agents())
        limit = min(FIRST_HINTS, self._ctx.config.known_agents)  # it would forget more
        near = self.likely(held, limit // 2)
        told = {self._ctx.me, held.node, *(hint.agent for hint in near)}
        others = [agent for agent in self._known() if agent not in told]
        chance = self._ctx.rng.sample(others, min(len(others), limit - len(near)))
        return near + tuple(self._hint(agent) for agent in chance)

    def _known(self) -> Sequence[NodeId]:
        """Agents and heads, sorted."""
        agents, above = self._swim.agents(), self._swim.above()
        if not above:
            return agents
        if self._all[0] is not agents or self._all[1] != above:
            self._all = agents, above, sorted({*agents, *above})
        return self._all[2]

    def _better(self, held: Held) -> tuple[AgentHint, ...]:
        """Agents that may serve a node better than this one does, at the times at which it is told of such."""
        share = mix(held.rates()) if held.demand else {}
        mine = {one.app: one.rtt for one in self._relay.delays()}
        now_at = held.rtt + int(TOWARDS_REPLICAS * sum((share[app] * mine.get(app, 0) for app in share), 0.0))
        found = []
        for hint in self.likely(held, LATER_HINTS):
            member = self._swim.members[hint.agent]
            pauses = held.hinted.get(hint.agent, NO_PAUSE)
            if self._cost(held, member, share, GUESS_SHARE) < now_at - MILLISECOND and over(pauses, self._ctx.now):
                found.append(hint)
                if held.hinted is NOTHING:
                    held.hinted = {}
                held.hinted.pop(hint.agent, None)
                held.hinted[hint.agent] = paused(pauses, self._ctx.now, HINT_AGAIN, HINT_DOUBLED)
        while len(held.hinted) > HINTED:
            del held.hinted[next(iter(held.hinted))]
        held.hint_pause = HINT_FIRST if found else min(HINT_MOST, max(HINT_FIRST, 2 * held.hint_pause))
        held.hint_at = self._ctx.now + self._ctx.budget.stretched(held.hint_pause)
        return tuple(found)

    def replicas_changed(self) -> None:
        """The agents' delays to them will; who was not better before may be so then."""
        for held in self.table.values():
            held.hinted = NOTHING
            held.hint_pause = 0
            held.hint_at = self._ctx.now + self._ctx.jitter(HINT_FIRST, 0.5, 3.0)

    def likely(self, held: Held, limit: int) -> tuple[AgentHint, ...]:
        """Agents that are likely to cost a node least, as far as can be told from here.

        None costs less than its ring is off the node's (`_ring`), so in the order of that most need not be looked at.
        """
        share = mix(held.rates()) if held.demand else {}
        here = held.rtt
        near = self._swim.near()
        farther = bisect_left(near, here, key=lambda member: member.delay())
        nearer = farther - 1
        best: list[tuple[Nanos, NodeId, Member]] = []
        while nearer >= 0 or farther < len(near):
            inward = here - near[nearer].delay() if nearer >= 0 else NEVER
            outward = near[farther].delay() - here if farther < len(near) else NEVER
            if len(best) == limit and min(inward, outward) > best[-1][0]:
                break
            if inward <= outward:
                member = near[nearer]
                nearer -= 1
            else:
                member = near[farther]
                farther += 1
            if member.node != held.node:
                insort(best, (self._cost(held, member, share), member.node, member))  # no two of one name
                del best[limit:]
        return tuple(AgentHint(node, member.srtt, member.at) for _, node, member in best)

    def _cost(self, held: Held, member: Member, share: dict[AppId, float], trust: float = 1.0) -> Nanos:
        delay = 0.0
        for app, part in share.items():
            delay += part * (delay_of(member.delays, app) or 0)
        return int(trust * _guess(held, member) + TOWARDS_REPLICAS * delay)

    def offer(self, member: Member) -> None:
        """A new agent was measured: nodes it may suit are told, now if they are badly served, others with their next lease."""
        ctx = self._ctx
        near_enough = ctx.config.near_enough
        hint = (AgentHint(member.node, member.srtt, member.at),)
        for held in self.table.values():
            if held.node == member.node:
                continue
            held.hint_pause = 0
            held.hint_at = min(held.hint_at, ctx.now + HINT_FIRST)
            if held.rtt - int(GUESS_SHARE * _ring(held, member)) <= MILLISECOND:
                continue  # whatever coordinates say
            nearer = held.rtt - int(GUESS_SHARE * _guess(held, member))
            if nearer <= MILLISECOND:
                continue
            if held.rtt > near_enough and nearer > held.rtt // 2:
                ctx.send(held.node, LeaseReply(0, True, hint, ctx.position.at))
            elif member.node not in held.owed:
                held.owed = (*held.owed, member.node)[-LATER_HINTS:]


def _ring(held: Held, member: Member) -> Nanos:
    """No nearer than this is a node to another agent, by the triangle inequality: by how much its ring around this agent is off
    the other's (Meridian's rings: Wong, Slivkins, Sirer, SIGCOMM 2005)."""
    here, there = held.rtt, member.delay()
    return there - here if there > here else here - there


def _guess(held: Held, member: Member) -> Nanos:
    """From a node to another agent."""
    ring, guess = _ring(held, member), expected(held.at, member.at)
    if guess <= ring:
        return ring
    most = member.delay() + held.rtt
    return guess if guess < most else most
