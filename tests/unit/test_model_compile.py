"""Scenarios become plans: the same plan for the same seed, anywhere; every random choice made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from opus_controller.model.compile import compile_plan, load_plan, plan_of_topology, save_plan
from opus_controller.model.errors import ScenarioError
from opus_controller.model.plan import Heal, HostFault, LinkChange, Partition, Plan
from opus_controller.model.scenario import find, load_scenario, shipped
from opus_controller.model.topology import load_topology

S = 1_000_000_000
MS = 1_000_000
BASE = """\
name: s
topology: six-regions
duration: 60s
settle: 5s
applications: [{name: web, replicas: 3}]
"""
CLIENTS = "workload:\n  - {name: many, clients: 50% of hosts, total_rate: 30/s}\n"


def compiled(tmp_path: Path, text: str, seed: int | None = None) -> Plan:
    path = tmp_path / "s.yaml"
    path.write_text(text, encoding="utf-8")
    return compile_plan(load_scenario(path), seed)


def timeline(*events: str) -> str:
    return "timeline:\n" + "".join(f"  - {{{event}}}\n" for event in events)


# Determinism


@pytest.mark.parametrize("hash_seed", ["0", "4711"])
def test_same_bytes_in_any_process(hash_seed: str) -> None:
    names = sorted(shipped("scenarios"))
    here = {name: compile_plan(load_scenario(find("scenarios", name))).digest for name in names}
    code = (
        "import json, sys; from opus_controller.model.compile import *; from opus_controller.model.scenario import *; "
        "print(json.dumps({name: compile_plan(load_scenario(find('scenarios', name))).digest for name in sys.argv[1:]}))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", code, *names]
    there = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(there.stdout) == here


def test_another_seed_is_another_plan(tmp_path: Path) -> None:
    text = BASE + CLIENTS + timeline("at: 20s, crash: 20% of hosts")
    plans = [compiled(tmp_path, text, seed) for seed in range(10)]
    assert len({plan.digest for plan in plans}) == 10
    assert len({plan.seeds for plan in plans}) > 5
    assert len({plan.workload[0].seed for plan in plans}) == 10
    victims = {fault.target.hosts for plan in plans for fault in plan.timeline if isinstance(fault, HostFault)}
    assert len(victims) > 5
    assert compiled(tmp_path, text).digest == plans[1].digest, "the scenario's own seed is 1 unless it says otherwise"
    assert compiled(tmp_path, text + "seed: 7\n").digest == plans[7].digest


def test_draws_are_those_of_every_version_of_python(tmp_path: Path) -> None:
    """Written down once: if another Python (or a change here) draws others, the plans of old runs mean nothing any more."""
    plan = compiled(tmp_path, BASE + CLIENTS + timeline("at: 20s, name: loss, crash: 3 hosts", "at: 30s, pause: a replica"))
    crash, pause = plan.timeline
    assert isinstance(crash, HostFault)
    assert isinstance(pause, HostFault)
    assert plan.seeds == ("use1-5", "apne1-5", "apse2-4")
    assert crash.target.hosts == ("use1-5", "apne1-4", "apse2-3")
    assert pause.target.pick == 0.38813230727373704


def test_what_is_added_does_not_reshuffle_the_rest(tmp_path: Path) -> None:
    before = compiled(tmp_path, BASE + CLIENTS + timeline("at: 20s, name: loss, crash: 20% of hosts", "at: 40s, crash: 2 hosts"))
    after = compiled(
        tmp_path,
        BASE
        + "workload:\n  - {clients: 30% of hosts, rate: 1/s}\n  - {name: many, clients: 50% of hosts, total_rate: 30/s}\n"
        + timeline("at: 10s, pause: 10% of hosts", "at: 20s, name: loss, crash: 20% of hosts", "at: 40s, crash: 2 hosts"),
    )
    assert after.seeds == before.seeds
    assert [load for load in after.workload if "/many/" in load.seed] == list(before.workload)
    assert after.timeline[1:] == before.timeline


# Plan files


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    plan = compile_plan(load_scenario(find("scenarios", "quickstart")))
    save_plan(plan, tmp_path / "plan.json")
    again = load_plan(tmp_path / "plan.json")
    assert again == plan
    assert again.digest == plan.digest
    assert (tmp_path / "plan.json").read_bytes() == plan.canonical()


@pytest.mark.parametrize("content", [b"", b"{}", b'{"format": 2}', b"\xff\xfe", b"[1, 2"])
def test_what_is_no_plan_is_told_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "plan.json").write_bytes(content)
    with pytest.raises(ScenarioError, match=r"plan\.json: is not a plan of this version of Opus") as caught:
        load_plan(tmp_path / "plan.json")
    assert "\n" not in str(caught.value)
    with pytest.raises(ScenarioError, match="cannot be read"):
        load_plan(tmp_path / "nowhere.json")


# Seeds, workload, settings


def test_seeds_are_in_different_sites(tmp_path: Path) -> None:
    for seed in range(20):
        plan = compiled(tmp_path, BASE, seed)
        sites = [host.site for host in plan.hosts if host.name in plan.seeds]
        assert len(sites) == len(set(sites)) == 3
    for count in (1, 6, 8):
        plan = compiled(tmp_path, BASE + f"seeds: {count}\n")
        per_site = Counter(host.site for host in plan.hosts if host.name in plan.seeds)
        assert sum(per_site.values()) == count
        assert max(per_site.values()) - min(per_site[site] for site in plan.sites) <= 1
    assert compiled(tmp_path, BASE + "seeds: [use1-1, site sa-east-1]\n").seeds == ("use1-1", *(f"sae1-{k}" for k in range(1, 6)))
    three = compiled(tmp_path, BASE.replace("six-regions", "three-hosts").replace("replicas: 3", "replicas: 1"))
    assert len(three.seeds) == 3


def test_workload(tmp_path: Path) -> None:
    plan = compiled(
        tmp_path,
        BASE
        + "workload:\n"
        + "  - {clients: site us-east-1, total_rate: 10/s, deadline: 500ms, write_share: 10%, request_size: 1KiB}\n"
        + "  - {clients: use1-1, app: web, rate: 30/min, start: 10s, stop: 50s, zipf: 0, keys: 7}\n",
    )
    first, last = plan.workload[0], plan.workload[-1]
    assert [load.client for load in plan.workload] == ["use1-1", "use1-2", "use1-3", "use1-4", "use1-5", "use1-1"]
    assert (first.rate_per_s, first.start_ns, first.stop_ns, first.deadline_ns) == (2.0, 5 * S, 60 * S, 500 * MS)
    assert (first.write_share, first.request_bytes, first.reply_bytes, first.keys, first.zipf) == (0.1, 1024, 1000, 1000, 0.99)
    assert (last.rate_per_s, last.start_ns, last.stop_ns, last.zipf, last.keys) == (0.5, 10 * S, 50 * S, 0.0, 7)
    assert len({load.seed for load in plan.workload}) == 6, "no two clients send in step"


def test_overlay_settings_in_the_cores_units(tmp_path: Path) -> None:
    overlay = compiled(tmp_path, BASE + "overlay: {lease_interval: 15s, timeout_slack: 50ms, wave: 2, direct: false}\n").overlay
    assert (overlay.lease_interval, overlay.timeout_slack, overlay.wave, overlay.direct) == (15 * S, 50 * MS, 2, False)
    assert overlay.lease_timeout is None


def test_overlay_settings_are_those_of_the_core() -> None:
    from opus_controller.model.plan import OverlaySettings
    from opus_controller.model.scenario_form import OverlayForm
    from opus_node.core.types import NodeConfig

    assert set(OverlayForm.model_fields) == set(OverlaySettings.model_fields)
    assert set(OverlayForm.model_fields) == set(NodeConfig.__dataclass_fields__) - {"apps", "abilities", "history"}


def test_policies_are_those_of_the_core_and_reach_every_kind_of_node(tmp_path: Path) -> None:
    from opus_controller.model.history import History
    from opus_controller.model.scenario_form import POLICIES
    from opus_controller.runtimes.hosts.control import boot_request
    from opus_controller.runtimes.sim.world import config_of
    from opus_node.control import boot_spec
    from opus_node.core import placement

    assert set(POLICIES) == set(placement.POLICIES)
    for policy in POLICIES:
        app = f"{{name: web, policy: {policy}{'' if policy == 'everywhere' else ', replicas: 3'}}}"
        plan = compiled(tmp_path, BASE.replace("{name: web, replicas: 3}", app))
        host, past = plan.hosts[0], History()
        told = boot_spec(boot_request(plan, host, origin_ns=0, incarnation=1, past=past)).config.apps[0]
        assert told == config_of(plan, host, past).apps[0]
        assert (told.policy, told.replicas) == (policy, len(plan.hosts) if policy == "everywhere" else 3)


def test_a_plan_of_a_topology_alone() -> None:
    plan = plan_of_topology(load_topology(find("topologies", "three-hosts")), duration_ns=S)
    assert (plan.name, len(plan.hosts), len(plan.seeds), plan.workload) == ("three-hosts", 3, 3, ())
    assert len(plan.places) == len(plan.sites)


# Timeline


def test_events_in_order_of_time_each_with_a_name(tmp_path: Path) -> None:
    plan = compiled(
        tmp_path,
        BASE
        + timeline(
            "at: 30s, crash: use1-1",
            "at: 10s, name: cut, partition: site sa-east-1, for: 25s",
            "at: 12.5s, pause: use1-2",
            "at: 14s, resume: same as pause-12-5s",
            "at: 30s, crash: use1-3, for: 5s",
        ),
    )
    assert [(fault.at_ns / S, fault.kind, fault.name) for fault in plan.timeline] == [
        (10, "partition", "cut"),
        (12.5, "pause", "pause-12-5s"),
        (14, "resume", "resume-pause-12-5s"),
        (30, "crash", "crash-30s"),
        (30, "crash", "crash-30s-2"),
        (35, "heal", "heal-cut"),
        (35, "restart", "restart-crash-30s-2"),
    ]
    heal, restart = plan.timeline[5:]
    assert isinstance(heal, Heal)
    assert heal.undoes == "cut"
    assert isinstance(restart, HostFault)
    assert (restart.same_as, restart.target.hosts) == ("crash-30s-2", ("use1-3",))


def test_targets_by_role_are_left_to_the_run(tmp_path: Path) -> None:
    plan = compiled(
        tmp_path,
        BASE
        + CLIENTS
        + timeline(
            "at: 20s, name: loss, power-off: a replica of web except use1-1",
            "at: 30s, restart: same as loss",
            "at: 35s, partition: a site without replicas",
        ),
    )
    loss, restart, cut = plan.timeline
    assert isinstance(loss, HostFault)
    assert (loss.target.role, loss.target.app, loss.target.hosts, loss.target.exclude) == ("replica", "web", (), ("use1-1",))
    assert 0 <= loss.target.pick < 1
    assert isinstance(restart, HostFault)
    assert (restart.same_as, restart.target.hosts) == ("loss", ())
    assert isinstance(cut, Partition)
    assert (cut.a.role, cut.a.app, cut.b.hosts, cut.b.role) == ("site-without-replica", "web", (), ""), "the only application"


def test_draws_pass_over_hosts_that_are_down(tmp_path: Path) -> None:
    for seed in range(20):
        plan = compiled(tmp_path, BASE + timeline("at: 10s, crash: 50% of hosts", "at: 20s, power-off: 50% of hosts"), seed)
        first, second = (fault for fault in plan.timeline if isinstance(fault, HostFault))
        assert len(first.target.hosts) == len(second.target.hosts) == 15
        assert not set(first.target.hosts) & set(second.target.hosts)
    with pytest.raises(ScenarioError, match=r"asks for 20 of 30 hosts, 15 of them down by then; allowed: at most 15"):
        compiled(tmp_path, BASE + timeline("at: 10s, crash: 50% of hosts", "at: 20s, power-off: 20 hosts"))


def test_sides_of_a_partition(tmp_path: Path) -> None:
    plan = compiled(
        tmp_path, BASE + timeline("at: 10s, partition: site sa-east-1, from: [use1-1, site eu-west-1], both_ways: false")
    )
    (cut,) = plan.timeline
    assert isinstance(cut, Partition)
    assert len(cut.a.hosts) == 5
    assert len(cut.b.hosts) == 6
    assert not cut.both_ways


def test_faults_of_one_host_may_overlap_and_end_in_any_order(tmp_path: Path) -> None:
    plan = compiled(
        tmp_path,
        BASE
        + timeline(
            "at: 10s, name: nap, pause: use1-1, for: 30s",
            "at: 12s, name: dark, power-off: site us-east-1, for: 5s",
            "at: 14s, name: other, crash: use1-2 and euw1-1, for: 10s",
        ),
    )
    kinds = [(fault.kind, fault.at_ns // S, getattr(fault, "same_as", "")) for fault in plan.timeline]
    assert kinds == [
        ("pause", 10, ""),
        ("power-off", 12, ""),
        ("crash", 14, ""),
        ("restart", 17, "dark"),
        ("restart", 24, "other"),
        ("resume", 40, "nap"),
    ]


def test_links_get_worse_on_top_of_the_topology_or_in_its_place(tmp_path: Path) -> None:
    topology = load_topology(find("topologies", "lossy-asymmetric"))
    plan = compiled(
        tmp_path,
        BASE.replace("six-regions", "lossy-asymmetric")
        + timeline(
            "at: 10s, link: island <-> homes, add: {rtt: 80ms, loss: 1%}",
            "at: 20s, link: homes -> offices, set: {delay: 1s, burst: {p: 1%, r: 20%}}",
            "at: 30s, link: centre <-> homes, set: {loss: 5%}, add: {delay: 1ms}",
        ),
    )
    both, one, mixed = plan.timeline
    assert isinstance(both, LinkChange)
    there, back = topology.shape("island", "homes"), topology.shape("homes", "island")
    assert both.both_ways
    shape, reverse = both.change.on(there), both.change.on(back)
    assert (shape.delay_ns, reverse.delay_ns) == (there.delay_ns + 40 * MS, back.delay_ns + 40 * MS), "asymmetric, and stays so"
    assert shape.loss == pytest.approx(there.loss + 0.01)
    assert shape.jitter_ns == there.jitter_ns
    assert isinstance(one, LinkChange)
    assert not one.both_ways
    shape = one.change.on(topology.shape("homes", "offices"))
    assert shape.delay_ns == S
    assert shape.burst is not None
    assert shape.duplicate == topology.shape("homes", "offices").duplicate, "what is not set stays"
    assert isinstance(mixed, LinkChange)
    shape = mixed.change.on(topology.shape("centre", "homes"))
    assert (shape.loss, shape.delay_ns) == (0.05, topology.shape("centre", "homes").delay_ns + MS)
    again = Plan.model_validate_json(plan.canonical())
    assert again == plan
    assert isinstance(again.timeline[1], LinkChange)
    assert again.timeline[1].change.on(there) == one.change.on(there), "as read back from plan.json"


def test_loss_added_to_bursts_is_one_more_chance_to_be_lost_in_either_state(tmp_path: Path) -> None:
    scenario = BASE.replace("six-regions", "lossy-asymmetric") + timeline("at: 9s, link: mobiles -> homes, add: {loss: 10%}")
    (change,) = compiled(tmp_path, scenario).timeline
    assert isinstance(change, LinkChange)
    there = load_topology(find("topologies", "lossy-asymmetric")).shape("mobiles", "homes")
    assert there.burst is not None
    burst = change.change.on(there).burst
    assert burst is not None
    assert (burst.p, burst.r) == (there.burst.p, there.burst.r), "as often in bursts, and as long"
    assert 1 - burst.loss_bad == pytest.approx(0.9 * (1 - there.burst.loss_bad))
    assert 1 - burst.loss_good == pytest.approx(0.9 * (1 - there.burst.loss_good))


# What comes with Opus


def test_the_quickstart_is_the_main_job() -> None:
    plan = compile_plan(load_scenario(find("scenarios", "quickstart")))
    assert len(plan.hosts) == 30
    assert len(plan.sites) == 6
    assert plan.apps[0].replicas == 3
    assert {load.client for load in plan.workload} == {host.name for host in plan.hosts}
    assert 18 <= sum(load.rate_per_s for load in plan.workload) <= 25, "what one machine carries without being busy"
    assert plan.duration_ns + max(load.deadline_ns for load in plan.workload) <= 78 * S
    kinds = [fault.kind for fault in plan.timeline]
    assert kinds == ["power-off", "partition", "heal", "link", "heal"]
    assert all(later.at_ns - earlier.at_ns >= 8 * S for earlier, later in zip(plan.timeline, plan.timeline[1:], strict=False))
    wanted = {(e.figure, e.op, e.bound, e.outside_faults_ns, e.reachable, e.fault) for e in plan.expectations}
    assert ("availability", ">=", 0.999, 2 * S, True, "") in wanted
    assert ("hops.max", "<=", 2.0, None, False, "") in wanted
    assert ("recovery_s.max", "<=", 2.0, None, False, "loss") in wanted
    assert ("recovery_s.max", "<=", 2.0, None, False, "heal-cut") in wanted


def test_the_learning_scenario_is_short() -> None:
    plan = compile_plan(load_scenario(find("scenarios", "learn")))
    assert (len(plan.hosts), plan.duration_ns) == (3, 15 * S)


def test_a_name_that_nothing_has() -> None:
    with pytest.raises(ScenarioError, match="quickstrat: there is no such file; did you mean 'quickstart'"):
        find("scenarios", "quickstrat")
