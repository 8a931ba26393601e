"""What a machine may lack: each with its own line, and what `auto` makes of it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from helpers.engines import OwnEngine, make_image
from helpers.netns_runs import opus
from opus_controller.cli._choose import LinksName, RuntimeName, choose_runtime
from opus_controller.runtimes.docker.image import wanted_tag

pytestmark = pytest.mark.docker


@pytest.fixture
def no_image(client: docker.DockerClient) -> Iterator[None]:
    """The node's image has another name meanwhile."""
    image = client.images.get(wanted_tag())
    image.tag("opus-test-kept", "now")
    client.images.remove(wanted_tag())
    yield
    image.tag(*wanted_tag().split(":"))
    client.images.remove("opus-test-kept:now")


@pytest.mark.usefixtures("no_image")
def test_without_the_image_it_names_the_command_that_makes_it(engine: OwnEngine, client: docker.DockerClient) -> None:
    others = client.images.list(name="opus-node")  # of earlier sources: the tests' engine keeps what it has
    done = opus("run", "learn", "--runtime", "docker")
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()[-1:]
    assert f"the node's image is {'of other sources' if others else 'missing'} ({wanted_tag()} at {engine.url})" in line
    assert line.endswith("make it: make image")


@pytest.mark.usefixtures("no_image")
def test_auto_builds_the_image_where_all_it_needs_is_there(client: docker.DockerClient) -> None:
    chosen = choose_runtime(RuntimeName.auto, LinksName.userspace, scenario="learn")
    assert chosen.announcement[0].startswith("runtime: docker")
    assert client.images.get(wanted_tag())


def test_auto_without_an_engine_says_why_it_takes_netns(engine: OwnEngine) -> None:
    engine.stop()
    chosen = choose_runtime(RuntimeName.auto, LinksName.userspace, scenario="learn")
    assert chosen.announcement[0].startswith("runtime: netns")
    assert f"not docker: no container engine at {engine.url}" in chosen.announcement[0]


def test_a_socket_where_nobody_listens_is_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    done = opus("run", "learn", "--runtime", "docker")
    assert done.returncode == 3
    assert f"no container engine answers at unix://{path}; start one:" in done.stderr


def test_doctor_tells_of_engine_and_image(engine: OwnEngine) -> None:
    checks = {check["name"]: check for check in json.loads(opus("doctor", "--json").stdout)["checks"]}
    assert (checks["docker"]["verdict"], checks["image"]["verdict"]) == ("ok", "ok")
    assert engine.url in checks["docker"]["found"]
    engine.stop()
    checks = {check["name"]: check for check in json.loads(opus("doctor", "--json").stdout)["checks"]}
    assert (checks["docker"]["verdict"], checks["image"]["verdict"]) == ("missing", "missing")


def test_make_image_prints_size_and_time(engine: OwnEngine) -> None:
    last = make_image(engine).splitlines()[-1]
    assert wanted_tag() in last
    assert " MB" in last
    assert "made in" in last
