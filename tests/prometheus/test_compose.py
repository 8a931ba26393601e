"""The compose file: accepted by compose, and its Prometheus runs from an image built here."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.nodes import wait_for
from opus_controller.observe.prometheus import free_port, get
from opus_controller.observe.scraper import CONTROLLER, target_labels
from opus_controller.observe.server import PORT, Served, Server

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "compose" / "compose.yaml"
IMAGE = "opus-prometheus-test"


def compose_command() -> list[str]:
    """Docker's plugin, or the older program of its own."""
    if (
        shutil.which("docker")
        and subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
    ):
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    pytest.skip("neither docker compose nor docker-compose is here: apt-get install docker-compose")


def compose(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*compose_command(), "-p", IMAGE, "-f", str(COMPOSE), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.prometheus
def test_compose_accepts_the_file_and_everything_it_mounts_is_there() -> None:
    told = yaml.safe_load(compose("config", OPUS_PROMETHEUS_IMAGE="of-my-own", OPUS_GRAFANA_PORT="3333").stdout)
    services: Mapping[str, Any] = told["services"]
    assert services.keys() == {"prometheus", "grafana"}
    assert services["prometheus"]["image"] == "of-my-own"
    assert str(services["grafana"]["environment"]["GF_SERVER_HTTP_PORT"]) == "3333"
    sources = [_source(volume) for service in services.values() for volume in service["volumes"]]
    bound = [Path(source) for source in sources if source.startswith("/")]
    assert len(bound) == 3
    assert all(path.exists() for path in bound)
    assert (COMPOSE.parent / "grafana" / "dashboards" / "overview.json").exists()


def _source(volume: str | Mapping[str, str]) -> str:
    return volume.partition(":")[0] if isinstance(volume, str) else volume["source"]


@pytest.mark.prometheus
def test_prometheus_accepts_its_configuration() -> None:
    subprocess.run(["promtool", "check", "config", str(COMPOSE.parent / "prometheus" / "prometheus.yml")], check=True)
    assert f"127.0.0.1:{PORT}/sd" in (COMPOSE.parent / "prometheus" / "prometheus.yml").read_text()


@pytest.mark.prometheus
def test_grafana_is_given_the_source_and_the_boards() -> None:
    provisioning = COMPOSE.parent / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "opus.yaml").read_text())["providers"]
    mounted = yaml.safe_load(COMPOSE.read_text())["services"]["grafana"]["volumes"]
    assert any(volume.split(":")[1] == provider["options"]["path"] for volume in mounted)


@contextmanager
def engine(place: Path) -> Iterator[dict[str, str]]:
    """A Docker engine of the test's own, never the user's; the environment to reach it."""
    environment = {"DOCKER_HOST": f"unix://{place}/d.sock", "DOCKER_BUILDKIT": "0"}
    command = ["dockerd", "--data-root", f"{place}/data", "--exec-root", f"{place}/exec", "--pidfile", f"{place}/pid"]
    command += ["--host", environment["DOCKER_HOST"], "--iptables=false", "--bridge=none"]
    with (place / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_for(lambda: _docker(environment, "info").returncode == 0 or process.poll() is not None, "the engine", 60)
        assert process.poll() is None, (place / "log").read_text()
        yield environment
    finally:
        process.terminate()
        process.wait(60)
        subprocess.run(["umount", f"{place}/exec/netns/default"], capture_output=True, check=False)  # it leaves that behind


def _docker(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, env={**os.environ, **environment})


def built(environment: Mapping[str, str], place: Path) -> None:
    """compose/prometheus/Dockerfile on a base made of Debian's packages."""
    base = place / "base.tar"
    subprocess.run(["mmdebstrap", "--quiet", "--variant=apt", "--include=ca-certificates", "bookworm", str(base)], check=True)
    context = str(COMPOSE.parent / "prometheus")
    for command in (
        ("import", str(base), f"{IMAGE}-base"),
        ("build", "--quiet", "--network", "host", "--tag", IMAGE, "--build-arg", f"BASE={IMAGE}-base", context),
    ):
        done = _docker(environment, *command)
        assert done.returncode == 0, done.stderr


@pytest.mark.docker
def test_prometheus_runs_from_an_image_built_here_and_finds_what_is_observed(tmp_path: Path) -> None:
    with engine(tmp_path) as environment:
        built(environment, tmp_path)
        port = str(free_port(0))
        settings = {**environment, "OPUS_PROMETHEUS_IMAGE": IMAGE, "OPUS_PROMETHEUS_PORT": port}
        compose("up", "-d", "prometheus", **settings)
        try:
            with serving():
                active = wait_for(lambda: _active(f"127.0.0.1:{port}"), "its targets", 60)
        finally:
            compose("down", "-v", **settings)
    assert {target["labels"]["instance"] for target in active} == {f"there/{CONTROLLER}", "there/a-1"}


@contextmanager
def serving() -> Iterator[None]:
    """An endpoint where the compose file looks for runs."""
    import asyncio
    import threading

    async def read(target: str) -> str:
        return "# TYPE opus_attached gauge\nopus_attached 1\n"

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = Server("127.0.0.1", PORT)
    server.served = Served(loop, read, target_labels("there", [("a-1", "a", "servers")]), 2.0)
    try:
        yield
    finally:
        server.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def _active(address: str) -> list[dict[str, Any]]:
    """Targets that were read."""
    try:
        targets: list[dict[str, Any]] = json.loads(get(address, "/api/v1/targets"))["data"]["activeTargets"]
    except (OSError, http.client.HTTPException):
        return []
    return targets if targets and all(target["health"] == "up" for target in targets) else []
