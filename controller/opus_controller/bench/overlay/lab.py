"""A simulated overlay in the hands of an experiment: let time pass, ask, break, look. Synchronous, deterministic.

It drives `runtimes.sim.world.World` directly: the runtime's own door has no way to issue one request at one moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from opus_node.core.events import Event, Ready, Receive, Request
from opus_node.core.messages import RouteRefuse, RouteRequest
from opus_node.core.types import Nanos, NodeConfig, NodeId
from opus_node.workload import WorkloadSpec

from opus_controller.bench.overlay.settings import Settings
from opus_controller.bench.worlds import APP, SECOND
from opus_controller.model.errors import InvalidRun
from opus_controller.model.network import Network
from opus_controller.model.plan import PathTable, Plan
from opus_controller.runtimes.sim.costs import HopCost
from opus_controller.runtimes.sim.host import Core, SimHost
from opus_controller.runtimes.sim.trace import Trace
from opus_controller.runtimes.sim.world import World, sample_of

Record = dict[str, Any]
MakeCore = Callable[[NodeId, NodeConfig, Random], Core]

REQUEST_BYTES, REPLY_BYTES = 200, 1000
_NEVER: Nanos = 10**9 * SECOND
_SLICE = 1_000_000


class Tally(Trace):
    """Counts what nodes send, by class, instead of digesting it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: Counter[tuple[int, type]] = Counter()
        """(host's index, class of message)."""
        self.forwarded = 0
        """Requests passed on by agents, each try."""
        self.again = 0
        """Times that clients or agents asked a host again, since its answer was due."""
        self.to_forward = 0
        """Requests that came to somebody to be passed on."""
        self.refused: set[tuple[int, int]] = set()
        """(client's index, request) that somebody refused, as who is no replica any more; never iterated."""

    def step(self, now: Nanos, host: int, event: Event, ready: Ready) -> None:
        self.steps += 1
        if type(event) is Receive and type(event.message) is RouteRequest:
            self.to_forward += event.message.hops == 1 and not event.message.direct and not event.message.again
        elif type(event) is Receive and type(event.message) is RouteRefuse:
            self.refused.add((host, event.message.request))
        for send in ready.sends:
            kind = type(send.message)
            self.sent[host, kind] += 1
            if kind is RouteRequest:
                again: bool = send.message.again  # type: ignore[union-attr]
                self.again += again
                self.forwarded += send.message.hops > 1 and not again  # type: ignore[union-attr]


