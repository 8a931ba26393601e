"""One replica's part: it holds cells for one configuration at a time, and is an acceptor of the next.

    nobody's --Install--> serves --Accept--> sealed --Install of the next--> serves      --Retire--> nobody's

It only answers. What it has promised and accepted lasts as long as its life does: after a restart it is no member, as a
configuration's members are so by incarnation.
"""

from __future__ import annotations

from opus_node.core.data.cells import (
    EMPTY,
    Accept,
    Accepted,
    Answer,
    Ballot,
    Cell,
    Config,
    Copied,
    Copy,
    Elsewhere,
    Get,
    Got,
    Greet,
    Greeted,
    Install,
    Installed,
    Key,
    Outbid,
    Peer,
    Prepare,
    Promised,
    Put,
    Question,
    Refused,
    Retire,
    Stored,
    merged,
)


class Holder:
    __slots__ = ("_accepted", "_promised", "cells", "config", "me")

    def __init__(self, me: Peer, first: Config | None = None) -> None:
        """`first`: the founding configuration, if it is known; it holds no cells yet."""
        self.me = me
        self.config = first
        """The last that it has heard of as decided, whether it is a member of it or not."""
        self.cells: dict[Key, Cell] = {}
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

    def on(self, question: Question) -> Answer | None:
        """None: nothing to say."""
        match question:
            case Greet():
                return Greeted(self.me, self.config)
            case Install():
                return self._install(question)
            case Retire():
                self._retire(question)
                return None
        config = self.config
        if config is not None and question.number < config.number:
            return Elsewhere(config)
        op = question.op if isinstance(question, Get | Put) else 0
        if config is None or question.number > config.number or not self.is_member:
            return Refused(question.number, op)
        match question:
            case Prepare():
                return self._prepare(question)
            case Accept():
                return self._accept(question)
            case Copy():
                return Copied(question.number, dict(self.cells))
            case _ if self._accepted is not None:
                return Refused(question.number, op)
            case Get():
                return Got(question.number, op, self.cells.get(question.key, EMPTY))
            case Put():
                if question.cell.tag > self.cells.get(question.key, EMPTY).tag:
                    self.cells[question.key] = question.cell
                return Stored(question.number, op)

    def _prepare(self, question: Prepare) -> Answer:
        if question.ballot < self._promised:
            return Outbid(question.number, self._promised)
        self._promised = question.ballot
        return Promised(question.number, question.ballot, self._accepted)

    def _accept(self, question: Accept) -> Answer:
        if question.ballot < self._promised:
            return Outbid(question.number, self._promised)
        self._promised = question.ballot
        self._accepted = (question.ballot, question.following)
        return Accepted(question.number, question.ballot, dict(self.cells))

    def _install(self, question: Install) -> Answer:
        config, known = question.config, self.config
        if known is not None and config.number < known.number:
            return Elsewhere(known)
        if self.me not in config.members:
            return Refused(config.number)
        if known is None or config.number > known.number:
            self._enter(config)
            self.cells = merged(self.cells, question.cells)
        return Installed(config.number)

    def _retire(self, question: Retire) -> None:
        config, known = question.config, self.config
        if self.me not in config.members and (known is None or config.number > known.number):
            self._enter(config)
            self.cells = {}

    def _enter(self, config: Config) -> None:
        self.config = config
        self._promised, self._accepted = Ballot(), None
