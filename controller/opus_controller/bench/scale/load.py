"""Who comes and goes in a world of any size, and who asks.

    boots within a minute --> Weibull sessions end in crashes, their hosts come back after a while --> requests from live hosts

Sessions under way at the start are drawn in equilibrium (`model.lifetimes`); seeds stay: somebody's address must be known.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, Final

from opus_node.core.events import Request
from opus_node.core.types import Nanos
from opus_node.workload import Zipf

from opus_controller.bench.scale.small import small
from opus_controller.bench.scale.worlds import Size, duration_of
from opus_controller.bench.worlds import APP, SECOND
from opus_controller.model import lifetimes
from opus_controller.model.errors import InvalidRun
from opus_controller.model.plan import Plan
from opus_controller.runtimes.sim.host import SimHost
from opus_controller.runtimes.sim.world import World

Figures = dict[str, Any]

SESSIONS: Final = lifetimes.of("weibull", 0.5, mean=1800.0)
"""Seconds. The shape is what hosts of peer-to-peer systems have: 0.34 to 0.59 (Stutzbach, Rejaie, IMC 2006)."""
ABSENCES: Final = lifetimes.of("exponential", None, mean=120.0)
REQUESTS_A_HOST = 1 / 300
"""A second; of all together ..."""
REQUESTS_MOST = 1_000.0
"""... no more than this."""
WARM_S = 90.0
"""Requests begin then: everybody has booted, and had time to attach."""
DEADLINE: Final = 2 * SECOND
KEYS, ZIPF = 1000, 0.99
REQUEST_BYTES, REPLY_BYTES = 200, 1000
DEAD_KEPT = 0.03
"""Share of all hosts whose dead cores may wait for the collection of garbage: a core is full of cycles, and looking through all
that live takes seconds."""


class Load:
    """Who comes and goes, and who asks, in one world: the same wherever its hosts live (`parallel`). What a host lives is drawn
    from sources of its own; all requests from one, and those of hosts elsewhere are not asked here."""

    def __init__(self, world: World, size: Size, plan: Plan) -> None:
        self.crashes = self.restarts = 0
        self._world = world
        self._until = duration_of(size)
        self._seed = size.seed
        self._clients = Random(f"{size.seed}/scale/clients")
        self._zipf = Zipf(KEYS, ZIPF)
        self._hosts = [world.hosts.get(host.name) for host in plan.hosts]
        """None: it lives elsewhere."""
        self._rate = min(REQUESTS_MOST, REQUESTS_A_HOST * size.hosts)
        self._dead = 0
        self._crashing, self._returning = self._crash, self._return
        """Bound once: each binding that waits on the agenda would be an object of its own."""
        self.outcomes: Counter[tuple[bool, bool]] = Counter()
        """(first of its node, answered in time)."""
        self.hops: Counter[tuple[bool, int]] = Counter()
        seeds = set(world.seeds)
        for host in world.hosts.values():
            if host.id not in seeds:
                _, rest = SESSIONS.under_way(self._drawn(host, "first"))
                self._at(host.plan.boot_at_ns + int(rest * SECOND), self._crashing, host)
        self._ask_next(int(WARM_S * SECOND))

    def _drawn(self, host: SimHost, what: str) -> Random:
        """For what is drawn once in a life of the host."""
        return small(f"{self._seed}/scale/churn/{host.id}/{host.incarnation}/{what}")

    def _at(self, t: Nanos, what: Callable[[Nanos, SimHost, None, None], None], host: SimHost) -> None:
        if t < self._until:
            self._world.agenda.put(t, host, what, host)

    def _crash(self, now: Nanos, host: SimHost, _b: None, _c: None) -> None:
        self._world.kill(host, powered=True)
        self.crashes += 1
        self._dead += 1
        self._at(now + int(ABSENCES.sample(self._drawn(host, "absence")) * SECOND), self._returning, host)

    def _return(self, now: Nanos, host: SimHost, _b: None, _c: None) -> None:
        self._world.restart(host)
        self.restarts += 1
        self._at(now + int(SESSIONS.sample(self._drawn(host, "session")) * SECOND), self._crashing, host)

    def _ask_next(self, t: Nanos) -> None:
        while True:
            t += int(self._clients.expovariate(self._rate) * SECOND)
            if t + DEADLINE >= self._until:
                return
            host = self._hosts[self._clients.randrange(len(self._hosts))]
            key = self._zipf.sample(self._clients)
            if host is not None:
                self._world.agenda.at(t, self._ask, host, key)
                return

    def _ask(self, now: Nanos, host: SimHost, key: int, _c: None) -> None:
        if host.core is not None:
            number = host.requests
            host.requests += 1
            self._world.step(host, Request(APP, number, key, False, REQUEST_BYTES, REPLY_BYTES, now + DEADLINE), now)
        self._ask_next(now)

    def collect(self) -> None:
        """What requests came to, and the memory of who died."""
        world = self._world
        for record in world.records:
            if record["kind"] == "request":
                first, ok = bool(record["first"]), record["outcome"] == "ok"
                self.outcomes[first, ok] += 1
                if ok:
                    self.hops[first, record["hops"]] += 1
        world.records.clear()
        if world.died:
            name, why = next(iter(world.died.items()))
            raise InvalidRun(f"the node of {name} died of {why.strip().splitlines()[-1]}; no figure of this run means anything")
        if self._dead > DEAD_KEPT * len(world.hosts):
            self._dead = 0
            gc.collect()


def told_of(outcomes: Counter[tuple[bool, bool]], hops: Counter[tuple[bool, int]]) -> Figures:
    issued = sum(outcomes.values())
    ok = outcomes[True, True] + outcomes[False, True]
    return {
        "issued": issued,
        "ok": ok,
        "availability": ok / issued if issued else None,
        "first_hops": _mean(hops, True),
        "repeat_hops": _mean(hops, False),
    }


def _mean(hops: Counter[tuple[bool, int]], first: bool) -> float | None:
    """None: there were no such requests."""
    found = {count: times for (one, count), times in hops.items() if one is first}
    return sum(count * times for count, times in found.items()) / sum(found.values()) if found else None


def census(world: World) -> dict[str, int]:
    """Of the hosts that live in it."""
    found: Counter[str] = Counter(alive=0, attached=0, agents=0, heads=0, replicas=0)
    for host in world.hosts.values():
        if host.core is not None:
            told = host.core.snapshot()
            found["alive"] += 1
            found["attached"] += bool(told.agent)
            found["agents"] += told.is_agent
            found["heads"] += told.level > 1
            found["replicas"] += APP in told.replica_of
    return dict(found)
