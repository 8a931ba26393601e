"""Users' own services beside nodes in containers: programs of the node's image, and images of their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest
from google.protobuf.message import Message
from helpers.engines import OwnEngine, burning_image, nginx_image, web_image
from helpers.netns_runs import TOPOLOGY, events, hosts_named, leftovers, opus, result_of, start_run, state_of, until
from helpers.service_runs import ready, served_through_failures, sized_by_its_own_time, written
from opus_controller.engine.play import play
from opus_controller.engine.record import RunRecord
from opus_controller.model.compile import compile_plan
from opus_controller.model.scenario import load_scenario
from opus_controller.net.choose import choose
from opus_controller.runtimes.docker import DockerRuntime
from opus_controller.runtimes.hosts import cgroups, state
from opus_proto.v1 import control_pb2

pytestmark = pytest.mark.docker

PYTHON = """\
{command: [python3, -m, http.server, "8080", --bind, 127.0.0.1, --directory, "{files}/html"], port: 8080, files: nginx,
    health: {path: /, every: 500ms}, request: "/item.json"}"""
ALONE = """\
name: alone
topology: tiny-net.yaml
settle: 6s
duration: DURATION
applications: [{name: web, replicas: 1, service: {image: IMAGE, port: 8080, health: {every: 500ms}, gateway: 7080}}]
workload: [{clients: all, app: web, total_rate: 10/s, deadline: 2s}]
timeline: TIMELINE
"""


def alone(directory: Path, image: str, *, duration: int, timeline: str = "[]") -> Path:
    (directory / "tiny-net.yaml").write_text(TOPOLOGY)
    path = directory / "alone.yaml"
    path.write_text(ALONE.replace("IMAGE", image).replace("DURATION", f"{duration}s").replace("TIMELINE", timeline))
    return path


def beside(client: docker.DockerClient, run: state.RunState) -> list[Any]:
    """Users' containers of the run that are running or paused."""
    return list(client.containers.list(filters={"label": [f"opus.run={run.run}", "opus.app=web"]}))


@pytest.mark.usefixtures("engine")
def test_a_program_of_the_nodes_image_answers_through_failures(tmp_path: Path) -> None:
    served_through_failures(tmp_path, PYTHON, "http.server", "docker")


def test_a_users_image_answers_through_failures_and_runs_only_where_replicas_are(tmp_path: Path, engine: OwnEngine) -> None:
    image = nginx_image(engine)
    web = f"{{image: {image}, port: 8080, files: nginx, health: {{path: /health, every: 500ms}}, request: /items/1}}"
    served_through_failures(tmp_path, web, "nginx", "docker")


def test_a_users_image_gets_as_many_replicas_as_its_own_processor_time_needs(tmp_path: Path, engine: OwnEngine) -> None:
    sized_by_its_own_time(tmp_path, f"image: {burning_image(engine)}", "docker")


def test_a_users_container_is_confined_paused_with_its_host_and_started_again(
    tmp_path: Path, engine: OwnEngine, client: docker.DockerClient
) -> None:
    out = tmp_path / "out"
    timeline = "[{at: 24s, name: nap, pause: a replica of web, for: 6s}]"
    process = start_run(alone(tmp_path, web_image(engine), duration=36, timeline=timeline), out, "docker")
    run = until("a run's state", lambda: state_of(process))
    until("a replica that serves", lambda: ready(out, "web"))
    (first,) = beside(client, run)
    host = first.labels["opus.host"]
    assert first.name == f"opus-{run.run}-{host}.web"
    assert first.attrs["HostConfig"]["NetworkMode"] == f"container:{client.containers.get(f'opus-{run.run}-{host}').id}"
    assert first.attrs["HostConfig"]["ReadonlyRootfs"]
    status = Path(f"/proc/{first.attrs['State']['Pid']}/status").read_text()
    assert f"Uid:\t{run.hosts[host].uid}\t" in status
    assert "CapEff:\t0000000000000000" in status
    assert first.exec_run(["find", "/run/opus", "-type", "s"]).output == b"", "no control socket, and no engine's"

    first.kill()
    (end,) = until("its end in the record", lambda: [e for e in events(out, "program") if e["change"] == "ended"])
    assert end["why"].startswith("ended by SIGKILL")
    (second,) = until("the next one", lambda: beside(client, run))
    assert second.id != first.id

    until("the pause", lambda: any(fault["name"] == "nap" for fault in events(out, "fault")))
    until("it is paused, too", lambda: any(one.status == "paused" for one in beside(client, run)), timeout=5)
    result = result_of(process)
    (told,) = result["services"]
    assert (told["app"], told["ended"], told["failed"]) == ("web", 1, 0)
    assert result["requests"]["availability"] > 0.5
    assert "serving" in (out / "logs" / f"{host}.web.log").read_text()
    assert leftovers(run) == {}


