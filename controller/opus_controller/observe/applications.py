"""What a run's record tells of its applications while it goes on: what they are worth, and by what hosts were given to them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

import numpy as np
from opus_node.folds import is_ok, request_latency

from opus_controller.engine.runtime import Record
from opus_controller.model.plan import App
from opus_controller.report.explain import DIVISION, PLACEMENT, SET
from opus_controller.report.worth import value

SECOND = 1_000_000_000
WINDOW_S = 10
"""Long enough for a quantile of a few requests a second; a reader who looks every two seconds misses nothing."""
MOST = 20_000
"""Requests of one application that are remembered for that: of more a second than 2,000, the latest."""

REASONS = (
    *("first", "lost", "demand moved", "worth more", "nearer to demand", "resized", "refilled", "laid off"),
    *("took over", "relieved", "merged"),
)
"""How causes begin (`opus_node.core.steward`) ..."""
LEAVES, OTHER = "leaves", "other"
"""... or end, or something else."""


def reason(cause: str) -> str:
    """Which kind of cause: few, so that it can be a label."""
    if cause.endswith(f" {LEAVES}"):
        return LEAVES
    return next((one for one in REASONS if cause.startswith(one)), OTHER)


class AppsFold:
    """Bounded by the applications, and by MOST requests of each."""

    def __init__(self, apps: Sequence[App]) -> None:
        self.apps = tuple(apps)
        names = [app.name for app in apps]
        self.members: dict[str, frozenset[str]] = {}
        """Application to the identities of those decided on last."""
        self.decisions: Counter[tuple[str, str]] = Counter({(app, why): 0 for app in names for why in (*REASONS, LEAVES)})
        """(application, kind of cause)."""
        self.moved: Counter[tuple[str, str]] = Counter({(app, way): 0 for app in names for way in ("gained", "lost")})
        self.asked: dict[str, float] = {}
        """Requests/s, as the last decision went by."""
        self.cost: dict[str, float] = {}
        """Core-seconds a request, where that counts; as are"""
        self.e: dict[str, float] = {}
        self.expected: dict[str, float] = {}
        """Utility, of those that have one."""
        self._ended = {app.name: deque[tuple[int, bool, int]](maxlen=MOST) for app in apps if app.utility is not None}
        """(when, whether answered, ns from issue)."""

    def event(self, record: Record) -> None:
        """Of any kind but requests."""
        kind = record["kind"]
        if kind == SET:
            self._set(str(record["app"]), frozenset(record["members"]), str(record["cause"]))
        elif kind in (DIVISION, PLACEMENT):
            app = str(record["app"])
            self.asked[app] = float(record["demand"])
            for told, of in (("cost", self.cost), ("e", self.e)):
                if record[told]:
                    of[app] = float(record[told])
            if kind == DIVISION:
                self.expected[app] = float(record["utility"])

    def _set(self, app: str, members: frozenset[str], cause: str) -> None:
        before = self.members.get(app, frozenset())
        self.members[app] = members
        self.decisions[app, reason(cause)] += 1
        self.moved[app, "gained"] += len(members - before)
        self.moved[app, "lost"] += len(before - members)

    def request(self, request: Record) -> None:
        ended = self._ended.get(str(request["app"]))
        if ended is not None:
            ended.append((int(request["done_at"]), is_ok(request), request_latency(request)))

    def felt(self, now_ns: int) -> dict[str, float]:
        """What each application with a utility was worth to its clients lately, as `report.worth` has it for the whole run."""
        found = {}
        for app in self.apps:
            if app.utility is None:
                continue
            late = [one for one in self._ended[app.name] if now_ns - WINDOW_S * SECOND < one[0] <= now_ns]
            if not late:
                continue
            answered = [ns for _, ok, ns in late if ok]
            quantile = 0.5 if app.utility.latency_quantile is None else app.utility.latency_quantile
            latency = float(np.quantile(answered, quantile)) if answered else np.inf
            found[app.name] = value(app.utility, latency, len(answered) / len(late), len(answered) / WINDOW_S)
        return found
