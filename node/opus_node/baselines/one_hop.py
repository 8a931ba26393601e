"""One-hop: every node knows every other, and goes straight to whoever holds a key.

Full membership is that of Gupta, Liskov and Rodrigues ("One hop lookups for peer-to-peer overlays", HotOS 2003; "Efficient
routing for peer-to-peer overlays", NSDI 2004), told not by their hierarchy of slices and units but by the flat and cheaper EDRA
of D1HT (Monnerat and Amorim, "An effective single-hop distributed hash table with high lookup performance and low traffic
overhead", 2014). Each node every theta, with rho = ceil(log2 n):

    M(0) to its successor, always: it shows that this node lives
    M(l) to the node 2^l places on, 0 < l < rho, if there is anything to tell: all events that came with a message M(k), k > l,
         and those of which this node is the root (as if brought by M(rho)), but none about a node between here and there

so each event comes to each node once, in rho rounds, by log2 n messages a round and node at most. Each is a datagram that is
acknowledged, as in the paper; one without acknowledgement goes to the next node in its place. The root of an event is the
successor of whom it is about, whoever has noticed it:

    joins    ask a seed for one's successor, tell that one, and take the list of all nodes from it (long: over a connection)
    leaves   the successor is told
    deaths   who was to acknowledge, or to take a request, is silent when asked three times; the predecessor's M(0) is missing

theta is the paper's for f = 1% of stale entries, from n and the rate of events that this node sees (at most that of three hours'
sessions); an interval ends early when it has gathered the paper's maximum of events. `upkeep` fixes it instead.

What the paper has not: anti-entropy, since events of joins at the same instant are told along rings that differ. A node compares
digests of sections of the ring with a random node (`one_hop_compare`): a second after it has joined, half as often each time,
down to every four rounds; of a section that differs both learn what the other knows. Incarnations and refutation are SWIM's.
The paper's Quarantine of young nodes is left out: here every node is to take part.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final

from opus_node.baselines.ids import Identifier, clockwise, of_app, of_node
from opus_node.baselines.one_hop_compare import DEEPLY, MISTAKEN, PACKET, SECTION, TELL, Comparison
from opus_node.baselines.one_hop_table import DEAD, LEAST_ROUND, SESSION, Table, alive, levels, most_events, theta
from opus_node.baselines.overlay import Overlay
from opus_node.baselines.peers import Peers
from opus_node.core.context import Context
from opus_node.core.messages import Ask, MemberUpdate, Told
from opus_node.core.timers import Timer
from opus_node.core.types import SECOND, Nanos, NodeId

EVENTS, FOUND, WHO, JOIN, LIST = "m", "found", "who", "join", "list"
"""M(l); an event to its root; who is my successor; I am here; all nodes. Further words are `one_hop_compare`'s."""
SILENT_ROUNDS: Final = 2
"""T_detect: a predecessor that has not sent M(0) for so many rounds is asked whether it is there."""
JOIN_AGAIN: Final[Nanos] = SECOND
COMPARE_EVERY: Final = 4
"""Rounds between two comparisons in the end."""
WINDOW: Final[Nanos] = 300 * SECOND
"""Over one to two of these events are counted ..."""
NEW: Final[Nanos] = 60 * SECOND
"""... but not before a node is so old: those who come with it say nothing of how long others stay. Nor over less than this."""
PASSED: Final = 4096
"""Events remembered, so that none is passed on twice."""