def test_gc_finds_what_a_killed_controller_leaves(tmp_path: Path, engine: OwnEngine, client: docker.DockerClient) -> None:
    out = tmp_path / "out"
    process = start_run(alone(tmp_path, web_image(engine), duration=600), out, "docker")
    run = until("a run's state", lambda: state_of(process))
    until("a replica that serves", lambda: ready(out, "web"))
    process.kill()
    process.wait()
    assert len(beside(client, run)) == 1, "the host goes on without its controller, and what is beside it"
    until("gc", lambda: opus("gc").returncode == 0 and not leftovers(run))


def test_a_node_asks_for_its_container_and_hears_nothing_of_the_overlay(tmp_path: Path, engine: OwnEngine) -> None:
    """With a container beside it, too, a node is told what became of what it asked for, and no more."""
    plan = compile_plan(load_scenario(alone(tmp_path, web_image(engine), duration=14)))
    sent: list[tuple[str, Message]] = []
    runtime = DockerRuntime(choose("userspace"), engine=engine.url, tap=lambda host, message: sent.append((host, message)))
    outcome = asyncio.run(play(plan, runtime, RunRecord.at(tmp_path / "out", plan)))
    assert outcome.ended == "done", outcome.error
    rest = [(host, message) for host, message in sent if not isinstance(message, control_pb2.BootRequest)]
    kinds = {type(message) for _, message in rest}
    assert kinds == {control_pb2.WorkloadRequest, control_pb2.StatusRequest, control_pb2.WatchRequest, control_pb2.ContainerSeen}
    for host, message in rest:
        assert hosts_named(plan, message) <= {host}, f"to {host}: {message}"
    asked = {host for host, message in rest if isinstance(message, control_pb2.ContainerSeen)}
    started = {event["host"] for event in events(tmp_path / "out", "program") if event["change"] == "started"}
    replicas = {event["host"] for event in events(tmp_path / "out", "role") if event["role"] == "replica" and event["active"]}
    assert started
    assert started <= asked <= replicas, "where the overlay has made one, and nowhere else"


@contextmanager
def up(path: Path) -> Iterator[state.RunState]:
    done = opus("up", path, "--runtime", "docker", "--links", "userspace", "--json")
    assert done.returncode == 0, done.stderr
    run = state.load(json.loads(done.stdout)["run"])
    yield run
    assert opus("down", run.run).returncode == 0
    assert leftovers(run) == {}


def limits(container: Any) -> tuple[list[float], list[int]]:
    """Cores and bytes that the kernel leaves it."""
    container.reload()
    mounts = cgroups.find_mounts(Path("/proc/self/mountinfo").read_text())
    return cgroups.in_force(cgroups.of_process(Path(f"/proc/{container.attrs['State']['Pid']}/cgroup").read_text(), mounts))


def test_on_a_testbed_that_stays_the_keeper_starts_them(tmp_path: Path, engine: OwnEngine, client: docker.DockerClient) -> None:
    """And a host's strain holds for them as for it, also for one that starts under it."""
    with up(alone(tmp_path, web_image(engine), duration=60)) as run:
        (first,) = until("a container", lambda: beside(client, run))
        ask = "import urllib.request as web; print(web.urlopen('http://127.0.0.1:7080/', timeout=15).status)"
        until("an answer", lambda: "200" in opus("exec", "--run", run.run, "c-2", "--", "python3", "-c", ask).stdout)
        host, whole = first.labels["opus.host"], limits(first)
        struck = opus("fault", "strain", "--run", run.run, host, "--cpu", "50%", "--memory", "100MiB", "--name", "weak")
        assert struck.returncode == 0, struck.stderr
        assert limits(first) == ([0.5], [100 << 20]) != whole
        first.kill()
        (second,) = until("the next one", lambda: [one for one in beside(client, run) if one.id != first.id])
        assert second.labels["opus.host"] == host
        assert limits(second) == ([0.5], [100 << 20])
        assert opus("fault", "heal", "--run", run.run, "weak").returncode == 0
        assert limits(second) == whole


def test_what_is_not_there_is_told_in_one_line_before_the_start(tmp_path: Path, client: docker.DockerClient) -> None:
    before = {one.id for one in client.containers.list(all=True)}
    missing = alone(tmp_path, "opus-no-such-image", duration=20)
    (tmp_path / "in").mkdir()
    program = written(tmp_path / "in", PYTHON.replace("python3, -m", "python-of-nowhere, -m"), duration=20)
    for path, words in (
        (missing, ("its image opus-no-such-image is not at unix://", "docker pull opus-no-such-image")),
        (program, ("its program python-of-nowhere is not in the node's image", "--base")),
    ):
        done = opus("run", path, "--runtime", "docker", "--links", "userspace", "--out", tmp_path / f"out-{path.stem}")
        assert done.returncode == 3, done.stderr
        assert all(word in done.stderr.splitlines()[-1] for word in words), done.stderr
    assert {one.id for one in client.containers.list(all=True)} <= before
