"""Which members hold which shard of an application's keys: a table, from a table before it and from what is asked for where.

    key --hash--> shard --table--> its holders, each a member

Of a shard with r requests/s, where the mean copy of a shard gets a:

    copies     as many as wanted at least, or so many that each gets about 2 a, up to all members. They are given back only
               once one fewer would still get less than a each: what is between is left alone
    domains    no two holders in one failure domain while there is another one in which somebody has less than twice its part by
               capacity (two domains at least, whatever that weighs)
    load       no member has more than 1.25 times its part, while others have room
    near       of those that are equal so far, who saves the shard's clients most; then who is loaded least; then by hashing

What is, stays: holders that are lost are replaced, a shard in too few domains is spread, who is overloaded gives some up, who has
come empty gets some, and a few shards are brought nearer to their clients where that saves a fifth of their delay. In one step a
shard keeps at least one holder that has its data, if any is left.

Bounded: with S shards of c copies a table has 2 S c + S holders at most, since copies wanted beyond c get at least a each.

Sources: rendezvous hashing (Thaler, Ravishankar, 1998); *Consistent hashing with bounded loads* (Mirrokni, Thorup, Zadimoghaddam,
2016) for the bound on load; greedy by marginal gain, as `kmedian`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from opus_node.core.messages import ReplicaSet
from opus_node.core.types import AppId, NodeId

Table = tuple[tuple[NodeId, ...], ...]
"""By shard, who holds it."""

SLACK = 1.25
"""Of its part by capacity, what a member holds at most."""
DOUBLE = 2.0
"""The same for a domain of which there are few members: where all have so much, shards go to other members twice in a domain."""
LEAST = 0.5
"""... and at least, so that who comes empty takes its part; less would leave it idle, more would move more."""
HOT = 2.0
"""A copy may get so many times what the mean copy gets before another one is made ..."""
COOL = 1.0
"""... and one is given back if without it none would get more than this many times that."""
NOTABLE = 1.0
"""Requests/s: a shard that is asked for less is not worth another copy."""
NEARER = 0.8
"""A holder is moved if all delay of its shard becomes less than this share of what it was."""
PACE = 8
"""A part of all shards, one in so many, is brought nearer at a time."""


@lru_cache(maxsize=1 << 14)
def shard_of(key: int | str, shards: int) -> int:
    """0 to `shards` - 1: the same everywhere."""
    return int.from_bytes(hashlib.blake2b(str(key).encode(), digest_size=8).digest(), "big") % shards


@lru_cache(maxsize=1 << 15)
def _score(app: AppId, shard: int, node: NodeId) -> int:
    return int.from_bytes(hashlib.blake2b(f"{app}|{shard}|{node}".encode(), digest_size=8).digest(), "big")


# As it travels with the replica set


def packed(table: Table, members: Sequence[NodeId]) -> tuple[int, ...]:
    """Of each shard how many hold it, and their positions among the members."""
    position = {node: i for i, node in enumerate(members)}
    return tuple(number for holders in table for number in (len(holders), *(position[node] for node in holders)))


def table_of(told: ReplicaSet, shards: int) -> Table:
    """Of a set; where it says nothing that makes sense of a shard, all members hold it."""
    numbers, at, found = told.holders, 0, []
    for _ in range(shards):
        count = numbers[at] if at < len(numbers) else 0
        holders = tuple(told.members[i] for i in numbers[at + 1 : at + 1 + max(0, count)] if 0 <= i < len(told.members))
        found.append(holders or told.members)
        at += 1 + max(0, count)
    return tuple(found)


# How many copies


def wanted(copies: int, members: int, rates: Sequence[float], before: Sequence[int]) -> tuple[int, ...]:
    """Copies of each shard. `rates`: requests/s by shard; `before`: how many there were, () at first."""
    fewest = min(copies, members)
    mean = sum(rates, 0.0) / (len(rates) * copies) if rates else 0.0
    found = []
    for shard, rate in enumerate(rates):
        most = members if rate >= NOTABLE else fewest
        more = ceil(rate / (HOT * mean)) if mean > 0 else 0
        kept = min(before[shard], ceil(rate / (COOL * mean)) if mean > 0 else 0) if before else 0
        found.append(min(most, max(fewest, more, kept)))
    return tuple(found)


# Who holds them


@dataclass(frozen=True, slots=True)
class Place:
    """A member as this sees it."""

    node: NodeId
    domain: str
    """What fails together has the same."""
    capacity: float = 1.0
    """Relative to other members'."""
    ways: tuple[float, ...] = ()
    """ms from each place with demand."""


