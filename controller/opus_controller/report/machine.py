"""What the machine added to requests: by those that went straight to their replica, whose way the plan tells exactly.

Such a request takes the path's one-way delay and what a hop costs on a quiet machine; a median of them that is more than a
tenth above the median of that has been moved. It is the machine's doing only while that was busy or late: queues of access links
and users' own programs may delay requests, too, and those are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from opus_controller.engine.runtime import Health
from opus_controller.engine.validity import Breach
from opus_controller.report.requests import ROUTES, Requests
from opus_controller.report.world import Bools, Ints, World

SECOND = 1_000_000_000
MOVED = 0.10
"""A median further off than this describes the machine."""
QUIET_HOP_NS = 520_000
"""What a message takes beyond its path on a quiet machine: the simulator's constant (`opus bench hop`), which a test compares."""
WINDOW_S = 5
LEAST = 20
"""Requests that a median is taken of: windows with fewer are joined to the next."""
BUSY = 0.8
LATE_NODE_NS = 10_000_000
LATE_LINK_NS = 2_000_000
WHAT = "median moved by the machine"


def moved(world: World, requests: Requests, health: Sequence[Health]) -> list[Breach]:
    """Stretches in which the machine moved the median routing latency of direct requests by more than MOVED."""
    chosen = _direct(requests)
    if not len(chosen) or not health:
        return []
    quiet = _asked(world, requests, chosen) + QUIET_HOP_NS
    known = quiet < 2 * 60 * SECOND
    chosen, quiet = chosen[known], quiet[known]
    taken, issued = requests.routing_ns[chosen], requests.issued[chosen]
    found: list[Breach] = []
    for low, high, first_s, last_s in _windows(issued):
        share = float(np.median(taken[low:high]) / np.median(quiet[low:high])) - 1
        if share <= MOVED or not _was_busy(health, first_s, last_s):
            continue
        if found and found[-1].to_s == first_s:
            before = found.pop()
            first_s, share = before.from_s, max(share, before.worst / 100)
        found.append(_breach(first_s, last_s, share))
    return found


def merged(breaches: Iterable[Breach]) -> list[tuple[float, float]]:
    """Spans (s) that they cover: a sample tells of the second before it."""
    spans: list[tuple[float, float]] = []
    for start, end in sorted((max(0.0, breach.from_s - 1), breach.to_s) for breach in breaches):
        if spans and start <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(end, spans[-1][1])
        else:
            spans.append((start, end))
    return spans


def inside(requests: Requests, spans: Iterable[tuple[float, float]]) -> Bools:
    """The requests that were under way in one of the spans."""
    mask = np.zeros(requests.size, dtype=np.bool_)
    for start, end in spans:
        mask |= (requests.issued <= end * SECOND) & (requests.done >= start * SECOND)
    return mask


def _direct(requests: Requests) -> Ints:
    """Answered at the first attempt by another host, with no agent between."""
    mask = requests.ok & (requests.route == ROUTES.index("direct")) & (requests.hops == 1) & (requests.attempts == 1)
    return np.flatnonzero(mask & (requests.replica >= 0) & (requests.replica != requests.client)).astype(np.int64)


def _asked(world: World, requests: Requests, chosen: Ints) -> Ints:
    """One way from the client to the replica, ns, by the links as they were at the time."""
    geometry = world.geometry
    delay = np.full(len(chosen), 1 << 60, dtype=np.int64)
    client, replica = requests.client[chosen], requests.replica[chosen]
    for a, app in enumerate(geometry.plan.apps):
        track = world.serving[app.name]
        places = track.places(requests.issued[chosen])
        of_app = requests.app[chosen] == a
        for place in np.unique(places[(places >= 0) & of_app]):
            here = np.flatnonzero(of_app & (places == place))
            paths, _ = track.values[place]
            c, r = client[here], replica[here]
            delay[here] = geometry.access[c] + paths.site_delay[geometry.site[c], geometry.site[r]] + geometry.access[r]
    return delay


def _windows(issued: Ints) -> Iterator[tuple[int, int, float, float]]:
    """(first, end, from s, to s) of consecutive windows with at least LEAST of the (sorted) times; no short last one."""
    if not len(issued):
        return
    low, start = 0, int(issued[0] // SECOND)
    for edge in range(start + WINDOW_S, int(issued[-1] // SECOND) + WINDOW_S + 1, WINDOW_S):
        high = int(np.searchsorted(issued, edge * SECOND))
        if high - low >= LEAST:
            yield low, high, float(start), float(edge)
            low, start = high, edge


def _was_busy(health: Sequence[Health], first_s: float, last_s: float) -> bool:
    about = [sample for sample in health if first_s < sample.t_ns / SECOND <= last_s]
    late = any(sample.node_lag_p99_ns > LATE_NODE_NS or sample.link_lag_p99_ns > LATE_LINK_NS for sample in about)
    return late or (bool(about) and float(np.mean([sample.cpu_busy for sample in about])) >= BUSY)


def _breach(first_s: float, last_s: float, share: float) -> Breach:
    why = "requests that went straight to their replica took longer than their path and a hop do on a quiet machine"
    return Breach(WHAT, first_s, last_s, 100 * share, 100 * MOVED, "%", why)
