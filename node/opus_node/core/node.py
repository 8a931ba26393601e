"""The core's one door: `NodeCore.step(event, now) -> Ready`.

    Event --dispatch--> parts --sends, replies, notices, timers--> Ready

Parts: attach (a node's way in), client (its requests), replica (what it serves), and, while the node is an agent, agent
(membership, leases, promotion, stewardship, relaying). They share one `Context` and call each other directly; nothing
outside is touched. The same events at the same times give the same answers, whatever machine, whatever hash seed.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final, get_args

from opus_node.core import levels
from opus_node.core.agent import AgentRole, Links
from opus_node.core.attach import Attachment
from opus_node.core.client import Client
from opus_node.core.context import REFUTATIONS, Context
from opus_node.core.departure import LINGER, Departure
from opus_node.core.events import (
    Boot,
    Consumed,
    Event,
    Leave,
    Metered,
    Ready,
    Receive,
    Request,
    RoleChanged,
    Served,
    ServiceHealth,
    Snapshot,
    Unreachable,
    Wake,
)
from opus_node.core.levels import Level
from opus_node.core.messages import (
    NO_AGENT,
    NOT_READY,
    Ack,
    AgentOrder,
    AgentReport,
    AgentsKnown,
    Appoint,
    AppointReply,
    BeatReply,
    Data,
    Demand,
    FindAgents,
    Lease,
    LeaseReply,
    MemberUpdate,
    Nack,
    NearReplicas,
    Ping,
    PingReq,
    Probe,
    ProbeReply,
    Promote,
    Release,
    ReplicaBeat,
    ReplicaSet,
    ReplicaSilent,
    Reply,
    RouteAck,
    RouteRefuse,
    RouteRequest,
    Summary,
    SummaryWanted,
    Survey,
    Surveyed,
    Sync,
)
from opus_node.core.once import Once
from opus_node.core.prober import Prober
from opus_node.core.replica import Replica
from opus_node.core.replies import Replies
from opus_node.core.sets import newer
from opus_node.core.spreads import AmongReplicas, Spreads
from opus_node.core.steward import Stewards
from opus_node.core.swim import ALIVE, LEFT, Swim
from opus_node.core.types import SECOND, AppId, Nanos, NodeConfig, NodeId

Levelled = (
    FindAgents
    | AgentsKnown
    | Probe
    | ProbeReply
    | Lease
    | LeaseReply
    | Release
    | Promote
    | AgentReport
    | AgentOrder
    | Ping
    | PingReq
    | Ack
    | Nack
    | Sync
    | Summary
)
SLEPT: Nanos = 3 * SECOND // 2
"""A wake so late means that the process stood still (paused, swapped out), not that others were silent."""
KNOWN_TOLD = 8
ENTRY_BYTES = 40
"""About what one table entry takes when encoded: a name of 12 to 14 bytes, a few integers, tags."""


class NodeCore:
    """One node of the overlay. Not thread-safe; `now` must never go backward (an earlier one is taken for the last)."""

    __slots__ = (
        *("_attachment", "_booted", "_client", "_ctx", "_departure", "_levels", "_links", "_once", "_prober", "_replica"),
        *("_replies", "_routed", "_seeds", "_shed", "_spreads"),
    )

    def __init__(self, node_id: NodeId, config: NodeConfig, rng: Random) -> None:
        ctx = self._ctx = Context(node_id, config, rng)
        self._booted = False
        self._departure: Departure | None = None
        """Once it was asked to go."""
        self._seeds: tuple[NodeId, ...] = ()
        self._prober = Prober(ctx)
        self._attachment = Attachment(ctx, self._prober, self)
        self._spreads = Spreads(ctx, self._prober)
        self._once = Once(ctx)
        self._replica = Replica(ctx, self._once, self)
        self._replies = Replies()
        self._client = Client(ctx, self._prober, self._attachment, self._replica)
        self._levels = [Level(ctx, self._prober, self._attachment)]
        """The lowest, and those above it as soon as anything is to be done there: most nodes have none."""
        self._links: Links | None = None
        self._routed = self._shed = 0
        """Requests, of roles that have ended."""

    # The door

    def step(self, event: Event, now: Nanos) -> Ready:
        """Takes one event at `now` (absolute) and returns all that the runtime must do. Before Boot all else is ignored."""
        ctx = self._ctx
        if now > ctx.now:
            for level in self._levels:
                level.ctx.now = now
        if self._booted:
            kind = event.__class__
            if kind is Receive:
                handler = _HANDLERS.get(event.message.__class__)  # type: ignore[union-attr]
                if handler is not None:
                    handler(self, event.source, event.message)  # type: ignore[union-attr]
            elif kind is Wake:
                self._wake()
            elif kind is Request:
                self._client.request(event)  # type: ignore[arg-type]
            elif kind is Served:
                self._served(event)  # type: ignore[arg-type]
            elif kind is Unreachable:
                self._unreachable(event.peer)  # type: ignore[union-attr]
            elif kind is Metered:
                self._metered(event.control_bytes)  # type: ignore[union-attr]
            elif kind is ServiceHealth:
                self._replica.programs.on_health(event)  # type: ignore[arg-type]
            elif kind is Consumed:
                self._replica.programs.on_consumed(event)  # type: ignore[arg-type]
            elif kind is Leave and self._departure is None:
                self._leave()
        elif isinstance(event, Boot):
            self._boot(event)
        return self._ready()

    def _ready(self) -> Ready:
        ctx = self._ctx
        wake_at = ctx.timers.next()
        left = self._departure is not None and self._departure.over
        if not (ctx.sends or ctx.notices or ctx.replies or ctx.serves):
            return Ready((), (), (), wake_at, (), left)
        ready = Ready(tuple(ctx.sends), ctx.replies, tuple(ctx.notices), wake_at, ctx.serves, left)
        ctx.sends.clear()
        ctx.serves = ()
        if ctx.notices:
            ctx.notices.clear()
            ctx.replies = ()
        return ready

    def _boot(self, event: Boot) -> None:
        ctx = self._ctx
        self._booted = True
        self._seeds = event.seeds
        ctx.booted_at = ctx.now
        ctx.incarnation = event.incarnation
        ctx.agent_incarnation = (event.incarnation << REFUTATIONS) + 1
        self._replica.registers.boot(event.seeds)
        if ctx.me in event.seeds or ctx.config.depth == 1:
            others = tuple(MemberUpdate(seed, ALIVE, 0, "") for seed in event.seeds if seed != ctx.me)
            for number in range(levels.count(ctx.config)):
                self._become_agent(self._level(number), others, (), ())
        else:
            self._attachment.start(event.seeds)

    def _wake(self) -> None:
        ctx = self._ctx
        due = ctx.timers.next()
        late = 0 if due is None else ctx.now - due
        for level in self._levels:
            level.ctx.woken(late)
            if late > SLEPT and level.role is not None:
                level.role.slept(late)
        ctx.timers.fire(ctx.now)

    def _leave(self) -> None:
        """Nobody is to find out by silence: agents and nodes of its own are told, stewards, and whoever it is a node of."""
        served = self._role is not None or bool(self._replica.active())
        for level in reversed(self._levels):
            level.attachment.leave(self._lay_down(level, leaving=True))
        self._replica.leave()
        self._departure = Departure(self._ctx, self._is_held, LINGER if served else 0)

    def _is_held(self) -> bool:
        return self._replica.busy() or self._client.waiting > 0

    def _metered(self, control_bytes: int) -> None:
        ctx, role = self._ctx, self._role
        nodes = None if role is None else sum(len(one.role.leases.table) for one in self._levels if one.role is not None)
        ctx.budget.metered(control_bytes, ctx.now, ctx.now - ctx.booted_at, nodes, bool(self._replica.serving))

    def _unreachable(self, peer: NodeId) -> None:
        """Advice: whoever waits for that peer need not wait out the time-out."""
        self._client.on_unreachable(peer)
        for level in self._levels:
            level.attachment.on_unreachable(peer)
        if self._role is not None:
            self._role.relay.on_unreachable(peer)
        for reply in self._replies.lost_with(peer, self._ctx.now):
            self._ctx.send(peer, reply)

    def snapshot(self) -> Snapshot:
        """What this node would say of itself; changes nothing."""
        role, replica, top = self._role, self._replica, self._top()
        epochs = {app: one.replica_set.epoch for app, one in replica.serving.items()}
        if role is not None:
            epochs.update({one.app: one.epoch for one in role.sets.all()})
        entries = (
            sum(len(level.attachment.ways) for level in self._levels)
            + sum(len(cache.entries) for cache in self._client.caches.values())
            + len(replica.serving)
            + self._spreads.entries()
            + sum(level.role.entries() for level in self._levels if level.role is not None)
        )
        return Snapshot(
            agent=self._attachment.agent,
            is_agent=role is not None,
            replica_of=replica.active(),
            steward_of=() if top is None or top.stewards is None else top.stewards.acting_for(),
            epochs=tuple(sorted(epochs.items())),
            nodes=len(role.leases.table) if role is not None else 0,
            entries=entries,
            state_bytes=entries * ENTRY_BYTES,
            requests_served=replica.served,
            requests_routed=self._routed + (role.relay.routed if role is not None else 0),
            requests_shed=self._shed + replica.shed + (role.relay.shed if role is not None else 0),
            fellows=tuple((app, one.replica_set.members) for app, one in replica.serving.items()),
            level=sum(1 for level in self._levels if level.role is not None),
            spreads=self._spreads.seen(),
        )

    # What the parts ask of each other by way of the core (`attach.Below`, `replica.Around`)

    def demand(self) -> tuple[Demand, ...]:
        self._client.tend(self._ctx.now + self._ctx.budget.lease_interval() * 12 // 10)
        return self._client.demand()

    def shares(self) -> dict[AppId, float]:
        return self._client.shares()

    def near(self, told: NearReplicas) -> None:
        self._client.cache(told.app).told(told)

    def acquainted(self) -> list[NodeId]:
        """Replicas this node uses, and stewards (agents, then) it has heard of."""
        found: list[NodeId] = []
        for cache in self._client.caches.values():
            found += [*cache.entries, cache.steward]
        found += [serving.replica_set.steward for serving in self._replica.serving.values()]
        return [node for node in dict.fromkeys(found) if node and node != self._ctx.me]

    def agent_id(self) -> NodeId:
        return self._attachment.agent

    def acts(self, app: AppId) -> bool:
        stewards = self._stewards()
        return stewards is not None and app in stewards.acting_for()

    def deliver(self, answer: Reply | RouteRefuse) -> None:
        """To its client, perhaps to this node's own: it may have become a replica while its request was under way."""
        if answer.client != self._ctx.me:
            if isinstance(answer, Reply):
                self._replies.sent(answer, self._ctx.now)
            self._once.answer(answer.client, answer)
        elif isinstance(answer, Reply):
            self._client.on_reply(answer.client, answer)
        else:
            self._client.on_refuse(answer.client, answer)

    def wrote(self, request: Request | RouteRequest) -> None:
        self._spreads.wrote(request)

    def _demand_for(self, app: AppId) -> Demand:
        cache = self._client.caches.get(app)
        return Demand(app, 0.0) if cache is None else cache.demand()

    def _known_set(self, app: AppId) -> ReplicaSet | None:
        if self._role is not None:
            return self._role.sets.get(app)
        serving = self._replica.serving.get(app)
        return None if serving is None else serving.replica_set

    def _learn(self, new: ReplicaSet) -> None:
        """The one place where replica sets are compared: only a greater one has any effect."""
        before = self._known_set(new.app)
        if not newer(new, before):
            return
        self._replica.learn(new)
        self._spreads.learn(new)
        for level in self._levels:
            if level.role is not None:
                level.role.learned(new, before)

    # The agent's role, on each level

    @property
    def _role(self) -> AgentRole | None:
        """That of the lowest: it serves nodes."""
        return self._levels[0].role

    def _top(self) -> AgentRole | None:
        """That of the highest: stewards are there."""
        return self._levels[-1].role if len(self._levels) == levels.count(self._ctx.config) else None

    def _level(self, number: int) -> Level:
        """One of those that exist at this depth."""
        while len(self._levels) <= number:
            self._levels.append(levels.above(self._levels[-1], self._ctx))
        return self._levels[number]

    def _at(self, message: Levelled) -> Level | None:
        """A peer of another depth may speak of levels that do not exist here."""
        number = message.level
        if not number:
            return self._levels[0]
        return self._level(number) if 0 < number < levels.count(self._ctx.config) else None

    def _role_at(self, message: Levelled) -> AgentRole | None:
        level = self._at(message)
        return None if level is None else level.role

    def _linked(self) -> Links:
        """What roles ask of the rest of this node."""
        if self._links is None:
            self._links = Links(
                once=self._once,
                learn=self._learn,
                demand=self._demand_for,
                hopeless=self._replica.programs.hopeless,
                registers=self._replica.registers,
                silent=self._silent,
                surveyed=self._surveyed,
                retire=self._step_down,
                rise=self._rise,
            )
        return self._links

    def _become_agent(
        self, level: Level, agents: tuple[MemberUpdate, ...], replica_sets: tuple[ReplicaSet, ...], above: tuple[NodeId, ...]
    ) -> None:
        """`agents` as whoever promoted it sees them; `above`: ways in to the next level."""
        ctx, number = self._ctx, level.ctx.level
        former = level.attachment.agent
        known = [*level.attachment.ways.by_agent, *self._seeds]
        level.attachment.stop(ctx.me)
        below = self._levels[number - 1].role if number else None
        upper = self._level(number + 1) if number + 1 < levels.count(ctx.config) else None
        upward = None if upper is None else levels.upward(upper)
        role = level.role = AgentRole(level.ctx, level.prober, self._linked(), self._seeds, below, upward, ctx)
        if not number:
            self._client.relay = role.relay
        ctx.notices.append(RoleChanged(_name(number), True))
        if upper is not None and ctx.me not in self._seeds:
            upper.attachment.start(self._seeds, above)
        served = [serving.replica_set for serving in self._replica.serving.values()]
        role.start(agents, known)
        for one in role.sets.all() if number else ():
            role.learned(one, None)
        for one in (*served, *replica_sets):
            before = role.sets.get(one.app)
            if newer(one, before):
                self._learn_as_agent(one, before)
        if former and former != ctx.me:
            level.ctx.send(former, Release())

    def _learn_as_agent(self, one: ReplicaSet, before: ReplicaSet | None) -> None:
        """What this node knew as a replica is news to its role."""
        self._replica.learn(one)
        self._spreads.learn(one)
        for level in self._levels:
            if level.role is not None:
                level.role.learned(one, before)

    def _step_down(self, number: int) -> None:
        level = self._levels[number]
        if level.role is None or (number + 1 < len(self._levels) and self._levels[number + 1].role is not None):
            return
        level.attachment.start(self._seeds, self._lay_down(level))

    def _lay_down(self, level: Level, *, leaving: bool = False) -> list[NodeId]:
        """Ends the role on a level; other agents there, as many as a node keeps."""
        ctx, number, role = self._ctx, level.ctx.level, level.role
        if role is None:
            return []
        level.ctx.agent_incarnation += 1
        agents = [agent for agent in role.peers.agents() if agent != ctx.me]
        role.stop(leaving=leaving)
        level.role = None
        if number + 1 < len(self._levels) and not leaving:
            self._levels[number + 1].attachment.stop("")
        if not number:
            self._routed += role.relay.routed
            self._shed += role.relay.shed
            self._client.relay = None
        ctx.notices.append(RoleChanged(_name(number), False))
        return agents[: ctx.config.known_agents]

    def _rise(self, number: int) -> None:
        """There is no head to attach to: this node is one, until there are others."""
        level = self._level(number)
        if level.role is None and self._levels[number - 1].role is not None:
            level.ctx.agent_incarnation += 1
            self._become_agent(level, (), (), ())

    def _on_promote(self, source: NodeId, message: Promote) -> None:
        level = self._at(message)
        if level is None or level.role is not None or self._departure is not None:
            return
        if message.level and self._levels[message.level - 1].role is None:
            return  # it has stepped down since
        level.ctx.agent_incarnation += 1
        self._become_agent(level, message.agents, message.replica_sets, message.above)

    def _left(self, level: Level) -> tuple[MemberUpdate, ...]:
        """This node is no agent (any more, or since its restart): greater than whatever it once said as one."""
        return (MemberUpdate(self._ctx.me, LEFT, level.ctx.agent_incarnation, ""),)

    def _swim(self, level: Level | None) -> Swim | None:
        peers = None if level is None or level.role is None else level.role.peers
        return peers if isinstance(peers, Swim) else None

    def _on_ping(self, source: NodeId, message: Ping) -> None:
        level = self._at(message)
        swim = self._swim(level)
        if swim is not None:
            swim.on_ping(source, message)
        elif level is not None:
            level.ctx.send(source, Ack(message.seq, self._left(level), (), self._ctx.position.at))

    def _on_ping_req(self, source: NodeId, message: PingReq) -> None:
        swim = self._swim(self._at(message))
        if swim is not None:
            swim.on_ping_req(source, message)

    def _on_ack(self, source: NodeId, message: Ack) -> None:
        swim = self._swim(self._at(message))
        if swim is not None:
            swim.on_ack(source, message)

    def _on_nack(self, source: NodeId, message: Nack) -> None:
        swim = self._swim(self._at(message))
        if swim is not None:
            swim.on_nack(message)

    def _on_sync(self, source: NodeId, message: Sync) -> None:
        """Between agents of one level; replica sets also between a head and its zone's agents, which have no role there."""
        level = self._at(message)
        role = None if level is None else level.role
        if role is not None and (isinstance(role.peers, Swim) or message.members):
            role.peers.on_sync(source, message)
        if level is None or (role is not None and isinstance(role.peers, Swim)):
            return
        if self._role is not None:
            for one in message.replica_sets:
                self._learn(one)
        if message.reply:
            known = () if self._role is None else self._role.sets.all()
            level.ctx.send(source, Sync(False, () if role is not None else self._left(level), known))

    # Ways in

    def _on_probe(self, source: NodeId, message: Probe) -> None:
        level = self._at(message)
        if level is None:
            return
        role = level.role
        at = self._ctx.position.at
        if role is None:
            level.ctx.send(source, ProbeReply(message.nonce, False, 0, at, stream=message.stream))
        else:
            told = role.relay.delays()
            level.ctx.send(source, ProbeReply(message.nonce, True, role.leases.room(), at, told, stream=message.stream))

    def _on_probe_reply(self, source: NodeId, message: ProbeReply) -> None:
        level = self._at(message)
        if level is not None:
            level.prober.on_reply(source, message)

    def _on_find_agents(self, source: NodeId, message: FindAgents) -> None:
        level = self._at(message)
        if level is None:
            return
        if level.role is not None:
            level.role.on_find_agents(source, message)
        else:
            level.ctx.send(source, AgentsKnown(message.nonce, level.attachment.ways.hints(KNOWN_TOLD)))

    def _on_agents_known(self, source: NodeId, message: AgentsKnown) -> None:
        level = self._at(message)
        if level is not None:
            level.attachment.on_agents_known(source, message)

    def _on_lease(self, source: NodeId, message: Lease) -> None:
        level = self._at(message)
        if level is None:
            return
        if level.role is not None:
            level.role.on_lease(source, message)
        else:
            level.ctx.send(source, LeaseReply(message.seq, False, level.attachment.ways.hints(KNOWN_TOLD)))

    def _on_lease_reply(self, source: NodeId, message: LeaseReply) -> None:
        level = self._at(message)
        if level is not None:
            level.attachment.on_lease_reply(source, message)

    def _on_release(self, source: NodeId, message: Release) -> None:
        role = self._role_at(message)
        if role is not None:
            role.leases.release(source)

    # How many agents

    def _on_agent_report(self, source: NodeId, message: AgentReport) -> None:
        role = self._role_at(message)
        if role is not None:
            role.census.on_report(source, message)

    def _on_agent_order(self, source: NodeId, message: AgentOrder) -> None:
        role = self._role_at(message)
        if role is not None:
            role.promotion.on_order(source, message)

    # Stewardship

    def _stewards(self) -> Stewards | None:
        top = self._top()
        return None if top is None else top.stewards

    def _on_summary(self, source: NodeId, message: Summary) -> None:
        """From another at the top to a steward; from an agent to its head, whose role is one level higher."""
        level = self._at(message)
        if level is None or level.role is None:
            return
        if level.role.stewards is not None:
            level.role.stewards.on_summary(source, message)
            return
        head = self._level(message.level + 1).role
        if head is not None:
            head.aggregate.take(source, message)

    def _on_reply(self, source: NodeId, message: Reply) -> None:
        self._client.on_reply(source, message)

    def _on_data(self, source: NodeId, message: Data) -> None:
        self._replica.registers.on(source, message)

    def _on_among_replicas(self, source: NodeId, message: AmongReplicas) -> None:
        self._spreads.on(source, message)

    def _on_summary_wanted(self, source: NodeId, message: SummaryWanted) -> None:
        for level in self._levels:
            if level.role is not None:
                level.role.on_summary_wanted(source, message.app, message.agent)

    def _on_survey(self, source: NodeId, message: Survey) -> None:
        if self._role is not None:
            self._role.on_survey(source, message)

    def _on_surveyed(self, source: NodeId, message: Surveyed) -> None:
        stewards = self._stewards()
        if stewards is not None:
            stewards.surveyor.on_surveyed(source, message)

    def _surveyed(self, steward: NodeId, answer: Surveyed) -> None:
        if steward == self._ctx.me:
            self._on_surveyed(steward, answer)
        else:
            self._ctx.send(steward, answer)

    def _on_appoint(self, source: NodeId, message: Appoint) -> None:
        self._learn(message.replica_set)
        known = self._known_set(message.replica_set.app) or message.replica_set
        self._replica.answer_appoint(source, known, known.app)

    def _on_appoint_reply(self, source: NodeId, message: AppointReply) -> None:
        stewards = self._stewards()
        if stewards is not None:
            stewards.on_appoint_reply(source, message)

    def _on_beat(self, source: NodeId, message: ReplicaBeat) -> None:
        stewards, known = self._stewards(), self._known_set(message.app)
        if stewards is not None:
            stewards.on_beat(source, message)
        elif self._role is not None and known is not None:
            self._ctx.send(source, BeatReply((known,) if message.epoch < known.epoch else (), known.app))

    def _on_beat_reply(self, source: NodeId, message: BeatReply) -> None:
        for one in message.replica_sets:
            self._learn(one)
        self._replica.on_beat_reply(message)

    def _on_replica_silent(self, source: NodeId, message: ReplicaSilent) -> None:
        stewards = self._stewards()
        if stewards is not None and message.app in stewards.acting_for():
            if message.replica == source:
                stewards.on_leaving(message.app, source)
                return
            stewards.on_replica_silent(message.app, message.replica)
        elif any(level.role is not None and source in level.role.leases.table for level in self._levels[1:]):
            self._silent(message.app, message.replica)

    def _silent(self, app: AppId, replica: NodeId) -> None:
        """A replica did not answer: by way of the heads to the steward."""
        top = self._top()
        if top is not None:
            top.silent(app, replica)
            return
        known = self._known_set(app)
        heads = [level.attachment.agent for level in self._levels if level.role is None]
        if heads and heads[0] not in ("", self._ctx.me):
            self._ctx.send(heads[0], ReplicaSilent(app, known.epoch if known else 0, replica))

    # Requests

    def _on_route_request(self, source: NodeId, message: RouteRequest) -> None:
        if not self._once.first((message.client, message.request, message.attempt)):
            if message.again:
                self._once.again(source, message)
            return
        relays = self._role is not None and not message.direct and message.hops == 1
        if self._replica.serves(message.app) and not (relays and self._replica.registers.elsewhere(message.app, message.key)):
            if self._replica.takes_time(message.app):
                self._replica.ask(source, message)
                return
            self.deliver(self._replica.serve(source, message))
        elif self._role is not None and relays:
            self._role.relay.on_request(source, message)
        else:
            role, other = self._replica.serving.get(message.app), ""
            why = NOT_READY if role is not None and role.active else "not a replica"
            if not message.direct and message.hops == 1:  # by somebody to whom it was an agent
                why, other = NO_AGENT, self._attachment.agent
            self._once.answer(source, RouteRefuse(message.client, message.request, message.attempt, why, other))

    def _served(self, event: Served) -> None:
        answer = self._replica.answered(event)
        if answer is not None:
            self.deliver(answer)

    def _on_route_ack(self, source: NodeId, message: RouteAck) -> None:
        if message.client == self._ctx.me:
            self._client.on_ack(source, message)
        elif self._role is not None:
            self._role.relay.on_ack(source, message)

    def _on_route_refuse(self, source: NodeId, message: RouteRefuse) -> None:
        if message.client == self._ctx.me:
            self._client.on_refuse(source, message)
        elif self._role is not None:
            self._role.relay.on_refuse(source, message)


