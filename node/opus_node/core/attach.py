"""A node's way in: finding agents, measuring them, attaching to the nearest by lease, and moving on when it is silent.

    nothing --FindAgents--> measuring --Lease--> attached --a lease or a request unanswered--> recovering
       ^                        |                    ^                                             |
       +------- all silent -----+                    +--- the agent, or the nearest of the wave ---+

A node remembers at most `known_agents` ways in besides its agent. None is forgotten for being silent, only for being
worse than another when the table is full: after a total cut they are what leads back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from opus_node.core.context import Context
from opus_node.core.coordinates import Place
from opus_node.core.events import AgentLost, Attached
from opus_node.core.messages import AgentHint, AgentsKnown, Demand, FindAgents, Lease, LeaseReply, ProbeReply, Release
from opus_node.core.prober import Prober
from opus_node.core.rtt import Rtt
from opus_node.core.timers import Timer
from opus_node.core.types import MILLISECOND, SECOND, Nanos, NodeId

JOIN_PROBES = 5
"""Agents measured when joining (DESIGN: 3 to 5)."""
JOIN_WINDOW: Nanos = 1500 * MILLISECOND
"""How long the first measurements may take; they end sooner, see `_probed`."""
FIND_TIMEOUT: Nanos = 1500 * MILLISECOND
"""A seed is a stranger: three round trips, and it may have hundreds to answer."""
BACKOFF_FIRST: Nanos = 500 * MILLISECOND
BACKOFF_MAX: Nanos = 5 * SECOND
SEEDS_KEPT = 3
"""Seeds a node keeps as ways in; they count among `known_agents`."""
MOVE_SHARE = 0.2
MOVE_LEAST: Nanos = 2 * MILLISECOND
"""A node moves to an agent that is nearer by more than max(20 %, 2 ms): less is noise."""
CONSIDERED = 2
"""Unmeasured agents probed at once in the background by a node that wants a nearer one; content, it probes one."""
CONSIDER_FAR: Nanos = 500 * MILLISECOND
CONSIDER_NEAR: Nanos = 5 * SECOND
CONSIDER_MOST: Nanos = 60 * SECOND
"""The first pause between such probes, by whether the agent is near enough; it doubles. A thousand nodes that all measure
every new agent at once are what a start can least afford: each probe of a stranger costs a dial."""
BACKUP_EVERY = 6
"""Every so many leases, one goes to a backup too: it keeps the ways in measured."""
HANDED_TO = 3
"""Agents measured by a node that is handed over."""
LEASE_AGAIN: Nanos = 1 * SECOND
"""An agent that owes an answer to a lease is asked once more, and given this in addition: a peer whose machine died is found
out by its kernel's silence, at the latest after 1.5 s."""
FULL_FOR: Nanos = 10 * SECOND
NUDGE: Nanos = 500 * MILLISECOND


class Way:
    """One way in: an agent and how far it is."""

    __slots__ = ("agent", "asked", "at", "bound", "full_until", "heard_at", "lease_sent_at", "lease_seq", "rtt", "seed", "silent")

    def __init__(self, agent: NodeId, seed: bool = False) -> None:
        self.agent = agent
        self.seed = seed
        self.rtt = Rtt()
        self.asked = False
        self.at: Place = 0
        """Where it is, as far as it, or somebody else, has told."""
        self.bound: Nanos = 0
        """No nearer than this, as far as a third one's measurements tell; 0 if they tell nothing."""
        self.heard_at: Nanos = -1
        self.silent = 0
        self.full_until: Nanos = 0
        self.lease_seq = 0
        self.lease_sent_at: Nanos = 0


