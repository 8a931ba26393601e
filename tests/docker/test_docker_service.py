"""Users' own services beside nodes in containers: programs of the node's image, and images of their own."""

from __future__ import annotations

from pathlib import Path

import docker
import pytest
from helpers.engines import OwnEngine, nginx_image
from helpers.service_runs import served_through_failures

pytestmark = pytest.mark.docker

PYTHON = """\
{command: [python3, -m, http.server, "8080", --bind, 127.0.0.1, --directory, "{files}/html"], port: 8080, files: nginx,
    health: {path: /, every: 500ms}, request: "/item.json"}"""


def test_a_program_of_the_nodes_image_answers_through_failures(tmp_path: Path, client: docker.DockerClient) -> None:
    served_through_failures(tmp_path, PYTHON, "http.server", "docker")
    assert client.containers.list(all=True) == []


def test_a_users_image_answers_through_failures_and_runs_only_where_replicas_are(
    tmp_path: Path, engine: OwnEngine, client: docker.DockerClient
) -> None:
    web = (
        f"{{image: {nginx_image(engine)}, port: 8080, files: nginx, health: {{path: /health, every: 500ms}}, request: /items/1}}"
    )
    served_through_failures(tmp_path, web, "nginx", "docker")
    assert client.containers.list(all=True) == []
