"""The applications among whose replicas this node spreads updates: those that name a bound (`AppConfig.spread`).

A write that is answered here is published to the other replicas; one that its client had to repeat may be published twice. What
becomes of an update at a replica is the application's affair: so far it is told to observers (`UpdateDelivered`).
"""

from __future__ import annotations

from opus_node.core.context import Context
from opus_node.core.events import Request, Spreading, UpdateDelivered
from opus_node.core.messages import Have, MeshAnswer, MeshAsk, MeshHello, MeshNews, ReplicaSet, RouteRequest, Update, Want
from opus_node.core.prober import Prober
from opus_node.core.spread import Spread
from opus_node.core.types import NOTHING, AppId, NodeId

KEY = 8
"""Bytes of an update that name the key that was written."""

AmongReplicas = MeshHello | MeshAsk | MeshAnswer | MeshNews | Update | Have | Want


class Spreads:
    __slots__ = ("_bounds", "_by_app", "_ctx", "_prober")

    def __init__(self, ctx: Context, prober: Prober) -> None:
        self._ctx = ctx
        self._prober = prober
        self._bounds: dict[AppId, float] = {app.name: app.spread for app in ctx.config.apps if app.spread} or NOTHING
        self._by_app: dict[AppId, Spread] = {} if self._bounds else NOTHING

    def learn(self, replica_set: ReplicaSet) -> None:
        """A greater set than any known before. Who leaves it keeps what it has heard: it may come back."""
        app = replica_set.app
        if app in self._bounds:
            spread = self._by_app.get(app)
            if spread is None:
                if self._ctx.me not in replica_set.members:
                    return
                spread = self._by_app[app] = Spread(self._ctx, self._prober, app, self._bounds[app], self._delivered)
            spread.learn(replica_set.members)

    def publish(self, app: AppId, content: bytes, payload: int = 0) -> Update | None:
        """None if this node does not serve `app`, or `app` names no bound, or there is too much of it (`updates.MOST`)."""
        spread = self._by_app.get(app)
        return None if spread is None else spread.publish(content, payload)

    def wrote(self, request: Request | RouteRequest) -> None:
        """A write has been answered here: its key, and its content, or as many bytes as it has in place of one."""
        if request.app in self._by_app:
            payload = request.payload if isinstance(request, RouteRequest) else request.request_bytes
            key = request.key.to_bytes(KEY, "big", signed=True)
            self.publish(request.app, key + request.content, 0 if request.content else payload)

    def on(self, source: NodeId, message: AmongReplicas) -> None:
        spread = self._by_app.get(message.app)
        if spread is not None:
            spread.on(source, message)
        elif isinstance(message, MeshAsk):
            self._ctx.send(source, MeshAnswer(message.app, False))

    def entries(self) -> int:
        """Table entries held."""
        return sum(spread.entries() for spread in self._by_app.values())

    def seen(self) -> tuple[Spreading, ...]:
        """What it comes to here, of each application."""
        return tuple(
            Spreading(app, len(spread.neighbours), spread.copies, spread.needless) for app, spread in sorted(self._by_app.items())
        )

    def neighbours(self, app: AppId) -> tuple[NodeId, ...]:
        """In the mesh of `app`."""
        spread = self._by_app.get(app)
        return () if spread is None else spread.neighbours

    def _delivered(self, update: Update, missed: int, by: NodeId) -> None:
        self._ctx.notices.append(UpdateDelivered(update.app, update.source, update.life, update.version, update.size, by, missed))
