"""What a plan's faults need of the machine is looked at before anything starts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from helpers.fake_runtime import SECOND, small_plan
from opus_controller.engine.needs import check_machine
from opus_controller.engine.play import play
from opus_controller.engine.record import RunRecord
from opus_controller.model.errors import PlatformError
from opus_controller.model.plan import Fault, HostFault, Plan, Strain, Target
from opus_controller.model.shapes import HostChange
from opus_controller.net.choose import Choice
from opus_controller.runtimes.hosts import state
from opus_controller.runtimes.netns import NetnsRuntime

A1 = Target(text="a-1", hosts=("a-1",))
NOTHING = {"cpu": "no cpu; mount it", "memory": "no memory; mount it", "freezer": "no freezer; mount it"}


def strain(change: HostChange) -> Strain:
    return Strain(kind="strain", at_ns=2 * SECOND, name="slow", target=A1, change=change)


PAUSE = HostFault(kind="pause", at_ns=SECOND, name="nap", target=A1)


@pytest.mark.parametrize(
    ("fault", "lacking"),
    [
        (strain(HostChange(cpu=0.5)), "cpu"),
        (strain(HostChange(memory=64 << 20)), "memory"),
        (strain(HostChange(cpu=0.5, memory=64 << 20)), "memory"),
        (PAUSE, "freezer"),
    ],
)
def test_a_fault_that_needs_what_the_machine_lacks_is_refused_in_one_line(fault: Fault, lacking: str) -> None:
    with pytest.raises(PlatformError) as refused:
        check_machine([fault], lambda: {lacking: NOTHING[lacking]})
    assert str(refused.value) == f"{fault.kind} '{fault.name}': no {lacking}; mount it"
    assert refused.value.exit_code == 3
    check_machine([fault], lambda: {other: why for other, why in NOTHING.items() if other not in ("cpu", lacking)})


def test_nothing_is_looked_at_for_faults_that_need_nothing() -> None:
    def lacks() -> Mapping[str, str]:
        raise AssertionError("nobody needs to know")

    crash = HostFault(kind="crash", at_ns=SECOND, name="loss", target=A1)
    check_machine([crash, strain(HostChange(up_bps=1_000, clock_ns=5))], lacks)


class Lacking(NetnsRuntime):
    def _lacking(self, plan: Plan) -> dict[str, str]:
        return NOTHING


def test_such_a_run_ends_before_it_starts(tmp_path: Path) -> None:
    plan, before = small_plan(strain(HostChange(cpu=0.5))), state.everything()
    record = RunRecord.at(tmp_path / "out", plan)
    outcome = asyncio.run(play(plan, Lacking(Choice("userspace", "asked for")), record))
    record.close()
    assert (outcome.ended, outcome.exit_code) == ("failed", 3)
    assert str(outcome.error) == "strain 'slow': no cpu; mount it"
    assert state.everything() == before, "nothing of it has been made"
