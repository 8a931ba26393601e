"""From notices and records to figures: the same folds for every runtime, for live metrics and for the final report.

A *record* is one line of events.ndjson, {"t", "host", "kind", fields}; a *request record* is one of kind "request", which
holds the fields of `events.RequestDone`. Times are integer nanoseconds since the run's origin. The definitions are
DESIGN section 7's:

- availability: requests answered ok by their deadline / requests issued. A client that died with requests open leaves no
  record of them: only live clients count.
- routing latency: issue at the client to arrival at the replica that answered, of ok requests.
- request latency: issue to reply, of ok requests.
- recovery: from a fault to the end of the last 1 s window whose availability was below target.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from math import ceil, floor, inf
from typing import Any, TypeVar

from opus_node.core.events import (
    AgentLost,
    Attached,
    MemberChanged,
    Notice,
    ReplicaSetDecided,
    RequestDone,
    RoleChanged,
    UpdateDelivered,
)
from opus_node.core.shards import shard_of
from opus_node.core.types import MILLISECOND, SECOND, AppId, Nanos

RecordLike = Mapping[str, Any]
K = TypeVar("K", bound=Hashable)

# Records

_FIELDS: dict[type, tuple[str, ...]] = {}


def notice_to_record(t: Nanos, host: str, notice: Notice) -> dict[str, Any]:
    """The record of a notice: what json.dumps then json.loads would give back, so live and stored records are equal.

    `host` is whatever name the caller uses for hosts (a node its identity; the controller renames it).
    """
    cls = type(notice)
    names = _FIELDS.get(cls)
    if names is None:
        names = _FIELDS[cls] = tuple(f.name for f in fields(notice))
    record: dict[str, Any] = {"t": t, "host": host, "kind": cls.kind}
    for name in names:
        value = getattr(notice, name)
        record[name] = list(value) if isinstance(value, tuple) else value
    return record


def requests_of(records: Iterable[RecordLike]) -> Iterator[RecordLike]:
    """The request records among `records`."""
    return (r for r in records if r["kind"] == RequestDone.kind)


def is_ok(request: RecordLike) -> bool:
    return bool(request["outcome"] == "ok")


def shard_asked_for(request: RecordLike, shards: int) -> int:
    """Of an application that has so many."""
    return shard_of(int(request["key"]), shards)


def routing_latency(request: RecordLike) -> Nanos:
    """Of an ok request: issue at the client to arrival at the replica."""
    return int(request["arrived_at"] - request["issued_at"])


def request_latency(request: RecordLike) -> Nanos:
    """Of an ok request: issue to reply, both at the client."""
    return int(request["done_at"] - request["issued_at"])


# Exact figures, for reports


def quantile(ordered: Sequence[float], q: float) -> float:
    """The q-quantile (0 <= q <= 1) of an ascending, non-empty sequence, by linear interpolation (numpy's default, type 7)."""
    if not ordered:
        raise ValueError("no values, no quantile")
    place = q * (len(ordered) - 1)
    low, high = floor(place), ceil(place)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


@dataclass(frozen=True, slots=True)
class LatencyStats:
    """Figures of a set of latencies, nanoseconds; all 0 of none (look at `count`)."""

    count: int = 0
    mean: float = 0.0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    max: float = 0.0

    @staticmethod
    def of(values: Iterable[float]) -> LatencyStats:
        ordered = sorted(values)
        if not ordered:
            return LatencyStats()
        p50, p90, p99 = (quantile(ordered, q) for q in (0.5, 0.9, 0.99))
        return LatencyStats(len(ordered), sum(ordered, 0.0) / len(ordered), p50, p90, p99, ordered[-1])

    def ms(self) -> dict[str, float | None]:
        """As `result.json` has it: mean, p50, p90, p99 and max in milliseconds; null where nothing was measured."""
        names = ("mean", "p50", "p90", "p99", "max")
        return {name: getattr(self, name) / MILLISECOND if self.count else None for name in names}


@dataclass(frozen=True, slots=True)
class Availability:
    """A count of requests and of those answered."""

    issued: int = 0
    ok: int = 0

    @property
    def failed(self) -> int:
        return self.issued - self.ok

    @property
    def share(self) -> float | None:
        """ok / issued; None if nothing was issued: no requests are neither available nor unavailable."""
        return self.ok / self.issued if self.issued else None


def availability(requests: Iterable[RecordLike]) -> Availability:
    issued = ok = 0
    for request in requests:
        issued += 1
        ok += is_ok(request)
    return Availability(issued, ok)


def group(requests: Iterable[RecordLike], key: Callable[[RecordLike], K]) -> dict[K, list[RecordLike]]:
    """Requests by `key` (site of the client, application, via ...), groups in order of first appearance.

    >>> by_site = group(requests_of([]), lambda r: site_of[r["host"]])
    >>> {site: availability(of_site).share for site, of_site in by_site.items()}
    {}
    """
    groups: dict[K, list[RecordLike]] = {}
    for request in requests:
        groups.setdefault(key(request), []).append(request)
    return groups


@dataclass(frozen=True, slots=True)
class Window:
    """Requests issued in [start, start + width)."""

    start: Nanos
    availability: Availability
    routing: LatencyStats
    """Of the ok ones."""


def windows(requests: Iterable[RecordLike], start: Nanos, stop: Nanos, width: Nanos = SECOND) -> list[Window]:
    """Consecutive windows from `start` that cover [start, stop), by time of issue, empty ones included, other requests left out.

    The last window may reach beyond `stop`; it counts only what was issued before `stop`.
    """
    boxes: list[list[RecordLike]] = [[] for _ in range(-((start - stop) // width) if stop > start else 0)]
    for request in requests:
        if start <= request["issued_at"] < stop:
            boxes[(request["issued_at"] - start) // width].append(request)
    return [
        Window(start + i * width, availability(box), LatencyStats.of(routing_latency(r) for r in box if is_ok(r)))
        for i, box in enumerate(boxes)
    ]


def recovery_s(requests: Iterable[RecordLike], fault_at: Nanos, target: float, until: Nanos, width: Nanos = SECOND) -> float:
    """Seconds from the fault at `fault_at` to the end of the last window, of those before `until`, below `target`.

    Windows are counted from the fault. 0.0: no window was below. inf: the last window with requests still was, so the service
    had not recovered by `until` (the next fault, the heal, or the end of the run). Windows without requests tell nothing.
    """
    issued: Counter[int] = Counter()
    ok: Counter[int] = Counter()
    for request in requests:
        if fault_at <= request["issued_at"] < until:
            box = (request["issued_at"] - fault_at) // width
            issued[box] += 1
            ok[box] += is_ok(request)
    below = [box for box, n in issued.items() if ok[box] < target * n]
    if not below:
        return 0.0
    if max(below) == max(issued):
        return inf
    return (max(below) + 1) * width / SECOND


# Fixed buckets, for live metrics

LATENCY_BOUNDS: tuple[Nanos, ...] = tuple(
    ms * MILLISECOND for ms in (1, 2, 5, 10, 20, 35, 50, 75, 100, 150, 200, 300, 500, 750, 1_000, 2_000, 5_000)
)
"""Upper bounds of latency buckets: fine where wide-area round trips lie. The last bucket is open."""

LAG_BOUNDS: tuple[Nanos, ...] = tuple(
    us * MILLISECOND // 1_000 for us in (250, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 100_000, 500_000)
)
"""Upper bounds of buckets for lateness and errors of time: fine where a good machine's are."""


class Histogram:
    """Counts in fixed buckets, Prometheus' way: bucket i holds values <= bounds[i], a last one holds the rest."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[Nanos, ...] = LATENCY_BOUNDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total: Nanos = 0

    def observe(self, value: Nanos) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        return sum(self.counts)

    def cumulative(self) -> list[tuple[float, int]]:
        """(upper bound, values up to it), the last bound infinite."""
        seen, rows = 0, []
        for bound, n in zip((*self.bounds, inf), self.counts, strict=True):
            seen += n
            rows.append((bound, seen))
        return rows


ROUTES = ("self", "direct", "agent")
"""How requests go: `RequestDone.via`."""


class NodeFold:
    """One node's notices folded to what its metrics show. Bounded: by applications, outcomes and buckets, not by requests.

    Counts of `apps` are there from the beginning, as zeros: whoever reads a counter now and then would otherwise never see the
    step from nothing to the first.
    """

    def __init__(self, apps: Iterable[AppId] = ()) -> None:
        apps = tuple(apps)
        ends = (*(("ok", via) for via in ROUTES), *((end, via) for end in ("deadline", "refused") for via in ROUTES[1:]))
        self.requests: Counter[tuple[AppId, str, str]] = Counter({(app, *end): 0 for app in apps for end in ends})
        """(application, outcome, via) to requests done."""
        self.attempts: Counter[AppId] = Counter(dict.fromkeys(apps, 0))
        self.hops: Counter[tuple[AppId, int]] = Counter({(app, hops): 0 for app in apps for hops in range(3)})
        """Of ok requests."""
        self.routing: dict[AppId, Histogram] = {app: Histogram() for app in apps}
        self.latency: dict[AppId, Histogram] = {app: Histogram() for app in apps}
        self.roles: dict[tuple[str, AppId], bool] = {}
        """(agent, replica or steward; application) to whether the node is it now."""
        self.role_changed: dict[tuple[str, AppId], Nanos] = {}
        """The same, to when that last changed."""
        self.attached = 0
        self.agents_lost = 0
        self.agent_rtt: Nanos | None = None
        """Round trip to the node's agent, as measured when it attached; None without one, and at agents."""
        self.members: Counter[str] = Counter(dict.fromkeys(("alive", "suspect", "dead"), 0))
        """SWIM's states to changes noticed."""
        self.replica_sets: Counter[AppId] = Counter(dict.fromkeys(apps, 0))
        """Sets decided as steward."""
        self.updates: Counter[tuple[AppId, str]] = Counter(
            {(app, what): 0 for app in apps for what in ("published", "delivered")}
        )
        """Writes that this replica told others of, and that it heard of from others."""

    def add(self, notice: Notice, now: Nanos = 0) -> None:
        match notice:
            case RequestDone():
                self._request(notice)
            case RoleChanged():
                self.roles[notice.role, notice.app] = notice.active
                self.role_changed[notice.role, notice.app] = now
                if notice.role == "agent" and notice.active:
                    self.agent_rtt = None
            case Attached():
                self.attached += 1
                self.agent_rtt = notice.rtt
            case AgentLost():
                self.agents_lost += 1
                self.agent_rtt = None
            case MemberChanged():
                self.members[notice.state] += 1
            case ReplicaSetDecided():
                self.replica_sets[notice.app] += 1
            case UpdateDelivered():
                self.updates[notice.app, "delivered" if notice.by else "published"] += 1

    def _request(self, done: RequestDone) -> None:
        self.requests[done.app, done.outcome, done.via] += 1
        self.attempts[done.app] += done.attempts
        if done.outcome == "ok":
            self.hops[done.app, done.hops] += 1
            self.routing.setdefault(done.app, Histogram()).observe(done.arrived_at - done.issued_at)
            self.latency.setdefault(done.app, Histogram()).observe(done.done_at - done.issued_at)
