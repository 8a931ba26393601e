"""Updates among an application's replicas: whom each of them reached, when, and over which links (docs/spread.md).

From the records "update" (`opus_node.core.events.UpdateDelivered`, one at each replica that delivers it, the publisher first) and
"mesh" (`MeshChanged`), from who lived and served by `World`, and from samples of what was sent.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import Any

import numpy as np

from opus_controller.model.plan import Plan
from opus_controller.report import result
from opus_controller.report.steady import Sample
from opus_controller.report.world import World

Record = Mapping[str, Any]
UPDATE, MESH = "update", "mesh"
SECOND = 1_000_000_000
HORIZON = 10 * SECOND
"""Who lives and serves for so long after an update is to be reached by it; later ones cannot be judged."""
NEARLY_ALL = 0.999


@dataclass(frozen=True)
class Told:
    """One update. Hosts by index in the plan, times in ns."""

    source: int
    at: int
    size: int
    """Bytes."""
    came: Mapping[int, tuple[int, int]]
    """Where it was delivered besides: when, and from whom it came."""
    due: tuple[int, ...]
    """Whom it was to reach, the publisher left out."""
    judged: bool
    lost: bool
    """It died with its publisher."""

    def delays(self) -> list[float]:
        """Seconds until each of `due` had it, ascending; infinite: not by the end."""
        return sorted((self.came[host][0] - self.at) / SECOND if host in self.came else inf for host in self.due)


@dataclass(frozen=True)
class AppTold:
    """Of one application."""

    app: str
    bound: float
    updates: tuple[Told, ...]
    """In order of publishing. One whose publisher's own record was lost with it is not among them: nobody knows when it was."""
    links: tuple[tuple[int, int, frozenset[int]], ...]
    """(ns, host, its links from then on), in order of time."""
    copies: int
    needless: int
    """Sent, and received again; up to the last sample, of all hosts and all their lives."""
    counted_until: int
    """When that was."""


