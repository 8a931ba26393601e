"""One-hop: every node knows every other, and goes straight to whoever holds a key.

Membership is told by EDRA, the event detection and report algorithm of D1HT (Monnerat and Amorim, "An effective single-hop
distributed hash table with high lookup performance and low traffic overhead", 2014; the full membership is that of Gupta, Liskov
and Rodrigues, "One hop lookups for peer-to-peer overlays", HotOS 2003). Each node every `upkeep`, with rho = ceil(log2 n):

    M(0) to its successor, always: it shows that this node lives
    M(l) to the node 2^l places on, 0 < l < rho, if there is anything to tell: all events that came with a message M(k), k > l,
         and those it has found itself (a join that it served, a predecessor that fell silent: as if brought by M(rho))

so each event comes to each node once, in rho rounds, by log2 n messages a round and node at most.

    join: ask a seed for all nodes, then tell the successor, who makes it an event
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Sequence
from typing import Final

from opus_node.baselines.ids import Identifier, of_app, of_node
from opus_node.baselines.overlay import Overlay
from opus_node.baselines.peers import Peers
from opus_node.core.context import Context
from opus_node.core.messages import Ask, MemberUpdate, News, Told
from opus_node.core.timers import Timer
from opus_node.core.types import SECOND, Nanos, NodeId

UPKEEP: Final[Nanos] = 3 * SECOND
"""Theta. D1HT's own rule for 1% of stale entries gives 7 s for 10,000 nodes that stay for three hours (its section 4)."""
SILENT_ROUNDS: Final = 3
"""A predecessor that has not sent M(0) for so many rounds is asked whether it is there."""
JOIN_AGAIN: Final[Nanos] = 2 * SECOND
ALIVE, DEAD = "alive", "dead"
ALL, JOINED = "all", "joined"
BURIED: Final = 4096
"""Dead nodes remembered, so that old news of their lives is not believed."""


