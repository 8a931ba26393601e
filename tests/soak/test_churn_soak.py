"""A hundred real hosts whose sessions have a median of three minutes, for ten minutes: served all along, and nothing piles up.

`make soak`. OPUS_SOAK_MINUTES shortens it. The figures before, during and after are printed and kept in build/soak-churn.json.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from helpers.netns_runs import leftovers, start_run, state_of, until
from helpers.usage import Watched, machine, piled_up, usage

MINUTES = float(os.environ.get("OPUS_SOAK_MINUTES", "10"))
SETTLE_S = 30
ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build" / "soak-churn.json"

SCENARIO = """\
name: soak-churn
topology: hundred.yaml
settle: {settle}s
duration: {end}s
seed: 7
applications: [{{name: web, replicas: 5}}]
workload: [{{clients: all, total_rate: 40/s, request_size: 200B, reply_size: 1kB}}]
churn:
  sessions: {{distribution: weibull, shape: 0.6, median: 3m}}
  alive: 80%
  departures: {{power-off: 70%, crash: 30%}}
expectations: [availability >= 99.9%, hops.max <= 2]
"""

MORE = """\
  - name: more
    sites: [us-east-1, us-west-2, eu-west-1, ap-northeast-1]
    access: {delay: 0.5ms, up: 100Mbit, down: 100Mbit, queue: 50ms}
"""


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_hundred_hosts_come_and_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "hundred.yaml").write_text(_hundred())
    end = SETTLE_S + MINUTES * 60
    (tmp_path / "soak.yaml").write_text(SCENARIO.format(settle=SETTLE_S, end=f"{end:g}"))
    watched = Watched(machine())
    process = start_run(tmp_path / "soak.yaml", tmp_path / "out")
    run = until("the run's start", lambda: state_of(process), timeout=180)
    for k in range(11):
        at = SETTLE_S + k * MINUTES * 6 * 0.98
        until(f"{at:.0f} s", lambda at=at: time.monotonic_ns() - run.origin_ns > at * 1e9, timeout=900)  # type: ignore[misc]
        watched.during.append((at, usage(run)))
    output, errors = process.communicate(timeout=300)
    left, after = leftovers(run), machine()

    result = json.loads(output)
    with capsys.disabled():
        print(watched.told(result, after, left, KEPT))

    assert process.returncode in (0, 1, 4), errors
    assert result["requests"]["availability"] >= 0.999
    assert result["requests"]["issued"] > MINUTES * 60 * 25
    assert result["churn"]["returns"] > 5 * MINUTES
    assert left == {}
    assert after["namespaces"] == watched.before["namespaces"]
    under_way = [used for _, used in watched.during[1:]]  # the first sample is of hosts that are still joining
    assert {used.namespaces for used in under_way} == {100}, "a host keeps its place while it is away"
    assert piled_up(under_way, hosts=100, processes=1, minutes=MINUTES) == []


def _hundred() -> str:
    """Six regions, 16 hosts in each and one more in four of them."""
    text = (ROOT / "topologies" / "six-regions.yaml").read_text()
    assert "count: 5 " in text
    return text.replace("name: six-regions", "name: hundred", 1).replace("count: 5 ", "count: 16 ") + MORE