def told(
    plan: Plan,
    updates: Iterable[Record],
    others: Iterable[Record],
    samples: Sequence[Sample],
    world: World,
    starts: Mapping[str, Sequence[int]],
) -> tuple[AppTold, ...]:
    """Of the applications with a bound, in the plan's order. `starts`: when each host came up, ascending."""
    spreading = [app for app in plan.apps if app.spread]
    if not spreading:
        return ()
    by_app: dict[str, dict[tuple[str, int, int], list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in updates:
        by_app[record["app"]][record["source"], record["life"], record["version"]].append(record)
    meshes = sorted((one for one in others if one["kind"] == MESH), key=lambda one: int(one["t"]))
    found = []
    for app in spreading:
        each = (_told(records, world, app.name) for records in by_app[app.name].values())
        copies, needless, until = _counted(samples, starts, app.name)
        found.append(
            AppTold(
                app.name,
                app.spread,
                tuple(sorted((one for one in each if one is not None), key=lambda one: (one.at, one.source))),
                tuple(_links(one, world) for one in meshes if one["app"] == app.name),
                copies,
                needless,
                until,
            )
        )
    return tuple(found)


def _told(records: Sequence[Record], world: World, app: str) -> Told | None:
    host_of, node_of = world.geometry.index, world.geometry.index_of_node
    source = node_of.get(records[0]["source"], -1)
    own = next((one for one in records if host_of[one["host"]] == source), None)
    if own is None:
        return None
    at = int(own["t"])
    # A host that restarts knows nothing any more and hears of it again: the first time counts.
    told = sorted((one for one in records if host_of[one["host"]] != source), key=lambda one: -int(one["t"]))
    came = {host_of[one["host"]]: (int(one["t"]), node_of.get(one["by"], -1)) for one in told}
    until = _served_until(world, app, at)
    due = tuple(sorted(host for host, left in until.items() if host != source and (left == world.end or _had(came, host, left))))
    judged = at + HORIZON <= world.end
    return Told(source, at, int(own["bytes"]), came, due, judged, judged and not came and until.get(source, at) < at + HORIZON)


def _had(came: Mapping[int, tuple[int, int]], host: int, by: int) -> bool:
    return host in came and came[host][0] <= by


def _served_until(world: World, app: str, at: int) -> dict[int, int]:
    """Of the hosts that lived and served then, until when they did; of those who did for HORIZON and longer, the end."""
    track = world.serving[app]
    first, last = bisect_right(track.times, at) - 1, bisect_right(track.times, at + HORIZON)
    left = dict.fromkeys(track.values[first][1], world.end)
    for t, (_, serving) in zip(track.times[first + 1 : last], track.values[first + 1 : last], strict=True):
        for host in left.keys() - serving:
            left[host] = min(left[host], t)
    return left


def _links(record: Record, world: World) -> tuple[int, int, frozenset[int]]:
    nodes = world.geometry.index_of_node
    return (
        int(record["t"]),
        world.geometry.index[record["host"]],
        frozenset(nodes[node] for node in record["links"] if node in nodes),
    )


def _counted(samples: Sequence[Sample], starts: Mapping[str, Sequence[int]], app: str) -> tuple[int, int, int]:
    """Counters begin anew with each life of a host, and the last sample of each life counts."""
    most: dict[tuple[str, int], tuple[int, int]] = {}
    until = 0
    for sample in samples:
        _, copies, needless = sample.get("spread", {}).get(app, (0, 0, 0))
        t = int(sample["t"])
        life = (sample["host"], bisect_right(starts.get(sample["host"], ()), t))
        before = most.get(life, (0, 0))
        most[life] = (max(before[0], int(copies)), max(before[1], int(needless)))
        until = max(until, t)
    return sum(one for one, _ in most.values()), sum(one for _, one in most.values()), until


# Figures


def figures(apps: Sequence[AppTold], world: World, since: int = 0, until: int | None = None) -> dict[str, Any]:
    """As `result.SpreadFigures`, of updates published from `since` until `until` (ns); infinite where something never was."""
    all_updates = [one for app in apps for one in app.updates]
    updates = [one for one in all_updates if since <= one.at and (until is None or one.at < until)]
    judged = [one for one in updates if one.judged]
    delays = [each for one in judged if not one.lost and (each := one.delays())]
    pairs = sum(map(len, delays))
    missed = sum(delay == inf for each in delays for delay in each)
    return {
        "published": len(updates),
        "judged": len(judged),
        "lost": sum(one.lost for one in judged),
        "reached": (pairs - missed) / pairs if pairs else None,
        "unreached": missed,
        "within_s": _within([each[ceil(NEARLY_ALL * len(each)) - 1] for each in delays]),
        "all_s": _within([each[-1] for each in delays]),
        "copies": _copies(apps),
        "links": _degree(apps, world),
    }


def _within(seconds: Sequence[float]) -> dict[str, float | None]:
    if not seconds:
        return {"p50": None, "p99": None, "max": None}
    ordered = np.array(sorted(seconds))
    p50, p99 = (float(np.quantile(ordered, q, method="higher")) for q in (0.5, 0.99))
    return {"p50": p50, "p99": p99, "max": float(ordered[-1])}


def _copies(apps: Sequence[AppTold]) -> float | None:
    came = sum(t <= app.counted_until for app in apps for one in app.updates for t, _ in one.came.values())
    return sum(app.copies for app in apps) / came if came else None


def _degree(apps: Sequence[AppTold], world: World) -> dict[str, float | int | None]:
    """The mean of those who live and serve at the end, the most of any at any time."""
    ends = [
        len(links)
        for app in apps
        for host, links in links_at(app, world.end).items()
        if host in world.serving[app.app].at(world.end)[1]
    ]
    most = [len(links) for app in apps for _, _, links in app.links]
    return {"mean": sum(ends) / len(ends) if ends else None, "max": max(most, default=None)}


def links_at(app: AppTold, t: int) -> dict[int, frozenset[int]]:
    """Each host's own word on its links."""
    found: dict[int, frozenset[int]] = {}
    for at, host, links in app.links:
        if at > t:
            break
        found[host] = links
    return found


def summary(apps: Sequence[AppTold], world: World) -> result.SpreadResult | None:
    """None where nobody was to spread anything."""
    if not apps:
        return None
    each = [
        result.AppSpread(
            app=app.app,
            bound=app.bound,
            bytes=sum(one.size for one in app.updates),
            needless=app.needless,
            **_finite(figures([app], world)),
        )
        for app in apps
    ]
    return result.SpreadResult(**_finite(figures(apps, world)), apps=each)


def _finite(told: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no infinity."""
    return {key: _finite(one) if isinstance(one, Mapping) else None if one == inf else one for key, one in told.items()}


def example(app: AppTold) -> Told | None:
    """The last judged update that reached all it was to reach: the one whose way is drawn."""
    fit = [one for one in app.updates if one.judged and one.due and all(host in one.came for host in one.due)]
    return fit[-1] if fit else None
