"""One replica's part: it holds cells for one configuration at a time, and is an acceptor of the next.

    nobody's --enter--> serves --Accept--> sealed --enter the next--> serves      --Retire--> nobody's

It only answers; what it needs to enter is brought by `fetch`. What it has promised and accepted lasts as long as its life does:
after a restart it is no member, as a configuration's members are so by incarnation.
"""

from __future__ import annotations

from collections.abc import Mapping

from opus_node.core.data.cells import (
    Accept,
    Accepted,
    Answer,
    Ballot,
    Cell,
    Cells,
    Config,
    Copy,
    Elsewhere,
    Fetch,
    Get,
    Got,
    Greet,
    Greeted,
    Install,
    Installed,
    Key,
    Outbid,
    Part,
    Peer,
    Prepare,
    Promised,
    Put,
    Question,
    Refused,
    Renew,
    Renewed,
    Retire,
    Settled,
    Stored,
    Tag,
)
from opus_node.core.data.store import Store
from opus_node.core.types import Nanos, NodeId


class Holder:
    __slots__ = ("_accepted", "_confirmed", "_outlast", "_promised", "config", "known", "me", "store", "unsettled")

    def __init__(self, me: Peer, first: Config | None = None, outlast: Nanos = 0) -> None:
        """`first`: the founding configuration, if it is known; it holds no cells yet. `outlast`: so long after this one has
        confirmed another's lease it is over (`Rule.outlast`)."""
        self.me = me
        self._outlast = outlast
        self._confirmed: dict[NodeId, Nanos] = {}
        """Of the others, when that was."""
        self.config = first
        """The last that it has heard of as decided, whether it is a member of it or not."""
        self.store = Store()
        self.known: dict[Peer, int] = {}
        """Of others: so many of the values that they have stored are held here."""
        self.unsettled: set[Key] = set()
        """Of which others may hold less than this, though that were enough to be asked alone. Never iterated."""
        self._promised = Ballot()
        self._accepted: tuple[Ballot, Config] | None = None

    @property
    def is_member(self) -> bool:
        return self.config is not None and self.me in self.config.members

    @property
    def serves(self) -> bool:
        return self.is_member and self._accepted is None

    @property
    def following(self) -> Config | None:
        """What it has accepted to come next, if it has."""
        return None if self._accepted is None else self._accepted[1]

    def on(self, question: Question, source: NodeId = "", now: Nanos = 0) -> Answer | None:
        """None: nothing to say. `source` and `now` matter where members answer alone."""
        match question:
            case Greet():
                return Greeted(self.me, self.config)
            case Install():
                return self.install(question.config)
            case Copy():
                return None  # that is `fetch`'s affair
            case Fetch(number, count):
                return self._give(number, count)
            case Retire():
                self._retire(question)
                return None
            case Settled(number, key, tag):
                if self.is_member and self.config is not None and number == self.config.number:
                    self.settle(key, tag)
                return None
        config = self.config
        if config is not None and question.number < config.number:
            return Elsewhere(config)
        op = question.op if isinstance(question, Get | Put | Renew) else 0
        if config is None or question.number > config.number or not self.is_member:
            return Refused(question.number, op)
        match question:
            case Prepare():
                return self._prepare(question)
            case Accept():
                return self._accept(question, now)
            case _ if self._accepted is not None:
                return Refused(question.number, op)
            case Renew():
                self._confirmed[source] = now
                return self._renewed(question)
            case Get():
                return Got(question.number, op, self.store.get(question.key))
            case Put():
                self.take(question.key, question.cell)
                return Stored(question.number, op)

    def take(self, key: Key, cell: Cell) -> None:
        """If it is later than what is held."""
        if self.store.take(key, cell):
            self.unsettled.add(key)

    def _renewed(self, question: Renew) -> Answer:
        if question.since < 0:
            return Renewed(question.number, question.op)
        cells, count = self.store.page(question.since)
        return Renewed(question.number, question.op, count, cells, count == self.store.count)

    def settle(self, key: Key, tag: Tag) -> None:
        """Whatever has to hold a value of `key` for it to be told by one member alone holds this one, or a later one."""
        if self.store.get(key).tag <= tag:
            self.unsettled.discard(key)

    def _prepare(self, question: Prepare) -> Answer:
        if question.ballot < self._promised:
            return Outbid(question.number, self._promised)
        self._promised = question.ballot
        return Promised(question.number, question.ballot, self._accepted, self.store.size)

    def _accept(self, question: Accept, now: Nanos) -> Answer:
        if question.ballot < self._promised:
            return Outbid(question.number, self._promised)
        self._promised = question.ballot
        self._accepted = (question.ballot, question.following)
        return Accepted(question.number, question.ballot, self._left(now))

    def _left(self, now: Nanos) -> tuple[Nanos, ...]:
        if self.config is None or not self._outlast:
            return ()
        ends = [self._confirmed.get(one.node, now - self._outlast) + self._outlast for one in self.config.members]
        return tuple(max(0, end - now) for end in ends)

    def sealed_before(self, config: Config) -> bool:
        """Whether it holds for good what it held as a member of the configuration before this one."""
        known = self.config
        return self.is_member and self._accepted is not None and known is not None and known.number == config.number - 1

    def _give(self, number: int, count: int) -> Answer:
        known = self.config
        if known is not None and known.number > number:
            return Elsewhere(known)
        if not self.is_member or known is None or known.number < number - 1:
            return Refused(number)
        inside = known.number == number
        sealed = inside or self._accepted is not None
        cells, upto = self.store.page(count)
        return Part(number, self.me, count, upto, upto == self.store.count, inside, sealed, cells)

    def install(self, config: Config) -> Answer | None:
        """None: it is to enter, and has not."""
        known = self.config
        if known is not None and config.number < known.number:
            return Elsewhere(known)
        if self.me not in config.members:
            return Refused(config.number)
        return Installed(config.number) if known is not None and config.number == known.number else None

    def enter(self, config: Config, cells: Cells, known: Mapping[Peer, int]) -> None:
        """With what others held, of some of whom so many values are `known` by that. Of who is a member no more nothing is
        remembered."""
        self.known = {one: max(known.get(one, 0), self.known.get(one, 0)) for one in config.members}
        self._enter(config)
        for key, cell in cells.items():
            self.take(key, cell)
        self.unsettled = set(self.store.cells)  # others may have been given less, by another steward

    def _retire(self, question: Retire) -> None:
        config, known = question.config, self.config
        if self.me not in config.members and (known is None or config.number > known.number):
            self._enter(config)
            self.store.clear()
            self.unsettled, self.known = set(), {}

    def _enter(self, config: Config) -> None:
        self.config = config
        self._promised, self._accepted = Ballot(), None
        self._confirmed = {}
