"""Compiled, the core and the simulator do what they do interpreted, step by step."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from opus_controller.bench.compiled.build import built, check_tools
from opus_controller.model.errors import PlatformError

PLAY = """
import sys
from opus_controller.bench.scale.parallel import play
from opus_controller.bench.scale.worlds import Size
from opus_node.core import node
found = play(Size(1000, minutes=2, depth=int(sys.argv[1])), print, int(sys.argv[2]), trace=True)
print(node.__file__, found["steps"], found["trace_digest"])
"""
KEEP = """
import pathlib, sys
from opus_controller.bench.scale import state
from opus_controller.bench.scale.run import Life
from opus_controller.bench.scale.worlds import Size, plan_of
from opus_controller.runtimes.sim.trace import Trace
from opus_node.core import node
size, file = Size(300, minutes=2), pathlib.Path(sys.argv[1])
life = Life(plan_of(size), size)
life.world.agenda.run(80 * 10**9, 10**9)
state.keep(file, life)
digests = []
for one in (life, state.read(file, plan_of(size), None)):
    one.world.trace = Trace()
    one.world.agenda.run(100 * 10**9, 10**9)
    digests.append(one.world.trace.digest())
print(node.__file__, *digests)
"""


@pytest.fixture(scope="module")
def compiled() -> Path:
    try:
        check_tools()
    except PlatformError as error:
        pytest.skip(str(error))
    return built(print)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("depth", [2, 3])
def test_the_same_steps_compiled(compiled: Path, depth: int) -> None:
    """In one process and in two."""
    plain = _told(PLAY, depth, 1)
    assert plain[0].endswith(".py")
    for processes in (1, 2):
        found = _told(PLAY, depth, processes, place=compiled)
        assert found[0].startswith(str(compiled))
        assert found[0].endswith(".so")
        assert found[1:] == plain[1:]


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_compiled_run_that_was_kept_goes_on_with_the_same_steps(compiled: Path, tmp_path: Path) -> None:
    plain = _told(KEEP, tmp_path / "plain")
    found = _told(KEEP, tmp_path / "compiled", place=compiled)
    assert found[0].startswith(str(compiled))
    assert found[1:] == plain[1:] == [plain[1]] * 2


def _told(program: str, *given: object, place: Path | None = None) -> list[str]:
    """The file of the core that was run, and what it has found."""
    path = [*([] if place is None else [str(place)]), *sys.path]
    run = subprocess.run(
        [sys.executable, "-c", program, *map(str, given)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.splitlines()[-1].split()
