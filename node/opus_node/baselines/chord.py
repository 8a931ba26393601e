"""Chord: a ring of successors that alone makes look-ups right, and fingers across it that make them short.

Stoica et al., "Chord: a scalable peer-to-peer lookup protocol for Internet applications", ToN 2003; requests are passed on from
node to node and fingers are near ones, PNS(16), as in Dabek et al., "Designing a DHT for low latency and high throughput", NSDI
2004; a key's copies are at its successors (DHash). Tables are in `chord_table`, how fingers are found in `chord_fingers`.

    each round    AFTER to the successor: I come before you (notify), this is who comes before me; who follows you?
                  a nearer one that it tells of is asked the same, and is the successor once it answers
                  a predecessor that does not ask any more is asked whether it is there
                  one finger is asked whether it is there, or looked for anew
    a silence     the node goes from all tables; the next successor is asked at once, a lost finger is looked for at once
    joining       PLACE to a seed: who follows me? Passed on like a request; whoever knows tells
    leaving       GONE to predecessor and successor, with who is beyond

What Zave has shown to be needed ("How to make Chord correct", 2015) is kept: nobody new is taken for a successor before it
has answered, a successor's list replaces this node's own, and a node that fell silent is not believed to live because others
still list it. Besides the papers' tables a node knows some predecessors (as the implementation of MIT did): the last of a key's
copies has to know that it is one. Lists are told only when they differ from what the other holds (`Table.digest`).

Settings: `neighbours` is the length of the successor list (16), `upkeep` a round (3 s; the papers' simulations have 30 s, and
deployments less), `proximity` chooses between PNS(16) and the first node of each interval. Rounds come sooner while neighbours
change, as MIT's timers did. A look-up of a node's own place by way of a seed or finger, while neighbours change and now and then,
makes a ring of nodes that all join at once, and finds one that is wound or split.
Left out: virtual nodes, Vivaldi (round trips are measured instead), transfer of data.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Final

from opus_node.baselines.chord_fingers import FROM, Fingers
from opus_node.baselines.chord_table import MARGIN, SAMPLES, SUCCESSORS, Table, digest
from opus_node.baselines.ids import SPACE, Identifier, of_app, of_node
from opus_node.baselines.overlay import Overlay
from opus_node.baselines.peers import Peers
from opus_node.core.context import Context
from opus_node.core.messages import Ask, News, Seek, Told
from opus_node.core.timers import Timer
from opus_node.core.types import SECOND, Nanos, NodeId

UPKEEP: Final[Nanos] = 3 * SECOND
HASTE: Final = 4
"""While neighbours change rounds are so many times as frequent; each quiet one is twice as long as the one before."""
MISSED: Final = 1.5
"""Rounds without a question of the predecessor after which it is asked."""
MEASURED: Final = 4
"""Neighbours measured in one round, of those that were not yet."""
BETWEEN: Final = 4
"""Nodes told to one that takes this one for its successor, since they lie between."""
RUN: Final = 3
"""Where a neighbour fell silent so many of the next ones are asked at once: those that die together may stand in a row."""
AROUND: Final = 16
"""Rounds between two look-ups of a node's own place, when nothing changes."""
PLACES: Final = 2
"""Nodes told to one who looks for its place: one of them is dead perhaps."""
MOST_HOPS: Final = 64
Lost = dict[NodeId, tuple[Nanos, bool]]
"""Since when, and whether by their own word."""
AFTER, PLACE, GONE = "after", "place", "gone"


