"""Operations on registers, by the replica that a client has asked: it asks all members, a majority's answers are enough.

    read      Get from a majority; unless all of it holds the same, Put of the greatest to a majority; then it is told
    reserve   Get from a majority: the tag that a new write is to have
    commit    Put of a value under that tag to a majority

Where one member may answer alone (`rules`), under a lease, with what it holds itself:

    read      once the value is settled; if nobody says so in time, after a Put of it
    reserve   one more than the tag it holds: every acknowledged write has left a tag here
    commit    Put to a majority, or to all; then the value is settled, and said to be
    commit    where few writes may be missing at any member: each coordinator leaves no member more than its share of them

A write is two operations because its tag must not change when the client tries again elsewhere: under a second tag it might come
back after a later write. Read and reserve change nothing that a client could see, commit does the same however often it is done.

Where the configuration changes meanwhile the operation begins anew in the next one, its tag kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from opus_node.core.data.cells import (
    EMPTY,
    Answer,
    Cell,
    Config,
    Elsewhere,
    Get,
    Got,
    Key,
    Put,
    Renew,
    Renewed,
    Settled,
    Stored,
    Tag,
    Value,
    Writer,
)
from opus_node.core.data.holder import Holder
from opus_node.core.data.lease import Lease
from opus_node.core.data.rules import Rule
from opus_node.core.types import MILLISECOND, Nanos, NodeId

Kind = Literal["read", "reserve", "commit"]
AGAIN: Nanos = 400 * MILLISECOND
"""Whoever has not answered for so long is asked again."""
OPEN = 256
"""Operations at once; more are turned away."""
LIVES_BITS = 32
"""Operations are numbered from the incarnation on: an answer to a former life finds none of them."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an operation has come to."""

    kind: Kind
    key: Key
    done: bool
    cell: Cell = EMPTY
    """Of a read: what is held. Of a reservation: the tag to commit under, without a value. Of a commit: what was written."""


Told = Callable[[Outcome], None]


@dataclass(slots=True)
class _Open:
    number: int
    """Its own, by which answers find it."""
    kind: Kind
    key: Key
    cell: Cell
    """To be put, once that is known."""
    writer: Writer
    deadline: Nanos
    told: Told
    putting: bool
    config: Config
    again_at: Nanos = 0
    patient_until: Nanos = -1
    """For so long it waits to hear that the value found is settled; -1: none was found yet that is not."""
    got: dict[NodeId, Cell] = field(default_factory=dict)
    stored: set[NodeId] = field(default_factory=set)
    """Never iterated."""
    told_of: bool = False
    """Its client knows that it is done; some members do not have it yet, and others wait for that."""


