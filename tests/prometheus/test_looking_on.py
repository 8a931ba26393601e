"""Looking on at testbeds that stay up, and what becomes of whoever looks on when all comes to an end."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.netns_runs import OPUS, leftovers, opus, scenario, state_of, until
from helpers.promdata import Api, looked_at
from opus_controller.observe.prometheus import get
from opus_controller.runtimes.hosts import state
from opus_controller.runtimes.hosts.processes import Process

pytestmark = pytest.mark.prometheus


def children(pid: int) -> list[Process]:
    """Prometheus servers that this process has started."""
    found = subprocess.run(["ps", "--ppid", str(pid), "-o", "pid=,comm="], capture_output=True, text=True, check=False).stdout
    pids = [int(line.split()[0]) for line in found.splitlines() if line.split()[1] == "prometheus"]
    return [process for one in pids if (process := Process.of(one)) is not None]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where runs/ is made."""
    scenario(tmp_path, duration=30)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def up(place: Path) -> Iterator[tuple[state.RunState, str]]:
    """A testbed that is looked on, and where its Prometheus is."""
    done = opus(
        "up", place / "tiny-net.yaml", "--runtime", "netns", "--links", "userspace", "--observe-address", "127.0.0.1:0", "--json"
    )
    assert done.returncode == 0, done.stderr
    run = state.load(json.loads(done.stdout)["run"])
    (address,) = re.findall(r"Prometheus at http://(\S+),", done.stderr)
    try:
        yield run, address
    finally:
        opus("down", run.run)


def value(api: Api, expr: str) -> float | None:
    """Of the first series now."""
    result: list[Any] = api.ask("query", query=expr)["result"]
    return float(result[0]["value"][1]) if result else None


def test_a_testbed_that_stays_up_can_be_looked_on_and_goes_with_all_who_do(up: tuple[state.RunState, str], place: Path) -> None:
    run, address = up
    api = Api(address)
    until("all hosts", lambda: value(api, f'sum(up{{run="{run.run}", job="opus-host"}})') == 6)
    until("agents", lambda: (value(api, f'opus_agents{{run="{run.run}"}}') or 0) >= 1)
    until("a round trip", lambda: (value(api, "sum(opus_rtt_seconds_count)") or 0) >= 1)
    asked = 'max(opus_rtt_asked_seconds{source_site="a", target_site="b"})'
    assert value(api, asked) == pytest.approx(0.022)
    by_hand = opus("link", "set", "a", "b", "--delay", "80ms", "--run", run.run)  # from another process
    assert by_hand.returncode == 0, by_hand.stderr
    until("what hands have changed", lambda: (value(api, asked) or 0) > 0.1)
    (observer,) = state.observers(run.directory)
    (server,) = children(observer.pid)
    assert opus("down", run.run).returncode == 0
    assert not observer.alive()
    assert not server.alive()
    assert leftovers(run) == {}
    assert (place / "runs/prometheus/data").is_dir()
    with pytest.raises(ConnectionRefusedError):
        get(address, "/-/ready", timeout_s=1)


def test_a_testbed_stays_up_if_nobody_can_look_on(place: Path) -> None:
    """And somebody can later."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = opus("up", place / "tiny-net.yaml", "--runtime", "netns", "--links", "userspace", "--observe-address", address)
    (name,) = re.findall(r"the testbed is up all the same: opus observe (\w+) tries again", done.stderr)
    run = state.load(name)
    try:
        assert done.returncode == 3, done.stderr
        assert f"cannot listen on {address}" in done.stderr
        assert state.observers(run.directory) == []
        assert opus("exec", "--run", name, "a-1", "--", "true").returncode == 0
        later = subprocess.Popen([*OPUS, "observe", name], stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
        try:
            assert later.stderr
            assert "observe: metrics at http://127.0.0.1:" in later.stderr.readline()
        finally:
            later.terminate()
            later.communicate(timeout=60)
    finally:
        opus("down", name)
    assert leftovers(run) == {}


def test_an_address_that_is_none_brings_nothing_up(place: Path) -> None:
    done = opus("up", place / "tiny-net.yaml", "--runtime", "netns", "--links", "userspace", "--observe-address", "9477")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("opus: --observe-address 9477: ADDRESS:PORT is wanted")  # before it said what it brings up
    assert done.stderr.count("\n") == 1


def test_two_at_once_keep_their_data_apart(up: tuple[state.RunState, str], place: Path) -> None:
    """Of Opus' own, and one that somebody has started by hand."""
    run, _ = up
    with looked_at(place / "runs/prometheus-2/data"):
        second = subprocess.Popen([*OPUS, "observe", run.run], stderr=subprocess.PIPE, text=True)
        try:
            assert second.stderr
            said = [second.stderr.readline(), second.stderr.readline()]
            assert str(place / "runs/prometheus-3/data") in said[1]
        finally:
            second.terminate()
            second.wait(60)
    assert len(state.observers(run.directory)) == 1


def test_a_controller_that_is_killed_takes_its_prometheus_along(place: Path) -> None:
    command = [
        *OPUS,
        "run",
        str(place / "tiny-1.yaml"),
        "--runtime",
        "netns",
        "--links",
        "userspace",
        "--observe",
        "--json",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    try:
        run = until("the run", lambda: state_of(process))
        refused = opus("observe", run.run)
        assert (refused.returncode, "is being played; who plays it serves its metrics" in refused.stderr) == (2, True)
        (server,) = children(process.pid)
        process.kill()
        process.wait()
        until("its Prometheus to end", lambda: not server.alive(), 30)
    finally:
        process.kill()
        process.communicate()
    opus("gc")
    assert leftovers(run) == {}


def test_the_simulator_has_nothing_to_look_at(place: Path) -> None:
    done = opus("run", place / "tiny-1.yaml", "--runtime", "sim", "--observe")
    assert (done.returncode, done.stdout) == (3, "")
    assert "no live metrics" in done.stderr
    assert not (place / "runs").exists()


def test_without_a_prometheus_the_compose_file_is_named(place: Path) -> None:
    """And the run is served and kept all the same."""
    empty = place / "bin"
    empty.mkdir()
    for tool in ("ip", "sh"):
        (empty / tool).symlink_to(Path("/bin") / tool)
    command = [
        *OPUS,
        "run",
        str(scenario(place, duration=6, seed=2)),
        "--runtime",
        "netns",
        "--links",
        "userspace",
        "--observe",
    ]
    done = subprocess.run(
        command, env={**os.environ, "PATH": str(empty)}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode in (0, 1, 4), done.stderr
    assert "no prometheus on PATH: apt-get install prometheus, or: docker compose -f compose/compose.yaml up -d" in done.stderr
    assert (place / "runs/latest/samples/metrics.ndjson").stat().st_size > 1000
    assert not (place / "runs/prometheus").exists()


def test_a_run_without_metrics_cannot_be_put_into_a_prometheus(place: Path) -> None:
    done = opus("run", place / "tiny-1.yaml", "--runtime", "sim")
    assert done.returncode in (0, 1)
    done = opus("report", place / "runs/latest", "--prometheus", place / "data")
    assert done.returncode == 2
    assert "kept no metrics (the simulator has none" in done.stderr
    assert not (place / "data").exists()
    done = opus("report", place / "runs/latest", "--prometheus", place)
    assert (done.returncode, "no Prometheus data directory" in done.stderr) == (2, True)
