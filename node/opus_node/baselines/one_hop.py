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
digests of sections of the ring with a random node (`_compare`): each second after it has joined, half as often each time, down to
every four rounds; and of a section that differs both learn what the other knows. Incarnations and refutation are SWIM's. The
paper's Quarantine of young nodes is left out: here every node is to take part.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final

from opus_node.baselines.ids import Identifier, clockwise, of_app, of_node
from opus_node.baselines.one_hop_table import DEAD, LEAST_ROUND, SESSION, Table, alive, levels, most_events, theta
from opus_node.baselines.overlay import Overlay
from opus_node.baselines.peers import Peers
from opus_node.core.context import Context
from opus_node.core.messages import Ask, MemberUpdate, Told
from opus_node.core.timers import Timer
from opus_node.core.types import SECOND, Nanos, NodeId

EVENTS, FOUND, TELL, WHO, JOIN, LIST, MISTAKEN, SECTION, DEEPLY = "m", "found", "tell", "who", "join", "list", "dead?", "=", "~"
"""M(l); an event to its root; news for one node only; who is my successor; I am here; all nodes; you are said to be dead; a
section and its digest, what is yours (the same of a node that wants to learn much)."""
SILENT_ROUNDS: Final = 2
"""T_detect: a predecessor that has not sent M(0) for so many rounds is asked whether it is there."""
JOIN_AGAIN: Final[Nanos] = SECOND
PACKET: Final = 60
"""Members that fit a packet."""
SHORT: Final = 32
"""A section of at most so many members is told whole; otherwise the digests of its sixteen parts."""
COMPARE_FIRST: Final[Nanos] = SECOND
COMPARE_EVERY: Final = 4
"""Rounds between two comparisons in the end."""
DEEP: Final[Nanos] = 2 * SECOND
"""While comparisons are not farther apart than this, all that differs is looked at, otherwise one part of it."""
MUCH: Final = 50
"""If more than one in so many differ, or have died since the last comparison, comparisons begin anew."""
STRANGERS: Final = 8
"""Each so-manieth comparison is with a seed that is not in the table, or a node held for dead: after a cut all are one again."""
LATE: Final[Nanos] = 15 * SECOND
"""Who takes a node for alive so shortly after its death has only not heard; later one of the two is mistaken."""
WINDOW: Final[Nanos] = 300 * SECOND
"""Over one to two of these events are counted ..."""
NEW: Final[Nanos] = 60 * SECOND
"""... but not before a node is so old: those who come with it say nothing of how long others stay. Nor over less than this."""
PASSED: Final = 4096
"""Events remembered, so that none is passed on twice."""
HELD_HEX: Final = 6
"""Hexadecimal digits of a part's digest."""


