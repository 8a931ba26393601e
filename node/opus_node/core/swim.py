"""Membership among agents: SWIM (Das, Gupta, Motivala 2002) with Lifeguard (Dadgar, Phillips, Currey 2018).

    alive --no ack, directly or through helpers--> suspect --time-out, shortened by confirmations--> dead ("lost")
      ^                                               |                                                |
      +------- refuted: alive at a greater incarnation +------ it answers a ping: it refutes, Sync -----+

Dead agents are kept for some minutes and pinged one after the other, so the halves of a healed partition find each other
within about a second. `left` is the last word of an agent that stepped down.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence

from opus_node.core.context import Context
from opus_node.core.coordinates import Place
from opus_node.core.events import MemberChanged
from opus_node.core.messages import Ack, AppDelay, MemberUpdate, Nack, Ping, PingReq, ProbeReply, ReplicaSet, Sync
from opus_node.core.placement import first_of
from opus_node.core.prober import Prober
from opus_node.core.rtt import Rtt
from opus_node.core.sets import ReplicaSets
from opus_node.core.timers import Timer
from opus_node.core.types import SECOND, Nanos, NodeId
from opus_node.core.ways import DELAYS

ALIVE, SUSPECT, DEAD, LEFT = "alive", "suspect", "dead", "left"

FEWEST = 3
"""Agents, whatever the need: one is a single point of failure."""
UPDATES = 6
"""Gossip carried by one message at most."""
CONFIRMATIONS = 3
"""Independent suspicions that bring the time-out down to its least (memberlist)."""
SHORTEST = 2
"""The least suspicion is the longest divided by this."""
HEALTH_MAX = 4
"""Lifeguard's local health; time-outs are multiplied by 1 + half of it. Low, since whoever is left alone must not think ill of
itself for long: it is needed."""
UNMEASURED: Nanos = 1 * SECOND
LOST_KEPT: Nanos = 300 * SECOND
LOST_MAX = 64
LOST_EAGER: Nanos = 60 * SECOND
"""A lost agent is pinged each period for so long, then every fourth."""
SYNC_EVERY = 10
"""Probe periods between two anti-entropy exchanges; of digests, and of all that is known only where those differ."""
NOT_SYNCED: Nanos = -SECOND
DIGEST_BYTES = 6
RELAYED = 256
TOLD_OF_LEAVING = 4
"""Agents, by one that stays as a node and answers for itself."""
GREETED = 8
"""Agents pinged at once when a Sync tells that the other side takes them for dead where this one does not, or the reverse."""


class Member(Rtt):
    """Another agent in this one's view."""

    __slots__ = ("at", "confirmed", "delays", "incarnation", "node", "since", "state", "suspicion", "synced_at")

    def __init__(self, node: NodeId, incarnation: int, now: Nanos) -> None:
        super().__init__()
        self.node = node
        self.state = ALIVE
        self.incarnation = incarnation
        self.since = now
        self.at: Place = 0
        self.delays: tuple[AppDelay, ...] = ()
        """To the replicas it would choose, as it says."""
        self.suspicion: Timer | None = None
        self.confirmed: tuple[NodeId, ...] = ()
        self.synced_at: Nanos = NOT_SYNCED

    @property
    def live(self) -> bool:
        return self.state == ALIVE or self.state == SUSPECT


def nearest_first(members: Iterable[Member]) -> list[Member]:
    """Of those that live."""
    return sorted([one for one in members if one.live], key=lambda one: (one.delay(), one.node))


class Probing:
    """The probe of this period."""

    __slots__ = ("helpers", "member", "nacks", "seq", "timer")

    def __init__(self, member: Member, seq: int, timer: Timer) -> None:
        self.member = member
        self.seq = seq
        self.timer = timer
        self.helpers = 0
        self.nacks = 0


class Rumour:
    """An update and how often it is still to be passed on."""

    __slots__ = ("left", "update")

    def __init__(self, update: MemberUpdate, left: int) -> None:
        self.update = update
        self.left = left


