"""One-hop's anti-entropy: two nodes compare their tables by digests of sections of the ring, and both learn what the other knows.

    "=" or "~" and a section's name, its digest --> the same | who lives there | of a long one the digests of its sixteen parts
    tell: lives that the other has not heard of, and ends --> what is known against them
    dead?: you are said to be dead, are you --> no, and a greater incarnation

Of what is learned here nothing becomes an event: whoever has it has had it as one. An end is believed only when its node does not
answer, and a life that this node holds for ended only when it says so itself.
"""

from __future__ import annotations

from functools import partial
from typing import Final, Protocol

from opus_node.baselines.one_hop_table import DEAD, Table, alive
from opus_node.baselines.peers import Peers
from opus_node.core.context import Context
from opus_node.core.messages import Ask, MemberUpdate, Told
from opus_node.core.timers import Timer
from opus_node.core.types import SECOND, Nanos, NodeId

SECTION, DEEPLY, TELL, MISTAKEN = "=", "~", "tell", "dead?"
"""The second: of a node that wants to learn all that differs, not one part of it."""
PACKET: Final = 60
"""Members that fit a packet."""
SHORT: Final = 32
"""A section of at most so many members (or, DEEPLY, PACKET) is told whole."""
PART_DIGITS: Final = 6
"""Hexadecimal ones, of a part's digest."""
FIRST: Final[Nanos] = SECOND
"""Until the first comparison; twice as long each time."""
DEEP: Final[Nanos] = 2 * SECOND
"""While comparisons are not farther apart than this, they are deep."""
MUCH: Final = 50
"""If more than one in so many differ, or have died since the last comparison, comparisons begin anew."""
STRANGERS: Final = 8
"""Each so-manieth comparison is with a seed that is not in the table, or a node held for dead: after a cut all are one again."""
LATE: Final[Nanos] = 15 * SECOND
"""Who takes a node for alive so shortly after its death has only not heard; later one of the two is mistaken."""


class Keeper(Protocol):
    """Whose table it is."""

    def changed(self) -> None: ...

    def silent(self, node: NodeId) -> None: ...

    def take(self, update: MemberUpdate) -> bool:
        """Whether the ring is another one."""

    def refute(self, update: MemberUpdate) -> None: ...

    def longest_pause(self) -> Nanos:
        """Between two comparisons."""


