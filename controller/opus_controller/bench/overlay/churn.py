"""Everybody comes and goes: availability where the median session is a few minutes, or one.

Sessions are exponential, as in "Handling churn in a DHT" (Rhea, Geels, Roscoe, Kubiatowicz, USENIX 2004), which names them by
their median too. A host whose session ends falls silent (power-off), and comes back as a stranger, with an empty memory, after
a pause. The seeds stay: somebody's address must be known. Only live clients ask, from the instant of their boot.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import log
from random import Random
from typing import Any

from opus_controller.bench.overlay.lab import Lab
from opus_controller.bench.worlds import SECOND

Figures = dict[str, Any]

PAUSE_MEAN_S = 30.0
WARM_S = 40.0
RATE = 100.0
DEADLINE_S = 1.0
GROWN_S = 5.0
"""A client this old has had time to join; requests of younger ones are counted, and told apart."""


def availability(lab: Lab, seed: int, median_s: float, seconds: float) -> Figures:
    coming = Comings(lab, Random(f"{seed}/churn/{median_s}"), median_s)
    lab.everyone_asks(RATE, deadline_s=DEADLINE_S, label="churn")
    coming.live(WARM_S)
    lab.forget()
    bytes_before, began = lab.control_bytes(), lab.now_s
    coming.live(seconds)
    counted_until = lab.now
    spent = (lab.control_bytes() - bytes_before) / seconds / len(lab.alive())
    coming.live(DEADLINE_S + 0.1)
    requests = [one for one in lab.requests if began * SECOND <= one["issued_at"] < counted_until]
    grown = [one for one in requests if one["issued_at"] - coming.born(one["host"], one["issued_at"]) >= GROWN_S * SECOND]
    return {
        "issued": len(requests),
        "ok": sum(one["outcome"] == "ok" for one in requests),
        "grown_issued": len(grown),
        "grown_ok": sum(one["outcome"] == "ok" for one in grown),
        "ends": coming.ends,
        "control_bytes": spent,
    }


class Comings:
    """Who comes and goes when, drawn as time passes."""

    def __init__(self, lab: Lab, rng: Random, median_s: float) -> None:
        self.ends = 0
        self._lab = lab
        self._rng = rng
        self._session_mean = median_s / log(2)
        self._births: dict[str, list[int]] = {}
        mortal = [host.name for host in lab.plan.hosts if host.name not in lab.plan.seeds]
        self._due = [(lab.now_s + self._session(), name, False) for name in mortal]
        heapify(self._due)

    def live(self, seconds: float) -> None:
        end = self._lab.now_s + seconds
        while self._due and self._due[0][0] <= end:
            at, name, back = heappop(self._due)
            self._lab.run_until(at)
            if back:
                self._lab.restart([name])
                self._births.setdefault(name, []).append(self._lab.now)
                heappush(self._due, (at + self._session(), name, False))
            else:
                self._lab.power_off([name])
                self.ends += 1
                heappush(self._due, (at + self._rng.expovariate(1 / PAUSE_MEAN_S), name, True))
        self._lab.run_until(end)

    def born(self, name: str, at: int) -> int:
        """When the host's process that lived at `at` began; 0 for one that has never gone."""
        return max((birth for birth in self._births.get(name, ()) if birth <= at), default=0)

    def _session(self) -> float:
        return self._rng.expovariate(1 / self._session_mean)
