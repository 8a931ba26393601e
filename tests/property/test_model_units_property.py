"""What is written is read back as the same value, for every value."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from opus_controller.model import units


@given(st.integers(0, units.LONGEST))
def test_durations(ns: int) -> None:
    assert units.parse_duration(units.format_duration(ns)) == ns


@given(st.integers(1, 10**15))
def test_rates(bps: int) -> None:
    assert units.parse_rate(units.format_rate(bps)) == bps


@given(st.integers(0, 1 << 60))
def test_sizes(size: int) -> None:
    assert units.parse_size(units.format_size(size)) == size


@given(st.decimals(0, 100, places=9))
def test_shares(percent: Decimal) -> None:
    share = float(percent / 100)
    assert units.parse_share(units.format_share(share)) == share


@given(st.integers(1, 10**12))
def test_frequencies(millionths: int) -> None:
    per_second = millionths / 1e6
    assert units.parse_frequency(units.format_frequency(per_second)) == per_second


@given(st.text() | st.integers() | st.floats() | st.booleans() | st.none() | st.lists(st.integers()))
def test_anything_else_is_refused_in_one_line(value: object) -> None:
    for parse in (units.parse_duration, units.parse_rate, units.parse_size, units.parse_share, units.parse_frequency):
        try:
            assert parse(value) >= 0
        except ValueError as error:
            message = str(error)
            assert "allowed: " in message
            assert len(message.splitlines()) == 1
