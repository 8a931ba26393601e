"""Beside busy neighbours: an interval is marked exactly when they moved a median by more than a tenth; alone, a run is valid.

`make soak`. The same plan thrice: alone, beside 2 and beside 20 busy loops. Clients are open loop and drawn by the seed, so the
same requests are issued in the same seconds. Medians that moved by nearly a tenth (NEAR) may be marked or not: two runs of
one plan place their replicas by what they measure, and are that much apart by themselves. On a machine that is not quiet there
is nothing to compare with; the test then says so and is skipped.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from helpers.netns_runs import result_of, scenario, start_run
from opus_controller.report.machine import MOVED, WHAT, WINDOW_S
from opus_controller.report.run import SECOND, Run, read

KEPT = Path(__file__).parents[2] / "build" / "soak-neighbours.json"
SECONDS = 60
FROM_S = 20
"""Replicas have settled by then."""
NEAR = 0.05
QUIET = 0.10
"""Of the cores, that others may have for a machine to be called quiet."""


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_marked_exactly_when_a_median_moved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone = _a_run(tmp_path / "0", 0)
    others = float(np.median([sample.cpu_others for sample in alone.health]))
    if others > QUIET:
        pytest.skip(f"others have {others:.0%} of this machine's cores: no run of it is alone")
    assert alone.validity.ok, alone.validity.reasons
    told: dict[str, object] = {}
    for loops in (2, 20):
        busy = _a_run(tmp_path / str(loops), loops)
        moves, wrong = _moves(alone, busy), []
        for start, share, marked in moves:
            if abs(share - MOVED) > NEAR and marked != (share > MOVED):
                wrong.append(f"{start} s: moved by {share:.1%}, {'marked' if marked else 'not marked'}")
        told[f"{loops} loops"] = {"moves": moves, "reasons": busy.validity.reasons, "wrong": wrong}
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.write_text(json.dumps(told, indent=1))
    with capsys.disabled():
        print(f"\n{json.dumps(told, indent=1)}")
    assert not any(of["wrong"] for of in told.values() if isinstance(of, dict))


def _a_run(directory: Path, loops: int) -> Run:
    path = scenario(directory, duration=SECONDS)
    path.write_text(path.read_text().replace("total_rate: 20/s", "total_rate: 40/s"))
    with _busy(loops):
        result_of(start_run(path, directory / "out"))
    return read(directory / "out")


@contextmanager
def _busy(loops: int) -> Iterator[None]:
    """Programs that want a core each and do nothing with it."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def _moves(alone: Run, busy: Run) -> list[tuple[int, float, bool]]:
    """(start s, by how much the median of routing latency moved, whether it was marked) of each window."""
    found = []
    for start in range(FROM_S, SECONDS - WINDOW_S, WINDOW_S):
        quiet, moved = (_median(run, start) for run in (alone, busy))
        middle = start + WINDOW_S / 2
        marked = any(b.what == WHAT and b.from_s <= middle <= b.to_s for b in busy.validity.stretches)
        found.append((start, round(moved / quiet - 1, 4), marked))
    return found


def _median(run: Run, start: int) -> float:
    """Of requests that left their host, ns."""
    requests = run.everyone.requests
    mask = requests.ok & (requests.hops > 0) & (requests.issued >= start * SECOND)
    return float(np.median(requests.routing_ns[mask & (requests.issued < (start + WINDOW_S) * SECOND)]))