class OneHop(Overlay):
    def __init__(self, ctx: Context, peers: Peers, changed: Callable[[], None]) -> None:
        super().__init__(ctx, peers, changed)
        self.table = Table(ctx.me)
        self._copies = {of_app(app.name): app.replicas for app in ctx.config.apps}
        self._seeds: tuple[NodeId, ...] = ()
        self._whole = False
        """Whether this node has had a list of all."""
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
        self._pause: Nanos = COMPARE_FIRST
        self._comparison: Timer | None = None
        self._differed = 0
        """Since the last comparison."""
        self._compared_times = 0
        self._late_look_at: Nanos = 0
        """When all that was under way at the join has arrived; 0: it was looked at since."""

    # Joining

    def boot(self, seeds: Sequence[NodeId]) -> None:
        ctx = self.ctx
        self.table.add(ctx.me, ctx.incarnation)
        self._seeds = tuple(seeds)
        self._round_began = self._counting_since = ctx.booted_at
        self._round = ctx.timers.at(ctx.now + ctx.jitter(min(self._theta(), 3 * SECOND), 0.2, 1.0), self._tick)
        if not seeds:
            self._begin()
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
        self._add_all(told.updates)
        self._late_look_at = self.ctx.now + self._theta() * (16 + 3 * levels(len(self.table))) // 8
        self._begin()
        self.changed()

    def _begin(self) -> None:
        """This node knows whom it can compare its table with, and what it holds."""
        if not self._whole:
            self._whole = True
            self._compare_soon()

    def _own(self) -> MemberUpdate:
        return alive(self.ctx.me, self.table.lives[self.ctx.me])

    def leave(self) -> None:
        self._leaving = True
        self._to_root(MemberUpdate(self.ctx.me, DEAD, self.table.lives[self.ctx.me], ""))

    # Who holds what

    def holders(self, key: Identifier, count: int) -> tuple[NodeId, ...]:
        return self.table.successors(key, count) if self._whole else ()

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
            self._refute(update)
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

    def _take(self, update: MemberUpdate) -> bool:
        """Whether the ring is another one."""
        table, n = self.table, len(self.table)
        if update.member == self.ctx.me:
            self._refute(update)
        elif update.state == DEAD:
            if table.remove(update.member, update.incarnation, self.ctx.now):
                self._differ(1)
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

    def _refute(self, update: MemberUpdate) -> None:
        me = self.ctx.me
        if update.member != me or update.state != DEAD or self._leaving:
            return
        if update.incarnation >= self.table.lives[me]:
            self.table.add(me, update.incarnation + 1)
            self._to_root(self._own())

    def _add_all(self, updates: tuple[MemberUpdate, ...]) -> tuple[int, tuple[MemberUpdate, ...]]:
        """How many of them were news, and what this node has to say against the others: whom it has held for dead for some time
        it asks itself. They are no events, since others learn of them as this node has."""
        found, lives, dead = 0, self.table.lives, []
        for update in updates:
            if lives.get(update.member, -1) >= update.incarnation or update.member == self.ctx.me:
                continue
            buried = self.table.buried.get(update.member)
            if self.table.add(update.member, update.incarnation):
                found += 1
            elif buried is not None and self.ctx.now - buried[1] > LATE:
                self.table.buried[update.member] = (buried[0], self.ctx.now)
                dead.append(MemberUpdate(update.member, DEAD, buried[0], ""))
                self.peers.ask(update.member, MISTAKEN, self._mistaken, updates=(dead[-1],), tries=2)
        return found, tuple(dead)

    def _mistaken(self, source: NodeId, told: Told) -> None:
        if self._add_all(told.updates)[0]:
            self.changed()

    def _heard_dead(self, update: MemberUpdate) -> None:
        """Outside of the rounds: asked before it is believed, and no event, since whoever says so has had it as one."""
        if update.member == self.ctx.me:
            self._refute(update)
        elif self.table.lives.get(update.member, update.incarnation + 1) <= update.incarnation:
            self.peers.ask(update.member, "", _nothing, lambda node: self._is_dead(update))

    def _is_dead(self, update: MemberUpdate) -> None:
        if self._take(update):
            self.changed()

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
        self._take(update)
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
            return Told(nonce, updates=self._on_tell(ask.updates))
        if word == MISTAKEN:
            for update in ask.updates:
                self._refute(update)
            return Told(nonce, updates=(self._own(),))
        if word == WHO:
            return self._on_who(source, ask)
        if word == LIST:
            return Told(nonce, updates=self.table.told(""))
        if word[0] in (SECTION, DEEPLY):
            return self._on_section(word[1:], ask, PACKET if word[0] == DEEPLY else SHORT)
        return None

    def _on_events(self, source: NodeId, ask: Ask) -> Told:
        changed = False
        if source == self._before and ask.key == 0:
            self._heard_at = self.ctx.now
        for update in ask.updates:
            changed |= self._take(update)
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
            changed |= self._take(update)
            if update.member != self.ctx.me:
                self._event(update, levels(len(self.table)))
        if changed:
            self.changed()
        if ask.what == FOUND:
            return Told(ask.nonce)
        if n < PACKET:
            return Told(ask.nonce, updates=self.table.told(""), final=True)
        return Told(ask.nonce, updates=(alive(source, self.table.lives[source]),))

    def _on_tell(self, updates: tuple[MemberUpdate, ...]) -> tuple[MemberUpdate, ...]:
        for update in updates:
            if update.state == DEAD:
                self._heard_dead(update)
        found, dead = self._add_all(tuple(one for one in updates if one.state != DEAD))
        if found:
            self.changed()
        return dead

    def _on_who(self, source: NodeId, ask: Ask) -> Told:
        """Somebody joins by way of this node. Whoever asks next is told of it too, before it has told its successor."""
        self._begin()
        for node in ask.nodes:
            self.silent(node)
        after = next((node for node in self.table.successors(ask.key, len(self.table)) if node not in (source, *ask.nodes)), "")
        if source not in self.table.lives and source not in self.table.buried:
            self.table.add(source, 0)
            self.changed()
        return Told(ask.nonce, (after,) if after else ())

    # Anti-entropy

    def _compare(self, _: object) -> None:
        ctx = self.ctx
        late = 0 < self._late_look_at <= ctx.now
        if late:
            self._late_look_at = 0
        self._differed = 0
        self._compared_times += 1
        partner = self._partner()
        if partner and not self._leaving:
            self._ask_section(DEEPLY if late or self._pause <= DEEP else SECTION, "", 1, partner)
        self._pause = min(2 * self._pause, COMPARE_EVERY * self._theta())
        self._comparison = ctx.timers.at(ctx.now + ctx.jitter(self._pause, 0.75, 1.25), self._compare)

    def _compare_soon(self) -> None:
        if self._comparison is not None:
            self._comparison.cancel()
        self._pause = COMPARE_FIRST
        self._comparison = self.ctx.timers.at(self.ctx.now + self.ctx.jitter(COMPARE_FIRST, 0.5, 1.5), self._compare)

    def _differ(self, count: int) -> None:
        """So many entries were other ones than they should have been."""
        self._differed += count
        if self._differed * MUCH > max(MUCH, len(self.table)) and self._pause > DEEP and self._whole:
            self._compare_soon()

    def _partner(self) -> NodeId:
        ctx, table = self.ctx, self.table
        if self._compared_times % STRANGERS == 0 or len(table) < 2:
            strangers = [node for node in (*self._seeds, *table.buried) if node not in table.lives]
            if strangers:
                return ctx.rng.choice(strangers)
        if len(table) < 2:
            return ""
        return table.after(ctx.me, ctx.rng.randrange(1, len(table)))

    def _ask_section(self, how: str, prefix: str, alike: int, partner: NodeId) -> None:
        """A section that stands for so many `alike` ones, which differ too."""
        silent = self.silent if partner in self.table.lives else None
        digest = self.table.digest(prefix)
        self.peers.ask(partner, how + prefix, partial(self._compared, how, prefix, alike), silent, key=digest, tries=2)

    def _on_section(self, prefix: str, ask: Ask, short: int) -> Told:
        """The same (`final`), or who lives there, or, of many, digests of the parts."""
        if self.table.digest(prefix) == ask.key:
            return Told(ask.nonce, final=True)
        if len(self.table.section(prefix)) <= short:
            return Told(ask.nonce, updates=self.table.told(prefix))
        return Told(ask.nonce, tuple(self._part(prefix, k) for k in range(16)))

    def _part(self, prefix: str, k: int) -> str:
        return f"{self.table.digest(f'{prefix}{k:x}'):0{2 * HELD_HEX}x}"[-HELD_HEX:]

    def _compared(self, how: str, prefix: str, alike: int, source: NodeId, told: Told) -> None:
        if told.final:
            return
        if told.nodes:
            differing = [k for k, digest in enumerate(told.nodes[:16]) if digest != self._part(prefix, k)]
            if how == SECTION and differing:
                alike *= len(differing)
                differing = [self.ctx.rng.choice(differing)]
            for k in differing:
                self._ask_section(how, f"{prefix}{k:x}", alike, source)
            return
        known = {update.member: update.incarnation for update in told.updates}
        lacking = tuple(one for one in self.table.told(prefix) if one.incarnation > known.get(one.member, -1))
        found, dead = self._add_all(told.updates)
        self._differ(alike * (found + len(lacking)))
        if lacking or dead:
            self.peers.ask(source, TELL, self._answered, updates=(*lacking, *dead), slow=len(lacking) + len(dead) > PACKET)
        if found:
            self.changed()

    def _answered(self, source: NodeId, told: Told) -> None:
        for update in told.updates:
            self._heard_dead(update)


def _nothing(source: NodeId, told: Told) -> None:
    """An acknowledgement says nothing."""
