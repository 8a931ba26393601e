"""Beside busy neighbours: an interval is marked exactly when they moved a median by more than a tenth; alone, a run is valid.

`make soak`. The same plan alone, beside 2 and beside 20 busy loops, and, from 25 to 40 s, beside one on each core that the kernel
prefers nine tenths of the time (a fair scheduler gives hosts, which sleep most of the time, their turn before any number of
ordinary loops).

All paths are alike, so a median does not depend on which hosts serve: two runs of one plan place their replicas by what they
measure. Medians that moved by nearly a tenth (NEAR) may be marked or not. On a machine that is not quiet there is nothing to
compare with; the test then says so and is skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from helpers.netns_runs import result_of, scenario, start_run, state_of, until
from opus_controller.report.machine import MOVED, WHAT, WINDOW_S
from opus_controller.report.run import SECOND, Run, read

KEPT = Path(__file__).parents[2] / "build" / "soak-neighbours.json"
SECONDS = 60
FROM_S = 20
"""Replicas have settled by then."""
NEAR = 0.05
QUIET = 0.10
"""Of the cores, that others may have for a machine to be called quiet."""
ORDINARY = "while True: pass"
PREFERRED = """\
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
while True:
    until = time.monotonic() + 0.045
    while time.monotonic() < until:
        pass
    time.sleep(0.005)
"""
PREFERRED_S = (25, 40)
TOPOLOGY = """\
name: alike
description: Six sites as far from each other
source: made up
sites: [{name: a}, {name: b}, {name: c}, {name: d}, {name: e}, {name: f}]
rtt_ms:
  a: {b: 12, c: 12, d: 12, e: 12, f: 12}
  b: {c: 12, d: 12, e: 12, f: 12}
  c: {d: 12, e: 12, f: 12}
  d: {e: 12, f: 12}
  e: {f: 12}
groups:
  - {name: servers, sites: all, count: 1, access: {delay: 0.5ms, up: 20Mbit, down: 20Mbit, queue: 100ms}}
"""


@pytest.mark.soak
@pytest.mark.timeout(2400)
def test_marked_exactly_when_a_median_moved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone = _a_run(tmp_path / "alone")
    others = float(np.median([sample.cpu_others for sample in alone.health]))
    if others > QUIET:
        pytest.skip(f"others have {others:.0%} of this machine's cores: no run of it is alone")
    assert alone.validity.ok, alone.validity.reasons
    arms = {"2 loops": _a_run(tmp_path / "2", 2), "20 loops": _a_run(tmp_path / "20", 20)}
    arms["preferred ones for 15 s"] = _a_run(tmp_path / "preferred", preferred=True)
    told = {name: _windows(alone, busy) for name, busy in arms.items()}
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.write_text(json.dumps({name: [vars(window) for window in windows] for name, windows in told.items()}, indent=1))
    with capsys.disabled():
        for name, windows in told.items():
            print(f"\n{name}: " + "; ".join(map(str, windows)))
    wrong = {name: [str(window) for window in windows if window.wrong] for name, windows in told.items()}
    assert not any(wrong.values()), wrong
    assert any(window.marked for window in told["preferred ones for 15 s"]), "there was something to find"


def _a_run(directory: Path, loops: int = 0, *, preferred: bool = False) -> Run:
    path = scenario(directory, duration=SECONDS)
    path.write_text(path.read_text().replace("total_rate: 20/s", "total_rate: 40/s"))
    (directory / "tiny-net.yaml").write_text(TOPOLOGY)
    with ExitStack() as stack:
        stack.enter_context(_busy([(ORDINARY,)] * loops))
        process = start_run(path, directory / "out")
        if preferred:
            run = until("a run's state", lambda: state_of(process))
            _wait_for(run.origin_ns, PREFERRED_S[0])
            with _busy([(PREFERRED, str(core)) for core in os.sched_getaffinity(0)]):
                _wait_for(run.origin_ns, PREFERRED_S[1])
        result_of(process, timeout=SECONDS + 540)  # twenty loops make judging and drawing slow
    return read(directory / "out")


def _wait_for(origin_ns: int, second: float) -> None:
    until(f"second {second} of the run", lambda: time.monotonic_ns() - origin_ns >= second * SECOND, timeout=SECONDS)


@contextmanager
def _busy(programs: Sequence[tuple[str, ...]]) -> Iterator[None]:
    """Programs that want a core each and do nothing with it."""
    started = [subprocess.Popen([sys.executable, "-c", *program]) for program in programs]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Window:
    start: int
    """Seconds; it lasts WINDOW_S."""
    moved: float
    """By which share the median of routing latency is above that of the quiet run's same seconds."""
    marked: bool

    @property
    def wrong(self) -> bool:
        return abs(self.moved - MOVED) > NEAR and self.marked != (self.moved > MOVED)

    def __str__(self) -> str:
        return f"{self.start} s {self.moved:+.1%}{' marked' if self.marked else ''}"


def _windows(alone: Run, busy: Run) -> list[Window]:
    found = []
    for start in range(FROM_S, SECONDS - WINDOW_S, WINDOW_S):
        quiet, moved = (_median(run, start) for run in (alone, busy))
        middle = start + WINDOW_S / 2
        marked = any(b.what == WHAT and b.from_s <= middle <= b.to_s for b in busy.validity.stretches)
        found.append(Window(start, round(moved / quiet - 1, 4), marked))
    return found


def _median(run: Run, start: int) -> float:
    """Of requests that left their host, ns."""
    requests = run.everyone.requests
    mask = requests.ok & (requests.hops > 0) & (requests.issued >= start * SECOND)
    return float(np.median(requests.routing_ns[mask & (requests.issued < (start + WINDOW_S) * SECOND)]))
