"""The agent's role: what a node does besides, while it is an agent. Built at promotion, thrown away at demotion.

An agent's agent, the head of a zone, has the same role once more, one level up: its nodes are agents, and its requests none. At
the top the agents are one group (`swim`), and stewards are among them; below, an agent hears of the others from its head
(`zone`).

    top     heads <--SWIM--> heads          stewards
    zone      | leases, summaries up        ^ replica sets down
    agents  agents of a zone                requests
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from opus_node.core.aggregate import Aggregate, share
from opus_node.core.census import Census
from opus_node.core.context import Context
from opus_node.core.data.registers import Registers
from opus_node.core.leases import Leases
from opus_node.core.messages import (
    AgentHint,
    AgentsKnown,
    Demand,
    FindAgents,
    KeyRate,
    Lease,
    LeaseReply,
    MemberUpdate,
    ReplicaSet,
    ReplicaSilent,
    Summary,
    Survey,
    Surveyed,
    Sync,
)
from opus_node.core.once import Once
from opus_node.core.popularity import summed
from opus_node.core.prober import Prober
from opus_node.core.promotion import Promotion
from opus_node.core.relay import Relay
from opus_node.core.sets import ReplicaSets
from opus_node.core.steward import ANNOUNCED, Stewards
from opus_node.core.summaries import EARLY, EVERY, Summaries
from opus_node.core.survey import Witness
from opus_node.core.swim import DEAD, Member, Swim
from opus_node.core.timers import Timer
from opus_node.core.types import MILLISECOND, AppId, Nanos, NodeId
from opus_node.core.zone import Upward, Zone

KNOWN_TOLD = 8
"""Agents named to somebody who looks for one."""


@dataclass(frozen=True, slots=True)
class Links:
    """What a role asks of the rest of its node."""

    once: Once
    """Which requests it has taken."""
    learn: Callable[[ReplicaSet], None]
    """Compares and spreads a replica set."""
    demand: Callable[[AppId], Demand]
    """Of local clients."""
    hopeless: Callable[[AppId], bool]
    """Whether this node cannot serve an application though it should."""
    registers: Registers
    """Where data are."""
    silent: Callable[[AppId, NodeId], None]
    """A replica did not answer: whoever is nearer to the steward is told."""
    surveyed: Callable[[NodeId, Surveyed], None]
    """Brings what was measured to the steward that asked."""
    retire: Callable[[int], None]
    """Ends the role on a level."""
    rise: Callable[[int], None]
    """Begins it, since there is nobody else."""


class AgentRole:
    __slots__ = (
        "_above",
        "_below",
        "_ctx",
        "_head",
        "_host",
        "_links",
        "_seed",
        "_summary_timer",
        "_tick_timer",
        "aggregate",
        "census",
        "leases",
        "peers",
        "promotion",
        "relay",
        "sets",
        "stewards",
        "summaries",
        "witness",
    )

    def __init__(
        self,
        ctx: Context,
        prober: Prober,
        links: Links,
        seeds: tuple[NodeId, ...],
        below: AgentRole | None = None,
        above: Upward | None = None,
        host: Context | None = None,
    ) -> None:
        """`below`: this host's role one level down, whose replica sets it shares; `above`: the level above, None
        at the top; `host`: the context in which it is steward, and measures for stewards: those have no level."""
        self._ctx = ctx
        self._host = host or ctx
        self._links = links
        self._below = below
        self._above = above
        self._head: NodeId = ""
        self._seed = ctx.me in seeds
        self.sets: ReplicaSets = ReplicaSets() if below is None else below.sets
        self.relay: Relay = Relay(ctx, prober, links.once, links.silent, self._other) if below is None else below.relay
        delays = self.relay.delays
        learn = links.learn
        self.peers: Swim | Zone = (
            Swim(ctx, prober, self.sets, learn, self._changed, self._measured, delays, seeds)
            if above is None
            else Zone(ctx, prober, above, self._changed, self._measured)
        )
        self.leases = Leases(ctx, self.peers, self.relay)
        self.census = Census(ctx, self.peers, seeds if above is None else (*seeds, ctx.me))
        self.promotion = Promotion(ctx, self.leases, self.peers, self.sets, self.census, delays, self._step_down)
        self.stewards: Stewards | None = None
        if isinstance(self.peers, Swim):
            self.stewards = Stewards(self._host, self.peers, self.sets, learn, links.hopeless, links.registers, self._ask, prober)
        self.summaries = Summaries(ctx, self.leases, self.peers)
        self.aggregate = Aggregate(self._host)
        self.witness = Witness(self._host, prober, links.surveyed)
        self._tick_timer: Timer | None = None
        self._summary_timer: Timer | None = None

    def start(self, agents: tuple[MemberUpdate, ...], lost: Iterable[NodeId]) -> None:
        """`agents` as whoever promoted it sees them, `lost` others this node has heard of."""
        ctx = self._ctx
        self.peers.join(agents, lost)
        self._tick_timer = ctx.timers.at(ctx.now + ctx.jitter(ctx.config.probe_interval, 0.2, 1.0), self._tick)
        self._summary_timer = ctx.timers.at(ctx.now + ctx.jitter(EARLY, 0.5, 1.0), self._summarise)
        if ctx.config.depth > 1:
            self.promotion.start()
        if self.stewards is not None:
            self.stewards.consider()

    def stop(self, *, leaving: bool = False) -> None:
        """Steps down: agents hear `left`, nodes where to go, requests under way are handed back. `leaving`: soon nobody is here
        to say so again, so all agents hear it now."""
        heirs = self.stewards.leave() if leaving and self.stewards is not None else ()
        for timer in (self._tick_timer, self._summary_timer):
            if timer is not None:
                timer.cancel()
        self.promotion.stop()
        for node, held in self.leases.table.items():
            self._ctx.send(node, LeaseReply(0, False, self.leases.likely(held, KNOWN_TOLD)))
        if self._below is None:
            self.relay.stop()
        if self.stewards is not None:
            self.stewards.stop()
        if leaving:
            self.peers.leave(ANNOUNCED, heirs)
        else:
            self.peers.leave()

    def _tick(self, _: object) -> None:
        ctx = self._ctx
        self.leases.expire()
        if self._below is None:
            self.relay.tick()
            self.witness.look(self._measured_replicas())
        else:
            self._tell_zone(self._below.peers)
        if self.stewards is not None:
            self.stewards.consider()
        if self._above is not None:
            self._look_up(self._above.head())
        self._tick_timer = ctx.timers.at(ctx.now + self.peers.tick(), self._tick)

    def _measured_replicas(self) -> dict[NodeId, dict[NodeId, Nanos]]:
        """By their stewards, those that answer."""
        found: dict[NodeId, dict[NodeId, Nanos]] = {}
        for known in self.sets.all():
            away = {one.node: one.srtt for one in self.relay.near_by(known.app) if one.samples and not one.strikes}
            found.setdefault(known.steward, {}).update(away)
        return found

    def _tell_zone(self, own: Swim | Zone) -> None:
        """A head's: who is in it, also to itself as one of its agents, who is to count them."""
        me = self._ctx.me
        self.leases.tell()
        if isinstance(own, Zone):
            own.told(me, self.leases.roster.since(own.heard_to(me)), True)

    def _look_up(self, head: NodeId) -> None:
        """A new head knows nothing of this agent's nodes yet; without any, somebody has to be one."""
        if head and head != self._head:
            self._summarise_soon()
        self._head = head
        if isinstance(self.peers, Zone) and self.peers.headless():
            self._links.rise(self._ctx.level + 1)

    def _other(self) -> NodeId:
        """The nearest other agent; empty if there is none."""
        live = [one for one in self.peers.members.values() if one.live and one.node != self._ctx.me]
        return min(live, key=lambda one: (one.delay(), one.node)).node if live else ""

    def _step_down(self) -> None:
        if not self._seed:
            self._links.retire(self._ctx.level)

    def slept(self, span: Nanos) -> None:
        self.peers.slept()
        self.leases.slept(span)

    # Among agents

    def _changed(self, member: Member, new: bool) -> None:
        self.promotion.agents_changed()
        if member.live:
            self.promotion.on_agent(member)
        elif self._below is not None and isinstance(self._below.peers, Zone):
            self._below.peers.lost(member.node)
        stewards = self.stewards
        if stewards is None:
            return
        if member.live:
            if not new and member.state != DEAD:
                stewards.agent_returned()
            if any(stewards.first(app) == member.node for app in stewards.desks):
                self._summarise_soon()
        stewards.consider()

    def _measured(self, member: Member) -> None:
        self.leases.offer(member)

    def on_find_agents(self, source: NodeId, message: FindAgents) -> None:
        """Itself, then a sample: not all askers should hear of the same few."""
        ctx = self._ctx
        others = [node for node in self.peers.agents() if node not in (ctx.me, source)]
        told = ctx.rng.sample(others, min(KNOWN_TOLD - 1, len(others)))
        members = [self.peers.members[node] for node in told]
        hints = (AgentHint(member.node, member.srtt, member.at) for member in members)
        ctx.send(source, AgentsKnown(message.nonce, (AgentHint(ctx.me, 0, ctx.position.at), *hints)))

    def _ask(self, agent: NodeId, question: Survey) -> None:
        if agent == self._ctx.me:
            self._lowest().on_survey(agent, question)
        else:
            self._host.send(agent, question)

    def _lowest(self) -> AgentRole:
        return self if self._below is None else self._below._lowest()

    def on_survey(self, source: NodeId, message: Survey) -> None:
        """Its own nodes and other agents it knows already."""
        if message.by:
            self.leases.neighbours.errand(message.by, message.nodes)
            return
        known = {node: held.rtt for node in message.nodes if (held := self.leases.table.get(node)) is not None}
        for node in message.nodes:
            member = self.peers.members.get(node)
            if member is not None and member.samples:
                known[node] = member.srtt
        self.witness.on_survey(source, message, known)

    # Among stewards

    def learned(self, new: ReplicaSet, before: ReplicaSet | None) -> None:
        changed = before is None or before.members != new.members
        if self._below is None:
            self.sets.put(new, len(self.peers.agents()))
            self.relay.learn(new)
        else:
            for agent in self.leases.table:
                self._ctx.send(agent, Sync(False, (), (new,)))
        if changed:
            self.leases.replicas_changed()
        self.summaries.learned(before, new)
        if self.stewards is not None:
            self.stewards.learned(new, before)
            if before is None or before.steward != new.steward:
                self._summarise_soon()

    def _summarise_soon(self) -> None:
        """There is a steward, or about to be one, that knows nobody yet."""
        if self._summary_timer is not None:
            self._summary_timer.cancel()
            soon = self._ctx.now + self._ctx.jitter(50 * MILLISECOND, 0.1, 1.0)
            self._summary_timer = self._ctx.timers.at(soon, self._summarise)

    def _summarise(self, _: object) -> None:
        ctx = self._ctx
        every = EVERY
        for config in ctx.config.apps:
            app = config.name
            if self.sets.get(app) is None:
                every = EARLY
            targets = self._summed_up_for(app)
            if targets:
                self._sum_up(app, targets)
        self._summary_timer = ctx.timers.at(ctx.now + ctx.jitter(every), self._summarise)

    def _summed_up_for(self, app: AppId) -> tuple[NodeId, ...]:
        """The stewards that are, or should be, in office; below the top the head. A head reads what it is told itself."""
        if self.stewards is None:
            head = self._above.head() if self._above is not None else ""
            return (head,) if head not in ("", self._ctx.me) else ()
        told, first = self.stewards.acting(app), self.stewards.first(app)
        return tuple(dict.fromkeys(steward for steward in (told, first) if steward))

    def _sum_up(self, app: AppId, targets: tuple[NodeId, ...]) -> None:
        ctx = self._ctx
        for target in targets:
            if target == ctx.me:
                for whole in self.upward(app):
                    if self.stewards is not None:
                        self.stewards.on_summary(ctx.me, whole)
            elif self._below is None:
                ctx.send(target, self.summaries.due(app, target, self.sets.get(app), self._links.demand(app), self._shards(app)))
            else:
                for whole in self.upward(app):
                    told = self.aggregate.due(target, whole)
                    ctx.send(target, replace(told, agent="") if told.agent == ctx.me else told)

    def upward(self, app: AppId) -> list[Summary]:
        """This agent's nodes in brief; a head's, and those of its zone. All in whole."""
        me, known = self._ctx.me, self.sets.get(app)
        if self._below is None:
            return [replace(self.summaries.due(app, me, known, self._links.demand(app), self._shards(app)), agent=me)]
        most = share(len(self.peers.counted()))
        return self.aggregate.of(app, self._below.upward(app), most, known.members if known else ())

    def _shards(self, app: AppId) -> tuple[KeyRate, ...]:
        asked = self.relay.asked.get(app)
        return () if asked is None else asked.told(self._ctx.now)

    def on_summary_wanted(self, source: NodeId, app: AppId, agent: NodeId) -> None:
        if self._below is not None:
            self.aggregate.wanted(app, agent or self._ctx.me, source)
        elif not agent:
            self.summaries.wanted(app, source)

    def silent(self, app: AppId, replica: NodeId) -> None:
        """A replica did not answer: the steward will want to know at once. Asked of the top only."""
        stewards = self.stewards
        if stewards is None or not isinstance(self.peers, Swim):
            return
        steward = stewards.acting(app)
        if steward == self._ctx.me:
            stewards.on_replica_silent(app, replica)
        elif steward:
            known = self.sets.get(app)
            self.peers.doubt(steward)  # if it is dead as well, somebody has to take over
            self._host.send(steward, ReplicaSilent(app, known.epoch if known else 0, replica))

    # As one of a zone, and as its head

    def demand(self) -> tuple[Demand, ...]:
        """Of its nodes and its own clients, for a lease at the head; and how far the replicas are from here."""
        delays = {one.app: one.rtt for one in self.relay.delays()}
        found = []
        for config in self._ctx.config.apps:
            app = config.name
            own, nodes = self._links.demand(app), self.leases.table.values()
            rate = own.rate + sum(held.rate(app) for held in nodes)
            if rate:
                keys = summed((own.keys, *(held.keys(app) for held in nodes)))
                found.append(Demand(app, round(rate, 3), delays.get(app, 0), keys))
        return tuple(found)

    def on_lease(self, source: NodeId, lease: Lease) -> None:
        self.leases.on_lease(source, lease)
        if lease.sets and lease.sets != self.sets.digest():  # one of both has missed something
            self._ctx.send(source, Sync(True, (), self.sets.all()))

    def entries(self) -> int:
        """In tables of this level; replica sets are counted with the lowest."""
        own = len(self.leases.table) + len(self.peers.members) + self.aggregate.entries()
        if self._below is None:
            own += sum(len(one.members) for one in self.sets.all())
        if self.stewards is not None:
            own += sum(len(desk.summaries) + len(desk.watched) + len(desk.ready) for desk in self.stewards.desks.values())
            own += self.stewards.surveyor.entries()
        return own
