"""A user's own services on real hosts: a stock nginx, and a small TCP program, through failures of their replicas."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.netns_runs import events, leftovers, opus, result_of, start_run, state_of, until
from helpers.service_runs import programs, ready, served_through_failures, written

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(
        shutil.which("nginx") is None, reason="nginx is missing: apt-get install --no-install-recommends nginx-light"
    ),
]

NGINX = """\
{command: [nginx, -p, "{data}", -c, "{files}/nginx.conf", -e, stderr], port: 8080, files: nginx,
    health: {path: /health, every: 500ms}, request: "/items/{key}"}"""


def test_a_stock_nginx_answers_through_failures_and_runs_only_where_replicas_are(tmp_path: Path) -> None:
    served_through_failures(tmp_path, NGINX, "nginx", "netns")


TCP = """\
name: spoken
topology: tiny-net.yaml
settle: 6s
duration: 20s
seed: 1
applications:
  - name: line
    replicas: 2
    service:
      {command: [python3, "{files}/program.py", "{port}", tcp], port: 9000, protocol: tcp, files: line, request: "hi {key}\\n"}
seeds: [a-1, b-1]
workload: [{clients: all, app: line, total_rate: 15/s, deadline: 2s}]
timeline: [{at: 11s, name: loss, power-off: the busiest replica of line}]
expectations: [availability >= 99% outside 2s after faults]
"""


def test_a_tcp_service_goes_on_answering_when_a_replica_loses_its_power(tmp_path: Path) -> None:
    out, path = tmp_path / "out", written(tmp_path / "in", NGINX, duration=20)
    path.write_text(TCP)
    process = start_run(path, out)
    run = until("a run's state", lambda: state_of(process))
    addresses = {host.name: host.address for host in run.plan().hosts}
    result = result_of(process)
    (loss,) = events(out, "fault")
    (victim,) = loss["victims"]
    asked, lost = events(out, "request"), addresses[victim]
    before = [e for e in asked if e["done_at"] < loss["t"]]
    after = [e for e in asked if e["issued_at"] > loss["t"] + 2e9]
    assert lost in {e["replica"] for e in before}, "it had answered"
    assert len(after) > 50
    assert [e for e in (*before, *after) if e["outcome"] != "ok"] == []
    assert lost not in {e["replica"] for e in after}
    assert len({e["replica"] for e in after}) >= 2, "and another has taken its place"
    (told,) = result["services"]
    assert (told["app"], told["ended"], told["failed"]) == ("line", 0, 0)
    assert told["started"] >= 3
    assert leftovers(run) == {}


def test_what_a_host_runs_dies_with_its_controller(tmp_path: Path) -> None:
    """SIGKILL: nobody can clean up, and `opus gc` finds what is left."""
    out = tmp_path / "out"
    process = start_run(written(tmp_path / "in", NGINX, duration=600), out)
    run = until("a run's state", lambda: state_of(process))
    until("programs", lambda: ready(out, "web"))
    hosts = until("nginx", lambda: programs(run, "nginx"))
    pids = [pid for found in hosts.values() for pid in found]
    process.kill()
    process.wait()
    until("gc", lambda: opus("gc").returncode == 0 and not leftovers(run))
    assert not [pid for pid in pids if b"nginx" in cmdline(pid)]


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_a_program_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    path = written(tmp_path / "in", NGINX, duration=20)
    for old, new, words in (
        ("[nginx, ", "[nginx-of-nowhere, ", ("its program nginx-of-nowhere is not on this machine", "--runtime sim")),
        (
            'command: [nginx, -p, "{data}", -c, "{files}/nginx.conf", -e, stderr]',
            "image: nginx",
            ("image (nginx)", "--runtime docker"),
        ),
    ):
        changed = path.with_name("changed.yaml")
        changed.write_text(path.read_text().replace(old, new))
        out: Any = tmp_path / f"out-{words[0].split()[0]}"
        done = opus("run", changed, "--runtime", "netns", "--links", "userspace", "--out", out)
        assert done.returncode == 3, done.stderr
        last = done.stderr.splitlines()[-1]
        assert all(word in last for word in words), done.stderr