class OneHop(Overlay):
    def __init__(self, ctx: Context, peers: Peers, changed: Callable[[], None]) -> None:
        super().__init__(ctx, peers, changed)
        self._ring: list[tuple[Identifier, NodeId]] = [(of_node(ctx.me), ctx.me)]
        """All live nodes, in the order of their identifiers."""
        self._lives: dict[NodeId, int] = {ctx.me: 0}
        """Of each live node the incarnation."""
        self._buried: dict[NodeId, int] = {}
        """Of dead ones the incarnation that has ended."""
        self._events: list[tuple[int, MemberUpdate]] = []
        """To be told in the next rounds: of which message length each was brought by."""
        self._round: Nanos = ctx.config.upkeep or UPKEEP
        self._heard_at: Nanos = 0
        """When the predecessor last showed that it lives."""
        self._before: NodeId = ""
        self._seeds: tuple[NodeId, ...] = ()
        self._timer: Timer | None = None

    # Joining

    def boot(self, seeds: Sequence[NodeId]) -> None:
        self._seeds = tuple(seeds)
        self._lives[self.ctx.me] = self.ctx.incarnation
        self._timer = self.ctx.timers.at(self.ctx.now + self.ctx.jitter(self._round, 0.2, 1.0), self._tick)
        self._join(None)

    def _join(self, _: object) -> None:
        if not self._seeds or len(self._ring) > 1:
            return
        seed = self.ctx.rng.choice(self._seeds)
        self.peers.ask(seed, ALL, self._told_all)
        self.ctx.timers.at(self.ctx.now + self.ctx.jitter(JOIN_AGAIN), self._join)

    def _told_all(self, source: NodeId, told: Told) -> None:
        for node in (source, *told.nodes):
            self._add(node, 0)
        self.changed()
        self._measure()
        self._announce()

    def _announce(self) -> None:
        after = self._at(1)
        if after != self.ctx.me:
            me = MemberUpdate(self.ctx.me, ALIVE, self.ctx.incarnation, "")
            self.peers.ask(after, JOINED, self._announced, self._unheard, key=me.incarnation, nodes=(self.ctx.me,))

    def _announced(self, source: NodeId, told: Told) -> None:
        """The successor has heard; what it knows beyond a seed's list comes along."""
        fresh = [node for node in told.nodes if self._add(node, 0)]
        if fresh:
            self.changed()

    def _unheard(self, node: NodeId) -> None:
        self.silent(node)
        self._announce()

    # The ring

    def _place(self, key: Identifier) -> int:
        return bisect_left(self._ring, (key, ""))

    def _at(self, places: int) -> NodeId:
        """The node so many places after this one."""
        ring = self._ring
        return ring[(self._place(of_node(self.ctx.me)) + places) % len(ring)][1]

    def _add(self, node: NodeId, incarnation: int) -> bool:
        """Whether it is news that this node lives."""
        if incarnation <= self._buried.get(node, -1) or self._lives.get(node, -1) >= incarnation:
            return False
        fresh = node not in self._lives
        self._lives[node] = incarnation
        self._buried.pop(node, None)
        if fresh:
            insort(self._ring, (of_node(node), node))
        return fresh

    def _remove(self, node: NodeId, incarnation: int) -> bool:
        if node == self.ctx.me or self._lives.get(node, incarnation + 1) > incarnation:
            return False
        self._buried[node] = self._lives.pop(node)
        if len(self._buried) > BURIED:
            del self._buried[next(iter(self._buried))]
        place = bisect_left(self._ring, (of_node(node), node))
        del self._ring[place]
        return True

    def holders(self, key: Identifier, count: int) -> tuple[NodeId, ...]:
        ring, place = self._ring, self._place(key)
        return tuple(ring[(place + k) % len(ring)][1] for k in range(min(count, len(ring))))

    def ways(self, key: Identifier, without: Collection[NodeId], most: int) -> list[NodeId]:
        """Holders, the nearest of those measured first."""
        copies = max((app.replicas for app in self.ctx.config.apps if of_app(app.name) == key), default=most)
        found = [node for node in self.holders(key, copies) if node not in without and node != self.ctx.me]
        return sorted(found, key=self.peers.delay)[:most]

    def _measure(self) -> None:
        """Round trips to those who hold what this node's clients may ask for: the nearest is to be known before a request is."""
        if not self.ctx.config.proximity:
            return
        for app in self.ctx.config.apps:
            for node in self.holders(of_app(app.name), app.replicas):
                if node != self.ctx.me and not self.peers.known(node):
                    self.peers.ask(node, "", lambda node, told: None, self.silent)

    # Rounds

    def _tick(self, _: object) -> None:
        ctx, n = self.ctx, len(self._ring)
        self._timer = ctx.timers.at(ctx.now + ctx.jitter(self._round, 0.95, 1.05), self._tick)
        if n == 1:
            return
        self._watch()
        self._tell(n)
        self._measure()

    def _tell(self, n: int) -> None:
        events, self._events = self._events, []
        rounds = (n - 1).bit_length()
        for length in range(rounds):
            updates = tuple(update for brought_by, update in events if brought_by > length)
            target = self._at(1 << length)
            if target != self.ctx.me and (updates or length == 0):
                self.ctx.send(target, News(str(length), updates))

    def _watch(self) -> None:
        """Whether the predecessor still tells."""
        before = self._at(-1)
        if before != self._before:
            self._before, self._heard_at = before, self.ctx.now
        if self.ctx.now - self._heard_at > SILENT_ROUNDS * self._round:
            self._heard_at = self.ctx.now
            self.peers.ask(before, "", self._there, self.silent)

    def _there(self, source: NodeId, told: Told) -> None:
        """It lives, but takes another for its successor: it is told of this node."""
        self.ctx.send(source, News("0", (MemberUpdate(self.ctx.me, ALIVE, self.ctx.incarnation, ""),)))

    def news(self, source: NodeId, message: News) -> None:
        if not message.what.isdigit():
            return
        length, changed = int(message.what), False
        if source == self._before:
            self._heard_at = self.ctx.now
        for update in message.updates:
            changed |= self._take(update, length)
        if self._add(source, 0):
            self._event(MemberUpdate(source, ALIVE, 0, ""))
            changed = True
        if changed:
            self.changed()

    def _take(self, update: MemberUpdate, length: int) -> bool:
        """One event of a message M(length); whether it was news. News is passed on by the shorter messages only."""
        if update.member == self.ctx.me:
            if update.state == DEAD and update.incarnation >= self._lives[self.ctx.me]:
                self._lives[self.ctx.me] = update.incarnation + 1
                self._event(MemberUpdate(self.ctx.me, ALIVE, update.incarnation + 1, ""))
            return False
        if update.state == ALIVE:
            news = update.incarnation > max(self._lives.get(update.member, -1), self._buried.get(update.member, -1))
            self._add(update.member, update.incarnation)
        else:
            news = self._remove(update.member, update.incarnation)
        if news:
            self._events.append((length, update))
        return news

    def _event(self, update: MemberUpdate) -> None:
        """Found by this node itself: goes with messages of every length."""
        self._events.append((len(self._ring).bit_length() + 1, update))

    # Questions

    def answer(self, source: NodeId, ask: Ask) -> Told | None:
        if ask.what == ALL:
            return Told(ask.nonce, tuple(node for _, node in self._ring if node != source))
        if ask.what == JOINED:
            # One that has come back under the same incarnation as a life that was buried has a greater one from here on.
            incarnation = max(ask.key, self._buried.get(source, -1) + 1, self._lives.get(source, -1))
            if self._lives.get(source) != incarnation:
                self._add(source, incarnation)
                self._event(MemberUpdate(source, ALIVE, incarnation, ""))
                self.changed()
            return Told(ask.nonce, tuple(node for _, node in self._ring if node != source))
        return None

    def silent(self, node: NodeId) -> None:
        incarnation = self._lives.get(node)
        if incarnation is not None and self._remove(node, incarnation):
            self._event(MemberUpdate(node, DEAD, incarnation, ""))
            self.changed()

    def leave(self) -> None:
        """The successor makes it an event."""
        after = self._at(1)
        if after != self.ctx.me:
            dead = MemberUpdate(self.ctx.me, DEAD, self._lives[self.ctx.me], "")
            self.ctx.send(after, News(str(len(self._ring).bit_length()), (dead,)))

    def entries(self) -> int:
        return len(self._ring) - 1
