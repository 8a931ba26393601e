"""The door of every other overlay: `BaselineCore.step(event, now) -> Ready`, as `opus_node.core.node.NodeCore` has it.

    Request --cache knows a replica--> straight to the nearest
            --otherwise--> next hop by the protocol (`ways`), or a look-up first, if the protocol's clients look up themselves
    RouteRequest --this node holds the key--> Reply to the client
                 --otherwise--> passed on (`relay`)

Clients, their caches, time-outs, waves of retries, and the replica's side are Opus' own classes, so that figures differ by the
protocol alone. Every member of a replica set that a reply names is measured, and the nearest is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

from opus_node.baselines.asker import Asker
from opus_node.baselines.holders import Holders
from opus_node.baselines.ids import of_app
from opus_node.baselines.overlay import Make, Overlay
from opus_node.baselines.peers import Peers
from opus_node.baselines.relay import NO_WAY, Relay
from opus_node.baselines.ways import Ways
from opus_node.core.context import Context
from opus_node.core.departure import LINGER, Departure
from opus_node.core.events import Boot, Event, Leave, Metered, Ready, Receive, Request, Snapshot, Unreachable, Wake
from opus_node.core.messages import (
    Ask,
    Message,
    NearReplicas,
    News,
    Probe,
    ProbeReply,
    ReplicaSet,
    Reply,
    RouteAck,
    RouteRefuse,
    RouteRequest,
    Seek,
    Told,
)
from opus_node.core.node import ENTRY_BYTES
from opus_node.core.once import Once
from opus_node.core.prober import Prober
from opus_node.core.replica import Replica
from opus_node.core.replies import Replies
from opus_node.core.types import MILLISECOND, AppConfig, AppId, Nanos, NodeConfig, NodeId

NOT_HELD: Final = "not a holder of this key"
REMEMBERED = 512
"""Requests of which this node remembers who passed them to it."""


class BaselineCore:
    """One node. Not thread-safe; `now` must never go backward."""

    def __init__(self, node_id: NodeId, config: NodeConfig, rng: Random, make: Make) -> None:
        ctx = self._ctx = Context(node_id, config, rng)
        self._booted = False
        self._departure: Departure | None = None
        self._prober = Prober(ctx)
        self._peers = Peers(ctx)
        self._overlay: Overlay = make(ctx, self._peers, self._review)
        self._holders = Holders(ctx, self._peers, self._overlay)
        self._once = Once(ctx)
        self._replies = Replies()
        self._replica = Replica(ctx, self._once, self)
        self._relay = Relay(ctx, self._peers, self._holders, self._once, self._silent)
        self._clients = {app.name: self._client(app) for app in ctx.config.apps}
        self._looking: set[AppId] = set()
        """Whose holders are being looked up; never iterated."""
        self._held: dict[AppId, tuple[NodeId, ...]] = {}
        """Who holds each application, as this node last saw it."""
        self._came: dict[tuple[NodeId, int, int], NodeId] = {}
        """Who passed a request to this node first, of the latest ones."""
        self._handlers: dict[type, Callable[[NodeId, Any], None]] = {
            RouteRequest: self._on_request,
            Reply: self._on_reply,
            RouteAck: self._on_ack,
            RouteRefuse: self._on_refuse,
            Probe: self._on_probe,
            ProbeReply: self._prober.on_reply,
            Ask: self._on_ask,
            Told: self._peers.told,
            Seek: self._overlay.seek,
            News: self._overlay.news,
        }

    def _client(self, app: AppConfig) -> Asker:
        ways = Ways(self._holders, self._peers, app, self._silent, lambda: self._look_up(app))
        return Asker(self._ctx, self._prober, ways, self._replica)

    # The door

    def step(self, event: Event, now: Nanos) -> Ready:
        """Takes one event at `now` (absolute) and returns all that the runtime must do. Before Boot all else is ignored."""
        ctx = self._ctx
        ctx.now = max(ctx.now, now)
        if self._booted:
            self._take(event)
        elif isinstance(event, Boot):
            self._booted = True
            ctx.booted_at, ctx.incarnation = ctx.now, event.incarnation
            self._overlay.boot([seed for seed in event.seeds if seed != ctx.me])
            self._review()
        return self._ready()

    def _take(self, event: Event) -> None:
        if isinstance(event, Receive):
            self._receive(event.source, event.message)
        elif isinstance(event, Wake):
            due = self._ctx.timers.next()
            self._ctx.woken(0 if due is None else self._ctx.now - due)
            self._ctx.timers.fire(self._ctx.now)
        elif isinstance(event, Request):
            self._request(event)
        elif isinstance(event, Unreachable):
            self._unreachable(event.peer)
        elif isinstance(event, Metered):
            serving = bool(self._replica.serving)
            self._ctx.budget.metered(event.control_bytes, self._ctx.now, self._ctx.now - self._ctx.booted_at, None, serving)
        elif isinstance(event, Leave) and self._departure is None:
            self._overlay.leave()
            self._departure = Departure(self._ctx, self._is_held, LINGER)

    def _receive(self, source: NodeId, message: Message) -> None:
        handler = self._handlers.get(message.__class__)
        if handler is not None:
            self._overlay.heard(source)
            self._holders.heard(source)
            handler(source, message)

    def _is_held(self) -> bool:
        return self._relay.waiting > 0 or any(client.waiting for client in self._clients.values())

    def _ready(self) -> Ready:
        ctx = self._ctx
        left = self._departure is not None and self._departure.over
        ready = Ready(tuple(ctx.sends), ctx.replies, tuple(ctx.notices), ctx.timers.next(), (), left)
        ctx.sends.clear()
        ctx.replies = ()
        ctx.notices.clear()
        return ready

    def snapshot(self) -> Snapshot:
        """What this node would say of itself; changes nothing."""
        replica = self._replica
        caches = [cache for client in self._clients.values() for cache in client.caches.values()]
        entries = self._overlay.entries() + sum(len(cache.entries) for cache in caches)
        return Snapshot(
            agent="",
            is_agent=False,
            replica_of=replica.active(),
            steward_of=(),
            epochs=tuple(sorted((app, one.replica_set.epoch) for app, one in replica.serving.items())),
            nodes=0,
            entries=entries,
            state_bytes=entries * ENTRY_BYTES,
            requests_served=replica.served,
            requests_routed=self._relay.routed,
            requests_shed=self._relay.shed,
            fellows=tuple((app, one.replica_set.members) for app, one in replica.serving.items()),
        )

    # Who holds what

    def _review(self) -> None:
        """The neighbourhood has changed: this node may have become a holder, or be none any more. Of two views the later one
        counts (`AppCache`): the epoch is the time, in ms."""
        if not self._booted:
            return
        me = self._ctx.me
        for app in self._ctx.config.apps:
            held = self._holders.of(app)
            if held == self._held.get(app.name):
                continue
            self._held[app.name] = held
            self._holders.measure(held)
            if me in held or app.name in self._replica.serving:
                self._replica.learn(ReplicaSet(app.name, 1 + self._ctx.now // MILLISECOND, me, held))

    # Clients

    def _request(self, event: Request) -> None:
        client = self._clients.get(event.app)
        if client is None:  # an application that nobody told it of: others may know it
            client = self._clients[event.app] = self._client(AppConfig(event.app))
        client.request(event)

    def _look_up(self, app: AppConfig) -> None:
        """A client knows no way: its holders are looked up, if the protocol does so; once at a time."""
        if not self._holders.looked_up(app) or app.name in self._looking:
            return
        self._looking.add(app.name)

        def found(nodes: tuple[NodeId, ...], depth: int) -> None:
            self._looking.discard(app.name)
            self._clients[app.name].named(app.name, self._holders.nearest_first(nodes), depth)

        self._overlay.find(of_app(app.name), app.replicas, found)

    def _on_reply(self, source: NodeId, message: Reply) -> None:
        client = self._clients.get(message.app)
        if client is None or message.client != self._ctx.me:
            return
        cache = client.cache(message.app)
        before = (cache.epoch, cache.steward)
        client.on_reply(source, message)
        client.depth = 0
        if (cache.epoch, cache.steward) != before:
            members = message.replica_set.members
            for k in range(0, len(members), 8):  # a cache measures so many of those named at a time
                cache.told(NearReplicas(message.app, members[k : k + 8], ()))

    def _on_ack(self, source: NodeId, message: RouteAck) -> None:
        if message.client == self._ctx.me:
            for client in self._clients.values():
                client.on_ack(source, message)
        else:
            self._relay.on_ack(source, message)

    def _on_refuse(self, source: NodeId, message: RouteRefuse) -> None:
        if message.client == self._ctx.me:
            for client in self._clients.values():
                client.on_refuse(source, message)
        elif not self._relay.on_refuse(source, message):
            # Who had acknowledged it has found no way after all: the refusal goes back along the way that the request came.
            before = self._came.get((message.client, message.request, message.attempt))
            if before is not None and before != source:
                self._ctx.send(before, message)

    # Other nodes' requests

    def _on_request(self, source: NodeId, message: RouteRequest) -> None:
        key = (message.client, message.request, message.attempt)
        if not self._once.first(key):
            if message.again:
                self._once.again(source, message)
            elif self._came.get(key, source) != source:  # it has come round in a circle
                self._ctx.send(source, RouteRefuse(*key, NO_WAY))
            return
        self._came[key] = source
        if len(self._came) > REMEMBERED:
            del self._came[next(iter(self._came))]
        if self._replica.serves(message.app):
            self.deliver(self._replica.serve(source, message))
        elif message.direct:
            self._once.answer(source, RouteRefuse(*key, NOT_HELD))
        else:
            self._relay.on_request(source, message)

    # What the replica asks (`replica.Around`)

    def agent_id(self) -> NodeId:
        return ""

    def acts(self, app: AppId) -> bool:
        return False

    def wrote(self, request: Request | RouteRequest) -> None:
        """No updates are spread."""

    def deliver(self, answer: Reply | RouteRefuse) -> None:
        """To its client, perhaps to this node's own: a request may come back to who asked, if that one holds the key by now."""
        if answer.client == self._ctx.me:
            if isinstance(answer, Reply):
                self._on_reply(self._ctx.me, answer)
            return
        if isinstance(answer, Reply):
            self._replies.sent(answer, self._ctx.now)
        self._once.answer(answer.client, answer)

    # Other nodes

    def _on_probe(self, source: NodeId, message: Probe) -> None:
        self._ctx.send(source, ProbeReply(message.nonce, False, 0, self._ctx.position.at, stream=message.stream))

    def _on_ask(self, source: NodeId, message: Ask) -> None:
        told = self._overlay.answer(source, message) if message.what else Told(message.nonce)
        if told is not None:
            self._ctx.send(source, told)

    def _silent(self, node: NodeId) -> None:
        self._holders.silent(node)

    def _unreachable(self, peer: NodeId) -> None:
        self._peers.unreachable(peer)
        self._silent(peer)
        self._relay.on_unreachable(peer)
        for client in self._clients.values():
            client.on_unreachable(peer)
        for reply in self._replies.lost_with(peer, self._ctx.now):
            self._ctx.send(peer, reply)
