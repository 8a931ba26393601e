"""The controller is no oracle: it can stop without anyone noticing, and after Boot it tells nodes nothing of the overlay."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import pytest
from google.protobuf.message import Message
from helpers.netns_runs import events, hosts_named, result_of, scenario, start_run, state_of, until
from opus_controller.engine.play import play
from opus_controller.engine.record import RunRecord
from opus_controller.model.compile import compile_plan
from opus_controller.model.scenario import load_scenario
from opus_controller.net.choose import choose
from opus_controller.runtimes.netns import NetnsRuntime
from opus_proto.v1 import control_pb2

pytestmark = pytest.mark.netns

SECOND = 1_000_000_000


def test_stopping_the_controller_changes_nothing_in_routing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start_run(scenario(tmp_path, duration=21), out)
    run = until("answered requests", lambda: state_of(process) if events(out, "request") else None)
    stopped = time.monotonic_ns() - run.origin_ns
    process.send_signal(signal.SIGSTOP)
    time.sleep(10)  # the very thing tested: nothing happens in the controller for this long
    resumed = time.monotonic_ns() - run.origin_ns
    process.send_signal(signal.SIGCONT)
    result = result_of(process)

    requests = events(out, "request")
    during = [event for event in requests if stopped < event["issued_at"] < resumed - 2 * SECOND]
    assert len(during) > 80, "clients went on: 20 a second"
    assert {event["outcome"] for event in during} == {"ok"}
    assert result["requests"]["availability"] == 1.0
    others = [event for event in requests if not stopped < event["issued_at"] < resumed and not event["first"]]
    assert _median(during) < 2 * _median(others) + 10e6
    during_stop = [event for event in events(out) if stopped < event["t"] < resumed]
    assert [event for event in during_stop if event["kind"] == "agent_lost"] == []
    decided = {event["cause"] for event in during_stop if event["kind"] == "replica_set"}
    wrong = [one for one in decided if not one.startswith("nearer to demand: ")]
    assert wrong == [], "nobody was taken for dead; where replicas are best is the overlay's own affair"


def test_control_messages_after_boot_carry_nothing_of_the_overlay(tmp_path: Path) -> None:
    faults = (
        "[{at: 5s, name: loss, power-off: a replica of web}, {at: 5500ms, name: c, partition: site c, for: 1s},"
        " {at: 7s, name: back, restart: same as loss}]"
    )
    plan = compile_plan(load_scenario(scenario(tmp_path, duration=9, timeline=faults)))
    sent: list[tuple[str, Message]] = []
    runtime = NetnsRuntime(choose("userspace"), tap=lambda host, message: sent.append((host, message)))
    record = RunRecord.at(tmp_path / "out", plan)
    outcome = asyncio.run(play(plan, runtime, record))
    assert outcome.ended == "done", outcome.error

    boots = [(host, message) for host, message in sent if isinstance(message, control_pb2.BootRequest)]
    rest = [(host, message) for host, message in sent if not isinstance(message, control_pb2.BootRequest)]
    assert len(boots) == len(plan.hosts) + 1  # one was restarted
    assert {type(message).__name__ for _, message in rest} == {"WorkloadRequest", "StatusRequest", "WatchRequest"}
    for host, message in rest:
        assert hosts_named(plan, message) <= {host}, f"to {host}: {message}"
    for host, message in boots:
        assert hosts_named(plan, message) == {host, *plan.seeds}, "Boot names the host itself and the ways in, nobody else"
        assert not [site for site in plan.sites if f'"{site}"' in str(message)], "sites are the emulation's own affair"


def _median(requests: list[dict[str, int]]) -> float:
    latencies = sorted(event["arrived_at"] - event["issued_at"] for event in requests)
    return float(latencies[len(latencies) // 2])
