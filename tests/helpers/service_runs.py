"""Runs with services of users' own, on real hosts: the scenario, and where its programs are."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from opus_controller.net import namespaces
from opus_controller.runtimes.hosts import state

from helpers.netns_runs import TOPOLOGY, events, leftovers, opus, result_of, start_run, state_of, until

ROOT = Path(__file__).parents[2]
SCENARIO = """\
name: served
topology: tiny-net.yaml
settle: 6s
duration: DURATION
seed: 3
applications:
  - name: web
    replicas: 2
    service: WEB
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


def written(directory: Path, web: str, *, duration: int, timeline: str = "[]") -> Path:
    """A scenario with two services: `web`, whose form (YAML's flow style) is given and which has nginx's files and a picture, and
    `line`, a small TCP program."""
    directory.mkdir(exist_ok=True)
    (directory / "tiny-net.yaml").write_text(TOPOLOGY)
    shutil.copytree(ROOT / "scenarios" / "nginx", directory / "nginx")
    (directory / "nginx" / "html" / "picture").write_bytes(bytes(300_000))
    (directory / "line").mkdir()
    shutil.copy(ROOT / "tests" / "helpers" / "program.py", directory / "line")
    path = directory / "served.yaml"
    text = SCENARIO.replace("WEB", web).replace("DURATION", f"{duration}s").replace("TIMELINE", timeline)
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


def spoken(run: state.RunState, host: str) -> str:
    """What `line` says at the host's own gateway."""
    return opus("exec", "--run", run.run, host, "--", "python3", "-c", LINE).stdout


def living(run: state.RunState, out: Path) -> list[str]:
    """Hosts that have not been lost: on a busy machine a fault may be here before what is done before it."""
    lost = {event["host"] for event in events(out, "host_down")}
    return [host for host in run.hosts if host not in lost]


def ready(out: Path, app: str) -> set[str]:
    return {event["host"] for event in events(out, "service") if event["app"] == app and event["ready"]}


def first_times(out: Path, kind: str) -> dict[str, int]:
    """When each host first told of `kind` for `web`; of `service`, when its program first took requests."""
    told = [e for e in events(out, kind) if e["app"] == "web" and e.get("ready", True)]
    return {e["host"]: e["t"] for e in sorted(told, key=lambda e: e["t"], reverse=True)}


def served_through_failures(tmp_path: Path, web: str, named: str, runtime: str) -> tuple[state.RunState, Path, dict[str, Any]]:
    """A run in which a replica loses its power, a site is cut off (both sides appoint) and healed (one of them too many is
    demoted). `web`: as for `written`; its program has `named` in its command line. The run's state, directory and result."""
    out = tmp_path / "out"
    timeline = "[{at: 14s, name: loss, power-off: a replica of web}, {at: 20s, name: cut, partition: site c, for: 9s}]"
    process = start_run(written(tmp_path / "in", web, duration=51, timeline=timeline), out, runtime)
    run = until("a run's state", lambda: state_of(process))
    until("two replicas that serve", lambda: len(ready(out, "web")) >= 2)
    assert "started where it made a replica" in fetched(run, living(run, out)[0])
    until("a line that serves", lambda: ready(out, "line"))
    until("words through a gateway", lambda: spoken(run, living(run, out)[-1]) == "you said one\nyou said two\n")

    loss = until("the loss", lambda: next((e for e in events(out, "fault") if e["name"] == "loss"), None))
    victim = loss["victims"][0]
    survivor = next(host for host in run.hosts if host != victim)
    assert "started where it made a replica" in fetched(run, survivor), "at once, by another replica"
    assert victim not in programs(run, named), "its program went with it"
    until("the heal", lambda: next((e for e in events(out, "fault") if e["name"] == "heal-cut"), None))
    until("as many programs as replicas", lambda: settled(run, out, victim, named), timeout=30)
    result = result_of(process)

    assert result["requests"]["reachable"]["availability"] > 0.97
    told = next(one for one in result["services"] if one["app"] == "web")
    assert told["started"] >= 3
    assert told["stopped"] >= 1, "somebody was demoted"
    assert told["ended"] == told["failed"] == 0
    assert told["files_bytes"] > 300_000
    assert told["shipped"]["bytes"] >= told["shipped"]["count"] * told["files_bytes"] > 0
    carried = told["files_bytes"] * 8 / 20e6
    assert told["shipped"]["time_s"]["p50"] > carried, "no faster than a 20 Mbit/s link carries it"
    # Looked at host by host: one that was demoted while its files came is in the shipping's median, never in the waits.
    first, came = first_times(out, "service"), first_times(out, "shipped")
    assert first.keys() & came.keys(), "replicas that had to fetch their files served"
    early = {host: (came[host], first[host]) for host in first.keys() & came.keys() if first[host] < came[host]}
    assert not early, "none served before its files were there"
    answers = [e for e in events(out, "request") if e["app"] == "line" and e["outcome"] == "ok"]
    assert answers, "the TCP program answered the workload"
    assert leftovers(run) == {}
    return run, out, result


def settled(run: state.RunState, out: Path, victim: str, named: str) -> bool:
    """Whether the program runs at both replicas and nowhere else, and a demoted one has been stopped."""
    stopped = [event for event in events(out, "program") if event["change"] == "stopped" and event["app"] == "web"]
    now = replicas(out, "web", {victim})
    return bool(stopped) and len(now) == 2 and set(programs(run, named)) == now


BURNS_MS = 40
BURNING = f"""\
name: burning
topology: net.yaml
settle: 6s
duration: 36s
seed: 4
availability_target: 50%
applications:
  - {{name: web, replicas: auto, min_replicas: 1, max_replicas: 4,
     service: {{PROGRAM, port: 9000, health: /health, request: "/burn/{BURNS_MS}"}}}}
seeds: [a-1, b-1]
workload: [{{clients: all, app: web, total_rate: 12/s, deadline: 2s}}]
"""


def sized_by_its_own_time(tmp_path: Path, program: str, runtime: str) -> None:
    """0.48 cores of work, of hosts with 0.6: one would be busy for more than three quarters of its time, so there are soon two.
    `program`: how the service is started, `program.py` by http at port 9000; its files are in `burning`."""
    inside, out = tmp_path / "in", tmp_path / "out"
    (inside / "burning").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "helpers" / "program.py", inside / "burning")
    (inside / "net.yaml").write_text(TOPOLOGY + "    abilities: {cpu: 0.6}\n")
    (inside / "burning.yaml").write_text(BURNING.replace("PROGRAM", program))
    process = start_run(inside / "burning.yaml", out, runtime)
    run = until("a run's state", lambda: state_of(process))
    result = result_of(process)
    sets = sorted(events(out, "replica_set"), key=lambda event: event["t"])
    assert len(sets[0]["members"]) == 1, "before anything was measured"
    resized = [one for one in sets if one["cause"].startswith("resized to ")]
    assert resized, [one["cause"] for one in sets]
    assert len(resized[-1]["members"]) >= 2
    told = re.search(r": ([0-9.e+]+) ms of a core a request", resized[-1]["cause"])
    assert told is not None, resized[-1]["cause"]
    assert 0.85 * BURNS_MS <= float(told[1]) < 2 * BURNS_MS, f"{told[1]}: what it burns, in ticks of 10 ms, and HTTP"
    late = [one for one in events(out, "request") if one["issued_at"] > resized[0]["t"] and one["outcome"] == "ok"]
    assert len({one["replica"] for one in late}) >= 2, "the new one takes its part"
    assert result["requests"]["reachable"]["availability"] > 0.8, "one alone was nearly full"
    assert leftovers(run) == {}
