"""The comparison of `opus bench agree`, the simulator standing in for the real hosts: what is told is the hop's cost alone."""

from __future__ import annotations

import pytest
from helpers import tiny
from opus_controller.bench import agree
from opus_controller.bench.agreement import Line, Spans, felt, lines
from opus_controller.model.compile import compile_plan
from opus_controller.model.scenario import load_scenario
from opus_controller.report.conclude import judge
from opus_controller.report.run import read
from opus_controller.runtimes.sim import SimRuntime
from opus_controller.runtimes.sim.costs import HopCost


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Line]:
    """Hosts whose hops take 6 ms, beside a simulator that knows it and one that thinks 0.5 ms; the network's 22 ms in all."""
    place = tmp_path_factory.mktemp("agree")
    plan = compile_plan(load_scenario(tiny.write(place / "scenario")))
    sides = []
    spans: Spans = ()
    for name, ms in (("real", 6.0), ("sim", 6.0), ("sim-release", 0.5)):
        agree.play_into(place / name, plan, SimRuntime(hop_cost=HopCost(round(ms * 1e6), "of this test")))
        if name == "real":
            spans, notes = agree.left_out(place / name)
            assert list(notes) == []
        assert judge(place / name).plan_digest == plan.digest
        sides.append(felt(read(place / name), spans))
    return lines("tiny", *sides)


def test_one_plan_twice_agrees_to_the_nanosecond(found: list[Line]) -> None:
    assert [line.off for line in found] == [0] * len(found)
    assert all(line.ok for line in found)


def test_a_wrong_hop_cost_is_seen(found: list[Line]) -> None:
    median = found[0]
    assert median.real - median.release == pytest.approx(5.5, abs=0.6)
    assert median.off_release > 0.2
