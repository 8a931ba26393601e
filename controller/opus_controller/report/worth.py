"""What applications were worth while a run lasted: what clients really felt, through their utilities (docs/utility.md).

By windows of WIDTH_S in which requests of the application were issued: the share answered in time, the latency of those answered
at the utility's quantile, and how many a second they were. What was expected when hosts were divided is `opus explain`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from opus_controller.model.plan import App, Plan, Utility
from opus_controller.report import result
from opus_controller.report.requests import Requests

SECOND = 1_000_000_000
WIDTH_S = 5
"""Long enough for a quantile of a few requests a second, short enough to show a crowd."""


def summary(plan: Plan, requests: Requests, decided: Sequence[Mapping[str, Any]], end: int) -> result.UtilityResult | None:
    """None where no application says what it is worth. `decided`: records of `explain.DECIDED`, in order of time."""
    told = [
        _of_app(app, app.utility, requests.where(requests.app == a), decided, end, crowds_of(plan, app.name))
        for a, app in enumerate(plan.apps)
        if app.utility is not None
    ]
    if not told:
        return None
    felt = [one for one in told if one.mean is not None]
    worth = sum(one.worth for one in felt)
    share = sum(one.mean or 0.0 for one in felt) / worth if worth else None
    followed = [one.follow_s for one in told if one.follow_s is not None]
    short = [one.short_s for one in told if one.short_s is not None]
    return result.UtilityResult(
        share=share,
        width_s=WIDTH_S,
        apps=told,
        follow_s=max(followed, default=None),
        short_s=sum(short) if len(short) == len(told) else None,
    )


def crowds_of(plan: Plan, app: str) -> list[tuple[int, int]]:
    """(from, to; ns) of clients that begin to ask for it later than the first of all do."""
    first = min((load.start_ns for load in plan.workload), default=0)
    spans = dict.fromkeys((load.start_ns, load.stop_ns) for load in plan.workload if load.app == app)
    return sorted(span for span in spans if span[0] > first)


def followed_s(hosts: Sequence[tuple[float, int]], start_s: float, stop_s: float) -> float | None:
    """Until half of the rise from what was held at `start_s` to the most held by `stop_s`; None: there was no rise."""
    held = [count for at, count in hosts if at <= start_s][-1:] or [0]
    meanwhile = [(at, count) for at, count in hosts if start_s < at <= stop_s]
    most = max((count for _, count in meanwhile), default=0)
    if most <= held[0]:
        return None
    return next(at for at, count in meanwhile if 2 * (count - held[0]) >= most - held[0]) - start_s


def short_s(hosts: Sequence[tuple[float, int]], floor: int, end_s: float) -> float | None:
    """Time with fewer than `floor`, since there first were as many; None: there never were."""
    begun = [(at, count) for k, (at, count) in enumerate(hosts) if any(one >= floor for _, one in hosts[: k + 1])]
    if not begun:
        return None
    ends = [*(at for at, _ in begun[1:]), max(end_s, begun[-1][0])]
    return sum(until - at for (at, count), until in zip(begun, ends, strict=True) if count < floor)


def _of_app(
    app: App,
    utility: Utility,
    requests: Requests,
    decided: Sequence[Mapping[str, Any]],
    end: int,
    crowds: Sequence[tuple[int, int]],
) -> result.AppUtility:
    width = WIDTH_S * SECOND
    edges = np.arange(-(-max(end, 1) // width) + 1, dtype=np.int64) * width
    bounds = np.searchsorted(requests.issued, edges)
    felt = [_felt(utility, requests, low, high) if high > low else None for low, high in pairwise(bounds.tolist())]
    values = [one for one in felt if one is not None]
    mean = sum(values) / len(values) if values else None
    hosts = [
        (round(int(one["t"]) / SECOND, 3), len(one["members"]))
        for one in decided
        if one["kind"] == "replica_set" and one["app"] == app.name
    ]
    followed = [s for start, stop in crowds if (s := followed_s(hosts, start / SECOND, stop / SECOND)) is not None]
    return result.AppUtility(
        app=app.name,
        worth=utility.worth,
        floor=utility.floor,
        mean=mean,
        share=mean / utility.worth if mean is not None and utility.worth else None,
        least=min(values, default=None),
        windows=felt,
        hosts=hosts,
        follow_s=round(max(followed), 3) if followed else None,
        short_s=short_s(hosts, utility.floor, end / SECOND),
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
