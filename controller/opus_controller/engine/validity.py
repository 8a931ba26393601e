"""Whether a run's figures mean anything: the testbed's own condition, judged against limits.

A machine that is too busy delays packets and timers that nobody asked to delay; figures of such a run describe the
machine, not the overlay, and the run is *invalid* however good they look. All limits are in `LIMITS`, with reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from opus_controller.engine.runtime import Health

_MS = 1e6
_SECOND = 1e9


_LATE_NODE_NS = 10_000_000
_LATE_LINK_NS = 2_000_000
"""A third of what is too late in itself: from here on a busy processor is blamed."""


def _saturation(health: Health) -> float:
    """The share of cores that were busy, if anything was late in that second."""
    late = health.node_lag_p99_ns > _LATE_NODE_NS or health.link_lag_p99_ns > _LATE_LINK_NS
    return health.cpu_busy if late else 0.0


@dataclass(frozen=True)
class Limit:
    """One quantity of `Health` and what it may be."""

    name: str
    value: Callable[[Health], float]
    most: float
    """In `unit`; more than this is a breach."""
    unit: str
    for_s: float
    """A breach counts once it has lasted this long without a sample back within the limit; 0: a single sample counts."""
    why: str
    """What such a breach does to the figures."""


LIMITS: tuple[Limit, ...] = (
    Limit(
        "link lag p99", lambda h: h.link_lag_p99_ns / _MS, 5.0, "ms", 3.0,
        "packets arrive later than the topology says; 5 ms is what the conformance suite allows at worst, and one second of it "
        "touches 1% of that second's packets",
    ),
    Limit(
        "link lag p99, single", lambda h: h.link_lag_p99_ns / _MS, 100.0, "ms", 0.0,
        "the links stood still for so long that the overlay's time-outs (1.5 RTT + 30 ms) fire at live peers",
    ),
    Limit(
        "node timer lag p99", lambda h: h.node_lag_p99_ns / _MS, 30.0, "ms", 3.0,
        "30 ms is the whole slack of a hop's time-out: beyond it live hosts look silent",
    ),
    Limit(
        "node timer lag p99, single", lambda h: h.node_lag_p99_ns / _MS, 500.0, "ms", 0.0,
        "nodes stood still for as long as a failover takes",
    ),
    Limit(
        "cpu while timers are late", _saturation, 0.97, "share", 5.0,
        "no core is free and it shows: delays are queues for the processor. Saturation that delays nothing is no harm",
    ),
    Limit(
        "link overflow", lambda h: float(h.link_overflow), 0.0, "packets", 0.0,
        "the links dropped packets that nobody asked to drop",
    ),
    Limit(
        "notices dropped", lambda h: float(h.notices_dropped), 0.0, "notices", 0.0,
        "the record has holes, so every count is too low",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Breach:
    """One limit that was passed: when, how far, and why it matters."""

    what: str
    from_s: float
    to_s: float
    worst: float
    limit: float
    unit: str
    why: str

    def __str__(self) -> str:
        when = f"at {self.from_s:.0f} s" if self.from_s == self.to_s else f"from {self.from_s:.0f} to {self.to_s:.0f} s"
        return f"{self.what} {self.worst:.3g} {self.unit} (at most {self.limit:g}) {when}: {self.why}"


@dataclass(frozen=True)
class Validity:
    breaches: tuple[Breach, ...] = ()
    problems: tuple[str, ...] = ()
    """What else kept the run from being the one that was asked for (a fault that found no victim)."""

    @property
    def ok(self) -> bool:
        return not self.breaches and not self.problems

    @property
    def reasons(self) -> tuple[str, ...]:
        """One line each, for `result.json` and people."""
        return (*self.problems, *(str(breach) for breach in self.breaches))


def judge(samples: Iterable[Health], *, problems: Iterable[str] = (), limits: Sequence[Limit] = LIMITS) -> Validity:
    """Judge a run's health samples, in order of time. No sample at all is no evidence against the run (sim has no lag)."""
    watch = Watch(limits)
    for sample in samples:
        watch.add(sample)
    return Validity(watch.breaches(), tuple(problems))


class Watch:
    """The same, sample by sample while a run goes on."""

    def __init__(self, limits: Sequence[Limit] = LIMITS) -> None:
        self._spans = [_Span(limit) for limit in limits]

    def add(self, sample: Health) -> None:
        for span in self._spans:
            span.add(sample)

    def breaches(self) -> tuple[Breach, ...]:
        """Of every limit the longest, if it counts."""
        return tuple(breach for span in self._spans if (breach := span.worst()) is not None)


@dataclass
class _Span:
    """Follows one limit through the samples and keeps the longest stretch beyond it."""

    limit: Limit
    _open: list[tuple[float, float]] = field(default_factory=list)
    """(time in s, value) of the stretch that is going on."""
    _longest: list[tuple[float, float]] = field(default_factory=list)

    def add(self, sample: Health) -> None:
        value = self.limit.value(sample)
        if value <= self.limit.most:
            self._open = []
            return
        self._open.append((sample.t_ns / _SECOND, value))
        if len(self._open) > len(self._longest):
            self._longest = self._open

    def worst(self) -> Breach | None:
        if not self._longest or self._longest[-1][0] - self._longest[0][0] < self.limit.for_s:
            return None
        (start, _), (end, _) = self._longest[0], self._longest[-1]
        worst = max(value for _, value in self._longest)
        return Breach(self.limit.name, start, end, worst, self.limit.most, self.limit.unit, self.limit.why)
