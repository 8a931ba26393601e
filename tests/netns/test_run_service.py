"""A user's own services on real hosts: a stock nginx, and a small TCP program, through failures of their replicas."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.netns_runs import TOPOLOGY, events, leftovers, opus, result_of, start_run, state_of, until
from opus_controller.net import namespaces
from opus_controller.runtimes.hosts import state

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(
        shutil.which("nginx") is None, reason="nginx is missing: apt-get install --no-install-recommends nginx-light"
    ),
]

ROOT = Path(__file__).parents[2]
SECOND = 1_000_000_000
NGINX = """\
{command: [nginx, -p, "{data}", -c, "{files}/nginx.conf", -e, stderr], port: 8080, files: nginx,
    health: {path: /health, every: 500ms}, request: "/items/{key}"}"""
SCENARIO = """\
name: served
topology: tiny-net.yaml
settle: 6s
duration: DURATION
seed: 3
applications:
  - name: web
    replicas: 2
    service: NGINX
  - name: line
    replicas: 1
    service:
      {command: [python3, "{files}/program.py", "{port}", tcp], port: 9000, protocol: tcp, files: line, request: "hi {key}\\n"}
seeds: [a-1, b-1]
workload:
  - {clients: all, app: web, total_rate: 15/s, deadline: 2s}
  - {clients: all, app: line, total_rate: 3/s, deadline: 2s}
timeline: TIMELINE
"""
LINE = """\
import socket
with socket.create_connection(("127.0.0.1", 7081), 15) as line:
    for word in (b"one", b"two"):
        line.sendall(word + b"\\n")
        print(line.makefile("rb").readline().decode(), end="")
"""


def written(directory: Path, *, duration: int, timeline: str = "[]") -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "tiny-net.yaml").write_text(TOPOLOGY)
    shutil.copytree(ROOT / "scenarios" / "nginx", directory / "nginx")
    (directory / "nginx" / "html" / "picture").write_bytes(bytes(300_000))
    (directory / "line").mkdir()
    shutil.copy(ROOT / "tests" / "helpers" / "program.py", directory / "line")
    path = directory / "served.yaml"
    text = SCENARIO.replace("NGINX", NGINX).replace("DURATION", f"{duration}s").replace("TIMELINE", timeline)
    path.write_text(text)
    return path


def programs(run: state.RunState, named: str) -> dict[str, list[int]]:
    """Processes with `named` in their command line, by the host in whose namespace they run."""
    found: dict[str, list[int]] = {}
    inside = namespaces.processes_in([host.netns for host in run.hosts.values()])
    for host, of_host in run.hosts.items():
        for pid in inside.get(of_host.netns, ()):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes()
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            if named.encode() in words:
                assert f"Uid:\t{of_host.uid}\t" in status, "as the node's own user"
                assert "CapEff:\t0000000000000000" in status
                found.setdefault(host, []).append(pid)
    return found


def replicas(out: Path, app: str, dead: set[str]) -> set[str]:
    """Live hosts that are replicas, by the record so far."""
    active: dict[str, bool] = {}
    for event in sorted(events(out), key=lambda event: event["t"]):
        if event["kind"] == "role" and event["role"] == "replica" and event["app"] == app:
            active[event["host"]] = event["active"]
        elif event["kind"] == "host_down":
            active.pop(event["host"], None)
    return {host for host, on in active.items() if on} - dead


def fetched(run: state.RunState, host: str) -> str:
    """A page by the host's own gateway, as a user's client asks for it."""
    ask = "import urllib.request as web; print(web.urlopen('http://127.0.0.1:7080/', timeout=15).read().decode())"
    done = opus("exec", "--run", run.run, host, "--", "python3", "-c", ask)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_stock_nginx_answers_through_failures_and_runs_only_where_replicas_are(tmp_path: Path) -> None:
    """A replica loses its power, a site is cut off (both sides appoint) and healed (one of them too many is demoted)."""
    out = tmp_path / "out"
    timeline = "[{at: 14s, name: loss, power-off: a replica of web}, {at: 20s, name: cut, partition: site c, for: 9s}]"
    process = start_run(written(tmp_path / "in", duration=48, timeline=timeline), out)
    run = until("a run's state", lambda: state_of(process))
    until("two replicas that serve", lambda: len(ready(out, "web")) >= 2)
    assert "started where it made a replica" in fetched(run, "a-1")
    until("a line that serves", lambda: ready(out, "line"))
    spoken = opus("exec", "--run", run.run, "b-2", "--", "python3", "-c", LINE)
    assert spoken.stdout == "you said one\nyou said two\n", spoken.stderr

    loss = until("the loss", lambda: next((e for e in events(out, "fault") if e["name"] == "loss"), None))
    victim = loss["victims"][0]
    survivor = next(host for host in run.hosts if host != victim)
    assert "started where it made a replica" in fetched(run, survivor), "at once, by another replica"
    assert victim not in programs(run, "nginx"), "its program went with it"
    until("the heal", lambda: next((e for e in events(out, "fault") if e["name"] == "heal-cut"), None))
    until("as many programs as replicas", lambda: settled(run, out, victim), timeout=30)
    result = result_of(process)

    assert result["requests"]["reachable"]["availability"] > 0.97
    web = next(one for one in result["services"] if one["app"] == "web")
    assert web["started"] >= 3
    assert web["stopped"] >= 1, "somebody was demoted"
    assert web["ended"] == web["failed"] == 0
    assert web["files_bytes"] > 300_000
    assert web["shipped"]["bytes"] >= web["shipped"]["count"] * web["files_bytes"] > 0
    floor = web["files_bytes"] * 8 / 20e6
    assert floor < web["shipped"]["time_s"]["p50"] < web["ready_s"]["max"], "no faster than a 20 Mbit/s link carries it"
    answers = [e for e in events(out, "request") if e["app"] == "line" and e["outcome"] == "ok"]
    assert answers, "the TCP program answered the workload"
    assert leftovers(run) == {}


def ready(out: Path, app: str) -> set[str]:
    return {event["host"] for event in events(out, "service") if event["app"] == app and event["ready"]}


def settled(run: state.RunState, out: Path, victim: str) -> bool:
    """Whether nginx runs at both replicas and nowhere else, and a demoted one has been stopped."""
    stopped = [event for event in events(out, "program") if event["change"] == "stopped" and event["app"] == "web"]
    now = replicas(out, "web", {victim})
    return bool(stopped) and len(now) == 2 and set(programs(run, "nginx")) == now


def test_what_a_host_runs_dies_with_its_controller(tmp_path: Path) -> None:
    """SIGKILL: nobody can clean up, and `opus gc` finds what is left."""
    out = tmp_path / "out"
    process = start_run(written(tmp_path / "in", duration=600), out)
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
    path = written(tmp_path / "in", duration=20)
    for old, new, words in (
        ("[nginx, ", "[nginx-of-nowhere, ", ("its program nginx-of-nowhere is not on this machine", "--runtime sim")),
        ('command: [nginx, -p, "{data}", -c, "{files}/nginx.conf", -e, stderr]', "image: nginx", ("image (nginx)", "command")),
    ):
        changed = path.with_name("changed.yaml")
        changed.write_text(path.read_text().replace(old, new))
        out: Any = tmp_path / f"out-{words[0].split()[0]}"
        done = opus("run", changed, "--runtime", "netns", "--links", "userspace", "--out", out)
        assert done.returncode == 3, done.stderr
        last = done.stderr.splitlines()[-1]
        assert all(word in last for word in words), done.stderr