class Swim:
    __slots__ = (
        "_agents",
        "_changed",
        "_ctx",
        "_delays",
        "_health",
        "_learn",
        "_lost_turn",
        "_measured",
        "_near",
        "_order",
        "_pings",
        "_prober",
        "_probing",
        "_queue",
        "_relayed",
        "_seeds",
        "_seq",
        "_sets",
        "_ticks",
        "fewest",
        "members",
        "version",
    )

    def __init__(
        self,
        ctx: Context,
        prober: Prober,
        sets: ReplicaSets,
        learn: Callable[[ReplicaSet], None],
        changed: Callable[[Member, bool], None],
        measured: Callable[[Member], None],
        delays: Callable[[], tuple[AppDelay, ...]],
        seeds: tuple[NodeId, ...],
    ) -> None:
        """`changed(member, new)` after each change of state; `measured(member)` after the first round trip to it.

        `delays` is how far this agent is from the replicas it would choose; others hear it.

        `seeds` are never forgotten, however long they are silent: the last way back for an agent left alone.
        """
        self._seeds = seeds
        self.fewest = FEWEST
        self._ctx = ctx
        self._prober = prober
        self._sets = sets
        self._learn = learn
        self._changed = changed
        self._measured = measured
        self._delays = delays
        self.members: dict[NodeId, Member] = {}
        self.version = 0
        """Grows with every change of who is live."""
        self._agents: tuple[NodeId, ...] = (ctx.me,)
        self._near: list[Member] | None = None
        """None: to be sorted again."""
        self._order: list[NodeId] = []
        self._queue: dict[NodeId, Rumour] = {}
        self._seq = 0
        self._ticks = 0
        self._lost_turn = 0
        self._health = 0
        self._probing: Probing | None = None
        self._pings: dict[int, tuple[NodeId, Nanos]] = {}
        self._relayed: dict[int, tuple[NodeId, int, Timer]] = {}
        self._broadcast(self._self_update())

    # Reading

    def agents(self) -> tuple[NodeId, ...]:
        """Live agents, this one among them, sorted."""
        return self._agents

    def near(self) -> Sequence[Member]:
        if self._near is None:
            self._near = nearest_first(self.members.values())
        return self._near

    def counted(self) -> tuple[NodeId, ...]:
        """Those that one steward of the agents counts: all of them."""
        return self._agents

    def steward(self) -> NodeId:
        """Of the agents: the first by rendezvous hashing for no application."""
        return first_of("", self._agents)

    def above(self) -> tuple[NodeId, ...]:
        """There is no level above this one."""
        return ()

    def is_live(self, node: NodeId) -> bool:
        member = self.members.get(node)
        return node == self._ctx.me or (member is not None and member.live)

    def doubted(self, node: NodeId) -> bool:
        """Whether somebody has asked it in vain, and it has not been heard since."""
        member = self.members.get(node)
        return member is not None and member.state == SUSPECT

    def _self_update(self, state: str = ALIVE) -> MemberUpdate:
        return MemberUpdate(self._ctx.me, state, self._ctx.agent_incarnation, "")

    def _update_of(self, member: Member) -> MemberUpdate:
        source = self._ctx.me if member.state == SUSPECT else ""
        return MemberUpdate(member.node, member.state, member.incarnation, source)

    def table(self) -> tuple[MemberUpdate, ...]:
        """All that is known, this agent first."""
        return (self._self_update(), *(self._update_of(member) for member in self.members.values() if member.state != LEFT))

    # Coming and going

    def join(self, updates: tuple[MemberUpdate, ...], lost: Iterable[NodeId] = ()) -> None:
        """Takes over what is known and says hello to three of the agents.

        Agents said to be dead, and `lost` ones known from before, are pinged in turn: whoever promoted this agent may
        have been cut off, and may be gone tomorrow.
        """
        for update in updates:
            if update.state == DEAD:
                self._remember(update.member, update.incarnation)
            elif update.member != self._ctx.me:
                self._apply(update)
        for node in lost:
            self._remember(node, 0)
        others = [node for node in self._agents if node != self._ctx.me]
        for node in self._ctx.rng.sample(others, min(3, len(others))):
            self._ctx.send(node, Sync(True, self.table(), self._sets.all()))

    def _remember(self, node: NodeId, incarnation: int) -> None:
        if node != self._ctx.me and node not in self.members:
            member = self.members[node] = Member(node, incarnation, self._ctx.now)
            member.state = DEAD

    def leave(self, most: int = TOLD_OF_LEAVING, first: Iterable[NodeId] = ()) -> None:
        """Tells `first`, and so many other agents; gossip tells the rest."""
        told = [node for node in dict.fromkeys(first) if node != self._ctx.me]
        others = [node for node in self._agents if node != self._ctx.me and node not in told]
        for node in (*told, *self._ctx.rng.sample(others, min(most, len(others)))):
            self._ctx.send(node, Sync(False, (self._self_update(LEFT),), ()))
        for member in self.members.values():
            if member.suspicion is not None:
                member.suspicion.cancel()
        for _, _, timer in self._relayed.values():
            timer.cancel()
        self._probing = None

    # One protocol period

    def tick(self) -> Nanos:
        """Probes one member; returns how long the next period should be."""
        self._ticks += 1
        if self._probing is None:
            self._probe_next()
        self._ping_lost()
        if self._ticks % SYNC_EVERY == 0:
            others = [node for node in self._agents if node != self._ctx.me]
            if others:
                self._ctx.send(self._ctx.rng.choice(others), Sync(True, (), (), self._digest()))
        if self._ticks % 64 == 0:
            self._forget_lost()
        return self._ctx.jitter(self._ctx.config.probe_interval, 0.95, 1.05)

    def _probe_next(self) -> None:
        """The next whom nobody suspects. Those in between are told of their suspicion by a ping, which takes no turn: when many
        have died at once, each turn finds one more of them."""
        for _ in ("what is left of this round", "a new one"):
            while self._order:
                member = self.members.get(self._order.pop())
                if member is not None and member.state == ALIVE:
                    self._probe(member)
                    return
                if member is not None and member.live:
                    self._ping(member)
            self._order = [node for node in self._agents if node != self._ctx.me]
            self._ctx.rng.shuffle(self._order)

    def doubt(self, node: NodeId) -> None:
        """Something hangs on this agent being alive: probe it out of turn."""
        member = self.members.get(node)
        if member is not None and member.state == ALIVE and self._probing is None:
            self._probe(member)

    def _probe(self, member: Member) -> None:
        seq = self._ping(member)
        self._probing = Probing(member, seq, self._ctx.timers.at(self._ctx.now + self._wait(member), self._indirect, seq))

    def _ping(self, member: Member) -> int:
        """Whoever is suspected or lost hears it with the ping, so that it can refute at once (Lifeguard's buddy system)."""
        self._seq += 1
        if len(self._pings) >= RELAYED:
            del self._pings[next(iter(self._pings))]
        self._pings[self._seq] = (member.node, self._ctx.now)
        self._ctx.send(member.node, Ping(self._seq, self._gossip(member), self._sets.gossip()))
        return self._seq

    def _wait(self, member: Member) -> Nanos:
        return self._ctx.patience(member, UNMEASURED) * (1 + self._health // 2)

    def _indirect(self, seq: int) -> None:
        probing = self._probing
        if probing is None or probing.seq != seq:
            return
        ctx, member = self._ctx, probing.member
        others = [node for node in self._agents if node not in (ctx.me, member.node)]
        others = [node for node in others if self.members[node].state == ALIVE]
        helpers = ctx.rng.sample(others, min(ctx.config.indirect_probes, len(others)))
        wait = 2 * self._wait(member)
        for helper in helpers:
            ctx.send(helper, PingReq(seq, member.node, self._gossip(None)))
            wait = max(wait, ctx.patience(self.members[helper], UNMEASURED) + self._wait(member))
        probing.helpers = len(helpers)
        self._ping(member)  # once more directly: one lost packet is no verdict
        wait = min(wait, 2 * (ctx.config.probe_interval + ctx.lag))
        probing.timer = ctx.timers.at(ctx.now + wait, self._verdict, seq)

    def _verdict(self, seq: int) -> None:
        probing = self._probing
        if probing is None or probing.seq != seq:
            return
        self._probing = None
        # A helper that sends not even a Nack says that the fault may be here (Lifeguard).
        missed = probing.helpers - probing.nacks if probing.helpers else 1
        self._health = min(HEALTH_MAX, self._health + (1 if missed > 0 else 0))
        member = probing.member
        if member.live:
            self._apply(MemberUpdate(member.node, SUSPECT, member.incarnation, self._ctx.me))

    def slept(self) -> None:
        """The process stood still: what looks like silence of others was its own (Lifeguard, to the extreme)."""
        self._probing = None
        self._health = min(HEALTH_MAX, self._health + 2)
        for member in self.members.values():
            if member.state == SUSPECT:
                self._suspect_timer(member)

    # Messages

    def on_ping(self, source: NodeId, message: Ping) -> None:
        self._take(message.updates)
        self._take_sets(message.replica_sets)
        member = self._known(source)
        self._ctx.send(source, Ack(message.seq, self._gossip(member), self._sets.gossip(), self._ctx.position.at, self._delays()))

    def on_ack(self, source: NodeId, message: Ack) -> None:
        before = self.members.get(source)
        was_lost = before is not None and not before.live
        self._take(message.updates)
        self._take_sets(message.replica_sets)
        sent = self._pings.pop(message.seq, None)
        member = self.members.get(source)
        if sent is not None and sent[0] == source and member is not None:
            self._sample(member, self._ctx.now - sent[1], message.at)
            member.delays = message.delays[:DELAYS]
        if was_lost and member is not None and member.state != LEFT:
            self._sync(member)
        probing = self._probing
        if probing is not None and (
            probing.seq == message.seq or (sent is not None and sent[0] == probing.member.node == source)
        ):
            probing.timer.cancel()
            self._probing = None
            self._health = max(0, self._health - 1)
        relayed = self._relayed.pop(message.seq, None)
        if relayed is not None:
            relayed[2].cancel()
            self._ctx.send(relayed[0], Ack(relayed[1], self._gossip(None), ()))

    def on_ping_req(self, source: NodeId, message: PingReq) -> None:
        self._take(message.updates)
        member = self.members.get(message.target)
        if member is None or len(self._relayed) >= RELAYED:
            return
        seq = self._ping(member)
        timer = self._ctx.timers.at(self._ctx.now + self._wait(member), self._nack, seq)
        self._relayed[seq] = (source, message.seq, timer)

    def _nack(self, seq: int) -> None:
        relayed = self._relayed.pop(seq, None)
        if relayed is not None:
            self._ctx.send(relayed[0], Nack(relayed[1]))

    def on_nack(self, message: Nack) -> None:
        if self._probing is not None and self._probing.seq == message.seq:
            self._probing.nacks += 1

    def _digest(self) -> int:
        """Of what all agents should know alike, never 0. Who is dead is no part of it: that is forgotten at different times."""
        live = sorted((node, member.incarnation) for node, member in self.members.items() if member.live)
        me = (self._ctx.me, self._ctx.agent_incarnation)
        sets = sorted((one.app, one.epoch, one.steward) for one in self._sets.all())
        told = repr((sorted([*live, me]), sets)).encode()
        return int.from_bytes(hashlib.blake2b(told, digest_size=DIGEST_BYTES).digest(), "big") or 1

    def on_sync(self, source: NodeId, message: Sync) -> None:
        """Push-pull. What the other holds for dead is only suspected here (as in memberlist): the dead one may live with us."""
        if message.digest:
            if message.digest != self._digest():
                self._ctx.send(source, Sync(True, self.table(), self._sets.all()))
            return
        greet: list[Member] = []
        for update in message.members:
            member = self.members.get(update.member)
            if member is not None and member.state == DEAD and update.state == ALIVE and update.incarnation <= member.incarnation:
                greet.append(member)
            if update.state == DEAD and update.member != self._ctx.me:
                if member is not None and member.live:
                    self._apply(MemberUpdate(update.member, SUSPECT, update.incarnation, source))
                    if member.state == SUSPECT:
                        greet.append(member)
            else:
                self._apply(update)
        for member in greet[:GREETED]:
            if member.state != ALIVE:
                self._ping(member)  # it hears at once what is said of it, and refutes
        self._take_sets(message.replica_sets)
        if message.reply:
            self._ctx.send(source, Sync(False, self.table(), self._sets.all()))

    def _known(self, source: NodeId) -> Member | None:
        """Whoever pings is an agent; one that is unknown here is asked for all it knows."""
        member = self.members.get(source)
        if member is None:
            self._apply(MemberUpdate(source, ALIVE, 0, ""))
            member = self.members[source]
            self._sync(member)
        return member

    def _sync(self, member: Member) -> None:
        if self._ctx.now - member.synced_at >= SECOND:
            member.synced_at = self._ctx.now
            self._ctx.send(member.node, Sync(True, self.table(), self._sets.all()))

    def _take(self, updates: tuple[MemberUpdate, ...]) -> None:
        for update in updates:
            self._apply(update)

    def _take_sets(self, replica_sets: tuple[ReplicaSet, ...]) -> None:
        for replica_set in replica_sets:
            self._learn(replica_set)

    # Round trips

    def _sample(self, member: Member, rtt: Nanos, at: Place) -> None:
        self._ctx.met(member.node, member, rtt, at)
        self._near = None
        member.at = at

    def _reached(self, node: NodeId, rtt: Nanos, reply: ProbeReply) -> None:
        member = self.members.get(node)
        if member is not None:
            member.met_at = self._ctx.now

    def _probed(self, node: NodeId, rtt: Nanos, reply: ProbeReply) -> None:
        member = self.members.get(node)
        if member is not None:
            member.sample(rtt)
            self._near = None
            member.at = reply.at
            member.delays = reply.delays[:DELAYS]
            self._measured(member)

    # The state table

    def _apply(self, update: MemberUpdate) -> None:
        if update.member == self._ctx.me:
            self._refute(update)
            return
        member = self.members.get(update.member)
        if member is None:
            if update.state in (ALIVE, SUSPECT):
                member = self.members[update.member] = Member(update.member, update.incarnation, self._ctx.now)
                self._entered(member, True)
                self._prober.ask(member.node, self._probed)
                self._prober.reach(member.node, self._reached)
            return
        incarnation, state = update.incarnation, update.state
        if state == ALIVE:
            if incarnation > member.incarnation:
                self._set(member, ALIVE, incarnation)
        elif state == SUSPECT:
            if member.state == SUSPECT and incarnation == member.incarnation:
                self._confirm(member, update.source)
            elif incarnation >= member.incarnation and (member.live or incarnation > member.incarnation):
                self._set(member, SUSPECT, incarnation, update.source)
        elif incarnation >= member.incarnation and (member.live or (state == LEFT and member.state == DEAD)):
            self._set(member, state, incarnation)

    def _refute(self, update: MemberUpdate) -> None:
        ctx = self._ctx
        if update.incarnation < ctx.agent_incarnation or (update.state == ALIVE and update.incarnation == ctx.agent_incarnation):
            return
        ctx.agent_incarnation = update.incarnation + 1
        if update.state == SUSPECT:
            self._health = min(HEALTH_MAX, self._health + 1)
        self._broadcast(self._self_update())

    def _set(self, member: Member, state: str, incarnation: int, source: NodeId = "") -> None:
        before = member.live
        changed = member.state != state
        member.state = state
        member.incarnation = incarnation
        if member.suspicion is not None:
            member.suspicion.cancel()
            member.suspicion = None
        if not changed:
            self._broadcast(self._update_of(member))
            return
        member.since = self._ctx.now
        if state == SUSPECT:
            member.confirmed = (source,)
            self._suspect_timer(member)
            self._broadcast(MemberUpdate(member.node, SUSPECT, incarnation, source))
        else:
            member.confirmed = ()
            self._broadcast(self._update_of(member))
        if before != member.live:
            self._entered(member, False)
        else:
            self._ctx.notices.append(MemberChanged(member.node, state, incarnation))

    def _entered(self, member: Member, new: bool) -> None:
        """Who is live has changed."""
        self.version += 1
        self._near = None
        live = [node for node, other in self.members.items() if other.live]
        self._agents = tuple(sorted([*live, self._ctx.me]))
        self._ctx.notices.append(MemberChanged(member.node, member.state, member.incarnation))
        if new:
            self._broadcast(self._update_of(member))
        self._changed(member, new)

    def _confirm(self, member: Member, source: NodeId) -> None:
        if source and source not in member.confirmed and len(member.confirmed) <= CONFIRMATIONS:
            member.confirmed += (source,)
            self._broadcast(MemberUpdate(member.node, SUSPECT, member.incarnation, source))
            self._suspect_timer(member)

    def _suspect_timer(self, member: Member) -> None:
        """Lifeguard: from the longest down to the shortest with the logarithm of confirmations."""
        config = self._ctx.config
        agents = len(self._agents)
        longest = int(config.suspicion_periods * math.log10(max(10, agents)) * config.probe_interval)
        shortest = longest // SHORTEST
        possible = min(CONFIRMATIONS, agents - 2)
        wait = longest
        if possible > 0:
            share = math.log(min(len(member.confirmed), possible + 1)) / math.log(possible + 1)
            wait = max(shortest, int(longest - (longest - shortest) * share))
        if member.suspicion is not None:
            member.suspicion.cancel()
        due = max(member.since + wait, self._ctx.now)
        member.suspicion = self._ctx.timers.at(due, self._suspicion_over, member)

    def _suspicion_over(self, member: Member) -> None:
        if member.state == SUSPECT:
            self._set(member, DEAD, member.incarnation)

    # The lost

    def _ping_lost(self) -> None:
        now = self._ctx.now
        lost = [
            member
            for member in self.members.values()
            if member.state == DEAD and (now - member.since < LOST_EAGER or self._ticks % 4 == 0)
        ]
        if lost:
            self._lost_turn += 1
            self._ping(lost[self._lost_turn % len(lost)])

    def _forget_lost(self) -> None:
        now = self._ctx.now
        gone = [member for member in self.members.values() if not member.live and member.node not in self._seeds]
        gone.sort(key=lambda member: member.since)
        for index, member in enumerate(gone):
            if now - member.since > LOST_KEPT or index < len(gone) - LOST_MAX:
                del self.members[member.node]

    # Gossip

    def _broadcast(self, update: MemberUpdate) -> None:
        self._queue.pop(update.member, None)
        self._queue[update.member] = Rumour(update, 3 * max(1, math.ceil(math.log2(len(self._agents) + 2))))

    def _gossip(self, about: Member | None) -> tuple[MemberUpdate, ...]:
        """Up to six updates, the least repeated first; `about`, the receiver, comes first if it should refute something."""
        carried: list[MemberUpdate] = []
        if about is not None and about.state in (SUSPECT, DEAD):
            carried.append(self._update_of(about))
        if not self._queue:
            return tuple(carried)
        rumours = list(self._queue.items())
        if len(rumours) > UPDATES:
            rumours.sort(key=lambda item: (-item[1].left, item[0]))
        for node, rumour in rumours[:UPDATES]:
            carried.append(rumour.update)
            rumour.left -= 1
            if rumour.left <= 0:
                del self._queue[node]
        return tuple(carried)