class Lab:
    def __init__(self, plan: Plan, settings: Settings | None = None, *, make_core: MakeCore | None = None) -> None:
        self.plan = plan
        self.tally = Tally()
        self.hop = HopCost()
        self.events: list[Record] = []
        """All notices but requests."""
        self.requests: list[Record] = []
        """Of the span since the last `forget`."""
        self._settings = settings or Settings()
        self._make = make_core or _overlay
        self._configs: list[NodeConfig] = []
        self._network = Network.of(plan)
        self._bytes_of_dead = 0
        self.world = World(plan, self._core, self.hop, _NEVER, self.tally)
        self.world.by_kind = True

    def _core(self, node: NodeId, config: NodeConfig, rng: Random) -> Core:
        config = self._settings.of(config)
        self._configs.append(config)
        return self._make(node, config, rng)

    # Time

    @property
    def now(self) -> Nanos:
        return self.world.agenda.now

    @property
    def now_s(self) -> float:
        return self.now / SECOND

    def run_until(self, seconds: float) -> None:
        """Raises InvalidRun if a node's core ended with an exception meanwhile."""
        while not self.world.agenda.run(round(seconds * SECOND), _SLICE):
            self._collect()
        self._collect()
        if self.world.died:
            name, why = next(iter(self.world.died.items()))
            raise InvalidRun(f"the node of {name} died of {why.strip().splitlines()[-1]}; no figure of this run means anything")

    def run_for(self, seconds: float) -> None:
        self.run_until(self.now_s + seconds)

    def _collect(self) -> None:
        for record in self.world.records:
            (self.requests if record["kind"] == "request" else self.events).append(record)
        self.world.records.clear()

    def forget(self) -> None:
        """Requests done so far do not count."""
        self._collect()
        self.requests.clear()

    # Clients

    def workload(self, rates: dict[str, float], *, deadline_s: float = 2.0, label: str = "") -> None:
        """From now on each client of `rates` asks so many times a second, open loop; whatever was asked before ends."""
        now = self.now
        self.world.start_workload(
            (name, _spec(name, rate, now, f"{self.plan.seed}/{label}/{name}", deadline_s)) for name, rate in rates.items()
        )

    def everyone_asks(self, total_rate: float, *, deadline_s: float = 2.0, label: str = "") -> None:
        names = [host.name for host in self.plan.hosts]
        self.workload({name: total_rate / len(names) for name in names}, deadline_s=deadline_s, label=label)

    def ask(self, names: Iterable[str], at: Nanos, *, deadline_s: float) -> int:
        """One request of each of these clients that lives at that moment; how many were put down."""
        asked = 0
        for name in names:
            self.world.agenda.at(at, self._ask, self.world.hosts[name], round(deadline_s * SECOND))
            asked += 1
        return asked

    def _ask(self, now: Nanos, host: SimHost, deadline: Nanos, _c: None) -> None:
        if host.core is None:
            return
        number = host.requests
        host.requests += 1
        self.world.step(host, Request(APP, number, 0, False, REQUEST_BYTES, REPLY_BYTES, now + deadline), now)

    # Breaking and changing

    def power_off(self, names: Sequence[str]) -> None:
        """Silence: the links are cut in the same instant."""
        self._network = replace(self._network, down=self._network.down | frozenset(names))
        self.world.fabric.apply(self._network)
        for name in names:
            self._bytes_of_dead += _control(self.world.hosts[name])
            self.world.kill(self.world.hosts[name], powered=False)

    def restart(self, names: Sequence[str]) -> None:
        self._network = replace(self._network, down=self._network.down - frozenset(names))
        self.world.fabric.apply(self._network)
        for name in names:
            self.world.restart(self.world.hosts[name])

    def lose_packets(self, share: float) -> None:
        """Every path loses this share of its packets from now on."""
        paths = self._network.paths
        shapes = tuple(shape.model_copy(update={"loss": share}) for shape in paths.shapes)
        self._network = replace(self._network, paths=PathTable.model_construct(shapes=shapes, index=paths.index))
        self.world.fabric.apply(self._network)

    def lengthen(self, sites: Sequence[str], factor: float) -> None:
        """From now on paths that begin or end at one of these sites take `factor` times what the topology says, those within
        it, too; access links are as they were."""
        some, between = set(sites), self._network.between
        changed = {
            (a, b): between(a, b).model_copy(update={"delay_ns": round(factor * between(a, b).delay_ns)})
            for a in self.plan.sites
            for b in self.plan.sites
            if a in some or b in some
        }
        self._network = replace(self._network, overrides={**self._network.overrides, **changed})
        self.world.fabric.apply(self._network)

    @property
    def network(self) -> Network:
        """As it is now."""
        return self._network

    def reconfigure(self, **node: Any) -> None:
        """Give every node other settings while it runs, as if it had been born with them: the rest of its state stays."""
        self._settings = self._settings.but(**node)
        for config in self._configs:
            for name, value in node.items():
                object.__setattr__(config, name, value)  # ours: made for this one node, which only reads it

    def retell(self, **app: Any) -> None:
        """The same with an application's settings, its size among them; stewards' desks have copies of their own."""
        for config in self._configs:
            for one in config.apps:
                for name, value in app.items():
                    object.__setattr__(one, name, value)
        for host in self.alive():
            role = getattr(host.core, "_role", None)
            for desk in role.stewards.desks.values() if role is not None else ():
                desk.config = replace(desk.config, **app)

    # Looking

    def alive(self) -> list[SimHost]:
        return [host for host in self.world.hosts.values() if host.core is not None]

    def snapshots(self) -> dict[str, Any]:
        return {host.plan.name: host.core.snapshot() for host in self.alive() if host.core is not None}

    def samples(self) -> dict[str, Record]:
        """Counters and tables of every live host, by name."""
        return {host.plan.name: sample_of(self.now, host, host.core) for host in self.alive() if host.core is not None}

    def control_bytes(self) -> int:
        """Sent and received by all hosts since the beginning, those that fell silent included."""
        return self._bytes_of_dead + sum(_control(host) for host in self.alive())

    def control_by_kind(self) -> dict[str, Counter[str]]:
        """The same by kind of message, of every live host since its process began."""
        return {host.plan.name: Counter(host.control_by_kind or ()) for host in self.alive()}

    def replicas(self) -> list[str]:
        return [name for name, one in self.snapshots().items() if APP in one.replica_of]

    def agents(self) -> list[str]:
        return [name for name, one in self.snapshots().items() if one.is_agent]


def _control(host: SimHost) -> int:
    return host.control_sent + host.control_received if host.core is not None else 0


def _overlay(node: NodeId, config: NodeConfig, rng: Random) -> Core:
    from opus_node.baselines import core_of

    return core_of(node, config, rng)


def _spec(name: str, rate: float, start: Nanos, seed: str, deadline_s: float) -> WorkloadSpec:
    return WorkloadSpec(
        app=APP,
        seed=seed,
        rate_per_s=rate,
        start_ns=start,
        stop_ns=_NEVER,
        deadline_ns=round(deadline_s * SECOND),
        keys=1000,
        zipf=0.99,
        request_bytes=REQUEST_BYTES,
        reply_bytes=REPLY_BYTES,
    )
