"""A local client's requests: try the way that should be fastest, notice silence early, then try several ways at once.

    any of them --no answer when it is due--> asked again, by a datagram (`once`)
    direct to a cached replica --silent--> agent and another replica --silent--> waves over backups, with growing pauses
    agent --silent--> a wave over backups (and the agent is put to the question)
    one that is no agent any more --names its own--> that one
    either --busy--> another cached replica, or whom it names, then one other way at a time; after SHEDS of them, refused
    no answer for the application's `hedge` --> a second replica as well, within a budget
    a write to a register --answered with its tag--> all of that once more, to commit it under this tag, wherever it gets through

Every request ends in exactly one RequestDone, at the latest at its deadline. Retries are bounded in rate, not in memory
of the dead: after a total cut the old ways are tried again with every request, so the first ones after a heal succeed.
"""

from __future__ import annotations

from typing import Protocol

from opus_node.core.cache import AppCache
from opus_node.core.context import Context
from opus_node.core.data.cells import Tag
from opus_node.core.data.registers import judged, keeps, tags_first, value_of
from opus_node.core.events import ClientReply, Request, RequestDone
from opus_node.core.messages import (
    BUSY,
    NO_AGENT,
    NOT_HOLDER,
    NOT_PRIMARY,
    NOT_READY,
    SMALL,
    Demand,
    Reply,
    RouteAck,
    RouteRefuse,
    RouteRequest,
)
from opus_node.core.prober import Prober
from opus_node.core.relay import ATTEMPT_BITS, HEDGE_UNKNOWN, Relay
from opus_node.core.replica import Replica
from opus_node.core.rtt import Rtt
from opus_node.core.siblings import mix
from opus_node.core.timers import Timer
from opus_node.core.types import MILLISECOND, NOTHING, PRIMARY, SECOND, AppId, Nanos, NodeId

PENDING = 1024
"""Requests of local clients under way at most; more are refused at once and counted."""
REPLY_UNKNOWN: Nanos = 1 * SECOND
"""How long an acknowledged request may take before any reply time was learned."""
REPLY_SLACK: Nanos = 100 * MILLISECOND
ROUND_FIRST: Nanos = 100 * MILLISECOND
ROUND_MAX: Nanos = 1 * SECOND
"""Pauses between rounds of retries double from the first to this."""
SLOW = 4
"""A host may work so many times more slowly than one core would."""
SHEDS = 5
"""A request that was turned away so often is refused: more tries would only carry the overload on."""
BITS = 8 * SECOND

DIRECT, AGENT, SELF = "direct", "agent", "self"


class WaysIn(Protocol):
    """Where a client's requests go when it remembers no replica: its agent and other ways in (`attach.Attachment`)."""

    @property
    def agent(self) -> NodeId:
        """Whom they go to; empty: nobody at present."""

    def backups(self) -> list[NodeId]: ...

    def rtt_of(self, agent: NodeId) -> Rtt | None: ...

    def heard(self, agent: NodeId, rtt: Nanos) -> None: ...

    def agent_silent(self, agent: NodeId) -> None: ...

    def stood_down(self, node: NodeId, other: NodeId = "") -> None: ...

    def nudge(self) -> None:
        """A request knows no way."""


class Flight:
    """One message sent for a request."""

    __slots__ = ("acknowledged", "again_at", "expires", "number", "peer", "sent_at", "state", "via")
    SENT, ACKED, LOST = 0, 1, 2

    def __init__(self, number: int, peer: NodeId, via: str, sent_at: Nanos, expires: Nanos) -> None:
        self.number = number
        self.peer = peer
        self.via = via
        self.sent_at = sent_at
        self.expires = expires
        self.again_at: Nanos = 0
        """When it is sent once more if there is no answer; 0: it is not."""
        self.state = Flight.SENT
        self.acknowledged = False


