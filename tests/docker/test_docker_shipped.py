"""Shipped scenarios whose faults are brought about by the engine or its cgroups: what they promise holds in containers, too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future

import pytest
from helpers.engines import OwnEngine
from helpers.shipped import Played, chosen, params, side_by_side

pytestmark = pytest.mark.docker

HERE = {
    "aimed": "power-off, crash, partition and pause, aimed by live state",
    "memory": "the limit of a container's memory",
    "regional": "five containers at once, and partitions",
    "slow-hosts": "the quota of a container's processor",
}

SELDOM = {"aimed", "regional", "slow-hosts"}


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, lane_engine: OwnEngine
) -> Iterator[Mapping[str, Future[Played]]]:
    """One at a time: the engine starts five containers a second."""
    assert lane_engine.running()
    with side_by_side(chosen(request), "docker", tmp_path_factory.mktemp("shipped"), at_a_time=1) as runs:
        yield runs


@pytest.mark.parametrize("name", params(HERE, SELDOM))
def test_its_expectations_hold_in_containers(name: str, runs: Mapping[str, Future[Played]]) -> None:
    played = runs[name].result()
    played.assert_it_holds()
    if name == "memory":
        (album,) = played.result["services"]
        assert album["ended"] >= 1, "what needed more than was left was ended"
