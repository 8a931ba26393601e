"""A node's way in: finding agents, measuring them, attaching by lease to the one best on the way, moving on when it is silent.

    nothing --FindAgents--> measuring --Lease--> attached --a lease or a request unanswered--> recovering
       ^                        |                    ^                                             |
       +------- all silent -----+                    +--- the agent, or the nearest of the wave ---+

Once attached, it looks around for a better one (`lookout`). None of its ways in (`ways`) is forgotten for being silent, only
for being worse than another when the table is full: after a total cut they are what leads back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from opus_node.core.brief import merged, shortened
from opus_node.core.context import Context
from opus_node.core.events import AgentLost, Attached
from opus_node.core.lookout import MOVE_LEAST, Lookout, worth_moving
from opus_node.core.messages import (
    AgentHint,
    AgentsKnown,
    Demand,
    FindAgents,
    Lease,
    LeaseReply,
    MemberUpdate,
    NearReplicas,
    ProbeReply,
    Release,
)
from opus_node.core.prober import Prober
from opus_node.core.rtt import Rtt
from opus_node.core.timers import Timer
from opus_node.core.types import MILLISECOND, SECOND, AppId, Nanos, NodeId
from opus_node.core.ways import Way, Ways

JOIN_PROBES = 5
"""Agents measured when joining (DESIGN: 3 to 5)."""
JOIN_WINDOW: Nanos = 1500 * MILLISECOND
"""How long the first measurements may take; they end sooner, see `probed`."""
FIND_TIMEOUT: Nanos = 800 * MILLISECOND
"""The longest terrestrial round trip, twice: a seed may have hundreds to answer. Asked and answered by datagrams."""
BACKOFF_FIRST: Nanos = 500 * MILLISECOND
BACKOFF_MAX: Nanos = 5 * SECOND
SEEDS_KEPT = 3
"""Seeds a node keeps as ways in; they count among `known_agents`."""
BACKUP_EVERY = 24
"""After so many leases, or as many more as the budget asks for, a backup is measured again."""
HANDED_TO = 3
"""Agents measured by a node that is handed over."""
LEASE_AGAIN: Nanos = 1 * SECOND
"""An agent that owes an answer to a lease is asked once more, and given this in addition: a peer whose machine died is found
out by its kernel's silence, at the latest after 1.5 s."""
FULL_FOR: Nanos = 10 * SECOND
NUDGE: Nanos = 500 * MILLISECOND


class Below(Protocol):
    """Who attaches: a node with its clients (`node.NodeCore`), or an agent with its nodes (`levels.AsAgent`).

    One object: a bound method for each of its answers would take every node 64 bytes more.
    """

    def demand(self) -> tuple[Demand, ...]:
        """What goes on leases."""

    def shares(self) -> dict[AppId, float]:
        """Of its demand, by which applications are weighed."""

    def near(self, told: NearReplicas) -> None:
        """Takes what the agent tells of replicas."""

    def acquainted(self) -> list[NodeId]:
        """Nodes known for other reasons, to be asked when no agent answers."""


class Above(Protocol):
    """An agent's part in the zone whose head it attaches to."""

    def vouch(self, head: NodeId) -> tuple[int, int]:
        """For a lease: the digest of the replica sets known, and how far the head's list of the zone is."""

    def told(self, head: NodeId, changes: tuple[MemberUpdate, ...], answered: bool) -> None:
        """By the head, in answer to a lease or unasked."""


