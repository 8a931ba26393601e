"""One world lives: churn, requests, and what it costs this machine.

    boots within a minute --> Weibull sessions end in crashes, their hosts come back after a while --> requests from live hosts

Sessions under way at the start are drawn in equilibrium (`model.lifetimes`); seeds stay: somebody's address must be known.
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, Final

from opus_node.core.events import Request
from opus_node.core.types import Nanos
from opus_node.workload import Zipf

from opus_controller.bench.scale.small import small
from opus_controller.bench.scale.worlds import Size, duration_of, plan_of
from opus_controller.bench.worlds import APP, SECOND
from opus_controller.model import lifetimes
from opus_controller.model.errors import InvalidRun
from opus_controller.model.plan import Plan
from opus_controller.runtimes.sim.agenda import Agenda
from opus_controller.runtimes.sim.costs import HopCost
from opus_controller.runtimes.sim.host import SimHost
from opus_controller.runtimes.sim.parts import Part
from opus_controller.runtimes.sim.trace import Trace
from opus_controller.runtimes.sim.world import World

Figures = dict[str, Any]
Say = Callable[[str], None]

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
SLICE = 50_000
"""Entries of the agenda between two looks at the clock."""
SAY_EVERY_S = 10.0
DEAD_KEPT = 0.03
"""Share of all hosts whose dead cores may wait for the collection of garbage: a core is full of cycles, and looking through all
that live takes seconds."""
BARE = 400_000
"""Entries that the bare heap handles to be timed."""
NEVER: Nanos = 10**9 * SECOND


def play(size: Size, say: Say, *, trace: bool = False) -> Figures:
    """Figures of one run; with `trace` the digest of all its steps, too. Raises InvalidRun if a core ended with an exception."""
    before = rss()
    began = time.perf_counter()
    kept = Trace() if trace else None
    plan = plan_of(size)
    world = world_of(plan, kept)
    load = Load(world, size, plan)
    built_s = time.perf_counter() - began
    with no_garbage():
        wall_s, cpu_s = load.live(say)
    entries, waiting = world.agenda.handled, len(world.agenda)
    bare = bare_rate(waiting)
    return {
        "hosts": size.hosts,
        "replicas_asked": size.m,
        "minutes": size.minutes,
        "depth": size.depth,
        "seed": size.seed,
        "built_s": built_s,
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "steps": world.steps,
        "steps_per_s": world.steps / wall_s,
        "steps_per_node": world.steps / size.hosts,
        "messages": world.fabric.delivered,
        "entries_per_s": entries / wall_s,
        "bare_entries_per_s": bare,
        "of_bare": entries / wall_s / bare,
        "waiting": waiting,
        "rss_bytes": rss(),
        "peak_bytes": rss(peak=True),
        "bytes_per_node": (rss() - before) / size.hosts,
        **census(world),
        "crashes": load.crashes,
        "restarts": load.restarts,
        **told_of(load.outcomes, load.hops),
        **({"trace_digest": kept.digest()} if kept is not None else {}),
    }


def world_of(plan: Plan, kept: Trace | None, part: Part | None = None) -> World:
    world = World(plan, _overlay, HopCost(), NEVER, kept, part=part)
    world.make_random = small
    return world


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


class Load:
    """Who comes and goes, and who asks, in one world: the same wherever its hosts live (`parallel`). What a host lives is drawn
    from sources of its own; all requests from one, and those of hosts elsewhere are not asked here."""

    def __init__(self, world: World, size: Size, plan: Plan) -> None:
        self.crashes = self.restarts = 0
        self.run = world.agenda.run
        """How time passes."""
        self._world = world
        self._until = duration_of(size)
        self._seed = size.seed
        self._clients = Random(f"{size.seed}/scale/clients")
        self._zipf = Zipf(KEYS, ZIPF)
        self._hosts = [world.hosts.get(host.name) for host in plan.hosts]
        """None: it lives elsewhere."""
        self._rate = min(REQUESTS_MOST, REQUESTS_A_HOST * size.hosts)
        self._dead = 0
        self.outcomes: Counter[tuple[bool, bool]] = Counter()
        """(first of its node, answered in time)."""
        self.hops: Counter[tuple[bool, int]] = Counter()
        seeds = set(world.seeds)
        for host in world.hosts.values():
            if host.id not in seeds:
                _, rest = SESSIONS.under_way(self._drawn(host, "first"))
                self._at(host.plan.boot_at_ns + int(rest * SECOND), self._crash, host)
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
        self._at(now + int(ABSENCES.sample(self._drawn(host, "absence")) * SECOND), self._return, host)

    def _return(self, now: Nanos, host: SimHost, _b: None, _c: None) -> None:
        self._world.restart(host)
        self.restarts += 1
        self._at(now + int(SESSIONS.sample(self._drawn(host, "session")) * SECOND), self._crash, host)

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

    # Time

    def live(self, say: Say) -> tuple[float, float]:
        """To the end; seconds of the wall clock and of this process."""
        world = self._world
        began, began_cpu = time.perf_counter(), time.process_time()
        said, steps = began, 0
        while not self.run(self._until, SLICE):
            self._collect()
            now = time.perf_counter()
            if now - said >= SAY_EVERY_S:
                say(self._progress(now - began, (world.steps - steps) / (now - said)))
                said, steps = now, world.steps
        self._collect()
        return time.perf_counter() - began, time.process_time() - began_cpu

    def _progress(self, real_s: float, rate: float) -> str:
        """The start costs more than what comes after it, so the estimate is too long at first."""
        virtual_s, end_s = self._world.agenda.now / SECOND, self._until / SECOND
        left = real_s * (end_s - virtual_s) / virtual_s if virtual_s > 0 else float("nan")
        told = f"{virtual_s:6.1f} of {end_s:.0f} virtual s in {real_s:.0f} s, {left:.0f} s to go"
        return f"{told}, {rate:,.0f} steps/s, {rss() / 1e9:.2f} GB, {self.crashes} crashes"

    def _collect(self) -> None:
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


def _overlay(node_id: str, config: Any, rng: Any) -> Any:
    from opus_node.core.node import NodeCore

    return NodeCore(node_id, config, rng)


# This machine


def bare_rate(waiting: int) -> float:
    """Entries a second of the same agenda with so many waiting, whose handler does nothing but put itself down again."""
    agenda, draw = Agenda(), Random("bare").random
    span = 15 * SECOND

    def handler(now: Nanos, a: Any, b: Any, c: Any) -> None:
        agenda.at(now + int(draw() * span), handler, a)

    for _ in range(max(1, waiting)):
        agenda.at(int(draw() * span), handler, None)
    began = time.perf_counter()
    agenda.run(NEVER, BARE)
    return BARE / (time.perf_counter() - began)


def rss(*, peak: bool = False) -> int:
    """Bytes of this process in memory, now or at most so far."""
    name = "VmHWM:" if peak else "VmRSS:"
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(name):
                return int(line.split()[1]) << 10
    return 0


@contextmanager
def no_garbage() -> Iterator[None]:
    """Collections happen when enough has died (DEAD_KEPT), not whenever much was made."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
