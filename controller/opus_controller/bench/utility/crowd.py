"""A regional crowd for one of two applications (`scenarios/rush.yaml`), played by the whole overlay in the simulator."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from opus_controller.bench.agree import play_into
from opus_controller.bench.overlay.experiments import Figures
from opus_controller.model.compile import compile_plan
from opus_controller.model.scenario import find, load_scenario
from opus_controller.report.build import build
from opus_controller.report.run import read
from opus_controller.runtimes.sim import SimRuntime

SCENARIO = "rush"


def rush(seed: int) -> Figures:
    """`follow_s`: from the crowd's begin until half of the hosts that it will have are there (the shop's); `short_s`: for how
    long any application held less than its floor; `share`: all that was felt / all that the applications could be worth."""
    plan = compile_plan(load_scenario(find("scenarios", SCENARIO)), seed)
    with TemporaryDirectory(prefix="opus-bench-") as place:
        out = Path(place) / "run"
        play_into(out, plan, SimRuntime(trace=False))
        told = build(read(out)).utility
    assert told is not None, "both of its applications have a utility"
    never = float("inf")
    return {
        "follow_s": never if told.follow_s is None else told.follow_s,
        "short_s": never if told.short_s is None else told.short_s,
        "share": told.share or 0.0,
    }
