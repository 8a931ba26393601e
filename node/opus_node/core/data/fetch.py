"""A new member's part: it gets what the last configuration's members hold, a page at a time, from all of those at once.

Whoever has accepted the next configuration is sealed: what it holds changes no more. A majority of them together hold all that
any acknowledged operation has left; so does any one member that has entered already. Pages come in the order in which their
holder came by its cells, so one that is lost is asked for again by how far the last one went.
"""

from __future__ import annotations

from collections.abc import Callable

from opus_node.core.data.cells import Answer, Config, Fetch, Install, Installed, Part, Peer
from opus_node.core.data.holder import Holder
from opus_node.core.data.store import Store
from opus_node.core.types import MILLISECOND, Nanos, NodeId

AGAIN: Nanos = 400 * MILLISECOND


class _Entry:
    """Into one configuration."""

    __slots__ = ("config", "got", "inside", "known", "movers", "quorum", "store", "whole")

    def __init__(self, config: Config) -> None:
        self.config = config
        self.quorum = 0
        """So many of the last configuration's members have to give all; 0: nobody has said how many."""
        self.inside = False
        """Whether one has who is in this one."""
        self.got: dict[NodeId, tuple[int, Nanos]] = {}
        """Of each who gives: how many of its cells are here, and when it was asked for the next."""
        self.known: dict[Peer, int] = {}
        """The same, by who it is in which life."""
        self.whole: set[NodeId] = set()
        """Who has given all."""
        self.store = Store()
        self.movers: set[NodeId] = set()
        """Who wants to hear that it has entered."""


class Newcomer:
    __slots__ = ("_entered", "_entries", "_holder", "_send")

    def __init__(self, holder: Holder, send: Callable[[NodeId, Fetch | Installed], None], entered: Callable[[], None]) -> None:
        """`send` brings a question, or an answer, to another node, perhaps to this one; `entered` hears when it is a member."""
        self._holder = holder
        self._send = send
        self._entered = entered
        self._entries: dict[int, _Entry] = {}
        """By number. Several: before it can enter one, that may need it in the one before, which it has not entered either."""

    def install(self, source: NodeId, question: Install, now: Nanos) -> Answer | None:
        """None: it will be answered when all is here."""
        config = question.config
        answer = self._holder.install(config)
        if answer is not None:
            return answer
        entry = self._entries.setdefault(config.number, _Entry(config))
        entry.quorum = question.quorum or entry.quorum
        entry.movers.add(source)
        for node in question.givers:
            if node == self._holder.me.node and self._holder.sealed_before(config):
                entry.whole.add(node)  # what it holds stays where it is
            elif node not in entry.got or node in entry.whole:  # it may have entered meanwhile
                self._ask(entry, node, entry.got.get(node, (0, now))[0], now)
        self._enter_if_whole(entry)
        return None

    def on(self, source: NodeId, part: Part, now: Nanos) -> None:
        entry = self._entries.get(part.number)
        if entry is None or source not in entry.got:
            return
        for key, cell in part.cells.items():
            entry.store.take(key, cell)
        entry.known[part.giver] = max(part.count, entry.known.get(part.giver, 0))
        if not part.last:
            self._ask(entry, source, part.count, now)
            return
        entry.got[source] = (part.count, now)
        entry.whole.add(source)
        entry.inside = entry.inside or part.inside
        self._enter_if_whole(entry)

    def elsewhere(self, config: Config) -> None:
        """What came after is known: whoever was to enter before that need not."""
        for number in [number for number in self._entries if number < config.number]:
            del self._entries[number]

    def tick(self, now: Nanos) -> None:
        for entry in list(self._entries.values()):
            if self._holder.install(entry.config) is not None:
                del self._entries[entry.config.number]  # it has gone on without it
                continue
            for node, (count, at) in list(entry.got.items()):
                if node not in entry.whole and now - at >= AGAIN:
                    self._ask(entry, node, count, now)

    def next_at(self) -> Nanos | None:
        """When `tick` is next worth calling."""
        times = [at + AGAIN for one in self._entries.values() for node, (_, at) in one.got.items() if node not in one.whole]
        return min(times, default=None)

    def _ask(self, entry: _Entry, node: NodeId, count: int, now: Nanos) -> None:
        entry.got[node] = (count, now)
        self._send(node, Fetch(entry.config.number, count))

    def _enter_if_whole(self, entry: _Entry) -> None:
        config = entry.config
        enough = entry.inside or 0 < entry.quorum <= len(entry.whole)
        if not enough or self._holder.install(config) is not None:
            return
        del self._entries[config.number]
        self.elsewhere(config)
        self._holder.enter(config, entry.store.cells, entry.known)
        self._entered()
        for node in sorted(entry.movers):
            self._send(node, Installed(config.number))
