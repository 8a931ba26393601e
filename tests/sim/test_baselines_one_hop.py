"""One-hop in the simulator, against its papers: whole tables, one hop for 99 of 100 lookups under churn, and what that costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from helpers.simulated import record_of
from opus_controller.bench.overlay.churn import Comings
from opus_controller.bench.overlay.lab import Lab
from opus_controller.bench.worlds import six_regions
from opus_controller.model.compile import compile_plan
from opus_controller.model.network import Cut
from opus_controller.model.plan import OverlaySettings, Plan
from opus_controller.model.scenario import find, load_scenario
from opus_controller.model.settings import parse_setting
from opus_controller.report.conclude import conclude
from opus_node.baselines.one_hop_table import SESSION, theta
from opus_node.core.types import SECOND

COPIES = 5


def world(hosts: int, *, one_by_one_s: float = 0.0, **overlay: Any) -> Lab:
    plan = six_regions(hosts, duration_s=600, replicas=COPIES, overlay=OverlaySettings(protocol="one-hop", **overlay))
    return Lab(later(plan, one_by_one_s) if one_by_one_s else plan)


def later(plan: Plan, over_s: float) -> Plan:
    step = int(over_s * SECOND / len(plan.hosts))
    hosts = (one if one.name in plan.seeds else one.model_copy(update={"boot_at_ns": one.index * step}) for one in plan.hosts)
    return plan.model_copy(update={"hosts": tuple(hosts)})


def known(lab: Lab) -> dict[str, set[str]]:
    """Of every live host, whom its table holds: addresses."""
    return {host.plan.name: {node for _, node in _overlay(host).table.ring} for host in lab.alive()}


def _overlay(host: Any) -> Any:
    return host.core._overlay


def addresses(lab: Lab) -> set[str]:
    return {host.plan.address for host in lab.alive()}


def assert_whole(lab: Lab) -> None:
    alive = addresses(lab)
    assert {name: len(one ^ alive) for name, one in known(lab).items() if one != alive} == {}
    held = {_overlay(host).holders(1 << 40, COPIES) for host in lab.alive()}
    assert len(held) == 1
    assert len(lab.replicas()) == COPIES


def outcomes(lab: Lab, names: Iterable[str], deadline_s: float = 2.0) -> list[dict[str, Any]]:
    lab.forget()
    lab.ask(names, lab.now, deadline_s=deadline_s)
    lab.run_for(deadline_s + 0.1)
    return list(lab.requests)


@pytest.mark.parametrize("one_by_one_s", [0.0, 30.0])
def test_all_tables_are_whole_and_first_requests_go_to_the_nearest_copy(one_by_one_s: float) -> None:
    lab = world(60, one_by_one_s=one_by_one_s)
    lab.run_until(60)
    assert_whole(lab)
    requests = outcomes(lab, [host.plan.name for host in lab.alive()])
    assert [one["outcome"] for one in requests] == ["ok"] * 60
    assert {one["hops"] for one in requests} == {0, 1}
    assert {one["attempts"] for one in requests} <= {0, 1}, "0: it holds a copy itself"
    hosts = {host.plan.address: host.plan for host in lab.alive()}
    by_name = {host.plan.name: host.plan for host in lab.alive()}
    copies = [by_name[name] for name in lab.replicas()]
    path = lab._network.between
    for one in requests:
        client = by_name[one["host"]]
        if client in copies:
            continue
        delays = {copy.name: path(client.site, copy.site).delay_ns for copy in copies}
        assert delays[hosts[one["replica"]].name] == min(delays.values())


def test_half_of_all_hosts_fall_silent_at_once() -> None:
    lab = world(60)
    lab.run_until(60)
    names = [host.plan.name for host in lab.alive()]
    victims = Random("half").sample(names, 30)
    lab.power_off(victims)
    requests = outcomes(lab, [name for name in names if name not in victims], deadline_s=10)
    assert [one["outcome"] for one in requests] == ["ok"] * 30
    lab.run_for(60)
    assert_whole(lab)
    assert max(one["attempts"] for one in outcomes(lab, [name for name in names if name not in victims])) == 1


def test_a_region_that_was_cut_off_and_the_rest_are_one_again() -> None:
    lab = world(30)
    lab.run_until(40)
    inside = frozenset(host.name for host in lab.plan.hosts if host.site == "sa-east-1")
    outside = frozenset(host.name for host in lab.plan.hosts) - inside
    whole = lab._network
    lab._network = replace(whole, cuts=(Cut(inside, outside), Cut(outside, inside)))
    lab.world.fabric.apply(lab._network)
    lab.run_for(100)
    sizes = {name: len(one) for name, one in known(lab).items()}
    assert {sizes[name] for name in inside} == {5}
    assert {sizes[name] for name in outside} == {25}
    lab.world.fabric.apply(whole)
    lab.run_for(120)
    assert_whole(lab)


def test_under_churn_99_of_100_lookups_take_one_hop_and_one_entry_in_100_is_stale() -> None:
    """Mean sessions of 29 minutes, six times shorter than those for which the papers have f = 1%."""
    lab = world(60, direct=False)
    lab.run_until(40)
    coming = Comings(lab, Random("churn"), 1200.0)
    lab.everyone_asks(20, label="churn")
    wrong = entries = 0
    for _ in range(60):
        coming.live(5)
        alive = addresses(lab)
        for host in lab.alive():
            if lab.now - coming.born(host.plan.name, lab.now) > 10 * SECOND:
                wrong += len(alive ^ {node for _, node in _overlay(host).table.ring})
                entries += len(alive)
    assert coming.ends >= 5
    assert wrong / entries < 0.01
    done = [one for one in lab.requests if lab.now - one["issued_at"] > 2 * SECOND]
    assert len(done) > 5000
    assert sum(one["outcome"] == "ok" for one in done) / len(done) > 0.999
    assert sum(one["hops"] <= 1 and one["attempts"] <= 1 for one in done) / len(done) >= 0.99


def test_at_rest_a_node_pays_for_a_message_each_round_and_little_more() -> None:
    """D1HT's messages of 40 bytes and acknowledgements of 36: one pair a round and direction; comparisons come on top."""
    lab = world(60, upkeep=4 * SECOND)
    lab.run_until(90)
    before = lab.control_bytes()
    lab.run_for(120)
    measured = (lab.control_bytes() - before) / 120 / 60
    paper = 2 * (40 + 36) / 4
    assert 0.8 * paper < measured < 1.5 * paper


