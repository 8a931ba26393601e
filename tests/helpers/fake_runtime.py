"""A runtime in virtual time that does nothing but write down what it was asked: for tests of the engine."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from opus_controller.engine.runtime import Health, LiveHost, Record, RunInfo
from opus_controller.model.network import Network
from opus_controller.model.plan import App, Fault, Host, HostAbilities, PathTable, Plan, Workload
from opus_controller.model.shapes import AccessLink, HostChange, PathShape

SECOND = 1_000_000_000


def small_plan(*timeline: Fault, clients: Iterable[str] = ("a-1", "b-1", "c-1"), duration_s: int = 10) -> Plan:
    """Three sites a, b, c with two hosts each; one application; a client at each of `clients`."""
    sites = ("a", "b", "c")
    hosts = tuple(
        Host(
            name=f"{site}-{number}",
            index=2 * i + number - 1,
            site=site,
            group=site,
            address=f"198.18.0.{2 * i + number}",
            access=AccessLink(),
            abilities=HostAbilities(),
        )
        for i, site in enumerate(sites)
        for number in (1, 2)
    )
    table = PathTable(shapes=(PathShape(delay_ns=10_000_000),), index=tuple((0, 0, 0) for _ in sites))
    workload = tuple(
        Workload(
            client=client,
            app="web",
            seed=client,
            rate_per_s=1,
            start_ns=SECOND,
            stop_ns=duration_s * SECOND,
            deadline_ns=2 * SECOND,
            keys=10,
            zipf=1.0,
        )
        for client in clients
    )
    return Plan(
        name="small",
        seed=1,
        topology="three",
        duration_ns=duration_s * SECOND,
        sites=sites,
        hosts=hosts,
        paths=table,
        seeds=("a-1",),
        apps=(App(name="web", replicas=1),),
        workload=workload,
        timeline=timeline,
    )


def quiet(t_ns: int) -> Health:
    return Health(t_ns, 0.1, 0, 0, 0, 0)


@dataclass
class FakeRuntime:
    """`calls` holds (virtual time in s, operation, argument) in order."""

    hosts: dict[str, LiveHost] = field(default_factory=dict)
    fail_at: str = ""
    """The operation that raises `failure`."""
    failure: Exception = field(default_factory=lambda: RuntimeError("planted"))
    deaths: dict[int, dict[str, str]] = field(default_factory=dict)
    """Second to hosts that have died by themselves by then."""
    returns: dict[int, list[str]] = field(default_factory=dict)
    """Second to hosts that somebody else has started again by then."""
    noticed: dict[int, list[Record]] = field(default_factory=dict)
    """Second to records that become available then."""
    signal_at: int | None = None
    """The second at which this process gets SIGINT."""
    signal_in: str = ""
    """The operation (`start_workload` or `down`) during which this process gets SIGINT."""
    info: RunInfo = field(default_factory=lambda: RunInfo("fake", "model", {"colour": "blue"}))
    calls: list[tuple[float, str, Any]] = field(default_factory=list)
    networks: list[Network] = field(default_factory=list)
    t: int = 0

    def _call(self, operation: str, argument: Any = None) -> None:
        self.calls.append((self.t / SECOND, operation, argument))
        if operation == self.fail_at:
            raise self.failure

    def did(self, operation: str) -> list[tuple[float, Any]]:
        return [(t, argument) for t, name, argument in self.calls if name == operation]

    async def up(self, plan: Plan) -> None:
        if not self.hosts:
            self.hosts = {host.name: LiveHost(host.name, alive=True) for host in plan.hosts}
        self._call("up")

    def now(self) -> int:
        return self.t

    async def sleep_until(self, t_ns: int) -> None:
        self.t = max(self.t, t_ns)
        if self.signal_at is not None and self.t >= self.signal_at * SECOND:
            self.signal_at = None
            os.kill(os.getpid(), signal.SIGINT)

    async def start_workload(self, workload: Iterable[Workload]) -> None:
        if self.signal_in == "start_workload":
            # A call that ends at the very moment at which it is cancelled: the end is told, and not the cancellation.
            os.kill(os.getpid(), signal.SIGINT)
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
        self._call("start_workload", tuple(load.client for load in workload))

    async def apply_links(self, network: Network) -> None:
        self.networks.append(network)
        self._call("apply_links")

    async def crash(self, hosts: Iterable[str]) -> None:
        self._call("crash", tuple(hosts))

    async def dismiss(self, hosts: Iterable[str]) -> None:
        self._call("dismiss", tuple(hosts))

    async def power_off(self, hosts: Iterable[str], network: Network) -> None:
        self.networks.append(network)
        self._call("power_off", tuple(hosts))

    async def restart(self, hosts: Iterable[str], network: Network) -> None:
        self.networks.append(network)
        self._call("restart", tuple(hosts))

    async def lose_state(self, hosts: Iterable[str]) -> None:
        self._call("lose_state", tuple(hosts))

    async def pause(self, hosts: Iterable[str]) -> None:
        self._call("pause", tuple(hosts))

    async def resume(self, hosts: Iterable[str]) -> None:
        self._call("resume", tuple(hosts))

    async def flood(self, workload: Iterable[Workload]) -> None:
        self._call("flood", tuple(workload))

    async def strain(self, strains: Mapping[str, HostChange]) -> None:
        self._call("strain", dict(strains))

    async def live(self) -> dict[str, LiveHost]:
        self._call("live")
        return self.hosts

    def records(self) -> list[Record]:
        due = [second for second in self.noticed if second * SECOND <= self.t]
        return [record for second in sorted(due) for record in self.noticed.pop(second)]

    async def health(self) -> Health:
        self._call("health")
        return quiet(self.t)

    def died(self) -> Mapping[str, str]:
        due = [second for second in self.deaths if second * SECOND <= self.t]
        return {host: lines for second in due for host, lines in self.deaths.pop(second).items()}

    def returned(self) -> list[str]:
        due = [second for second in self.returns if second * SECOND <= self.t]
        return [host for second in due for host in self.returns.pop(second)]

    async def down(self) -> None:
        if self.signal_in == "down":
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0.05)
        self._call("down")