class Attachment:
    """The node's side of joining and leases. `agent` is empty while there is none, the node itself if it is an agent."""

    __slots__ = (
        "_acquainted",
        "_asking",
        "_consider_at",
        "_consider_pause",
        "_consider_timer",
        "_ctx",
        "_demand",
        "_eager",
        "_find_nonce",
        "_handed_from",
        "_lease_retried",
        "_lease_seq",
        "_lease_timer",
        "_leases",
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

    def __init__(
        self,
        ctx: Context,
        prober: Prober,
        demand: Callable[[], tuple[Demand, ...]],
        acquainted: Callable[[], list[NodeId]],
    ) -> None:
        """`demand` goes on leases; `acquainted` are nodes known for other reasons, to be asked when no agent answers."""
        self._ctx = ctx
        self._prober = prober
        self._demand = demand
        self._acquainted = acquainted
        self.agent: NodeId = ""
        self.ways: dict[NodeId, Way] = {}
        self._seeds: tuple[NodeId, ...] = ()
        self._next_seed = -1
        self._find_nonce = 0
        self._asking: NodeId = ""
        self._since: Nanos = -1
        """When the search under way began; -1: none is."""
        self._picked: list[NodeId] = []
        self._recovering = False
        self._eager = False
        self._handed_from: Way | None = None
        """The agent that named others, while those are measured."""
        self._lease_retried = False
        self._rounds = 0
        self._leases = 0
        self._lease_seq = 0
        self._search_timer: Timer | None = None
        self._lease_timer: Timer | None = None
        self._silence_timer: Timer | None = None
        self._consider_timer: Timer | None = None
        self._consider_at: Nanos = 0
        self._consider_pause: Nanos = 0

    # Beginning and end

    def start(self, seeds: Iterable[NodeId], agents: Iterable[NodeId] = ()) -> None:
        """Looks for an agent, from seeds at boot, or from the agents a node knew while it was one itself."""
        rng = self._ctx.rng
        others = [seed for seed in seeds if seed != self._ctx.me]
        self._seeds = tuple(rng.sample(others, min(SEEDS_KEPT, len(others))))
        self.agent = ""
        for seed in self._seeds:
            self.ways.setdefault(seed, Way(seed, True)).seed = True
        for agent in agents:
            self.add(agent)
        if len(self.ways) > len(self._seeds):
            self._search(self._nearest(JOIN_PROBES), JOIN_WINDOW)
        else:
            self._find(None)

    def stop(self) -> None:
        """This node becomes an agent itself."""
        for timer in (self._search_timer, self._lease_timer, self._silence_timer, self._consider_timer):
            if timer is not None:
                timer.cancel()
        self._since = -1
        self._asking = ""
        self._recovering = False
        self._picked = []
        self.ways = {}
        self.agent = self._ctx.me

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
        if self._rounds or not targets:
            others = [*self._acquainted(), *(way.agent for way in self.ways.values())]
            others = [node for node in others if node not in targets]
            if others:
                targets.append(ctx.rng.choice(others))
        for target in targets:
            ctx.send(target, FindAgents(self._find_nonce))
        if targets:  # a node that knows nobody waits to be found
            self._schedule(ctx.now + ctx.jitter(max(FIND_TIMEOUT, self._backoff())) + 2 * ctx.lag, self._find_silent)

    def _find_silent(self, _: object) -> None:
        self._rounds += 1
        if self._rounds % 2 == 0 and self.ways:
            self._search(self._nearest(self._ctx.config.wave, varied=True), JOIN_WINDOW)
        else:
            self._find(None)

    def on_agents_known(self, source: NodeId, message: AgentsKnown) -> None:
        if message.nonce != self._find_nonce or self._since >= 0 or self._asking or self.agent:
            return
        ctx = self._ctx
        for hint in message.agents:
            self.add(hint.agent)
            self._bound(hint, None)
        hinted = [hint.agent for hint in message.agents if hint.agent in self.ways and hint.agent != source]
        picks = ([source] if source in self.ways else []) + hinted[: JOIN_PROBES - 2]
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
            self.ways[agent].asked = True
            self._prober.ask(agent, self._probed)
        self._schedule(self._ctx.now + window + 2 * self._ctx.lag, self._choose)

    def _probed(self, node: NodeId, rtt: Nanos, reply: ProbeReply, warm: bool) -> None:
        way = self.ways.get(node)
        if way is None:
            return
        if not reply.is_agent:
            if not way.seed and node != self.agent:
                del self.ways[node]
            return
        way.heard_at = self._ctx.now
        way.silent = 0
        way.at = reply.at
        if warm or not way.rtt.samples:
            way.rtt.sample(rtt)
        if self._since >= 0 and not self._asking:
            self._search_progress(rtt, warm)
        elif warm:
            self._move_if_nearer(way)

    def _search_progress(self, rtt: Nanos, warm: bool) -> None:
        if self._eager or (warm and self._handed_from is not None and len(self._picked) == 1):
            self._choose(None)
        elif warm and not self._recovering:
            # Whoever is nearer than this one has answered two probes and a dial (five round trips) by then.
            sooner = self._since + rtt * 11 // 2 + 50 * MILLISECOND
            if self._search_timer is None or self._search_timer.run is None or sooner < self._search_timer.when:
                self._schedule(max(sooner, self._ctx.now), self._choose)

    def _choose(self, _: object) -> None:
        ctx = self._ctx
        answered = [way for way in self.ways.values() if way.heard_at >= self._since and way.full_until <= ctx.now]
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
            best = min(answered, key=lambda way: (way.rtt.delay(), way.agent))
            if before is not None and best.rtt.delay() > max(before.rtt.delay(), ctx.config.near_enough) + MOVE_LEAST:
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
        self._lease(way, True)
        self._schedule(self._ctx.now + 2 * self._ctx.patience(way.rtt) + 200 * MILLISECOND, self._ask_silent)

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
        self._picked = []
        if self._search_timer is not None:
            self._search_timer.cancel()

    # Attached

    def _attach(self, way: Way) -> None:
        ctx = self._ctx
        before = self.agent
        self.agent = way.agent
        self._recovering = False
        self._rest()
        if before and before != way.agent:
            ctx.send(before, Release())
        ctx.notices.append(Attached(way.agent, way.rtt.srtt))
        self._leases = 0
        self._consider_pause = 0
        if way.rtt.delay() <= ctx.config.near_enough:
            self._consider_at = ctx.now + ctx.jitter(CONSIDER_NEAR)
        if self._silence_timer is not None:
            self._silence_timer.cancel()
        self._schedule_lease(0.4, 1.1)

    def _schedule_lease(self, low: float = 0.9, high: float = 1.1) -> None:
        if self._lease_timer is not None:
            self._lease_timer.cancel()
        ctx = self._ctx
        self._lease_timer = ctx.timers.at(ctx.now + ctx.jitter(ctx.config.lease_interval, low, high), self._lease_due)

    def _lease_due(self, _: object) -> None:
        way = self.ways.get(self.agent)
        if way is None:
            return
        ctx = self._ctx
        self._leases += 1
        self._lease_retried = False
        self._lease_primary(way, ctx.patience(way.rtt) + 100 * MILLISECOND)
        self._schedule_lease()
        if self._leases % BACKUP_EVERY == 0:
            others = [other for other in self.ways.values() if other.agent != self.agent]
            if others:
                self._lease(ctx.rng.choice(others), False)
        self._consider()

    def _lease_primary(self, way: Way, patience: Nanos) -> None:
        self._lease(way, True)
        if self._silence_timer is not None:
            self._silence_timer.cancel()
        self._silence_timer = self._ctx.timers.at(self._ctx.now + patience, self._lease_silent)

    def _lease_silent(self, _: object) -> None:
        """No request waits, so an agent that is busy gets a second chance; a wave of probes would make all agents busier."""
        way = self.ways.get(self.agent)
        if way is None or self._lease_retried:
            self.agent_silent(self.agent)
        else:
            self._lease_retried = True
            self._lease_primary(way, 2 * self._ctx.patience(way.rtt) + LEASE_AGAIN)

    def _lease(self, way: Way, primary: bool) -> None:
        ctx = self._ctx
        abilities = ctx.config.abilities
        self._lease_seq += 1
        way.lease_seq = self._lease_seq
        way.lease_sent_at = ctx.now
        ctx.send(
            way.agent,
            Lease(
                self._lease_seq,
                ctx.incarnation,
                primary,
                ctx.now - ctx.booted_at,
                way.rtt.srtt,
                abilities.cpu,
                abilities.memory,
                abilities.storage,
                abilities.bandwidth,
                self._demand() if primary else (),
                ctx.position.at,
            ),
        )

    def on_lease_reply(self, source: NodeId, message: LeaseReply) -> None:
        way = self.ways.get(source)
        for hint in message.agents:
            self.add(hint.agent)
            self._bound(hint, way)
        if way is None:
            return
        way.heard_at = self._ctx.now
        way.silent = 0
        way.at = message.at or way.at
        if message.seq and message.seq == way.lease_seq:
            rtt = self._ctx.now - way.lease_sent_at
            if way.rtt.samples:  # the first may have paid for a dial
                self._ctx.position.sample(source, rtt, message.at)
            way.rtt.sample(rtt)
        if source == self._asking:
            self._answered(way, message)
        elif source == self.agent:
            if self._silence_timer is not None:
                self._silence_timer.cancel()
            if message.accepted:
                self._consider()
            elif not message.seq and message.agents:
                self._handed_over(way, message.agents)
            else:
                self._refused(way, message.agents)

    def _answered(self, way: Way, message: LeaseReply) -> None:
        if not message.seq:
            return
        if message.accepted:
            self._attach(way)
            self._consider()
        else:
            self._asking = ""
            self._refused(way, message.agents)

    def _handed_over(self, way: Way, hints: tuple[AgentHint, ...]) -> None:
        """The agent splits or steps down and names who takes its nodes: they are measured, and others only if they are far."""
        way.full_until = self._ctx.now + FULL_FOR
        picks = [hint.agent for hint in hints if hint.agent in self.ways][:HANDED_TO]
        if picks and not self._asking:
            self._handed_from = way
            self._search(picks, JOIN_WINDOW)

    def _refused(self, way: Way, hints: tuple[AgentHint, ...]) -> None:
        """Full, no agent any more, or handing this node over: follow the hints; the old agent serves until then."""
        way.full_until = self._ctx.now + FULL_FOR
        if self._since >= 0 and not self._eager and self.agent != way.agent:
            answered = [one for one in self.ways.values() if one.heard_at >= self._since and one.full_until <= self._ctx.now]
            if answered:
                self._choose(None)
                return
        picks = [hint.agent for hint in hints if hint.agent in self.ways][:JOIN_PROBES]
        picks += [one for one in self._nearest(JOIN_PROBES) if one not in picks and one != way.agent][: JOIN_PROBES - len(picks)]
        if picks and not self._asking:
            self._search(picks, JOIN_WINDOW)

    def _consider(self, _: object = None) -> None:
        """Measures an agent or two that were heard of last and never measured, at a falling rate."""
        ctx = self._ctx
        current = self.ways.get(self.agent)
        if self._since >= 0 or self._asking or current is None:
            return
        most = self._worth_moving(current.rtt.delay())
        unmeasured = [way for way in reversed(self.ways.values()) if not way.asked and not way.rtt.samples and way.bound <= most]
        if not unmeasured:
            return
        if ctx.now < self._consider_at:
            if self._consider_timer is None or self._consider_timer.run is None:
                self._consider_timer = ctx.timers.at(self._consider_at, self._consider)
            return
        far = current.rtt.delay() > ctx.config.near_enough
        for way in unmeasured[: CONSIDERED if far else 1]:
            way.asked = True
            self._prober.ask(way.agent, self._probed)
        self._consider_at = ctx.now + ctx.jitter(self._consider_pause or (CONSIDER_FAR if far else CONSIDER_NEAR))
        self._consider_pause = min(2 * (self._consider_at - ctx.now), CONSIDER_MOST)

    def _move_if_nearer(self, way: Way) -> None:
        current = self.ways.get(self.agent)
        if current is None or way is current or self._asking or self._since >= 0 or way.full_until > self._ctx.now:
            return
        if way.rtt.srtt < self._worth_moving(current.rtt.delay()):
            self._ask(way)

    @staticmethod
    def _worth_moving(now_at: Nanos) -> Nanos:
        """How near another agent must be to be worth leaving one that is `now_at` away."""
        return now_at - max(int(MOVE_SHARE * now_at), MOVE_LEAST)

    def _bound(self, hint: AgentHint, teller: Way | None) -> None:
        """By the triangle inequality, which real networks mostly keep: an agent far from one that is near is far."""
        way = self.ways.get(hint.agent)
        if way is not None and hint.at and not way.rtt.samples:
            way.at = hint.at
        if way is not None and teller is not None and hint.rtt and teller.rtt.samples:
            way.bound = abs(hint.rtt - teller.rtt.srtt)

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
        self._search(picks, way.rtt.timeout(self._ctx.config))

    def _lose_agent(self) -> None:
        ctx = self._ctx
        ctx.notices.append(AgentLost(self.agent))
        way = self.ways.get(self.agent)
        if way is not None:
            way.silent += 1
        self.agent = ""
        for timer in (self._lease_timer, self._silence_timer):
            if timer is not None:
                timer.cancel()

    def nudge(self) -> None:
        """A client waits and there is no agent: do not sit out the backoff."""
        if self.agent or self._asking or self._recovering:
            return
        timer = self._search_timer
        if timer is None or timer.run is None or timer.when > self._ctx.now + NUDGE:
            self._schedule(self._ctx.now + NUDGE, self._find_silent)

    def on_unreachable(self, peer: NodeId) -> None:
        if peer == self.agent:
            self.agent_silent(peer)
        elif peer == self._asking:
            self._ask_silent(None)

    # The table

    def add(self, agent: NodeId) -> None:
        """Remembers a way in; in a full table it replaces the most silent, then the farthest."""
        if agent == self._ctx.me or agent in self.ways or not agent:
            return
        if len(self.ways) >= self._ctx.config.known_agents + 1:
            worst: Way | None = None
            for way in self.ways.values():
                if way.seed or way.agent in (self.agent, self._asking):
                    continue
                if worst is None or (way.silent, way.rtt.srtt) > (worst.silent, worst.rtt.srtt):
                    worst = way
            if worst is None:
                return
            del self.ways[worst.agent]
        self.ways[agent] = Way(agent)

    def _nearest(self, count: int, varied: bool = False) -> list[NodeId]:
        """The best ways in besides the agent; `varied` leaves half of the places to chance, as near ones die together."""
        others = [way for way in self.ways.values() if way.agent not in (self.agent, self._asking)]
        others.sort(key=lambda way: (way.silent, way.rtt.delay(), way.agent))
        if not varied or len(others) <= count:
            return [way.agent for way in others[:count]]
        best = others[: (count + 1) // 2]
        rest = self._ctx.rng.sample(others[len(best) :], count - len(best))
        return [way.agent for way in best + rest]

    def backups(self) -> list[NodeId]:
        """All ways in besides the agent, the likeliest to answer first."""
        return self._nearest(len(self.ways))

    def heard(self, agent: NodeId, rtt: Nanos) -> None:
        """An agent acknowledged a request after `rtt`: as good as a probe."""
        way = self.ways.get(agent)
        if way is not None:
            way.heard_at = self._ctx.now
            way.silent = 0
            way.rtt.sample(rtt)

    def rtt_of(self, agent: NodeId) -> Rtt | None:
        way = self.ways.get(agent)
        return None if way is None else way.rtt

    def hints(self, limit: int) -> tuple[AgentHint, ...]:
        """For somebody who asks this plain node."""
        ways = sorted(self.ways.values(), key=lambda way: (way.silent, -way.heard_at))[:limit]
        return tuple(AgentHint(way.agent, way.rtt.srtt, way.at) for way in ways)

    # Timers

    def _backoff(self) -> Nanos:
        return min(BACKOFF_MAX, BACKOFF_FIRST << min(self._rounds, 6))

    def _schedule(self, when: Nanos, run: Callable[[object], None]) -> None:
        if self._search_timer is not None:
            self._search_timer.cancel()
        self._search_timer = self._ctx.timers.at(when, run)
