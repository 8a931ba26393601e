"""Hosts with disks of their own that become full: programs that run go on, files go where there is room, and nothing is left."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.netns_runs import events, leftovers, start_run, state_of, until
from helpers.service_runs import ready, replicas, written
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


def test_a_full_host_serves_on_and_takes_no_files_and_the_next_replica_is_one_with_room(
    served: tuple[state.RunState, Path],
) -> None:
    run, out = served
    lost, kept = sorted(replicas(out, "web", set()))
    spare = next(host for host in run.hosts if host not in (lost, kept, "a-1", "b-1"))
    strike(run, strain=", ".join(host for host in run.hosts if host != spare), disk="full", name="full")
    assert {host: writes(run, host) for host in run.hosts} == dict.fromkeys(run.hosts, "ENOSPC") | {spare: ""}
    strike(run, **{"power-off": lost})
    until("a replica where there is room", lambda: spare in ready(out, "web"))
    gone = [event for event in events(out, "service") if event["host"] == kept and event["app"] == "web" and not event["ready"]]
    assert all("no replica any more" in event["why"] or event["why"] == "stopped" for event in gone), "who served serves on"
    strike(run, restart=lost)
    assert writes(run, lost) == "ENOSPC", "the disk is the host's, and outlives its node"
    strike(run, heal="full")
    assert {writes(run, host) for host in run.hosts} == {""}