class Comparison:
    def __init__(self, ctx: Context, peers: Peers, table: Table, keeper: Keeper) -> None:
        self._ctx = ctx
        self._peers = peers
        self._table = table
        self._keeper = keeper
        self._seeds: tuple[NodeId, ...] = ()
        self._pause: Nanos = FIRST
        self._timer: Timer | None = None
        """None: before the beginning, and after the end."""
        self._differed = 0
        """Since the last comparison."""
        self._times = 0
        self._deep_at: Nanos = 0
        """The first comparison from then on is deep; 0: it was."""

    @property
    def running(self) -> bool:
        return self._timer is not None

    def begin(self, seeds: tuple[NodeId, ...]) -> None:
        """The table is as good as that of somebody else."""
        if not self.running:
            self._seeds = seeds
            self._soon()

    def look_deeply(self, at: Nanos) -> None:
        self._deep_at = at

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def differ(self, count: int) -> None:
        """So many entries were other ones than they should have been."""
        self._differed += count
        if self._differed * MUCH > max(MUCH, len(self._table)) and self._pause > DEEP and self.running:
            self._soon()

    def _soon(self) -> None:
        self.end()
        self._pause = FIRST
        self._timer = self._ctx.timers.at(self._ctx.now + self._ctx.jitter(FIRST, 0.5, 1.5), self._compare)

    def _compare(self, _: object) -> None:
        ctx = self._ctx
        due = 0 < self._deep_at <= ctx.now
        if due:
            self._deep_at = 0
        self._differed = 0
        self._times += 1
        partner = self._partner()
        if partner:
            self._ask(DEEPLY if due or self._pause <= DEEP else SECTION, "", 1, partner)
        self._pause = min(2 * self._pause, self._keeper.longest_pause())
        self._timer = ctx.timers.at(ctx.now + ctx.jitter(self._pause, 0.75, 1.25), self._compare)

    def _partner(self) -> NodeId:
        ctx, table = self._ctx, self._table
        if self._times % STRANGERS == 0 or len(table) < 2:
            strangers = [node for node in (*self._seeds, *table.buried) if node not in table.lives]
            if strangers:
                return ctx.rng.choice(strangers)
        if len(table) < 2:
            return ""
        return table.after(ctx.me, ctx.rng.randrange(1, len(table)))

    # Sections

    def _ask(self, how: str, section: str, alike: int, partner: NodeId) -> None:
        """Of a section that stands for so many `alike` ones, which differ too."""
        silent = self._keeper.silent if partner in self._table.lives else None
        told = partial(self._compared, how, section, alike)
        self._peers.ask(partner, how + section, told, silent, key=self._table.digest(section), tries=2)

    def answer(self, ask: Ask) -> Told:
        section, short = ask.what[1:], PACKET if ask.what[0] == DEEPLY else SHORT
        if self._table.digest(section) == ask.key:
            return Told(ask.nonce, final=True)
        if len(self._table.section(section)) <= short:
            return Told(ask.nonce, updates=self._table.told(section))
        return Told(ask.nonce, tuple(self._part(section, k) for k in range(16)))

    def _part(self, section: str, k: int) -> str:
        return f"{self._table.digest(f'{section}{k:x}'):0{PART_DIGITS}x}"[-PART_DIGITS:]

    def _compared(self, how: str, section: str, alike: int, source: NodeId, told: Told) -> None:
        if told.final:
            return
        if told.nodes:
            differing = [k for k, digest in enumerate(told.nodes[:16]) if digest != self._part(section, k)]
            if how == SECTION and differing:
                alike *= len(differing)
                differing = [self._ctx.rng.choice(differing)]
            for k in differing:
                self._ask(how, f"{section}{k:x}", alike, source)
            return
        known = {update.member: update.incarnation for update in told.updates}
        lacking = tuple(one for one in self._table.told(section) if one.incarnation > known.get(one.member, -1))
        found, against = self.learn(told.updates)
        self.differ(alike * (found + len(lacking)))
        if said := (*lacking, *against):
            self._peers.ask(source, TELL, self._answered, updates=said, slow=len(said) > PACKET)

    # What others say

    def learn(self, updates: tuple[MemberUpdate, ...]) -> tuple[int, tuple[MemberUpdate, ...]]:
        """Lives: how many of them were news, and what this node has to say against the others."""
        table, me, against, found = self._table, self._ctx.me, [], 0
        for update in updates:
            if table.lives.get(update.member, -1) >= update.incarnation or update.member == me:
                continue
            buried = table.buried.get(update.member)
            if table.add(update.member, update.incarnation):
                found += 1
            elif buried is not None and self._ctx.now - buried[1] > LATE:
                table.buried[update.member] = (buried[0], self._ctx.now)
                against.append(MemberUpdate(update.member, DEAD, buried[0], ""))
                self._peers.ask(update.member, MISTAKEN, self._mistaken, updates=(against[-1],), tries=2)
        if found:
            self._keeper.changed()
        return found, tuple(against)

    def _mistaken(self, source: NodeId, told: Told) -> None:
        self.learn(told.updates)

    def mistaken(self, ask: Ask) -> Told:
        for update in ask.updates:
            self._keeper.refute(update)
        return Told(ask.nonce, updates=(alive(self._ctx.me, self._table.lives[self._ctx.me]),))

    def told(self, ask: Ask) -> Told:
        for update in ask.updates:
            if update.state == DEAD:
                self._ended(update)
        _, against = self.learn(tuple(one for one in ask.updates if one.state != DEAD))
        return Told(ask.nonce, updates=against)

    def _answered(self, source: NodeId, told: Told) -> None:
        for update in told.updates:
            self._ended(update)

    def _ended(self, update: MemberUpdate) -> None:
        if update.member == self._ctx.me:
            self._keeper.refute(update)
        elif self._table.lives.get(update.member, update.incarnation + 1) <= update.incarnation:
            self._peers.ask(update.member, "", lambda node, told: None, lambda node: self._is_dead(update))

    def _is_dead(self, update: MemberUpdate) -> None:
        if self._keeper.take(update):
            self._keeper.changed()
