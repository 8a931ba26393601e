"""Who should serve: from what agents tell to members, by the policy that the application names.

    best                the least delay for the demand, weighed against unstable and weak hosts (`landscape`, `kmedian`); where
                        a majority has to answer, with its ways (`quorate`)
    nearest-to-demand   nodes nearest to the agents with most demand, one after the other: near, but not well spread
    oldest              age and nothing else
    random              by hashing
    everywhere          all nodes: m = n

All are deterministic, and all have members that live moved where others have come that are better by their measure: the first set
is decided while few nodes are known.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from math import inf

from opus_node.core.kmedian import greedy, placed, substitutes, total
from opus_node.core.landscape import Landscape
from opus_node.core.quorate import Quorate
from opus_node.core.types import BEST, LINEARIZABLE, PRIMARY, AppConfig, AppId, NodeId

NEAREST, OLDEST, RANDOM, EVERYWHERE = "nearest-to-demand", "oldest", "random", "everywhere"
POLICIES = (BEST, NEAREST, OLDEST, RANDOM, EVERYWHERE)

NEXT = 2
"""Who would follow whichever member, where it does not matter which."""

MOVE = 0.1
"""A move must save this share of a member's part of all delay: what it costs is not in the figures."""
MOVE_ROUGHLY = 0.5
"""The same while round trips are only guessed."""
PRESENT = 0.9
"""Another must be better by this factor to become the primary."""
OLDER = 1.25
"""By this factor one must be older than a member to be the older one."""
MORE_ASKED = 1.1
"""... and so much more must be asked for where others would be."""


@lru_cache(maxsize=1 << 14)
def score(app: AppId, node: NodeId) -> int:
    """Rendezvous hashing (Thaler, Ravishankar 1998): the same everywhere, under any PYTHONHASHSEED."""
    return int.from_bytes(hashlib.blake2b(f"{app}|{node}".encode(), digest_size=8).digest(), "big")


def first_of(app: AppId, agents: Iterable[NodeId]) -> NodeId:
    """The agent that should be steward of `app` among those given; empty if there is none."""
    return max(agents, key=lambda node: (score(app, node), node), default="")


def filled(
    config: AppConfig, land: Landscape, count: int, keep: Sequence[NodeId] = (), among: Sequence[NodeId] = ()
) -> tuple[NodeId, ...]:
    """`keep` filled up to `count` members, from `among` if that is not empty, never with who is barred.

    Members that no agent tells of any more count, but nothing is known of where they are.
    """
    keep = keep[:count]
    known = [land.index[node] for node in keep if node in land.index]
    barred = {*land.barred, *(i for i, one in enumerate(land.candidates) if among and one.node not in among)}
    more = count - len(keep)
    if quorate(config):
        return (*keep, *_by_majority(config, land, count, keep, barred))
    if config.policy == BEST:
        added = _by_delay(land, len(known) + more, known, barred)
    else:
        left = [i for i in range(len(land.candidates)) if i not in barred and i not in known]
        added = _ORDERS[config.policy](config.name, land, left, known)[:more]
    return (*keep, *(land.candidates[i].node for i in added))


def quorate(config: AppConfig) -> bool:
    """Whether most operations wait for a majority of the members, and not for the nearest one alone."""
    return config.policy == BEST and config.consistency in (LINEARIZABLE, PRIMARY)


_Search = tuple[Quorate, list[NodeId], list[int]]
"""(search, whom it numbers, those to keep by their numbers)."""


def _search(config: AppConfig, land: Landscape, count: int, keep: Sequence[NodeId], barred: Collection[int]) -> _Search:
    few, ground = land.ground(keep, barred)
    names = [land.candidates[i].node for i in few]
    return Quorate(ground, count, config.consistency == PRIMARY), names, [k for k, name in enumerate(names) if name in keep]


def _by_majority(
    config: AppConfig, land: Landscape, count: int, keep: Sequence[NodeId], barred: Collection[int]
) -> tuple[NodeId, ...]:
    """Those to be added."""
    search, names, kept = _search(config, land, count, keep, barred)
    chosen = search.filled(kept) if kept else search.placed(())
    return tuple(names[k] for k in chosen if k not in kept)[: count - len(keep)]


def crowded(config: AppConfig, land: Landscape, members: Sequence[NodeId]) -> int:
    """Members near each other beyond the most that may be, where a majority has to answer (`quorate`); 0 of those that no agent
    tells of."""
    search, _, kept = _search(config, land, len(members), members, land.barred)
    return search.cost(kept)[0] if kept else 0


def _improved_majority(
    config: AppConfig, land: Landscape, members: Sequence[NodeId], sure: bool
) -> tuple[tuple[NodeId, ...], float]:
    search, names, kept = _search(config, land, len(members), members, land.barred)
    chosen = search.placed(kept, (MOVE if sure else MOVE_ROUGHLY) / len(members))
    (crowded, cost), (before, was) = search.cost(chosen), search.cost(kept)
    saved = 1.0 if crowded < before else 1 - cost / was if 0 < was < inf else 0.0
    moved = {names[k] for k in chosen}
    return (*(one for one in members if one in moved), *(names[k] for k in chosen if k not in kept)), saved


def _by_delay(land: Landscape, count: int, known: list[int], barred: set[int]) -> list[int]:
    """Those to be added."""
    columns, free = land.columns, [0.0] * len(land.columns)
    rough = greedy(columns, count, free, known, barred)
    dues = land.dues(total(columns, rough, free), count)
    chosen = greedy(columns, count, dues, known, barred) if known else placed(columns, count, dues, (), 0.0, barred)
    return chosen[len(known) :]


