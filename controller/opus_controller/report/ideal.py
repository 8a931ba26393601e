"""The latency that each request would have had under a full-knowledge placement: the cost of self-organization's divisor.

The ideal knows the demand, the matrix, who lives and what is cut, and moves its m replicas at once whenever that changes.
No overlay can do this; how near one comes is what the figure says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from opus_controller.report.placement import k_median
from opus_controller.report.requests import Requests
from opus_controller.report.world import NO_PATH, Bools, Ints, Paths, World

MOST_EPOCHS = 16
"""A run with more changes than this is cut into so many spans of about equally many requests (churn)."""
UNSERVED_NS = 10_000_000_000
"""What a client without a path weighs against a placement: ten seconds, so that no saving elsewhere pays for it."""


@dataclass(frozen=True)
class Epoch:
    """Some requests under one state of the world."""

    chosen: Ints
    """Positions in the run's requests."""
    paths: Paths
    up: frozenset[int]


def ideal_delay(world: World, requests: Requests) -> Ints:
    """For each ok request: one-way ns from its client to the nearest of the m replicas, placed by k-median over the live hosts.

    The weights are the requests answered in that span. NO_PATH for failed requests and for clients that even this placement
    cannot reach.
    """
    delay = np.full(requests.size, NO_PATH, dtype=np.int64)
    for a, app in enumerate(world.geometry.plan.apps):
        before: tuple[int, ...] = ()
        for epoch in _epochs(world, requests, (requests.app == a) & requests.ok):
            before = _place(epoch, requests, app.replicas, before)
            rows = epoch.paths.one_way(np.array(before, dtype=np.int64))
            delay[epoch.chosen] = rows.min(axis=1)[requests.client[epoch.chosen]]
    return np.minimum(delay, NO_PATH)


def _place(epoch: Epoch, requests: Requests, m: int, before: tuple[int, ...]) -> tuple[int, ...]:
    """The placement, as host indices."""
    clients, weight = np.unique(requests.client[epoch.chosen], return_counts=True)
    candidates = np.array(sorted(epoch.up | set(clients.tolist())), dtype=np.int64)
    delay = np.minimum(epoch.paths.one_way(candidates)[clients], UNSERVED_NS).astype(np.float64)
    position = {host: i for i, host in enumerate(candidates.tolist())}
    warm = tuple(position[host] for host in before if host in position)
    starts = (warm,) if len(warm) == m else ()
    found = k_median(delay, weight.astype(np.float64), m, starts=starts, restarts=0 if starts else 4)
    return tuple(int(candidates[i]) for i in found)


def _epochs(world: World, requests: Requests, mask: Bools) -> list[Epoch]:
    """The masked requests, in order of time, by the state of the world in which they were issued."""
    positions = np.flatnonzero(mask)
    if not len(positions):
        return []
    issued = requests.issued[positions]
    up, paths = world.up.places(issued), world.paths.places(issued)
    breaks = np.flatnonzero((np.diff(up) != 0) | (np.diff(paths) != 0)) + 1
    spans = np.split(np.arange(len(positions)), breaks)
    if len(spans) > MOST_EPOCHS:
        spans = np.array_split(np.arange(len(positions)), MOST_EPOCHS)
    return [_epoch(world, positions[span], up[span], paths[span]) for span in spans if len(span)]


def _epoch(world: World, chosen: Ints, up: Ints, paths: Ints) -> Epoch:
    """One state for all of `chosen`: the hosts that lived throughout, and the links that most requests met."""
    ups = [world.up.values[place] if place >= 0 else frozenset() for place in np.unique(up)]
    places, counts = np.unique(paths, return_counts=True)
    return Epoch(chosen, world.paths.values[int(places[counts.argmax()])], frozenset.intersection(*ups))
