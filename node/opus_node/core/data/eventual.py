"""Everything of one application's values at one node, where each replica alone answers reads and takes writes.

    a write     the replica that is asked gives it a tag greater than any it has seen of the key, holds it, answers, and tells
                the others
    a read      what the replica holds
    meanwhile   each replica asks another one now and then what it has come by since (anti-entropy), so that what was lost on the
                way gets there all the same; of two values of a key the greater tag wins, everywhere

Where keys are sharded there is one of these for each shard, and its members are who holds it (`sharded`).

Members are those of the replica set, whoever decided on it: on both sides of a cut replicas serve, and after it all hold the
same. A new one asks the others, and those who were before, for all they have before it serves; if none answers for a while it
serves with nothing. Who is retired keeps what it has until a present replica has taken it.

Source: Demers et al., *Epidemic algorithms for replicated database maintenance* (1987): direct mail and anti-entropy, pull.
"""

from __future__ import annotations

from collections.abc import Callable

from opus_node.core.context import Context
from opus_node.core.data.cells import Cell, Cells, Exchange, Key, News, Pull, Said, Spread, Tag, Taken
from opus_node.core.data.place import Done, writer_of
from opus_node.core.data.quorum import Outcome
from opus_node.core.data.store import Store
from opus_node.core.data.wire import packed
from opus_node.core.events import KeysKept
from opus_node.core.messages import ReplicaSet, RouteRequest
from opus_node.core.relay import ATTEMPT_BITS
from opus_node.core.sets import newer
from opus_node.core.timers import Timer
from opus_node.core.types import MILLISECOND, SECOND, AppId, Nanos, NodeId

EXCHANGE: Nanos = 1 * SECOND
"""Between two that this node asks."""
ALONE: Nanos = 3 * SECOND
"""A new replica that nobody has answered for so long serves with what it has."""
AGAIN: Nanos = 400 * MILLISECOND
"""It asks again, and who is retired tells again."""
LEAVING: Nanos = 2 * SECOND
"""Who has given a shard up answers for it for so long at least: by then agents have heard who holds it."""


