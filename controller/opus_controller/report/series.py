"""Figures over time for plots: windows of equal width over the span in which requests were issued."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from opus_controller.report.requests import Requests
from opus_controller.report.run import SECOND, Run
from opus_controller.report.world import Bools

Floats = npt.NDArray[np.float64]
MOST_WINDOWS = 300
WIDTHS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)


@dataclass(frozen=True)
class Windows:
    """w windows; NaN where nothing was issued (availability) or answered (latencies)."""

    width_s: int
    start_s: Floats
    issued: npt.NDArray[np.int64]
    availability: Floats
    quantiles_ms: dict[float, Floats]
    """Of routing latency."""


def width_s(run: Run) -> int:
    """One second, as recovery is counted, or the least round width that gives no more than MOST_WINDOWS."""
    seconds = run.end / SECOND
    return next((w for w in WIDTHS_S if seconds / w <= MOST_WINDOWS), WIDTHS_S[-1])


def windows(run: Run, mask: Bools | None = None, quantiles: tuple[float, ...] = ()) -> Windows:
    """The run's requests (those of `mask`) by time of issue."""
    requests = run.everyone.requests if mask is None else run.everyone.requests.where(mask)
    width = width_s(run)
    n = max(1, -(-run.end // (width * SECOND)))
    edges = np.arange(n + 1, dtype=np.int64) * width * SECOND
    edges[-1] = max(int(edges[-1]), run.end + 1)
    bounds = np.searchsorted(requests.issued, edges)
    issued = np.diff(bounds)
    ok = np.diff(np.concatenate([[0], np.cumsum(requests.ok)])[bounds])
    availability = np.where(issued > 0, ok / np.maximum(issued, 1), np.nan)
    return Windows(width, edges[:-1] / SECOND, issued, availability, {q: _quantile(requests, bounds, q) for q in quantiles})


def _quantile(requests: Requests, bounds: npt.NDArray[np.int64], q: float) -> Floats:
    values = np.full(len(bounds) - 1, np.nan)
    routing = requests.routing_ns / 1e6
    for i, (low, high) in enumerate(pairwise(bounds.tolist())):
        of_window = routing[low:high][requests.ok[low:high]]
        if len(of_window):
            values[i] = np.quantile(of_window, q)
    return values


def distribution(values: Floats, points: int = 300) -> tuple[Floats, Floats]:
    """(value, share of values up to it) at evenly spaced shares: a CDF that stays small however many values there are."""
    shares = np.linspace(0.0, 1.0, min(points, max(2, len(values))))
    return np.quantile(values, shares), shares
