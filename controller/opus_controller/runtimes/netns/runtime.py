"""`NetnsRuntime`: a process and a network namespace a host, forked by a zygote."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from opus_controller.model.errors import PlatformError
from opus_controller.model.plan import Plan, Strain
from opus_controller.net import namespaces
from opus_controller.runtimes.hosts import cgroups, services
from opus_controller.runtimes.hosts.cgroups import Limits
from opus_controller.runtimes.hosts.machine import in_thread, last_lines
from opus_controller.runtimes.hosts.nodes import NODE_PORT
from opus_controller.runtimes.hosts.processes import Process
from opus_controller.runtimes.hosts.runtime import HostsRuntime, there
from opus_controller.runtimes.netns.zygote import Zygote


class NetnsRuntime(HostsRuntime):
    """See `HostsRuntime`."""

    kind = "netns"
    _zygote: Zygote | None = None

    def _check(self, plan: Plan) -> None:
        services.check_without_containers(plan)

    def _lacking(self, plan: Plan) -> dict[str, str]:
        """A pause is a signal here."""
        return cgroups.lacking(plan.hosts[0])

    def _own_disks(self, plan: Plan) -> bool:
        return any(isinstance(fault, Strain) and fault.change.disk is not None for fault in plan.timeline)

    async def _make_hosts(self, plan: Plan, names: list[str]) -> dict[str, Any]:
        began = time.monotonic()
        self._zygote = self._a_zygote()
        zygote = asyncio.create_task(self._zygote.start(exit_with=self.exit_with))
        try:
            limits = await in_thread(lambda: self._make_places(plan))
        finally:
            self.state.zygote = Process.of(await zygote)
        wired = time.monotonic()
        await self.nodes.spawn(names)
        return {
            "limits": limits.refused or [str(path) for path in limits.directories],
            "start_s": {"wired": round(wired - began, 3), "spawned": round(time.monotonic() - wired, 3)},
        }

    async def take_over(self) -> None:
        """Of a testbed that another process has brought up: from here on this one starts hosts anew, and learns of their ends."""
        self._zygote = self._a_zygote()
        await self._zygote.attach()

    def _a_zygote(self) -> Zygote:
        return Zygote(self.state.directory, self.nodes.ended)

    def _make_places(self, plan: Plan) -> Limits:
        """Namespaces, links and cgroups; blocks."""
        state = self.state
        namespaces.create(host.netns for host in state.hosts.values())
        self._make_links()
        for name, host in state.hosts.items():
            self.links.attach(name, namespaces.path_of(host.netns))
        limits = Limits(state.run)
        for name, directories in limits.create(plan.hosts).items():
            state.hosts[name].cgroups = directories
        state.cgroups = [str(path) for path in limits.directories]
        state.save()
        return limits

    async def _start_host(self, name: str) -> Process:
        host = self.state.hosts[name]
        pid = await there(self._zygote).spawn(
            name,
            {
                "netns": str(namespaces.path_of(host.netns)),
                "uid": host.uid,
                "gid": host.uid,
                "control_dir": host.control_dir,
                "listen": f"{self.nodes.address(name)}:{NODE_PORT}",
                "log": host.log,
                "cgroups": host.cgroups,
            },
        )
        process = Process.of(pid)
        if process is None:
            raise PlatformError(f"{name}: its node ended at once: {last_lines(Path(host.log), 1) or 'its log says nothing'}")
        return process

    async def _renew(self, names: list[str]) -> None:
        state, links = self.state, self.links

        def rewire() -> None:
            for name in names:
                links.detach(name)
                namespaces.delete(state.hosts[name].netns)
            namespaces.create(state.hosts[name].netns for name in names)
            for name in names:
                links.attach(name, namespaces.path_of(state.hosts[name].netns))

        async with self._linking:
            await in_thread(rewire)
        self._probes.renew(names, lambda host: state.hosts[host].netns)

    async def _end_hosts(self) -> None:
        if self._zygote is not None:
            await self._zygote.quit()
            await self._zygote.close()

    async def _stop_speaking(self) -> None:
        if self._zygote is not None:
            await self._zygote.close()
