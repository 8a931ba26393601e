"""Who should serve: from what agents tell to members, by the policy that the application names.

    best                the least delay for the demand, weighed against unstable and weak hosts (`landscape`, `kmedian`)
    nearest-to-demand   nodes nearest to the agents with most demand, one after the other: near, but not well spread
    oldest              age and nothing else
    random              by hashing
    everywhere          all nodes: m = n

All are deterministic. Only the best moves members that live.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from opus_node.core.kmedian import greedy, placed, total
from opus_node.core.landscape import Landscape
from opus_node.core.types import AppConfig, AppId, NodeId

BEST, NEAREST, OLDEST, RANDOM, EVERYWHERE = "best", "nearest-to-demand", "oldest", "random", "everywhere"
POLICIES = (BEST, NEAREST, OLDEST, RANDOM, EVERYWHERE)

MOVE = 0.1
"""A move must save this share of a member's part of all delay: what it costs is not in the figures."""
MOVE_ROUGHLY = 0.5
"""The same while round trips are only guessed."""


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
    if config.policy == BEST:
        added = _by_delay(land, len(known) + more, known, barred)
    else:
        left = [i for i in range(len(land.candidates)) if i not in barred and i not in known]
        added = _ORDERS[config.policy](config.name, land, left, known)[:more]
    return (*keep, *(land.candidates[i].node for i in added))


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
    if config.policy != BEST or any(node not in land.index for node in members):
        return tuple(members), 0.0
    columns, current = land.columns, [land.index[node] for node in members]
    cost = total(columns, current, [0.0] * len(columns))
    dues = land.dues(cost, len(current))
    worth = (MOVE if sure else MOVE_ROUGHLY) * cost / len(current)
    chosen = placed(columns, len(current), dues, current, worth, land.barred)
    before = total(columns, current, dues)
    saved = 1 - total(columns, chosen, dues) / before if before > 0 else 0.0
    return tuple(land.candidates[i].node for i in chosen), saved


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
