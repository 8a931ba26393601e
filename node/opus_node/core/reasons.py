"""By what a steward chose the members of an application without a utility, put in figures for whoever asks why (`opus explain`).

A member is there because it is near to demand that would otherwise go farther: what it keeps away from everybody's delay says how
much it is needed where it is.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

from opus_node.core.events import MembersPlaced
from opus_node.core.landscape import Landscape
from opus_node.core.messages import ReplicaSet, Summary
from opus_node.core.types import MILLISECOND, Nanos, NodeId

UNKNOWN: Nanos = -1


def placed(
    new: ReplicaSet,
    before: Sequence[NodeId],
    cause: str,
    land: Landscape,
    summaries: Mapping[NodeId, Summary],
    silent: Sequence[Nanos],
    wanted: int,
    cost: float,
    e: float,
) -> MembersPlaced:
    """`silent` is of those of `before` that are no members of `new`; `land` was made with all members of either."""
    columns = {node: land.delays(node) for node in dict.fromkeys((*new.members, *before)) if node in land.index}
    delay = _delay(columns, new.members, land)
    barred = set(land.barred)
    asked = [one.rate for one in summaries.values()]
    return MembersPlaced(
        new.app,
        new.epoch,
        cause,
        new.members,
        tuple(before),
        tuple(silent),
        wanted,
        sum(i not in barred for i in range(len(land.candidates))),
        round(sum(asked, 0.0), 3) if asked else 0,
        round(cost, 6),
        round(e, 3),
        delay,
        _delay(columns, before, land),
        _keeps(columns, new.members, delay, land),
    )


def _delay(columns: Mapping[NodeId, Sequence[float]], members: Sequence[NodeId], land: Landscape) -> Nanos:
    """Mean of what is asked, each request to the nearest; a client that asks of its own host needs no time."""
    known = [columns[node] for node in members if node in columns]
    return _mean(list(map(min, *known)) if len(known) > 1 else known[0], land) if known else UNKNOWN


def _mean(nearest: Sequence[float], land: Landscape) -> Nanos:
    whole = sum(land.demand.values(), 0.0)
    return round(sum(nearest, 0.0) / whole * MILLISECOND) if whole > 0 else UNKNOWN


def _keeps(
    columns: Mapping[NodeId, Sequence[float]], members: Sequence[NodeId], delay: Nanos, land: Landscape
) -> tuple[Nanos, ...]:
    """By member, by how much the mean would be longer without it: its points would go to the second nearest."""
    known = [node for node in members if node in columns]
    if len(known) < 2 or delay < 0:
        return (UNKNOWN,) * len(members)
    nearest: list[float] = []
    instead: dict[NodeId, list[tuple[int, float]]] = {node: [] for node in known}
    for i, point in enumerate(zip(*(columns[node] for node in known), strict=True)):
        first, second = heapq.nsmallest(2, point)
        nearest.append(first)
        instead[known[point.index(first)]].append((i, second))
    found = dict.fromkeys(members, UNKNOWN)
    for node, points in instead.items():
        without = list(nearest)
        for i, second in points:
            without[i] = second
        found[node] = max(0, _mean(without, land) - delay)
    return tuple(found.values())
