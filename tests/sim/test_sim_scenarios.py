"""Every scenario that comes with Opus holds what it promises, in the simulator."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.shipped import SCENARIOS, impossible
from helpers.simulated import played, result_of
from opus_controller.model.compile import compile_plan
from opus_controller.model.plan import Plan
from opus_controller.model.scenario import find, load_scenario
from opus_controller.model.settings import parse_setting

REFUSED = {
    "sim": {"memory": "simulated hosts have no memory to take"},
    "netns": {"slow-disks": "hosts' disks lie in this machine's memory, or are all of them one, and cannot be slow"},
    "docker": {
        "full-disks": "containers share the engine's disk, and none has a size of its own",
        "slow-disks": "hosts' disks lie in this machine's memory, or are all of them one, and cannot be slow",
    },
}
"""Scenarios that want what a runtime does not have, and its word on that; the lanes of the others play them."""
REAL = REFUSED["sim"]
HERE = [path for name, path in SCENARIOS.items() if name not in REAL]


@pytest.mark.parametrize("runtime", REFUSED)
def test_no_other_scenario_is_refused(runtime: str) -> None:
    refused = {name: why for name in SCENARIOS if (why := impossible(name, runtime))}
    assert refused.keys() == REFUSED[runtime].keys()
    assert [name for name, why in REFUSED[runtime].items() if why not in refused[name]] == []


def test_every_scenario_can_be_played_somewhere() -> None:
    assert set.intersection(*(set(refused) for refused in REFUSED.values())) == set()


@pytest.mark.parametrize("path", HERE, ids=[path.stem for path in HERE])
def test_its_expectations_hold(path: Path, tmp_path: Path) -> None:
    _holds(compile_plan(load_scenario(path)), tmp_path)


@pytest.mark.parametrize("name", REAL)
def test_what_needs_a_real_host_is_refused_before_it_starts(name: str, tmp_path: Path) -> None:
    plan = compile_plan(load_scenario(find("scenarios", name)))
    outcome = played(plan, tmp_path / "out")
    assert outcome.exit_code == 2
    assert REAL[name] in str(outcome.error)


def _holds(plan: Plan, tmp_path: Path) -> None:
    result = result_of(plan, tmp_path / "out")
    assert result.expectations, "a scenario without expectations shows nothing"
    assert [one for one in result.expectations if not one.ok] == []
    assert result.verdict == "pass"


@pytest.mark.parametrize("depth", [1, 3])
def test_registers_are_kept_at_any_depth(depth: int, tmp_path: Path) -> None:
    settings = [parse_setting(f"overlay.depth={depth}"), parse_setting("overlay.nodes_per_agent=4")]
    _holds(compile_plan(load_scenario(find("scenarios", "registers"), settings)), tmp_path)


@pytest.mark.parametrize("depth", [1, 3, 4])
@pytest.mark.parametrize("name", ["quickstart", "half-kill"])
def test_a_partition_and_the_loss_of_half_of_all_hosts_are_borne_at_any_depth(name: str, depth: int, tmp_path: Path) -> None:
    """Small zones, so that there are several of them."""
    settings = [parse_setting(f"overlay.depth={depth}"), parse_setting("overlay.nodes_per_agent=4")]
    _holds(compile_plan(load_scenario(find("scenarios", name), settings)), tmp_path)
