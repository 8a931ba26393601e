"""One engine for all tests of the lane; whatever a test does to it, the next one finds it running."""

from __future__ import annotations

from collections.abc import Iterator

import docker
import pytest
from helpers.engines import OwnEngine


@pytest.fixture
def engine(lane_engine: OwnEngine) -> Iterator[OwnEngine]:
    yield lane_engine
    if not lane_engine.running():
        lane_engine.start()


@pytest.fixture
def client(engine: OwnEngine) -> Iterator[docker.DockerClient]:
    client = engine.client()
    yield client
    client.close()
