"""From one configuration to the next: the steward's part, which any steward can take over at any point.

    prepare   a majority of the present members promises to hear no lesser ballot, and tells what it has accepted; a member that
              was never told of its configuration is told whom to get its cells from. Meanwhile all who are to keep the data are
              greeted: unless all of them answer, or after a while a majority, nothing new is proposed. If there is more than a
              page, the next members first copy what others hold by now
    accept    the greatest accepted, or else what is wanted, is accepted by a majority: it is decided. Whoever accepts is sealed,
              so that a majority's cells are all that any acknowledged operation has left. Where members answer alone, one that
              has not accepted may go on until its lease has ended, so that is waited for
    install   the next members are told who has accepted, get their cells from these (`fetch`), and serve; once a majority does,
              the former ones are told to forget

Before anything is sealed it waits a moment for all to answer; then a majority has to do. What was accepted before is taken on at
once, whoever is wanted: its members are sealed, and clients wait. A decision is for good: another
steward finds it with any majority and installs the same. Two that compete end in one, the greater ballot; the other is outbid.
While a majority of the present members is silent nothing changes, and nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from opus_node.core.data import store
from opus_node.core.data.cells import (
    Accept,
    Accepted,
    Answer,
    Ballot,
    Config,
    Copied,
    Copy,
    Elsewhere,
    Greet,
    Greeted,
    Install,
    Installed,
    Outbid,
    Peer,
    Prepare,
    Promised,
    Question,
    Refused,
    Retire,
)
from opus_node.core.types import MILLISECOND, SECOND, Nanos, NodeId

AGAIN: Nanos = 400 * MILLISECOND
WHOLE: Nanos = 5 * SECOND
"""For so long all who are to keep the data are waited for, then a majority of them has to do. A steward replaces who is silent
sooner than that, the present members serve meanwhile, and of two that were left of three one's death would be the end."""
COPYING: Nanos = 60 * SECOND
"""For so long at most what is more than a page is copied before anything is sealed."""
FRESH: Nanos = 3 * AGAIN
"""Who has not been heard for longer is greeted again before anything is proposed: a configuration must not begin half dead."""
Stage = Literal["prepare", "accept", "install", "done", "outbid"]


