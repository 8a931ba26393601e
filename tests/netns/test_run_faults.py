"""Faults by hand on real hosts: a testbed that stays up, and a run that is being played."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.netns_runs import OPUS, TOPOLOGY, events, leftovers, opus, result_of, scenario, start_run, state_of, until
from helpers.nodes import control
from opus_controller.cli._controller import ask_controller
from opus_controller.runtimes.hosts import state
from opus_proto.v1 import control_pb2 as pb

pytestmark = pytest.mark.netns

CONNECT = """
import socket, sys, time
began = time.monotonic()
try:
    socket.create_connection((sys.argv[1], 7000), timeout=1.5).close()
except OSError:
    print("none")
else:
    print((time.monotonic() - began) * 1000)
"""


@pytest.fixture
def testbed(tmp_path: Path) -> Iterator[state.RunState]:
    (tmp_path / "net.yaml").write_text(TOPOLOGY)
    done = opus("up", tmp_path / "net.yaml", "--runtime", "netns", "--links", "userspace", "--json")
    assert done.returncode == 0, done.stderr
    run = state.load(json.loads(done.stdout)["run"])
    yield run
    assert opus("down", run.run).returncode == 0
    assert leftovers(run) == {}


def fault(run: state.RunState, *words: str) -> dict[str, Any]:
    done = opus("fault", words[0], "--run", run.run, "--json", *words[1:])
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def strike(run: state.RunState, **event: Any) -> dict[str, Any]:
    """As `fault`, without the cost of a process."""
    (record,) = ask_controller(run.run, {"do": "strike", "event": event})["struck"]
    return dict(record)


def hosts(run: state.RunState) -> dict[str, dict[str, Any]]:
    return {host["name"]: host for host in json.loads(opus("status", run.run, "--json").stdout)["hosts"]}


def connect_ms(run: state.RunState, source: str, target: str) -> float | None:
    """One TCP handshake; None if there is no answer."""
    said = opus("exec", "--run", run.run, source, "--", "python3", "-c", CONNECT, target).stdout.strip()
    return None if said == "none" else float(said)


def completions(run: state.RunState, line: str) -> list[str]:
    words = line.replace("RUN", run.run)
    environment = {**os.environ, "_OPUS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run([*OPUS], env=environment, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.split()


def test_a_testbed_that_stays_up_is_broken_by_hand_and_whole_again(testbed: state.RunState) -> None:
    killed = fault(testbed, "kill", "a-2", "--name", "loss")
    assert (killed["fault"], killed["victims"], killed["by"]) == ("crash", ["a-2"], "hand")
    assert strike(testbed, pause="1 of site b", name="nap")["victims"][0].startswith("b-")
    fault(testbed, "cut", "c-1", "--from", "site a", "--name", "apart")
    strike(testbed, link="a <-> c", add={"rtt": "100ms"}, name="slow")
    seen = hosts(testbed)
    assert [name for name, host in seen.items() if not host["alive"]] == ["a-2"]
    assert [name[0] for name, host in seen.items() if host["paused"]] == ["b"]
    assert connect_ms(testbed, "a-1", "c-1") is None
    slowed = connect_ms(testbed, "a-1", "c-2")
    assert slowed is not None
    assert slowed > 135  # 42 and 100
    assert opus("link", "set", "--run", testbed.run, "a", "c", "--rtt", "200ms").returncode == 0
    both = connect_ms(testbed, "a-1", "c-2")
    assert both is not None
    assert both > 290  # the fault lies over what the link has been set to

    in_force = ask_controller(testbed.run, {"do": "list"})["in_force"]
    assert [(one["name"], one["kind"]) for one in in_force] == [
        ("apart", "partition"),
        ("slow", "link"),
        ("loss", "crash"),
        ("nap", "pause"),
    ]
    assert completions(testbed, "opus fault clear --run RUN a") == ["apart"]
    assert completions(testbed, "opus fault cut --run RUN site ") == ["a", "b", "c"]

    assert strike(testbed, restart="same as loss")["victims"] == ["a-2"]
    assert connect_ms(testbed, "a-1", "a-2") is not None
    assert opus("fault", "clear", "--run", testbed.run).stdout.count("\n") == 3
    healed = connect_ms(testbed, "a-1", "c-1")
    assert healed is not None
    assert 200 < healed < 290
    assert all(host["alive"] and not host["paused"] for host in hosts(testbed).values())
    assert [one["fault"] for one in events(testbed.directory, "fault")][:5] == ["crash", "pause", "partition", "link", "restart"]
    done = opus("fault", "kill", "--run", testbed.run, "site", "nowhere")
    assert done.returncode == 2
    assert done.stderr.startswith('opus: crash: there is no site "nowhere"')
    assert len(done.stderr.strip().splitlines()) == 1
    _clocks_are_wrong_through_a_pause_and_a_restart(testbed)  # here, since a testbed costs seconds


def test_strained_hosts_keep_as_much_as_they_are_left(testbed: state.RunState) -> None:
    if not testbed.hosts["a-1"].cgroups:
        pytest.skip("no cgroups can be made on this machine")
    fault(testbed, "strain", "a-1", "--cpu", "10%", "--up", "400kbit", "--name", "weak")
    strike(testbed, strain="site a", cpu="50%", memory="100MiB", name="tight")
    assert sorted(_limits(testbed, "a-1")) == ["104857600", "5000"]
    assert sorted(_limits(testbed, "a-2")) == ["104857600", "50000"]
    assert sorted(_limits(testbed, "b-1")) == ["100000", str(256 << 20)]
    strike(testbed, crash="a-1")
    strike(testbed, restart="a-1")
    assert sorted(_limits(testbed, "a-1")) == ["104857600", "5000"]
    assert strike(testbed, heal="tight")["undoes"] == "tight"
    assert sorted(_limits(testbed, "a-1")) == ["10000", str(256 << 20)]
    ask_controller(testbed.run, {"do": "clear", "names": []})
    assert sorted(_limits(testbed, "a-1")) == ["100000", str(256 << 20)]


def _clocks_are_wrong_through_a_pause_and_a_restart(testbed: state.RunState) -> None:
    fault(testbed, "strain", "a-1", "--clock", "3s", "--drift", "1%", "--name", "off")
    strike(testbed, strain="site a", clock="1h", name="hour")
    assert _ahead_s(testbed, "a-1") > 3602.9
    assert 3599.9 < _ahead_s(testbed, "a-2") < 3600.1
    assert _ahead_s(testbed, "b-1") == 0
    strike(testbed, pause="b-1")
    strike(testbed, strain="b-1", clock="3s", name="late")
    strike(testbed, resume="b-1")
    assert 2.9 < _ahead_s(testbed, "b-1") < 3.1
    strike(testbed, crash="a-1")
    strike(testbed, restart="a-1")
    assert _ahead_s(testbed, "a-1") > 3602.9
    strike(testbed, heal="hour")
    assert 3500 < _ahead_s(testbed, "a-2") < 3600, "on its way back"
    assert all(host["alive"] for host in hosts(testbed).values())


def test_a_run_in_progress_is_struck_like_by_its_plan(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start_run(scenario(tmp_path / "s", duration=12), out)
    run = until("the run", lambda: state_of(process))
    until("the first answers", lambda: len(events(out, "request")) > 5)
    struck = fault(run, "kill", "a", "replica", "of", "web", "--power-off", "--for", "2s", "--name", "mine")
    (victim,) = struck["victims"]
    until("its return", lambda: [one for one in events(out, "host_up") if one["host"] == victim and one["cause"] == "restart"])
    result = result_of(process)
    told = [(one["kind"], one["target"], one["victims"]) for one in result["faults"]]
    assert ("power-off", "a replica of web", [victim]) in told
    assert opus("fault", "kill", "--run", run.run, "a-1").returncode == 2


def _ahead_s(run: state.RunState, host: str) -> float:
    """How far the node's clock is ahead, by its own word."""
    stub = control(Path(run.hosts[host].control_dir))
    return float(stub.GetStatus(pb.StatusRequest(), timeout=10).clock_ahead_ns) / 1e9


