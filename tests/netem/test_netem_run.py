"""A whole run over netem links, chosen by themselves where the kernel has them: `opus run` from its command line on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.netns_runs import events, leftovers, opus, start_run, state_of, until
from opus_controller.net import namespaces

pytestmark = pytest.mark.netem

ROOT = Path(__file__).resolve().parents[2]


def test_a_run_over_netem(tmp_path: Path) -> None:
    """Three hosts serve requests over netem; fidelity was measured; nothing is left at the end."""
    out = tmp_path / "out"
    command = [
        str(Path(sys.executable).with_name("opus")), "run", str(ROOT / "scenarios" / "learn.yaml"), "--runtime", "netns",
        "--links", "auto", "--out", str(out), "--json",
    ]  # fmt: skip
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200)
    assert ended.returncode in (0, 4), ended.stderr  # 4: the machine was too busy for figures to mean anything
    result = json.loads(ended.stdout)
    assert result["links"] == "netem"
    assert result["requests"]["ok"] > 0
    assert result["hops"]["max"] <= 2
    assert ended.returncode == 4 or result["requests"]["availability"] > 0.9
    assert result["facts"]["links"]["netem_qdiscs"] >= 9
    assert namespaces.runs() == []


def test_gc_after_kill_9_removes_links_of_netem_and_nothing_else(tmp_path: Path) -> None:
    """Interfaces and qdiscs lie in the run's namespaces: none may stay, nor a namespace that is named almost like one go."""
    out, interfaces = tmp_path / "out", set(os.listdir("/sys/class/net"))
    process = start_run(ROOT / "scenarios" / "learn.yaml", out, settings=["duration=600s"], links="netem")
    run = until("a request", lambda: state_of(process) if events(out, "request") else None)
    near = [f"opus-{run.run}0-berlin-1", f"opus-{run.run}.wan2"]
    namespaces.create(near)
    try:
        process.kill()
        process.communicate(timeout=30)
        wan = [name for name in namespaces.of_run(run.run) if "wan" in name]
        assert len(wan) == 1, "kill -9 leaves the links' namespace for gc to remove"
        done = opus("gc")
        assert done.returncode == 0, done.stderr
        assert run.run in done.stdout
        assert leftovers(run) == {}
        assert set(os.listdir("/sys/class/net")) == interfaces
        for name in near:
            namespaces.run_inside(namespaces.path_of(name), lambda: None)
    finally:
        for name in near:
            namespaces.delete(name)
    assert namespaces.runs() == []


def test_how_exact_netem_is_can_be_printed(tmp_path: Path) -> None:
    """Of 2,400 round trips over 10 to 300 ms, in this kernel; nothing is left at the end."""
    command = [str(Path(sys.executable).with_name("opus")), "bench", "links", "--links", "netem", "--json"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200)
    assert ended.returncode == 0, ended.stderr
    found = {row["what"]: row["value"] for row in json.loads(ended.stdout)}
    median = found["netem: round-trip error, median of 2400 over 10 to 300 ms"]
    assert 0 < median < found["netem: round-trip error, p99"]
    assert median < 5, "half of the shortest: whatever the machine does, this is not the delay that was asked for"
    assert namespaces.runs() == []
