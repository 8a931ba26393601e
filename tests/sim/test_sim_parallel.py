"""One world in several processes lives as in one: step by step, by the digest, and in every figure that is not time or memory."""

from __future__ import annotations

import os
import subprocess
import sys
from errno import ENOSPC
from pathlib import Path

import pytest
from opus_controller.bench.scale import run, state
from opus_controller.bench.scale.load import Figures
from opus_controller.bench.scale.parallel import play
from opus_controller.bench.scale.run import Life, Stopped
from opus_controller.bench.scale.worlds import Size, plan_of
from opus_controller.bench.worlds import SECOND
from opus_controller.model.errors import InvalidRun, ScenarioError
from opus_controller.runtimes.sim.trace import Trace
from opus_controller.runtimes.sim.world import World

SIZE = Size(200, minutes=2, seed=3)
"""Some crash, come back, and ask."""
COST = {
    *("built_s", "wall_s", "cpu_s", "cpu_by_process_s", "waited_s", "waiting"),
    *("steps_per_s", "entries_per_s", "bare_entries_per_s", "of_bare"),
}
"""`waiting`: each process has a next request and a next sample on its agenda."""
SHARED = {"processes", "window_ms", "sent_across"}
"""How it was lived."""
MEMORY = {"rss_bytes", "peak_bytes", "bytes_per_node"}


@pytest.fixture(scope="module")
def alone() -> Figures:
    return play(SIZE, lambda news: None, trace=True)


@pytest.mark.parametrize("processes", [2, 3])
def test_the_steps_are_the_same(alone: Figures, processes: int) -> None:
    together = play(SIZE, lambda news: None, processes, trace=True)
    assert together["trace_digest"] == alone["trace_digest"]
    assert {name: together[name] for name in alone if name not in COST | MEMORY | SHARED} == {
        name: value for name, value in alone.items() if name not in COST | MEMORY | SHARED
    }
    assert alone["waiting"] <= together["waiting"] <= alone["waiting"] + 2 * processes
    assert together["sent_across"] > 500, "or this shows nothing"
    assert alone["restarts"] > 0
    assert alone["ok"] > 10


def test_too_many_processes_are_refused() -> None:
    with pytest.raises(ScenarioError, match="--processes 40; the regions cannot be divided among so many"):
        play(Size(60, minutes=0.5), lambda news: None, 40)


def test_what_goes_wrong_in_one_is_told_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(world: World, *_: object, **__: object) -> None:
        if min(host.plan.index for host in world.hosts.values()) > 0:
            raise InvalidRun("of one of two")

    monkeypatch.setattr(World, "kill", fails)
    with pytest.raises(InvalidRun, match="of one of two"):
        play(SIZE, lambda news: None, 2)


@pytest.mark.parametrize("processes", [1, 2])
def test_stopped_and_gone_on_with_it_is_the_same_run(
    alone: Figures, processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "SLICE", 1000)
    said: list[str] = []
    place, times = tmp_path / "200.state", iter(range(1_000_000))
    with pytest.raises(Stopped):
        play(SIZE, said.append, processes, place=place, stop=lambda: next(times) > 1)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["200.state"]
    assert sorted(file.name for file in place.iterdir()) == [str(number) for number in range(processes)]
    together = play(SIZE, said.append, processes, place=place)
    same = set(alone) - COST - MEMORY - SHARED - {"trace_digest"}
    assert {name: together[name] for name in same} == {name: alone[name] for name in same}


def test_the_steps_after_it_was_kept_are_those_that_it_would_have_made(tmp_path: Path) -> None:
    """Here, and in another process, which has other hashes of names."""
    plan, file = plan_of(SIZE), tmp_path / "kept"
    life = Life(plan, SIZE)
    life.world.agenda.run(80 * SECOND, 10**9)
    state.keep(file, life)
    program = [sys.executable, "-c", GO_ON, str(file)]
    there = subprocess.run(program, env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, text=True, timeout=300)
    here = state.read(file, plan, None)
    assert here.world.steps == life.world.steps > 5_000
    digests = []
    for one in (life, here):
        one.world.trace = Trace()
        one.world.agenda.run(100 * SECOND, 10**9)
        digests.append(one.world.trace.digest())
    assert digests == [digests[0]] * 2
    assert there.stdout.strip() == digests[0], there.stderr


GO_ON = f"""
import sys, pathlib
from opus_controller.bench.scale import state
from opus_controller.bench.scale.worlds import Size, plan_of
from opus_controller.runtimes.sim.trace import Trace
world = state.read(pathlib.Path(sys.argv[1]), plan_of({SIZE!r}), None).world
world.trace = Trace()
world.agenda.run({100 * SECOND}, 10**9)
print(world.trace.digest())
"""


def test_a_file_that_is_no_run_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "0").write_bytes(b"no pickle")
    with pytest.raises(ScenarioError, match=r"/0: .*allowed: what an earlier run has kept") as raised:
        play(Size(60), print, place=tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_disk_without_room_does_not_end_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
    def full(file: Path, life: Life) -> None:
        if file.name == str(processes - 1):
            raise OSError(ENOSPC, "No space left on device")
        file.touch()

    monkeypatch.setattr(state, "keep", full)
    monkeypatch.setattr(run, "KEEP_EVERY_S", 0.0)
    monkeypatch.setattr(run, "SLICE", 1000)
    said: list[str] = []
    play(Size(60, minutes=0.5), said.append, processes, place=tmp_path / "60.state")
    if processes == 1:
        assert any("could not be kept: [Errno 28]" in news for news in said)
    assert list(tmp_path.iterdir()) == []
