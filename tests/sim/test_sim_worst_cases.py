"""What nobody wishes for, as users would feel it: the whole overlay in the simulator, applications that compete for hosts.

All want the same host; utilities that are flat; no capacity at all; a steward that is alone; sets that change while a cut lasts.
And one application's overload, which may cost another what it was not promised, and no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers.simulated import record_of
from opus_controller.model.compile import compile_plan
from opus_controller.model.plan import Plan
from opus_controller.model.scenario import load_scenario
from opus_controller.report.build import build
from opus_controller.report.result import Result
from opus_controller.report.run import read

SECOND = 1_000_000_000
Record = dict[str, Any]

HUB = """\
name: hub
description: All ask where two hosts are; three more sites are 160 ms away
source: made up
sites: [{name: hub}, {name: a}, {name: b}, {name: c}]
rtt_ms:
  hub: {a: 160, b: 160, c: 160}
  a: {b: 40, c: 40}
  b: {c: 40}
groups:
  - {name: near, sites: hub, count: 2, access: {delay: 0.5ms}, abilities: {cpu: CPU}}
  - {name: far, sites: [a, b, c], count: 4, access: {delay: 0.5ms}, abilities: {cpu: CPU}}
"""

APP = """\
  - name: {name}
    replicas: auto
    service_time: {cost}
    queue: 800ms
    choice: latency-load
    utility: {{worth: {worth}, {parts}, floor: {floor}}}
"""
GOOD = "availability: {points: [[50%, 0%], [99%, 100%]]}"
FLAT = "availability: {points: [[0%, 100%], [100%, 100%]]}"


@dataclass
class Played:
    """One run that is over."""

    plan: Plan
    events: list[Record]
    result: Result

    def of(self, kind: str, **fields: Any) -> list[Record]:
        return [e for e in self.events if e["kind"] == kind and all(e[name] == value for name, value in fields.items())]

    def answered(self, app: str, start: float, end: float, hosts: Iterable[str] = ()) -> float:
        """Share of the requests issued from `start` to `end` s, of clients at `hosts` or of all."""
        chosen = frozenset(hosts)
        asked = [
            e for e in self.of("request", app=app)
            if start <= e["issued_at"] / SECOND < end and (not chosen or e["host"] in chosen)
        ]  # fmt: skip
        assert len(asked) > 15, f"{len(asked)} requests of {app} tell nothing"
        return sum(bool(e["outcome"] == "ok") for e in asked) / len(asked)

    def sets(self, app: str, start: float = 0.0, end: float = 1e9) -> list[Record]:
        return [e for e in self.of("replica_set", app=app) if start <= e["t"] / SECOND < end]

    def names(self, members: Iterable[str]) -> set[str]:
        of = {host.address: host.name for host in self.plan.hosts}
        return {of[node] for node in members}

    def at(self, fault: str) -> float:
        """Of a fault by its name, s."""
        (one,) = self.of("fault", name=fault)
        return int(one["t"]) / SECOND

    def serving(self, at: float, apps: Sequence[str]) -> dict[str, set[str]]:
        """Who serves which by the hosts' own word."""
        held: dict[str, set[str]] = {app: set() for app in apps}
        for app, host, active, t in self._roles(apps):
            if t <= at:
                (held[app].add if active else held[app].discard)(host)
        return held

    def doubly(self, apps: Sequence[str]) -> list[tuple[str, float]]:
        """(host, s) at which a host served two of them."""
        held: dict[str, set[str]] = {}
        found = []
        for app, host, active, t in self._roles(apps):
            (held.setdefault(host, set()).add if active else held.setdefault(host, set()).discard)(app)
            if len(held[host]) > 1:
                found.append((host, t))
        return found

    def _roles(self, apps: Sequence[str]) -> Iterable[tuple[str, str, bool, float]]:
        """(application, host, whether it serves, s), a death as the end of all roles."""
        for e in sorted(self.events, key=lambda e: int(e["t"])):
            t = e["t"] / SECOND
            if e["kind"] == "role" and e["role"] == "replica" and e["app"] in apps:
                yield e["app"], e["host"], e["active"], t
            elif e["kind"] == "host_down":
                yield from ((app, e["host"], False, t) for app in apps)


