"""By what a steward chose the members of an application without a utility, put in figures for whoever asks why (`opus explain`).

A member is there because it is near to demand that would otherwise go farther: what it keeps away from everybody's delay says how
much it is needed where it is.
"""

from __future__ import annotations

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
    return MembersPlaced(
        new.app,
        new.epoch,
        cause,
        new.members,
        tuple(before),
        tuple(silent),
        wanted,
        sum(i not in barred for i in range(len(land.candidates))),
        round(sum(one.rate for one in summaries.values()), 3),
        round(cost, 6),
        round(e, 3),
        delay,
        _delay(columns, before, land),
        tuple(_keeps(columns, new.members, node, delay, land) for node in new.members),
    )


def _delay(columns: Mapping[NodeId, Sequence[float]], members: Sequence[NodeId], land: Landscape) -> Nanos:
    """Mean of what is asked, each request to the nearest; a client that asks of its own host needs no time."""
    known = [columns[node] for node in members if node in columns]
    whole = sum(land.demand.values())
    if not known or whole <= 0:
        return UNKNOWN
    nearest = list(map(min, *known)) if len(known) > 1 else known[0]
    return round(sum(nearest) / whole * MILLISECOND)


def _keeps(
    columns: Mapping[NodeId, Sequence[float]], members: Sequence[NodeId], node: NodeId, delay: Nanos, land: Landscape
) -> Nanos:
    without = _delay(columns, [one for one in members if one != node], land)
    return UNKNOWN if node not in columns or without < 0 else max(0, without - delay)
