"""Figures as text, alike in all claims."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite

from opus_controller.bench.overlay import statistics
from opus_controller.bench.overlay.statistics import Estimate

NONE = "-"


def number(value: float | None, digits: int = 1) -> str:
    return NONE if value is None or not isfinite(value) else f"{value:,.{digits}f}"


def percent(share: float | None, digits: int = 1) -> str:
    return NONE if share is None or not isfinite(share) else f"{100 * share:.{digits}f}%"


def ms(value: float | None, digits: int = 1) -> str:
    return NONE if value is None or not isfinite(value) else f"{value:,.{digits}f} ms"


def estimate(found: Estimate, digits: int = 1, scale: float = 1.0) -> str:
    """With its 95% interval, if it rests on more than one."""
    text = number(found.value * scale, digits)
    if found.count > 1 and isfinite(found.low) and isfinite(found.high):
        text += f" [{number(found.low * scale, digits)}, {number(found.high * scale, digits)}]"
    return text


def mean(values: Iterable[float | None]) -> Estimate:
    """Over seeds; those without a figure are left out."""
    return statistics.mean([value for value in values if value is not None])


def listed(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + (" and " if len(words) > 1 else "") + words[-1] if words else "none"