def played(tmp_path: Path, applications: str, workload: str, timeline: str = "", **more: Any) -> Played:
    """Six regions of five hosts, unless `topology` is said; `workload` and `timeline` as the scenario's entries."""
    cpu = more.pop("cpu", "1")
    head = {"name": "worst", "topology": "six-regions", "settle": "12s", "duration": "70s", "seed": 1, **more}
    if "hub" in str(head["topology"]):
        (tmp_path / "hub.yaml").write_text(HUB.replace("CPU", cpu))
    text = "".join(f"{key}: {value}\n" for key, value in head.items())
    text += (
        f"applications:\n{applications}workload:\n{workload}timeline:\n{timeline}"
        if timeline
        else (f"applications:\n{applications}workload:\n{workload}")
    )
    (tmp_path / "worst.yaml").write_text(text)
    plan = compile_plan(load_scenario(tmp_path / "worst.yaml"))
    events = [dict(e) for e in record_of(plan, tmp_path / "out").events()]
    return Played(plan, events, build(read(tmp_path / "out")))


def app(name: str, worth: float, floor: int = 2, cost: str = "100ms", parts: str = GOOD) -> str:
    return APP.format(name=name, worth=worth, floor=floor, cost=cost, parts=parts)


def asks(name: str, rate: str, clients: str = "all", **more: str) -> str:
    extra = "".join(f", {key}: {value}" for key, value in more.items())
    return f"  - {{clients: {clients}, app: {name}, total_rate: {rate}, deadline: 3s{extra}}}\n"


# All want the same host


def test_all_want_the_one_host_that_is_near_and_each_is_served_by_some(tmp_path: Path) -> None:
    near = "latency: {quantile: 50%, points: [[120ms, 100%], [200ms, 0%]]}"
    apps = "".join(app(name, worth, 1, "50ms", near) for name, worth in (("gold", 9), ("silver", 6), ("iron", 3)))
    load = "".join(asks(name, "4/s", "site hub") for name in ("gold", "silver", "iron"))
    run = played(tmp_path, apps, load, topology="hub.yaml", seeds="[a-1]", duration="80s")
    names = ("gold", "silver", "iron")
    assert run.doubly(names) == []
    held = run.serving(79.0, names)
    near_by = {host for host in held["gold"] | held["silver"] | held["iron"] if host.startswith("hub")}
    assert near_by, "somebody has what all want"
    assert any(host.startswith("hub") for host in held["gold"]), "whose worth is greatest"
    for name in names:
        assert run.answered(name, 20, 80) >= 0.98, f"{name}'s clients are answered, from afar if need be"
        assert len(run.sets(name, 40)) <= 3, "nobody is robbed again and again"


# Flat


def test_whose_utility_is_flat_is_served_by_one_host_and_is_in_nobodys_way(tmp_path: Path) -> None:
    apps = app("flat", 8, 1, parts=FLAT) + app("shop", 5)
    load = asks("flat", "3/s") + asks("shop", "40/s")
    run = played(tmp_path, apps, load)
    assert run.doubly(("flat", "shop")) == []
    assert all(len(one["members"]) == 1 for one in run.sets("flat"))
    assert len({tuple(one["members"]) for one in run.sets("flat", 12)}) <= 1, "it gains nothing by moving"
    assert run.answered("flat", 20, 70) >= 0.97, "one host is enough for what is asked of it"
    assert run.answered("shop", 30, 70) >= 0.97


def test_where_all_utilities_are_flat_nobody_moves_and_all_are_served(tmp_path: Path) -> None:
    apps = app("one", 5, 2, parts=FLAT) + app("two", 5, 1, parts=FLAT)
    run = played(tmp_path, apps, asks("one", "4/s") + asks("two", "2/s"))
    assert run.doubly(("one", "two")) == []
    assert all(len(run.sets(name, 12)) == 0 for name in ("one", "two"))
    assert run.answered("one", 20, 70) >= 0.97
    assert run.answered("two", 20, 70) >= 0.97


# Capacity zero