def improved(
    config: AppConfig, land: Landscape, members: Sequence[NodeId], sure: bool = True
) -> tuple[tuple[NodeId, ...], float]:
    """(members worth changing to, share of all delay and dues that this saves); the same ones and 0 if there are none.

    `sure`: round trips that matter have been measured.
    """
    if config.policy == EVERYWHERE or any(node not in land.index for node in members):
        return tuple(members), 0.0
    current = [land.index[node] for node in members]
    if config.policy != BEST:
        return _reordered(config, land, current)
    if quorate(config):
        return _improved_majority(config, land, members, sure)
    columns = land.columns
    cost = total(columns, current, [0.0] * len(columns))
    dues = land.dues(cost, len(current))
    worth = (MOVE if sure else MOVE_ROUGHLY) * cost / len(current)
    chosen = placed(columns, len(current), dues, current, worth, land.barred)
    before = total(columns, current, dues)
    saved = 1 - total(columns, chosen, dues) / before if before > 0 else 0.0
    return tuple(land.candidates[i].node for i in chosen), saved


def heirs(config: AppConfig, land: Landscape, members: Sequence[NodeId]) -> tuple[NodeId, ...]:
    """Who would be taken in place of one of the members or another, each once; by policies without places, the next few."""
    known = [land.index[node] for node in members if node in land.index]
    if config.policy != BEST or len(known) < len(members):
        return filled(config, land, len(members) + NEXT, members)[len(members) :]
    if quorate(config):
        search, names, kept = _search(config, land, len(members), members, land.barred)
        return tuple(dict.fromkeys(names[k] for k in search.substitutes(kept)))
    columns = land.columns
    dues = land.dues(total(columns, known, [0.0] * len(columns)), len(known))
    return tuple(dict.fromkeys(land.candidates[i].node for i in substitutes(columns, known, dues, land.barred)))


def primary_first(land: Landscape, members: Sequence[NodeId], present: NodeId) -> tuple[NodeId, ...]:
    """The same members, before all others the one that alone would answer everybody soonest; `present`, who is that so far,
    unless another is a good deal better."""
    delays = {node: sum(land.column(node), 0.0) for node in members if node in land.index}
    best = min(sorted(delays), key=lambda node: delays[node] * (PRESENT if node == present else 1.0), default=members[0])
    return (best, *(node for node in members if node != best))


def _reordered(config: AppConfig, land: Landscape, current: list[int]) -> tuple[tuple[NodeId, ...], float]:
    """(members as they would be chosen today, share of them that is another); what is hardly better is as good."""
    free = [i for i in range(len(land.candidates)) if i not in land.barred]
    anew = _ORDERS[config.policy](config.name, land, free, [])[: len(current)]
    left = [i for i in current if i not in anew]
    into = [i for i in anew if i not in current]
    if config.policy == OLDEST:
        youngest = min((land.candidates[i].age for i in left), default=0)
        into = [i for i in into if land.candidates[i].age > OLDER * youngest]
    if config.policy == NEAREST and _asked_for(land, anew) < MORE_ASKED * _asked_for(land, current):
        into = []
    if config.policy == OLDEST:
        left.sort(key=lambda i: -land.candidates[i].age)
    chosen = [*(i for i in current if i in anew), *left[: len(left) - len(into)], *into]
    return tuple(land.candidates[i].node for i in chosen), len(into) / len(current)


def _asked_for(land: Landscape, chosen: Iterable[int]) -> float:
    """What `_by_demand` makes greatest: demand at members, of each next member of an agent a smaller share."""
    taken: dict[NodeId, int] = {}
    asked = 0.0
    for i in chosen:
        home = land.home[land.candidates[i].node]
        taken[home] = taken.get(home, 0) + 1
        asked += land.demand[home] / taken[home]
    return asked


def _by_hash(app: AppId, land: Landscape, left: list[int], known: list[int]) -> list[int]:
    return sorted(left, key=lambda i: score(app, land.candidates[i].node))


def _by_age(app: AppId, land: Landscape, left: list[int], known: list[int]) -> list[int]:
    return sorted(left, key=lambda i: (-land.candidates[i].age, score(app, land.candidates[i].node)))


def _by_demand(app: AppId, land: Landscape, left: list[int], known: list[int]) -> list[int]:
    """One of each agent, in order of what its nodes ask for each member they have."""
    taken: dict[NodeId, int] = {}
    for i in known:
        home = land.home[land.candidates[i].node]
        taken[home] = taken.get(home, 0) + 1
    queues: dict[NodeId, list[int]] = {}
    for i in sorted(left, key=lambda i: (land.candidates[i].rtt, score(app, land.candidates[i].node)), reverse=True):
        queues.setdefault(land.home[land.candidates[i].node], []).append(i)
    found = []
    while queues:
        agent = max(sorted(queues), key=lambda agent: land.demand[agent] / (1 + taken.get(agent, 0)))
        taken[agent] = taken.get(agent, 0) + 1
        found.append(queues[agent].pop())
        if not queues[agent]:
            del queues[agent]
    return found


def _in_order(app: AppId, land: Landscape, left: list[int], known: list[int]) -> list[int]:
    return left


_ORDERS = {NEAREST: _by_demand, OLDEST: _by_age, RANDOM: _by_hash, EVERYWHERE: _in_order}
