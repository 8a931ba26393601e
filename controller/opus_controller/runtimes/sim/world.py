"""All hosts of a plan, alive in virtual time: steps their cores and does what each `Ready` says."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

from opus_node.choices import choosing
from opus_node.clock import ClockedCore, HostClock
from opus_node.core.budget import meter_every
from opus_node.core.departure import MOST, SENT_BY
from opus_node.core.events import Boot, Event, Leave, Metered, Request, RoleChanged, Wake
from opus_node.core.types import MILLISECOND, Abilities, AppConfig, History, Nanos, NodeConfig, NodeId
from opus_node.core.utility import Utility
from opus_node.folds import notice_to_record
from opus_node.workload import Arrival, Arrivals, WorkloadSpec

from opus_controller.model.history import Histories
from opus_controller.model.history import History as Past
from opus_controller.model.network import Network
from opus_controller.model.plan import App, Host, HostAbilities, Plan
from opus_controller.model.plan import Utility as Worth
from opus_controller.model.shapes import AccessLink, HostChange
from opus_controller.runtimes.sim.agenda import Agenda
from opus_controller.runtimes.sim.border import Border
from opus_controller.runtimes.sim.costs import HopCost, StartCost
from opus_controller.runtimes.sim.fabric import Fabric
from opus_controller.runtimes.sim.host import NONE_SERVED, Away, Core, SimHost, kind_of
from opus_controller.runtimes.sim.parts import Part
from opus_controller.runtimes.sim.processor import Processor
from opus_controller.runtimes.sim.programs import Programs
from opus_controller.runtimes.sim.trace import Trace

MakeCore = Callable[[NodeId, NodeConfig, Random], Core]

_SENT_LOOK: Nanos = 10 * MILLISECOND
"""Between two looks for whether all that a leaving node has said is sent."""
_MOST_STEPS_AT_ONCE = 200_000
"""Of all nodes together, in one instant."""


class World:
    def __init__(
        self,
        plan: Plan,
        make_core: MakeCore,
        hop: HopCost,
        sample_every: Nanos,
        trace: Trace | None,
        start: StartCost | None = None,
        part: Part | None = None,
    ) -> None:
        """`part`: only these hosts live here, the others in other processes. Not with services (`programs` looks at all hosts at
        once), nor with faults: nobody tells the other processes."""
        self.agenda = Agenda()
        kinds: dict[tuple[str, AccessLink], int] = {}
        places = [place_of(host, kinds, part) for host in plan.hosts]
        self.hosts = {place.plan.name: place for place in places if place.here}
        """Those that live here."""
        self.trace = trace
        self.records: list[dict[str, Any]] = []
        self.died: dict[str, str] = {}
        self.by_kind = False
        """Whether hosts that boot from now on keep control bytes by class of message."""
        self.make_random: Callable[[str], Random] = Random
        """A core's own source of randomness, from its seed."""
        self._metering, self._waking = self._meter, self._wake
        """Bound once: each binding that waits on the agenda would be an object of its own."""
        self.steps = 0
        """Of all cores since the beginning."""
        self._plan = plan
        self._make_core = make_core
        self._sample_every = sample_every
        by_id = {place.id: place for place in places}
        seeds = set(plan.seeds)
        addresses = {host.name: host.address for host in plan.hosts if host.name in seeds}
        self.seeds = tuple(addresses[name] for name in plan.seeds)
        self._configs: dict[HostAbilities, NodeConfig] = {}
        self._meter_every = meter_every(config_of(plan, plan.hosts[0], Past()))
        self._specs: dict[str, tuple[WorkloadSpec, ...]] = {}
        self._flood: dict[str, tuple[WorkloadSpec, ...]] = {}
        self._instant: Nanos = -1
        self._steps_at_instant = 0
        self.fabric = Fabric(self.agenda, Network.of(plan), by_id, f"{plan.seed}/network", hop, self.step)
        self.border = Border(self.agenda, self.fabric, places) if part is not None else None
        self._histories = Histories(plan) if part is None else Histories(plan, part.has)
        self._programs = Programs(plan, self)
        down, absent = Network.of(plan).down, plan.absent
        there = [host.name for host in plan.hosts if host.name not in absent]
        delays = (start or StartCost()).delays(there, [name for name in plan.seeds if name not in absent])
        for name, host in self.hosts.items():
            host.powered = name not in down
            if name not in absent:
                self.agenda.put(host.plan.boot_at_ns + delays[name], host, self._boot, host, 0)
        self.agenda.at(sample_every, self._sample)

    # Processes

    def _boot(self, now: Nanos, host: SimHost, incarnation: int, _c: None) -> None:
        """Start the host's node, unless it has been started or switched off before its time came."""
        if host.incarnation >= incarnation or not host.powered:
            return
        host.incarnation = incarnation
        host.control_sent = host.control_received = host.requests = 0
        host.control_by_kind = Counter() if self.by_kind else None
        seed = f"{self._plan.seed}/{host.id}" if incarnation == 0 else f"{self._plan.seed}/{host.id}/{incarnation}"
        history = self._histories.began(host.plan.name, now)
        host.core = self._make_core(host.id, self._told(host.plan, history), self.make_random(seed))
        if host.clock is not None:
            host.core = ClockedCore(host.core, host.clock, host.id)
        self._start_clients(host, now)
        self.step(host, Boot(self.seeds, incarnation), now)
        self.agenda.put(now + self._meter_every, host, self._metering, host, incarnation)

    def _told(self, host: Host, history: Past) -> NodeConfig:
        """Hosts that are alike are told the same, and but one copy of it is kept; what a host has lived is its own."""
        shared = self._configs.get(host.abilities)
        if shared is None:
            shared = self._configs[host.abilities] = config_of(self._plan, host, Past())
        if history == Past():
            return shared
        return replace(shared, history=History(history.age, history.sessions, history.up, history.away))

    def _meter(self, now: Nanos, host: SimHost, incarnation: int, _c: None) -> None:
        """As a process's event loop does: not while it is paused, and then a moment later."""
        if host.core is None or host.incarnation != incarnation:
            return
        self.agenda.put(now + self._meter_every, host, self._metering, host, incarnation)
        host.forget_calls(now)
        if not host.paused:
            self.step(host, Metered(host.control_sent + host.control_received), now)

    def kill(self, host: SimHost, *, powered: bool) -> None:
        """End the host's process; with `powered` its kernel stays and resets connections, or, if it has left, closes them."""
        now, left = self.agenda.now, host.left
        host.powered = powered
        if host.core is None:
            return
        self._histories.ended(host.plan.name, now)
        host.core = None
        host.paused = host.leaving = host.left = False
        host.waiting.clear()
        host.wake_at = host.woken_at = None
        host.clients = ()
        host.serving = NONE_SERVED
        if powered and left:
            self.fabric.left(host, now)
        elif powered:
            self.fabric.crashed(host, now)
        else:
            self.fabric.forget(host)

    def dismiss(self, host: SimHost) -> None:
        """Ask its node to go: it ends by itself, and soon in any case."""
        if host.core is None or host.leaving:
            return
        now = self.agenda.now
        host.leaving, host.clients = True, ()
        self.agenda.put(now + MOST + SENT_BY, host, self._end, host, host.incarnation)
        self.step(host, Leave(), now)

    def _sent(self, now: Nanos, host: SimHost, incarnation: int, by: Nanos) -> None:
        """Ends a node that has left when all it has said is sent."""
        if now < by and host.incarnation == incarnation and self.fabric.has_unsent(host):
            self.agenda.put(now + _SENT_LOOK, host, self._sent, host, incarnation, by)
        else:
            self._end(now, host, incarnation, None)

    def _end(self, now: Nanos, host: SimHost, incarnation: int, _c: None) -> None:
        if host.core is not None and host.incarnation == incarnation:
            self.kill(host, powered=True)

    def restart(self, host: SimHost) -> None:
        """One that is leaving goes now."""
        host.powered = True
        if host.leaving:
            self.kill(host, powered=True)
        if host.core is None:
            self._boot(self.agenda.now, host, host.incarnation + 1, None)

    def lose_state(self, host: SimHost) -> None:
        """Of a dead host, or one that is leaving, which goes now: what its node, kernel and clients hold dies with it."""
        if host.leaving:
            self.kill(host, powered=True)
        host.stored = frozenset()
        self._histories.lost(host.plan.name)

    def strain(self, host: SimHost, strain: HostChange) -> None:
        """From now on."""
        now = self.agenda.now
        if strain.cpu != host.share:
            host.share, host.processor = strain.cpu, Processor(strain.cpu, now) if strain.cpu < 1 else None
        host.disk, host.write_bps = strain.disk, strain.write_bps
        if not host.skew.fits(strain):
            host.skew = host.skew.under(strain, now)
            self._set_clock(host, now)

    def _set_clock(self, host: SimHost, now: Nanos) -> None:
        """What is due may be due at once, or later than it was: the core is asked."""
        if host.clock is None:
            host.clock = HostClock()
            host.core = None if host.core is None else ClockedCore(host.core, host.clock, host.id)
        host.clock.set(now, host.skew.ahead_ns, host.skew.drift_ppm)
        if host.core is not None:
            host.wake_at = host.woken_at = now
            self.agenda.put(now, host, self._wake, host, now, host.incarnation)

    def resume(self, host: SimHost) -> None:
        """What its kernel kept comes first, then what its clocks missed."""
        host.paused = False
        waiting, host.waiting = host.waiting, []
        for _, handler, a, b, c in sorted(waiting, key=lambda entry: entry[0]):
            self.agenda.put(self.agenda.now, host, handler, a, b, c)

    # Steps

    def step(self, host: SimHost, event: Event, now: Nanos) -> None:
        """One event into a core that runs, and everything that comes out done."""
        core = host.core
        assert core is not None
        self.steps += 1
        if now == self._instant:
            self._guard(host, now)
        else:
            self._instant, self._steps_at_instant = now, 0
        try:
            ready = core.step(event, now)
        except Exception:  # noqa: BLE001  (a bug ends this node as it would its process; the engine reports who died, and why)
            self._die(host, traceback.format_exc())
            return
        if self.trace is not None:
            self.trace.step(now, host.plan.index, event, ready)
        send = self.fabric.send
        for out in ready.sends:
            send(host, out.to, out.message, now)
        for notice in ready.notices:
            self.records.append(notice_to_record(now, host.plan.name, notice))
            if type(notice) is RoleChanged:
                _note_role(host, notice)
                self._programs.role_changed(host, notice, now)
        for serve in ready.serves:
            self._programs.serve(host, serve, now)
        if ready.left and not host.left:
            host.left = True
            self.agenda.put(now, host, self._sent, host, host.incarnation, now + SENT_BY)
        wake_at = ready.wake_at
        if wake_at != host.wake_at:
            host.wake_at = wake_at
            if wake_at is not None and (host.woken_at is None or wake_at < host.woken_at):
                host.woken_at = wake_at
                self.agenda.put(wake_at, host, self._waking, host, wake_at, host.incarnation)

    def _wake(self, now: Nanos, host: SimHost, asked_for: Nanos, incarnation: int) -> None:
        """Wishes change with nearly every step, so one entry is kept, and passed on if it is for an older, earlier wish."""
        if host.core is None or host.incarnation != incarnation or host.woken_at != asked_for:
            return
        if host.paused:
            host.waiting.append((1, self._wake, host, asked_for, incarnation))
            return
        host.woken_at = None
        wake_at = host.wake_at
        if wake_at is None:
            return
        if wake_at > now:
            host.woken_at = wake_at
            self.agenda.put(wake_at, host, self._waking, host, wake_at, incarnation)
            return
        host.wake_at = None
        self.step(host, Wake(), now)

    def _guard(self, host: SimHost, now: Nanos) -> None:
        """Virtual time, unlike real time, does not pass by itself: a core that always wants one more step ends a run here."""
        self._steps_at_instant += 1
        if self._steps_at_instant > _MOST_STEPS_AT_ONCE:
            raise RuntimeError(f"the node of {host.plan.name} is stepped again and again at {now} ns: time stands still")

    def _die(self, host: SimHost, why: str) -> None:
        self.died[host.plan.name] = why
        self.kill(host, powered=True)

    # Clients

    def start_workload(self, specs: Iterable[tuple[str, WorkloadSpec]]) -> None:
        """From now on these (client host, requests), instead of any before."""
        self._specs = {}
        for name, spec in specs:
            self._specs[name] = (*self._specs.get(name, ()), spec)
        for host in self.hosts.values():
            if host.core is not None and not host.leaving:
                self._start_clients(host, self.agenda.now)

    def flood(self, specs: Iterable[tuple[str, WorkloadSpec]]) -> None:
        """From now on these beside the others, in place of those before."""
        before, self._flood = self._flood, {}
        for name, spec in specs:
            self._flood[name] = (*self._flood.get(name, ()), spec)
        for name, host in self.hosts.items():
            old, new = before.get(name, ()), self._flood.get(name, ())
            if host.core is not None and not host.leaving and old != new:
                host.clients = tuple(client for client in host.clients if client.spec not in old or client.spec in new)
                self._await_clients(host, [spec for spec in new if spec not in old])

    def _start_clients(self, host: SimHost, now: Nanos) -> None:
        """A process takes up its workload where time is now; what a dead one would have asked is never asked."""
        host.clients = ()
        self._await_clients(host, (*self._specs.get(host.plan.name, ()), *self._flood.get(host.plan.name, ())))

    def _await_clients(self, host: SimHost, specs: Iterable[WorkloadSpec]) -> None:
        clients = tuple(Arrivals(spec) for spec in specs)
        host.clients += clients
        for client in clients:
            self._await_arrival(host, client, client.next_after(self.agenda.now - 1))

    def _await_arrival(self, host: SimHost, client: Arrivals, arrival: Arrival | None) -> None:
        if arrival is not None:
            self.agenda.put(arrival.at_ns, host, self._arrival, host, client, arrival)

    def _arrival(self, now: Nanos, host: SimHost, client: Arrivals, arrival: Arrival) -> None:
        if client not in host.clients:  # of a process or a workload that has ended
            return
        if host.paused:
            host.waiting.append((1, self._arrival, host, client, arrival))
            return
        self._await_arrival(host, client, client.next())
        spec, number = client.spec, host.requests
        host.requests += 1
        deadline, sizes = now + spec.deadline_ns, (spec.request_bytes, spec.reply_bytes)
        self.step(host, Request(spec.app, number, arrival.key, arrival.write, *sizes, deadline), now)

    # Samples

    def _sample(self, now: Nanos, _a: None, _b: None, _c: None) -> None:
        """What a scrape of every running node's metrics would give."""
        for host in self.hosts.values():
            if host.core is not None and not host.paused and not host.leaving:
                self.records.append(sample_of(now, host, host.core))
        self.agenda.at(now + self._sample_every, self._sample)


