"""The applications of a node whose data change (`AppConfig.consistency`), each with a keeper of its own.

Whoever founds is known to all before anything can go wrong: the seeds, each in its first life. A majority of them moves the data,
of which there are none yet, to the first set that a steward decides on.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from opus_node.core.context import NOBODY, Context
from opus_node.core.data.cells import Config, Peer, Tag
from opus_node.core.data.eventual import Eventual
from opus_node.core.data.keeper import Keeper
from opus_node.core.data.place import Done, Nowhere, Place, writer_of
from opus_node.core.data.quorum import Outcome
from opus_node.core.data.rules import rule_of
from opus_node.core.data.sharded import Sharded
from opus_node.core.data.wire import unpacked
from opus_node.core.events import RegisterDone, Request, RequestDone
from opus_node.core.messages import Data, ReplicaSet, RouteRequest
from opus_node.core.types import EVENTUAL, NOTHING, AppConfig, AppId, Nanos, NodeId


class Registers:
    __slots__ = ("_apps", "_by_app", "_ctx", "_done", "_place")

    def __init__(self, ctx: Context, place: Place, done: Done) -> None:
        """`done` hears of each operation that was begun here."""
        self._ctx = ctx
        self._place = place
        self._done = done
        self._apps = tuple(app for app in ctx.config.apps if keeps(app))
        self._by_app: dict[AppId, Keeper | Eventual | Sharded] = {} if self._apps else NOTHING

    def boot(self, seeds: tuple[NodeId, ...]) -> None:
        founders = Config(0, tuple(Peer(seed, 0) for seed in sorted(set(seeds))))
        for app in self._apps:
            if app.shards:
                self._by_app[app.name] = Sharded(self._ctx, app, self._done)
            elif app.consistency == EVENTUAL:
                self._by_app[app.name] = Eventual(self._ctx, app.name, self._done)
            else:
                self._by_app[app.name] = Keeper(self._ctx, app.name, rule_of(app), founders, self._place, self._done)

    def has(self, app: AppId) -> bool:
        """Whether the keys of `app` are registers."""
        return app in self._by_app

    def ready(self, app: AppId) -> bool:
        """Whether requests for `app` can be taken, as far as its data are concerned."""
        keeper = self._by_app.get(app)
        return keeper is None or keeper.ready

    def primary(self, app: AppId) -> NodeId:
        """Who has to be asked instead of this replica; empty: nobody."""
        keeper = self._by_app.get(app)
        return "" if keeper is None else keeper.primary

    def elsewhere(self, app: AppId, key: int) -> NodeId:
        """Who holds a key of `app`, where this replica does not, or not yet; empty: it does, or nobody is known to."""
        keeper = self._by_app.get(app)
        return keeper.elsewhere(key) if isinstance(keeper, Sharded) else ""

    def needed(self) -> bool:
        """Whether what is held here is not yet where it is to be instead."""
        return any(keeper.needed for keeper in self._by_app.values())

    def keeper(self, app: AppId) -> Keeper | None:
        """Who keeps the data of `app` by configurations; None: nothing has to be moved before another set can serve."""
        found = self._by_app.get(app)
        return found if isinstance(found, Keeper) else None

    def begin(self, message: RouteRequest) -> bool:
        """Begins what a client asks for; False: it cannot be here, and nothing was done."""
        return self._by_app[message.app].begin(message)

    def learn(self, new: ReplicaSet) -> None:
        keeper = self._by_app.get(new.app)
        if keeper is not None:
            keeper.learn(new)

    def on(self, source: NodeId, message: Data) -> None:
        keeper, said = self._by_app.get(message.app), unpacked(message)
        if keeper is None or said is None:
            return
        if isinstance(keeper, Sharded):
            keeper.on(source, said, message.shard)
        else:
            keeper.on(source, said)


def keeps(app: AppConfig) -> bool:
    """Whether its keys are registers."""
    return app.consistency != ""


def tags_first(app: AppConfig) -> bool:
    """Whether a write asks for its tag before it sends what it writes."""
    return app.consistency not in ("", EVENTUAL)


def value_of(event: Request, client: NodeId, life: int) -> bytes:
    """What a write writes: its content, or else as many bytes as it says (more, if they are too few), like those of no other."""
    return event.content or writer_of(client, life, event.request).encode().ljust(event.request_bytes, b"\0")


def judged(done: RequestDone, tag: Tag, value: bytes, life: int) -> RegisterDone:
    """What the judge of histories is told of a request that is over; `tag` and `value` as far as they are known."""
    shown = blake2b(value, digest_size=8).hexdigest() if value else ""
    return RegisterDone(
        done.app,
        done.request,
        done.key,
        done.write,
        done.issued_at,
        done.done_at,
        done.outcome,
        shown,
        tag.count,
        tag.writer,
        life,
    )


def _unasked(message: RouteRequest, arrived_at: Nanos, outcome: Outcome) -> None:
    """Nobody asks."""


NO_REGISTERS: Final = Registers(NOBODY, Nowhere(), _unasked)
