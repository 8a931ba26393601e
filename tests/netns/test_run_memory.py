"""Memory taken from a host that serves: the kernel ends what needs more than is left, and the host and its node live on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from helpers.netns_runs import TOPOLOGY, events, leftovers, result_of, start_run, state_of, until
from opus_controller.runtimes.hosts import cgroups

pytestmark = pytest.mark.netns

SCENARIOS = Path(__file__).parents[2] / "scenarios"
TINY = """\
name: memory
topology: tiny-net.yaml
settle: 5s
duration: 16s
seed: 1
applications:
  - name: album
    replicas: 2
    service:
      {command: [python3, "{files}/album.py", "{port}"], port: 8080, files: album, health: /health, request: "/pictures/{key}"}
seeds: [a-1, b-1]
workload:
  - {clients: all, app: album, total_rate: 4/s, deadline: 2s}
timeline:
  - {at: 8s, name: tight, strain: a replica of album, memory: 64MiB, for: 4s}
expectations:
  - hops.max <= 2
"""


def test_a_program_that_needs_more_than_is_left_is_ended_and_its_host_lives_on(tmp_path: Path) -> None:
    (tmp_path / "tiny-net.yaml").write_text(TOPOLOGY)
    shutil.copytree(SCENARIOS / "album", tmp_path / "album")
    program = tmp_path / "album" / "album.py"
    # More than the limit by itself: of what nearly fits, the kernel may look for the rest for as long as the strain lasts.
    program.write_text(program.read_text().replace("MEMORY = 60_000_000", "MEMORY = 100_000_000"))
    path = tmp_path / "memory.yaml"
    path.write_text(TINY)
    process = start_run(path, tmp_path / "out")
    run = until("the run", lambda: state_of(process))
    until("the strain", lambda: events(tmp_path / "out", "fault"))
    (struck,) = [one for one in events(tmp_path / "out", "fault") if one["name"] == "tight"]
    (victim,) = struck["victims"]
    until("the kernel's limit", lambda: cgroups.in_force(run.hosts[victim].cgroups)[1] == [64 << 20])
    result = result_of(process)
    (album,) = result["services"]
    ended = [one["host"] for one in events(tmp_path / "out", "program") if one["why"] == "ended by SIGKILL"]
    assert album["ended"] >= 1
    assert victim in ended
    assert result["died"] == []
    assert result["requests"]["ok"] > 0
    assert leftovers(run) == {}
