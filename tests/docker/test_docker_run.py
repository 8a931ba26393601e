"""`opus run --runtime docker`: from scenario to verdict, what its containers may do, and hosts that end by others' hands."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import docker
import pytest
from helpers.engines import OwnEngine
from helpers.netns_runs import TOPOLOGY, events, leftovers, result_of, scenario, start_run, state_of, until
from opus_controller.runtimes.hosts import state

pytestmark = pytest.mark.docker

FAULTS = (
    "[{at: 6s, name: loss, power-off: a replica of web}, {at: 9s, name: back, restart: same as loss},"
    " {at: 8s, name: cut, partition: site c, for: 2s}, {at: 10s, name: nap, pause: [b-1], for: 1500ms},"
    " {at: 11s, name: gone, leave: [c-2], for: 2s}, {at: 13s, name: killed, crash: [a-2]}]"
)
LIMITS = "\n    abilities: {cpu: 0.5, memory: 80MB, processes: 99}\n"
CHURN = "churn: {sessions: {distribution: exponential, median: 6s}, downtimes: {distribution: exponential, median: 4s}}\n"
EATS_MEMORY = "head -c 60m /dev/zero > /tmp/eaten; sleep 60"


def container_of(client: docker.DockerClient, run: state.RunState, host: str) -> Any:
    return client.containers.get(f"opus-{run.run}-{host}")


def paused(client: docker.DockerClient, run: state.RunState) -> set[str]:
    """Hosts whose containers the engine holds paused."""
    found = client.containers.list(filters={"label": f"opus.run={run.run}", "status": "paused"})
    return {one.labels["opus.host"] for one in found if one.attrs["State"]["Paused"]}


def test_a_run_from_scenario_to_verdict(tmp_path: Path, client: docker.DockerClient) -> None:
    out = tmp_path / "out"
    process = start_run(scenario(tmp_path, duration=15, timeline=FAULTS), out, "docker")
    run = until("a run's state", lambda: state_of(process))
    assert {found.name for found in client.containers.list(filters={"label": f"opus.run={run.run}"})} == {
        f"opus-{run.run}-{site}-{number}" for site in "abc" for number in (1, 2)
    }
    until("b-1 paused, as the engine sees it", lambda: paused(client, run) == {"b-1"})
    until("b-1 going on", lambda: not paused(client, run))
    (nap,) = [fault for fault in events(out, "fault") if fault["name"] == "nap"]
    assert nap["victims"] == ["b-1"]
    result = result_of(process)

    assert result["runtime"] == "docker"
    assert result["links"] == "userspace"
    assert result["requests"]["issued"] > 100
    assert result["requests"]["reachable"]["availability"] > 0.9
    assert result["fidelity"]["rtt_error_ms"]["p50"] < 5
    assert result["fidelity"]["gate"]["ok"]
    assert len(result["fidelity"]["gate"]["pairs"]) >= 6
    victims = {fault["name"]: fault["victims"] for fault in result["faults"] if fault["name"]}
    told = {(event["host"], event["cause"]) for event in events(out) if event["kind"] in ("host_up", "host_down")}
    (lost,) = victims["loss"]
    assert {(lost, "power-off"), (lost, "restart"), ("c-2", "leave"), ("c-2", "restart"), ("a-2", "crash")} <= told
    assert "asked to leave" in (out / "logs" / "c-2.log").read_text()
    assert result["died"] == [], "it ended by itself, with exit code 0"
    assert not {host for host, cause in told if cause in ("died", "returned")}, "what the run itself does is no news"
    after = [event for event in events(out, "request") if event["host"] in (lost, "b-1") and event["issued_at"] > 11.6e9]
    assert after, "hosts that were restarted or paused go on"
    assert {event["outcome"] for event in after} == {"ok"}
    log = (out / "logs" / f"{lost}.log").read_text()
    assert "incarnation 0" in log
    assert "incarnation 1" in log
    assert leftovers(run) == {}


def test_a_container_may_do_nothing_and_use_what_the_topology_gives(tmp_path: Path, client: docker.DockerClient) -> None:
    path = scenario(tmp_path, duration=600)
    (tmp_path / "tiny-net.yaml").write_text(TOPOLOGY.rstrip() + LIMITS)
    process = start_run(path, tmp_path / "out", "docker")
    run = until("a run's state", lambda: state_of(process))
    found = container_of(client, run, "a-1")
    config, host = found.attrs["Config"], found.attrs["HostConfig"]
    assert config["Labels"]["opus.run"] == run.run
    assert config["Labels"]["opus.host"] == "a-1"
    assert config["User"] == f"{run.hosts['a-1'].uid}:{run.hosts['a-1'].uid}"
    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"]
    assert host["Init"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (80_000_000, 80_000_000, 500_000_000)
    assert host["PidsLimit"] == 99
    status = _status(client, run, "a-1")
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert found.exec_run(["sh", "-c", "echo > /opt/x"]).exit_code != 0
    assert found.exec_run(["sh", "-c", "echo > /tmp/x"]).exit_code == 0
    assert (Path(run.hosts["a-1"].control_dir).stat().st_mode & 0o777) == 0o700
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert leftovers(run) == {}


def test_killed_from_outside_and_started_again_by_hand(tmp_path: Path, client: docker.DockerClient) -> None:
    out = tmp_path / "out"
    process = start_run(scenario(tmp_path, duration=25), out, "docker")
    run = until("answered requests", lambda: state_of(process) if events(out, "request") else None)
    container_of(client, run, "b-2").kill()
    (death,) = until("the death in the record", lambda: events(out, "host_down"))
    assert (death["host"], death["cause"]) == ("b-2", "died")
    assert "SIGKILL" in death["log"]
    assert "booted as" in death["log"], "its last lines"
    container_of(client, run, "b-2").start()
    back = until("the return in the record", lambda: [up for up in events(out, "host_up") if up["cause"] == "returned"])
    assert [up["host"] for up in back] == ["b-2"]
    result_of(process)
    asked = [event for event in events(out, "request") if event["host"] == "b-2" and event["issued_at"] > back[0]["t"] + 3e9]
    assert asked, "its clients go on"
    assert {event["outcome"] for event in asked} == {"ok"}, "it is wired and in the overlay again"
    assert leftovers(run) == {}


def test_a_host_that_eats_its_memory_is_killed_and_told_of(tmp_path: Path, client: docker.DockerClient) -> None:
    path, out = scenario(tmp_path, duration=600), tmp_path / "out"
    (tmp_path / "tiny-net.yaml").write_text(TOPOLOGY.rstrip() + LIMITS)
    process = start_run(path, out, "docker")
    run = until("answered requests", lambda: state_of(process) if events(out, "request") else None)
    container_of(client, run, "c-1").exec_run(["sh", "-c", EATS_MEMORY], detach=True)
    (death,) = until("the death in the record", lambda: events(out, "host_down"))
    assert (death["host"], death["cause"]) == ("c-1", "died")
    assert "out of memory, its limit is 76 MiB" in death["log"].splitlines()[0]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "c-1 died by itself" in errors
    assert json.loads((out / "run.json").read_text())["died"].keys() == {"c-1"}
    assert leftovers(run) == {}


def test_an_engine_that_is_restarted_under_a_run_gets_its_hosts_back(tmp_path: Path, engine: OwnEngine) -> None:
    out = tmp_path / "out"
    process = start_run(scenario(tmp_path, duration=40), out, "docker")
    run = until("answered requests", lambda: state_of(process) if events(out, "request") else None)
    engine.stop()
    engine.start()
    everyone = set(run.hosts)

    def returned() -> bool:
        return {up["host"] for up in events(out, "host_up") if up["cause"] == "returned"} == everyone

    until("all hosts again", returned)
    assert {down["host"] for down in events(out, "host_down")} == everyone, "and their end was told"
    result = result_of(process)
    back = max(up["t"] for up in events(out, "host_up"))
    late = [event for event in events(out, "request") if event["issued_at"] > back + 6e9]
    assert late
    assert sum(event["outcome"] == "ok" for event in late) / len(late) > 0.9, "the overlay serves again"
    assert result["runtime"] == "docker"
    assert leftovers(run) == {}


def test_hosts_that_are_away_at_first_come_and_go(tmp_path: Path) -> None:
    path, out = scenario(tmp_path, duration=24, seed=2), tmp_path / "out"
    path.write_text(path.read_text() + CHURN)
    process = start_run(path, out, "docker")
    run = until("a run's state", lambda: state_of(process))
    absent = run.plan().absent
    assert absent, "or the test is about nothing"
    result = result_of(process)
    assert result["churn"]["returns"] >= 2
    assert result["churn"]["crashes"] + result["churn"]["power_offs"] >= 2
    served = {event["host"] for event in events(out, "request") if event["outcome"] == "ok"}
    assert served.intersection(absent), "who came later is served"
    assert leftovers(run) == {}


def _status(client: docker.DockerClient, run: state.RunState, host: str) -> dict[str, str]:
    """/proc/PID/status of its node."""
    output = container_of(client, run, host).top(ps_args="-eo pid,args")["Processes"]
    (pid,) = (pid for pid, words in output if words.startswith("python3 -m opus_node"))
    return dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