class Move:
    """Of one application, under one ballot, to one set of nodes."""

    __slots__ = (
        *("_accepted", "_acceptors", "_again_at", "_answered", "_ballot", "_began_at", "_copied", "_copying"),
        *("_greeted", "_heavy", "_lacking", "_led"),
        *("_outlasted_at", "_patient_until", "_send", "_wanted", "following", "known", "outbid_by", "stage"),
    )

    def __init__(
        self,
        ballot: Ballot,
        known: Config,
        wanted: Sequence[NodeId],
        send: Callable[[NodeId, Question], None],
        now: Nanos,
        *,
        led: bool = False,
    ) -> None:
        """`ballot`: no other move was ever made under it. `known`: the last configuration this steward has heard of; `wanted`:
        who is to keep the data, at least one. `send` reaches this very node as well. `led`: the first of those wanted is to be
        the primary."""
        self._led = led
        self._outlasted_at: dict[NodeId, Nanos] = {}
        """From when on a member of the present configuration cannot answer alone, if it has not accepted."""
        self.known = known
        self.stage: Stage = "prepare"
        self.outbid_by = Ballot()
        self._ballot = ballot
        self._wanted = tuple(dict.fromkeys(wanted))
        self._send = send
        self._greeted: dict[NodeId, tuple[Peer, Nanos]] = {}
        """And when."""
        self._answered: set[NodeId] = set()
        """In this stage. Never iterated."""
        self._lacking: set[NodeId] = set()
        """Members that do not know of their configuration. Never iterated."""
        self._heavy = False
        """Whether a member holds more than a page."""
        self._copying = False
        self._copied: set[NodeId] = set()
        """Those wanted who hold what a majority did a moment ago. Never iterated."""
        self._accepted: tuple[Ballot, Config] | None = None
        self.following: Config | None = None
        """What is or was proposed to come after `known`."""
        self._acceptors: set[NodeId] = set()
        """Of the present members, who are sealed and hold what is to be handed on."""
        self._began_at = now
        self._again_at = self._patient_until = now + AGAIN
        self._ask()

    @property
    def over(self) -> bool:
        return self.stage in ("done", "outbid")

    @property
    def in_vain(self) -> bool:
        """Whether no majority has answered its first question yet."""
        return self.stage == "prepare" and len(self._answered) < self.known.majority

    @property
    def settled(self) -> bool:
        """Whether it is done, and nobody is left to be told: all of the last members serve."""
        told = self.following is None or all(node in self._answered for node in _nodes(self.following))
        return self.stage == "done" and told

    def tick(self, now: Nanos) -> None:
        """Asks again who has not answered; also after it is done, until all of the last members serve."""
        if now < self._again_at:
            return
        self._again_at = now + AGAIN
        self._enough(now)
        self._ask()

    def on(self, source: NodeId, answer: Answer, now: Nanos) -> None:
        match answer:
            case Greeted():
                self._on_greeted(source, answer, now)
            case Elsewhere():
                self._learn(answer.config, now)
            case Outbid() if answer.number == self.known.number and answer.by > self._ballot and not self.over:
                self.stage, self.outbid_by = "outbid", answer.by
            case Promised() if self._fits(source, answer.number, "prepare") and answer.ballot == self._ballot:
                if answer.accepted is not None and (self._accepted is None or answer.accepted[0] > self._accepted[0]):
                    self._accepted = answer.accepted
                self._heavy = self._heavy or answer.size > store.PAGE
                self._count(source, now)
            case Copied() if answer.number == self.known.number + 1:
                self._copied.add(source)
                self._enough(now)
            case Accepted() if self._handing_on(source, answer):
                self._acceptors.add(source)
            case Accepted() if self._fits(source, answer.number, "accept") and answer.ballot == self._ballot:
                self._acceptors.add(source)
                for node, left in zip(_nodes(self.known), answer.left, strict=False):
                    self._outlasted_at[node] = max(now + left, self._outlasted_at.get(node, now))
                self._count(source, now)
            case Installed() if self.following is not None and answer.number == self.following.number:
                if self.following.has(source):
                    self._count(source, now)
            case Refused() if self._fits(source, answer.number, "prepare"):
                self._lacking.add(source)

    # Stages

    def _fits(self, source: NodeId, number: int, stage: Stage) -> bool:
        return self.stage == stage and number == self.known.number and self.known.has(source)

    def _handing_on(self, source: NodeId, answer: Accepted) -> bool:
        """Whether one more member of the former configuration has accepted, though that was decided before."""
        decided = self.stage in ("install", "done") and self.following is not None
        return decided and answer.number == self.known.number and answer.ballot == self._ballot and self.known.has(source)

    def _go(self, stage: Stage, now: Nanos) -> None:
        self.stage, self._answered, self._outlasted_at = stage, set(), {}
        self._again_at = self._patient_until = now + AGAIN
        self._ask()

    def _ask(self) -> None:
        match self.stage:
            case "prepare":
                self._to(_nodes(self.known), Prepare(self.known.number, self._ballot))
                self._fill_up()
                for node in self._wanted:
                    self._send(node, Greet())
                if self._copying:
                    self._have_copied()
            case "accept" if self.following is not None:
                self._to(_nodes(self.known), Accept(self.known.number, self._ballot, self.following))
            case "install" | "done" if self.following is not None:
                if self.stage == "install":  # one of those who give may die before it has given all
                    rest = [node for node in _nodes(self.known) if node not in self._acceptors]
                    self._to(rest, Accept(self.known.number, self._ballot, self.following))
                self._to(_nodes(self.following), self._installing(self.following))

    def _to(self, nodes: Sequence[NodeId], question: Question) -> None:
        stage = self.stage
        for node in nodes:
            if self.stage != stage:
                return  # an answer of this very node has ended the stage
            if node not in self._answered:
                self._send(node, question)

    def _installing(self, following: Config) -> Install:
        """Who has entered comes after those who have accepted: these are told to forget once a majority has."""
        inside = [node for node in _nodes(following) if node in self._answered]
        givers = dict.fromkeys([*(node for node in _nodes(self.known) if node in self._acceptors), *inside])
        return Install(following, tuple(givers), self.known.majority)

    def _fill_up(self) -> None:
        """Who does not know of its configuration gets its cells from those who do."""
        givers = tuple(node for node in _nodes(self.known) if node in self._answered)
        if givers and self._lacking:
            self._to([node for node in _nodes(self.known) if node in self._lacking], Install(self.known, givers, 0))

    def _on_greeted(self, source: NodeId, answer: Greeted, now: Nanos) -> None:
        if answer.config is not None:
            self._learn(answer.config, now)
        if source in self._wanted and answer.peer.node == source:
            self._greeted[source] = (answer.peer, now)
            self._enough(now)

    def _learn(self, config: Config, now: Nanos) -> None:
        """A later configuration than the known one was decided: it is the one to move on from, unless it is only being installed:
        one member that has entered might be cut off before it has given the others what it has."""
        installing = self.stage == "install" and config == self.following
        if config.number <= self.known.number or self.over or installing:
            return
        self._move_on(config, now)

    def _move_on(self, config: Config, now: Nanos) -> None:
        self.known = config
        self._accepted = self.following = None
        self._acceptors, self._lacking, self._copied = set(), set(), set()
        self._copying = False
        self._go("prepare", now)

    def _count(self, source: NodeId, now: Nanos) -> None:
        self._answered.add(source)
        self._enough(now)

    def _enough(self, now: Nanos) -> None:
        """On to the next stage, if those who have answered are enough for it."""
        count, following = len(self._answered), self.following
        match self.stage:
            case "prepare" if count >= self.known.majority:
                self._propose(now)
            case "accept" if count >= self.known.majority and self._outlasted(now):
                self._go("install", now)
            case "install" if following is not None and count >= following.majority:
                self._installed(following, now)

    def _outlasted(self, now: Nanos) -> bool:
        """Whether no member answers alone any more; a majority has accepted."""
        return all(node in self._answered or now >= self._outlasted_at.get(node, now) for node in _nodes(self.known))

    def _propose(self, now: Nanos) -> None:
        """A majority has promised."""
        if self._accepted is not None:
            self.following = self._accepted[1]
            self._go("accept", now)
            return
        members, all_promise = self._members(now - FRESH), len(self._answered) == len(self.known.members)
        all_here = len(members) == len(self._wanted)
        if now < self._patient_until and not (all_promise and all_here):
            return
        if not all_here and (now - self._began_at < WHOLE or len(members) <= len(self._wanted) // 2):
            return
        if members == self.known.members and all_promise:
            self.stage = "done"  # nothing to change; whoever is silent might be sealed, and the same members anew would mend that
            return
        if self._heavy and now - self._began_at < COPYING:
            if not self._copying:
                self._copying = True
                self._have_copied()
            if not all(one.node in self._copied for one in members):
                return
        self.following = Config(self.known.number + 1, members)
        self._go("accept", now)

    def _have_copied(self) -> None:
        givers = tuple(node for node in _nodes(self.known) if node in self._answered)
        for node in self._greeted:
            if node not in self._copied:
                self._send(node, Copy(self.known.number + 1, givers, self.known.majority))

    def _members(self, since: Nanos) -> tuple[Peer, ...]:
        """Of those wanted, who has been heard since then."""
        found = [self._greeted[node] for node in self._wanted if node in self._greeted]
        lately = [peer for peer, at in found if at >= since]
        first = lately[:1] if self._led else []
        return (*first, *sorted(peer for peer in lately if peer not in first))

    def _installed(self, following: Config, now: Nanos) -> None:
        for node in _nodes(self.known):
            if not following.has(node):
                self._send(node, Retire(following))
        if following.members == self._members(self._began_at):
            self.stage = "done"
            return
        self._move_on(following, now)  # it was another's decision, or a member restarted meanwhile


def _nodes(config: Config) -> tuple[NodeId, ...]:
    return tuple(one.node for one in config.members)
