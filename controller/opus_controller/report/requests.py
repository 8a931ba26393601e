"""A run's requests as columns, and what the oracle knew about each when it was issued."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from opus_controller.report.world import NO_PATH, Bools, Geometry, Ints, Track, World

Record = Mapping[str, Any]
OUTCOMES = ("ok", "deadline", "refused")
ROUTES = ("self", "direct", "agent")
OTHER = "none"
"""The route of a request that nobody answered."""


@dataclass(frozen=True)
class Requests:
    """n requests in order of issue; every column has n values. Times in ns since the origin."""

    client: Ints
    """Index in `Plan.hosts`."""
    site: Ints
    """Of the client, index in `Plan.sites`."""
    app: Ints
    """Index in `Plan.apps`."""
    issued: Ints
    done: Ints
    arrived: Ints
    """At the replica; 0 unless ok."""
    ok: Bools
    outcome: Ints
    """Index in OUTCOMES."""
    hops: Ints
    attempts: Ints
    route: Ints
    """Index in ROUTES; len(ROUTES) if there was none."""
    first: Bools
    replica: Ints
    """Who answered, index in `Plan.hosts`; -1 if nobody did."""

    @property
    def size(self) -> int:
        return len(self.client)

    def where(self, mask: Bools) -> Requests:
        return Requests(*(getattr(self, f.name)[mask] for f in fields(self)))

    @property
    def routing_ns(self) -> Ints:
        """Routing latency (DESIGN section 7); meaningful where `ok`."""
        return self.arrived - self.issued

    @property
    def request_ns(self) -> Ints:
        """Issue to reply; meaningful where `ok`."""
        return self.done - self.issued


def columns(geometry: Geometry, records: Iterable[Record]) -> Requests:
    """Request records (opus_node.core.events.RequestDone) as columns; those of unknown hosts or applications are left out."""
    app_index = {app.name: i for i, app in enumerate(geometry.plan.apps)}
    known = [r for r in records if r["host"] in geometry.index and r["app"] in app_index]
    known.sort(key=lambda r: r["issued_at"])
    client = _ints(geometry.index[r["host"]] for r in known)
    host_of = {host.address: i for i, host in enumerate(geometry.plan.hosts)}
    route_index = {name: i for i, name in enumerate(ROUTES)}
    outcome_index = {name: i for i, name in enumerate(OUTCOMES)}
    ok = _bools(r["outcome"] == "ok" for r in known)
    return Requests(
        client=client,
        site=geometry.site[client],
        app=_ints(app_index[r["app"]] for r in known),
        issued=_ints(r["issued_at"] for r in known),
        done=_ints(r["done_at"] for r in known),
        arrived=_ints(r["arrived_at"] for r in known),
        ok=ok,
        outcome=_ints(outcome_index.get(r["outcome"], len(OUTCOMES) - 1) for r in known),
        hops=_ints(r["hops"] for r in known),
        attempts=_ints(r["attempts"] for r in known),
        route=_ints(route_index.get(r["via"], len(ROUTES)) if r["outcome"] == "ok" else len(ROUTES) for r in known),
        first=_bools(bool(r["first"]) for r in known),
        replica=_ints(host_of.get(str(r.get("replica")), -1) for r in known),
    )


@dataclass(frozen=True)
class Oracle:
    """For each request, by the plan's matrix, the live replicas and the open paths at the instant of issue."""

    best: Ints
    """One-way ns from the client to the nearest live replica that it can reach; NO_PATH if there is none, or where that is not
    enough."""
    is_replica: Bools
    """The client itself was a live replica."""

    @property
    def reachable(self) -> Bools:
        """A path, both ways, from the client to a live replica; of registers, to a majority of those who keep them, too."""
        return self.best < NO_PATH


def consult(world: World, requests: Requests) -> Oracle:
    """One row of delays for each (paths, live replicas) that ever held, then a look-up for each request."""
    best = np.full(requests.size, NO_PATH, dtype=np.int64)
    is_replica = np.zeros(requests.size, dtype=np.bool_)
    for a, app in enumerate(world.geometry.plan.apps):
        track = world.serving[app.name]
        of_app = np.flatnonzero(requests.app == a)
        places = track.places(requests.issued[of_app])
        for place in np.unique(places[places >= 0]):
            chosen = of_app[places == place]
            paths, serving = track.values[place]
            replicas = np.array(sorted(serving), dtype=np.int64)
            if len(replicas):
                best[chosen] = paths.one_way(replicas).min(axis=1)[requests.client[chosen]]
                is_replica[chosen] = np.isin(requests.client[chosen], replicas)
        if app.name in world.keeping:
            best[of_app[~_with_majority(world.keeping[app.name], requests.issued[of_app], requests.client[of_app])]] = NO_PATH
    return Oracle(np.minimum(best, NO_PATH), is_replica)


def _with_majority(track: Track, issued: Ints, client: Ints) -> Bools:
    """Of each request, whether its client could reach a majority of those who kept the data when it was issued."""
    able = np.zeros(len(issued), dtype=np.bool_)
    places = track.places(issued)
    for place in np.unique(places[places >= 0]):
        chosen = np.flatnonzero(places == place)
        paths, needed, left = track.values[place]
        able[chosen] = paths.majority(needed, left)[client[chosen]]
    return able


def _ints(values: Iterable[int]) -> Ints:
    return np.array(list(values), dtype=np.int64)


def _bools(values: Iterable[bool]) -> npt.NDArray[np.bool_]:
    return np.array(list(values), dtype=np.bool_)
