"""Shards in the simulator: copies follow what is asked for, and leave again, at any depth of the hierarchy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.simulated import record_of
from opus_controller.model.compile import compile_plan
from opus_controller.model.scenario import find, load_scenario
from opus_controller.model.settings import parse_setting
from opus_controller.report.build import build
from opus_controller.report.run import read
from opus_node.core.shards import shard_of

SHARDS = 48
MOVED_S = 80


def played(into: Path, *settings: str) -> list[dict[str, Any]]:
    plan = compile_plan(load_scenario(find("scenarios", "index"), [parse_setting(one) for one in settings]))
    return [dict(event) for event in record_of(plan, into).events()]


def test_copies_follow_what_is_asked_for(tmp_path: Path) -> None:
    events = played(tmp_path / "out")
    told = [(e["t"] / 1e9, e["copies"]) for e in events if e["kind"] == "shards"]
    former, later = shard_of(0, SHARDS), shard_of(200, SHARDS)
    before = next(copies for t, copies in reversed(told) if t < MOVED_S)
    after = told[-1][1]
    assert before[former] >= 5 > before[later]
    assert after[later] >= 6 > after[former]
    assert all(sum(copies) <= 2 * SHARDS * 3 + SHARDS for _, copies in told)


@pytest.mark.parametrize("depth", [1, 3])
def test_nothing_is_lost_at_any_depth(depth: int, tmp_path: Path) -> None:
    played(tmp_path / "out", f"overlay.depth={depth}", "overlay.nodes_per_agent=4")
    result = build(read(tmp_path / "out"))
    assert result.shards is not None
    assert result.shards.lost == 0.0
    assert result.shards.apps[0].hottest_copies >= 5
    assert result.consistency is not None
    assert result.consistency.violations == 0
    assert result.requests.ok / result.requests.issued > 0.98
