"""A testbed that stays: hosts by name, real round trips, links changed by hand, faults visible."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.netns_runs import OPUS, brought_up, opus
from opus_controller.runtimes.hosts import state

pytestmark = pytest.mark.netns

LIMITS = ("cpu.max", "memory.max", "cpu.cfs_quota_us", "memory.limit_in_bytes")

CONNECT = """
import socket, sys, time
best = 1e9
for _ in range(20):
    began = time.monotonic()
    socket.create_connection((sys.argv[1], 7000)).close()
    best = min(best, time.monotonic() - began)
print(best * 1000)
"""


@pytest.fixture
def testbed(tmp_path: Path) -> Iterator[state.RunState]:
    with brought_up(tmp_path, "netns") as run:
        yield run


def connect_ms(run: state.RunState, source: str, target: str) -> float:
    """The best of some TCP handshakes, one round trip each, between two hosts by name."""
    done = opus("exec", "--run", run.run, source, "--", "python3", "-c", CONNECT, target)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def test_hosts_reach_each_other_by_name_in_the_topologys_time(testbed: state.RunState) -> None:
    assert connect_ms(testbed, "a-1", "b-2") == pytest.approx(22, abs=4)  # 20 between the sites, 0.5 at each end and way
    assert connect_ms(testbed, "c-1", "a-2") == pytest.approx(42, abs=4)


@pytest.mark.skipif(shutil.which("ping") is None, reason="needs ping (iputils-ping)")
def test_ping_shows_the_round_trip_of_the_topology(testbed: state.RunState) -> None:
    done = opus("exec", "--run", testbed.run, "a-1", "--", "ping", "-c", "20", "-i", "0.1", "b-1")
    assert done.returncode == 0, done.stderr + done.stdout
    best = re.search(r"= ([0-9.]+)/", done.stdout)
    assert best is not None
    assert float(best[1]) == pytest.approx(22, abs=3)


@pytest.mark.skipif(shutil.which("iperf3") is None, reason="needs iperf3")
def test_iperf3_shows_the_rate_of_the_topology(testbed: state.RunState) -> None:
    inside = [*OPUS, "exec", "--run", testbed.run, "a-1", "--", "iperf3", "--server", "--one-off", "--forceflush"]
    server = subprocess.Popen(inside, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        while "listening" not in server.stdout.readline():  # ends at its end of file, too
            assert server.poll() is None
        client = opus("exec", "--run", testbed.run, "b-1", "--", "iperf3", "--client", "a-1", "--time", "4", "--json")
    finally:
        server.kill()
        server.communicate()
    assert client.returncode == 0, client.stdout
    mbit = json.loads(client.stdout)["end"]["sum_received"]["bits_per_second"] / 1e6
    assert 16 < mbit < 20  # 20 Mbit/s of IP packets; 1448 of 1500 bytes are payload; less at the start


def test_a_link_changed_by_hand_is_in_force_and_can_be_reset(testbed: state.RunState) -> None:
    run = ("--run", testbed.run)
    assert opus("link", "set", *run, "a-1", "b-2", "--delay", "80ms").returncode == 0
    assert connect_ms(testbed, "a-1", "b-2") == pytest.approx(162, abs=6)
    assert connect_ms(testbed, "a-2", "b-2") == pytest.approx(22, abs=4)  # another host of the same site
    assert opus("link", "set", *run, "a", "b", "--rtt", "60ms").returncode == 0
    assert connect_ms(testbed, "a-2", "b-2") == pytest.approx(62, abs=4)
    assert connect_ms(testbed, "a-1", "b-2") == pytest.approx(162, abs=6)  # the stronger one, still
    assert "80ms" in opus("link", "show", *run, "a-1", "b-2").stdout
    assert opus("link", "reset", *run, "a-1", "b-2").returncode == 0
    assert connect_ms(testbed, "a-1", "b-2") == pytest.approx(62, abs=4)


def test_exit_codes_pass_through_and_mistakes_get_one_line(testbed: state.RunState) -> None:
    run = ("--run", testbed.run)
    assert opus("exec", *run, "a-1", "--", "sh", "-c", "exit 7").returncode == 7
    for arguments, code, said in (
        (("exec", *run, "a-9", "--", "true"), 2, "no host 'a-9'"),
        (("exec", *run, "a-1", "--", "no-such-command"), 3, "no-such-command"),
        (("link", "set", *run, "a-1", "nowhere", "--delay", "1ms"), 2, "'nowhere'"),
        (("link", "set", *run, "a-1", "b-1", "--delay", "fast"), 2, "--delay"),
        (("link", "set", *run, "a-1", "b-1"), 2, "nothing to change"),
        (("down", "ffffffff"), 2, "no run 'ffffffff'"),
    ):
        done = opus(*arguments)
        assert done.returncode == code, arguments
        assert said in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_status_hosts_and_logs_tell_of_it(testbed: state.RunState) -> None:
    status = json.loads(opus("status", testbed.run, "--json").stdout)
    assert next(one for one in status["runs"] if one["run"] == testbed.run)["alive"]
    assert {host["name"]: host["alive"] for host in status["hosts"]} == dict.fromkeys(testbed.hosts, True)
    hosts = json.loads(opus("hosts", testbed.run, "--json").stdout)["hosts"]
    assert [host["address"] for host in hosts] == [f"198.18.0.{n}" for n in range(1, 7)]
    assert "booted as 198.18.0.1" in opus("logs", "--run", testbed.run, "a-1").stdout


def test_a_hosts_abilities_are_enforced_on_its_process(testbed: state.RunState) -> None:
    host = testbed.hosts["c-2"]
    assert host.node is not None
    if not host.cgroups:
        pytest.skip("no cgroups can be made on this machine")
    for group in map(Path, host.cgroups):
        assert (group / "cgroup.procs").read_text().split() == [str(host.node.pid)]
    limits = [file.read_text().split()[0] for group in map(Path, host.cgroups) for file in group.iterdir() if file.name in LIMITS]
    assert sorted(limits) == sorted(["100000", str(256 << 20)])  # one core, and what a group has if it says nothing


def test_gc_leaves_a_living_testbed_alone(testbed: state.RunState) -> None:
    assert testbed.run not in opus("gc").stdout
    assert connect_ms(testbed, "a-1", "a-2") > 0