class Eventual:
    __slots__ = (
        *("_app", "_ctx", "_done", "_due", "_givers", "_has", "_handed", "_joined_at", "_left_at", "_pause", "_set", "_shard"),
        *("_store", "_timer", "ready"),
    )

    def __init__(
        self, ctx: Context, app: AppId, done: Done, shard: int = -1, pause: Callable[[], Nanos] = lambda: EXCHANGE
    ) -> None:
        """At boot. `done` hears of each operation begun here; `shard`: which of the application's it is about, -1: it has none;
        `pause()`: between two exchanges."""
        self._shard = shard
        self._pause = pause
        self._left_at: Nanos = 0
        """When this node ceased to be a member."""
        self._ctx = ctx
        self._app = app
        self._done = done
        self._store = Store()
        self._set: ReplicaSet | None = None
        self.ready = False
        """Whether operations can be begun here."""
        self._joined_at: Nanos = 0
        self._givers: set[NodeId] = set()
        """Who may have what this node lacks, and has not answered since it became a replica."""
        self._has: dict[NodeId, tuple[int, int]] = {}
        """Of others: in which life, how many of the values that they have stored are known here."""
        self._handed = 0
        """Of this node's own: so many are known to a present replica."""
        self._due: Nanos = -1
        """When to ask or tell somebody; -1: there is no need."""
        self._timer: Timer | None = None

    @property
    def primary(self) -> NodeId:
        """Nobody has to be asked instead."""
        return ""

    @property
    def needed(self) -> bool:
        """Whether what is held here may be nowhere else."""
        return bool(self._store.cells) and not self.serves and self._handed < self._store.count

    @property
    def answers(self) -> bool:
        """Whether operations are begun here: whoever has given it up does so until others have what it holds, and all know."""
        return self.ready and (self.serves or self.needed or self._ctx.now - self._left_at < LEAVING)

    @property
    def others(self) -> list[NodeId]:
        """Whom to ask instead: first those that had it before this node."""
        others = self._others()
        return [node for node in others if node in self._givers] or others

    @property
    def serves(self) -> bool:
        return self._set is not None and self._ctx.me in self._set.members

    def _others(self) -> list[NodeId]:
        return [node for node in self._set.members if node != self._ctx.me] if self._set is not None else []

    def begin(self, message: RouteRequest) -> bool:
        """It is done at once."""
        now, key, store = self._ctx.now, str(message.key), self._store
        if message.write:
            writer = writer_of(message.client, message.attempt >> ATTEMPT_BITS, message.request)
            if store.get(key).tag.writer != writer:  # else it is tried again
                cell = Cell(Tag(store.get(key).tag.count + 1, writer), message.content)
                self._take({key: cell})
                for node in self._others():
                    self._say(node, Spread(0, {key: cell}))
        self._done(message, now, Outcome("commit" if message.write else "read", key, True, store.get(key)))
        return True

    def learn(self, new: ReplicaSet) -> None:
        """A set greater than any before."""
        if not newer(new, self._set):
            return
        before, served = self._set, self.serves
        self._set = new
        if self.serves and not served:
            self._joined_at, self.ready = self._ctx.now, False
            self._givers = {node for node in (*new.members, *(before.members if before else ())) if node != self._ctx.me}
            self._due = self._ctx.now
            self._look()
        elif not self.serves:
            self._left_at = self._ctx.now if served else self._left_at
            self._due = self._ctx.now if self.needed else self._forget_at()
        self._rearm()

    def on(self, source: NodeId, said: Said) -> None:
        match said:
            case Pull(life, since):
                known = since if life == self._ctx.incarnation else 0
                cells, count = self._store.page(known)
                self._say(source, News(self._ctx.incarnation, count, self.ready, count == self._store.count, cells))
            case News(life, count, ready, last, cells):
                self._take(cells)
                self._has[source] = (life, count)
                if last:
                    self._givers.discard(source)
                    if ready:
                        self._givers.clear()
                    self._look()
                else:
                    self._pull(source)
            case Spread(op, cells):
                self._take(cells)
                if op and self.ready and self.serves:
                    self._say(source, Taken(op))
            case Taken(op):
                if op > self._handed:
                    self._handed = op
                    self._due = self._ctx.now if self.needed else self._forget_at()
        self._rearm()

    def _take(self, cells: Cells) -> None:
        new = [key for key in cells if key not in self._store.cells]
        taken = [self._store.take(key, cell) for key, cell in cells.items()]
        if self._shard >= 0:
            self._tell_kept(True, [key for key in new if key in self._store.cells])
            if any(taken) and not self.serves:  # by somebody who has not heard yet
                self._due = self._ctx.now
                self._rearm()

    def _forget_at(self) -> Nanos:
        """When what was handed over is dropped: nobody asks for it here any more."""
        return max(self._ctx.now, self._left_at + LEAVING) if self._shard >= 0 and not self.serves else -1

    def _forget(self) -> None:
        """Others have it. Should it come back it begins anew."""
        self._tell_kept(False, list(self._store.cells))
        self._store.clear()
        self._handed, self._has, self.ready = self._store.count, {}, False

    def _tell_kept(self, held: bool, keys: list[Key]) -> None:
        numbers = tuple(int(key) for key in keys if key.isdecimal())  # whatever a faulty peer may say
        if numbers:
            self._ctx.notices.append(KeysKept(self._app, self._shard, held, numbers))

    def _look(self) -> None:
        """A new replica is ready once it has what somebody who was ready has, or all others have nothing."""
        if self.serves and not self.ready:
            self.ready = not self._givers or self._ctx.now - self._joined_at >= ALONE

    # Time

    def _tick(self, _: object) -> None:
        now = self._ctx.now
        self._look()
        if 0 <= self._due <= now:
            self._due = -1
            others = self._others()
            if self.serves and not self.ready:
                for node in sorted(self._givers):
                    self._pull(node)
                self._due = now + AGAIN
            elif self.serves:
                if others:
                    self._pull(self._ctx.rng.choice(others))
                self._due = now + self._ctx.jitter(self._pause())
            elif self.needed and others:
                cells, count = self._store.page(self._handed)
                self._say(self._ctx.rng.choice(others), Spread(count, cells))
                self._due = now + self._ctx.jitter(AGAIN)
            elif self._shard >= 0 and not self.needed:
                self._due = self._forget_at()
                if self._due <= now:
                    self._due = -1
                    self._forget()
        self._rearm()

    def _pull(self, node: NodeId) -> None:
        self._say(node, Pull(*self._has.get(node, (0, 0))))

    def _rearm(self) -> None:
        if self._due < 0:
            return
        wanted = max(self._due, self._ctx.now)
        if self._timer is None or self._timer.run is None or self._timer.when > wanted:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._ctx.timers.at(wanted, self._tick)

    def _say(self, to: NodeId, said: Exchange) -> None:
        self._ctx.send(to, packed(self._app, said, max(0, self._shard)))