def test_when_all_hosts_but_a_few_are_dead_and_come_back_both_are_served_again(tmp_path: Path) -> None:
    """80% of hosts: who is left are agents in the main. Nobody is promised more than there is; in the end all is as it was."""
    apps = app("shop", 5, 3) + app("wiki", 2, 2)
    night = "  - {at: 35s, name: night, power-off: 80% of hosts, for: 12s}\n"
    run = played(tmp_path, apps, asks("shop", "20/s") + asks("wiki", "10/s"), night, duration="90s", seeds="[use1-1, euw1-1]")
    assert run.doubly(("shop", "wiki")) == []
    back = run.at("night") + 12
    held = run.serving(89.0, ("shop", "wiki"))
    assert len(held["shop"]) >= 3
    assert len(held["wiki"]) >= 2
    for name in ("shop", "wiki"):
        assert run.answered(name, 20, run.at("night")) >= 0.97
        assert run.answered(name, back + 15, 90) >= 0.97, f"{name} is served again"


def test_where_no_host_can_do_anything_requests_are_refused_at_once_and_nobody_moves_for_ever(tmp_path: Path) -> None:
    """Hosts of a hundredth of a core, and requests of 200 ms of a core: one takes 20 s, and none may wait longer than 800 ms."""
    apps = app("shop", 5, 2, "200ms") + app("wiki", 2, 2, "200ms")
    load = asks("shop", "10/s") + asks("wiki", "5/s")
    run = played(tmp_path, apps, load, topology="hub.yaml", seeds="[a-1]", duration="60s", cpu="0.01")
    assert run.doubly(("shop", "wiki")) == []
    for name in ("shop", "wiki"):
        assert run.answered(name, 20, 60) <= 0.1, "there is nothing to answer with"
        refused = [e for e in run.of("request", app=name, outcome="refused") if e["issued_at"] > 20 * SECOND]
        waited = sorted((e["done_at"] - e["issued_at"]) / SECOND for e in refused)
        assert len(waited) > 50, "it is said, not left to the deadline"
        assert waited[len(waited) // 2] < 2
        assert run.serving(59.0, (name,))[name], "a set is never empty"
        assert len(run.sets(name, 30)) <= 6, "one host is as good as another"


# A steward that is alone


def test_an_isolated_steward_costs_the_others_seconds_and_comes_back_in_peace(tmp_path: Path) -> None:
    apps = app("shop", 5, 2) + app("wiki", 2, 2)
    alone = "  - {at: 35s, name: alone, partition: the steward of shop, for: 20s}\n"
    run = played(tmp_path, apps, asks("shop", "20/s") + asks("wiki", "10/s"), alone, duration="95s")
    (cut,) = run.of("fault", name="alone")
    (steward,) = cut["victims"]
    others = [host.name for host in run.plan.hosts if host.name != steward]
    began = run.at("alone")
    for name in ("shop", "wiki"):
        assert run.answered(name, began + 10, began + 20, others) >= 0.97, f"{name} goes on without it"
        assert run.answered(name, began + 30, 95) >= 0.97, "and with it again"
    assert (
        len({one["host"] for one in run.of("division") if began + 12 < one["t"] / SECOND < began + 20 and one["host"] != steward})
        <= 1
    )
    after = [one["host"] for name in ("shop", "wiki") for one in run.sets(name, began + 30)[-1:]]
    assert len(set(after)) <= 1, "one divides"
    assert [at for _, at in run.doubly(("shop", "wiki")) if not began <= at] == []
    held = run.serving(94.0, ("shop", "wiki"))
    assert not held["shop"] & held["wiki"]
    assert min(map(len, held.values())) >= 2


# Sets that change while a cut lasts


@pytest.mark.parametrize("seed", [1, 2])
def test_sets_changed_on_both_sides_of_a_cut_end_in_one_division(seed: int, tmp_path: Path) -> None:
    """Half of the regions is cut off, and on either side a replica is lost and a crowd comes: both sides decide, often."""
    apps = app("shop", 5, 2) + app("wiki", 2, 2)
    west = "sites us-east-1, us-west-2, sa-east-1"
    east = "sites eu-west-1, ap-northeast-1, ap-southeast-2"
    load = asks("shop", "15/s") + asks("wiki", "15/s")
    load += asks("shop", "25/s", f'"{west}"', start="38s", stop="52s") + asks(
        "wiki", "25/s", f'"{east}"', start="38s", stop="52s"
    )
    faults = f"""\
  - {{at: 35s, name: cut, partition: "{west}", for: 22s}}
  - {{at: 40s, name: lost-shop, power-off: a replica of shop}}
  - {{at: 44s, name: lost-wiki, power-off: a replica of wiki}}
"""
    run = played(tmp_path, apps, load, faults, duration="105s", seed=seed)
    began, healed = run.at("cut"), run.at("cut") + 22
    deciders = {one["host"] for one in run.of("division") if began + 5 < one["t"] / SECOND < healed}
    assert len(deciders) >= 2, "both sides decided, or this shows nothing"
    lost = {victim for name in ("lost-shop", "lost-wiki") for one in run.of("fault", name=name) for victim in one["victims"]}
    held = run.serving(104.0, ("shop", "wiki"))
    for name in ("shop", "wiki"):
        (last,) = run.sets(name, 0, 104)[-1:]
        assert run.names(last["members"]) == held[name], "the set that was decided last is what hosts go by"
        assert not held[name] & lost
        assert len(held[name]) >= 2
        assert run.answered(name, began + 12, healed) >= 0.9, "either side is served meanwhile"
        assert run.answered(name, healed + 12, 105) >= 0.97
    assert not held["shop"] & held["wiki"]
    late = [(host, at) for host, at in run.doubly(("shop", "wiki")) if at > healed + 10]
    assert late == [], "at most while two stewards' sets meet"


def test_registers_whose_set_changes_during_a_cut_lose_no_write(tmp_path: Path) -> None:
    """Data that move, beside an application that wants the hosts: no promise is broken on either side."""
    apps = "  - {name: data, replicas: 5, consistency: linearizable}\n" + app("shop", 5, 2)
    load = "  - {clients: all, app: data, total_rate: 25/s, deadline: 2s, keys: 8, write_share: 40%}\n" + asks("shop", "20/s")
    faults = """\
  - {at: 30s, name: cut, partition: "sites us-east-1, us-west-2", for: 20s}
  - {at: 34s, name: lost, power-off: a replica of data, for: 10s}
  - {at: 40s, name: gone, power-off: a replica of data, for: 10s}
"""
    run = played(tmp_path, apps, load, faults, duration="75s")
    assert run.sets("data", run.at("cut"), run.at("cut") + 20), "the set changed meanwhile"
    assert run.result.consistency is not None
    (told,) = run.result.consistency.apps
    assert (told.violations, told.undecided) == (0, 0)
    assert told.operations > 1000
    assert run.answered("data", 62, 75) >= 0.97


# One's overload is its own


@pytest.mark.parametrize("worth", [1, 50])
def test_an_application_asked_five_times_what_there_is_costs_another_nothing_of_its_floor(worth: float, tmp_path: Path) -> None:
    """Whatever the flooded one is worth: 25 hosts answer 60 requests/s of it, and 300 come."""
    apps = app("calm", 5, 4) + app("flooded", worth, 1, "400ms")
    load = asks("calm", "15/s") + asks("flooded", "5/s") + asks("flooded", "300/s", start="40s", stop="55s")
    run = played(tmp_path, apps, load, duration="80s")
    assert run.doubly(("calm", "flooded")) == []
    for one in run.sets("calm", 20):
        assert len(one["members"]) >= 4, "its floor"
    before, meanwhile = run.answered("calm", 20, 40), run.answered("calm", 40, 55)
    assert before >= 0.98
    assert meanwhile >= 0.97, "15 requests/s are what four hosts of 10/s each answer with ease"
    assert run.answered("flooded", 45, 55) <= 0.4, "or nothing was flooded"
    assert run.answered("calm", 65, 80) >= 0.98
    latency = [
        (e["done_at"] - e["issued_at"]) / 1e6
        for e in run.of("request", app="calm", outcome="ok")
        if 42 < e["issued_at"] / SECOND < 55
    ]
    assert sorted(latency)[int(0.9 * len(latency))] <= 700
