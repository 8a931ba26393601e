"""What the machine added to requests: by those that reached their replica in one hop, whose way the plan tells exactly.

Such a request takes the path's one-way delay and what a hop costs on a quiet machine. What it took beyond that, as a median of
some seconds, the machine added to every hop; where that is more than a tenth of what the median request would have taken without
it, the median has been moved. It is the machine's doing only while that was busy or late: queues of access links and users'
own programs may delay requests, too, and those are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from opus_controller.engine.runtime import Health
from opus_controller.engine.validity import Breach
from opus_controller.report.requests import Requests
from opus_controller.report.world import NO_PATH, Bools, Ints, World

SECOND = 1_000_000_000
MOVED = 0.10
"""A median further off than this describes the machine."""
QUIET_HOP_NS = 1_200_000
"""What a sparse message takes beyond its path on a quiet machine, at the most: 1.16 ms was the quickstart's median (30 hosts, two
cores busy to 19%); a busy stream's takes half as much. A run whose quietest seconds were better is held against those."""
LEAST_NS = 500_000
"""Hops of two runs of one plan are nearly as far apart by themselves."""
WINDOW_S = 5
LEAST = 20
"""Requests that a median is taken of: windows with fewer are joined to the next."""
BUSY = 0.8
LATE_NODE_NS = 10_000_000
LATE_LINK_NS = 2_000_000
FOR_S = 2.0
"""What is presumed to harm and lasts no longer, is no harm."""
WHAT = "median moved by the machine"


@dataclass(frozen=True)
class Shown:
    """What requests show of the machine."""

    moved: tuple[Breach, ...] = ()
    """Stretches in which it moved the median routing latency of requests that left their host by more than MOVED."""
    unmoved: tuple[tuple[float, float], ...] = ()
    """Spans (s) in which it did not."""

    def belies(self, breach: Breach) -> bool:
        """Whether harm was only presumed, and there was none for all but FOR_S at most."""
        start, end = max(0.0, breach.from_s - 1), breach.to_s
        spared = sum(max(0.0, min(end, b) - max(start, a)) for a, b in self.unmoved)
        return breach.presumes and end - start - spared <= FOR_S


def shown(world: World, requests: Requests, health: Sequence[Health]) -> Shown:
    """By windows of some seconds."""
    chosen = _direct(requests)
    if not len(chosen) or not health:
        return Shown()
    asked = _asked(world, requests, chosen)
    known = asked < NO_PATH
    chosen, asked = chosen[known], asked[known]
    beyond, issued = requests.routing_ns[chosen] - asked, requests.issued[chosen]
    windows = list(_windows(issued))
    added = [float(np.median(beyond[low:high])) for low, high, _, _ in windows]
    quiet = max(0.0, min([QUIET_HOP_NS, *added]))
    found: list[Breach] = []
    unmoved: list[tuple[float, float]] = []
    for (_, _, first_s, last_s), of_hop in zip(windows, added, strict=True):
        share = _moved_by(requests, first_s, last_s, of_hop - quiet)
        if share <= MOVED or of_hop - quiet < LEAST_NS or not _was_busy(health, first_s, last_s):
            unmoved.append((first_s, last_s))
            continue
        if found and found[-1].to_s == first_s:
            before = found.pop()
            first_s, share = before.from_s, max(share, before.worst / 100)
        found.append(_breach(first_s, last_s, share))
    return Shown(tuple(found), tuple(unmoved))


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
    """Answered at the first attempt by another host, with nobody between: an agent's own requests, and those to an agent that
    serves, too."""
    mask = requests.ok & (requests.hops == 1) & (requests.attempts == 1)
    return np.flatnonzero(mask & (requests.replica >= 0) & (requests.replica != requests.client)).astype(np.int64)


def _moved_by(requests: Requests, first_s: float, last_s: float, added_ns: float) -> float:
    """By which share the median of requests that left their host was moved, if each of their hops took so much longer."""
    mask = requests.ok & (requests.hops > 0) & (requests.issued >= first_s * SECOND) & (requests.issued < last_s * SECOND)
    routing = requests.routing_ns[mask]
    without = np.median(routing - added_ns * requests.hops[mask])
    return float(np.median(routing) / max(1.0, float(without))) - 1


def _asked(world: World, requests: Requests, chosen: Ints) -> Ints:
    """One way from the client to the replica, ns, by the links as they were at the time."""
    geometry = world.geometry
    delay = np.full(len(chosen), NO_PATH, dtype=np.int64)
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
    why = "beyond their paths, messages took longer than they do on a quiet machine, and timers were late or cores busy"
    return Breach(WHAT, first_s, last_s, 100 * share, 100 * MOVED, "%", why)
