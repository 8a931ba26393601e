"""Parts of the netns runtime that need no privilege: identities of processes, cgroups, state, what fidelity leaves out."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.fake_runtime import small_plan
from opus_controller.model.errors import PlatformError, ScenarioError
from opus_controller.model.network import Cut, Network
from opus_controller.model.shapes import NOTHING_TAKEN, HostChange, PathShape
from opus_controller.runtimes.hosts import cgroups, probes, state
from opus_controller.runtimes.hosts.processes import Process, end, wait_gone

pytestmark = pytest.mark.clock


@pytest.fixture
def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])


def test_a_process_is_ended_by_its_identity_and_only_by_that(sleeper: subprocess.Popen[bytes]) -> None:
    process = Process.of(sleeper.pid)
    assert process is not None
    impostor = replace(process, started=process.started - 1)
    assert not impostor.alive()
    assert not impostor.signal(9)
    assert end([impostor]) == []
    assert process.alive(), "same pid, another process: not touched"
    assert not wait_gone([process], 0.05)
    assert end([process]) == [process]
    assert sleeper.wait(10) == -9
    assert end([process]) == []


def test_a_zombie_is_not_alive(sleeper: subprocess.Popen[bytes]) -> None:
    process = Process.of(sleeper.pid)
    assert process is not None
    sleeper.kill()
    assert wait_gone([process], 10)  # nobody has waited for it yet
    assert not process.alive()
    sleeper.wait(10)


V1 = """\
24 1 0:21 / /sys/fs/cgroup rw - tmpfs tmpfs rw
25 24 0:22 / {0}/cpu rw - cgroup cgroup rw,cpu,cpuacct
26 24 0:23 / {0}/memory rw - cgroup cgroup rw,memory
27 24 0:24 / {0}/unified rw - cgroup2 cgroup2 rw
"""
V2 = "25 24 0:22 / {0} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


def test_v1_controllers_are_used_where_v2_offers_none(tmp_path: Path) -> None:
    (tmp_path / "unified").mkdir()
    (tmp_path / "unified" / "cgroup.controllers").write_text("\n")
    assert cgroups.find_mounts(V1.format(tmp_path)) == cgroups.Mounts(cpu=tmp_path / "cpu", memory=tmp_path / "memory")
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    assert cgroups.find_mounts(V2.format(tmp_path)) == cgroups.Mounts(v2=tmp_path)


def test_limits_are_the_hosts_abilities(tmp_path: Path) -> None:
    host = small_plan().hosts[0]
    half = host.model_copy(update={"abilities": host.abilities.model_copy(update={"cpu": 0.5, "memory": 512 << 20})})
    for mounts in (cgroups.Mounts(v2=tmp_path), cgroups.Mounts(cpu=tmp_path / "cpu", memory=tmp_path / "memory")):
        for base in mounts.bases():
            base.mkdir(exist_ok=True)
        made = cgroups.Limits("0123abcd", mounts).create([half])
        assert made == {"a-1": [str(base / "opus-0123abcd" / "a-1") for base in mounts.bases()]}
    assert (tmp_path / "opus-0123abcd/a-1/cpu.max").read_text() == "50000 100000"
    assert (tmp_path / "opus-0123abcd/a-1/memory.max").read_text() == str(512 << 20)
    assert (tmp_path / "cpu/opus-0123abcd/a-1/cpu.cfs_quota_us").read_text() == "50000"
    assert (tmp_path / "memory/opus-0123abcd/a-1/memory.limit_in_bytes").read_text() == str(512 << 20)


def test_a_strain_lowers_the_limits_and_its_end_restores_them(tmp_path: Path) -> None:
    host = small_plan().hosts[0]
    for mounts in (cgroups.Mounts(v2=tmp_path), cgroups.Mounts(cpu=tmp_path / "cpu", memory=tmp_path / "memory")):
        for base in mounts.bases():
            base.mkdir(exist_ok=True)
        directories = cgroups.Limits("0123abcd", mounts).create([host])["a-1"]
        files = [file for directory in directories for file in Path(directory).iterdir()]
        before = {file: file.read_text() for file in files}
        cgroups.limit(directories, host.abilities, HostChange(cpu=0.2, memory=80 << 20))
        limits = {file.name: file.read_text().split()[0] for file in files if file.name != "cpu.cfs_period_us"}
        assert sorted(limits.values()) == ["20000", str(80 << 20)]
        cgroups.limit(directories, host.abilities, HostChange(cpu=0.00001))
        assert {file.read_text().split()[0] for file in files if file.name in ("cpu.max", "cpu.cfs_quota_us")} == {"1000"}
        cgroups.limit(directories, host.abilities, NOTHING_TAKEN)
        assert {file: file.read_text() for file in files} == before
        cgroups.hold(directories, host.abilities.cpu, host.abilities.memory)
        with pytest.raises(PlatformError, match=r"1 cores where 0\.5 were asked for"):
            cgroups.hold(directories, 0.5, host.abilities.memory)
        with pytest.raises(PlatformError, match="bytes of memory where"):
            cgroups.hold(directories, host.abilities.cpu, 80 << 20)


def test_a_processs_cgroups_are_found_where_they_are_mounted(tmp_path: Path) -> None:
    for base in ("cpu", "memory", "v2"):
        (tmp_path / base / "docker" / "c0").mkdir(parents=True)
    v1 = cgroups.Mounts(cpu=tmp_path / "cpu", memory=tmp_path / "memory")
    told = "4:memory:/docker/c0\n3:cpu,cpuacct:/docker/c0\n2:pids:/docker/c0\n0::/elsewhere\n"
    assert cgroups.of_process(told, v1) == [str(tmp_path / "memory/docker/c0"), str(tmp_path / "cpu/docker/c0")]
    assert cgroups.of_process("0::/docker/c0\n", cgroups.Mounts(v2=tmp_path / "v2")) == [str(tmp_path / "v2/docker/c0")]
    assert cgroups.of_process("0::/\n", cgroups.Mounts(v2=tmp_path / "v2")) == []
    assert cgroups.of_process("0::/gone\n", cgroups.Mounts(v2=tmp_path / "v2")) == []


def test_what_a_container_has_consumed_is_read_from_its_own_cgroup(tmp_path: Path) -> None:
    v1, v2 = tmp_path / "v1/docker/c0", tmp_path / "v2/docker/c0"
    v1.mkdir(parents=True)
    v2.mkdir(parents=True)
    (v1 / "cpuacct.usage").write_text("123456789\n")
    (v2 / "cpu.stat").write_text("usage_usec 2500\nuser_usec 2000\nsystem_usec 500\n")
    mounts_v1 = f"30 24 0:26 / {tmp_path}/v1 rw - cgroup cgroup rw,cpu,cpuacct\n"
    mounts_v2 = f"31 24 0:27 / {tmp_path}/v2 rw - cgroup2 cgroup2 rw\n"
    told = "4:memory:/docker/c0\n3:cpu,cpuacct:/docker/c0\n0::/docker/c0\n"
    assert cgroups.counted(told, mounts_v1) == 123_456_789
    assert cgroups.counted(told, mounts_v1 + mounts_v2) == 123_456_789
    assert cgroups.counted("0::/docker/c0\n", mounts_v2) == 2_500_000
    assert cgroups.counted("3:cpu,cpuacct:/\n0::/\n", mounts_v1 + mounts_v2) is None, "the whole machine's"
    assert cgroups.counted(told, "") is None


def test_refused_cgroups_are_told_and_do_no_harm(tmp_path: Path) -> None:
    limits = cgroups.Limits("0123abcd", cgroups.Mounts(v2=tmp_path / "gone"))
    assert limits.create(small_plan().hosts[:1]) == {"a-1": []}
    assert "cannot be made" in limits.refused


def test_every_host_has_a_user_of_its_own() -> None:
    users = {state.uid_of(run, index) for run in ("00000000", "00000001", "00000fff") for index in range(1000)}
    assert len(users) == 3000
    assert min(users) >= 0x7000_0000
    assert max(users) < 0x7FFF_FFFF


def test_state_comes_back_as_it_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "STATE_DIR", tmp_path / "opus")
    plan = small_plan()
    made = state.make(plan, mode="up", record=None)
    made.hosts["a-1"].node = made.zygote = Process.own()
    made.links = "netem"
    made.save()
    assert state.load(made.run) == made
    assert made.plan() == plan
    assert state.find(made.run[:4]) == made
    assert state.find(None) == made
    assert made.alive()
    assert not replace(made, owner=Process(os.getpid(), 1), zygote=None).alive()
    assert replace(made, owner=Process(os.getpid(), 1)).alive(), "a testbed lives as long as its zygote"
    assert not replace(made, owner=Process(os.getpid(), 1), mode="run").alive(), "a run lives as long as its owner"
    (tmp_path / "opus" / f"{made.run}x").mkdir()
    assert state.runs() == [made.run]
    with pytest.raises(ScenarioError, match="no run 'ffffffff'"):
        state.find("ffffffff")


def test_a_host_whose_socket_would_have_too_long_a_path_is_refused() -> None:
    plan = small_plan()
    long = plan.hosts[0].model_copy(update={"name": "x" * 90})
    with pytest.raises(ScenarioError, match="too long"):
        state.make(plan.model_copy(update={"hosts": (long,)}), mode="run", record=None)


def test_fidelity_leaves_out_what_is_no_error_of_the_links() -> None:
    network = Network.of(small_plan())
    a, b = network.hosts[0], network.hosts[2]
    assert probes._measurable(network, a, b)
    cut = replace(network, cuts=(Cut(frozenset({"b-1"}), frozenset({"a-1"})),))
    assert not probes._measurable(cut, a, b)
    assert not probes._measurable(replace(network, down=frozenset({"b-1"})), a, b)
    overtaking = replace(network, overrides={("b", "a"): PathShape(reorder=0.1)})
    assert not probes._measurable(overtaking, a, b)


def test_pairs_for_fidelity_are_drawn_by_the_seed_from_different_sites() -> None:
    hosts = small_plan().hosts
    pairs = probes.sample_pairs(hosts, "x", most=5)
    assert len(pairs) == 5
    assert pairs == probes.sample_pairs(hosts, "x", most=5)
    assert all(one.site != other.site for one, other in pairs)
    assert len(probes.sample_pairs(hosts, "x", most=100)) == 12


def test_what_shares_a_process_s_session_is_found_and_nothing_else() -> None:
    script = "sh -c 'echo $$; exec sleep 1000' & setsid sh -c 'echo $$; exec sleep 1001' & wait"
    leader = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert leader.stdout is not None
    pids = {int(leader.stdout.readline()) for _ in range(2)}
    made = [process for pid in (leader.pid, *pids) if (process := Process.of(pid)) is not None]
    stays = [process for process in made if os.getsid(process.pid) == leader.pid and process.pid != leader.pid]
    try:
        assert len(stays) == 1
        assert made[0].session() == stays
    finally:
        end(made)
        leader.wait()
        leader.stdout.close()
    assert made[0].session() == []


def test_what_cannot_limit_hosts_here_is_said_with_why(tmp_path: Path) -> None:
    host = small_plan().hosts[0]
    for name in ("cpu", "memory"):
        (tmp_path / name).mkdir()
    assert cgroups.lacking(host, cgroups.Mounts(cpu=tmp_path / "cpu", memory=tmp_path / "memory")) == {}
    (only,) = cgroups.lacking(host, cgroups.Mounts(memory=tmp_path / "memory")).items()
    assert only[0] == "cpu"
    assert "controller cpu is not mounted" in only[1]
    assert {*cgroups.lacking(host, cgroups.Mounts())} == {"cpu", "memory"}
    refused = cgroups.lacking(host, cgroups.Mounts(v2=tmp_path / "nowhere"))["memory"]
    assert "No such file or directory" in refused
    assert "docker run --privileged" in refused
    assert cgroups.has_freezer(V2.format(tmp_path))
    assert not cgroups.has_freezer(V1.format(tmp_path))
    assert cgroups.has_freezer(V1.format(tmp_path) + "40 1 0:9 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n")


def test_a_host_is_not_said_to_be_slowed_where_no_controller_does_it(tmp_path: Path) -> None:
    made = cgroups.Limits("0a0b0c0d", cgroups.Mounts(memory=tmp_path)).create(small_plan().hosts[:1])
    with pytest.raises(PlatformError, match="controller cpu is not mounted"):
        cgroups.limit(made["a-1"], small_plan().hosts[0].abilities, HostChange(cpu=0.5))
