"""One world in several processes lives as in one: step by step, by the digest, and in every figure that is not time or memory."""

from __future__ import annotations

import pytest
from opus_controller.bench.scale import parallel
from opus_controller.bench.scale.run import Figures, play
from opus_controller.bench.scale.worlds import Size
from opus_controller.model.errors import InvalidRun, ScenarioError
from opus_controller.runtimes.sim.world import World

SIZE = Size(600, minutes=2.5, seed=3)
"""Some crash, come back, and ask."""
COST = {"built_s", "wall_s", "cpu_s", "steps_per_s", "entries_per_s", "bare_entries_per_s", "of_bare"}
MEMORY = {"rss_bytes", "peak_bytes", "bytes_per_node"}


@pytest.fixture(scope="module")
def alone() -> Figures:
    return play(SIZE, lambda news: None, trace=True)


@pytest.mark.parametrize("processes", [2, 3])
def test_the_steps_are_the_same(alone: Figures, processes: int) -> None:
    together = parallel.play(SIZE, lambda news: None, processes, trace=True)
    assert together["trace_digest"] == alone["trace_digest"]
    assert {name: together[name] for name in alone if name not in COST | MEMORY} == {
        name: value for name, value in alone.items() if name not in COST | MEMORY
    }
    assert together["sent_across"] > 1000, "or this shows nothing"
    assert alone["restarts"] > 0
    assert alone["ok"] > 50


def test_too_many_processes_are_refused() -> None:
    with pytest.raises(ScenarioError, match="--processes 16; the regions cannot be divided among so many"):
        parallel.play(Size(60, minutes=0.5), lambda news: None, 16)


def test_what_goes_wrong_in_one_is_told_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(world: World, *_: object) -> None:
        if min(host.plan.index for host in world.hosts.values()) > 0:
            raise InvalidRun("of one of two")

    monkeypatch.setattr(World, "kill", fails)
    with pytest.raises(InvalidRun, match="of one of two"):
        parallel.play(SIZE, lambda news: None, 2)
