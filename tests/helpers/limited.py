"""A runtime whose hosts are nothing but their cgroups: what it does to these is `HostsRuntime`'s own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from opus_controller.engine.faults import Faults
from opus_controller.model.network import Network
from opus_controller.model.plan import Fault, Heal, Host, Plan, Strain
from opus_controller.model.shapes import HostChange
from opus_controller.net.choose import Choice
from opus_controller.runtimes.hosts import cgroups, state
from opus_controller.runtimes.netns import NetnsRuntime

from helpers.fake_runtime import FakeRuntime
from helpers.timelines import undoing

LEAST_CORES = 0.01


class _Nodes:
    async def left(self, names: list[str]) -> None: ...
    async def bury(self, names: list[str]) -> None: ...
    async def restart(self, names: list[str]) -> None: ...
    async def strain(self, strains: Mapping[str, HostChange]) -> None: ...
    def is_alive(self, name: str) -> bool:
        return True


class _Links:
    def apply(self, network: Network | None) -> None: ...


class _Hosts(NetnsRuntime):
    """Without processes, namespaces and disks."""

    async def _renew(self, names: list[str]) -> None: ...
    def _limit_disks(self, names: Iterable[str]) -> None: ...


class Limited(FakeRuntime):
    def __init__(self, plan: Plan, made: state.RunState, mounts: cgroups.Mounts) -> None:
        super().__init__()
        self.limits = cgroups.Limits(made.run, mounts)
        self.made = made
        for name, directories in self.limits.create(plan.hosts).items():
            made.hosts[name].cgroups = directories
        runtime: Any = _Hosts(Choice("userspace", "asked for"))
        runtime._state, runtime._links, runtime._nodes = made, _Links(), _Nodes()
        runtime._abilities = {host.name: host.abilities for host in plan.hosts}
        self._runtime = runtime

    async def strain(self, strains: Mapping[str, HostChange]) -> None:
        await self._runtime.strain(strains)

    async def restart(self, hosts: Iterable[str], network: Network) -> None:
        await self._runtime.restart(hosts, network)

    def differences(self, plan: Plan, faults: list[Fault]) -> Iterator[list[str]]:
        """What `differs` after each of these faults, after each event that undoes them, and at last from a plan without any."""
        hands, whole = Faults(plan, self), [*faults, *undoing(faults)]
        for k, fault in enumerate(whole):
            asyncio.run(hands.strike(fault))
            yield self.differs(plan, whole[: k + 1])
        yield self.differs(plan, [])

    def differs(self, plan: Plan, faults: list[Fault]) -> list[str]:
        """Hosts that have other limits in force than these faults leave them, worked out from their list alone."""
        healed = {one.undoes for one in faults if isinstance(one, Heal)}
        left = [one for one in faults if isinstance(one, Strain) and one.name not in healed]
        return [line for host in plan.hosts if (line := self._differs(host, [s for s in left if host.name in s.target.hosts]))]

    def _differs(self, host: Host, strains: list[Strain]) -> str:
        cpu, memory = host.abilities.cpu, host.abilities.memory
        for strain in strains:
            cpu *= strain.change.cpu
            memory = min(memory, strain.change.memory or memory)
        cores, bytes_left = cgroups.in_force(self.made.hosts[host.name].cgroups)
        right = [round(one, 4) for one in cores] == [round(max(LEAST_CORES, cpu), 4)] and bytes_left == [memory]
        return "" if right else f"{host.name}: {cores} cores, {bytes_left} bytes in force, {cpu:g}, {memory} asked"
