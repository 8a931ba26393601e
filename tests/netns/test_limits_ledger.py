"""The same as tests/property/test_limits_ledger_property.py, read back from this machine's kernel."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from helpers.fake_runtime import small_plan
from helpers.limited import Limited
from helpers.timelines import timelines
from hypothesis import HealthCheck, Phase, given, settings
from opus_controller.model.plan import Fault
from opus_controller.runtimes.hosts import cgroups, state

pytestmark = pytest.mark.netns


@given(timelines())
@settings(max_examples=20, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
def test_the_kernel_has_in_force_what_the_rest_asks_for(faults: list[Fault]) -> None:
    plan = small_plan()
    with TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "STATE_DIR", Path(place))
        mounts = cgroups.find_mounts(Path("/proc/self/mountinfo").read_text())
        limited = Limited(plan, state.make(plan, mode="run", runtime="netns", record=None), mounts)
        if limited.limits.refused:
            pytest.skip(limited.limits.refused)
        try:
            for found in limited.differences(plan, faults):
                assert found == []
        finally:
            assert set(cgroups.remove(limited.limits.directories)) == set(limited.limits.directories)
