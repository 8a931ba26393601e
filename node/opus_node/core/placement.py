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
    """node -> agent it hangs at, for all candidates told of; the nearer agent if two claim it."""
    found: dict[NodeId, tuple[Nanos, NodeId]] = {}
    for agent in sorted(summaries):
        for candidate in summaries[agent].candidates:
            claim = (candidate.rtt, candidate.agent)
            if candidate.node not in found or claim < found[candidate.node]:
                found[candidate.node] = claim
    return {node: agent for node, (_, agent) in found.items()}


def regions(summaries: Mapping[NodeId, Summary]) -> dict[NodeId, NodeId]:
    """agent -> first agent of its region. Balls around centres, not chains: a continent is not one region."""
    centre: dict[NodeId, NodeId] = {}
    centres: list[NodeId] = []
    for agent in sorted(summaries):
        near = summaries[agent].near
        centre[agent] = next((one for one in centres if one in near or agent in summaries[one].near), agent)
        if centre[agent] == agent:
            centres.append(agent)
    return centre


def places(summaries: Mapping[NodeId, Summary]) -> dict[NodeId, NodeId]:
    """node -> region, for all candidates told of."""
    centre = regions(summaries)
    return {node: centre[agent] for node, agent in homes(summaries).items()}


def spread(members: Iterable[NodeId], place: Mapping[NodeId, NodeId]) -> int:
    """In how many regions the members are; one whose region is unknown counts as one of its own."""
    return len({place.get(node, node) for node in members})


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
    from the agent with fewest, then greatest demand, the fittest candidate; agents serve only when there is no one else.
    """
    members = list(keep[:count])
    home, centre = homes(summaries), regions(summaries)
    taken: dict[NodeId, int] = {}
    demand: dict[NodeId, float] = {}
    for agent, summary in summaries.items():
        demand[centre[agent]] = demand.get(centre[agent], 0.0) + summary.rate
    for node in members:
        agent = home.get(node, node)
        for place in {agent: 0, centre.get(agent, agent): 0}:
            taken[place] = taken.get(place, 0) + 1
    barred = {*exclude, *members}
    pools: dict[NodeId, list[Candidate]] = {}
    for agent in sorted(summaries):
        pool = [one for one in summaries[agent].candidates if one.node not in barred and home[one.node] == one.agent]
        pools[agent] = sorted(pool, key=lambda one: _fitness(app, one, near_enough))
    while len(members) < count:
        best: tuple[tuple[bool, int, float, int, float, int], NodeId] | None = None
        for agent, pool in pools.items():
            if not pool:
                continue
            region, summary = centre[agent], summaries[agent]
            is_agent = pool[0].node == pool[0].agent
            key = (is_agent, taken.get(region, 0), -demand[region], taken.get(agent, 0), -summary.rate, -summary.nodes)
            if best is None or key < best[0]:
                best = (key, agent)
        if best is None:
            break
        agent = best[1]
        members.append(pools[agent].pop(0).node)
        for place in {agent: 0, centre[agent]: 0}:
            taken[place] = taken.get(place, 0) + 1
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
