"""Containers that a dead run has left: those that carry the label `opus.run`, and no others."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Collection

LABEL = "opus.run"
_ANSWER_S = 20.0


def remove_containers(living: Collection[str]) -> list[str]:
    """Remove containers of runs that are not `living`; their names. Nothing where there is no docker client or no engine."""
    if shutil.which("docker") is None:
        return []
    listed = _docker("ps", "--all", "--filter", f"label={LABEL}", "--format", '{{.Names}}\t{{.Label "' + LABEL + '"}}')
    rows = [line.split("\t") for line in listed.splitlines()]
    dead = [row[0] for row in rows if len(row) == 2 and row[1] not in living]
    for name in dead:
        _docker("rm", "--force", name)
    return dead


def _docker(*arguments: str) -> str:
    """What docker prints; empty if it cannot (no engine runs, or none that answers)."""
    try:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=_ANSWER_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
