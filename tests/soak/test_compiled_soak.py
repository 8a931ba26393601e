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
found = play(Size(1000, minutes=2, depth=int(sys.argv[1])), print, trace=True)
print(node.__file__, found["steps"], found["trace_digest"])
"""


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("depth", [2, 3])
def test_the_same_steps_compiled(depth: int) -> None:
    try:
        check_tools()
    except PlatformError as error:
        pytest.skip(str(error))
    place = built(print)
    plain, compiled = _played(depth, None), _played(depth, place)
    assert plain[0].endswith(".py")
    assert compiled[0].startswith(str(place))
    assert compiled[0].endswith(".so")
    assert plain[1:] == compiled[1:]


def _played(depth: int, place: Path | None) -> list[str]:
    """The file of the core that was run, steps and digest."""
    path = [*([] if place is None else [str(place)]), *sys.path]
    run = subprocess.run(
        [sys.executable, "-c", PLAY, str(depth)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.splitlines()[-1].split()
