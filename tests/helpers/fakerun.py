"""A run's directory made up by hand, so that every figure of its report can be worked out on paper.

Times are seconds and milliseconds here, as a person would write them; the files have the usual integer nanoseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opus_controller.engine.ledger import Ledger, link_change
from opus_controller.engine.record import RunRecord
from opus_controller.engine.runtime import Health
from opus_controller.model.plan import App, Expectation, Fault, Host, HostAbilities, LinkChange, PathTable, Place, Plan, Workload
from opus_controller.model.shapes import AccessLink, PathShape, ShapeChange

SECOND = 1_000_000_000
MS = 1_000_000


def s(seconds: float) -> int:
    return round(seconds * SECOND)


def ms(milliseconds: float) -> int:
    return round(milliseconds * MS)


def make_plan(
    *,
    one_way_ms: Mapping[tuple[str, str], float],
    hosts: Mapping[str, int],
    clients: Sequence[str] = (),
    access_ms: float = 0.0,
    within_ms: float = 0.0,
    apps: Mapping[str, int] | None = None,
    duration_s: float = 60.0,
    timeline: Sequence[Fault] = (),
    expectations: Sequence[Expectation] = (),
    places: Sequence[Place | None] = (),
    name: str = "made-up",
    topology: str = "made-up sites",
    rate_per_s: float = 1.0,
) -> Plan:
    """`hosts`: site to number of hosts, named "site-1", "site-2", ...; `one_way_ms` need give each pair of sites once."""
    sites = tuple(hosts)
    shapes: list[PathShape] = []
    index: list[tuple[int, ...]] = []
    for a in sites:
        row = []
        for b in sites:
            delay = within_ms if a == b else one_way_ms.get((a, b), one_way_ms.get((b, a), 0.0))
            row.append(len(shapes))
            shapes.append(PathShape(delay_ns=ms(delay)))
        index.append(tuple(row))
    table: list[Host] = []
    for site, n in hosts.items():
        for k in range(n):
            i = len(table)
            table.append(
                Host(
                    name=f"{site}-{k + 1}",
                    index=i,
                    site=site,
                    group=site,
                    address=f"198.18.{i // 250}.{i % 250 + 1}",
                    access=AccessLink(delay_ns=ms(access_ms)),
                    abilities=HostAbilities(),
                )
            )
    apps = {"web": 1} if apps is None else apps
    return Plan(
        name=name,
        seed=7,
        topology=topology,
        duration_ns=s(duration_s),
        sites=sites,
        places=tuple(places),
        hosts=tuple(table),
        paths=PathTable(shapes=tuple(shapes), index=tuple(index)),
        seeds=(table[0].name,),
        apps=tuple(App(name=app, replicas=m) for app, m in apps.items()),
        workload=tuple(
            Workload(
                client=client,
                app=app,
                seed=f"{client}/{app}",
                rate_per_s=rate_per_s,
                start_ns=0,
                stop_ns=s(duration_s),
                deadline_ns=s(2),
                keys=10,
                zipf=0.0,
            )
            for client in clients
            for app in apps
        ),
        timeline=tuple(timeline),
        expectations=tuple(expectations),
    )


@dataclass
class FakeRun:
    """Collects records, then `write`s them as engine.record would have."""

    plan: Plan
    events: list[dict[str, Any]] = field(default_factory=list)
    health: list[Health] = field(default_factory=list)
    _asked: dict[tuple[str, str], int] = field(default_factory=dict)
    _links: dict[str, tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.plan)

    def node(self, host: str) -> str:
        return next(h.address for h in self.plan.hosts if h.name == host)

    def put(self, at_s: float, kind: str, host: str = "", **fields: Any) -> None:
        self.events.append({"t": s(at_s), "host": host, "kind": kind, **fields})

    def begin(self, at_s: float = 0.0) -> None:
        """All hosts up at 0, the workload from `at_s` on."""
        for host in self.plan.hosts:
            self.put(0, "host_up", host.name, cause="boot")
        self.put(at_s, "workload_start")

    def role(self, at_s: float, host: str, role: str, app: str = "", *, active: bool = True) -> None:
        self.put(at_s, "role", host, role=role, active=active, app=app, epoch=1)

    def attach(self, at_s: float, host: str, agent: str) -> None:
        self.put(at_s, "attached", host, agent=self.node(agent), rtt=0)

    def fault(
        self,
        at_s: float,
        kind: str,
        name: str = "",
        *,
        target: str = "",
        victims: Sequence[str] = (),
        undoes: str = "",
        **more: Any,
    ) -> None:
        self.put(
            at_s, "fault", name=name, fault=kind, target=target, victims=list(victims), undoes=undoes, done_t=s(at_s), **more
        )

    def power_off(self, at_s: float, host: str, name: str = "off") -> None:
        self.fault(at_s, "power-off", name, target=host, victims=[host])
        self.put(at_s, "host_down", host, cause="power-off")

    def restart(self, at_s: float, host: str, name: str = "back") -> None:
        self.fault(at_s, "restart", name, target=host, victims=[host])
        self.put(at_s, "host_up", host, cause="restart")

    def partition(self, at_s: float, a: Sequence[str], name: str = "cut", *, both_ways: bool = True) -> None:
        b = [host.name for host in self.plan.hosts if host.name not in a]
        text = f"{', '.join(a)} from everyone else"
        self.fault(at_s, "partition", name, target=text, victims=a, a=list(a), b=b, both_ways=both_ways)

    def link(self, at_s: float, source: str, target: str, one_way_ms: float, name: str = "slow") -> None:
        change = ShapeChange(put={"delay_ns": ms(one_way_ms)})
        self.ledger.lay(
            link_change(LinkChange(kind="link", at_ns=s(at_s), name=name, source=source, target=target, change=change))
        )
        more: dict[str, Any] = {"path": [source, target], "both_ways": True, "shapes": self._shapes(source, target)}
        self._links[name] = (source, target)
        self.fault(at_s, "link", name, target=f"{source} <-> {target}", **more)

    def heal(self, at_s: float, undoes: str, name: str = "") -> None:
        more: dict[str, Any] = {}
        if undoes in self._links:
            self.ledger.lift(undoes)
            more["shapes"] = self._shapes(*self._links[undoes])
        self.fault(at_s, "heal", name, target=undoes, undoes=undoes, **more)

    def _shapes(self, *pair: str) -> list[dict[str, Any]]:
        return [
            {"source": one, "target": other, "shape": self.ledger.shape(one, other).model_dump(mode="json")}
            for one, other in (pair, pair[::-1])
        ]

    def request(
        self,
        at_s: float,
        client: str,
        *,
        routing_ms: float = 10.0,
        reply_ms: float | None = None,
        replica: str = "",
        outcome: str = "ok",
        hops: int = 2,
        via: str = "agent",
        app: str = "web",
        attempts: int = 1,
    ) -> None:
        """Issued at `at_s`, at its replica `routing_ms` later; the reply takes as long again unless `reply_ms` is given."""
        ok = outcome == "ok"
        issued = s(at_s)
        arrived = issued + ms(routing_ms) if ok else 0
        done = arrived + ms(routing_ms if reply_ms is None else reply_ms) if ok else issued + s(2)
        before = self._asked.get((client, app), 0)
        self._asked[client, app] = before + 1
        self.events.append(
            {
                "t": done,
                "host": client,
                "kind": "request",
                "app": app,
                "request": before,
                "key": 1,
                "write": False,
                "issued_at": issued,
                "done_at": done,
                "outcome": outcome,
                "replica": self.node(replica) if replica else "",
                "arrived_at": arrived,
                "hops": hops,
                "attempts": attempts,
                "via": via,
                "first": before == 0,
            }
        )

    def sample(self, at_s: float, host: str, *, entries: int = 0, control: int = 0, is_agent: bool = False) -> None:
        """`control`: bytes since boot, half of them sent."""
        self.put(
            at_s,
            "sample",
            host,
            entries=entries,
            state_bytes=0,
            is_agent=is_agent,
            nodes=0,
            requests_served=0,
            requests_routed=0,
            control_bytes_sent=control // 2,
            control_bytes_received=control - control // 2,
        )

    def sick(self, at_s: float, *, cpu: float = 0.1, link_lag_ms: float = 0.1, overflow: int = 0) -> None:
        self.health.append(Health(s(at_s), cpu, ms(link_lag_ms), overflow, ms(0.2), 0))

    def write(self, directory: Path, *, ended: bool = True, about: Mapping[str, Any] | None = None) -> Path:
        """Into `directory`, made if need be. Not `ended`: as the player's death would have left it, the last line cut short."""
        directory.mkdir(parents=True, exist_ok=True)
        record = RunRecord(directory, self.plan)
        if ended:
            self.put(max([self.plan.duration_ns / SECOND, *(e["t"] / SECOND for e in self.events)]), "end")
            record.about(
                **{
                    "runtime": "sim",
                    "links": "model",
                    "facts": {"hop cost": "0.2 ms"},
                    "wall_s": 1.5,
                    "ended": "done",
                    "versions": {"opus": "0.1.0"},
                    "started_at": "2025-01-01T00:00:00+00:00",
                    **(about or {}),
                }
            )
        record.events(self.events)
        for health in self.health:
            record.health(health)
        record.close()
        if not ended:
            with (directory / "events.ndjson").open("a") as file:
                file.write('{"t":123,"host":"cut sho')
        return directory
