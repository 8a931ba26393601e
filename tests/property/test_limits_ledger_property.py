"""Overlapping strains of processor and memory, undone in any order, with restarts in between: cgroups have what is asked for."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from helpers.fake_runtime import small_plan
from helpers.limited import Limited
from helpers.timelines import timelines
from hypothesis import given, settings
from opus_controller.model.plan import Fault, Strain, Target
from opus_controller.model.shapes import HostChange
from opus_controller.runtimes.hosts import state
from opus_controller.runtimes.hosts.cgroups import Mounts


def _mounts(version: int, base: Path) -> Mounts:
    for name in ("cpu", "memory"):
        (base / name).mkdir()
    return Mounts(v2=base) if version == 2 else Mounts(cpu=base / "cpu", memory=base / "memory")


@pytest.mark.parametrize("version", [1, 2])
@given(timelines())
@settings(max_examples=40, deadline=None)
def test_cgroups_have_in_force_what_the_rest_asks_for(version: int, faults: list[Fault]) -> None:
    plan = small_plan()
    with TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "STATE_DIR", Path(place) / "state")
        limited = Limited(plan, state.make(plan, mode="run", runtime="netns", record=None), _mounts(version, Path(place)))
        for found in limited.differences(plan, faults):
            assert found == []


def test_whatever_else_is_in_force_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "STATE_DIR", tmp_path / "state")
    plan = small_plan()
    limited = Limited(plan, state.make(plan, mode="run", runtime="netns", record=None), _mounts(1, tmp_path))
    assert limited.differs(plan, []) == []
    for change in (HostChange(cpu=0.5), HostChange(memory=100 << 20)):
        strain = Strain(kind="strain", at_ns=0, name="weak", target=Target(text="", hosts=("b-1",)), change=change)
        (line,) = limited.differs(plan, [strain])
        assert line.startswith("b-1: [1.0] cores")