class Attachment:
    """The node's side of joining and leases. `agent` is empty while there is none, the node itself if it is an agent."""

    __slots__ = (
        "_above",
        "_asking",
        "_below",
        "_ctx",
        "_eager",
        "_find_nonce",
        "_guide",
        "_handed_from",
        "_lease_retried",
        "_lease_seq",
        "_lease_timer",
        "_leases",
        "_leaving",
        "_lookout",
        "_next_seed",
        "_picked",
        "_prober",
        "_recovering",
        "_rounds",
        "_search_timer",
        "_seeds",
        "_silence_timer",
        "_since",
        "agent",
        "ways",
    )

    def __init__(self, ctx: Context, prober: Prober, below: Below, above: Above | None = None) -> None:
        """`above` is what is told and heard besides where it is an agent that attaches, to the head of a zone."""
        self._ctx = ctx
        self._prober = prober
        self._below = below
        self._above = above
        self.agent: NodeId = ""
        self.ways = Ways(ctx, below)
        self._lookout = Lookout(ctx, prober, self.ways, self)
        self._seeds: tuple[NodeId, ...] = ()
        self._next_seed = -1
        self._find_nonce = 0
        self._guide: NodeId = ""
        """Somebody who lives and is no agent, to be asked next; empty: whoever comes."""
        self._asking: NodeId = ""
        self._since: Nanos = -1
        """When the search under way began; -1: none is."""
        self._picked: Sequence[NodeId] = ()
        self._recovering = False
        self._eager = False
        self._handed_from: Way | None = None
        """The agent that named others, while those are measured."""
        self._lease_retried = False
        self._leaving = False
        self._rounds = 0
        self._leases = 0
        self._lease_seq = 0
        self._search_timer: Timer | None = None
        self._lease_timer: Timer | None = None
        self._silence_timer: Timer | None = None

    # Beginning and end

    def start(self, seeds: Iterable[NodeId], agents: Iterable[NodeId] = ()) -> None:
        """Looks for an agent, from seeds at boot, or from the agents a node knew while it was one itself."""
        rng = self._ctx.rng
        others = [seed for seed in seeds if seed != self._ctx.me]
        self._seeds = tuple(rng.sample(others, min(SEEDS_KEPT, len(others))))
        self.agent = ""
        for seed in self._seeds:
            self.ways.by_agent.setdefault(seed, Way(seed, True)).seed = True
        for agent in agents:
            self.ways.add(agent)
        if len(self.ways) > len(self._seeds):
            self._search(self._nearest(JOIN_PROBES), JOIN_WINDOW)
        else:
            self._find(None)

    def stop(self, agent: NodeId) -> None:
        """This node becomes an agent itself, `agent`, or, where agents attach, is none any more: empty."""
        if self.agent not in ("", self._ctx.me) and not agent:
            self._ctx.send(self.agent, Release())
        self._halt()
        self.ways.by_agent = {}
        self.agent = agent

    def leave(self, agents: Iterable[NodeId]) -> None:
        """This node goes: it is nobody's any more, and looks for nobody. Its ways in and `agents` are kept, for requests under
        way and for those who ask."""
        if self.agent not in ("", self._ctx.me):
            self._ctx.send(self.agent, Release())
        self._halt()
        self._find_nonce += 1
        self._leaving = True
        self.agent = ""
        for agent in agents:
            self.ways.add(agent)

    def _halt(self) -> None:
        for timer in (self._search_timer, self._lease_timer, self._silence_timer):
            if timer is not None:
                timer.cancel()
        self._since = -1
        self._asking = ""
        self._recovering = False
        self._picked = ()
        self._lookout.stop()

    # Finding

    def _find(self, _: object) -> None:
        """Asks one seed, after silence the next one, and somebody else it knows as well."""
        ctx = self._ctx
        self._since = -1
        self._find_nonce += 1
        if self._next_seed < 0:
            self._next_seed = ctx.rng.randrange(max(1, len(self._seeds)))
        targets: list[NodeId] = []
        if self._seeds:
            self._next_seed += 1
            targets.append(self._seeds[self._next_seed % len(self._seeds)])
        if self._guide and self._guide not in targets:
            targets.append(self._guide)
        elif self._rounds or not targets:
            others = [*self._below.acquainted(), *self.ways.by_agent]
            others = [node for node in others if node not in targets]
            if others:
                targets.append(ctx.rng.choice(others))
        self._guide = ""
        for target in targets:
            ctx.send(target, FindAgents(self._find_nonce))
        if targets:  # a node that knows nobody waits to be found
            self._schedule(ctx.now + ctx.jitter(max(FIND_TIMEOUT, self._backoff())) + 2 * ctx.lag, self._find_silent)

    def _find_silent(self, _: object) -> None:
        self._rounds += 1
        if self._rounds % 2 == 0 and self.ways and not self._guide:
            self._search(self._nearest(self._ctx.config.wave, varied=True), JOIN_WINDOW)
        else:
            self._find(None)

    def on_agents_known(self, source: NodeId, message: AgentsKnown) -> None:
        if message.nonce != self._find_nonce or self._since >= 0 or self._asking or self.agent:
            return
        ctx = self._ctx
        for hint in message.agents:
            self.ways.add(hint.agent)
            self.ways.hinted(hint, None, chosen=False)
        known = self.ways.by_agent
        hinted = [hint.agent for hint in message.agents if hint.agent in known and hint.agent != source]
        picks = ([source] if source in known else []) + hinted[: JOIN_PROBES - 2]
        rest = [agent for agent in hinted if agent not in picks]
        picks += ctx.rng.sample(rest, min(len(rest), JOIN_PROBES - len(picks)))
        if picks:
            self._search(picks, JOIN_WINDOW)

    # Measuring and choosing

    def _search(self, picks: list[NodeId], window: Nanos) -> None:
        """Probes `picks` at once and chooses when `window` is over, or sooner if no better answer can come."""
        self._since = self._ctx.now
        self._eager = False
        self._picked = picks
        for agent in picks:
            way = self.ways.by_agent[agent]
            way.asked(self._ctx.now)
            self._prober.ask(agent, self.probed)
        self._schedule(self._ctx.now + window + 2 * self._ctx.lag, self._choose)

    def probed(self, node: NodeId, rtt: Nanos, reply: ProbeReply) -> None:
        way = self.ways.get(node)
        if way is None:
            return
        if not reply.is_agent:
            self.stood_down(node)
            return
        way.heard_at = self._ctx.now
        way.silent = 0
        way.at = reply.at
        way.crowded = reply.room < 0
        config = self._ctx.config
        full = reply.room <= config.nodes_per_agent - config.nodes_most and node != self.agent
        if full:
            way.full_until = self._ctx.now + FULL_FOR  # it would refuse a lease, and the search begin anew
        self.ways.told(way, reply.delays)
        way.sample(rtt)
        way.bound = 0  # needed no more
        if self._since >= 0 and not self._asking:
            if not full:
                self._search_progress(rtt)
        else:
            self._move_if_better(way)

    def _search_progress(self, rtt: Nanos) -> None:
        if self._eager or (self._handed_from is not None and len(self._picked) == 1):
            self._choose(None)
        elif not self._recovering:
            # Whoever is nearer than this one has answered by then, unless that was lost.
            sooner = self._since + rtt * 5 // 4 + 50 * MILLISECOND
            if self._search_timer is None or self._search_timer.run is None or sooner < self._search_timer.when:
                self._schedule(max(sooner, self._ctx.now), self._choose)

    def _choose(self, _: object) -> None:
        ctx = self._ctx
        answered = [way for way in self.ways if way.heard_at >= self._since and way.full_until <= ctx.now]
        if self._recovering:
            self._recovering = False
            current = self.ways.get(self.agent)
            if current is not None and current.heard_at >= self._since:
                self._rest()
                return
            self._lose_agent()
            answered = [way for way in answered if way is not current]
        before, self._handed_from = self._handed_from, None
        if answered:
            best = self.ways.choose(answered)
            if before is not None and best.delay() > max(before.delay(), ctx.config.near_enough) + MOVE_LEAST:
                self._refused(before, ())
            else:
                self._ask(best)
        else:
            self._eager = True  # too late to compare: the first to answer will do
            self._schedule(ctx.now + ctx.jitter(self._backoff()), self._round_failed)

    def _round_failed(self, _: object) -> None:
        for agent in self._picked:
            way = self.ways.get(agent)
            if way is not None and way.heard_at < self._since:
                way.silent += 1
        if self.agent:  # it refused or hands this node over, yet it is all there is
            self._rest()
            return
        self._since = -1
        self._find_silent(None)

    def _ask(self, way: Way) -> None:
        self._asking = way.agent
        way.told = None
        self._lease(way)
        self._schedule(self._ctx.now + 2 * self._ctx.patience(way) + 200 * MILLISECOND, self._ask_silent)

    def _ask_silent(self, _: object) -> None:
        way = self.ways.get(self._asking)
        self._asking = ""
        if way is not None:
            way.silent += 1
            way.heard_at = -1
        if self._since >= 0:
            self._choose(None)

    def _rest(self) -> None:
        self._since = -1
        self._asking = ""
        self._rounds = 0
        self._picked = ()
        if self._search_timer is not None:
            self._search_timer.cancel()
            self._search_timer = None

    # Attached

    def _attach(self, way: Way) -> None:
        ctx = self._ctx
        before = self.agent
        self.agent = way.agent
        self._recovering = False
        self._rest()
        if before and before != way.agent:
            ctx.send(before, Release())
            former = self.ways.get(before)
            if former is not None:
                former.lease = former.told = None
        ctx.tell(Attached(way.agent, way.srtt))
        self._leases = 0
        self._lookout.attached(way)
        self._answered_lease()
        self._schedule_lease(0.4, 1.1)

    def _schedule_lease(self, low: float = 0.9, high: float = 1.1) -> None:
        if self._lease_timer is not None:
            self._lease_timer.cancel()
        ctx = self._ctx
        self._lease_timer = ctx.timers.at(ctx.now + ctx.jitter(ctx.budget.lease_interval(), low, high), self._lease_due)

    def _lease_due(self, _: object) -> None:
        way = self.ways.get(self.agent)
        if way is None:
            return
        ctx = self._ctx
        self._leases += 1
        self._lease_retried = False
        self._lease_awaited(way, ctx.patience(way) + 100 * MILLISECOND)
        self._schedule_lease()
        if self._leases >= ctx.budget.stretched(BACKUP_EVERY):
            self._leases = 0
            others = [other for other in self.ways if other.agent != self.agent]
            if others:
                self._prober.ask(ctx.rng.choice(others).agent, self.probed)
        self._look()

    def _look(self) -> None:
        current = self.ways.get(self.agent)
        if current is not None and self._since < 0 and not self._asking:
            self._lookout.look(current)

    def _move_if_better(self, way: Way) -> None:
        current = self.ways.get(self.agent)
        if current is None or way is current or self._asking or self._since >= 0 or way.full_until > self._ctx.now:
            return
        if self.ways.cost(way) < worth_moving(self.ways.cost(current)):
            self._ask(way)

    def lease_now(self) -> None:
        way = self.ways.get(self.agent)
        if way is not None:
            self._lease(way)

    def _lease_awaited(self, way: Way, patience: Nanos) -> None:
        self._lease(way)
        if self._silence_timer is not None:
            self._silence_timer.cancel()
        self._silence_timer = self._ctx.timers.at(self._ctx.now + patience, self._lease_silent)

    def _answered_lease(self) -> None:
        if self._silence_timer is not None:
            self._silence_timer.cancel()
            self._silence_timer = None

    def _lease_silent(self, _: object) -> None:
        """No request waits, so an agent that is busy gets a second chance; a wave of probes would make all agents busier."""
        way = self.ways.get(self.agent)
        if way is None or self._lease_retried:
            self.agent_silent(self.agent)
        else:
            self._lease_retried = True
            self._lease_awaited(way, 2 * self._ctx.patience(way) + LEASE_AGAIN)

    def _lease(self, way: Way) -> None:
        ctx = self._ctx
        self._lease_seq += 1
        way.lease_seq = self._lease_seq
        way.lease_sent_at = ctx.now
        full = self._full_lease(way)
        lease = full if way.told is None else shortened(full, way.told)
        way.lease = full if way.told is None else merged(full, lease, way.told)
        ctx.send(way.agent, lease)

    def _full_lease(self, way: Way) -> Lease:
        ctx = self._ctx
        abilities = ctx.config.abilities
        return Lease(
            self._lease_seq,
            ctx.incarnation,
            ctx.age,
            way.srtt,
            abilities.cpu,
            abilities.memory,
            abilities.storage,
            abilities.bandwidth,
            self._below.demand(),
            ctx.position.at,
            self.ways.spare(way),
            self._lookout.measured(),
            *(self._above.vouch(way.agent) if self._above is not None else (0, 0)),
            0,
            False,
            ctx.config.history.sessions,
            ctx.config.history.up,
        )

    def on_lease_reply(self, source: NodeId, message: LeaseReply) -> None:
        way = self.ways.get(source)
        news = False
        for hint in message.agents:
            self.ways.add(hint.agent, (self.agent, self._asking))
            news |= self.ways.hinted(hint, way, chosen=source == self.agent)
        if way is None:
            return
        way.heard_at = self._ctx.now
        way.silent = 0
        way.at = message.at or way.at
        if message.delays and self.ways.told(way, message.delays) and source == self.agent:
            for other in self.ways:
                other.changed()
            self._lookout.hurry()
        if message.seq and message.seq == way.lease_seq:
            self._ctx.met(source, way, self._ctx.now - way.lease_sent_at, way.at)
            way.told = None if message.again or not message.accepted else way.lease
        if source in (self.agent, self._asking):
            for one in message.near:
                self._below.near(one)
        if source == self._asking:
            self._answered(way, message)
        elif source == self.agent:
            self._answered_lease()
            if message.accepted:
                if news:
                    self._lookout.hurry()
                self._lookout.measure(message)
                self._look()
                if message.again:
                    self._lease(way)
            elif not message.seq and message.agents:
                self._handed_over(way, message.agents)
            else:
                self._refused(way, message.agents)
        if self._above is not None and source == self.agent and message.accepted:
            self._above.told(source, message.zone, message.seq != 0)

    def _answered(self, way: Way, message: LeaseReply) -> None:
        if not message.seq:
            return
        if message.accepted:
            self._attach(way)
            self._lookout.measure(message)
            self._look()
        else:
            self._asking = ""
            self._refused(way, message.agents)

    def _handed_over(self, way: Way, hints: tuple[AgentHint, ...]) -> None:
        """The agent splits or steps down and names who takes its nodes: they are measured, and others only if they are far."""
        way.full_until = self._ctx.now + FULL_FOR
        picks = [hint.agent for hint in hints if hint.agent in self.ways.by_agent][:HANDED_TO]
        picks += [agent for agent in self._nearest(1) if len(hints) > 1 and agent not in picks and agent != way.agent]
        if picks and not self._asking:
            self._handed_from = way
            self._search(picks, JOIN_WINDOW)

    def _refused(self, way: Way, hints: tuple[AgentHint, ...]) -> None:
        """Full, no agent any more, or handing this node over: follow the hints; the old agent serves until then."""
        way.full_until = self._ctx.now + FULL_FOR
        if self._since >= 0 and not self._eager and self.agent != way.agent:
            answered = [one for one in self.ways if one.heard_at >= self._since and one.full_until <= self._ctx.now]
            if answered:
                self._choose(None)
                return
        picks = [hint.agent for hint in hints if hint.agent in self.ways.by_agent][:JOIN_PROBES]
        picks += [one for one in self._nearest(JOIN_PROBES) if one not in picks and one != way.agent][: JOIN_PROBES - len(picks)]
        if picks and not self._asking:
            self._search(picks, JOIN_WINDOW)

    # Silence

    def agent_silent(self, agent: NodeId) -> None:
        """`agent` owed an answer. If it is this node's, it is probed once more together with a wave of backups."""
        if agent != self.agent or not agent or agent == self._ctx.me or self._recovering:
            return
        way = self.ways.get(agent)
        if way is None:
            return
        self._asking = ""
        self._recovering = True
        picks = [agent, *self._nearest(self._ctx.config.wave, varied=True)]
        self._search(picks, way.timeout(self._ctx.config))

    def stood_down(self, node: NodeId, other: NodeId = "") -> None:
        """It lives and is no agent any more; `other` is its own. Whoever has lost theirs asks it for those that it knows."""
        way = self.ways.get(node)
        if way is not None and not way.seed and node != self.agent:
            del self.ways.by_agent[node]
        if other and other != self._ctx.me:
            self.ways.add(other, (self.agent, self._asking))
        if not self.agent or self._recovering:
            self._guide = node

    def _lose_agent(self) -> None:
        ctx = self._ctx
        ctx.tell(AgentLost(self.agent))
        way = self.ways.get(self.agent)
        if way is not None:
            way.silent += 1
        self.agent = ""
        for timer in (self._lease_timer, self._silence_timer):
            if timer is not None:
                timer.cancel()

    def nudge(self) -> None:
        """A client waits and there is no agent: do not sit out the backoff."""
        if self.agent or self._asking or self._recovering or self._leaving:
            return
        timer = self._search_timer
        if timer is None or timer.run is None or timer.when > self._ctx.now + NUDGE:
            self._schedule(self._ctx.now + NUDGE, self._find_silent)

    def on_unreachable(self, peer: NodeId) -> None:
        if peer == self.agent:
            self.agent_silent(peer)
        elif peer == self._asking:
            self._ask_silent(None)

    # Reading

    def _nearest(self, count: int, varied: bool = False) -> list[NodeId]:
        return self.ways.nearest(count, (self.agent, self._asking), varied)

    def backups(self) -> list[NodeId]:
        """All ways in besides the agent, the likeliest to answer first."""
        return self._nearest(len(self.ways))

    def heard(self, agent: NodeId, rtt: Nanos) -> None:
        """An agent acknowledged a request after `rtt`: as good as a probe."""
        way = self.ways.get(agent)
        if way is not None:
            way.heard_at = self._ctx.now
            way.silent = 0
            way.sample(rtt, self._ctx.now)

    def rtt_of(self, agent: NodeId) -> Rtt | None:
        return self.ways.get(agent)

    # Timers

    def _backoff(self) -> Nanos:
        return min(BACKOFF_MAX, BACKOFF_FIRST << min(self._rounds, 6))

    def _schedule(self, when: Nanos, run: Callable[[object], None]) -> None:
        if self._search_timer is not None:
            self._search_timer.cancel()
        self._search_timer = self._ctx.timers.at(when, run)
