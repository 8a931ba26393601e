"""Hosts with disks of their own that become full: programs that run go on, files go where there is room, and nothing is left."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.netns_runs import events, leftovers, start_run, state_of, until
from helpers.service_runs import ready, written
from opus_controller.cli._controller import ask_controller
from opus_controller.runtimes.hosts import disks, state

pytestmark = pytest.mark.netns

WEB = '{command: [python3, "{files}/program.py", "{port}", tcp], port: 8080, protocol: tcp, files: line, request: "hi {key}\\n"}'
PLANNED = "[{at: 7s, name: tight, strain: c-2, disk: 2MiB}]"


def strike(run: state.RunState, **event: str) -> None:
    ask_controller(run.run, {"do": "strike", "event": event})


def writes(run: state.RunState, host: str) -> str:
    """What comes of a kilobyte on this host's disk: nothing, or the error's name."""
    path = Path(run.hosts[host].control_dir) / "kilobyte"
    try:
        path.write_bytes(bytes(1024))
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    finally:
        path.unlink(missing_ok=True)
    return ""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[state.RunState, Path]]:
    """A run with services and disks, both replicas of web ready, and its record."""
    out = tmp_path / "out"
    process = start_run(written(tmp_path / "in", WEB, duration=200, timeline=PLANNED), out)
    try:
        run = until("a run's state", lambda: state_of(process))
        until("the replicas", lambda: len(ready(out, "web")) >= 2 and ready(out, "line"))
        until("the planned strain", lambda: events(out, "fault"))
        yield run, out
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
    assert leftovers(run) == {}
    assert disks.of_run(run.directory) == []


def serving(out: Path) -> set[str]:
    """Live hosts whose program for web takes requests, by the record so far."""
    on: dict[str, bool] = {}
    for event in sorted(events(out), key=lambda event: event["t"]):
        if event["kind"] == "host_down":
            on[event["host"]] = False
        elif event["kind"] == "service" and event["app"] == "web":
            on[event["host"]] = event["ready"]
    return {host for host, ready in on.items() if ready}


def unpacked(run: state.RunState) -> set[str]:
    """Hosts that have the files for web already, and so need no room."""
    return {name for name, host in run.hosts.items() if Path(host.control_dir, "services", "web", "unpacked").exists()}


def test_a_full_host_serves_on_and_takes_no_files_and_the_next_replica_is_one_with_room(
    served: tuple[state.RunState, Path],
) -> None:
    run, out = served
    spare = min((host for host in run.hosts if host not in ("a-1", "b-1")), key=lambda host: host in unpacked(run))
    strike(run, strain=", ".join(host for host in run.hosts if host != spare), disk="full", name="full")
    had = unpacked(run)
    assert {host: writes(run, host) for host in run.hosts} == dict.fromkeys(run.hosts, "ENOSPC") | {spare: ""}
    lost = next(host for host in until("who serves", lambda: serving(out) - {spare}))
    strike(run, **{"power-off": lost})
    until("two that serve", lambda: len(serving(out) - {lost}) >= 2, timeout=120)
    assert serving(out) - {lost} <= had | {spare}
    failed = [event["host"] for event in events(out, "program") if event["change"] == "failed" and "room" in event["why"]]
    assert spare not in failed
    strike(run, restart=lost)
    assert writes(run, lost) == "ENOSPC", "the disk is the host's, and outlives its node"
    strike(run, heal="full")
    assert {writes(run, host) for host in run.hosts} == {""}
