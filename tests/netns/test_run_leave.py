"""Real hosts that leave: their processes end by themselves, others know before they do, clients feel nothing."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.netns_runs import brought_up, events, leftovers, opus, result_of, scenario, start_run, state_of, until
from opus_controller.runtimes.hosts.nodes import LEAVES_S

pytestmark = pytest.mark.netns

TIMELINE = (
    "[{at: 8s, name: upgrade, leave: a replica of web, for: 6s}, {at: 16s, name: head, leave: the steward of web},"
    " {at: 20s, name: nap, pause: b-2}, {at: 21s, name: woken, leave: b-2}]"
)


def test_a_replica_and_the_steward_leave(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start_run(scenario(tmp_path, duration=26, timeline=TIMELINE), out)
    run = until("a run's state", lambda: state_of(process))
    sleeper = next(host.address for host in run.plan().hosts if host.name == "b-2")
    result = result_of(process)
    assert result["died"] == [], "each ended by itself, in time, with exit code 0"
    assert leftovers(run) == {}

    struck = {fault["name"]: fault for fault in result["faults"]}
    told = events(out)
    ended = _ends(out)
    names = {fault["name"]: fault["victims"][0] for fault in result["faults"]}
    for name in ("upgrade", "head", "woken"):
        assert any(host == names[name] and status == 0 for host, status in ended), f"{name}: {ended}"
    thought = [e for e in told if e["kind"] == "member" and e["state"] in ("suspect", "dead")]
    assert [e for e in thought if not _stood_still(e, sleeper)] == [], "nobody is thought dead"
    assert not [e for e in told if e["kind"] == "agent_lost"]
    decided = next(e for e in told if e["kind"] == "replica_set" and e["cause"].endswith(" leaves"))
    assert decided["t"] / 1e9 - struck["upgrade"]["at_s"] < 1.5, "its steward knew at once"
    requests = [e for e in told if e["kind"] == "request"]
    assert len(requests) > 200
    assert [e for e in requests if e["outcome"] != "ok"] == []
    back = [e for e in requests if e["host"] == names["upgrade"] and e["issued_at"] > 15e9]
    assert back, "the restarted host's clients go on"
    assert [f["recovery_s"] for f in result["faults"] if f["kind"] == "leave"] == [0, 0, 0]


def test_by_hand_on_a_testbed_that_stays(tmp_path: Path) -> None:
    """It is gone within its deadline, and a restart just after waits for that."""
    with brought_up(tmp_path, "netns") as run:
        node = run.hosts["b-2"].node
        assert node is not None
        began = time.monotonic()
        done = opus("fault", "leave", "--run", run.run, "--json", "b-2", "--name", "off")
        assert done.returncode == 0, done.stderr
        assert '"fault": "leave"' in done.stdout
        until("its end", lambda: not node.alive())
        assert time.monotonic() - began < LEAVES_S
        assert "asked to leave" in Path(run.hosts["b-2"].log).read_text()
        assert _alive(run.run)["b-2"] is False
        assert opus("fault", "leave", "--run", run.run, "b-2").returncode == 2, "it is down already"
        assert opus("fault", "leave", "--run", run.run, "c-2", "--name", "short").returncode == 0
        assert opus("fault", "restart", "--run", run.run, "same", "as", "short").returncode == 0
        assert opus("fault", "restart", "--run", run.run, "same", "as", "off").returncode == 0
        assert all(_alive(run.run).values())


def _stood_still(event: dict[str, Any], sleeper: str) -> bool:
    """A suspicion of the paused host, before it could answer again: of what is silent that is right."""
    return bool(event["state"] == "suspect" and event["member"] == sleeper and 20e9 <= event["t"] <= 22e9)


def _alive(run: str) -> dict[str, bool]:
    return {host["name"]: host["alive"] for host in json.loads(opus("status", run, "--json").stdout)["hosts"]}


def _ends(out: Path) -> list[tuple[str, int]]:
    """(host, status) of processes that ended, as the zygote tells."""
    found: list[tuple[str, int]] = []
    for line in (out / "logs" / "_zygote.log").read_text().splitlines():
        words: list[Any] = line.split()
        if "ended with status" in line:
            found.append((words[words.index("(process") - 1], int(words[-1])))
    return found