def test_theta_follows_what_a_node_sees() -> None:
    lab = world(60)
    lab.run_until(120)
    quiet = {_overlay(host)._theta() for host in lab.alive()}
    assert quiet == {theta(60, SESSION)}
    coming = Comings(lab, Random("fast"), 120.0)
    coming.live(120)
    old = [host for host in lab.alive() if lab.now - coming.born(host.plan.name, lab.now) > 100 * SECOND]
    assert len(old) > 5
    assert max(_overlay(host)._theta() for host in old) < 2 * SECOND


def test_who_leaves_is_missed_by_nobody() -> None:
    lab = world(30)
    lab.run_until(40)
    lab.everyone_asks(60)
    going = lab.replicas()[0]
    lab.world.dismiss(lab.world.hosts[going])
    lab.run_for(20)
    assert going not in {host.plan.name for host in lab.alive()}
    assert_whole(lab)
    assert {one["outcome"] for one in lab.requests if one["host"] != going} == {"ok"}


def test_quickstart_is_played_and_reported(tmp_path: Path) -> None:
    scenario = load_scenario(find("scenarios", "quickstart"), [parse_setting("overlay.protocol=one-hop")])
    record_of(compile_plan(scenario), tmp_path)
    result = conclude(tmp_path, html=tmp_path / "report.html")
    assert result.verdict in ("pass", "fail")
    assert result.agents == 0
    assert result.requests.availability is not None
    assert result.requests.availability > 0.98
    assert result.hops.max is not None
    assert result.hops.max <= 2
    assert result.state_entries.agent.max is None
    assert (tmp_path / "report.html").stat().st_size > 10_000
