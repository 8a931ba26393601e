"""The agent's role: what a node does besides, while it is an agent. Built at promotion, thrown away at demotion."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from opus_node.core.census import Census
from opus_node.core.context import Context
from opus_node.core.leases import Leases
from opus_node.core.messages import (
    AgentHint,
    AgentsKnown,
    FindAgents,
    LeaseReply,
    MemberUpdate,
    ReplicaSet,
    ReplicaSilent,
    Survey,
    Surveyed,
)
from opus_node.core.prober import Prober
from opus_node.core.promotion import Promotion
from opus_node.core.relay import Relay
from opus_node.core.sets import ReplicaSets
from opus_node.core.steward import Stewards
from opus_node.core.summaries import EARLY, EVERY, Summaries
from opus_node.core.survey import Witness
from opus_node.core.swim import DEAD, Member, Swim
from opus_node.core.timers import Timer
from opus_node.core.types import MILLISECOND, AppId, Nanos, NodeId

KNOWN_TOLD = 8
"""Agents named to somebody who looks for one."""


class AgentRole:
    __slots__ = (
        "_ctx",
        "_rate",
        "_retire",
        "_seed",
        "_summary_timer",
        "_tick_timer",
        "census",
        "leases",
        "promotion",
        "relay",
        "sets",
        "stewards",
        "summaries",
        "swim",
        "witness",
    )

    def __init__(
        self,
        ctx: Context,
        prober: Prober,
        learn: Callable[[ReplicaSet], None],
        rate: Callable[[AppId], float],
        retire: Callable[[], None],
        seeds: tuple[NodeId, ...],
        hopeless: Callable[[AppId], bool],
    ) -> None:
        """`learn` compares and spreads a replica set, `rate` is the demand of local clients, `retire` ends this role, `hopeless`:
        whether this node cannot serve an application though it should."""
        self._ctx = ctx
        self._rate = rate
        self._retire = retire
        self._seed = ctx.me in seeds
        self.sets = ReplicaSets()
        self.relay = Relay(ctx, prober, self._report, self._other)
        delays = self.relay.delays
        self.swim = Swim(ctx, prober, self.sets, learn, self._changed, self._measured, delays, seeds)
        self.leases = Leases(ctx, self.swim, self.relay)
        self.census = Census(ctx, self.swim, seeds)
        self.promotion = Promotion(ctx, self.leases, self.swim, self.sets, self.census, delays, self._step_down)
        self.stewards = Stewards(ctx, self.swim, self.sets, learn, hopeless, self._ask)
        self.summaries = Summaries(ctx, self.leases, self.swim)
        self.witness = Witness(ctx, prober, self._surveyed)
        self._tick_timer: Timer | None = None
        self._summary_timer: Timer | None = None

    def start(self, agents: tuple[MemberUpdate, ...], lost: Iterable[NodeId]) -> None:
        """`agents` as whoever promoted it sees them, `lost` others this node has heard of."""
        ctx = self._ctx
        self.swim.join(agents, lost)
        self._tick_timer = ctx.timers.at(ctx.now + ctx.jitter(ctx.config.probe_interval, 0.2, 1.0), self._tick)
        self._summary_timer = ctx.timers.at(ctx.now + ctx.jitter(EARLY, 0.5, 1.0), self._summarise)
        self.promotion.start()
        self.stewards.consider()

    def stop(self) -> None:
        """Steps down: agents hear `left`, nodes where to go, requests under way are handed back."""
        for timer in (self._tick_timer, self._summary_timer):
            if timer is not None:
                timer.cancel()
        self.promotion.stop()
        for node, held in self.leases.table.items():
            self._ctx.send(node, LeaseReply(0, False, self.leases.likely(held, KNOWN_TOLD)))
        self.relay.stop()
        self.stewards.stop()
        self.swim.leave()

    def _tick(self, _: object) -> None:
        ctx = self._ctx
        self.leases.expire()
        self.relay.tick()
        self.stewards.consider()
        self._tick_timer = ctx.timers.at(ctx.now + self.swim.tick(), self._tick)

    def _other(self) -> NodeId:
        """The nearest other agent; empty if there is none."""
        live = [one for one in self.swim.members.values() if one.live and one.node != self._ctx.me]
        return min(live, key=lambda one: (one.rtt.delay(), one.node)).node if live else ""

    def _step_down(self) -> None:
        if not self._seed:
            self._retire()

    def slept(self, span: Nanos) -> None:
        self.swim.slept()
        self.leases.slept(span)

    # Among agents

    def _changed(self, member: Member, new: bool) -> None:
        self.promotion.agents_changed()
        if member.live:
            self.promotion.on_agent(member)
            if not new and member.state != DEAD:
                self.stewards.agent_returned()
            if any(self.stewards.first(app) == member.node for app in self.stewards.desks):
                self._summarise_soon()
        self.stewards.consider()

    def _measured(self, member: Member) -> None:
        self.leases.offer(member)

    def on_find_agents(self, source: NodeId, message: FindAgents) -> None:
        """Itself, then a sample: not all askers should hear of the same few."""
        ctx = self._ctx
        others = [node for node in self.swim.agents() if node not in (ctx.me, source)]
        told = ctx.rng.sample(others, min(KNOWN_TOLD - 1, len(others)))
        members = [self.swim.members[node] for node in told]
        hints = (AgentHint(member.node, member.rtt.srtt, member.at) for member in members)
        ctx.send(source, AgentsKnown(message.nonce, (AgentHint(ctx.me, 0, ctx.position.at), *hints)))

    def _ask(self, agent: NodeId, question: Survey) -> None:
        if agent == self._ctx.me:
            self.on_survey(agent, question)
        else:
            self._ctx.send(agent, question)

    def _surveyed(self, steward: NodeId, answer: Surveyed) -> None:
        if steward == self._ctx.me:
            self.stewards.surveyor.on_surveyed(steward, answer)
        else:
            self._ctx.send(steward, answer)

    def on_survey(self, source: NodeId, message: Survey) -> None:
        """Its own nodes and other agents it knows already."""
        if message.by:
            self.leases.neighbours.errand(message.by, message.nodes)
            return
        known = {node: held.rtt for node in message.nodes if (held := self.leases.table.get(node)) is not None}
        for node in message.nodes:
            member = self.swim.members.get(node)
            if member is not None and member.rtt.samples:
                known[node] = member.rtt.srtt
        self.witness.on_survey(source, message, known)

    # Among stewards

    def learned(self, new: ReplicaSet, before: ReplicaSet | None) -> None:
        self.sets.put(new, len(self.swim.agents()))
        self.relay.learn(new)
        if before is None or before.members != new.members:
            self.leases.replicas_changed()
        self.summaries.learned(before, new)
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
        for app in self.stewards.desks:
            known = self.sets.get(app)
            if known is None:
                every = EARLY
            told = self.stewards.acting(app)
            first = self.stewards.first(app)
            for steward in (told,) if told == first else (told, first):
                if not steward:
                    continue
                summary = self.summaries.due(app, steward, known, self._rate(app))
                if steward == ctx.me:
                    self.stewards.on_summary(ctx.me, summary)
                else:
                    ctx.send(steward, summary)
        self._summary_timer = ctx.timers.at(ctx.now + ctx.jitter(every), self._summarise)

    def _report(self, app: AppId, replica: NodeId) -> None:
        """A replica did not answer: the steward will want to know at once."""
        steward = self.stewards.acting(app)
        if steward == self._ctx.me:
            self.stewards.on_replica_silent(app, replica)
        elif steward:
            known = self.sets.get(app)
            self.swim.doubt(steward)  # if it is dead as well, somebody has to take over
            self._ctx.send(steward, ReplicaSilent(app, known.epoch if known else 0, replica))

    def entries(self) -> int:
        return (
            len(self.leases.table)
            + len(self.swim.members)
            + sum(len(one.members) for one in self.sets.all())
            + sum(len(desk.summaries) + len(desk.watched) for desk in self.stewards.desks.values())
            + self.stewards.surveyor.entries()
        )