class OneHop(Overlay):
    def __init__(self, ctx: Context, peers: Peers, changed: Callable[[], None]) -> None:
        super().__init__(ctx, peers, changed)
        self.table = Table(ctx.me)
        self._comparison = Comparison(ctx, peers, self.table, self)
        self._copies = {of_app(app.name): app.replicas for app in ctx.config.apps}
        self._seeds: tuple[NodeId, ...] = ()
        self._mute: list[NodeId] = []
        """Named as successors of this joining node, and silent."""
        self._leaving = False
        self._events: list[tuple[int, MemberUpdate]] = []
        """To be told when this round ends: of which message length each was brought by."""
        self._passed: dict[tuple[NodeId, str, int], int] = {}
        """By which greatest length events have come, of the latest ones."""
        self._doubted: dict[NodeId, None] = {}
        """Silent to somebody here, and being asked."""
        self._before: NodeId = ""
        self._heard_at: Nanos = 0
        """When the predecessor last showed that it lives and knows its successor."""
        self._counts = [0, 0]
        self._counting_since: Nanos = 0
        self._round_began: Nanos = 0
        self._round: Timer | None = None

    # Joining

    def boot(self, seeds: Sequence[NodeId]) -> None:
        ctx = self.ctx
        self.table.add(ctx.me, ctx.incarnation)
        self._seeds = tuple(seeds)
        self._round_began = self._counting_since = ctx.booted_at
        self._round = ctx.timers.at(ctx.now + ctx.jitter(min(self._theta(), 3 * SECOND), 0.2, 1.0), self._tick)
        if not seeds:
            self._comparison.begin(())
        self._join(None)

    def _join(self, _: object) -> None:
        if self._seeds and not self._leaving:
            seed = self.ctx.rng.choice(self._seeds)
            me = of_node(self.ctx.me)
            self.peers.ask(seed, WHO, self._named, self._join_later, key=me, nodes=tuple(self._mute), tries=2)

    def _join_later(self, _: NodeId) -> None:
        self.ctx.timers.at(self.ctx.now + self.ctx.jitter(JOIN_AGAIN), self._join)

    def _named(self, source: NodeId, told: Told) -> None:
        """The seed says who comes after this node."""
        after = next((node for node in told.nodes if node != self.ctx.me), source)
        self.peers.ask(after, JOIN, self._welcomed, self._unwelcomed, updates=(self._own(),), tries=2)

    def _unwelcomed(self, node: NodeId) -> None:
        self._mute.append(node)
        self._join(None)

    def _welcomed(self, source: NodeId, told: Told) -> None:
        for update in told.updates:
            if update.member == self.ctx.me:
                self.table.add(self.ctx.me, update.incarnation)
        if told.final:
            self._listed(source, told)
        else:
            self.peers.ask(source, LIST, self._listed, self._unwelcomed, slow=True)

    def _listed(self, source: NodeId, told: Told) -> None:
        self._comparison.learn(told.updates)
        self._comparison.look_deeply(self.ctx.now + self._theta() * (16 + 3 * levels(len(self.table))) // 8)
        self._comparison.begin(self._seeds)
        self.changed()

    def _own(self) -> MemberUpdate:
        return alive(self.ctx.me, self.table.lives[self.ctx.me])

    def leave(self) -> None:
        self._leaving = True
        self._comparison.end()
        self._to_root(MemberUpdate(self.ctx.me, DEAD, self.table.lives[self.ctx.me], ""))

    # Who holds what

    def holders(self, key: Identifier, count: int) -> tuple[NodeId, ...]:
        """None as long as this node has had no list of all."""
        return self.table.successors(key, count) if self._comparison.running or self._leaving else ()

    def ways(self, key: Identifier, without: Collection[NodeId], most: int) -> list[NodeId]:
        """Holders, the nearest first by measured round trips; then those who hold it after them; the doubtful last."""
        copies, me = self._copies.get(key, 1), self.ctx.me
        found = [node for node in self.table.successors(key, copies + most) if node not in without and node != me]
        holders = set(self.table.successors(key, copies))
        doubted, delay = self._doubted, self.peers.delay
        found.sort(key=lambda node: (node in doubted, (0, delay(node)) if node in holders else (1, 0)))
        return found[:most]

    def entries(self) -> int:
        return len(self.table) - 1

    # Rounds

    def _theta(self) -> Nanos:
        if self.ctx.config.upkeep:
            return self.ctx.config.upkeep
        n, events, now = len(self.table), sum(self._counts), self.ctx.now
        span = max(NEW, now - max(self.ctx.booted_at + NEW, self._counting_since - WINDOW))
        return theta(n, 2 * n * span // events if events else SESSION)

    def longest_pause(self) -> Nanos:
        return COMPARE_EVERY * self._theta()

    def _tick(self, _: object) -> None:
        ctx, now = self.ctx, self.ctx.now
        if now - self._counting_since >= WINDOW:
            self._counts, self._counting_since = [0, self._counts[0]], now
        self._round_began = now
        self._round = ctx.timers.at(now + ctx.jitter(self._theta(), 0.95, 1.05), self._tick)
        if len(self.table) > 1 and not self._leaving:
            self._watch()
            self._tell()

    def _tell(self) -> None:
        events, self._events = self._events, []
        for length in range(levels(len(self.table))):
            self._message(length, tuple(update for brought_by, update in events if brought_by > length))

    def _message(self, length: int, updates: tuple[MemberUpdate, ...]) -> None:
        target = self.table.after(self.ctx.me, 1 << length)
        here = of_node(self.ctx.me)
        span = clockwise(here, of_node(target))
        updates = tuple(one for one in updates if clockwise(here, of_node(one.member)) > span)
        if target != self.ctx.me and (updates or length == 0):
            silent, slow = partial(self._untold, length, updates), len(updates) > PACKET
            self.peers.ask(target, EVENTS, self._acknowledged, silent, key=length, updates=updates, slow=slow)

    def _untold(self, length: int, updates: tuple[MemberUpdate, ...], node: NodeId) -> None:
        self._dead(node)
        self._message(length, updates)

    def _acknowledged(self, source: NodeId, told: Told) -> None:
        """Perhaps by one that does not know this node, or holds it for dead."""
        if not told.final:
            return
        for update in told.updates:
            self.refute(update)
        self.peers.ask(source, TELL, _nothing, updates=(self._own(),))

    def _watch(self) -> None:
        """Whether the predecessor still tells."""
        before = self.table.after(self.ctx.me, -1)
        if before != self._before:
            self._before, self._heard_at = before, self.ctx.now
        elif self.ctx.now - self._heard_at > SILENT_ROUNDS * self._theta():
            self._heard_at = self.ctx.now
            self.peers.ask(before, "", self._there, self._dead)

    def _there(self, source: NodeId, told: Told) -> None:
        """It lives, but takes another for its successor: it is told of this node."""
        self.peers.ask(source, TELL, _nothing, updates=(self._own(),))

    # Events

    def _event(self, update: MemberUpdate, length: int) -> None:
        """To be passed on by the messages shorter than that which has brought it, unless it was."""
        key = (update.member, update.state, update.incarnation)
        before = self._passed.pop(key, -1)
        self._passed[key] = max(before, length)
        if len(self._passed) > PASSED:
            del self._passed[next(iter(self._passed))]
        if before >= length:
            return
        self._events.append((length, update))
        if self.ctx.now - self.ctx.booted_at > NEW:
            self._counts[0] += before < 0
        if not self.ctx.config.upkeep and len(self._events) >= most_events(len(self.table)):
            self._hurry()

    def _hurry(self) -> None:
        at = max(self.ctx.now, self._round_began + LEAST_ROUND)
        if self._round is not None and self._round.when > at:
            self._round.cancel()
            self._round = self.ctx.timers.at(at, self._tick)

    def take(self, update: MemberUpdate) -> bool:
        """Whether the ring is another one."""
        table, n = self.table, len(self.table)
        if update.member == self.ctx.me:
            self.refute(update)
        elif update.state == DEAD:
            if table.remove(update.member, update.incarnation, self.ctx.now):
                self._comparison.differ(1)
                if update.member == self._before:
                    self._look_before()
        else:
            table.add(update.member, update.incarnation)
        return len(table) != n

    def _look_before(self) -> None:
        """Neighbours fall silent together: whoever stands before this node now is asked at once."""
        self._before = self.table.after(self.ctx.me, -1)
        self._heard_at = self.ctx.now
        if self._before != self.ctx.me:
            self.peers.ask(self._before, "", _nothing, self._dead)

    def refute(self, update: MemberUpdate) -> None:
        me = self.ctx.me
        if update.member != me or update.state != DEAD or self._leaving:
            return
        if update.incarnation >= self.table.lives[me]:
            self.table.add(me, update.incarnation + 1)
            self._to_root(self._own())

    def _to_root(self, update: MemberUpdate) -> None:
        root = self.table.after(update.member, 1)
        if root != self.ctx.me:
            self.peers.ask(root, FOUND, _nothing, partial(self._rootless, update), updates=(update,))
        elif update.member != self.ctx.me:
            self._event(update, levels(len(self.table)))

    def _rootless(self, update: MemberUpdate, root: NodeId) -> None:
        self._dead(root)
        self._to_root(update)

    # Silence

    def silent(self, node: NodeId) -> None:
        """Perhaps a lost packet: it is asked before all are told that it is dead."""
        if node in self.table.lives and node not in self._doubted and node != self.ctx.me:
            self._doubted[node] = None
            self.peers.ask(node, "", _nothing, self._dead)

    def _dead(self, node: NodeId) -> None:
        self._doubted.pop(node, None)
        incarnation = self.table.lives.get(node)
        if incarnation is None or node == self.ctx.me:
            return
        update = MemberUpdate(node, DEAD, incarnation, "")
        self.take(update)
        self._to_root(update)
        self.changed()

    def heard(self, node: NodeId) -> None:
        self._doubted.pop(node, None)

    # Questions

    def answer(self, source: NodeId, ask: Ask) -> Told | None:
        word, nonce = ask.what, ask.nonce
        if word == EVENTS:
            return self._on_events(source, ask)
        if word in (FOUND, JOIN):
            return self._on_found(source, ask)
        if word == TELL:
            return self._comparison.told(ask)
        if word == MISTAKEN:
            return self._comparison.mistaken(ask)
        if word == WHO:
            return self._on_who(source, ask)
        if word == LIST:
            return Told(nonce, updates=self.table.told(""))
        if word[0] in (SECTION, DEEPLY):
            return self._comparison.answer(ask)
        return None

    def _on_events(self, source: NodeId, ask: Ask) -> Told:
        changed = False
        if source == self._before and ask.key == 0:
            self._heard_at = self.ctx.now
        for update in ask.updates:
            changed |= self.take(update)
            if ask.key:
                self._event(update, ask.key)
            else:
                self._passed.setdefault((update.member, update.state, update.incarnation), 0)
        if changed:
            self.changed()
        if source in self.table.lives:
            return Told(ask.nonce)
        buried = self.table.buried.get(source)
        return Told(ask.nonce, final=True, updates=() if buried is None else (MemberUpdate(source, DEAD, buried[0], ""),))

    def _on_found(self, source: NodeId, ask: Ask) -> Told:
        """This node is the root of an event."""
        changed, n = False, len(self.table)
        for update in ask.updates:
            if ask.what == JOIN:  # one that has come back with the number of a life that was buried gets a greater one
                least = max(self.table.buried.get(source, (-1, 0))[0] + 1, self.table.lives.get(source, 0))
                update = alive(source, max(update.incarnation, least))
            changed |= self.take(update)
            if update.member != self.ctx.me:
                self._event(update, levels(len(self.table)))
        if changed:
            self.changed()
        if ask.what == FOUND:
            return Told(ask.nonce)
        if n < PACKET:
            return Told(ask.nonce, updates=self.table.told(""), final=True)
        return Told(ask.nonce, updates=(alive(source, self.table.lives[source]),))

    def _on_who(self, source: NodeId, ask: Ask) -> Told:
        """Somebody joins by way of this node. Whoever asks next is told of it too, before it has told its successor."""
        self._comparison.begin(self._seeds)
        for node in ask.nodes:
            self.silent(node)
        after = next((node for node in self.table.successors(ask.key, len(self.table)) if node not in (source, *ask.nodes)), "")
        if source not in self.table.lives and source not in self.table.buried:
            self.table.add(source, 0)
            self.changed()
        return Told(ask.nonce, (after,) if after else ())


def _nothing(source: NodeId, told: Told) -> None:
    """An acknowledgement says nothing."""
