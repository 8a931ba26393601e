"""The figures of one run as a flat list of numbers, and how a change of each is best told: as a ratio or as a difference.

Names and units are those of expectations (`model.expectations.FIGURES`), which are those of result.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isinf
from typing import Any, Final, Literal

from opus_controller.engine.checks import lookup
from opus_controller.model.expectations import FIGURES, SHED
from opus_controller.report import words

Scale = Literal["ratio", "difference"]
Measures = Mapping[str, float | None]
"""None: nothing was measured. Infinite: from a fault there was no recovery."""

REACHABLE: Final = "requests.reachable.availability"
RECOVERY: Final = "recovery_s.max"
NAMES: Final[tuple[str, ...]] = ("availability", REACHABLE, *(name for name in FIGURES if name != "availability"))
_RATIO_HEADS: Final = (
    "routing_latency_ms",
    "request_latency_ms",
    "regret_ms",
    "stretch",
    "cost_of_self_organization",
    "control_bytes_per_s",
)
_WHOLE: Final = (
    "hops.p50", "hops.max", "requests.issued", "requests.ok", "requests.failed", SHED, "agents", "state_entries", RECOVERY,
)  # fmt: skip
"""Counted in steps of 1 (quantiles of whole numbers, recovery in windows of 1 s)."""

_FINE: Final = ("stretch", "cost_of_self_organization", "hops.mean")


def of(result: Mapping[str, Any]) -> dict[str, float | None]:
    """Every name of `NAMES`, of a parsed result.json."""
    figures = {**result, RECOVERY.split(".")[0]: {"max": _recovery(result.get("faults") or ())}}
    return {name: _lookup(figures, name) for name in NAMES}


def _lookup(figures: Mapping[str, Any], name: str) -> float | None:
    try:
        return lookup(figures, name)
    except KeyError:  # of a version of Opus that did not have this figure
        return None


def _recovery(faults: Any) -> float | None:
    """The longest; infinite if from one there was none; None if one has no requests to tell by (see report.build)."""
    if not faults or any(fault["recovered"] is None for fault in faults):
        return None
    return max(inf if fault["recovery_s"] is None else float(fault["recovery_s"]) for fault in faults)


def scale(name: str) -> Scale:
    """Ratios for what multiplies (latencies, bytes); differences for shares, counts and what may be 0."""
    return "ratio" if name.split(".")[0] in _RATIO_HEADS else "difference"


def step(name: str) -> float:
    """How coarsely a figure is measured: 1 for what is counted, 0 for what is continuous."""
    return 1.0 if any(name == head or name.startswith(f"{head}.") for head in _WHOLE) else 0.0


def is_share(name: str) -> bool:
    return name.rpartition(".")[2] in ("availability", "share")


def most(name: str) -> float:
    """What a figure cannot exceed."""
    return 1.0 if is_share(name) else inf


def plain(name: str, value: float | None) -> str:
    """A value without its unit, which the figure's name has; shares in percent."""
    if value is not None and isinf(value):
        return "no recovery" if name == RECOVERY else "∞"
    if is_share(name):
        return words.share(value)
    return words.ratio(value) if name in _FINE else words.number(value)
