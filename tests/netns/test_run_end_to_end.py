"""`opus run` on real hosts: what a user gets, and that nothing of it stays."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from helpers.netns_runs import events, leftovers, result_of, scenario, start_run, state_of, until

pytestmark = pytest.mark.netns

LOSS_AND_RETURN = (
    "[{at: 6s, name: loss, power-off: a replica of web}, {at: 9s, name: back, restart: same as loss},"
    " {at: 8s, name: cut, partition: site c, for: 2s}]"
)


def test_a_run_from_scenario_to_verdict(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start_run(scenario(tmp_path, duration=13, timeline=LOSS_AND_RETURN), out)
    run = until("a run's state", lambda: state_of(process))
    _assert_unprivileged(run.hosts["a-1"].node.pid if run.hosts["a-1"].node else 0, run.hosts["a-1"].uid)
    result = result_of(process)

    assert result["runtime"] == "netns"
    assert result["links"] == "userspace"
    assert result["hosts"] == 6
    assert result["requests"]["issued"] > 100
    assert result["requests"]["reachable"]["availability"] > 0.9
    assert result["hops"]["max"] <= 2
    assert result["fidelity"]["pairs"] >= 5
    assert result["fidelity"]["gate"]["ok"]
    assert len(result["fidelity"]["gate"]["pairs"]) >= 3
    assert result["fidelity"]["rtt_error_ms"]["p50"] < 5
    loss = next(fault for fault in result["faults"] if fault["name"] == "loss")
    assert len(loss["victims"]) == 1
    told = {(event["host"], event["cause"]) for event in events(out) if event["kind"] in ("host_up", "host_down")}
    assert {(loss["victims"][0], "power-off"), (loss["victims"][0], "restart"), ("a-1", "boot")} <= told
    after = [event for event in events(out, "request") if event["host"] == loss["victims"][0] and event["issued_at"] > 10e9]
    assert after, "the restarted host's clients go on"
    assert {event["outcome"] for event in after} == {"ok"}
    assert (out / "report.html").stat().st_size > 1000
    assert "booted as" in (out / "logs" / "a-1.log").read_text()
    assert leftovers(run) == {}


def test_ctrl_c_ends_a_run_cleanly_and_keeps_its_record(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start_run(scenario(tmp_path, duration=600), out)
    run = until("answered requests", lambda: state_of(process) if events(out, "request") else None)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads((out / "run.json").read_text())["ended"] == "interrupted"
    assert json.loads(output)["verdict"] == "invalid"
    assert json.loads(output)["requests"]["issued"] > 0
    assert leftovers(run) == {}


@pytest.mark.parametrize("later_s", [0.03, 0.06])
def test_ctrl_c_while_nodes_are_booted_is_heard(tmp_path: Path, later_s: float) -> None:
    process = start_run(scenario(tmp_path, duration=600), tmp_path / "out")
    run = until("a run's state", lambda: state_of(process))
    time.sleep(later_s)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert leftovers(run) == {}


def test_a_host_that_dies_by_itself_is_told_of(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start_run(scenario(tmp_path, duration=9), out)
    run = until("answered requests", lambda: state_of(process) if events(out, "request") else None)
    node = run.hosts["b-2"].node
    assert node is not None
    node.signal(signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    (death,) = events(out, "host_down")
    assert (death["host"], death["cause"]) == ("b-2", "died")
    assert "SIGKILL" in death["log"]
    assert "booted as" in death["log"]
    assert "b-2 died by itself" in errors
    assert leftovers(run) == {}


def _assert_unprivileged(pid: int, uid: int) -> None:
    """A host's node is nobody on this machine: its own user, no capability, no way to get one."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    assert status["Uid"].split() == [str(uid)] * 4
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == int(status["CapBnd"], 16) == 0
    assert uid >= 0x7000_0000
