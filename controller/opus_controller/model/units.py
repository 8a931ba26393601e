"""Quantities as people write them, and the integers (or shares) behind them.

    duration   "30ms", "1.5s", "250us", "2m", "1m30s"    integer nanoseconds
    rate       "5Mbit", "1Gbit", "64kbit"                integer bits per second
    size       "512MiB", "64kB", "1500B"                 integer bytes
    share      "1%", "0.1%"                              float in [0, 1]
    frequency  "20/s", "30/min"                          float per second

A bare number is refused everywhere but for 0, because "jitter: 5" is 5 ms to one reader and 5 s to another. Every
parser raises ValueError with one line that says what is wrong and what is allowed; every `format_*` is the exact
inverse of its parser.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

SECOND: Final = 1_000_000_000

DURATION_UNITS: Final[Mapping[str, int]] = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": SECOND,
    "m": 60 * SECOND,
    "min": 60 * SECOND,
    "h": 3600 * SECOND,
}
RATE_UNITS: Final[Mapping[str, int]] = {"bit": 1, "kbit": 10**3, "Mbit": 10**6, "Gbit": 10**9, "Tbit": 10**12}
SIZE_UNITS: Final[Mapping[str, int]] = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
}
FREQUENCY_UNITS: Final[Mapping[str, int]] = {"s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600}

DURATION_ALLOWED: Final = 'a number with ns, us, ms, s, m (minutes) or h, such as "30ms"'
RATE_ALLOWED: Final = 'a number with bit, kbit, Mbit or Gbit (per second), such as "5Mbit"'
SIZE_ALLOWED: Final = 'a number with B, kB, MB, GB, KiB, MiB or GiB, such as "256KiB"'
SHARE_ALLOWED: Final = 'a percentage from 0% to 100%, such as "0.1%"'
OFFSET_ALLOWED: Final = 'a duration, with a minus for one behind, such as "3s" or "-200ms"'
DRIFT_ALLOWED: Final = 'millionths or a percentage, with a minus for too slow, such as "200ppm" or "-1%"'
FREQUENCY_ALLOWED: Final = 'a number a second, minute or hour, such as "20/s" or "30/min"'

LONGEST: Final = 100 * 365 * 24 * 3600 * SECOND
"""A century: what is longer is a slip of the keyboard, and would not fit in 63 bits of nanoseconds for long."""

_NUMBER = r"[0-9]{1,20}(?:\.[0-9]{1,20})?"
DURATION_PATTERN: Final = rf"^\s*(?:{_NUMBER}\s*(?:ns|us|µs|ms|min|s|m|h))+\s*$|^\s*0\s*$"
RATE_PATTERN: Final = rf"^\s*{_NUMBER}\s*[kKmMgGtT]?[bB][iI][tT](?:/s)?\s*$"
SIZE_PATTERN: Final = rf"^\s*{_NUMBER}\s*(?:B|[kK]B|[MGT]B|[KMGT]iB)\s*$|^\s*0\s*$"
SHARE_PATTERN: Final = rf"^\s*{_NUMBER}\s*%\s*$|^\s*0\s*$"
OFFSET_PATTERN: Final = rf"^\s*-?\s*(?:{_NUMBER}\s*(?:ns|us|µs|ms|min|s|m|h))+\s*$"
DRIFT_PATTERN: Final = rf"^\s*-?\s*{_NUMBER}\s*(?:ppm|%)\s*$"
FREQUENCY_PATTERN: Final = rf"^\s*{_NUMBER}\s*/\s*(?:s|sec|min|m|h)\s*$"


def shown(value: object) -> str:
    """A value as an error message quotes it: on one line, at most 40 characters of it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, int | float):
        return str(value)
    text = "".join(c if c.isprintable() else " " for c in str(value))
    return f'"{text if len(text) <= 40 else text[:37] + "..."}"'


