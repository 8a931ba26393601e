"""Every fault that a shipped scenario plays: what the scenario promises of it holds on real hosts, too.

Those that bring real hosts no fault that another does not bring them as well are played by `make soak`; all are in the simulator.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future

import pytest
from helpers.shipped import NO_FAULT, SCENARIOS, Played, chosen, impossible, params, side_by_side

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(
        shutil.which("nginx") is None, reason="nginx is missing: apt-get install --no-install-recommends nginx-light"
    ),
]
APART = {"quickstart": "test_quickstart.py plays it in its own time", "learn": "test_netem_run.py does, in fifteen seconds"}
SELDOM = {
    *("flapping", "flash-crowd", "flash-join", "flood", "half-kill"),
    *("index", "overload", "regional", "registers", "seti", "updates"),
}
HERE = [name for name in SCENARIOS if name not in NO_FAULT | APART and not impossible(name, "netns")]


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Future[Played]]]:
    with side_by_side(chosen(request), "netns", tmp_path_factory.mktemp("shipped")) as runs:
        yield runs


@pytest.mark.parametrize("name", params(HERE, SELDOM))
def test_its_expectations_hold_on_real_hosts(name: str, runs: Mapping[str, Future[Played]]) -> None:
    played = runs[name].result()
    played.assert_it_holds()
    if name == "memory":
        (album,) = played.result["services"]
        assert album["ended"] >= 1, "the kernel ended what needed more than was left"
