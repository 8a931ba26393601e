"""What each fault cost: how long until availability was back, and how many requests it took."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from opus_node.folds import recovery_s

from opus_controller.report import result
from opus_controller.report.figures import Judged, counts
from opus_controller.report.requests import Requests
from opus_controller.report.world import Bools, FaultSeen, Ints

SECOND = 1_000_000_000
TOGETHER_NS = SECOND
"""Faults nearer than one window cannot be told apart and share the recovery of them all."""
NEVER = np.iinfo(np.int64).max // 4
MENDING = ("heal", "restart", "resume", "return")
"""Kinds that make things better: a request that fails across one of these was harmed by something earlier."""


def charged_at(faults: Sequence[FaultSeen], requests: Requests) -> Ints:
    """The instant at which each request counts, ns: of the first harmful fault that struck while it was open, else of its issue.

    A request on its way when its region is cut off fails because of the cut, not of whatever came before.
    """
    times = np.array([*sorted(fault.t for fault in faults if fault.kind not in MENDING), NEVER], dtype=np.int64)
    struck = times[np.searchsorted(times, requests.issued, side="right")]
    return np.where(struck < requests.done, struck, requests.issued)


def since_last_fault(faults: Sequence[FaultSeen], charged: Ints) -> Ints:
    """For each instant of `charged_at`: ns since the latest fault at or before it, NEVER if there was none."""
    times = np.array(sorted(fault.t for fault in faults), dtype=np.int64)
    places = np.searchsorted(times, charged, side="right") - 1
    since = np.full(len(charged), NEVER, dtype=np.int64)
    after = places >= 0
    since[after] = charged[after] - times[places[after]]
    return since


def span(faults: Sequence[FaultSeen], i: int, end: int) -> tuple[int, int]:
    """From fault i (in order of time) to the next that is not one with it, or to `end`."""
    start = faults[i].t
    return start, min((fault.t for fault in faults[i + 1 :] if fault.t - start >= TOGETHER_NS), default=max(end, start))


def within(judged: Judged, start: int, until: int) -> Bools:
    """Which requests count in [start, until), ns since the origin."""
    return (judged.charged >= start) & (judged.charged < until)


def recovery(judged: Judged, start: int, until: int, target: float) -> float | None:
    """Seconds from `start` to the end of the last 1 s window below `target`; 0 if none was, inf if the last one was.

    None: no requests in the span to tell by.
    """
    some = judged.where(within(judged, start, until))
    if not some.requests.size:
        return None
    rows = zip(some.charged.tolist(), some.requests.ok.tolist(), strict=True)
    return recovery_s(({"issued_at": t, "outcome": "ok" if ok else "failed"} for t, ok in rows), start, target, until)


def of_faults(judged: Judged, faults: Sequence[FaultSeen], end: int, target: float) -> list[result.FaultResult]:
    """Every fault that happened, in order of time; `end`: ns, when the last request was issued or the timeline ended."""
    reachable = judged.where(judged.oracle.reachable)
    rows = []
    for i, fault in enumerate(faults):
        start, until = span(faults, i, end)
        everyone = recovery(judged, start, until, target)
        with_path = recovery(reachable, start, until, target)
        rows.append(
            result.FaultResult(
                at_s=fault.t / SECOND,
                name=fault.name,
                kind=fault.kind,
                target=fault.target,
                victims=list(fault.victims),
                recovery_s=_finite(everyone),
                recovered=_recovered(everyone),
                recovery_reachable_s=_finite(with_path),
                recovered_reachable=_recovered(with_path),
                availability=counts(judged.requests.where(within(judged, start, until))).availability,
            )
        )
    return rows


def _finite(seconds: float | None) -> float | None:
    return None if seconds is None or math.isinf(seconds) else seconds


def _recovered(seconds: float | None) -> bool | None:
    return None if seconds is None else not math.isinf(seconds)