_HANDLERS: Final[dict[type, Callable[[NodeCore, NodeId, Any], None]]] = {
    RouteRequest: NodeCore._on_route_request,
    Reply: NodeCore._on_reply,
    RouteAck: NodeCore._on_route_ack,
    RouteRefuse: NodeCore._on_route_refuse,
    Lease: NodeCore._on_lease,
    LeaseReply: NodeCore._on_lease_reply,
    Release: NodeCore._on_release,
    Probe: NodeCore._on_probe,
    ProbeReply: NodeCore._on_probe_reply,
    FindAgents: NodeCore._on_find_agents,
    AgentsKnown: NodeCore._on_agents_known,
    Promote: NodeCore._on_promote,
    Ping: NodeCore._on_ping,
    PingReq: NodeCore._on_ping_req,
    Ack: NodeCore._on_ack,
    Nack: NodeCore._on_nack,
    Sync: NodeCore._on_sync,
    Summary: NodeCore._on_summary,
    SummaryWanted: NodeCore._on_summary_wanted,
    Appoint: NodeCore._on_appoint,
    AppointReply: NodeCore._on_appoint_reply,
    ReplicaBeat: NodeCore._on_beat,
    BeatReply: NodeCore._on_beat_reply,
    ReplicaSilent: NodeCore._on_replica_silent,
    Survey: NodeCore._on_survey,
    Surveyed: NodeCore._on_surveyed,
    AgentReport: NodeCore._on_agent_report,
    AgentOrder: NodeCore._on_agent_order,
    Data: NodeCore._on_data,
    **dict.fromkeys(get_args(AmongReplicas), NodeCore._on_among_replicas),
}
"""By class of message; one table for all nodes."""


def _name(level: int) -> str:
    """Of the role on a level, as observers hear it."""
    return ("agent", "head", "head of heads")[level]