def assign(
    app: AppId, places: Sequence[Place], want: Sequence[int], before: Table = (), needs: Sequence[Sequence[float]] = ()
) -> Table:
    """The next table. `want`: copies of each shard; `before`: the table so far, () at first; `needs`: of each shard, requests/s
    by place, as the members' `ways`; () where nothing is known of that."""
    return _Draft(app, places, want, before, needs).table()


def moves(before: Table, after: Table) -> int:
    """Copies that have to be made."""
    return sum(node not in old for old, new in zip(before, after, strict=True) for node in new)


class _Draft:
    def __init__(
        self, app: AppId, places: Sequence[Place], want: Sequence[int], before: Table, needs: Sequence[Sequence[float]]
    ) -> None:
        self._app = app
        places = sorted(places, key=lambda one: one.node)  # sums of floats depend on their order
        self._places = {one.node: one for one in places}
        self._needs = needs
        self._want = [min(count, len(places)) for count in want]
        self._domains = len({one.domain for one in places})
        whole, copies = sum((max(0.01, one.capacity) for one in places), 0.0), sum(self._want)
        self._part = {one.node: copies * max(0.01, one.capacity) / whole for one in places}
        self._most = {node: ceil(SLACK * part) for node, part in self._part.items()}
        kept = before or ((),) * len(want)
        self._double = {node: ceil(DOUBLE * part) for node, part in self._part.items()}
        self._held = [[node for node in holders if node in self._places] for holders in kept]
        self._had = [tuple(holders) for holders in self._held]
        self._load = dict.fromkeys(self._places, 0)
        for holders in self._held:
            for node in holders:
                self._load[node] += 1

    def table(self) -> Table:
        shards = range(len(self._want))
        for shard in shards:
            while len(self._held[shard]) > self._want[shard]:
                self._drop(shard, self._least_missed(shard))
        for shard in sorted(shards, key=lambda shard: (-sum(self._of(shard), 0.0), shard)):
            while len(self._held[shard]) < self._want[shard]:
                self._add(shard, self._best(shard))
        for shard in shards:
            self._spread(shard)
        self._relieve()
        self._feed()
        self._bring_nearer()
        return tuple(map(tuple, self._held))

    # One copy

    def _add(self, shard: int, node: NodeId) -> None:
        self._held[shard].append(node)
        self._load[node] += 1

    def _drop(self, shard: int, node: NodeId) -> None:
        self._held[shard].remove(node)
        self._load[node] -= 1

    def _of(self, shard: int) -> Sequence[float]:
        return self._needs[shard] if self._needs else ()

    def _spread_of(self, holders: Sequence[NodeId]) -> int:
        return len({self._places[node].domain for node in holders})

    def _delay(self, shard: int, holders: Sequence[NodeId]) -> float:
        needs = self._of(shard)
        if not needs or not holders:
            return 0.0
        return sum((rate * min(self._places[node].ways[i] for node in holders) for i, rate in enumerate(needs) if rate > 0), 0.0)

    def _best(self, shard: int) -> NodeId:
        """Who is to hold it as well."""
        held = self._held[shard]
        domains = {self._places[node].domain for node in held}

        def rank(node: NodeId) -> tuple[bool, bool, bool, bool, float, float, int]:
            again = self._places[node].domain in domains
            full, double = self._load[node] >= self._most[node], self._load[node] >= self._double[node]
            delay = round(self._delay(shard, [*held, node]), 6)
            return (
                again and len(domains) < 2,
                double,
                again,
                full,
                delay,
                self._load[node] / self._part[node],
                -_score(self._app, shard, node),
            )

        return min((node for node in self._places if node not in held), key=rank)

    def _least_missed(self, shard: int) -> NodeId:
        """Who need not hold it any more."""
        held = self._held[shard]
        whole = self._spread_of(held)

        def rank(node: NodeId) -> tuple[bool, float, float, int]:
            left = [one for one in held if one != node]
            narrower = self._spread_of(left) < min(whole, len(left))
            return (
                narrower,
                round(self._delay(shard, left), 6),
                -self._load[node] / self._part[node],
                _score(self._app, shard, node),
            )

        return min(held, key=rank)

    def _swap(self, shard: int, old: NodeId, new: NodeId) -> bool:
        """Whether it may, and has: some holder has to be left that has the data, and no domain may be lost."""
        held = self._held[shard]
        left = [node for node in held if node != old]
        if new in held or (self._had[shard] and not any(node in self._had[shard] for node in left)):
            return False
        if self._spread_of([*left, new]) < self._spread_of(held):
            return False
        self._drop(shard, old)
        self._add(shard, new)
        return True

    # What is wrong with the whole

    def _spread(self, shard: int) -> None:
        """Over as many domains as there are copies, as far as there is room."""
        held = self._held[shard]
        while self._spread_of(held) < min(len(held), self._domains):
            domains = [self._places[node].domain for node in held]
            twice = [node for node in held if domains.count(self._places[node].domain) > 1]
            free = [node for node in self._places if self._places[node].domain not in domains]
            must = len(set(domains)) < 2
            free = [node for node in free if must or self._load[node] < self._double[node]]
            free.sort(key=lambda node: (self._load[node] / self._part[node], -_score(self._app, shard, node)))
            twice.sort(key=lambda node: (node in self._had[shard], -self._load[node] / self._part[node], node))
            if not any(self._swap(shard, old, new) for new in free[:1] for old in twice):
                return

    def _relieve(self) -> None:
        """Who has too much gives some to who has room."""
        for node in sorted(self._places, key=lambda node: (-self._load[node] / self._part[node], node)):
            for shard in self._held_by(node):
                if self._load[node] <= self._most[node]:
                    break
                room = (one for one in self._emptiest() if self._load[one] < self._most[one])
                any(self._swap(shard, node, one) for one in room)

    def _feed(self) -> None:
        """Who has too little gets some from who has most."""
        for node in self._emptiest():
            for giver in sorted(self._places, key=lambda one: (-self._load[one] / self._part[one], one)):
                for shard in self._held_by(giver):
                    if self._load[node] + 1 > LEAST * self._part[node] or self._load[giver] <= self._part[giver]:
                        break
                    self._swap(shard, giver, node)

    def _held_by(self, node: NodeId) -> list[int]:
        shards = [shard for shard, held in enumerate(self._held) if node in held]
        return sorted(shards, key=lambda shard: (sum(self._of(shard), 0.0), _score(self._app, shard, node)))

    def _emptiest(self) -> list[NodeId]:
        return sorted(self._places, key=lambda node: (self._load[node] / self._part[node], node))

    def _bring_nearer(self) -> None:
        """A few shards whose clients are elsewhere, those asked for most first: one holder of each."""
        shards = sorted(range(len(self._held)), key=lambda shard: (-sum(self._of(shard), 0.0), shard))
        left = max(1, len(shards) // PACE)
        for shard in shards:
            if not left or not self._of(shard):
                return
            held = self._held[shard]
            now = self._delay(shard, held)
            free = [node for node in self._places if node not in held and self._load[node] < self._most[node]]
            each = [(self._delay(shard, [*(one for one in held if one != old), new]), new, old) for new in free for old in held]
            best = min(each, default=(now, "", ""))
            if best[0] < NEARER * now and self._swap(shard, best[2], best[1]):
                left -= 1


def by_domain(table: Table, domains: Mapping[NodeId, str]) -> tuple[int, ...]:
    """Of each shard, in how many domains it is held."""
    return tuple(len({domains[node] for node in holders}) for holders in table)
