"""The other agents of a zone, for agents below the top of the hierarchy: told of by the head, measured one after the other.

    head --LeaseReply(who came, who left)--> agent --Probe, one each few seconds--> the others of its zone

No gossip, no suspicion: an agent lives for as long as its lease at the head does. Between zones an agent knows the heads that
are its own other ways in, and a few acquaintances: whoever promoted it or was promoted by it, and those that shared a zone
with it before. An agent whose head is gone has them all until another head tells of its own zone; nothing waits for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

from opus_node.core.context import Context
from opus_node.core.messages import MemberUpdate, ProbeReply, Sync
from opus_node.core.placement import score
from opus_node.core.prober import Prober
from opus_node.core.swim import ALIVE, DEAD, LEFT, Member, nearest_first
from opus_node.core.types import SECOND, Nanos, NodeId
from opus_node.core.ways import DELAYS

MEASURE_EVERY = 5
"""Ticks between two measurements of others, of which each has its turn."""
SILENT = 2
"""Measurements unanswered in a row after which an agent is told to no node any more."""
ACQUAINTED = 8
"""Of other zones."""
NEAR_HEADS = 4
"""Of other zones, as many as count as agents one knows."""
HEADLESS: Nanos = 4 * SECOND
"""After so long without a head the first of a zone by hash becomes one itself, the second after twice that, and so on."""
RANKS = 4


class Upward(Protocol):
    """The level above, as an agent sees it."""

    def head(self) -> NodeId:
        """Where this agent leases, perhaps itself; empty: nowhere."""

    def heads(self) -> list[NodeId]:
        """Of other zones, the best first."""


class Zone:
    __slots__ = (
        *("_agents", "_asked", "_changed", "_ctx", "_headless_at", "_heard_to", "_measured", "_near", "_order", "_prober"),
        *("_teller", "_ticks", "_told", "_upward", "fewest", "members"),
    )

    def __init__(
        self,
        ctx: Context,
        prober: Prober,
        upward: Upward,
        changed: Callable[[Member, bool], None],
        measured: Callable[[Member], None],
    ) -> None:
        """`changed` and `measured` as SWIM's."""
        self._ctx = ctx
        self._prober = prober
        self._upward = upward
        self._changed = changed
        self._measured = measured
        self.fewest = 1
        self.members: dict[NodeId, Member] = {}
        self._agents: tuple[NodeId, ...] = ()
        """The live ones; empty: to be looked up again."""
        self._near: list[Member] | None = None
        """None: to be sorted again."""
        self._told: dict[NodeId, int] = {}
        """Those of this zone, by the head's count."""
        self._teller: NodeId = ""
        self._heard_to = 0
        self._asked: dict[NodeId, int] = {}
        """Measurements since an answer."""
        self._order: list[NodeId] = []
        self._ticks = 0
        self._headless_at: Nanos = -1

    # Reading

    def agents(self) -> tuple[NodeId, ...]:
        if not self._agents:
            self._agents = tuple(sorted([*(node for node, member in self.members.items() if member.live), self._ctx.me]))
        return self._agents

    def near(self) -> Sequence[Member]:
        if self._near is None:
            self._near = nearest_first(self.members.values())
        return self._near

    def counted(self) -> tuple[NodeId, ...]:
        return tuple(sorted({*(node for node in self._told if self.is_live(node)), self._ctx.me}))

    def steward(self) -> NodeId:
        return self._upward.head()

    def is_live(self, node: NodeId) -> bool:
        member = self.members.get(node)
        return node == self._ctx.me or (member is not None and member.live)

    def table(self) -> tuple[MemberUpdate, ...]:
        me = MemberUpdate(self._ctx.me, ALIVE, 0, "")
        return (me, *(MemberUpdate(node, ALIVE, 0, "") for node in self.members if self.is_live(node)))

    def above(self) -> tuple[NodeId, ...]:
        head = self._upward.head()
        return (*([head] if head else []), *self._upward.heads())

    def heard_to(self, head: NodeId) -> int:
        """Up to which of this head's changes the zone is known."""
        return self._heard_to if head == self._teller else 0

    # Coming and going

    def join(self, updates: tuple[MemberUpdate, ...], lost: Iterable[NodeId] = ()) -> None:
        """Says hello to whoever promoted this agent, the first of `updates`; the rest may be of its zone or not."""
        for update in updates[: ACQUAINTED + 1]:
            if update.state == ALIVE:
                self._add(update.member)
        if updates and updates[0].member != self._ctx.me:
            self._ctx.send(updates[0].member, Sync(False, (MemberUpdate(self._ctx.me, ALIVE, 0, ""),), ()))

    def leave(self, most: int = 0, first: Iterable[NodeId] = ()) -> None:
        """Whoever is promoted or steps down tells its head, which tells the others."""

    def slept(self) -> None:
        self._asked = {}

    def doubt(self, node: NodeId) -> None:
        """Heads see to each other."""

    # Told

    def told(self, head: NodeId, updates: tuple[MemberUpdate, ...], answered: bool) -> None:
        """Of changes, by whoever is the head now; `answered`: by what this agent said that it has heard, so without a gap."""
        if head != self._teller:
            self._teller, self._heard_to, self._told = head, 0, {}  # those of the zone before are acquaintances now
        if head != self._ctx.me:
            self._told[head] = 0
            self._add(head)
        for update in updates:
            if answered:
                self._heard_to = max(self._heard_to, update.incarnation)
            if update.member in (self._ctx.me, head) or update.incarnation < self._told.get(update.member, 0):
                continue
            if update.state == ALIVE:
                self._told[update.member] = update.incarnation
                self._asked.pop(update.member, None)
                self._add(update.member)
            elif update.member in self._told:
                del self._told[update.member]
                self._set(update.member, LEFT)

    def on_sync(self, source: NodeId, message: Sync) -> None:
        """An agent of another zone introduces itself."""
        for update in message.members:
            if update.member == source and update.state == ALIVE:
                self._add(source)

    def lost(self, head: NodeId) -> None:
        """Heads know sooner than others that one of them is dead."""
        self._set(head, DEAD)

    # Once a second

    def tick(self) -> Nanos:
        self._ticks += 1
        if self._ticks % MEASURE_EVERY == 0:
            for head in self._upward.heads()[:NEAR_HEADS]:
                self._add(head)
            self._forget()
            self._measure_next()
        return self._ctx.jitter(self._ctx.config.probe_interval, 0.95, 1.05)

    def headless(self) -> bool:
        """Whether it is this agent's turn to do something about there being no head."""
        now = self._ctx.now
        if self._upward.head():
            self._headless_at = -1
            return False
        if self._headless_at < 0:
            self._headless_at = now
        mine = score("", self._ctx.me)
        before = sum(1 for node in self._told if self.is_live(node) and node != self._teller and score("", node) > mine)
        return now - self._headless_at >= HEADLESS * (1 + min(before, RANKS))

    def _measure_next(self) -> None:
        doubtful = [node for node, times in self._asked.items() if 0 < times < SILENT and node in self.members]
        if doubtful:
            self._measure(doubtful[0])
            return
        if not self._order:
            self._order = sorted(self.members)
            self._ctx.rng.shuffle(self._order)
        while self._order:
            node = self._order.pop()
            if node in self.members:
                self._measure(node)
                return

    def _measure(self, node: NodeId) -> None:
        times = self._asked.get(node, 0)
        if times >= SILENT:
            self._set(node, DEAD)
        self._asked[node] = times + 1
        self._prober.ask(node, partial(self._probed, False))

    def _probed(self, new: bool, node: NodeId, rtt: Nanos, reply: ProbeReply) -> None:
        member = self.members.get(node)
        if member is None:
            return
        self._asked.pop(node, None)
        if not reply.is_agent:
            self._told.pop(node, None)
            self._set(node, LEFT)
            return
        if not member.live:
            self._set(node, ALIVE)
        member.sample(rtt)
        self._near = None
        member.at = reply.at
        member.delays = reply.delays[:DELAYS]
        if new:
            self._measured(member)

    # The table

    def _add(self, node: NodeId) -> None:
        member = self.members.get(node)
        if node == self._ctx.me or (member is not None and member.live):
            return
        if member is not None:
            self._set(node, ALIVE)
            return
        member = self.members[node] = Member(node, 0, self._ctx.now)
        self._agents, self._near = (), None
        self._changed(member, True)
        self._prober.ask(node, partial(self._probed, True))

    def _set(self, node: NodeId, state: str) -> None:
        member = self.members.get(node)
        if member is None or member.state == state:
            return
        before = member.live
        member.state = state
        member.since = self._ctx.now
        if before != member.live:
            self._agents, self._near = (), None
            self._changed(member, False)

    def _forget(self) -> None:
        """Whoever is neither of this zone nor alive, and the farthest acquaintances."""
        others = [member for node, member in self.members.items() if node not in self._told]
        others.sort(key=lambda member: (not member.live, member.delay(), member.node))
        for rank, member in enumerate(others):
            if rank >= ACQUAINTED or not member.live:
                self._set(member.node, LEFT)
                del self.members[member.node]
                self._agents = ()
                self._asked.pop(member.node, None)
