"""What tests of several directories share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from helpers.engines import OwnEngine, own_engine
from hypothesis import HealthCheck, settings

settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
"""How long an example takes says something of the machine, which is shared, and nothing of what is tested."""


@pytest.fixture(scope="session")
def lane_engine() -> Iterator[OwnEngine]:
    """The docker lane's engine, which DOCKER_HOST names from here on."""
    with own_engine() as engine, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", engine.url)
        yield engine
