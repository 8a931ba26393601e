"""Data that change on thirty real hosts for half an hour, while something breaks every few seconds: no promise is broken.

`make soak`. OPUS_SOAK_MINUTES shortens it. What happened is printed and kept in build/soak-registers.json.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from random import Random
from typing import Any

import pytest
from helpers.netns_runs import leftovers, start_run, state_of, until

MINUTES = float(os.environ.get("OPUS_SOAK_MINUTES", "30"))
SETTLE_S = 20
EVERY_S = 12
CALM_S = 30
ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build" / "soak-registers.json"
APPS = {"quorum": "linearizable", "whole": "write-all", "primary": "primary", "bounded": "bounded, staleness: 3s, missed: 20"}
SITES = ["us-east-1", "us-west-2", "sa-east-1", "eu-west-1", "ap-northeast-1", "ap-southeast-2"]

SCENARIO = """\
name: soak-registers
topology: six-regions
settle: {settle}s
duration: {end}s
seed: 7
seeds: [use1-1, euw1-1, apne1-1]
applications: [{apps}]
workload: [{loads}]
timeline:
{events}
churn:
  hosts: all
  sessions: {{distribution: exponential, mean: 8m}}
  alive: 90%
  departures: {{power-off: 50%, crash: 25%, leave: 25%}}
expectations: [consistency.violations == 0]
"""


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_half_an_hour_of_trouble_breaks_no_promise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    end = SETTLE_S + MINUTES * 60
    (tmp_path / "soak.yaml").write_text(scenario(end))
    process = start_run(tmp_path / "soak.yaml", tmp_path / "out")
    run = until("the run's start", lambda: state_of(process), timeout=180)
    output, errors = process.communicate(timeout=end + 600)
    assert process.returncode in (0, 1, 4), errors
    result = json.loads(output)
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.write_text(json.dumps(told := summary(result), indent=1))
    with capsys.disabled():
        print(f"\n{json.dumps(told)}")
    assert leftovers(run) == {}
    assert [one["violations"] for one in told["apps"].values()] == [0] * len(APPS)
    assert told["faults"] > 0.8 * MINUTES * 60 / EVERY_S
    assert all(one["operations"] > MINUTES * 60 * 2 and one["availability"] > 0.5 for one in told["apps"].values())


def scenario(end: float) -> str:
    rng = Random(7)
    apps = ", ".join(f"{{name: {name}, replicas: 5, consistency: {mode}}}" for name, mode in APPS.items())
    load = "clients: all, total_rate: 4/s, deadline: 3s, write_share: 40%, keys: 8, request_size: 100B"
    loads = ", ".join(f"{{app: {name}, {load}}}" for name in APPS)
    times = [SETTLE_S + 5 + EVERY_S * k for k in range(int((end - SETTLE_S - CALM_S) / EVERY_S))]
    events = "\n".join(f"  - {{at: {at}s, name: n{k}, {trouble(rng)}}}" for k, at in enumerate(times))
    return SCENARIO.format(settle=SETTLE_S, end=f"{end:g}", apps=apps, loads=loads, events=events)


def trouble(rng: Random) -> str:
    """One thing that is over before the next begins."""
    app, site = rng.choice(list(APPS)), rng.choice(SITES)
    return rng.choice(
        [
            f"power-off: a replica of {app}, for: 8s",
            f"crash: a replica of {app}, for: 1s",
            f"pause: a replica of {app}, for: 4s",
            f"power-off: the steward of {app}, for: 8s",
            f"partition: site {site}, for: 8s",
            f"partition: a replica of {app}, both_ways: false, for: 8s",
            "strain: all replicas of quorum, clock: 20s, for: 8s",  # no lease of another's may depend on it (docs/data.md)
            f"strain: all replicas of {app}, drift: 5%, for: 10s",
            f"leave: a replica of {app}, for: 8s",
        ]
    )


def summary(result: dict[str, Any]) -> dict[str, Any]:
    available = {one["app"]: one["figures"]["requests"]["availability"] for one in result["by_app"]}
    apps = {one["app"]: {**one, "availability": available[one["app"]]} for one in result["consistency"]["apps"]}
    return {"verdict": result["verdict"], "faults": len(result["faults"]), "apps": apps}
