"""A next member's part: it gets what the last configuration's members hold, a page at a time, from all of those at once.

Whoever has accepted the next configuration is sealed: what it holds changes no more. A majority of them together hold all that
any acknowledged operation has left; so does any one member that has entered already. Pages come in the order in which their
holder came by its cells, so one that is lost is asked for again by how far the last one went; and what was copied before a
holder was sealed need not be fetched again after. Members that stay do the same, from what they have of each other already.
"""

from __future__ import annotations

from collections.abc import Callable

from opus_node.core.data.cells import Answer, Config, Copied, Copy, Fetch, Install, Installed, Part, Peer
from opus_node.core.data.holder import Holder
from opus_node.core.data.store import Store
from opus_node.core.types import MILLISECOND, SECOND, Nanos, NodeId

AGAIN: Nanos = 400 * MILLISECOND
FORGET: Nanos = 20 * SECOND
"""What was copied for a configuration that nobody speaks of any more."""


class _Entry:
    """Into one configuration."""

    __slots__ = (
        *("asked", "copiers", "got", "inside", "installed", "installed_at", "lives", "movers", "quorum", "spoken_of_at"),
        *("store", "whole"),
    )

    def __init__(self) -> None:
        self.installed: Config | None = None
        """Once it is decided, which it is."""
        self.installed_at: Nanos = 0
        self.quorum = 0
        """So many of the last configuration's members have to give all; 0: nobody has said how many."""
        self.inside = False
        """Whether one has who is in this one."""
        self.got: dict[NodeId, int] = {}
        """Of each who gives: how many of its cells are here."""
        self.lives: dict[NodeId, Peer] = {}
        """Which life of each that was."""
        self.asked: dict[NodeId, Nanos] = {}
        """Who was asked for the next page, and when."""
        self.whole: set[NodeId] = set()
        """Who has given all, for good."""
        self.store = Store()
        self.movers: set[NodeId] = set()
        """Who wants to hear that it has entered."""
        self.copiers: dict[NodeId, int] = {}
        """Who wants to hear that it has copied what so many hold."""
        self.spoken_of_at: Nanos = 0

    def known(self) -> dict[Peer, int]:
        return {peer: self.got[node] for node, peer in self.lives.items()}


class Newcomer:
    __slots__ = ("_entered", "_entries", "_holder", "_send")

    def __init__(
        self, holder: Holder, send: Callable[[NodeId, Fetch | Installed | Copied], None], entered: Callable[[], None]
    ) -> None:
        """`send` brings a question, or an answer, to another node, perhaps to this one; `entered` hears when it is a member."""
        self._holder = holder
        self._send = send
        self._entered = entered
        self._entries: dict[int, _Entry] = {}
        """By number. Several: before it can enter one, that may need it in the one before, which it has not entered either."""

    def copy(self, source: NodeId, question: Copy, now: Nanos) -> None:
        """Nothing is decided yet."""
        known = self._holder.config
        if known is not None and known.number >= question.number:
            return
        entry = self._entries.setdefault(question.number, _Entry())
        entry.spoken_of_at = now
        entry.copiers[source] = question.quorum
        for node in question.givers:
            if node != self._holder.me.node and node not in entry.got:
                self._ask(question.number, entry, node, now)
        self._tell_copied(question.number, entry)

    def install(self, source: NodeId, question: Install, now: Nanos) -> Answer | None:
        """None: it will be answered when all is here."""
        config = question.config
        answer = self._holder.install(config)
        if answer is not None:
            return answer
        entry = self._entries.setdefault(config.number, _Entry())
        if entry.installed is None:
            entry.installed_at = now
        entry.installed = config
        entry.quorum = question.quorum or entry.quorum
        entry.movers.add(source)
        for node in question.givers:
            if node == self._holder.me.node and self._holder.sealed_before(config):
                entry.whole.add(node)  # what it holds stays where it is
            elif node not in entry.asked:  # who has given all may have entered meanwhile
                self._ask(config.number, entry, node, now)
        self._enter_if_whole(entry)
        return None

    def on(self, source: NodeId, part: Part, now: Nanos) -> None:
        entry = self._entries.get(part.number)
        if entry is None or source not in entry.got:
            return
        for key, cell in part.cells.items():
            entry.store.take(key, cell)
        if entry.lives.setdefault(source, part.giver) != part.giver:
            entry.lives[source], entry.got[source] = part.giver, 0  # it counts anew
            entry.whole.discard(source)
            self._ask(part.number, entry, source, now)
            return
        if part.since > entry.got[source]:
            return  # an answer to what was asked of its former life
        entry.got[source] = max(part.count, entry.got[source])
        if not part.last:
            self._ask(part.number, entry, source, now)
            return
        asked_at = entry.asked.pop(source, now)
        if part.sealed:
            entry.whole.add(source)
            entry.inside = entry.inside or part.inside
        elif entry.installed is not None:
            if asked_at < entry.installed_at:
                self._ask(part.number, entry, source, now)  # its answer was on its way when it was sealed
            else:
                entry.asked[source] = now  # so soon it has nothing else to say
        self._tell_copied(part.number, entry)
        self._enter_if_whole(entry)

    def elsewhere(self, config: Config) -> None:
        """What came after is known: whoever was to enter before that need not."""
        for number in [number for number in self._entries if number < config.number]:
            del self._entries[number]

    def tick(self, now: Nanos) -> None:
        for number, entry in list(self._entries.items()):
            config = entry.installed
            over = config is not None and self._holder.install(config) is not None  # it has gone on without it
            if over or (config is None and now - entry.spoken_of_at >= FORGET):
                del self._entries[number]
                continue
            for node, at in list(entry.asked.items()):
                if now - at >= AGAIN:
                    self._ask(number, entry, node, now)

    def next_at(self) -> Nanos | None:
        """When `tick` is next worth calling."""
        times = [at + AGAIN for one in self._entries.values() for at in one.asked.values()]
        times += [one.spoken_of_at + FORGET for one in self._entries.values() if one.installed is None]
        return min(times, default=None)

    def _ask(self, number: int, entry: _Entry, node: NodeId, now: Nanos) -> None:
        entry.asked[node] = now
        if node not in entry.got:
            entry.got[node] = 0
            config = self._holder.config
            for peer in config.members if config is not None and config.number == number - 1 else ():
                if peer.node == node and peer in self._holder.known:
                    entry.lives[node], entry.got[node] = peer, self._holder.known[peer]
        self._send(node, Fetch(number, entry.got[node]))

    def _tell_copied(self, number: int, entry: _Entry) -> None:
        own = (config := self._holder.config) is not None and config.number == number - 1 and self._holder.is_member
        copied = own + sum(node not in entry.asked for node in entry.got)
        for node in [node for node, quorum in entry.copiers.items() if copied >= quorum]:
            del entry.copiers[node]
            self._send(node, Copied(number))

    def _enter_if_whole(self, entry: _Entry) -> None:
        config = entry.installed
        enough = entry.inside or 0 < entry.quorum <= len(entry.whole)
        if config is None or not enough or self._holder.install(config) is not None:
            return
        del self._entries[config.number]
        self.elsewhere(config)
        self._holder.enter(config, entry.store.cells, entry.known())
        self._entered()
        for node in sorted(entry.movers):
            self._send(node, Installed(config.number))
