"""Quantities as people write them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from opus_controller.model import units

GOOD: list[tuple[Callable[[object], float], object, float]] = [
    (units.parse_duration, "30ms", 30_000_000),
    (units.parse_duration, "1.5s", 1_500_000_000),
    (units.parse_duration, "250us", 250_000),
    (units.parse_duration, "250µs", 250_000),
    (units.parse_duration, "7ns", 7),
    (units.parse_duration, "2m", 120_000_000_000),
    (units.parse_duration, "1m30s", 90_000_000_000),
    (units.parse_duration, "1h", 3_600_000_000_000),
    (units.parse_duration, " 5 s ", 5_000_000_000),
    (units.parse_duration, 0, 0),
    (units.parse_rate, "5Mbit", 5_000_000),
    (units.parse_rate, "1Gbit/s", 1_000_000_000),
    (units.parse_rate, "64kbit", 64_000),
    (units.parse_rate, "2.5mbit", 2_500_000),
    (units.parse_size, "512MiB", 512 << 20),
    (units.parse_size, "64kB", 64_000),
    (units.parse_size, "1500B", 1500),
    (units.parse_size, 0, 0),
    (units.parse_share, "1%", 0.01),
    (units.parse_share, "0.1%", 0.001),
    (units.parse_share, "100%", 1.0),
    (units.parse_share, 0, 0.0),
    (units.parse_offset, "3s", 3_000_000_000),
    (units.parse_offset, "-200ms", -200_000_000),
    (units.parse_drift, "200ppm", 200),
    (units.parse_drift, "-1.5%", -15_000),
    (units.parse_frequency, "0.5/s", 0.5),
    (units.parse_frequency, "30/min", 0.5),
    (units.parse_frequency, "7200/h", 2.0),
]


@pytest.mark.parametrize(("parse", "text", "value"), GOOD)
def test_read(parse: Callable[[object], float], text: object, value: float) -> None:
    assert parse(text) == value
    assert type(parse(text)) is type(value)


BAD: list[tuple[Callable[[object], float], object, str]] = [
    (units.parse_duration, 30, "30 has no unit (did you mean 30ms or 30s?)"),
    (units.parse_duration, "30", "no unit"),
    (units.parse_duration, "-30ms", "negative"),
    (units.parse_duration, "30 parsecs", "not a duration"),
    (units.parse_duration, "1e3s", "not a duration"),
    (units.parse_duration, "ms", "not a duration"),
    (units.parse_duration, "", "not a duration"),
    (units.parse_duration, True, "not a duration"),
    (units.parse_duration, None, "not a duration"),
    (units.parse_duration, ["1s"], "not a duration"),
    (units.parse_duration, float("nan"), "not a duration"),
    (units.parse_duration, "900000000000h", "longer than a century"),
    (units.parse_rate, "5Mbps", "bits to some and bytes to tc(8)"),
    (units.parse_rate, "5MB", "not a rate"),
    (units.parse_rate, 0, "no unit"),
    (units.parse_rate, "0Mbit", "no rate a link can have"),
    (units.parse_size, "64kb", "not a size"),
    (units.parse_size, "64k", "not a size"),
    (units.parse_size, 65536, "no unit"),
    (units.parse_share, 0.5, "(did you mean 0.5% or 50%?)"),
    (units.parse_share, 1, "(did you mean 1% or 100%?)"),
    (units.parse_share, "100.1%", "more than all"),
    (units.parse_share, "-1%", "negative"),
    (units.parse_offset, "0s", "not a time ahead"),
    (units.parse_offset, 3, "not a time ahead"),
    (units.parse_drift, "200", "not a drift"),
    (units.parse_drift, "0ppm", "not a drift"),
    (units.parse_frequency, 20, "no unit (did you mean 20/s?)"),
    (units.parse_frequency, "0/s", "out of range"),
    (units.parse_frequency, "20/fortnight", "not a frequency"),
]


@pytest.mark.parametrize(("parse", "text", "message"), BAD)
def test_refused_in_one_line_that_says_what_is_allowed(parse: Callable[[object], float], text: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is asserted below)
        parse(text)
    assert message in str(caught.value)
    assert "allowed: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_written_short() -> None:
    assert units.format_duration(30_000_000) == "30ms"
    assert units.format_duration(1_500_000_000) == "1.5s"
    assert units.format_duration(74_840_000) == "74.84ms"
    assert units.format_duration(0) == "0s"
    assert units.format_offset(-200_000_000) == "200ms behind"
    assert units.format_rate(100_000_000) == "100Mbit"
    assert units.format_size(256 << 10) == "256KiB"
    assert units.format_size(2_500_000) == "2.5MB"
    assert units.format_share(0.001) == "0.1%"
    assert units.format_frequency(0.5) == "0.5/s"


def test_quoted_values_stay_on_one_short_line() -> None:
    assert units.shown("a\nb\x00" + "c" * 100) == '"a b ' + "c" * 33 + '..."'
