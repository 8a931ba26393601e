"""One application's keys at one node, where they are sharded: of each shard that it holds what `eventual` says of all keys.

Who holds a shard is in the table that comes with the replica set (`shards`), so a shard's members change with it: a new holder
asks the others before it answers, one that gives a shard up hands it over before it forgets it. A node that is asked for a shard
that it does not hold, or not yet, names one that does.
"""

from __future__ import annotations

from dataclasses import replace

from opus_node.core.context import Context
from opus_node.core.data.cells import Said
from opus_node.core.data.eventual import EXCHANGE, Eventual
from opus_node.core.data.place import Done
from opus_node.core.messages import ReplicaSet, RouteRequest
from opus_node.core.sets import newer
from opus_node.core.shards import Table, shard_of, table_of
from opus_node.core.types import MILLISECOND, AppConfig, Nanos, NodeId

EACH: Nanos = 100 * MILLISECOND
"""Between two exchanges of a node, of whatever shard: who holds many asks less often for each."""


class Sharded:
    __slots__ = ("_app", "_ctx", "_done", "_set", "_shards", "_table")

    def __init__(self, ctx: Context, app: AppConfig, done: Done) -> None:
        """At boot. `done` hears of each operation begun here."""
        self._ctx = ctx
        self._app = app
        self._done = done
        self._set: ReplicaSet | None = None
        self._table: Table = ()
        self._shards: dict[int, Eventual] = {}
        """Those that it holds or has held."""

    @property
    def primary(self) -> NodeId:
        """No one node has to be asked for all keys."""
        return ""

    @property
    def ready(self) -> bool:
        """Whether operations on some keys can be begun here."""
        return any(one.answers for one in self._shards.values())

    @property
    def needed(self) -> bool:
        """Whether what is held here may be nowhere else."""
        return any(one.needed for one in self._shards.values())

    def elsewhere(self, key: int) -> NodeId:
        """Who is to be asked for it instead; empty: this node, or nobody is known."""
        shard = shard_of(key, self._app.shards)
        one = self._shards.get(shard)
        if one is not None and one.answers:
            return ""
        holders = (
            one.others if one is not None and one.serves else [node for node in self._holders(shard) if node != self._ctx.me]
        )
        return self._ctx.rng.choice(holders) if holders else ""

    def begin(self, message: RouteRequest) -> bool:
        """False: it is not held here."""
        one = self._shards.get(shard_of(message.key, self._app.shards))
        return one is not None and one.answers and one.begin(message)

    def learn(self, new: ReplicaSet) -> None:
        """A set greater than any before."""
        if not newer(new, self._set):
            return
        former, self._set, self._table = self._table, new, table_of(new, self._app.shards)
        for shard, holders in enumerate(self._table):
            if self._ctx.me in holders and shard not in self._shards:
                one = self._shards[shard] = Eventual(self._ctx, self._app.name, self._done, shard, self._pause)
                if former:  # who held it before it came here
                    one.learn(replace(new, epoch=-1, members=former[shard], holders=()))
            if shard in self._shards:
                self._shards[shard].learn(replace(new, members=holders, holders=()))

    def on(self, source: NodeId, said: Said, shard: int) -> None:
        one = self._shards.get(shard)
        if one is None and self._set is not None and 0 <= shard < self._app.shards:
            one = self._shards[shard] = Eventual(self._ctx, self._app.name, self._done, shard, self._pause)
            one.learn(replace(self._set, members=self._holders(shard), holders=()))  # by somebody who has not heard yet
        if one is not None:
            one.on(source, said)

    def _holders(self, shard: int) -> tuple[NodeId, ...]:
        return self._table[shard] if self._table else ()

    def _pause(self) -> Nanos:
        return max(EXCHANGE, EACH * sum(one.serves for one in self._shards.values()))
