"""Thirty containers whose sessions have a median of three minutes, for five minutes: served all along, and nothing piles up.

`make soak`: the scenario that ships, `scenarios/churn.yaml`, as a user runs it. The figures are printed and kept in
build/soak-churn-docker.json.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from helpers.engines import OwnEngine
from helpers.netns_runs import leftovers, start_run, state_of, until
from helpers.usage import Watched, machine, piled_up, usage

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build" / "soak-churn-docker.json"
LOOKS_AT_S = (30.0, 90.0, 150.0, 210.0, 270.0, 305.0)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("dockerd") is None, reason="needs a Docker engine: apt-get install docker.io")
def test_thirty_containers_come_and_go(tmp_path: Path, lane_engine: OwnEngine, capsys: pytest.CaptureFixture[str]) -> None:
    watched = Watched(machine())
    process = start_run(ROOT / "scenarios" / "churn.yaml", tmp_path / "out", "docker")
    run = until("the run's start", lambda: state_of(process), timeout=180)
    for at in LOOKS_AT_S:
        until(f"{at:.0f} s", lambda at=at: process.poll() is not None or time.monotonic_ns() - run.origin_ns > at * 1e9, 300)  # type: ignore[misc]
        watched.during.append((at, usage(run)))
    output, errors = process.communicate(timeout=300)
    left, after = leftovers(run), machine()
    client = lane_engine.client()
    containers = [str(one.name) for one in client.containers.list(all=True)]
    client.close()

    assert process.returncode in (0, 1, 4), errors
    result = json.loads(output)
    with capsys.disabled():
        print(watched.told(result, after, left, KEPT))

    assert result["requests"]["availability"] >= 0.999
    assert result["requests"]["issued"] > 300 * 15
    assert result["churn"]["returns"] > 10
    assert left == {}
    assert containers == []
    assert after["namespaces"] == watched.before["namespaces"]
    under_way = [used for _, used in watched.during]
    assert piled_up(under_way, hosts=30, processes=2, minutes=5) == [], "a container's are its init and its node"
