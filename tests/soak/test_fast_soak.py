"""What `make fast` builds takes the same steps as the sources, node by node."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from opus_controller import fast

RUN = """
import json, sys
from opus_controller import fast
fast.use_if_asked()
from opus_controller.bench.scale.run import play
from opus_controller.bench.scale.worlds import Size
found = play(Size(int(sys.argv[1]), minutes=float(sys.argv[2])), print, trace=True)
from opus_node.core import kmedian
print(json.dumps({"digest": found["trace_digest"], "steps": found["steps"], "file": kmedian.__file__}))
"""


@pytest.mark.soak
@pytest.mark.timeout(3000)
@pytest.mark.skipif(not (fast.PLACE / fast.ABOUT).is_file(), reason="nothing is built: make fast")
def test_a_thousand_nodes_take_the_same_steps_built_and_interpreted() -> None:
    plain, built = (
        json.loads(
            subprocess.run(
                [sys.executable, "-c", RUN, "1000", "2"],
                env={**os.environ, fast.ASKED: asked},
                capture_output=True,
                text=True,
                check=True,
            ).stdout.splitlines()[-1]
        )
        for asked in ("0", "1")
    )
    assert plain["file"].endswith(".py")
    assert built["file"].endswith(".so")
    assert plain["steps"] == built["steps"] > 100_000
    assert plain["digest"] == built["digest"]
