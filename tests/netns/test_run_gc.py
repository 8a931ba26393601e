"""After `kill -9` of the controller: gc removes everything of that run and touches nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.netns_runs import events, leftovers, opus, result_of, scenario, start_run, state_of, until
from opus_controller.net import namespaces

pytestmark = pytest.mark.netns


@pytest.fixture
def near_names() -> Iterator[list[str]]:
    """Filled by the test with namespaces that are named almost like the run's; removed afterwards."""
    names: list[str] = []
    yield names
    for name in names:
        namespaces.delete(name)


def test_gc_after_kill_9_while_another_run_goes_on(tmp_path: Path, near_names: list[str]) -> None:
    doomed_out, other_out = tmp_path / "doomed", tmp_path / "other"
    doomed = start_run(scenario(tmp_path / "1", duration=600, seed=1), doomed_out)
    other = start_run(scenario(tmp_path / "2", duration=20, seed=2), other_out)
    run = until("the first run's state", lambda: state_of(doomed) if events(doomed_out, "request") else None)
    bystander = until("the second run's state", lambda: state_of(other) if events(other_out, "request") else None)
    near_names += [f"opus-{run.run[:7]}-a-1", f"opus-{run.run}0-a-1", f"opus-{run.run}.wan2", f"x-opus-{run.run}-a-1"]
    namespaces.create(near_names)

    doomed.kill()
    doomed.communicate(timeout=30)
    assert leftovers(run), "kill -9 leaves something for gc to do"
    done = opus("gc")
    assert done.returncode == 0, done.stderr
    assert run.run in done.stdout
    assert bystander.run not in done.stdout
    assert leftovers(run) == {}
    for name in near_names:
        assert namespaces.path_of(name).exists(), f"{name} is not the run's"
        namespaces.run_inside(namespaces.path_of(name), lambda: None)  # still a namespace one can enter
    assert run.run not in opus("gc").stdout, "a second gc finds nothing"

    result = result_of(other)
    assert result["requests"]["issued"] > 200
    assert result["requests"]["availability"] > 0.99
    assert leftovers(bystander) == {}
    assert any(doomed_out.iterdir()), "the record up to the kill stays"
    assert events(doomed_out, "request")


def test_down_ends_a_run_that_is_being_played(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start_run(scenario(tmp_path, duration=600, seed=3), out)
    run = until("a run's state", lambda: state_of(process) if events(out, "request") else None)
    done = opus("down", run.run)
    assert done.returncode == 0, done.stderr
    process.communicate(timeout=30)
    assert process.returncode == 130, "its owner was asked, and ended in order"
    assert leftovers(run) == {}
