"""One world in several processes lives as in one: step by step, by the digest, and in every figure that is not time or memory."""

from __future__ import annotations

import pytest
from opus_controller.bench.scale import parallel
from opus_controller.bench.scale.run import play
from opus_controller.bench.scale.worlds import Size
from opus_controller.model.errors import InvalidRun, ScenarioError
from opus_controller.runtimes.sim.host import SimHost
from opus_controller.runtimes.sim.world import World

SIZE = Size(600, minutes=2, seed=3)
"""Some crash, come back, and ask."""
COST = {"built_s", "wall_s", "cpu_s", "steps_per_s", "entries_per_s", "bare_entries_per_s", "of_bare", "waiting"}
"""`waiting`: each process has a next request and a next sample on its agenda."""
MEMORY = {"rss_bytes", "peak_bytes", "bytes_per_node"}


def quiet(news: str) -> None:
    pass


@pytest.mark.timeout(900)  # a minute and a half of a processor, which others may want too
def test_the_steps_and_the_figures_are_the_same() -> None:
    alone, together = play(SIZE, quiet, trace=True), parallel.play(SIZE, quiet, 2, trace=True)
    assert together["trace_digest"] == alone["trace_digest"]
    for name in alone.keys() - COST - MEMORY:
        assert together[name] == alone[name], name
    assert alone["waiting"] <= together["waiting"] <= alone["waiting"] + 2
    assert together["sent_across"] > 1000, "or this shows nothing"
    assert alone["restarts"] > 0
    assert alone["ok"] > 20


def test_in_three_as_well() -> None:
    size = Size(120, minutes=1)
    assert parallel.play(size, quiet, 3, trace=True)["trace_digest"] == play(size, quiet, trace=True)["trace_digest"]


def test_too_many_processes_are_refused() -> None:
    with pytest.raises(ScenarioError, match="--processes 40; the regions cannot be divided among so many"):
        parallel.play(Size(60, minutes=0.5), quiet, 40)


def test_what_goes_wrong_in_one_is_told_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(world: World, host: SimHost, *, powered: bool) -> None:
        if min(host.plan.index for host in world.hosts.values()) > 0:
            raise InvalidRun("of one of two")

    monkeypatch.setattr(World, "kill", fails)
    with pytest.raises(InvalidRun, match="of one of two"):
        parallel.play(Size(60, minutes=1.5), quiet, 2)