class Chord(Overlay):
    def __init__(self, ctx: Context, peers: Peers, changed: Callable[[], None]) -> None:
        super().__init__(ctx, peers, changed)
        copies = max((app.replicas for app in ctx.config.apps), default=1)
        length = max(ctx.config.neighbours or SUCCESSORS, copies + MARGIN)
        self.table = Table(ctx.me, length, copies + MARGIN)
        self._copies = {of_app(app.name): app.replicas for app in ctx.config.apps}
        self._round: Nanos = ctx.config.upkeep or UPKEEP
        self._pace: Nanos = self._round
        self._lost_after: Lost = {}
        """Neighbours that are gone, until the successor's list is without them ..."""
        self._lost_before: Lost = {}
        """... and the predecessor's."""
        self._asking: dict[NodeId, tuple[NodeId, ...]] = {}
        """Whom this node asks who follows, and the predecessors it has told each."""
        self._told: tuple[NodeId, tuple[NodeId, ...]] = ("", ())
        """The same of the last one that answered."""
        self._held: tuple[NodeId, int] = ("", 0)
        """Whose list the successors are, and its digest."""
        self._untold = True
        """Whether the predecessor's own predecessors are to be told even if they are the same."""
        self._heard_at: Nanos = 0
        """When the predecessor last asked."""
        self._checking: set[NodeId] = set()
        """Who is asked whether it is there; never iterated."""
        self._fingers = Fingers(ctx, peers, self.table, self._is_lost, self.silent)
        self._rounds = 0
        self._seeds: tuple[NodeId, ...] = ()
        self._timer: Timer | None = None
        self._gone = False

    # Joining and leaving

    def boot(self, seeds: Sequence[NodeId]) -> None:
        self._seeds = tuple(seeds)
        self._timer = self.ctx.timers.at(self.ctx.now + self.ctx.jitter(self._round, 0.2, 1.0), self._tick)
        self._look_around()

    def _look_around(self) -> None:
        """Who follows this node, by a look-up: to join, and then to notice a ring that is not one."""
        ways = (*self._seeds, *self.table.fingers.values())
        if ways:
            self.peers.seek(self.ctx.rng.choice(ways), PLACE, (of_node(self.ctx.me) + 1) % SPACE, self._found)

    def _found(self, source: NodeId, told: Told) -> None:
        self._approach(told.nodes)

    def leave(self) -> None:
        self._gone = True
        if self._timer is not None:
            self._timer.cancel()
        table = self.table
        for to, beyond in ((table.before[:1], table.after), (table.after[:1], table.before)):
            for node in to:
                self.ctx.send(node, News(GONE, nodes=beyond))

    def news(self, source: NodeId, message: News) -> None:
        if message.what != GONE:
            return
        followed, preceded = self.table.after[:1] == (source,), self.table.before[:1] == (source,)
        self._bury(source, True)
        if followed:
            self.table.follow((*self.table.after, *_strained(message.nodes, self._lost_after)))
        if preceded:
            self.table.precede((*self.table.before, *_strained(message.nodes, self._lost_before)))
        if followed or preceded:
            self._stabilize()
            self.changed()

    # Rounds

    def _tick(self, _: object) -> None:
        ctx = self.ctx
        changing = self._pace < self._round
        self._pace = min(self._round, 2 * self._pace)
        self._timer = ctx.timers.at(ctx.now + ctx.jitter(self._pace), self._tick)
        self._rounds += 1
        if changing or not self.table.after or self._rounds % AROUND == 0:
            self._look_around()
        self._stabilize()
        self._ask_lost()
        if ctx.now - self._heard_at > MISSED * self._round:
            for node in self.table.before[:1]:
                self._check(node)
        self._fingers.keep()
        self._measure()

    def _hasten(self) -> None:
        """Neighbours are others than before: more is likely to change soon."""
        ctx = self.ctx
        self._pace = self._round // HASTE
        if not self._gone and self._timer is not None and self._timer.when > ctx.now + self._pace:
            self._timer.cancel()
            self._timer = ctx.timers.at(ctx.now + ctx.jitter(self._pace), self._tick)
        self.changed()

    def _stabilize(self) -> None:
        if self.table.after:
            self._ask(self.table.after[0])

    def _ask(self, node: NodeId) -> None:
        if node in self._asking or self._gone:
            return
        before = self.table.before
        self._asking[node] = before
        digest = self._held[1] if self._held[0] == node else 0
        told = () if self._told == (node, before) else before
        self.peers.ask(node, AFTER, self._answered, self._unanswered, key=digest, nodes=told)

    def _unanswered(self, node: NodeId) -> None:
        self._asking.pop(node, None)
        self.silent(node)

    def _answered(self, source: NodeId, told: Told) -> None:
        """Who follows `source` follows this node, too; those who lie between them are asked first."""
        before = self._asking.pop(source, ())
        self._told = ("", ()) if told.final else (source, before)
        table = self.table
        if not table.after or not table.nearer_after(table.after[0], source):
            beyond: Sequence[NodeId] = table.after
            if told.nodes:
                self._held = (source, digest(told.nodes))
                beyond = [node for node in _strained(told.nodes, self._lost_after) if table.nearer_after(source, node)]
            if table.follow((source, *beyond)):
                self._hasten()
        self._approach((*told.more, *told.nodes))

    def _approach(self, nodes: Iterable[NodeId]) -> None:
        """The nearest of these is asked, if it would be the successor."""
        table, nearest = self.table, self.table.after[0] if self.table.after else None
        for node in nodes:
            if node == self.ctx.me or self._is_lost(node):
                continue
            if nearest is None or table.nearer_after(node, nearest):
                nearest = node
        if nearest is not None and table.after[:1] != (nearest,):
            self._ask(nearest)

    # Questions of others

    def answer(self, source: NodeId, ask: Ask) -> Told | None:
        if ask.what != AFTER or self._gone:
            return None
        table = self.table
        untold = self._preceded(source, ask.nodes)
        nodes = () if ask.key == table.digest else table.after
        return Told(ask.nonce, nodes, table.following(source, BETWEEN), untold)

    def _preceded(self, source: NodeId, before: tuple[NodeId, ...]) -> bool:
        """`source` takes this node for its successor; whether it is to tell again who comes before it."""
        table = self.table
        self._lost_after.pop(source, None)
        self._lost_before.pop(source, None)
        last = table.before[0] if table.before else source
        if table.nearer_before(last, source):  # it does not know of `last`, perhaps since that one is gone
            if self.ctx.now - self._heard_at > self._round // 2:
                for node in [node for node in table.before if table.nearer_before(node, source)]:
                    self._check(node)
        else:
            self._heard_at = self.ctx.now
            beyond: Sequence[NodeId] = table.before
            if before:
                beyond = [node for node in _strained(before, self._lost_before) if table.nearer_before(source, node)]
            self._untold = not before and (self._untold or source != last)
            if table.precede((source, *beyond)):
                self._hasten()
        if not table.after or table.nearer_after(source, table.after[0]):
            table.follow((source, *table.after))
            self._hasten()
            self._ask(source)
        return self._untold and table.before[0] == source

    def seek(self, source: NodeId, message: Seek) -> None:
        """Whoever knows the key's owner tells the origin; recursive, as requests are."""
        if message.what not in (FROM, PLACE) or self._gone:
            return
        owners = [node for node in self.table.owners(message.key) if node != message.origin]
        if owners:
            told = tuple(owners[: SAMPLES if message.what == FROM else PLACES])
            self.ctx.send(message.origin, Told(message.nonce, told, final=True))
            return
        ways = self.table.ways(message.key, (message.origin, source), 1)
        if ways and message.hops < MOST_HOPS:
            self.ctx.send(ways[0], replace(message, hops=message.hops + 1))

    # Silence

    def silent(self, node: NodeId) -> None:
        table = self.table
        followed, preceded = table.after[:1] == (node,), table.before[:1] == (node,)
        fingers = self._bury(node, False)
        if preceded:
            for other in table.before[:RUN]:
                self._check(other)
        if followed:
            if not table.after and (found := table.next_known()):
                table.follow((found,))
            self._stabilize()
            for other in table.after[1:RUN]:
                self._check(other)
        for k in fingers:
            self._fingers.seek(k)

    def _bury(self, node: NodeId, by_word: bool) -> list[int]:
        """Which fingers it was. Others may list it still: lists are to be told in full, since other names in them count now."""
        neighbour, fingers = self.table.remove(node)
        if neighbour:
            self._lost_after[node] = self._lost_before[node] = (self.ctx.now, by_word)
            self._held, self._untold = ("", 0), True
            self._hasten()
        return fingers

    def _is_lost(self, node: NodeId) -> bool:
        return node in self._lost_after or node in self._lost_before

    def heard(self, node: NodeId) -> None:
        for lost in (self._lost_after, self._lost_before):
            if node in lost and not lost[node][1]:
                del lost[node]
                self._held, self._untold = ("", 0), True

    def _ask_lost(self) -> None:
        """Of those that others list though they fell silent one is asked again: it may be back, or never have been away."""
        for lost in (self._lost_after, self._lost_before):
            again = [node for node, (since, by_word) in lost.items() if not by_word and self.ctx.now - since > self._round]
            for node in again[:1]:
                del lost[node]  # to the end: another one's turn comes next
                lost[node] = (self.ctx.now, False)
                self._check(node)

    def _check(self, node: NodeId) -> None:
        if node not in self._checking:
            self._checking.add(node)
            self.peers.ask(node, "", self._there, self._not_there)

    def _there(self, node: NodeId, told: Told) -> None:
        self._checking.discard(node)

    def _not_there(self, node: NodeId) -> None:
        self._checking.discard(node)
        self.silent(node)

    # Requests

    def holders(self, key: Identifier, count: int) -> tuple[NodeId, ...]:
        return () if self._is_joining() else self.table.holders(key, count)

    def _is_joining(self) -> bool:
        return bool(self._seeds) and not self.table.after

    def ways(self, key: Identifier, without: Collection[NodeId], most: int) -> list[NodeId]:
        """Holders, the nearest first, as far as they are known here; then nodes between this one and the key."""
        if self._is_joining():
            return [seed for seed in self._seeds if seed not in without][:most]
        owners = self.table.owners(key)[: self._copies.get(key, 1)]
        some = [node for node in owners if node not in without and node != self.ctx.me]
        found = sorted(some, key=self.peers.delay)[:most]
        return found + self.table.ways(key, (*without, *found), most - len(found))

    def _measure(self) -> None:
        """Round trips to neighbours: time-outs follow from them, and of a key's holders the nearest is to be known."""
        for node in [node for node in (*self.table.before[:RUN], *self.table.after) if not self.peers.known(node)][:MEASURED]:
            self._check(node)

    def entries(self) -> int:
        return self.table.entries()


def _strained(nodes: Iterable[NodeId], lost: Lost) -> list[NodeId]:
    """A neighbour's list without those that are lost. Who is not in it is forgotten: should it be listed again, it is back."""
    listed = tuple(nodes)
    for node in [node for node in lost if node not in listed]:
        del lost[node]
    return [node for node in listed if node not in lost]