def _limits(run: state.RunState, host: str) -> list[str]:
    names = ("cpu.max", "memory.max", "cpu.cfs_quota_us", "memory.limit_in_bytes")
    files = [Path(group, name) for group in run.hosts[host].cgroups for name in names]
    return [file.read_text().split()[0] for file in files if file.exists()]


FAMILIES = """[
  {at: 6s, name: lame, strain: a replica of web, cpu: 10%, up: 500kbit, for: 4s},
  {at: 6s, name: skewed, strain: 2 of site b, clock: 3s, drift: -1%, for: 8s},
  {at: 7s, name: loose, partition: c-2, both_ways: false, for: 4s, flap: 2s},
  {at: 8s, name: bad, link: a <-> b, add: {rtt: 40ms, jitter: 2ms, loss: 1%}, for: 5s},
  {at: 9s, name: dos, flood: the busiest replica of web, rate: 40/s, for: 4s},
  {at: 14s, name: dark, power-off: site c, for: 3s},
]"""


def test_families_of_faults_overlap_on_real_hosts_and_leave_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start_run(scenario(tmp_path / "s", duration=20, timeline=" ".join(FAMILIES.split())), out)
    run = until("the run", lambda: state_of(process))
    result = result_of(process)
    struck = {fault["name"]: fault["victims"] for fault in result["faults"]}
    assert {"lame", "skewed", "loose", "loose-2", "bad", "dos", "dark", "heal-lame", "heal-dos"} <= struck.keys()
    assert struck["loose"] == struck["loose-2"] == ["c-2"]
    (flood,) = result["floods"]
    assert flood["issued"] > 80, "40 a second for 4 s"
    assert set(flood["sources"]).isdisjoint(flood["targets"])
    assert result["requests"]["issued"] < 20 * 16
    assert all(one["ok"] for one in result["expectations"])
    assert leftovers(run) == {}
