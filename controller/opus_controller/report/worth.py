"""What applications were worth while a run lasted: what clients really felt, through their utilities (docs/utility.md).

By windows of WIDTH_S in which requests of the application were issued: the share answered in time, the latency of those answered
at the utility's quantile, and how many a second they were. What was expected when hosts were divided is `opus explain`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from opus_controller.model.plan import App, Utility
from opus_controller.report import result
from opus_controller.report.requests import Requests

SECOND = 1_000_000_000
WIDTH_S = 5
"""Long enough for a quantile of a few requests a second, short enough to show a crowd."""


def summary(
    apps: Sequence[App], requests: Requests, decided: Sequence[Mapping[str, Any]], end: int
) -> result.UtilityResult | None:
    """None where no application says what it is worth. `decided`: records of `explain.DECIDED`, in order of time."""
    told = [
        _of_app(app, app.utility, requests.where(requests.app == a), decided, end)
        for a, app in enumerate(apps)
        if app.utility is not None
    ]
    if not told:
        return None
    felt = [one for one in told if one.mean is not None]
    worth = sum(one.worth for one in felt)
    share = sum(one.mean or 0.0 for one in felt) / worth if worth else None
    return result.UtilityResult(share=share, width_s=WIDTH_S, apps=told)


def _of_app(app: App, utility: Utility, requests: Requests, decided: Sequence[Mapping[str, Any]], end: int) -> result.AppUtility:
    width = WIDTH_S * SECOND
    edges = np.arange(-(-max(end, 1) // width) + 1, dtype=np.int64) * width
    bounds = np.searchsorted(requests.issued, edges)
    felt = [_felt(utility, requests, low, high) if high > low else None for low, high in pairwise(bounds.tolist())]
    values = [one for one in felt if one is not None]
    mean = sum(values) / len(values) if values else None
    return result.AppUtility(
        app=app.name,
        worth=utility.worth,
        floor=utility.floor,
        mean=mean,
        share=mean / utility.worth if mean is not None and utility.worth else None,
        least=min(values, default=None),
        windows=felt,
        hosts=[
            (round(int(one["t"]) / SECOND, 3), len(one["members"]))
            for one in decided
            if one["kind"] == "replica_set" and one["app"] == app.name
        ],
    )


def _felt(utility: Utility, requests: Requests, low: int, high: int) -> float:
    ok = requests.ok[low:high]
    answered = requests.request_ns[low:high][ok]
    quantile = utility.latency_quantile if utility.latency_quantile is not None else 0.5
    latency = float(np.quantile(answered, quantile)) if len(answered) else np.inf
    return value(utility, latency, float(ok.mean()), len(answered) / WIDTH_S)


def value(utility: Utility, latency_ns: float, availability: float, throughput_per_s: float) -> float:
    """What it is worth at what is felt, as `opus_node.core.utility` has it (a test holds the two together)."""
    parts = (
        (utility.latency_ns, latency_ns),
        (utility.availability, availability),
        (utility.throughput_per_s, throughput_per_s),
    )
    shares = [float(np.interp(x, [each for each, _ in points], [share for _, share in points])) for points, x in parts if points]
    return utility.worth * (min(shares) if utility.combine == "least" else float(np.prod(shares)))
