"""The oracle's view of a run: who lived, who served and which paths were open, at every instant.

Built from the plan and the record by replaying changes in order of time; afterwards looked up by time. Delays are the
plan's matrix with the link changes that were in force; queues, jitter and transmission times are not in it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from opus_controller.model.plan import Plan
from opus_controller.report.keeping import Keeping

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NO_PATH = np.iinfo(np.int64).max // 4
"""A delay that means: no way there."""


class Geometry:
    """A plan's hosts and delays as arrays: host i is `plan.hosts[i]`, site s is `plan.sites[s]`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.index: dict[str, int] = {host.name: i for i, host in enumerate(plan.hosts)}
        self.index_of_node: dict[str, int] = {host.address: i for i, host in enumerate(plan.hosts)}
        self.index_of_site: dict[str, int] = {site: s for s, site in enumerate(plan.sites)}
        self.site: Ints = np.array([self.index_of_site[host.site] for host in plan.hosts], dtype=np.int64)
        self.access: Ints = np.array([host.access.delay_ns for host in plan.hosts], dtype=np.int64)
        shapes = np.array([shape.delay_ns for shape in plan.paths.shapes], dtype=np.int64)
        self.site_delay: Ints = shapes[np.array(plan.paths.index, dtype=np.int64)]
        """One way, site by site, access links not included."""

    @property
    def size(self) -> int:
        return len(self.plan.hosts)

    def hosts(self, names: Iterable[str]) -> frozenset[int]:
        return frozenset(self.index[name] for name in names if name in self.index)


@dataclass(frozen=True)
class Paths:
    """The links as they were for some span: link changes by site pair, cuts by sets of hosts."""

    geometry: Geometry
    changes: tuple[tuple[int, int, int], ...] = ()
    """(source site, target site, one-way ns), a pair once: what the path is with all that is in force."""
    cuts: tuple[tuple[str, frozenset[int], frozenset[int]], ...] = ()
    """(fault's name, sources, targets): nothing from the one reaches the other."""

    @cached_property
    def site_delay(self) -> Ints:
        delay = self.geometry.site_delay.copy()
        for source, target, changed in self.changes:
            delay[source, target] = changed
        return delay

    def one_way(self, targets: Ints) -> Ints:
        """ns from every host (rows) to each of `targets` (columns): access, path, access; 0 to itself.

        `NO_PATH` where either direction is cut: a request needs its reply.
        """
        g = self.geometry
        delay: Ints = g.access[:, None] + self.site_delay[g.site[:, None], g.site[targets][None, :]] + g.access[targets][None, :]
        delay[targets, np.arange(len(targets))] = 0
        delay[self._cut(targets)] = NO_PATH
        return delay

    def _cut(self, targets: Ints) -> Bools:
        cut = np.zeros((self.geometry.size, len(targets)), dtype=np.bool_)
        for _, sources, ends in self.cuts:
            from_a, from_b = self._mask(sources), self._mask(ends)
            cut |= from_a[:, None] & from_b[targets][None, :]
            cut |= from_b[:, None] & from_a[targets][None, :]
        return cut

    def _mask(self, hosts: frozenset[int]) -> Bools:
        mask = np.zeros(self.geometry.size, dtype=np.bool_)
        mask[list(hosts)] = True
        return mask

    def majority(self, needed: int, targets: frozenset[int]) -> Bools:
        """Of every host, whether it has a way, there and back, to `needed` of `targets`."""
        ways = self.one_way(np.array(sorted(targets), dtype=np.int64)) < NO_PATH
        found: Bools = ways.sum(axis=1) >= needed
        return found

    def changed(self, shapes: Iterable[Mapping[str, Any]]) -> Paths:
        """With these shapes between sites, as the record of a fault tells them."""
        site = self.geometry.index_of_site
        new = {(site[one["source"]], site[one["target"]]): int(one["shape"]["delay_ns"]) for one in shapes}
        kept = tuple(change for change in self.changes if change[:2] not in new)
        return Paths(self.geometry, (*kept, *((s, t, delay) for (s, t), delay in new.items())), self.cuts)

    def healed(self, name: str) -> Paths:
        """Without the cuts of that name."""
        return Paths(self.geometry, self.changes, tuple(cut for cut in self.cuts if cut[0] != name))