class Pending:
    """One request under way."""

    __slots__ = (
        *("event", "exhausted", "first", "flights", "hedge_at", "issued_at", "next_round_at", "reserved", "rounds", "sheds"),
        *("small", "tag", "timer", "transfer", "tried", "wave"),
    )

    def __init__(self, event: Request, issued_at: Nanos, first: bool, transfer: Nanos) -> None:
        self.event = event
        self.small = max(len(event.content) or event.request_bytes, event.reply_bytes) <= SMALL
        """Whether it, and its answer, go ahead of a dial, and may be sent again."""
        self.issued_at = issued_at
        self.first = first
        self.transfer = transfer
        """What the payloads themselves may take on the access link."""
        self.flights: list[Flight] = []
        self.tried: list[NodeId] = []
        self.rounds = 0
        self.wave = 0
        """The first flight of the last round."""
        self.exhausted = False
        """Whether all ways were tried while some may still answer."""
        self.sheds = 0
        """How often it was turned away."""
        self.hedge_at: Nanos = 0
        """0: never, or it was."""
        self.next_round_at: Nanos = 0
        self.timer: Timer | None = None
        self.tag: Tag | None = None
        """Of a register: under which it is written, or what was read was."""
        self.reserved = 0
        """So many of the flights were for the tag; whatever becomes of them says nothing any more."""


