"""Pastry, as it came to be run: prefix routing over a ring, kept by the rules of MSPastry and Bamboo.

The tables and the rule of routing (`pastry_table`) are those of Rowstron and Druschel, Middleware 2001, with b = 4, L = 16 and a
neighbourhood set of 16; L grows where an application has so many replicas that its holders would not all know each other. A key
is held by the m numerically closest nodes; who knows them all sends a request to the nearest of them.

    join     Seek(join) to one's own identifier by way of a seed; each node on the way adds a row of its routing table, the
             closest one answers with its leaf set --> every node named is asked itself before it goes into a table
             --> all leaves have answered: joined
    leaf     two nodes exchange their leaf sets: whoever comes into one, and each second round one of them by chance, since
             exchanges at every change make bad times worse (Bamboo: Rhea and others, "Handling churn in a DHT", USENIX 2004)
    beat     each round to the left neighbour, which is missed by both sides (MSPastry: Castro, Costa and Rowstron, "Performance
             and dependability of structured peer-to-peer overlays", DSN 2004); the answer names who else came between the two
    gone     a neighbour that was found silent is told of to all leaves, who ask it themselves before they believe it (MSPastry)
    row      an entry is asked for the row that it has in common with this node: it shows that it lives, and names others for the
             same places. Who has not been heard for longest is asked; so often that one entry in twenty is dead, by the failures
             this node has seen (MSPastry's self-tuning), but at most CHECKS a round. A place whose node is gone is filled by
             such a question, too (lazy repair)
    near     the same of the neighbourhood set and the first row of a node near by (of Pastry's second stage of joining)

Proximity: of the candidates for a place the one with the shortest measured round trip; hearsay is measured, at most PROBES a
round and a number at first (constrained gossip). Silence of a next hop takes it from all tables at once, but nobody is told
before it has not answered three questions either.

Added: each node seeks its own identifier now and then by way of a seed or another node, and so finds islands that were cut off
(FreePastry has a protocol for that, too); who leaves in peace tells its leaves. Left out: Pastry's search for a near seed (three
are known, and a row's gossip makes up for it), and the randomised routing against malicious nodes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from math import ceil
from typing import Final, NamedTuple

from opus_node.baselines.ids import DIGITS, SPACE, Identifier, around, clockwise, of_app, of_node
from opus_node.baselines.overlay import Overlay
from opus_node.baselines.pastry_table import LEAVES, Table
from opus_node.baselines.peers import Peers
from opus_node.core.context import Context
from opus_node.core.messages import Ask, News, Seek, Told
from opus_node.core.types import SECOND, Nanos, NodeId

UPKEEP: Final[Nanos] = 5 * SECOND
"""A round. MSPastry beats every 30 s, for sessions of hours; Bamboo's rounds, for sessions of minutes, are about this."""
MARGIN: Final = 3
"""Leaves on each side beyond an application's replicas."""
JOIN_AGAIN: Final[Nanos] = 2 * SECOND
LEAF, ROW, NEAR, BEAT, GONE = "leaf", "row", "near", "beat", "gone"
JOIN, FIND = "join", "find"
LEFT: Final = "left"
GATHERED: Final = 64
"""Nodes that a join brings back besides a leaf set: what fits a datagram."""
MOST_HOPS: Final = 2 * DIGITS
BURIED_FOR: Final[Nanos] = 30 * SECOND
"""For which hearsay of a node that was found dead, or has left, is not believed; a question of its own ends it."""
PROBES: Final = 4
"""Round trips measured in a round to see whether somebody is nearer than who has the place ..."""
PROBES_AT_FIRST: Final = 32
BETTER: Final = 0.9
"""... by so much; otherwise two that are as near take turns."""
EXCHANGES: Final = 6
"""Of leaf sets, at a time: where hundreds boot at once, most who seem to be leaves are not for long."""
CHECKS: Final = 8
LONGEST_CHECK: Final = 48
"""Rounds in which everybody in a table is asked at least once, if nobody ever fails."""
STALE: Final = 0.05
"""Share of the entries that may be dead."""
FAILURES: Final = 16
"""The latest ones, from which the rate is estimated."""
EXCHANGE_EVERY, NEAR_EVERY, FIND_EVERY = 2, 4, 6
YOUNG: Final = 3
"""Rounds in which a node seeks its identifier each time: others who boot with it find their place, too."""


