"""Who should serve: pure functions from summaries to members. v1: one a region by demand; sizing and utility come later."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from opus_node.core.messages import Candidate, Summary
from opus_node.core.types import MILLISECOND, SECOND, AppId, Nanos, NodeId


def score(app: AppId, node: NodeId) -> int:
    """Rendezvous hashing (Thaler, Ravishankar 1998): the same everywhere, under any PYTHONHASHSEED."""
    return int.from_bytes(hashlib.blake2b(f"{app}|{node}".encode(), digest_size=8).digest(), "big")


def first_of(app: AppId, agents: Iterable[NodeId]) -> NodeId:
    """The agent that should be steward of `app` among those given; empty if there is none."""
    return max(agents, key=lambda node: (score(app, node), node), default="")


def homes(summaries: Mapping[NodeId, Summary]) -> dict[NodeId, NodeId]:
    """node -> agent it hangs at (its region), for all candidates told of; the nearer agent if two claim it."""
    found: dict[NodeId, tuple[Nanos, NodeId]] = {}
    for agent in sorted(summaries):
        for candidate in summaries[agent].candidates:
            claim = (candidate.rtt, candidate.agent)
            if candidate.node not in found or claim < found[candidate.node]:
                found[candidate.node] = claim
    return {node: agent for node, (_, agent) in found.items()}


def spread(members: Iterable[NodeId], home: Mapping[NodeId, NodeId]) -> int:
    """In how many regions the members are; one whose region is unknown counts as one of its own."""
    return len({home.get(node, node) for node in members})


def choose(
    app: AppId,
    count: int,
    keep: Sequence[NodeId],
    summaries: Mapping[NodeId, Summary],
    exclude: Iterable[NodeId],
    near_enough: Nanos,
) -> tuple[NodeId, ...]:
    """`keep` filled up to `count` members.

    Greedy: the next member comes from the region with fewest members so far, then greatest demand; inside a region
    the fittest candidate that is not an agent; agents only when there is no one else.
    """
    members = list(keep[:count])
    home = homes(summaries)
    taken: dict[NodeId, int] = {}
    for node in members:
        region = home.get(node, node)
        taken[region] = taken.get(region, 0) + 1
    barred = {*exclude, *members}
    pools: dict[NodeId, list[Candidate]] = {}
    for agent in sorted(summaries):
        pool = [one for one in summaries[agent].candidates if one.node not in barred and home[one.node] == one.agent]
        pools[agent] = sorted(pool, key=lambda one: _fitness(app, one, near_enough))
    while len(members) < count:
        best: tuple[tuple[bool, int, float, int], NodeId] | None = None
        for agent, pool in pools.items():
            if not pool:
                continue
            summary = summaries[agent]
            is_agent = pool[0].node == pool[0].agent
            key = (is_agent, taken.get(agent, 0), -summary.rate, -summary.nodes)
            if best is None or key < best[0]:
                best = (key, agent)
        if best is None:
            break
        agent = best[1]
        members.append(pools[agent].pop(0).node)
        taken[agent] = taken.get(agent, 0) + 1
    return tuple(members)


def _fitness(app: AppId, one: Candidate, near_enough: Nanos) -> tuple[bool, bool, int, float, int, int]:
    """Ascending: no agent, near its agent, old (by the minute), capable, well connected; hashing among equals."""
    return (
        one.node == one.agent,
        one.rtt > near_enough,
        -(one.age // (60 * SECOND)),
        -one.cpu,
        -(one.bandwidth // 1_000_000),
        score(app, one.node),
    )


def round_up(rtt: Nanos) -> Nanos:
    """Round trips in summaries are told in whole milliseconds: finer is noise, and makes every summary a new one."""
    return -(-rtt // MILLISECOND) * MILLISECOND
