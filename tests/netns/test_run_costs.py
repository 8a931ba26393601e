"""What requests cost a user's program, measured on real hosts, sizes its replica set."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from helpers.netns_runs import TOPOLOGY, events, leftovers, result_of, start_run, state_of, until

pytestmark = pytest.mark.netns

PROGRAM = Path(__file__).parents[1] / "helpers" / "program.py"
BURNS_MS = 40
SCENARIO = f"""\
name: burning
topology: net.yaml
settle: 6s
duration: 36s
seed: 4
availability_target: 50%
applications:
  - name: web
    replicas: auto
    min_replicas: 1
    max_replicas: 4
    service:
      command: [python3, "{{files}}/program.py", "{{port}}", http]
      port: 9000
      files: burning
      health: /health
      request: "/burn/{BURNS_MS}"
seeds: [a-1, b-1]
workload: [{{clients: all, app: web, total_rate: 12/s, deadline: 2s}}]
"""


def test_a_program_gets_as_many_replicas_as_its_own_processor_time_needs(tmp_path: Path) -> None:
    """0.48 cores of work, of hosts with 0.6: one of them would be busy for more than three quarters of its time."""
    inside, out = tmp_path / "in", tmp_path / "out"
    (inside / "burning").mkdir(parents=True)
    shutil.copy(PROGRAM, inside / "burning")
    (inside / "net.yaml").write_text(TOPOLOGY + "    abilities: {cpu: 0.6}\n")
    (inside / "burning.yaml").write_text(SCENARIO)
    process = start_run(inside / "burning.yaml", out)
    run = until("a run's state", lambda: state_of(process))
    result = result_of(process)
    sets = sorted(events(out, "replica_set"), key=lambda event: event["t"])
    assert len(sets[0]["members"]) == 1, "before anything was measured"
    resized = [one for one in sets if one["cause"].startswith("resized to ")]
    assert resized, [one["cause"] for one in sets]
    assert len(resized[-1]["members"]) >= 2
    told = re.search(r": ([0-9.e+]+) ms of a core a request", resized[-1]["cause"])
    assert told is not None, resized[-1]["cause"]
    assert BURNS_MS <= float(told[1]) < 2 * BURNS_MS, "what it burns, and what HTTP takes"
    late = [one for one in events(out, "request") if one["issued_at"] > resized[0]["t"] and one["outcome"] == "ok"]
    assert len({one["replica"] for one in late}) >= 2, "the new one takes its part"
    assert result["requests"]["reachable"]["availability"] > 0.8, "one alone was nearly full"
    assert leftovers(run) == {}