class Suspect(NamedTuple):
    """Where a silent node stood in the tables."""

    leaf: bool
    neighbour: bool
    row: int


class Pastry(Overlay):
    def __init__(self, ctx: Context, peers: Peers, changed: Callable[[], None]) -> None:
        super().__init__(ctx, peers, changed)
        self._copies = {of_app(app.name): app.replicas for app in ctx.config.apps}
        most = max(self._copies.values(), default=0)
        self._table = Table(ctx.me, max(ctx.config.neighbours or LEAVES, 2 * (most + MARGIN)))
        self._round: Nanos = ctx.config.upkeep or UPKEEP
        self._rounds = 0
        self._seeds: tuple[NodeId, ...] = ()
        self._answered = False
        """Somebody has told this node where it belongs."""
        self._joined = False
        self._left = False
        self._asked: dict[NodeId, bool] = {}
        """Who is being asked whether it lives, and whether for its leaf set ..."""
        self._waiting: dict[NodeId, None] = {}
        """... which these are asked for when there is room ..."""
        self._filling: dict[tuple[int, int], NodeId] = {}
        """... and who for an empty place of the routing table."""
        self._heard: dict[NodeId, Nanos] = {}
        """When each node of the tables last showed that it lives."""
        self._suspects: dict[NodeId, Suspect] = {}
        self._rumours: dict[NodeId, None] = {}
        """Nodes that others have said are gone, who have told everybody else as well."""
        self._buried: dict[NodeId, Nanos] = {}
        """Until when."""
        self._failures: deque[Nanos] = deque(maxlen=FAILURES)
        self._probes = PROBES_AT_FIRST

    # Joining

    def boot(self, seeds: Sequence[NodeId]) -> None:
        self._seeds = tuple(seeds)
        self._joined = not seeds
        self._failures.append(self.ctx.now)
        self.ctx.timers.at(self.ctx.now + self.ctx.jitter(self._round, 0.2, 1.0), self._tick)
        self._join(None)

    def _join(self, _: object) -> None:
        if self._joined or self._left:
            return
        seed = self.ctx.rng.choice(self._seeds)
        if not self._answered:
            self.peers.ask(seed, NEAR, self._told)
            self.peers.seek(seed, JOIN, self._table.at, self._placed)
        self.ctx.timers.at(self.ctx.now + self.ctx.jitter(JOIN_AGAIN), self._join)
        self._settle()

    def _placed(self, source: NodeId, told: Told) -> None:
        self._answered = True
        self._told(source, told)

    def _settle(self) -> None:
        """Joined, once all have answered who may be leaves."""
        if self._answered and not self._joined and not self._waiting and not any(self._asked.values()):
            self._joined = True
            self.changed()

    def seek(self, source: NodeId, message: Seek) -> None:
        """On to the next hop, or its origin is told the leaves of this node, the closest to the key but the origin itself."""
        if message.hops > MOST_HOPS or message.origin == self.ctx.me or message.what not in (JOIN, FIND):
            return
        if message.what == JOIN:
            gathered = dict.fromkeys((*message.nodes, self.ctx.me, *self._rows(message)))
            gathered.pop(message.origin, None)
            message = replace(message, nodes=tuple(gathered)[:GATHERED])
        self._pass_on(message)

    def _rows(self, message: Seek) -> list[NodeId]:
        """The row in which this node and the origin differ; the first on the way gives those above it, too."""
        row, _ = self._table.slot(message.origin)
        first = 0 if message.hops == 1 else row
        return [node for k in range(row, first - 1, -1) for node in self._table.rows[k].values()]

    def _pass_on(self, message: Seek) -> None:
        ways = self._table.ways(message.key, (message.origin, self.ctx.me), 1)
        if not ways:
            leaves = tuple(node for node in self._table.leaves() if node != message.origin)
            self.ctx.send(message.origin, Told(message.nonce, message.nodes, leaves, True))
            return
        self.ctx.send(ways[0], replace(message, hops=message.hops + 1))
        if self.ctx.now - self._heard.get(ways[0], 0) > self._round:
            self.peers.ask(ways[0], "", self._there, lambda node: self._astray(node, message))

    def _astray(self, node: NodeId, message: Seek) -> None:
        """Who was to pass it on is dead: by another way."""
        self._gone(node)
        self._pass_on(message)

    # Others: met, heard of, silent

    def heard(self, node: NodeId) -> None:
        if node in self._heard:
            self._heard[node] = self.ctx.now
        elif node != self.ctx.me:
            self._meet(node)

    def _meet(self, node: NodeId) -> bool:
        """`node` is there, as it has just shown: it goes where it fits. Whether it has become an entry of the routing table, or
        the nearest of all."""
        if node in self._buried:
            return False
        table, near, fresh = self._table, False, False
        self._suspects.pop(node, None)
        occupant = table.occupant(node)
        if occupant is None or (occupant != node and self._nearer(node, occupant)):
            table.put(node)
            fresh = True
        if self.ctx.config.proximity and self.peers.known(node):
            near = table.add_near(node, self.peers.delay(node)) and table.near[0][1] == node
        if table.add_leaf(node):
            self.changed()
        self._heard[node] = self.ctx.now
        return fresh or near

    def _nearer(self, node: NodeId, other: NodeId) -> bool:
        return self.ctx.config.proximity and self.peers.known(node) and self.peers.delay(node) < BETTER * self.peers.delay(other)

    def _consider(self, nodes: Iterable[NodeId]) -> None:
        """Hearsay: those of `nodes` that may stand in a table are asked themselves."""
        table, me = self._table, self.ctx.me
        fresh = [node for node in nodes if node != me and node not in self._asked and node not in self._buried]
        self._waiting.update(dict.fromkeys(table.wanted_leaves(fresh)))
        self._exchange_next()
        for node in fresh:
            if node in self._asked or table.has(node):
                continue
            occupant, slot = table.occupant(node), table.slot(node)
            if occupant is None:
                if slot not in self._filling:
                    self._filling[slot] = node
                    self._measure(node)
            elif self.ctx.config.proximity and self._probes > 0 and (not self.peers.known(node) or self._wins(node, occupant)):
                self._probes -= 1
                self._measure(node)

    def _wins(self, node: NodeId, occupant: NodeId) -> bool:
        """One measured before: whether it would go into a table."""
        near = self._table.near
        return self._nearer(node, occupant) or not near or self.peers.delay(node) < near[-1][0]

    def _measure(self, node: NodeId) -> None:
        if node not in self._asked:
            self._asked[node] = False
            self.peers.ask(node, "", self._there, self._gone)

    def _exchange_next(self) -> None:
        """With those who may be leaves, the closest first: who is closer often makes others needless."""
        room = EXCHANGES - sum(self._asked.values())
        if room <= 0 or not self._waiting:
            return
        at = self._table.at
        waiting = [node for node in self._waiting if node not in self._asked and node not in self._buried]
        wanted = sorted(self._table.wanted_leaves(waiting), key=lambda node: (around(of_node(node), at), node))
        self._waiting = dict.fromkeys(wanted[room:])
        for node in wanted[:room]:
            self._exchange(node)

    def _exchange(self, node: NodeId) -> None:
        """Leaf sets."""
        if node not in self._asked:
            self._asked[node] = True
            self.peers.ask(node, LEAF, self._exchanged, self._gone, nodes=tuple(self._table.leaves()))

    def _exchanged(self, source: NodeId, told: Told) -> None:
        self._told(source, told)
        self._doubt(source, told.nodes)

    def _doubt(self, source: NodeId, leaves: Sequence[NodeId]) -> None:
        """Leaves of this node that lie between those of `source`, from its first to its last, but are none of them: it may have
        found them dead."""
        if not leaves:
            return
        first = of_node(leaves[0])
        span = clockwise(first, of_node(source)) + clockwise(of_node(source), of_node(leaves[-1]))
        for node in self._table.leaves():
            if node != source and node not in leaves and clockwise(first, of_node(node)) < span:
                self._measure(node)

    def _answered_for(self, node: NodeId) -> None:
        """Whether it lives is known."""
        self._asked.pop(node, None)
        slot = self._table.slot(node)
        if self._filling.get(slot) == node:
            del self._filling[slot]

    def _there(self, node: NodeId, told: Told) -> None:
        self._answered_for(node)
        if self._meet(node) and self._probes > 0:  # what it knows is worth knowing, as long as this node learns its surroundings
            self._probes -= 1
            row, _ = self._table.slot(node)
            nearest = self._table.near and self._table.near[0][1] == node
            self.peers.ask(node, NEAR if nearest else ROW, self._told, self._gone, key=row)
        self._exchange_next()
        self._settle()

    def _told(self, source: NodeId, told: Told) -> None:
        """It lives, and has named others."""
        self._there(source, told)
        self._consider(dict.fromkeys((*told.more, *told.nodes)))
        self._settle()

    def silent(self, node: NodeId) -> None:
        """One lost message is no proof: it is asked before anybody is told, but until then nothing goes by it."""
        if self._table.has(node):
            self._take_out(node)
            self._measure(node)

    def _take_out(self, node: NodeId) -> None:
        table = self._table
        if not table.has(node):
            return
        neighbours = [side[0][1] for side in (table.before, table.after) if side]
        row, _ = table.slot(node)
        self._heard.pop(node, None)
        leaf = table.remove(node)
        self._suspects[node] = Suspect(leaf, node in neighbours, row)
        if leaf:
            self.changed()

    def _gone(self, node: NodeId) -> None:
        """It has not answered, not even the third time."""
        self._answered_for(node)
        self._take_out(node)
        self._buried[node] = self.ctx.now + BURIED_FOR
        suspect, rumour = self._suspects.pop(node, None), node in self._rumours
        self._rumours.pop(node, None)
        if suspect is not None:
            self._failures.append(self.ctx.now)
            self._mend(suspect.row)
            if suspect.leaf:
                self._repair(node)
            if suspect.neighbour and not rumour:
                for leaf in self._table.leaves():
                    self.peers.ask(leaf, GONE, self._there, self._gone, nodes=(node,))
        self._exchange_next()
        self._settle()

    def _mend(self, row: int) -> None:
        """Somebody in the row, or the next below that is not empty, may know another node for the place."""
        for entries in self._table.rows[row:]:
            if entries:
                self.peers.ask(self.ctx.rng.choice(list(entries.values())), ROW, self._told, self._gone, key=row)
                return

    def _repair(self, node: NodeId) -> None:
        """The paper's: the farthest leaf on the side of the one that is gone knows who comes next; if none is left, anybody."""
        table = self._table
        side = table.after if clockwise(table.at, of_node(node)) < SPACE // 2 else table.before
        if side:
            self._exchange(side[-1][1])
        self._consider(table.nodes())

    # Rounds

    def _tick(self, _: object) -> None:
        ctx, table = self.ctx, self._table
        if self._left:
            return
        ctx.timers.at(ctx.now + ctx.jitter(self._round, 0.95, 1.05), self._tick)
        self._rounds += 1
        self._probes = max(self._probes, PROBES)
        self._buried = {node: until for node, until in self._buried.items() if until > ctx.now}
        self._heard = {node: self._heard.get(node, 0) for node in table.nodes()}
        leaves = table.leaves()
        if not leaves or self._rounds <= YOUNG or self._rounds % FIND_EVERY == 0:
            self._find()
        if not leaves:
            return
        self._beat()
        self._check()
        self._even_out(leaves)
        if self._rounds % NEAR_EVERY == 0 and table.near:
            self.peers.ask(ctx.rng.choice(table.near)[1], NEAR, self._told, self._gone)

    def _even_out(self, leaves: list[NodeId]) -> None:
        """Leaf sets, with anybody; but a side that lacks somebody asks its last one, in each round; without any, the other's."""
        table = self._table
        for side, other in ((table.before, table.after), (table.after, table.before)):
            if len(side) < table.half and not table.whole:
                self._exchange((side or other)[-1][1])
        if self._rounds % EXCHANGE_EVERY == 0:
            self._exchange(self.ctx.rng.choice(leaves))

    def _find(self) -> None:
        """Whoever is the closest to this node in another's eyes should know it."""
        known = list(dict.fromkeys((*self._seeds, *self._table.nodes())))
        if known and self._joined:
            self.peers.seek(self.ctx.rng.choice(known), FIND, self._table.at, self._told)

    def _beat(self) -> None:
        before, after = self._table.before, self._table.after
        left, right = (before[0] if before else after[-1])[1], (after[0] if after else before[-1])[1]
        self.peers.ask(left, BEAT, self._told, self._gone)
        if right != left and self.ctx.now - self._heard.get(right, 0) > 2 * self._round:
            self._measure(right)

    def _check(self) -> None:
        """Ask those who have not been heard for longest for the row that they and this node have in common."""
        since = self.ctx.now - self._check_span()
        late = [(heard_at, node) for node, heard_at in self._heard.items() if heard_at <= since and node not in self._asked]
        for _, node in sorted(late)[:CHECKS]:
            if self._table.has(node):
                row, _ = self._table.slot(node)
                self._asked[node] = False
                self.peers.ask(node, ROW, self._told, self._gone, key=row)

    def _check_span(self) -> Nanos:
        """How long an entry may be silent before it is asked: the chance that one is dead, asked every T, is about T/2 times the
        rate at which nodes fail."""
        failures = len(self._failures) - 1
        if failures < 1:
            return LONGEST_CHECK * self._round
        watched = len(self._heard) * (self.ctx.now - self._failures[0])
        return min(LONGEST_CHECK * self._round, ceil(2 * STALE * watched / failures))

    # Questions

    def answer(self, source: NodeId, ask: Ask) -> Told | None:
        if self._left:
            return None
        self._buried.pop(source, None)
        self._meet(source)
        table = self._table
        if ask.what == LEAF:
            leaves = tuple(table.leaves())
            self._consider(ask.nodes)
            return Told(ask.nonce, leaves)
        if ask.what == ROW and 0 <= ask.key < DIGITS:
            return Told(ask.nonce, tuple(node for node in table.rows[ask.key].values() if node != source))
        if ask.what == NEAR:
            return Told(ask.nonce, tuple(node for _, node in table.near), tuple(table.rows[0].values()))
        if ask.what == BEAT:
            return Told(ask.nonce, tuple(node for _, node in table.after[:1]))
        if ask.what == GONE:
            for node in ask.nodes:
                if table.has(node):
                    self._rumours[node] = None
                    self._measure(node)
            return Told(ask.nonce)
        return None

    def news(self, source: NodeId, message: News) -> None:
        if message.what == LEFT:
            self._rumours[source] = None
            self._gone(source)

    def leave(self) -> None:
        self._left = True
        for node in self._table.leaves():
            self.ctx.send(node, News(LEFT))

    # Where requests go

    def holders(self, key: Identifier, count: int) -> tuple[NodeId, ...]:
        return self._table.holders(key, count) if self._joined else ()

    def ways(self, key: Identifier, without: Collection[NodeId], most: int) -> list[NodeId]:
        """Holders, if all are known here, the nearest first; otherwise by the tables."""
        holders = self.holders(key, self._copies.get(key, 1))
        if holders and self.ctx.me not in holders:
            found = [node for node in holders if node not in without]
            return sorted(found, key=lambda node: (self.peers.delay(node), node))[:most]
        found = self._table.ways(key, without, most)
        if found or self._joined:
            return found
        known = [node for node in dict.fromkeys((*self._table.nodes(), *self._seeds)) if node not in without]
        return sorted(known, key=lambda node: (around(of_node(node), key), node))[:most]

    def entries(self) -> int:
        return self._table.entries()
