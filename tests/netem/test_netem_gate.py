"""The fidelity gate over netem: the kernel's own shapes, changed behind the controller's back."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.fidelity.gated import gate_over
from helpers.fidelity.live import network_of
from opus_controller.model.shapes import AccessLink, Direction, HostChange, PathShape

pytestmark = pytest.mark.netem

MS = 1_000_000
TEN = network_of(
    dict.fromkeys("abc", AccessLink()), {pair: PathShape(delay_ns=5 * MS) for pair in (("a", "b"), ("b", "a"))}
)  # fmt: skip


def test_a_link_of_10_ms_that_is_really_15_ms_is_caught_and_a_right_one_passes(tmp_path: Path) -> None:
    wrong = PathShape(delay_ns=7_500_000)
    gate = gate_over("netem", TEN, {("a", "b"): wrong, ("b", "a"): wrong}, tmp_path)
    (line,) = gate.wrong
    assert "10 ms asked, " in line
    assert gate_over("netem", TEN, {}, tmp_path).wrong == []


@pytest.mark.parametrize("rate", [1_000_000, 10_000_000])
def test_half_of_a_rate_is_caught_on_every_way_that_told_and_a_right_one_passes(tmp_path: Path, rate: int) -> None:
    wide = Direction(rate_bps=rate)
    network = network_of(dict.fromkeys("abc", AccessLink(up=wide, down=wide)), {})
    halved = gate_over("netem", network, {}, tmp_path, dict.fromkeys("abc", HostChange(up_bps=rate // 2)))
    told = [one for one in halved.rates if one.measured_bps is not None]
    assert told
    assert all(one.wrong for one in told), told
    assert [one.wrong for one in gate_over("netem", network, {}, tmp_path).rates if one.wrong] == []