class Client:
    __slots__ = ("_attachment", "_attempts", "_ctx", "_pending", "_prober", "_replica", "caches", "refused", "relay")

    def __init__(self, ctx: Context, prober: Prober, attachment: WaysIn, replica: Replica) -> None:
        self._ctx = ctx
        self._prober = prober
        self._attachment = attachment
        self._replica = replica
        self._pending: dict[int, Pending] = NOTHING
        self.caches: dict[AppId, AppCache] = NOTHING
        self.relay: Relay | None = None
        """Of this node's own agent, if it is one: its clients use the agent's table."""
        self.refused = 0

    @property
    def waiting(self) -> int:
        """Requests that have no answer yet."""
        return len(self._pending)

    def tend(self, until: Nanos) -> None:
        """To be called now and then; not again before `until`."""
        if self._ctx.config.direct and self.relay is None:
            for cache in self.caches.values():
                cache.tend(until)

    def demand(self) -> tuple[Demand, ...]:
        return tuple(cache.demand() for cache in self.caches.values())

    def shares(self) -> dict[AppId, float]:
        """What part of this node's requests goes to which application."""
        return mix({app: cache.rate for app, cache in self.caches.items()}) if self.caches else {}

    def cache(self, app: AppId) -> AppCache:
        found = self.caches.get(app)
        if found is None:
            if self.caches is NOTHING:
                self.caches = {}
            found = self.caches[app] = AppCache(self._ctx, self._prober, app)
        return found

    # A request begins

    def request(self, event: Request) -> None:
        ctx = self._ctx
        cache = self.cache(event.app)
        cache.count(event.key)
        asked = len(event.content) or event.request_bytes
        transfer = (asked + event.reply_bytes) * BITS // ctx.config.abilities.bandwidth
        pending = Pending(event, ctx.now, not cache.used, 2 * transfer)
        cache.used = True
        if cache.config.hedge:
            pending.hedge_at = ctx.now + cache.config.hedge
        if self._replica.serves(event.app) and not self._replica.takes_time(event.app):
            self._replica.served_itself(event)
            self._finish(pending, "ok", ctx.me, ctx.now, 0, SELF)
        elif event.deadline <= ctx.now:
            self._finish(pending, "deadline")
        elif len(self._pending) >= PENDING or event.request in self._pending:
            self.refused += 1
            self._finish(pending, "refused")
        else:
            if self._pending is NOTHING:
                self._pending = {}
            self._pending[event.request] = pending
            self._first_try(pending, cache)
            self._watch(pending)

    def _first_try(self, pending: Pending, cache: AppCache) -> None:
        app = pending.event.app
        if self._replica.serves(app):
            primary = self._replica.registers.primary(app)
            if primary:
                self._to_primary(pending, primary)
                return
            if self._by_myself(pending):
                return
        if self.relay is not None:
            if not self._by_own_agent(pending, 1):
                self._round(pending)
            return
        entry = cache.best(pending.tried) if self._ctx.config.direct else None
        if entry is not None:
            self._fly(pending, entry.node, DIRECT, entry)
        elif self._attachment.agent:
            self._fly(pending, self._attachment.agent, AGENT, self._attachment.rtt_of(self._attachment.agent))
        else:
            self._attachment.nudge()
            self._round(pending)

    def _to_primary(self, pending: Pending, node: NodeId) -> None:
        """Which a replica has named, perhaps this one itself."""
        app = pending.event.app
        if node == self._ctx.me:
            if self._replica.serves(app) and node not in pending.tried:
                self._by_myself(pending)
            return
        if self.relay is not None:
            self.relay.led_by(app, node)
        if node not in pending.tried:
            self._fly(pending, node, DIRECT, self.cache(app).led_by(node))

    def _by_own_agent(self, pending: Pending, attempt: int) -> bool:
        """A client on an agent goes to the replica its agent would choose; whether there was one."""
        if self.relay is None:
            return False
        target = self.relay.choose(pending.event.app, pending.tried, attempt, pending.event.key)
        if target is None:
            return False
        self.relay.count(pending.event.app, pending.event.key)
        self._fly(pending, target.node, DIRECT, target, HEDGE_UNKNOWN)
        return True

    def _by_myself(self, pending: Pending) -> bool:
        """This node is a replica: its program is asked, or its processor, without a message; False if there is no room."""
        registers, app = self._replica.registers, pending.event.app
        if registers.primary(app) or registers.elsewhere(app, pending.event.key):
            return False
        now, cache = self._ctx.now, self.cache(app)
        flight = Flight(self._number(pending), self._ctx.me, SELF, now, now + self._usual(cache) + pending.transfer)
        pending.flights.append(flight)
        pending.tried.append(flight.peer)
        taken = self._replica.take(self._message(pending, flight))
        flight.state = Flight.ACKED if taken else Flight.LOST
        pending.sheds += not taken
        return taken

    def _fly(self, pending: Pending, peer: NodeId, via: str, rtt: Rtt | None, unknown: Nanos = 400 * MILLISECOND) -> None:
        ctx = self._ctx
        wait = (unknown + 2 * ctx.lag if rtt is None else ctx.patience(rtt, unknown, ahead=pending.small)) + pending.transfer
        flight = Flight(self._number(pending), peer, via, ctx.now, ctx.now + wait)
        first = len(pending.flights) == pending.reserved  # a second silence is no lost packet
        if first and pending.small and rtt is not None and rtt.samples:
            flight.again_at, flight.expires = ctx.once_more(rtt, flight.expires, pending.transfer)
        pending.flights.append(flight)
        pending.tried.append(peer)
        ctx.send(peer, self._message(pending, flight))

    def _number(self, pending: Pending) -> int:
        return (self._ctx.incarnation << ATTEMPT_BITS) + len(pending.flights) + 1

    def _message(self, pending: Pending, flight: Flight, *, again: bool = False) -> RouteRequest:
        event, tags = pending.event, (() if pending.tag is None else (pending.tag,))
        content, payload = event.content, event.request_bytes
        app = self.cache(event.app).config
        if event.write and keeps(app):  # nothing is sent of a write until it has its tag
            known = tags or not tags_first(app)
            content, payload = value_of(event, self._ctx.me, self._ctx.incarnation) if known else b"", 0
        return RouteRequest(
            event.app,
            self._ctx.me,
            event.request,
            flight.number,
            event.key,
            event.write,
            0 if flight.via is SELF else 1,
            flight.via is DIRECT,
            event.deadline - self._ctx.now,
            event.reply_bytes,
            0 if content else payload,
            content,
            tags,
            again,
        )

    def _commit(self, pending: Pending, tag: Tag) -> None:
        """The write has its tag for good: a second one might come back after a later write."""
        pending.tag, pending.reserved, pending.tried, pending.rounds = tag, len(pending.flights), [], 0
        pending.next_round_at, pending.exhausted = 0, False
        for flight in pending.flights:
            flight.state = Flight.LOST
        self._first_try(pending, self.cache(pending.event.app))
        self._watch(pending)

    def _usual(self, cache: AppCache) -> Nanos:
        """How long an answer may take that is known to be under way; at an agent, once more for a hedge. Who stands in a line
        has been told nothing of it: whoever gave up then would only make it longer."""
        app = cache.config
        line = app.queue + SLOW * app.service_time if app.service_time else 0
        known = cache.reply if cache.reply.samples or self._replica.takes_time(app.name) else cache.farthest()
        return self._ctx.patience(known, REPLY_UNKNOWN) + known.srtt + REPLY_SLACK + line

    # Silence

    def _watch(self, pending: Pending) -> None:
        """One timer a request: at the next moment at which something would have to be done."""
        due = pending.event.deadline
        for flight in pending.flights:
            if flight.state != Flight.LOST:
                if 0 < flight.again_at < due:
                    due = flight.again_at
                if flight.expires < due:
                    due = flight.expires
        if pending.next_round_at < due and self._stuck(pending):
            due = max(pending.next_round_at, self._ctx.now + 1)
        elif 0 < pending.hedge_at < due:
            due = pending.hedge_at
        if pending.timer is not None:
            if pending.timer.run is not None and pending.timer.when == due:
                return
            pending.timer.cancel()
        pending.timer = self._ctx.timers.at(due, self._due, pending)

    def _due(self, pending: Pending) -> None:
        now = self._ctx.now
        if now >= pending.event.deadline:
            self._finish(pending, "deadline")
            return
        for flight in pending.flights:
            if 0 < flight.again_at <= now < flight.expires and flight.state != Flight.LOST:
                flight.again_at = 0
                self._ctx.send(flight.peer, self._message(pending, flight, again=True))
            if flight.state != Flight.LOST and flight.expires <= now:
                if flight.state == Flight.SENT:
                    self._silent(pending.event.app, flight)
                flight.state = Flight.LOST  # still welcome if it answers after all
        if 0 < pending.hedge_at <= now:
            pending.hedge_at = 0
            self._hedge(pending)
        self._go_on(pending)

    def _hedge(self, pending: Pending) -> None:
        """One more replica, whoever answers first: the first one may be slow for reasons that only it has."""
        cache, asked = self.cache(pending.event.app), pending.tried
        if all(flight.state == Flight.LOST for flight in pending.flights) or not cache.may_hedge():
            return
        if self.relay is not None:
            self._by_own_agent(pending, 1)
        elif (entry := cache.best(asked)) is not None:
            self._fly(pending, entry.node, DIRECT, entry)
        elif self._attachment.agent and self._attachment.agent not in asked:
            self._fly(pending, self._attachment.agent, AGENT, self._attachment.rtt_of(self._attachment.agent))

    def _silent(self, app: AppId, flight: Flight) -> None:
        if flight.via is AGENT:
            self._attachment.agent_silent(flight.peer)
        elif self.relay is not None:
            target = self.relay.target(app, flight.peer)
            if target is not None:
                self.relay.strike(app, target)
        else:
            self.cache(app).strike(flight.peer)

    def _go_on(self, pending: Pending) -> None:
        if self._ctx.now >= pending.next_round_at and self._stuck(pending):
            self._round(pending)
        if self._pending.get(pending.event.request) is pending:
            self._watch(pending)

    @staticmethod
    def _stuck(pending: Pending) -> bool:
        """Whether it is time for other ways: none of those tried may answer any more. Or one of the last wave is silent and none
        has acknowledged: whole regions fall silent together, and the farthest of a wave would hold up the next."""
        flying = [flight for flight in pending.flights if flight.state != Flight.LOST]
        if not flying:
            return True
        if not pending.rounds or pending.sheds or pending.exhausted or any(one.state == Flight.ACKED for one in flying):
            return False
        return any(one.state == Flight.LOST for one in pending.flights[pending.wave :])

    def _round(self, pending: Pending) -> None:
        """Several ways at once: those untried first; when all were tried, all over again."""
        ctx = self._ctx
        if self._replica.serves(pending.event.app):  # appointed meanwhile
            if not self._replica.takes_time(pending.event.app):
                self._replica.served_itself(pending.event)
                self._finish(pending, "ok", ctx.me, ctx.now, 0, SELF)
                return
            if ctx.me not in pending.tried and self._by_myself(pending):
                return
        width = 1 if pending.sheds else ctx.config.wave
        targets = self._targets(pending)
        if not targets and any(flight.state != Flight.LOST for flight in pending.flights):
            pending.exhausted = True
            return
        if not targets and pending.tried:
            pending.tried, pending.exhausted = [], False
            targets = self._targets(pending)
        pending.wave = len(pending.flights)
        for peer, via, rtt in targets[:width]:
            self._fly(pending, peer, via, rtt)
        pause = min(ROUND_MAX, ROUND_FIRST << min(pending.rounds, 5))
        pending.rounds += 1
        pending.next_round_at = ctx.now + ctx.jitter(pause, 0.75, 1.25)

    def _targets(self, pending: Pending) -> list[tuple[NodeId, str, Rtt | None]]:
        """Ways left for this request, best first: the agent, one cached replica, backups; then the remaining replicas."""
        app, tried = pending.event.app, pending.tried
        attachment = self._attachment
        if self.relay is not None:
            ranked = sorted(self.relay.able(app, pending.event.key), key=lambda target: target.rank())
            return [(target.node, DIRECT, target) for target in ranked if target.node not in tried]
        found: list[tuple[NodeId, str, Rtt | None]] = []
        if attachment.agent and attachment.agent not in tried:
            found.append((attachment.agent, AGENT, attachment.rtt_of(attachment.agent)))
        entries = self.cache(app).ranked()
        replicas: list[tuple[NodeId, str, Rtt | None]] = [
            (entry.node, DIRECT, entry) for entry in entries if entry.node not in tried
        ]
        found += replicas[:1]
        if pending.rounds == 0 and pending.flights and pending.flights[0].via is DIRECT and len(found) == 2:
            return found  # a silent replica says nothing against the agent: no wave yet
        for agent in attachment.backups():
            if agent not in tried:
                found.append((agent, AGENT, attachment.rtt_of(agent)))
        return found + replicas[1:]

    # Answers

    def _flight(self, client: NodeId, request: int, attempt: int) -> tuple[Pending, Flight] | None:
        if client != self._ctx.me:
            return None
        pending = self._pending.get(request)
        if pending is None:
            return None
        index = attempt - (self._ctx.incarnation << ATTEMPT_BITS) - 1
        if not pending.reserved <= index < len(pending.flights):
            return None
        return pending, pending.flights[index]

    def on_ack(self, source: NodeId, message: RouteAck) -> None:
        found = self._flight(message.client, message.request, message.attempt)
        if found is None or found[1].peer != source or found[1].acknowledged:
            return
        pending, flight = found
        flight.acknowledged = True
        rtt = self._ctx.now - flight.sent_at
        self._answered(pending.event.app, flight, rtt)
        flight.state = Flight.ACKED
        cache = self.cache(pending.event.app)
        # From now on: what replies have taken so far may have been by a nearer agent.
        flight.expires = self._ctx.now + self._usual(cache) + pending.transfer
        flight.again_at = 0
        if pending.small and cache.reply.samples and not self._replica.takes_time(pending.event.app):
            flight.again_at = self._ctx.now + self._ctx.due(cache.reply) + pending.transfer
        # The timer stands at the old, earlier time and finds the new one then: cheaper than setting it twice.

    def _answered(self, app: AppId, flight: Flight, rtt: Nanos) -> None:
        if flight.via is AGENT:
            self._attachment.heard(flight.peer, rtt)
        elif self.relay is not None:
            target = self.relay.target(app, flight.peer)
            if target is not None:
                target.strikes = 0
                self.relay.sample(target, rtt)
        else:
            self.cache(app).answered(flight.peer, rtt)

    def on_refuse(self, source: NodeId, message: RouteRefuse) -> None:
        found = self._flight(message.client, message.request, message.attempt)
        if found is None:
            return
        pending, flight = found
        if flight.peer != source:
            if flight.via is AGENT and self._replica.takes_time(pending.event.app):  # it could not after all, past the agent
                flight.state = Flight.LOST
                self.cache(pending.event.app).refused(source)
                self._go_on(pending)
            return
        late = flight.state == Flight.LOST
        flight.state = Flight.LOST
        if message.reason == BUSY:
            if not late:  # nor doubled
                self._turned_away(pending, flight, message)
            return
        if flight.via is AGENT and message.reason == NO_AGENT:
            other = message.alternative
            self._attachment.stood_down(source, other)
            if other and other != self._ctx.me and other not in pending.tried:
                self._fly(pending, other, AGENT, self._attachment.rtt_of(other))
        elif message.reason == NOT_PRIMARY:
            self._to_primary(pending, message.alternative)
        elif message.reason == NOT_HOLDER:
            other = message.alternative
            if other not in ("", self._ctx.me, *pending.tried):
                self._fly(pending, other, DIRECT, None, HEDGE_UNKNOWN)
        elif flight.via is DIRECT:
            if self.relay is not None:
                target = self.relay.target(pending.event.app, source)
                if target is not None:
                    self.relay.refused(target)
            elif message.reason == NOT_READY:
                self.cache(pending.event.app).not_ready(source)
            else:
                self.cache(pending.event.app).refused(source)
        self._go_on(pending)

    def _turned_away(self, pending: Pending, flight: Flight, message: RouteRefuse) -> None:
        """Alive, but without room: whom it names, else one other way, so that an overload is not answered with more load."""
        app, peer = pending.event.app, flight.peer
        if flight.via is DIRECT:
            target = None if self.relay is None else self.relay.target(app, peer)
            if target is not None:
                target.load = target.load.told(message.load, self._ctx.now)
                target.load = target.load.turned_away(self._ctx.now)
            elif self.relay is None:
                self.cache(app).heard(peer, message.load)
                self.cache(app).turned_away(peer)
        pending.sheds += 1
        alone = all(one.state == Flight.LOST for one in pending.flights)
        if pending.sheds >= SHEDS and alone:
            self._finish(pending, "refused")
            return
        if alone:
            self._once_more(pending, flight.via, message.alternative)
        self._go_on(pending)

    def _once_more(self, pending: Pending, via: str, other: NodeId) -> None:
        """Straight to the next of those it knows, or by the agent: neither needs dialling. Then to whom the refusal names."""
        entry = self.cache(pending.event.app).best(pending.tried) if via is DIRECT and self.relay is None else None
        if entry is not None:
            self._fly(pending, entry.node, DIRECT, entry)
        elif via is DIRECT and self.relay is None and self._attachment.agent and self._attachment.agent not in pending.tried:
            self._fly(pending, self._attachment.agent, AGENT, self._attachment.rtt_of(self._attachment.agent))
        elif other and other != self._ctx.me and other not in pending.tried:
            by_agent = via is AGENT
            self._fly(pending, other, AGENT if by_agent else DIRECT, self._attachment.rtt_of(other) if by_agent else None)

    def on_reply(self, source: NodeId, message: Reply) -> None:
        found = self._flight(message.client, message.request, message.attempt)
        if found is None:
            return
        pending, flight = found
        took = self._ctx.now - flight.sent_at
        cache = self.cache(message.app)
        if flight.via is AGENT or self._replica.takes_time(message.app):
            cache.reply.sample(took)
        elif flight.state != Flight.ACKED and flight.peer == source and not pending.transfer > MILLISECOND:
            self._answered(message.app, flight, took)
        tag = message.tags[0] if message.tags else None
        reserved = tag is not None and pending.event.write and pending.tag is None and tags_first(cache.config)
        if not reserved:
            pending.tag = tag
            self._finish(pending, "ok", source, message.arrived_at, message.hops, self._via(flight), message.content)
        if cache.config.consistency == PRIMARY and source != self._ctx.me:
            cache.led_by(source)
        if self.relay is None:
            cache.learn(message.replica_set, source)
            cache.heard(source, message.load, message.replica_set.members)
        elif message.load and (target := self.relay.target(message.app, source)) is not None:
            target.load = target.load.told(message.load, self._ctx.now)
        if reserved and tag is not None:
            self._commit(pending, tag)

    def _via(self, flight: Flight) -> str:
        return AGENT if self.relay is not None and flight.via is not SELF else flight.via

    def on_unreachable(self, peer: NodeId) -> None:
        for pending in list(self._pending.values()):
            hit = False
            for flight in pending.flights:
                if flight.peer == peer and flight.state == Flight.SENT:
                    self._silent(pending.event.app, flight)
                    flight.state = Flight.LOST
                    hit = True
            if hit:
                self._go_on(pending)

    def _finish(
        self,
        pending: Pending,
        outcome: str,
        replica: NodeId = "",
        arrived_at: Nanos = 0,
        hops: int = 0,
        via: str = "",
        content: bytes = b"",
    ) -> None:
        ctx = self._ctx
        event = pending.event
        if pending.timer is not None:
            pending.timer.cancel()
        if self._pending.get(event.request) is pending:
            del self._pending[event.request]
            if not self._pending:
                self._pending = NOTHING
        if not via:
            via = self._via(pending.flights[-1]) if pending.flights else AGENT
        done = RequestDone(
            event.app,
            event.request,
            event.key,
            event.write,
            pending.issued_at,
            ctx.now,
            outcome,
            replica,
            arrived_at,
            hops,
            len(pending.flights),
            via,
            pending.first,
        )
        ctx.notices.append(done)
        if keeps(self.cache(event.app).config):
            value = value_of(event, ctx.me, ctx.incarnation) if event.write else content
            ctx.notices.append(judged(done, pending.tag or Tag(), value, ctx.incarnation))
        ctx.replies += (ClientReply(event.app, event.request, outcome, replica, content),)