@dataclass
class State:
    """Who is what at one instant; host indices."""

    up: set[int] = field(default_factory=set)
    paused: set[int] = field(default_factory=set)
    agents: set[int] = field(default_factory=set)
    replicas: dict[str, set[int]] = field(default_factory=dict)
    """Application to who serves it, dead or paused ones not taken out: see `World.live`."""
    stewards: dict[str, set[int]] = field(default_factory=dict)
    agent_of: dict[int, int] = field(default_factory=dict)
    keeping: dict[str, Keeping] = field(default_factory=dict)
    """Of applications whose keys are registers."""

    def forget(self, host: int) -> None:
        """The host's node is gone, and with it every role."""
        self.up.discard(host)
        self.paused.discard(host)
        self.agents.discard(host)
        self.agent_of.pop(host, None)
        for role in (self.replicas, self.stewards):
            for hosts in role.values():
                hosts.discard(host)
        for keeping in self.keeping.values():
            keeping.forget(host)


@dataclass
class Track:
    """A value that changes at known times: `values[i]` holds from `times[i]` on."""

    times: list[int] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def put(self, t: int, value: Any) -> None:
        if self.values and self.values[-1] == value:
            return
        if self.times and self.times[-1] == t:
            self.values[-1] = value
            return
        self.times.append(t)
        self.values.append(value)

    def at(self, t: int) -> Any:
        """The value at `t`; None before the first."""
        i = bisect_right(self.times, t)
        return self.values[i - 1] if i else None

    def places(self, times: Ints) -> Ints:
        """For each time the position of the value that held then; -1 before the first."""
        found: Ints = np.searchsorted(np.array(self.times, dtype=np.int64), times, side="right") - 1
        return found


@dataclass(frozen=True)
class FaultSeen:
    """One event of the timeline as it happened."""

    t: int
    name: str
    kind: str
    target: str
    victims: tuple[str, ...]
    undoes: str


