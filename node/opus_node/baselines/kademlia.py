"""Kademlia: nearness is the exclusive or of identifiers; every message teaches both ends, and clients search themselves.

Maymounkov and Mazieres, "Kademlia: a peer-to-peer information system based on the XOR metric", IPTPS 2002: k-buckets
(`kademlia_table`), searches with alpha = 3 questions at a time (`kademlia_lookup`), both as amended by the longer paper: one who
is silent is replaced from a cache, and whoever is near is known whole.

    a message from a node   it is the most recently seen of its bucket, or enters it; a full one has its oldest asked for life
    told of a node          asked for life where its bucket has room, else a spare
    silence (three tries)   out, spares are asked, and the next two of the bucket: where one fell others may have

    join    search for oneself by way of the seeds, then one look into each bucket; both again with growing pauses while they
            bring somebody new nearby (all hosts may boot in the same second)
    upkeep  everybody nearby who was not heard, and the oldest of each full bucket, is asked for life; one neighbour for nodes
            nearby; the bucket looked into least recently, unless that was a short while ago, is looked into

k is 20 or what the largest replica set needs; m nearest of a key are its replicas, and a node answers a search with them if it
can tell (`Table.holders`). With proximity, full buckets keep the nearest of those measured (proximity neighbour selection: Kaune
et al., "Embracing the peer next door", P2P 2008), and a search for holders asks, of those that should be able to tell, the
nearest first. Who does not answer within its own round trips makes room for the next question (as tuned by Stutzbach and Rejaie,
INFOCOM 2006, and Li et al., IPTPS 2004). Nobody says that it leaves: the paper has no word for it.

Left out: b > 1 (accelerated look-ups, which multiply the table; with k = 20 a hop already resolves more than five bits), storing
again each hour (a replica is whoever is near), caching on the way (clients cache). The paper refreshes a bucket that nobody
searched for an hour; here it is a few rounds of upkeep, since sessions under test last minutes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final

from opus_node.baselines.ids import BITS, Identifier, of_app, of_node
from opus_node.baselines.kademlia_lookup import ALPHA, Done, Lookup
from opus_node.baselines.kademlia_table import Table
from opus_node.baselines.overlay import Found, Overlay
from opus_node.baselines.peers import OnSilent, OnTold, Peers
from opus_node.core.context import Context
from opus_node.core.messages import Ask, Told
from opus_node.core.timers import Timer
from opus_node.core.types import SECOND, Nanos, NodeId

K: Final = 20
UPKEEP: Final[Nanos] = 20 * SECOND
FIRST_PAUSE: Final[Nanos] = 1 * SECOND
"""Between the first rounds of a new node; doubled up to `upkeep`."""
REFRESH_ROUNDS: Final = 10
"""A bucket that was searched within so many rounds is not looked into."""
GONE: Final[Nanos] = 60 * SECOND
GONE_KEPT: Final = 512
"""Who was silent is not asked again on others' word for so long, unless it speaks itself."""
MEASURED, MEASURED_FIRST = 1, 8
"""Spares of each full bucket measured in a round, and in one of the first rounds."""
NODES, HOLDERS, ALIVE = "nodes", "holders", ""
"""Questions: FIND_NODE, FIND_VALUE, PING."""


