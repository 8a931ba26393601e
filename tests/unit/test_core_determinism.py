"""The same events at the same times give the same answers: in this process, and under any hash seed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from helpers.corenet import Chance, six_regions
from opus_node.core.types import MILLISECOND, SECOND

ROOT = Path(__file__).resolve().parents[2]


def digest(seed: str) -> str:
    """Of every message and notice of half a minute with load, loss, a cut and deaths."""
    net = six_regions(seed=seed, chance=Chance(loss=0.02, duplicate=0.02, jitter=3 * MILLISECOND))
    net.log = []
    net.run(8 * SECOND)
    net.load(4 * SECOND, 50 * MILLISECOND)
    net.cut([node for node in net.cores if node.startswith("eu-")])
    net.load(9 * SECOND, 50 * MILLISECOND)
    net.heal()
    net.power_off(*net.replicas()[:1], *net.agents()[-1:])
    net.load(8 * SECOND, 50 * MILLISECOND)
    return hashlib.sha256("\n".join(net.log).encode()).hexdigest()


def test_the_same_seed_gives_the_same_history_and_another_another() -> None:
    assert digest("one") == digest("one")
    assert digest("one") != digest("two")


def test_the_history_does_not_depend_on_the_hash_seed() -> None:
    code = "import sys; sys.path[:0] = sys.argv[1:]; from test_core_determinism import digest; print(digest('one'))"
    paths = [str(ROOT / "tests" / "unit"), str(ROOT / "tests"), str(ROOT / "node")]
    seen = set()
    for hash_seed in ("0", "1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", code, *paths], env=environment, capture_output=True, text=True, timeout=120, check=True
        )
        seen.add(done.stdout.strip())
    assert len(seen) == 1
    assert seen == {digest("one")}
