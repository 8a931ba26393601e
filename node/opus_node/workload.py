"""A client's requests: open-loop Poisson arrivals, Zipf keys, a share of writes. Pure: times and keys follow from the seed alone.

Gaps, keys and writes come from three generators, so that another Zipf exponent or write share leaves the arrival times
as they were: two runs that differ in one setting can be compared request by request (common random numbers).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, expm1, log, log1p
from random import Random

from opus_node.core.types import SECOND, AppId, Nanos


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """One client's requests to one application, by the field names of control.proto's `Workload`."""

    app: AppId
    seed: str
    rate_per_s: float
    """Mean arrivals a second, above 0."""
    start_ns: Nanos
    stop_ns: Nanos
    """The first instant without requests."""
    deadline_ns: Nanos
    """From issue, relative."""
    keys: int = 1
    zipf: float = 0.0
    """Exponent; 0 is uniform."""
    write_share: float = 0.0
    request_bytes: int = 100
    reply_bytes: int = 1000
    first_key: int = 0
    """The most popular; those after it follow, and after the last the first."""

    def __post_init__(self) -> None:
        if self.rate_per_s <= 0 or self.keys < 1 or self.zipf < 0 or not 0 <= self.write_share <= 1:
            raise ValueError(f"workload of {self.app!r}: rate above 0, keys at least 1, zipf at least 0, write_share in [0, 1]")


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request to be issued at `at_ns`; the rest is as `events.Request` wants it."""

    at_ns: Nanos
    number: int
    """0, 1, ... within this workload, whatever was skipped."""
    key: int
    write: bool
    deadline: Nanos
    """Absolute."""


class Arrivals:
    """The arrivals of one workload, in order.

    >>> spec = WorkloadSpec(app="web", seed="1/a", rate_per_s=2.0, start_ns=0, stop_ns=10 * SECOND, deadline_ns=SECOND)
    >>> first = Arrivals(spec).next()
    >>> first == Arrivals(spec).next()
    True
    """

    def __init__(self, spec: WorkloadSpec) -> None:
        self.spec = spec
        self._gaps = Random(spec.seed)
        self._keys = Random(spec.seed + "/keys")
        self._writes = Random(spec.seed + "/writes")
        self._zipf = Zipf(spec.keys, spec.zipf)
        self._at = spec.start_ns
        self._number = 0

    def next(self) -> Arrival | None:
        """The next arrival; None once the workload has stopped, then and ever after."""
        spec = self.spec
        self._at += round(self._gaps.expovariate(spec.rate_per_s) * SECOND)
        if self._at >= spec.stop_ns:
            self._at = spec.stop_ns
            return None
        number = self._number
        self._number += 1
        key = (self._zipf.sample(self._keys) - 1 + spec.first_key) % spec.keys
        write = self._writes.random() < spec.write_share
        return Arrival(self._at, number, key, write, self._at + spec.deadline_ns)

    def next_after(self, now: Nanos) -> Arrival | None:
        """The first arrival later than `now`: what a restarted client goes on with. Those between are never issued."""
        arrival = self.next()
        while arrival is not None and arrival.at_ns <= now:
            arrival = self.next()
        return arrival


class Zipf:
    """Exact samples of 1..n with P(k) proportional to k**-s, in constant time and space.

    Rejection-inversion: W. Hörmann, G. Derflinger, "Rejection-inversion to generate variates from monotone discrete
    distributions", ACM TOMACS 6(3), 1996. It accepts more than 87 % of its draws whatever n and s are.
    """

    __slots__ = ("_accept", "_h_first", "_h_last", "_n", "_one_minus_s", "_s")

    def __init__(self, n: int, s: float) -> None:
        self._n, self._s = n, s
        self._one_minus_s = 1.0 - s
        if s == 0:
            return
        self._h_first = self._integral(1.5) - 1.0
        self._h_last = self._integral(n + 0.5)
        self._accept = 2.0 - self._integral_inverse(self._integral(2.5) - 2.0**-s)

    def sample(self, rng: Random) -> int:
        """A rank from 1 (most popular) to n."""
        n = self._n
        if self._s == 0:
            return rng.randrange(n) + 1
        while True:
            u = self._h_last + rng.random() * (self._h_first - self._h_last)
            x = self._integral_inverse(u)
            k = min(max(int(x + 0.5), 1), n)
            if k - x <= self._accept or u >= self._integral(k + 0.5) - float(k) ** -self._s:
                return k

    def _integral(self, x: float) -> float:
        """The integral of t**-s, (x**(1-s) - 1) / (1-s), with its limit log(x) at s = 1."""
        log_x = log(x)
        t = self._one_minus_s * log_x
        return log_x * (expm1(t) / t if abs(t) > 1e-8 else 1.0 + t / 2)

    def _integral_inverse(self, y: float) -> float:
        t = max(y * self._one_minus_s, -1.0)  # rounding may carry it below the pole
        if t == -1.0:
            return float(self._n)
        return exp(y * (log1p(t) / t if abs(t) > 1e-8 else 1.0 - t / 2))
