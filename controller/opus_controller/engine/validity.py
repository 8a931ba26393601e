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


def _taken(health: Health) -> float:
    """The share of cores that others had, if anything was late in that second."""
    return health.cpu_others if _saturation(health) else 0.0


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
    rises: bool = False
    """A count since the run's begin: only that it has risen since the sample before is a breach."""
    before_s: float = 0.0
    """How long before the sample it may have happened, beyond the second that a sample is about."""
    whole: bool = False
    """What is wrong is wrong of the whole run: no part of it can be left out."""
    presumes: bool = False
    """That figures suffer is presumed: where requests show that their median did not move, they are believed (report.machine)."""


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
        presumes=True,
    ),
    Limit(
        "cpu taken by others while timers are late", _taken, 0.5, "share", 5.0,
        "other programs of this machine, or a hypervisor, have half of its cores, and it shows: end them, or use another machine",
        presumes=True,
    ),
    Limit(
        "memory in use", lambda h: h.memory_used, 0.97, "share", 3.0,
        "the machine is about to swap or to kill: hosts then stand still or die, and nobody asked for it",
    ),
    Limit(
        "neighbour table", lambda h: h.neighbour_table, 0.95, "share", 0.0,
        "the kernel's one table for all hosts is full, and packets to neighbours that do not fit are dropped; "
        "opus doctor says how to enlarge it",
    ),
    Limit(
        "inotify instances", lambda h: h.inotify, 0.98, "share", 0.0,
        "programs in hosts that want to watch files are refused; opus doctor says how to allow more",
    ),
    Limit(
        "link overflow", lambda h: float(h.link_overflow), 0.0, "packets", 0.0,
        "the links dropped packets that nobody asked to drop", rises=True, before_s=5.0,
    ),
    Limit(
        "notices dropped", lambda h: float(h.notices_dropped), 0.0, "notices", 0.0,
        "the record has holes, so every count is too low", whole=True,
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
    whole: bool = False
    """No part of the run is spared."""
    presumes: bool = False
    """As of its limit."""

    def __str__(self) -> str:
        when = f"at {self.from_s:.0f} s" if self.from_s == self.to_s else f"from {self.from_s:.0f} to {self.to_s:.0f} s"
        return f"{self.what} {self.worst:.3g} {self.unit} (at most {self.limit:g}) {when}: {self.why}"


@dataclass(frozen=True)
class Validity:
    breaches: tuple[Breach, ...] = ()
    problems: tuple[str, ...] = ()
    """What else kept the run from being the one that was asked for (a fault that found no victim)."""
    stretches: tuple[Breach, ...] = ()
    """All of them, in order of time; `breaches` has the longest of each limit."""

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
    return Validity(watch.breaches(), tuple(problems), watch.stretches())


def longest(stretches: Iterable[Breach]) -> tuple[Breach, ...]:
    """Of every limit the longest stretch, in the order of `LIMITS`."""
    found: dict[str, Breach] = {}
    for one in stretches:
        before = found.get(one.what)
        if before is None or one.to_s - one.from_s > before.to_s - before.from_s:
            found[one.what] = one
    order = {limit.name: i for i, limit in enumerate(LIMITS)}
    return tuple(sorted(found.values(), key=lambda breach: order.get(breach.what, len(order))))


class Watch:
    """The same, sample by sample while a run goes on."""

    def __init__(self, limits: Sequence[Limit] = LIMITS) -> None:
        self._spans = [_Span(limit) for limit in limits]

    def add(self, sample: Health) -> None:
        for span in self._spans:
            span.add(sample)

    def breaches(self) -> tuple[Breach, ...]:
        """Of every limit the longest, if it counts."""
        return longest(self.stretches())

    def stretches(self) -> tuple[Breach, ...]:
        """Of every limit all that count, in order of time."""
        return tuple(sorted((b for span in self._spans for b in span.stretches()), key=lambda b: (b.from_s, b.to_s)))


@dataclass
class _Span:
    """Follows one limit through the samples and keeps the stretches beyond it."""

    limit: Limit
    _open: list[tuple[float, float]] = field(default_factory=list)
    """(time in s, value) of the stretch that is going on."""
    _counted: list[Breach] = field(default_factory=list)
    _before: float = 0.0

    def add(self, sample: Health) -> None:
        value = self.limit.value(sample)
        beyond = value > (self._before if self.limit.rises else self.limit.most)
        self._before = max(self._before, value)
        if beyond:
            self._open.append((sample.t_ns / _SECOND, value))
        elif self._open:
            self._counted.extend(self._ended())
            self._open = []

    def stretches(self) -> list[Breach]:
        return [*self._counted, *self._ended()]

    def _ended(self) -> list[Breach]:
        """The stretch that is open, if it has lasted long enough."""
        limit = self.limit
        if not self._open or self._open[-1][0] - self._open[0][0] < limit.for_s:
            return []
        start, end = max(0.0, self._open[0][0] - limit.before_s), self._open[-1][0]
        worst = max(value for _, value in self._open)
        return [Breach(limit.name, start, end, worst, limit.most, limit.unit, limit.why, limit.whole, limit.presumes)]
