"""Data that change while something breaks every few seconds: no promise is broken, on thirty real hosts for half an hour, and in
a thousand runs of the simulator, each with other troubles.

`make soak`. OPUS_SOAK_MINUTES and OPUS_SOAK_SEEDS shorten it. What happened is printed, and kept in build/soak-registers.json.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from helpers.netns_runs import leftovers, start_run, state_of, until
from helpers.simulated import result_of_text

MINUTES = float(os.environ.get("OPUS_SOAK_MINUTES", "30"))
SEEDS = int(os.environ.get("OPUS_SOAK_SEEDS", "1000"))
SETTLE_S, CALM_S = 15, 12
EVERY_S, LASTS_S = 12, 8
ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build" / "soak-registers.json"
APPS = {"quorum": "linearizable", "whole": "write-all", "primary": "primary", "bounded": "bounded, staleness: 3s, missed: 20"}
SITES = ["us-east-1", "us-west-2", "sa-east-1", "eu-west-1", "ap-northeast-1", "ap-southeast-2"]

SCENARIO = """\
name: soak-registers
topology: six-regions
settle: {settle}s
duration: {end:g}s
seed: {seed}
seeds: [use1-1, euw1-1, apne1-1]
applications: [{apps}]
workload: [{loads}]
timeline:
{events}
churn:
  hosts: all
  sessions: {{distribution: exponential, mean: {sessions}}}
  alive: 90%
  departures: {{power-off: 50%, crash: 25%, leave: 25%}}
expectations: [consistency.violations == 0]
"""


@pytest.mark.soak
@pytest.mark.timeout(4200)
def test_half_an_hour_of_trouble_breaks_no_promise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lasts = MINUTES * 60
    (tmp_path / "soak.yaml").write_text(scenario(7, lasts, EVERY_S, LASTS_S, rate=4, sessions="8m"))
    process = start_run(tmp_path / "soak.yaml", tmp_path / "out")
    run = until("the run's start", lambda: state_of(process), timeout=180)
    output, errors = process.communicate(timeout=lasts + 900)
    assert process.returncode in (0, 1, 4), errors
    result = json.loads(output)
    told = summary(result)
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.write_text(json.dumps(told, indent=1))
    with capsys.disabled():
        print(f"\n{json.dumps(told)}")
    assert leftovers(run) == {}
    assert [one["violations"] for one in told["apps"].values()] == [0] * len(APPS)
    assert told["faults"] > 0.8 * lasts / EVERY_S
    assert all(one["operations"] > 2 * lasts and one["availability"] > 0.5 for one in told["apps"].values())


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_a_thousand_seeds_of_the_simulator_break_no_promise(capsys: pytest.CaptureFixture[str]) -> None:
    seen: Counter[str] = Counter()
    broken = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for seed, told in enumerate(pool.map(simulated, range(SEEDS))):
            for app, one in told["apps"].items():
                seen[f"{app} operations"] += one["operations"]
                seen[f"{app} undecided"] += one["undecided"]
                if one["violations"]:
                    broken.append((seed, one))
            if seed % 50 == 49:
                with capsys.disabled():
                    print(f"{seed + 1} seeds: {dict(seen)}, {broken}", flush=True)
    assert broken == []
    assert not any(seen[f"{app} undecided"] for app in APPS)
    assert all(seen[f"{app} operations"] > 100 * SEEDS for app in APPS)


def simulated(seed: int) -> dict[str, Any]:
    """The same troubles, closer together."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        return summary(result_of_text(scenario(seed, 40, 5, 4, rate=8, sessions="3m"), directory).model_dump())


def scenario(seed: int, lasts: float, every: int, each: int, rate: int, sessions: str) -> str:
    """`lasts` and `each`: seconds of trouble, and of a single one."""
    rng = Random(seed)
    end = SETTLE_S + lasts + CALM_S
    apps = ", ".join(f"{{name: {name}, replicas: 5, consistency: {mode}}}" for name, mode in APPS.items())
    load = f"clients: all, total_rate: {rate}/s, deadline: 3s, write_share: 40%, keys: 8, request_size: 100B"
    loads = ", ".join(f"{{app: {name}, {load}}}" for name in APPS)
    times = [SETTLE_S + every * k for k in range(int(lasts / every))]
    events = "\n".join(f"  - {{at: {at}s, name: n{k}, {trouble(rng, each)}}}" for k, at in enumerate(times))
    return SCENARIO.format(settle=SETTLE_S, end=end, seed=seed, apps=apps, loads=loads, events=events, sessions=sessions)


def trouble(rng: Random, each: int) -> str:
    """One thing that is over before the next begins."""
    app, site = rng.choice(list(APPS)), rng.choice(SITES)
    return rng.choice(
        [
            f"power-off: a replica of {app}, for: {each}s",
            f"crash: a replica of {app}, for: 1s",
            f"pause: a replica of {app}, for: {each // 2}s",
            f"power-off: the steward of {app}, for: {each}s",
            f"partition: site {site}, for: {each}s",
            f"partition: a replica of {app}, both_ways: false, for: {each}s",
            f"strain: all replicas of quorum, clock: 20s, for: {each}s",  # no lease of another's may depend on it (docs/data.md)
            f"strain: all replicas of {app}, drift: 5%, for: {each}s",
            f"leave: a replica of {app}, for: {each}s",
        ]
    )


def summary(result: dict[str, Any]) -> dict[str, Any]:
    available = {one["app"]: one["figures"]["requests"]["availability"] for one in result["by_app"]}
    apps = {one["app"]: {**one, "availability": available[one["app"]]} for one in result["consistency"]["apps"]}
    return {"verdict": result["verdict"], "faults": len(result["faults"]), "apps": apps}