class Quorums:
    """All operations of one application at one replica."""

    __slots__ = ("_holder", "_last", "_lease", "_open", "_rule", "_send")

    def __init__(self, holder: Holder, rule: Rule, send: Callable[[NodeId, Get | Put | Settled | Renew], None]) -> None:
        """`send` brings a question to another member."""
        self._holder = holder
        self._rule = rule
        self._lease = Lease(holder, rule, send) if rule.lease else None
        self._send = send
        self._open: dict[int, _Open] = {}
        self._last = holder.me.incarnation << LIVES_BITS

    def read(self, key: Key, now: Nanos, deadline: Nanos, told: Told) -> bool:
        return self._begin("read", key, EMPTY, "", now, deadline, told)

    def reserve(self, key: Key, writer: Writer, now: Nanos, deadline: Nanos, told: Told) -> bool:
        return self._begin("reserve", key, EMPTY, writer, now, deadline, told)

    def commit(self, key: Key, tag: Tag, value: Value, now: Nanos, deadline: Nanos, told: Told) -> bool:
        return self._begin("commit", key, Cell(tag, value), "", now, deadline, told)

    def on(self, source: NodeId, answer: Answer, now: Nanos) -> None:
        """An answer to one of the questions sent."""
        match answer:
            case Got() | Stored():
                one = self._open.get(answer.op)
                if one is not None and answer.number == one.config.number:
                    self._take(one, source, answer, now)
            case Renewed() if self._lease is not None:
                self._lease.on(source, answer)
                self._look(now)
            case Elsewhere(config):
                self._follow(config, now)

    def moved(self, now: Nanos) -> None:
        """The holder may have entered another configuration, in which all that is open begins anew, or heard what is settled."""
        if self._holder.config is not None:
            self._follow(self._holder.config, now)
        self._look(now)

    def _follow(self, config: Config, now: Nanos) -> None:
        """Who is none of its members can do nothing more; who is one will be told the cells by whoever installs it."""
        me = self._holder.me
        for one in self._each():
            if one.config.number >= config.number:
                continue
            if one.told_of:
                del self._open[one.number]  # whoever keeps the data now has been given it
                continue
            if me not in config.members or (self._rule.led and me != config.primary):
                self._end(one, done=False)
            elif self._holder.config == config:
                self._anew(one, config, now)

    def tick(self, now: Nanos) -> None:
        self.moved(now)
        if self._lease is not None:
            self._lease.tick(now)
        for one in self._each():
            if now >= one.deadline and not one.told_of:
                self._end(one, done=False)
            elif now >= one.again_at:
                self._ask(one, now)

    def next_at(self) -> Nanos | None:
        """When `tick` is next worth calling."""
        times = [one.again_at if one.told_of else min(one.deadline, one.again_at) for one in self._open.values()]
        renewal = None if self._lease is None else self._lease.next_at()
        return min(times if renewal is None else [*times, renewal], default=None)

    def _each(self) -> Iterator[_Open]:
        """Those that are open, also while some of them end."""
        for one in list(self._open.values()):
            if one.number in self._open:
                yield one

    # One operation

    def _begin(self, kind: Kind, key: Key, cell: Cell, writer: Writer, now: Nanos, deadline: Nanos, told: Told) -> bool:
        """Whether it was begun; otherwise this replica cannot, and has done nothing."""
        config = self._holder.config
        if config is None or not self._holder.is_member or len(self._open) >= OPEN:
            return False
        if self._rule.led and self._holder.me != config.primary:
            return False
        self._last += 1
        one = self._open[self._last] = _Open(
            self._last, kind, key, cell, writer, deadline, told, kind == "commit", config
        )  # fmt: skip
        self._ask(one, now)
        return True

    def _anew(self, one: _Open, config: Config, now: Nanos) -> None:
        one.config, one.got, one.stored, one.patient_until = config, {}, set(), -1
        self._ask(one, now)

    def _ask(self, one: _Open, now: Nanos) -> None:
        """All who have not answered, itself last: its answer may be the one that ends it."""
        one.again_at = now + AGAIN
        if self._lease is not None and self._is_for_one(one):
            self._lease.want(now)
            self._alone(one, now)
            return
        number, answered = one.config.number, one.stored if one.putting else one.got
        question = Put(number, one.number, one.key, one.cell) if one.putting else Get(number, one.number, one.key)
        me = self._holder.me.node
        for member in one.config.members:
            if member.node != me and member.node not in answered:
                self._send(member.node, question)
        if me not in answered:
            answer = self._holder.on(question)
            if isinstance(answer, Got | Stored):
                self._take(one, me, answer, now)

    def _look(self, now: Nanos) -> None:
        """Some of what waits may be told by now."""
        if self._lease is None:
            return
        for one in self._each():
            if self._is_for_one(one):
                self._alone(one, now)

    def _is_for_one(self, one: _Open) -> bool:
        """Whether a member alone may do the next step of it, under a lease."""
        return not one.putting and (self._rule.exact or one.kind == "read")

    def _alone(self, one: _Open, now: Nanos) -> None:
        """With what this member holds, if it may answer alone, and holds nothing that others may not."""
        if self._lease is None or not self._lease.holds(now):
            return
        held = self._holder.store.get(one.key)
        if one.kind == "reserve":
            one.cell = Cell(Tag(held.tag.count + 1, one.writer))
            self._end(one, done=True)
        elif not self._rule.exact or one.key not in self._holder.unsettled:
            one.cell = held
            self._end(one, done=True)
        elif one.patient_until < 0:
            one.patient_until = now + AGAIN
        elif now >= one.patient_until:
            one.cell, one.putting = held, True
            self._ask(one, now)

    def _take(self, one: _Open, source: NodeId, answer: Got | Stored, now: Nanos) -> None:
        if not one.config.has(source):
            return
        if isinstance(answer, Got) and not one.putting:
            one.got[source] = answer.cell
            if len(one.got) >= one.config.majority:
                self._got(one, now)
        elif isinstance(answer, Stored) and one.putting:
            one.stored.add(source)
            self._stored(one, now)

    def _stored(self, one: _Open, now: Nanos) -> None:
        if one.told_of:
            if len(one.stored) == len(one.config.members):
                del self._open[one.number]
            self._tell_more()
        elif len(one.stored) >= self._enough(one.config) and self._few_lack(one):
            self._settle(one)
            self._end(one, done=True)
            self._look(now)

    def _tell_more(self) -> None:
        """Some that are done may be told of, now that their members lack less."""
        for one in self._each():
            if one.putting and not one.told_of and len(one.stored) >= self._enough(one.config) and self._few_lack(one):
                self._end(one, done=True)

    def _few_lack(self, one: _Open) -> bool:
        """Whether no member would lack more than this coordinator's share of the writes that it may."""
        if self._rule.missed < 0:
            return True
        share = self._rule.missed // len(one.config.members)
        told = [other for other in self._open.values() if other.told_of]
        lacking = [member.node for member in one.config.members if member.node not in one.stored]
        return all(sum(node not in other.stored for other in told) < share for node in lacking)

    def _enough(self, config: Config) -> int:
        """Who have to hold a value before anybody is told that it was written."""
        return len(config.members) if self._rule.whole else config.majority

    def _settle(self, one: _Open) -> None:
        self._holder.settle(one.key, one.cell.tag)
        if self._rule.whole:
            for member in one.config.members:
                if member != self._holder.me:
                    self._send(member.node, Settled(one.config.number, one.key, one.cell.tag))

    def _got(self, one: _Open, now: Nanos) -> None:
        greatest = max(one.got.values(), key=lambda cell: cell.tag)
        if one.kind == "reserve":
            one.cell = Cell(Tag(greatest.tag.count + 1, one.writer))
            self._end(one, done=True)
        elif all(cell.tag == greatest.tag for cell in one.got.values()):
            one.cell = greatest
            self._end(one, done=True)
        else:
            one.cell, one.putting = greatest, True
            self._ask(one, now)

    def _end(self, one: _Open, *, done: bool) -> None:
        if done and self._rule.missed >= 0 and one.putting and len(one.stored) < len(one.config.members):
            one.told_of = True
        else:
            del self._open[one.number]
        one.told(Outcome(one.kind, one.key, done, one.cell if done else EMPTY))