def place_of(host: Host, kinds: dict[tuple[str, AccessLink], int], part: Part | None) -> SimHost:
    if part is None or part.has(host):
        return SimHost.of(host, kinds)
    return Away(host, kind_of(host, kinds), part.of_site[host.site])


def _note_role(host: SimHost, notice: RoleChanged) -> None:
    """An agent or a replica may keep more channels."""
    if notice.role in ("agent", "replica"):
        role = {(notice.role, notice.app)}
        host.serving = host.serving | role if notice.active else host.serving - role


def sample_of(now: Nanos, host: SimHost, core: Core) -> dict[str, Any]:
    snapshot = core.snapshot()
    return {
        "t": now,
        "host": host.plan.name,
        "kind": "sample",
        "entries": snapshot.entries,
        "state_bytes": snapshot.state_bytes,
        "is_agent": snapshot.is_agent,
        "nodes": snapshot.nodes,
        "requests_served": snapshot.requests_served,
        "requests_routed": snapshot.requests_routed,
        "requests_shed": snapshot.requests_shed,
        "control_bytes_sent": host.control_sent,
        "control_bytes_received": host.control_received,
        **({"spread": {one.app: [one.links, one.copies, one.needless] for one in snapshot.spreads}} if snapshot.spreads else {}),
    }


