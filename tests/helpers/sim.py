"""Small plans and a scripted core for tests of the simulator."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from opus_controller.model.network import Cut, Network
from opus_controller.model.plan import App, Host, HostAbilities, PathTable, Plan, Workload
from opus_controller.model.shapes import AccessLink, PathShape
from opus_controller.runtimes.sim import HopCost, SimRuntime
from opus_node.core.events import Boot, Event, Notice, Ready, Receive, Request, RequestDone, Send, Snapshot, Unreachable
from opus_node.core.messages import Message, Probe, RouteRequest
from opus_node.core.types import MILLISECOND, SECOND, NodeConfig

HOP = HopCost(0, "none, so that sums can be done by hand", 0)


def host(name: str, site: str, index: int, access: AccessLink | None = None, boot_at_ns: int = 0) -> Host:
    return Host(
        name=name,
        index=index,
        site=site,
        group=site,
        address=f"198.18.0.{index + 1}",
        access=access or AccessLink(),
        abilities=HostAbilities(),
        boot_at_ns=boot_at_ns,
    )


def plan(
    *,
    there: PathShape | None = None,
    back: PathShape | None = None,
    access: AccessLink | None = None,
    names: Iterable[str] = ("a", "b"),
    seed: int = 1,
    workload: tuple[Workload, ...] = (),
) -> Plan:
    """Host a in site x, all others in site y; x to y is `there`, y to x `back`."""
    there = there or PathShape(delay_ns=20 * MILLISECOND)
    hosts = tuple(host(name, "x" if i == 0 else "y", i, access) for i, name in enumerate(names))
    return Plan(
        name="toy",
        seed=seed,
        topology="toy",
        duration_ns=60 * SECOND,
        sites=("x", "y"),
        hosts=hosts,
        paths=PathTable(shapes=(PathShape(delay_ns=MILLISECOND), there, back or there), index=((0, 1), (2, 0))),
        seeds=(hosts[0].name,),
        apps=(App(name="web", replicas=1),),
        workload=workload,
    )


def request(payload: int, number: int = 0) -> RouteRequest:
    """A message that carries so many bytes."""
    return RouteRequest("web", "198.18.0.1", number, 1, 0, False, 0, False, SECOND, 1000, payload)


@dataclass
class Toy:
    """A core that sends what it was told to send at given times and remembers what comes in."""

    id: str
    config: NodeConfig
    rng: Random
    outbox: deque[tuple[int, str, Message]] = field(default_factory=deque)
    """In order of time."""
    log: list[tuple[int, Event]] = field(default_factory=list)

    def step(self, event: Event, now: int) -> Ready:
        self.log.append((now, event))
        due = []
        while self.outbox and self.outbox[0][0] <= now:
            _, to, message = self.outbox.popleft()
            due.append(Send(to, message))
        notices: tuple[Notice, ...] = ()
        if isinstance(event, Request):
            done = RequestDone(
                event.app, event.request, event.key, event.write, now, now, "ok", self.id, now, 0, 0, "self", event.request == 1
            )
            notices = (done,)
        return Ready(tuple(due), (), notices, self.outbox[0][0] if self.outbox else None)

    def snapshot(self) -> Snapshot:
        return Snapshot("", False, (), (), (), 0, len(self.log), 0, 0, 0)

    def received(self) -> list[tuple[int, Message]]:
        return [(t, event.message) for t, event in self.log if isinstance(event, Receive)]

    def requests(self) -> list[tuple[int, str, int]]:
        """Of what `request` made: when, from whom, its number."""
        return [
            (t, event.source, event.message.request)
            for t, event in self.log
            if isinstance(event, Receive) and isinstance(event.message, RouteRequest)
        ]

    def unreachable(self) -> list[int]:
        return [t for t, event in self.log if isinstance(event, Unreachable)]

    def boots(self) -> list[int]:
        return [event.incarnation for _, event in self.log if isinstance(event, Boot)]


class Bench:
    """A simulator full of toys; every incarnation of a host's toy is kept."""

    def __init__(
        self, plan: Plan, outbox: Iterable[tuple[str, int, str, Message]] = (), hop: HopCost = HOP, **options: Any
    ) -> None:
        """`outbox`: (from host, at ns, to host, message), sent by the first incarnation. `options` of SimRuntime."""
        self.plan = plan
        self.network = Network.of(plan)
        self.address = {h.name: h.address for h in plan.hosts}
        self._outbox = list(outbox)
        self.toys: dict[str, list[Toy]] = {h.name: [] for h in plan.hosts}
        self.sim = SimRuntime(make_core=self._make, hop_cost=hop, **options)
        self.do(self.sim.up(plan))

    def _make(self, node_id: str, config: NodeConfig, rng: Random) -> Toy:
        name = next(h.name for h in self.plan.hosts if h.address == node_id)
        toy = Toy(node_id, config, rng)
        if not self.toys[name]:
            mine = [(at, self.address[to], message) for source, at, to, message in self._outbox if source == name]
            toy.outbox = deque(sorted(mine, key=lambda entry: entry[0]))
        self.toys[name].append(toy)
        return toy

    def do(self, coroutine: object) -> None:
        asyncio.run(coroutine)  # type: ignore[arg-type]

    def until(self, t: int) -> Bench:
        self.do(self.sim.sleep_until(t))
        return self

    def toy(self, name: str) -> Toy:
        return self.toys[name][-1]

    def arrivals(self, name: str) -> list[int]:
        return [t for t, _ in self.toy(name).received()]

    def cut(self, source: str, target: str, *, both: bool = True) -> None:
        one, other = frozenset([source]), frozenset([target])
        cuts = (Cut(one, other), Cut(other, one)) if both else (Cut(one, other),)
        self.apply(cuts)

    def apply(self, cuts: tuple[Cut, ...] = (), down: Iterable[str] = ()) -> Network:
        base = Network.of(self.plan)
        self.network = Network(base.hosts, base.sites, base.paths, cuts=cuts, down=frozenset(down))
        self.do(self.sim.apply_links(self.network))
        return self.network


def warm(at: int = 0) -> tuple[str, int, str, Message]:
    """A first message from a to b, to have the channel open."""
    return ("a", at, "b", Probe(0, stream=True))
