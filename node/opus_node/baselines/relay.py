"""Passing requests on: acknowledge, send to the next hop, take another one if that is silent.

    hop before --RouteRequest--> this node --RouteRequest--> next hop, or the nearest holder --Reply--> client
               <---RouteAck-----           <---RouteAck-----

A node that knows all who hold the key sends to the nearest of them by its own measurements.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from opus_node.baselines.holders import Holders
from opus_node.baselines.peers import Peers
from opus_node.core.context import Context
from opus_node.core.messages import RouteAck, RouteRefuse, RouteRequest
from opus_node.core.once import Once
from opus_node.core.timers import Timer
from opus_node.core.types import AppConfig, AppId, Nanos, NodeId

RELAYS = 2048
TRIES = 6
"""Next hops tried for one request."""
MOST_HOPS = 64
"""A request that has gone so far goes round in circles."""
NO_WAY = "no way"


class Relayed:
    __slots__ = ("again_at", "deadline", "expires", "message", "sent_at", "source", "timer", "tried")

    def __init__(self, source: NodeId, message: RouteRequest, now: Nanos) -> None:
        self.source = source
        self.message = message
        self.deadline = now + message.left
        self.tried: list[NodeId] = []
        self.sent_at: Nanos = 0
        self.again_at: Nanos = 0
        self.expires: Nanos = 0
        self.timer: Timer | None = None


class Relay:
    __slots__ = ("_apps", "_ctx", "_holders", "_lost", "_once", "_peers", "_relayed", "routed", "shed")

    def __init__(self, ctx: Context, peers: Peers, holders: Holders, once: Once, lost: Callable[[NodeId], None]) -> None:
        self._ctx = ctx
        self._peers = peers
        self._holders = holders
        self._once = once
        self._lost = lost
        self._apps: dict[AppId, AppConfig] = {app.name: app for app in ctx.config.apps}
        self._relayed: dict[tuple[NodeId, int, int], Relayed] = {}
        self.routed = 0
        self.shed = 0

    @property
    def waiting(self) -> int:
        return len(self._relayed)

    def on_request(self, source: NodeId, message: RouteRequest) -> None:
        key = (message.client, message.request, message.attempt)
        if len(self._relayed) >= RELAYS or message.hops >= MOST_HOPS or message.app not in self._apps:
            self.shed += 1
            self._once.answer(source, RouteRefuse(*key, NO_WAY))
            return
        relayed = Relayed(source, replace(message, hops=message.hops + 1, again=False, ahead=True), self._ctx.now)
        target = self._next(relayed)
        if target is None:
            self._once.answer(source, RouteRefuse(*key, NO_WAY))
            return
        self._once.answer(source, RouteAck(*key))
        self.routed += 1
        self._relayed[key] = relayed
        self._forward(relayed, target)

    def _next(self, relayed: Relayed) -> NodeId | None:
        """The nearest holder if all are known here, else the next hop."""
        message, ctx = relayed.message, self._ctx
        without = (*relayed.tried, relayed.source, ctx.me)
        app = self._apps[message.app]
        holders = [node for node in self._holders.of(app) if node not in without]
        if holders:
            return self._holders.nearest_first(holders)[0]
        ways = self._holders.ways(app, without, 1)
        return ways[0] if ways else None

    def _forward(self, relayed: Relayed, target: NodeId) -> None:
        ctx, message = self._ctx, relayed.message
        rtt = self._peers.rtt(target)
        relayed.tried.append(target)
        relayed.sent_at = ctx.now
        relayed.expires = ctx.now + ctx.patience(rtt, ahead=True)
        relayed.again_at = 0
        if rtt.samples:
            relayed.again_at, relayed.expires = ctx.once_more(rtt, relayed.expires)
        ctx.send(target, replace(message, left=relayed.deadline - ctx.now))
        relayed.timer = ctx.timers.at(relayed.again_at or relayed.expires, self._due, relayed)

    def _due(self, relayed: Relayed) -> None:
        ctx, message = self._ctx, relayed.message
        if relayed.again_at and relayed.again_at <= ctx.now < relayed.expires:
            relayed.again_at = 0
            ctx.send(relayed.tried[-1], replace(message, left=relayed.deadline - ctx.now, again=True))
            relayed.timer = ctx.timers.at(relayed.expires, self._due, relayed)
            return
        self._lost(relayed.tried[-1])
        self._go_on(relayed)

    def _go_on(self, relayed: Relayed) -> None:
        """Another way, or word to the hop before that there is none."""
        message = relayed.message
        key = (message.client, message.request, message.attempt)
        if relayed.timer is not None:
            relayed.timer.cancel()
        if self._relayed.get(key) is not relayed:
            return
        target = self._next(relayed) if len(relayed.tried) < TRIES and self._ctx.now < relayed.deadline else None
        if target is not None:
            self._forward(relayed, target)
            return
        del self._relayed[key]
        self._ctx.send(relayed.source, RouteRefuse(*key, NO_WAY))

    def on_ack(self, source: NodeId, message: RouteAck) -> None:
        key = (message.client, message.request, message.attempt)
        relayed = self._relayed.get(key)
        if relayed is None or source not in relayed.tried:
            return
        if source == relayed.tried[-1] and not message.again:
            self._peers.rtt(source).sample(self._ctx.now - relayed.sent_at, self._ctx.now)
        self._end(key, relayed)
        self._once.passed(key, source)

    def on_refuse(self, source: NodeId, message: RouteRefuse) -> bool:
        """Whether the request was still in this node's hands: nobody had acknowledged it."""
        relayed = self._relayed.get((message.client, message.request, message.attempt))
        if relayed is not None and source == relayed.tried[-1]:
            self._go_on(relayed)
        return relayed is not None

    def on_unreachable(self, peer: NodeId) -> None:
        for relayed in [one for one in self._relayed.values() if one.tried[-1] == peer]:
            self._go_on(relayed)

    def _end(self, key: tuple[NodeId, int, int], relayed: Relayed) -> None:
        if relayed.timer is not None:
            relayed.timer.cancel()
        del self._relayed[key]
