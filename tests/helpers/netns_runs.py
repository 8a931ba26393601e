"""Real runs as a user starts them: the command as a process, and what is left of it on the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import docker
from google.protobuf.message import Message
from opus_controller.model.plan import Plan
from opus_controller.net import namespaces
from opus_controller.runtimes.hosts import cgroups, state
from opus_controller.runtimes.hosts.processes import Process

T = TypeVar("T")

OPUS = (sys.executable, "-m", "opus_controller.cli")

TOPOLOGY = """\
name: tiny
description: Six hosts in three sites
source: made up
sites: [{name: a}, {name: b}, {name: c}]
rtt_ms:
  a: {b: 20, c: 40}
  b: {c: 30}
groups:
  - name: servers
    sites: all
    count: 2
    access: {delay: 0.5ms, up: 20Mbit, down: 20Mbit, queue: 100ms}
"""

SCENARIO = """\
name: tiny
description: Short
topology: tiny-net.yaml
settle: 4s
duration: {duration}s
seed: {seed}
applications:
  - {{name: web, replicas: 2}}
workload:
  - {{clients: all, app: web, total_rate: 20/s, deadline: 2s}}
timeline: {timeline}
expectations:
  - hops.max <= 2
"""


def scenario(directory: Path, *, duration: int, timeline: str = "[]", seed: int = 1) -> Path:
    """Write a scenario of six hosts; `timeline` in YAML's flow style."""
    directory.mkdir(exist_ok=True)
    (directory / "tiny-net.yaml").write_text(TOPOLOGY)
    path = directory / f"tiny-{seed}.yaml"
    path.write_text(SCENARIO.format(duration=duration, timeline=timeline, seed=seed))
    return path


def opus(*arguments: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [*OPUS, *map(str, arguments)], capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL
    )


@contextmanager
def brought_up(directory: Path, runtime: str) -> Iterator[state.RunState]:
    """Six hosts that stay up, and nothing of them afterwards."""
    (directory / "net.yaml").write_text(TOPOLOGY)
    done = opus("up", directory / "net.yaml", "--runtime", runtime, "--links", "userspace", "--json")
    assert done.returncode == 0, done.stderr
    run = state.load(json.loads(done.stdout)["run"])
    yield run
    assert opus("down", run.run).returncode == 0
    assert leftovers(run) == {}


def start_run(
    path: Path, out: Path, runtime: str = "netns", settings: Sequence[str] = (), links: str = "userspace"
) -> subprocess.Popen[str]:
    """`opus run` of a scenario on real hosts, in the background; `settings` are KEY=VALUE."""
    command = [*OPUS, "run", str(path), "--runtime", runtime, "--links", links, "--out", str(out), "--json"]
    command += [f"--set={setting}" for setting in settings]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)


def until(what: str, found: Callable[[], T | None], timeout: float = 60.0) -> T:
    """The first value that `found` gives; fails when it has not come in time."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        value = found()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {timeout:.0f} s")


def state_of(process: subprocess.Popen[str]) -> state.RunState | None:
    """The state of the run that this process owns, once all of its nodes have been started; fails if it has ended before."""
    if process.poll() is not None:
        raise AssertionError(f"it ended with exit code {process.returncode}: {process.communicate()[1]}")
    for one in state.everything():
        if one.owner.pid == process.pid and one.origin_ns:
            return one
    return None


def events(out: Path, kind: str = "") -> list[dict[str, Any]]:
    """Complete lines of events.ndjson so far."""
    path = out / "events.ndjson"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    found = [json.loads(line) for line in lines if line.endswith("\n")]
    return [event for event in found if kind in ("", event["kind"])]


def result_of(process: subprocess.Popen[str], timeout: float = 120) -> dict[str, Any]:
    """Its result.json, from standard output. Passed, or judged invalid: this machine is shared, and that is another test."""
    output, errors = process.communicate(timeout=timeout)
    assert process.returncode in (0, 4), f"exit code {process.returncode}\n{errors}"
    result: dict[str, Any] = json.loads(output)
    return result


def hosts_named(plan: Plan, message: Message) -> set[str]:
    """Hosts whose address or name is anywhere in the message's bytes."""
    data = message.SerializeToString()
    return {host.name for host in plan.hosts if host.address.encode() in data or host.name.encode() in data}


def leftovers(run: state.RunState) -> dict[str, list[str]]:
    """Everything of the run that is still on the machine, by kind; empty when it is gone."""
    recorded = [run.zygote, run.keeper, run.owner, *(host.node for host in run.hosts.values())]
    found = {
        "processes": [str(one.pid) for one in recorded if one is not None and one.alive()],
        "namespaces": namespaces.of_run(run.run),
        "cgroups": [str(path) for path in cgroups.of_runs().get(run.run, [])],
        "directories": [str(path) for path in state.STATE_DIR.glob(f"*{run.run}*")],
        "shapers": [str(pid) for pid in _mentioning(str(run.directory))],
    }
    if run.engine:
        found["containers"] = _containers(run)
    return {kind: what for kind, what in found.items() if what}


def _containers(run: state.RunState) -> list[str]:
    client = docker.DockerClient(base_url=run.engine)
    try:
        return [str(found.name) for found in client.containers.list(all=True, filters={"label": f"opus.run={run.run}"})]
    finally:
        client.close()


def _mentioning(text: str) -> list[int]:
    """Processes with `text` in their command line (the links' shaper and the zygote name the run's directory)."""
    pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid() and Process.of(int(entry.name)) is not None:
            try:
                if text.encode() in (entry / "cmdline").read_bytes():
                    pids.append(int(entry.name))
            except OSError:
                continue
    return pids
