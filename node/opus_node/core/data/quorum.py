"""Operations on registers, by the replica that a client has asked: it asks all members, a majority's answers are enough.

    read      Get from a majority; unless all of it holds the same, Put of the greatest to a majority; then it is told
    reserve   Get from a majority: the tag that a new write is to have
    commit    Put of a value under that tag to a majority

A write is two operations because its tag must not change when the client tries again elsewhere: under a second tag it might come
back after a later write. Read and reserve change nothing that a client could see, commit does the same however often it is done.

Where the configuration changes meanwhile the operation begins anew in the next one, its tag kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from opus_node.core.data.cells import EMPTY, Answer, Cell, Config, Elsewhere, Get, Got, Key, Put, Stored, Tag, Value, Writer
from opus_node.core.data.holder import Holder
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
    got: dict[NodeId, Cell] = field(default_factory=dict)
    stored: set[NodeId] = field(default_factory=set)
    """Never iterated."""


class Quorums:
    """All operations of one application at one replica."""

    __slots__ = ("_holder", "_last", "_open", "_send")

    def __init__(self, holder: Holder, send: Callable[[NodeId, Get | Put], None]) -> None:
        """`send` brings a question to another member."""
        self._holder = holder
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
            case Elsewhere(config):
                self._follow(config, now)

    def moved(self, now: Nanos) -> None:
        """The holder may have entered another configuration: what is open begins anew there."""
        if self._holder.config is not None:
            self._follow(self._holder.config, now)

    def _follow(self, config: Config, now: Nanos) -> None:
        """Who is none of its members can do nothing more; who is one will be told the cells by whoever installs it."""
        me = self._holder.me
        for one in list(self._open.values()):
            if one.config.number >= config.number:
                continue
            if me not in config.members:
                self._end(one, done=False)
            elif self._holder.config == config:
                self._anew(one, config, now)

    def tick(self, now: Nanos) -> None:
        self.moved(now)
        for one in list(self._open.values()):
            if now >= one.deadline:
                self._end(one, done=False)
            elif now >= one.again_at:
                self._ask(one, now)

    def next_at(self) -> Nanos | None:
        """When `tick` is next worth calling."""
        return min((min(one.deadline, one.again_at) for one in self._open.values()), default=None)

    # One operation

    def _begin(self, kind: Kind, key: Key, cell: Cell, writer: Writer, now: Nanos, deadline: Nanos, told: Told) -> bool:
        """Whether it was begun; otherwise this replica cannot, and has done nothing."""
        config = self._holder.config
        if config is None or not self._holder.is_member or len(self._open) >= OPEN:
            return False
        self._last += 1
        one = self._open[self._last] = _Open(
            self._last, kind, key, cell, writer, deadline, told, kind == "commit", config
        )  # fmt: skip
        self._ask(one, now)
        return True

    def _anew(self, one: _Open, config: Config, now: Nanos) -> None:
        one.config, one.got, one.stored = config, {}, set()
        self._ask(one, now)

    def _ask(self, one: _Open, now: Nanos) -> None:
        """All who have not answered, itself last: its answer may be the one that ends it."""
        one.again_at = now + AGAIN
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

    def _take(self, one: _Open, source: NodeId, answer: Got | Stored, now: Nanos) -> None:
        if not one.config.has(source):
            return
        if isinstance(answer, Got) and not one.putting:
            one.got[source] = answer.cell
            if len(one.got) >= one.config.majority:
                self._got(one, now)
        elif isinstance(answer, Stored) and one.putting:
            one.stored.add(source)
            if len(one.stored) >= one.config.majority:
                self._end(one, done=True)

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
        del self._open[one.number]
        one.told(Outcome(one.kind, one.key, done, one.cell if done else EMPTY))
