"""What a lease still has to say: what has changed notably since the last one that was answered.

A heartbeat costs 120 B of headers and acknowledgement however short it is; all that a node has to tell of itself is 80 B more,
and most of it never changes. An agent that does not know the node (any more) asks for everything.
"""

from __future__ import annotations

from opus_node.core.coordinates import Place, certain, shift
from opus_node.core.messages import Demand, Lease
from opus_node.core.popularity import differ
from opus_node.core.types import MILLISECOND, Nanos

NOTABLE = 0.1
NOTABLE_RTT: Nanos = MILLISECOND
NOTABLE_RATE = 0.02
"""Requests/s."""
NOTABLE_MS = 2.0
"""Of a coordinate."""


def shortened(full: Lease, told: Lease) -> Lease:
    """The lease that says of `full` what differs from `told`."""
    same_place = not moved(full.at, told.at)
    same_demand = not _asks_otherwise(full.demand, told.demand)
    return Lease(
        seq=full.seq,
        incarnation=0,
        age=0,
        rtt=full.rtt if _differ(full.rtt, told.rtt) else 0,
        cpu=0.0,
        memory=0,
        storage=0,
        bandwidth=0,
        demand=() if same_demand else full.demand,
        at=0 if same_place else full.at,
        spare=full.spare if _differ(full.spare, told.spare) else 0,
        measured=full.measured,
        sets=full.sets,
        zone=full.zone,
        level=full.level,
        brief=True,
    )


def merged(full: Lease, sent: Lease, told: Lease) -> Lease:
    """What the agent knows once it has had `sent`, made of `full`, on top of `told`."""
    return Lease(
        seq=full.seq,
        incarnation=full.incarnation,
        age=full.age,
        rtt=sent.rtt or told.rtt,
        cpu=full.cpu,
        memory=full.memory,
        storage=full.storage,
        bandwidth=full.bandwidth,
        demand=sent.demand or told.demand,
        at=sent.at or told.at,
        spare=sent.spare or told.spare,
        measured=full.measured,
        sets=full.sets,
        zone=full.zone,
        level=full.level,
        brief=full.brief,
        sessions=full.sessions,
        up=full.up,
    )


def _differ(now: Nanos, told: Nanos) -> bool:
    return abs(now - told) > max(NOTABLE_RTT, int(NOTABLE * told))


def moved(now: Place, told: Place) -> bool:
    """Notably."""
    if now == told:
        return False
    if not now or not told or certain(now) != certain(told):
        return True
    return shift(now, told) > NOTABLE_MS


def _asks_otherwise(now: tuple[Demand, ...], told: tuple[Demand, ...]) -> bool:
    before = {one.app: one for one in told}
    return len(now) != len(before) or any(
        one.app not in before
        or abs(one.rate - before[one.app].rate) > max(NOTABLE_RATE, NOTABLE * before[one.app].rate)
        or _differ(one.nearest, before[one.app].nearest)
        or bool(one.nearest) != bool(before[one.app].nearest)
        or differ(one.keys, before[one.app].keys)
        for one in now
    )
