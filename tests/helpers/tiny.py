"""A scenario of four hosts at two sites and a few virtual seconds, for tests that need many runs."""

from __future__ import annotations

from pathlib import Path

TOPOLOGY = """
name: {name}
sites: [{{name: near}}, {{name: far}}]
rtt_ms: {{near: {{far: {rtt_ms}}}}}
groups: [{{name: pc, sites: all, count: 2, access: {{delay: 1ms}}}}]
"""
SCENARIO = """
name: tiny
topology: net.yaml
duration: 9s
settle: 4s
applications: [{name: web, replicas: 1}]
overlay: {direct: true}
workload:
  - {clients: all, app: web, total_rate: 30/s}
expectations:
  - availability >= 99%
  - hops.max <= 2
"""


def write(directory: Path, *, rtt_ms: float = 40, scenario: str = SCENARIO, topology: str = "net") -> Path:
    """The scenario's path; the topology is beside it."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "net.yaml").write_text(TOPOLOGY.format(rtt_ms=rtt_ms, name=topology))
    (directory / "tiny.yaml").write_text(scenario)
    return directory / "tiny.yaml"