def parse_duration(value: object) -> int:
    """Nanoseconds of "30ms" or "1m30s"; 0 may stand bare."""
    if _is_zero(value):
        return 0
    _refuse_bare(value, "duration", DURATION_ALLOWED, "ms")
    text = str(value).strip()
    if not isinstance(value, str) or not re.fullmatch(DURATION_PATTERN, text):
        raise _not_a(value, "duration", DURATION_ALLOWED)
    total = Decimal(0)
    for number, unit in re.findall(rf"({_NUMBER})\s*(ns|us|µs|ms|min|s|m|h)", text):
        total += Decimal(number) * DURATION_UNITS[unit]
    if total > LONGEST:
        raise ValueError(f"{shown(value)} is longer than a century; allowed: {DURATION_ALLOWED}")
    return _whole(total)


def parse_rate(value: object) -> int:
    """Bits per second of "5Mbit" or "5Mbit/s"; upper and lower case are one, as in tc(8)."""
    _refuse_bare(value, "rate", RATE_ALLOWED, "Mbit")
    match = re.fullmatch(rf"\s*({_NUMBER})\s*([a-zA-Z]+)(?:/s)?\s*", value) if isinstance(value, str) else None
    if match is None:
        raise _not_a(value, "rate", RATE_ALLOWED)
    unit = match[2].lower()
    if unit.endswith("bps"):
        raise ValueError(f"{shown(value)}: {match[2]} is bits to some and bytes to tc(8); allowed: {RATE_ALLOWED}")
    by_lower = {name.lower(): factor for name, factor in RATE_UNITS.items()}
    if unit not in by_lower:
        raise _not_a(value, "rate", RATE_ALLOWED)
    bps = _whole(Decimal(match[1]) * by_lower[unit])
    if not 1 <= bps <= 10**15:
        raise ValueError(f"{shown(value)} is no rate a link can have; allowed: {RATE_ALLOWED}, at least 1bit")
    return bps


def parse_size(value: object) -> int:
    """Bytes of "512MiB" (1024s) or "64kB" (1000s); 0 may stand bare."""
    if _is_zero(value):
        return 0
    _refuse_bare(value, "size", SIZE_ALLOWED, "kB")
    match = re.fullmatch(rf"\s*({_NUMBER})\s*([a-zA-Z]+)\s*", value) if isinstance(value, str) else None
    if match is None or match[2] not in SIZE_UNITS:
        raise _not_a(value, "size", SIZE_ALLOWED)
    size = _whole(Decimal(match[1]) * SIZE_UNITS[match[2]])
    if size > 1 << 60:
        raise ValueError(f"{shown(value)} is more than any machine holds; allowed: {SIZE_ALLOWED}")
    return size


def parse_share(value: object) -> float:
    """A share in [0, 1] of "1%"; 0 may stand bare."""
    if _is_zero(value):
        return 0.0
    _refuse_bare(value, "share", SHARE_ALLOWED, "%")
    match = re.fullmatch(rf"\s*({_NUMBER})\s*%\s*", value) if isinstance(value, str) else None
    if match is None:
        raise _not_a(value, "share", SHARE_ALLOWED)
    percent = Decimal(match[1])
    if percent > 100:
        raise ValueError(f"{shown(value)} is more than all; allowed: {SHARE_ALLOWED}")
    return float(percent / 100)


def parse_offset(value: object) -> int:
    """Nanoseconds of "3s" or "-200ms"; other than none."""
    text = value.strip() if isinstance(value, str) else ""
    try:
        size = parse_duration(text.removeprefix("-")) if text else 0
    except ValueError:
        size = 0
    if not size:
        raise _not_a(value, "time ahead", OFFSET_ALLOWED)
    return -size if text.startswith("-") else size


def parse_drift(value: object) -> int:
    """Millionths of "200ppm" or "-1%"; other than none."""
    match = re.fullmatch(rf"\s*(-?)\s*({_NUMBER})\s*(ppm|%)\s*", value) if isinstance(value, str) else None
    size = _whole(Decimal(match[2]) * (1 if match[3] == "ppm" else 10_000)) if match else 0
    if match is None or not size:
        raise _not_a(value, "drift", DRIFT_ALLOWED)
    return -size if match[1] else size