class Kademlia(Overlay):
    ITERATIVE = True

    def __init__(self, ctx: Context, peers: Peers, changed: Callable[[], None]) -> None:
        super().__init__(ctx, peers, changed)
        most = max((app.replicas for app in ctx.config.apps), default=0)
        self.table = Table(ctx.me, max(ctx.config.neighbours or K, most + most // 4))
        self._copies = {of_app(app.name): app.replicas for app in ctx.config.apps}
        self._round: Nanos = ctx.config.upkeep or UPKEEP
        self._pause: Nanos = min(FIRST_PAUSE, self._round)
        self._seeds: tuple[NodeId, ...] = ()
        self._asked: dict[NodeId, None] = {}
        """Who has a question of this node's."""
        self._gone: dict[NodeId, Nanos] = {}
        self._searched_at = [-1 - REFRESH_ROUNDS * self._round] * BITS
        """When a search last went into each bucket."""
        self._fresh = 0
        """Nodes nearby that came since the last round."""
        self._timer: Timer | None = None

    # Joining

    def boot(self, seeds: Sequence[NodeId]) -> None:
        self._seeds = tuple(seeds)
        self.table.joined = not seeds
        self._next_round()
        self._look_for_me()

    def _look_for_me(self) -> None:
        def done(nodes: tuple[NodeId, ...], _: int) -> None:
            if nodes:
                self.table.joined = True
                self.changed()
                for place in range(self.table.depth + 1):
                    if self.table.room(place):
                        self._look_into(place)

        self._search(self.table.identifier, self.table.k, NODES, done)

    def _look_into(self, place: int, *, whole: bool = False) -> None:
        """A search in the range of one bucket, until a few more are known, or all the way: then all are."""
        table = self.table

        def done(nodes: tuple[NodeId, ...], _: int) -> None:
            if whole and nodes and not table.sure[place]:
                table.sure[place] = True
                self.changed()

        self._search(table.random_in(place, self.ctx.rng), table.k if whole else ALPHA, NODES, done)

    # Searching

    def find(self, key: Identifier, count: int, found: Found) -> None:
        known = self.holders(key, count)
        if known:
            found(known, 0)
        else:
            self._search(key, self.table.k, HOLDERS, lambda nodes, depth: found(nodes[:count], depth))

    def _search(self, key: Identifier, need: int, what: str, done: Done) -> None:
        place = self.table.place(key)
        if place < BITS:
            self._searched_at[place] = self.ctx.now
        start = self.table.closest(key, self.table.k)
        if len(start) < ALPHA:
            start += [seed for seed in self._seeds if seed not in start]
        reach = 1 << (BITS - self.table.depth) if what == HOLDERS and self.ctx.config.proximity else 0
        Lookup(self.ctx, self.peers, key, need, reach, partial(self._ask, what, key), self._usable, done).start(start)

    def _usable(self, node: NodeId) -> bool:
        until = self._gone.get(node)
        return node != self.ctx.me and (until is None or until <= self.ctx.now)

    def _ask(self, what: str, key: Identifier, node: NodeId, on_told: OnTold, on_silent: OnSilent) -> None:
        def told(source: NodeId, told: Told) -> None:
            self._asked.pop(node, None)
            self._prefer(node)
            on_told(source, told)
            self._meet(told.nodes)

        def silent(source: NodeId) -> None:
            self._asked.pop(node, None)
            self.silent(node)
            on_silent(source)

        self._asked[node] = None
        self.peers.ask(node, what, told, silent, key=key)

    def _ping(self, node: NodeId) -> None:
        if node not in self._asked:
            self._ask(ALIVE, 0, node, lambda source, told: None, lambda source: None)

    # Who is there

    def heard(self, node: NodeId) -> None:
        table, now = self.table, self.ctx.now
        if table.seen(node, now):
            return
        self._gone.pop(node, None)
        if table.add(node, now):
            self._fresh += table.place(of_node(node)) >= table.depth
            self.changed()
        else:
            self._check_oldest(table.place(of_node(node)), self._round)

    def _check_oldest(self, place: int, silent_for: Nanos, count: int = 1) -> None:
        """Asks the least recently seen of a bucket whether they live, if they have not been heard for so long."""
        bucket = self.table.buckets[place]
        for node in list(bucket)[:count]:
            if self.ctx.now - bucket[node].seen_at >= silent_for:
                self._ping(node)

    def _meet(self, nodes: Sequence[NodeId]) -> None:
        """Others know them; each is to speak for itself before it stands in a bucket."""
        table = self.table
        new = [node for node in nodes if node not in self._asked and self._usable(node) and table.contact(node) is None]
        asked = Counter(table.place(of_node(node)) for node in self._asked) if new else Counter()
        for node in new:
            place = table.place(of_node(node))
            if table.room(place) > asked[place]:
                asked[place] += 1
                self._ping(node)
            else:
                table.spare(node, place)

    def _prefer(self, node: NodeId) -> None:
        """One that was measured takes the place of the farthest in a full bucket, if it is nearer."""
        table, place = self.table, self.table.place(of_node(node))
        if not self.ctx.config.proximity or place >= table.depth or node in table.buckets[place] or table.room(place):
            return
        farthest = max(table.buckets[place], key=lambda one: (self.peers.delay(one), one))
        if self.peers.delay(node) < self.peers.delay(farthest):
            table.remove(farthest)
            table.add(node, self.ctx.now)

    def silent(self, node: NodeId) -> None:
        self._gone.pop(node, None)
        self._gone[node] = self.ctx.now + GONE
        if len(self._gone) > GONE_KEPT:
            del self._gone[next(iter(self._gone))]
        table, depth = self.table, self.table.depth
        if not table.remove(node):
            return
        place = table.place(of_node(node))
        spares = list(reversed(table.spares.get(place, {})))
        for spare in spares[: min(table.room(place), len(spares))]:
            self._ping(spare)
        self._check_oldest(place, self._round // 4, 2)
        for fallen in range(table.depth, depth):  # to be whole from now on; one that was never full is
            if not table.sure[fallen] or len(table.buckets[fallen]) + (fallen == place) >= table.k:
                self._meet(tuple(table.spares.pop(fallen, {})))
                self._look_into(fallen, whole=True)
        self.changed()

    # Rounds

    def _next_round(self) -> None:
        ctx = self.ctx
        self._timer = ctx.timers.at(ctx.now + ctx.jitter(self._pause, 0.8, 1.1), self._tick)

    def _tick(self, _: object) -> None:
        table, new = self.table, self._pause < self._round
        alone = table.entries() == 0
        self._pause = min(FIRST_PAUSE if alone else 2 * self._pause, self._round)
        self._next_round()
        if alone or not table.joined or (new and self._fresh):
            self._fresh = 0
            self._look_for_me()
            return
        self._fresh = 0
        self._watch()
        self._ask_neighbour()
        self._refresh()
        self._measure(MEASURED_FIRST if new else MEASURED)

    def _watch(self) -> None:
        """Where a node claims to know all it asks all, as far as they have not spoken lately; elsewhere one a round."""
        table = self.table
        for place, bucket in enumerate(table.buckets):
            if bucket:
                self._check_oldest(place, self._round // 2, len(bucket) if table.complete(place) else 1)

    def _ask_neighbour(self) -> None:
        """For nodes nearby that this one has not met."""
        table, rng = self.table, self.ctx.rng
        near = table.near()
        if near:
            low = BITS - table.depth
            key = (table.identifier >> low << low) | rng.getrandbits(BITS) & ((1 << low) - 1)
            node = rng.choice(near)
            self._ask(NODES, key, node, lambda source, told: None, lambda source: None)

    def _refresh(self) -> None:
        """Looks into one bucket: one that has room though it is to be full or complete, else the one left alone for longest."""
        table = self.table
        unsure = (place for place in range(table.depth - 1, -1, -1) if table.room(place) and not table.sure[place])
        place = next(unsure, -1)
        if place >= 0:
            self._look_into(place, whole=True)
            return
        place = min(range(table.depth + 1), key=self._searched_at.__getitem__)
        if self.ctx.now - self._searched_at[place] >= REFRESH_ROUNDS * self._round:
            self._look_into(place)

    def _measure(self, most: int) -> None:
        """Spares that may be nearer than who is in their bucket."""
        table = self.table
        if not self.ctx.config.proximity:
            return
        for place in range(table.depth):
            unknown = [node for node in table.spares.get(place, {}) if self._usable(node) and not self.peers.known(node)]
            for node in unknown[-most:]:
                self._ping(node)

    # The door

    def ways(self, key: Identifier, without: Collection[NodeId], most: int) -> list[NodeId]:
        return self.table.ways(key, without, most)

    def holders(self, key: Identifier, count: int) -> tuple[NodeId, ...]:
        return tuple(self.table.holders(key, count))

    def answer(self, source: NodeId, ask: Ask) -> Told | None:
        if ask.what == HOLDERS:
            holders = self.holders(ask.key, self._copies.get(ask.key, self.table.k))
            if holders:
                return Told(ask.nonce, holders, final=True)
        elif ask.what != NODES:
            return None
        return Told(ask.nonce, tuple(self.table.closest(ask.key, self.table.k, (source,))))

    def entries(self) -> int:
        return self.table.entries()
