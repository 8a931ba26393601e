"""The runtime `sim`: a plan in one process and virtual time, exactly reproducible."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opus_node.core.types import SECOND, Nanos
from opus_node.workload import WorkloadSpec

from opus_controller.engine.runtime import Health, LiveHost, Record, RunInfo
from opus_controller.model.network import Network
from opus_controller.model.plan import Plan, Workload
from opus_controller.model.shapes import NOTHING_TAKEN, HostChange
from opus_controller.runtimes.sim.costs import HopCost, StartCost
from opus_controller.runtimes.sim.host import Core, SimHost
from opus_controller.runtimes.sim.trace import Trace
from opus_controller.runtimes.sim.world import MakeCore, World

_SLICE = 20_000
"""Agenda entries between two chances for other asyncio tasks (progress, signals)."""


class SimRuntime:
    """See `engine.runtime.Runtime`.

    `make_core` builds a node's core; the default is the overlay's own, a baseline comes in the same way. Without `trace`
    there is no digest, and the run is about a tenth faster.
    """

    def __init__(
        self,
        *,
        make_core: MakeCore | None = None,
        hop_cost: HopCost | None = None,
        start_cost: StartCost | None = None,
        sample_every: Nanos = 5 * SECOND,
        trace: bool = True,
    ) -> None:
        self._make_core = make_core or _overlay_core
        self._hop = hop_cost or HopCost()
        self._start = start_cost or StartCost()
        self._sample_every = sample_every
        self._trace = Trace() if trace else None
        self._world: World | None = None
        self._down = False
        self.info = RunInfo("sim", "model")
        self._tell_facts()

    async def up(self, plan: Plan) -> None:
        self._world = World(plan, self._make_core, self._hop, self._sample_every, self._trace, self._start)
        await self.sleep_until(0)

    def now(self) -> int:
        return self._world.agenda.now if self._world is not None else 0

    async def sleep_until(self, t_ns: int) -> None:
        agenda = self._living.agenda
        reached = False
        while not reached:
            with _no_garbage_collection():
                reached = agenda.run(t_ns, _SLICE)
            await asyncio.sleep(0)

    async def start_workload(self, workload: Iterable[Workload]) -> None:
        self._living.start_workload((load.client, _spec(load)) for load in workload)

    async def apply_links(self, network: Network) -> None:
        self._living.fabric.apply(network)

    async def crash(self, hosts: Iterable[str]) -> None:
        for host in self._named(hosts):
            self._living.kill(host, powered=True)

    async def dismiss(self, hosts: Iterable[str]) -> None:
        for host in self._named(hosts):
            self._living.dismiss(host)

    async def power_off(self, hosts: Iterable[str], network: Network) -> None:
        self._living.fabric.apply(network)
        for host in self._named(hosts):
            self._living.kill(host, powered=False)

    async def restart(self, hosts: Iterable[str], network: Network) -> None:
        self._living.fabric.apply(network)
        for host in self._named(hosts):
            self._living.restart(host)

    async def lose_state(self, hosts: Iterable[str]) -> None:
        for host in self._named(hosts):
            self._living.lose_state(host)

    async def pause(self, hosts: Iterable[str]) -> None:
        for host in self._named(hosts):
            host.paused = host.core is not None

    async def resume(self, hosts: Iterable[str]) -> None:
        for host in self._named(hosts):
            if host.paused:
                self._living.resume(host)

    async def flood(self, workload: Iterable[Workload]) -> None:
        self._living.flood((load.client, _spec(load)) for load in workload)

    async def strain(self, strains: Mapping[str, HostChange]) -> None:
        for name, host in self._living.hosts.items():
            self._living.strain(host, strains.get(name, NOTHING_TAKEN))

    async def live(self) -> dict[str, LiveHost]:
        hosts = self._living.hosts
        name_of = {host.id: name for name, host in hosts.items()}
        return {name: _live(host, host.core, name_of) for name, host in hosts.items()}

    def records(self) -> list[Record]:
        if self._world is None:
            return []
        records: list[Record] = list(self._world.records)
        self._world.records.clear()
        return records

    async def health(self) -> Health:
        """All well: no machine is too busy for virtual time, nothing is dropped that was not asked for."""
        return Health(self.now(), 0.0, 0, 0, 0, 0)

    def died(self) -> Mapping[str, str]:
        """Nodes whose core raised an exception, with its traceback."""
        if self._world is None:
            return {}
        died, self._world.died = self._world.died, {}
        return died

    def returned(self) -> tuple[str, ...]:
        return ()

    async def down(self) -> None:
        """Virtual time ends; records and facts stay readable."""
        self._down = True
        gc.unfreeze()
        self._tell_facts()

    def trace_digest(self) -> str | None:
        """sha256 over every step so far; None without a trace."""
        return self._trace.digest() if self._trace is not None else None

    @property
    def _living(self) -> World:
        if self._world is None or self._down:
            raise RuntimeError("the simulator is not up")
        return self._world

    def _named(self, names: Iterable[str]) -> list[SimHost]:
        hosts = self._living.hosts
        return [hosts[name] for name in names]

    def _tell_facts(self) -> None:
        facts: dict[str, Any] = {"hop_cost_ns": self._hop.per_message_ns, "dial_cost_ns": self._hop.dial_ns}
        facts["hop_cost_source"] = self._hop.source
        facts |= {"start_each_ns": self._start.each_ns, "start_source": self._start.source}
        if self._trace is not None:
            facts["trace_digest"] = self._trace.digest()
            facts["steps"] = self._trace.steps
        if self._world is not None:
            fabric = self._world.fabric
            facts |= {"messages": fabric.delivered, "dials": fabric.dials, "undelivered": dict(sorted((+fabric.drops).items()))}
        self.info = RunInfo("sim", "model", facts)


def _overlay_core(node_id: str, config: Any, rng: Any) -> Core:
    from opus_node.baselines import core_of

    return core_of(node_id, config, rng)


def _spec(load: Workload) -> WorkloadSpec:
    return WorkloadSpec(**load.model_dump(exclude={"client"}))


def _live(host: SimHost, core: Core | None, name_of: Mapping[str, str]) -> LiveHost:
    if core is None or host.leaving:
        return LiveHost(host.plan.name, alive=False)
    snapshot = core.snapshot()
    return LiveHost(
        name=host.plan.name,
        alive=True,
        paused=host.paused,
        is_agent=snapshot.is_agent,
        agent=name_of.get(snapshot.agent, ""),
        replica_of=snapshot.replica_of,
        steward_of=snapshot.steward_of,
        nodes=snapshot.nodes,
        served=snapshot.requests_served,
        routed=snapshot.requests_routed,
        entries=snapshot.entries,
    )


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """The loop makes millions of short-lived objects and next to no cycles; looking for some among all that the nodes hold
    costs a tenth of the time. What is alive afterwards is exempt from later searches until `down`."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
