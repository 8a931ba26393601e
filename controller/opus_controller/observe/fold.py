"""A run's record folded to what the controller's metrics show, batch by batch while the run goes on.

Counts are of what has been received: notices take a moment to come in, so figures of the last second are not complete, and
a request is judged by the roles known by then. The report works the same figures out again from the whole record.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from opus_node.folds import LAG_BOUNDS, Histogram, is_ok, routing_latency

from opus_controller.engine.runtime import Health, Record
from opus_controller.engine.validity import Breach, Watch
from opus_controller.model.plan import Plan
from opus_controller.observe.applications import AppsFold
from opus_controller.report.requests import OUTCOMES
from opus_controller.report.world import NO_PATH, Bools, Ints, Paths, World

MOST_FAULTS = 200
"""Of the latest are told one by one: churn may have thousands."""
_VECTORS = 16
_LAID = ("partition", "link", "strain", "flood")
LASTING = ("crash", "power-off", "leave", "pause", *_LAID)
"""Kinds of faults of which what they did goes on until something ends it."""


@dataclass(frozen=True)
class Struck:
    """One event of the timeline that has happened."""

    t_ns: int
    name: str
    kind: str
    target: str
    victims: tuple[str, ...]


class RunFold:
    """Bounded by the plan: its applications, sites, hosts."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.world = World(plan, (), 0)
        apps = [app.name for app in plan.apps]
        ends = [(app, site, outcome) for app in apps for site in plan.sites for outcome in OUTCOMES]
        self.requests: Counter[tuple[str, str, str]] = Counter(dict.fromkeys(ends, 0))
        """(application, client's site, outcome)."""
        self.unreachable: Counter[str] = Counter(dict.fromkeys(apps, 0))
        """Requests by application whose client had no path to a live replica when it issued them."""
        self.routing_ns: Counter[str] = Counter(dict.fromkeys(apps, 0))
        """By application, over the requests that stretch is about (report.figures.comparable), as is `best_ns`."""
        self.best_ns: Counter[str] = Counter(dict.fromkeys(apps, 0))
        self.faults: deque[Struck] = deque(maxlen=MOST_FAULTS)
        self.fault_counts: Counter[str] = Counter({fault.kind: 0 for fault in plan.timeline})
        self.deaths = 0
        self.health: Health | None = None
        """The latest."""
        self.rtt_errors = Histogram(LAG_BOUNDS)
        """Absolute."""
        self._errors_seen = 0
        self._watch = Watch()
        self._laid: set[str] = set()
        """Names of partitions and link changes in force."""
        self._asking: dict[str, frozenset[str]] = {}
        """Floods that go on, and who asks: they are no clients meanwhile."""
        self._vectors: dict[tuple[int, frozenset[int]], Ints] = {}
        self._majorities: dict[tuple[int, int, frozenset[int]], Bools] = {}
        self._latest = 0
        self.applications = AppsFold(plan.apps)
        self._site_of = {host.name: host.site for host in plan.hosts}

    # --- in ---

    def add(self, records: Iterable[Record]) -> None:
        """One batch; events first, so that its requests are judged by what was known at their time."""
        batch = sorted(records, key=lambda record: int(record["t"]))
        for record in batch:
            if record["kind"] != "request":
                self._event(record)
        for record in batch:
            if record["kind"] == "request":
                self._request(record)

    def add_health(self, health: Health) -> None:
        self.health = health
        self._watch.add(health)

    def add_rtt_errors(self, errors_ns: Sequence[int]) -> None:
        """All so far; those seen before are not counted again."""
        for error in errors_ns[self._errors_seen :]:
            self.rtt_errors.observe(abs(error))
        self._errors_seen = len(errors_ns)

    # --- out ---

    def breaches(self) -> tuple[Breach, ...]:
        return self._watch.breaches()

    def in_force(self, fault: Struck) -> bool:
        """Whether what the fault did is still so."""
        state = self.world.final
        hosts = self.world.geometry.hosts(fault.victims)
        match fault.kind:
            case "crash" | "power-off" | "leave":
                return not hosts <= state.up
            case "pause":
                return bool(hosts & state.paused)
            case _:
                return fault.name in self._laid

    def host_states(self) -> Counter[tuple[str, str]]:
        """(site, up, paused or down) to hosts."""
        state = self.world.final
        states: Counter[tuple[str, str]] = Counter({(site, s): 0 for site in self.plan.sites for s in ("up", "paused", "down")})
        for i, host in enumerate(self.plan.hosts):
            states[host.site, "paused" if i in state.paused else "up" if i in state.up else "down"] += 1
        return states

    def replicas(self) -> dict[str, int]:
        """Application to live replicas."""
        state = self.world.final
        return {app.name: len(self.world.live(state, state.replicas.get(app.name, ()))) for app in self.plan.apps}

    def agents(self) -> int:
        return len(self.world.live(self.world.final, self.world.final.agents))

    # --- one record ---

    def _event(self, record: Record) -> None:
        self._latest = max(self._latest, int(record["t"]))  # late ones count as if they were now
        self.applications.event(record)
        self.world.follow({**record, "t": self._latest})
        if record["kind"] == "fault":
            self._fault(record)
        elif record["kind"] == "host_down" and record.get("cause") == "died":
            self.deaths += 1

    def _fault(self, record: Record) -> None:
        kind, name = str(record["fault"]), str(record["name"])
        self.fault_counts[kind] += 1
        self.faults.append(Struck(int(record["t"]), name, kind, str(record["target"]), tuple(record["victims"])))
        if kind in _LAID:
            self._laid.add(name)
        if kind == "flood":
            self._asking[name] = frozenset(record.get("sources", ()))
        elif kind == "heal":
            self._laid.discard(str(record["undoes"]))
            self._asking.pop(str(record["undoes"]), None)

    def _request(self, request: Record) -> None:
        app, client = str(request["app"]), self.world.geometry.index.get(request["host"], -1)
        if client < 0 or app not in self.unreachable or any(request["host"] in asking for asking in self._asking.values()):
            return
        self.requests[app, self._site_of[request["host"]], str(request["outcome"])] += 1
        self.applications.request(request)
        paths, serving = self.world.serving[app].at(int(request["issued_at"]))
        best = int(self._best(paths, serving)[client]) if serving else NO_PATH
        if app in self.world.keeping and not self._has_majority(app, int(request["issued_at"]), client):
            best = NO_PATH
        if best >= NO_PATH:
            self.unreachable[app] += 1
        elif is_ok(request) and client not in serving:
            self.routing_ns[app] += routing_latency(request)
            self.best_ns[app] += best

    def _has_majority(self, app: str, at: int, client: int) -> bool:
        """Whether it could reach a majority of those who keep the application's registers."""
        kept = self.world.keeping[app].at(at)
        if kept is None:
            return False
        paths, needed, left = kept
        key = (id(paths), needed, left)
        if key not in self._majorities:
            if len(self._majorities) >= _VECTORS:
                del self._majorities[next(iter(self._majorities))]
            self._majorities[key] = paths.majority(needed, left)
        return bool(self._majorities[key][client])

    def _best(self, paths: Paths, serving: frozenset[int]) -> Ints:
        """One-way ns from every host to its nearest live replica."""
        key = (id(paths), serving)  # `World` keeps its paths, so an id is theirs for good
        if key not in self._vectors:
            if len(self._vectors) >= _VECTORS:
                del self._vectors[next(iter(self._vectors))]
            self._vectors[key] = paths.one_way(np.array(sorted(serving), dtype=np.int64)).min(axis=1)
        return self._vectors[key]