def parse_frequency(value: object) -> float:
    """Times per second of "20/s" or "30/min"; more than none."""
    _refuse_bare(value, "frequency", FREQUENCY_ALLOWED, "/s")
    match = re.fullmatch(rf"\s*({_NUMBER})\s*/\s*([a-z]+)\s*", value) if isinstance(value, str) else None
    if match is None or match[2] not in FREQUENCY_UNITS:
        raise _not_a(value, "frequency", FREQUENCY_ALLOWED)
    per_second = float(Decimal(match[1]) / FREQUENCY_UNITS[match[2]])
    if not 1e-9 <= per_second <= 1e7:
        raise ValueError(f"{shown(value)} is out of range; allowed: {FREQUENCY_ALLOWED}, more than 0, at most 10000000/s")
    return per_second


def format_duration(ns: int) -> str:
    """The shortest exact form: 1500000000 is "1.5s", 90 s is "90s"."""
    for unit in ("s", "ms", "us"):
        factor = DURATION_UNITS[unit]
        if ns % factor == 0 or (ns >= factor and ns % (factor // 1000) == 0):
            return f"{_plain(Decimal(ns) / factor)}{unit}" if ns else "0s"
    return f"{ns}ns"


def format_offset(ns: int) -> str:
    """ "3s ahead", "200ms behind"."""
    return f"{format_duration(abs(ns))} {'ahead' if ns >= 0 else 'behind'}"


def format_rate(bps: int) -> str:
    for unit in ("Tbit", "Gbit", "Mbit", "kbit"):
        factor = RATE_UNITS[unit]
        if bps >= factor and bps % (factor // 1000) == 0:
            return f"{_plain(Decimal(bps) / factor)}{unit}"
    return f"{bps}bit"


def format_size(size: int) -> str:
    """Binary units where they fit exactly, else decimal, else bytes."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size >= SIZE_UNITS[unit] and size % SIZE_UNITS[unit] == 0:
            return f"{size // SIZE_UNITS[unit]}{unit}"
    for unit in ("TB", "GB", "MB", "kB"):
        if size >= SIZE_UNITS[unit] and size % (SIZE_UNITS[unit] // 1000) == 0:
            return f"{_plain(Decimal(size) / SIZE_UNITS[unit])}{unit}"
    return f"{size}B"


def format_share(share: float) -> str:
    return f"{_plain(Decimal(repr(share)) * 100)}%"


def format_frequency(per_second: float) -> str:
    return f"{_plain(Decimal(repr(per_second)))}/s"


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _whole(value: Decimal) -> int:
    return int(value.to_integral_value(ROUND_HALF_EVEN))


def _is_zero(value: object) -> bool:
    return (isinstance(value, int | float) and not isinstance(value, bool) and value == 0) or value == "0"


def _refuse_bare(value: object, what: str, allowed: str, unit: str) -> None:
    """Say that the unit is missing, rather than that the number is wrong, where that is the slip."""
    bare = isinstance(value, int | float) and not isinstance(value, bool)
    if bare or (isinstance(value, str) and re.fullmatch(rf"\s*-?{_NUMBER}\s*", value)):
        number = str(value).strip()
        if number.startswith("-"):
            raise ValueError(f"{number} is negative and has no unit; allowed: {allowed}")
        if number in ("nan", "inf"):
            raise _not_a(value, what, allowed)
        meant = f"{number}{unit}"
        if unit == "ms":
            meant += f" or {number}s"
        elif unit == "%" and 0 < Decimal(number) <= 1:
            meant += f" or {_plain(Decimal(number) * 100)}%"
        raise ValueError(f"{number} has no unit (did you mean {meant}?); allowed: {allowed}")


def _not_a(value: object, what: str, allowed: str) -> ValueError:
    if isinstance(value, str) and value.strip().startswith("-"):
        return ValueError(f"{shown(value)} is negative; allowed: {allowed}")
    return ValueError(f"{shown(value)} is not a {what}; allowed: {allowed}")
