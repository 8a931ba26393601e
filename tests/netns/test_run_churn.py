"""Churn on real hosts: processes really end and start anew, in time, and nothing of them piles up."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest
from helpers.netns_runs import events, leftovers, result_of, start_run, state_of, until
from helpers.usage import piled_up, usage

pytestmark = pytest.mark.netns

SECOND = 1_000_000_000
TOPOLOGY = """\
name: dozen
source: made up
sites: [{name: a}, {name: b}, {name: c}]
rtt_ms: {a: {b: 20, c: 40}, b: {c: 30}}
groups: [{name: servers, sites: all, count: 4, access: {delay: 0.5ms, up: 20Mbit, down: 20Mbit, queue: 100ms}}]
"""
SCENARIO = """\
name: dozen
topology: dozen.yaml
settle: 5s
duration: 40s
seed: 3
applications: [{name: web, replicas: 2}]
workload: [{clients: all, total_rate: 20/s}]
churn:
  sessions: {distribution: weibull, shape: 0.6, median: 12s}
  downtimes: {distribution: exponential, mean: 6s}
  departures: {crash: 50%, power-off: 50%}
timeline: [{at: 20s, name: loss, power-off: a replica of web, for: 6s}]
expectations: [hops.max <= 2]
"""


def test_a_run_whose_hosts_come_and_go(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "dozen.yaml").write_text(TOPOLOGY)
    (tmp_path / "scenario.yaml").write_text(SCENARIO)
    process = start_run(tmp_path / "scenario.yaml", out)
    run = until("a run's state", lambda: state_of(process))
    until("churn", lambda: events(out, "churn"))
    before = usage(run)
    until("the last seconds", lambda: time.monotonic_ns() - run.origin_ns > 37 * SECOND)
    after = usage(run)
    result = result_of(process)

    churn = result["churn"]
    assert churn["crashes"] >= 3
    assert churn["power_offs"] >= 3
    assert churn["returns"] >= 6
    assert [fault["name"] for fault in result["faults"]] == ["loss", "restart-loss"]
    assert result["requests"]["issued"] > 300
    assert result["requests"]["reachable"]["availability"] > 0.95
    _assert_lives(out)
    assert after.namespaces == before.namespaces == 12, "a host keeps its place while it is away"
    assert piled_up([before, after], hosts=12, processes=1, minutes=1) == []
    assert leftovers(run) == {}


def _assert_lives(out: Path) -> None:
    """Each time a host comes there is a new process of the next incarnation; it goes on asking, and is silent while away."""
    moves = [event for event in events(out) if event["kind"] in ("host_up", "host_down")]
    requests = events(out, "request")
    for host in {event["host"] for event in moves}:
        of_host = [event for event in moves if event["host"] == host]
        starts = sum(event["kind"] == "host_up" for event in of_host)
        log = (out / "logs" / f"{host}.log").read_text() if starts else ""
        assert log.count("booted as") == starts, f"{host}: {log}"
        for gone, back in pairwise(of_host):
            if gone["kind"] == "host_down":
                assert not [r for r in requests if r["host"] == host and gone["t"] + SECOND / 10 < r["issued_at"] < back["t"]]
    back = {event["host"]: event["t"] for event in moves if event.get("by") == "return" and event["t"] < 30 * SECOND}
    assert back
    assert {host for host, t in back.items() for r in requests if r["host"] == host and r["issued_at"] > t}