class World:
    """A run replayed. `events`: the records but requests, any order; `end`: ns, the last instant of interest."""

    def __init__(self, plan: Plan, events: Iterable[Mapping[str, Any]], end: int) -> None:
        self.geometry = Geometry(plan)
        self.end = end
        self.faults: list[FaultSeen] = []
        self.churn: list[FaultSeen] = []
        """Departures (their kind is how) and returns by churn."""
        self.paths = Track([0], [Paths(self.geometry)])
        self.serving: dict[str, Track] = {app.name: Track([0], [(self.paths.values[0], frozenset())]) for app in plan.apps}
        """Application to (paths, hosts that live and serve it)."""
        self.keeping: dict[str, Track] = {app.name: Track() for app in plan.apps if app.by_majority}
        """Application to (paths, how many are a majority of the configuration in force, which of its members live)."""
        self.up = Track()
        """Hosts that run (paused ones are not counted)."""
        self.counts = Track()
        """(hosts up, agents, replicas of each application in the plan's order)."""
        self._changes: list[Mapping[str, Any]] = sorted(
            [*_boots(plan, events := list(events)), *(e for e in events if e["kind"] in _KINDS)], key=lambda e: int(e["t"])
        )
        state = State()
        for change in self._changes:
            self._apply(state, change, note=True)
            if change["kind"] not in ("attached", "agent_lost", "churn"):
                self._track(int(change["t"]), state)
        self.final = state

    def state_at(self, t: int) -> State:
        """Replayed from the beginning: for a handful of pictures, not for every request."""
        state = State()
        for change in self._changes:
            if change["t"] > t:
                break
            self._apply(state, change, note=False)
        return state

    def follow(self, change: Mapping[str, Any]) -> None:
        """One more event, of a run that goes on: not earlier than those before."""
        if change["kind"] in _KINDS:
            self._apply(self.final, change, note=True)
            if change["kind"] not in ("attached", "agent_lost"):
                self._track(int(change["t"]), self.final)

    @staticmethod
    def live(state: State, hosts: Iterable[int]) -> frozenset[int]:
        return frozenset(h for h in hosts if h in state.up and h not in state.paused)

    def _apply(self, state: State, change: Mapping[str, Any], *, note: bool) -> None:
        host = self.geometry.index.get(change.get("host", ""), -1)
        match change["kind"]:
            case "host_up" if host >= 0:
                state.forget(host)
                state.up.add(host)
            case "host_down":
                state.forget(host)
            case "role" if host >= 0:
                _role(state, host, change)
            case "data" if host >= 0:
                nodes = self.geometry.index_of_node
                members = (nodes[node] for node in change["members"] if node in nodes)
                state.keeping.setdefault(change["app"], Keeping()).told(host, change, members)
            case "attached" if host >= 0:
                state.agent_of[host] = self.geometry.index_of_node.get(change["agent"], -1)
            case "agent_lost":
                state.agent_of.pop(host, None)
            case "fault":
                self._fault(state, change, note=note)
            case "churn" if note and change["hosts"]:
                self.churn.append(_churn_seen(change))

    def _fault(self, state: State, change: Mapping[str, Any], *, note: bool) -> None:
        victims = self.geometry.hosts(change.get("victims", ()))
        match change["fault"]:
            case "crash" | "power-off" | "leave":
                for host in victims:
                    state.forget(host)
            case "pause":
                state.paused |= victims
            case "resume":
                state.paused -= victims
        if not note:
            return
        self.paths.put(int(change["t"]), self._laid(self.paths.values[-1], change))
        self.faults.append(_fault_seen(change))

    def _laid(self, paths: Paths, change: Mapping[str, Any]) -> Paths:
        """What the links are after a fault, as its record tells (engine.faults writes it)."""
        match change["fault"]:
            case "heal":
                return paths.healed(change["undoes"]).changed(change.get("shapes", ()))
            case "link":
                return paths.changed(change["shapes"])
            case "partition":
                name, a, b = change["name"], self.geometry.hosts(change["a"]), self.geometry.hosts(change["b"])
                cuts = [*paths.cuts, (name, a, b), *([(name, b, a)] if change["both_ways"] else [])]
                return Paths(self.geometry, paths.changes, tuple(cuts))
        return paths

    def _track(self, t: int, state: State) -> None:
        up = self.live(state, state.up)
        self.up.put(t, up)
        paths = self.paths.values[-1]
        replicas = []
        for app, track in self.serving.items():
            serving = up & frozenset(state.replicas.get(app, ()))
            track.put(t, (paths, serving))
            replicas.append(len(serving))
        for app, track in self.keeping.items():
            keeping = state.keeping.get(app, _NOBODY)
            track.put(t, (paths, keeping.needed(keeping.number), up & keeping.left(keeping.number)))
        self.counts.put(t, (len(up), len(up & state.agents), *replicas))


_KINDS = frozenset({"host_up", "host_down", "role", "data", "attached", "agent_lost", "fault", "churn"})
_NOBODY = Keeping()


def _boots(plan: Plan, events: list[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    """A host whose start nobody recorded came up when the plan said, unless it was absent and never came."""
    recorded = {e["host"] for e in events if e["kind"] == "host_up"} | set(plan.absent)
    return ({"t": h.boot_at_ns, "kind": "host_up", "host": h.name} for h in plan.hosts if h.name not in recorded)


def _role(state: State, host: int, change: Mapping[str, Any]) -> None:
    match change["role"]:
        case "agent":
            holders = state.agents
        case "replica":
            holders = state.replicas.setdefault(change["app"], set())
        case "steward":
            holders = state.stewards.setdefault(change["app"], set())
        case _:
            return
    if change["active"]:
        holders.add(host)
        if holders is state.agents:
            state.agent_of.pop(host, None)  # an agent hangs on nobody
    else:
        holders.discard(host)


def _fault_seen(change: Mapping[str, Any]) -> FaultSeen:
    return FaultSeen(
        t=int(change["t"]),
        name=change["name"],
        kind=change["fault"],
        target=change["target"],
        victims=tuple(change["victims"]),
        undoes=change["undoes"],
    )


def _churn_seen(change: Mapping[str, Any]) -> FaultSeen:
    victims = tuple(change["hosts"])
    return FaultSeen(int(change["t"]), "", change["change"], ", ".join(victims), victims, "")
