"""One application's bug costs its neighbour nothing that it was promised: programs that crash and hang, on real hosts."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from helpers.netns_runs import TOPOLOGY, events, leftovers, opus, result_of, start_run, state_of, until

pytestmark = pytest.mark.netns

ROOT = Path(__file__).parents[2]
SCENARIO = """\
name: neighbours
topology: net.yaml
settle: 8s
duration: 60s
seed: 2
applications:
  - name: calm
    replicas: auto
    max_replicas: 3
    service: {command: [python3, "{files}/program.py", "{port}", http], port: 9000, files: calm, health: /health, request: /echo}
    utility: {worth: 2, availability: {points: [[50%, 0%], [99%, 100%]]}, floor: 2}
  - name: bug
    replicas: auto
    max_replicas: 3
    service:
      {command: [python3, "{files}/buggy.py", "{port}"], port: 9001, files: bug, health: /health, request: /echo, gateway: 7081}
    utility: {worth: 20, availability: {points: [[50%, 0%], [99%, 100%]]}, floor: 1}
seeds: [a-1, b-1]
workload:
  - {clients: all, app: calm, total_rate: 8/s, deadline: 3s}
  - {clients: all, app: bug, total_rate: 8/s, deadline: 3s}
"""
BUGGY = '''\
"""Answers twelve requests; then, in turns of its lives on a host, crashes, or hangs with its processor busy."""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

lives = Path("lives")
life = len(lives.read_text()) if lives.exists() else 0
lives.write_text("x" * (life + 1))
answered = 0


class Buggy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        global answered
        answered += self.path != "/health"
        if answered > 12:
            if life % 2 == 0:
                os._exit(1)
            while True:
                pass
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Buggy).serve_forever()
'''


def test_a_program_that_crashes_and_hangs_costs_its_neighbour_nothing(tmp_path: Path) -> None:
    inside, out = tmp_path / "in", tmp_path / "out"
    for app in ("calm", "bug"):
        (inside / app).mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "helpers" / "program.py", inside / "calm")
    (inside / "bug" / "buggy.py").write_text(BUGGY)
    (inside / "net.yaml").write_text(TOPOLOGY.replace("count: 2", "count: 3") + "    abilities: {cpu: 0.3}\n")
    (inside / "neighbours.yaml").write_text(SCENARIO)
    process = start_run(inside / "neighbours.yaml", out)
    run = until("a run's state", lambda: state_of(process))
    result_of(process, timeout=240)
    told = Counter(one["change"] for one in events(out, "program") if one["app"] == "bug")
    assert told["ended"] >= 2, f"nothing crashed: {told}"
    hung = [one for one in events(out, "service") if one["app"] == "bug" and not one["ready"]]
    assert hung, "no health check failed"
    ready = max(20e9, min(one["t"] for one in events(out, "service") if one["app"] == "calm" and one["ready"]))
    asked = {app: [e for e in events(out, "request") if e["app"] == app and e["issued_at"] > ready] for app in ("calm", "bug")}
    ok = {app: sum(e["outcome"] == "ok" for e in of) / len(of) for app, of in asked.items()}
    assert ok["bug"] < 0.97, "it was felt by its own clients"
    assert ok["calm"] >= 0.99, "and by nobody else"
    assert not [one for one in events(out, "program") if one["app"] == "calm" and one["change"] in ("ended", "failed")]
    for one in events(out, "replica_set"):
        if one["app"] == "calm" and one["t"] > ready:
            assert len(one["members"]) >= 2, f"less than its floor: {one}"
    why = opus("explain", "bug", "--out", out)
    assert why.returncode == 0, why.stderr
    assert leftovers(run) == {}