def config_of(plan: Plan, host: Host, history: Past) -> NodeConfig:
    """What the node is told at boot: applications, its abilities and past, the overlay's settings; nothing of other hosts."""
    abilities = host.abilities
    addresses = {other.name: other.address for other in plan.hosts} if any(app.members for app in plan.apps) else {}
    return NodeConfig(
        apps=tuple(_told(app, addresses) for app in plan.apps),
        abilities=Abilities(abilities.cpu, abilities.memory, abilities.storage, abilities.bandwidth),
        history=History(history.age, history.sessions, history.up, history.away),
        **{name: value for name, value in plan.overlay.model_dump().items() if value is not None},
    )


def _told(app: App, addresses: Mapping[str, str]) -> AppConfig:
    return AppConfig(
        app.name,
        app.replicas,
        app.service is not None,
        most=app.most,
        availability=app.availability,
        policy=app.policy,
        service_time=app.service_time_ns,
        queue=app.queue_ns,
        hedge=app.hedge_ns,
        utility=None if app.utility is None else _worth(app.utility),
        floor=0 if app.utility is None else app.utility.floor,
        memory=app.memory,
        storage=app.storage,
        consistency=app.consistency,
        staleness=app.staleness_ns,
        missed=app.missed,
        static=app.static,
        members=tuple(addresses[name] for name in app.members),
        spread=app.spread,
        shards=app.shards,
        copies=app.copies,
        **choosing(app.choice),
    )


def _worth(told: Worth) -> Utility:
    return Utility(
        told.worth,
        told.combine == "least",
        told.latency_quantile or 0.95,
        tuple((float(ns), share) for ns, share in told.latency_ns),
        told.availability,
        told.throughput_per_s,
    )
