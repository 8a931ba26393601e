"""From expectations and figures to a verdict. Knows nothing of how a figure is made: whoever calls says what it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from opus_controller.model.plan import Expectation

Verdict = Literal["pass", "fail", "invalid"]
Figures = Mapping[str, Any]
"""Nested as in result.json: {"hops": {"max": 2}, ...}."""

ALIASES: Mapping[str, str] = {"availability": "requests.availability"}
"""Short names that a scenario may use for a figure."""


@dataclass(frozen=True)
class Check:
    """One expectation, judged."""

    name: str
    target: float
    actual: float | None
    """None: there was no such figure, or (for a recovery) it had no end."""
    ok: bool
    op: str
    figure: str = ""
    """As the expectation names it; its unit is in its name."""
    note: str = ""
    """Why there is no figure, or what a reader should know of it."""


def lookup(figures: Figures, path: str) -> float | None:
    """The number at a dotted path ("routing_latency_ms.p50"); None where there is no number (nothing was measured).

    A KeyError for a path that the figures do not know at all: a spelling mistake is not "no data".
    """
    here: Any = figures
    for part in ALIASES.get(path, path).split("."):
        if not isinstance(here, Mapping):
            if here is None:
                return None
            raise KeyError(path)
        here = here[part]
    if here is None:
        return None
    if isinstance(here, bool) or not isinstance(here, int | float):
        raise KeyError(path)
    return float(here)


def holds(actual: float, op: str, bound: float) -> bool:
    """Whether `actual op bound`; "==" allows for the last digits of a division. NaN never holds."""
    match op:
        case "<=":
            return actual <= bound
        case ">=":
            return actual >= bound
        case "==":
            return math.isclose(actual, bound, rel_tol=1e-9, abs_tol=1e-12)
    raise ValueError(f"unknown comparison {op!r}")


def judge(expectation: Expectation, figures: Figures) -> Check:
    """One expectation against the figures it is about. No data fails: silence is no proof of health."""
    note = ""
    try:
        actual = lookup(figures, expectation.figure)
    except KeyError:
        actual, note = None, f"no such figure: {expectation.figure}"
    if actual is None:
        ok, note = False, note or "no data"
    elif math.isinf(actual):
        ok, actual, note = False, None, "did not recover" if expectation.figure.startswith("recovery_s") else "never, by the end"
    else:
        ok = holds(actual, expectation.op, expectation.bound)
    return Check(expectation.name, expectation.bound, actual, ok, expectation.op, expectation.figure, note)


def evaluate(expectations: Iterable[Expectation], figures: Callable[[Expectation], Figures]) -> list[Check]:
    """Every expectation against what `figures` gives for it (its application, site, time spans and reach)."""
    return [judge(expectation, figures(expectation)) for expectation in expectations]


def verdict(checks: Iterable[Check], invalid_reasons: Iterable[str] = ()) -> Verdict:
    """invalid before all else: figures of a testbed that was too busy prove neither success nor failure."""
    if any(True for _ in invalid_reasons):
        return "invalid"
    return "pass" if all(check.ok for check in checks) else "fail"
