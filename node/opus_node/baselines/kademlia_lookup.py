"""Kademlia's lookup: of the nodes nearest to a key that are known, ALPHA are asked at a time for nearer ones, until the nearest
have all answered.

    fresh --asked--> told
          --asked--> slow (its turn is another's; welcome when it answers after all) --> told or silent

A search for holders ends with the first answer of a node that can tell them, as FIND_VALUE ends at the first node with the value.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable
from typing import Final

from opus_node.baselines.ids import Identifier, of_node
from opus_node.baselines.kademlia_table import Table
from opus_node.baselines.peers import Peers
from opus_node.core.context import Context
from opus_node.core.messages import Told
from opus_node.core.types import Nanos, NodeId

ALPHA: Final = 3
FRESH, ASKED, SLOW, ANSWERED, SILENT = range(5)
Done = Callable[[tuple[NodeId, ...], int], None]
"""Holders, or those nearest that have answered, and in how many hops they were found."""
Ask = Callable[[NodeId, Callable[[NodeId, Told], None], Callable[[NodeId], None]], None]


class Shortlist:
    """The candidates of one search, by their distance from the key."""

    __slots__ = ("_delay", "_key", "_need", "_ranked", "_reach", "depths", "states")

    def __init__(self, key: Identifier, need: int, reach: int = 0, delay: Callable[[NodeId], Nanos] | None = None) -> None:
        """`need` nearest are to answer. Those less than `reach` away serve alike: of them the least `delay` first."""
        self._key = key
        self._need = need
        self._reach = reach
        self._delay = delay
        self._ranked: list[tuple[int, Nanos, NodeId]] = []
        self.states: dict[NodeId, int] = {}
        self.depths: dict[NodeId, int] = {}
        """In how many hops each is asked: 1 for those that the searching node knew."""

    def add(self, nodes: Iterable[NodeId], depth: int) -> None:
        for node in nodes:
            if node not in self.states:
                self.states[node], self.depths[node] = FRESH, depth
                distance = of_node(node) ^ self._key
                if self._delay is not None and distance < self._reach:
                    insort(self._ranked, (0, self._delay(node), node))
                else:
                    insort(self._ranked, (distance, 0, node))

    def next(self) -> NodeId | None:
        """Whom to ask now: the first fresh one of the nearest, those left out that are slow or silent."""
        nearest = 0
        for *_, node in self._ranked:
            state = self.states[node]
            if state == FRESH:
                return node
            nearest += state in (ASKED, ANSWERED)
            if nearest >= self._need:
                break
        return None

    def over(self) -> bool:
        """Whether the nearest have answered, once there is nobody to ask. Who is slow is waited for only if nobody has."""
        nearest = 0
        for *_, node in self._ranked:
            state = self.states[node]
            if state == ASKED:
                return False
            nearest += state == ANSWERED
            if nearest >= self._need:
                return True
        return nearest > 0 or SLOW not in self.states.values()

    def answered(self, count: int) -> tuple[NodeId, ...]:
        """The nearest that have."""
        answered = [node for *_, node in self._ranked if self.states[node] == ANSWERED]
        return tuple(sorted(answered, key=lambda node: of_node(node) ^ self._key)[:count])


class Lookup:
    """One search, from `start` to `done`, which is called once."""

    __slots__ = ("_ask", "_ctx", "_done", "_ended", "_flying", "_list", "_peers", "_usable")

    def __init__(
        self,
        ctx: Context,
        peers: Peers,
        key: Identifier,
        need: int,
        reach: int,
        ask: Ask,
        usable: Callable[[NodeId], bool],
        done: Done,
    ) -> None:
        """`usable(node)`: whether it may be alive, and is another one."""
        self._ctx = ctx
        self._peers = peers
        self._ask = ask
        self._usable = usable
        self._done = done
        self._list = Shortlist(key, need, reach, peers.delay)
        self._flying = 0
        """Asked, and not slow yet."""
        self._ended = False

    def start(self, nodes: Iterable[NodeId]) -> None:
        self._list.add(nodes, 1)
        self._go_on()

    def _go_on(self) -> None:
        if self._ended:
            return
        shortlist = self._list
        node = shortlist.next()
        while node is not None and self._flying < ALPHA:
            shortlist.states[node] = ASKED
            self._flying += 1
            wait = self._ctx.patience(self._peers.rtt(node), ahead=True)
            self._ctx.timers.at(self._ctx.now + wait, self._late, node)
            self._ask(node, self._told, self._silent)
            node = shortlist.next()
        if node is None and shortlist.over():
            answered = shortlist.answered(1 << 30)
            self._end(answered, max((shortlist.depths[one] for one in answered[:1]), default=0))

    def _end(self, nodes: tuple[NodeId, ...], depth: int) -> None:
        self._ended = True
        self._done(nodes, depth)

    def _late(self, node: NodeId) -> None:
        if self._list.states[node] == ASKED:
            self._list.states[node] = SLOW
            self._flying -= 1
            self._go_on()

    def _leaves(self, node: NodeId, state: int) -> None:
        self._flying -= self._list.states[node] == ASKED
        self._list.states[node] = state

    def _told(self, node: NodeId, told: Told) -> None:
        self._leaves(node, ANSWERED)
        if self._ended:
            return
        nodes = [one for one in told.nodes if self._usable(one)]
        depth = self._list.depths[node]
        if told.final and nodes:
            self._end(tuple(nodes), depth)
            return
        self._list.add(nodes, depth + 1)
        self._go_on()

    def _silent(self, node: NodeId) -> None:
        self._leaves(node, SILENT)
        self._go_on()


def walk(start: Table, key: Identifier, count: int, table_of: Callable[[NodeId], Table]) -> tuple[list[NodeId], int, int]:
    """A search for the `count` holders of `key` among tables at rest, ALPHA asked in each round: (holders, hops of the search,
    nodes asked); no hops where `start` can tell by itself. The same rules as a live search whose answers take equally long."""
    found = start.holders(key, count)
    if found:
        return found, 0, 0
    shortlist, asked = Shortlist(key, start.k), 0
    shortlist.add(start.closest(key, start.k), 1)
    while True:
        batch: list[NodeId] = []
        while len(batch) < ALPHA and (node := shortlist.next()) is not None:
            shortlist.states[node] = ASKED
            batch.append(node)
        if not batch:
            nearest = shortlist.answered(count)
            return list(nearest), shortlist.depths[nearest[0]] if nearest else 0, asked
        asked += len(batch)
        for node in batch:
            table, depth = table_of(node), shortlist.depths[node]
            if found := table.holders(key, count):
                return found, depth, asked
            shortlist.states[node] = ANSWERED
            shortlist.add((one for one in table.closest(key, table.k) if one != start.me), depth + 1)
