"""What a node tells Prometheus: its own registry, filled at each scrape from folds and counters that exist anyway.

Names begin with `opus_`, units are base units (seconds, bytes), counters end in `_total`. `METRICS` is the table of all of
them; a test compares it with what is exposed. The target's own labels (host, site, run) are the scraper's to add.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from opus_node.core.events import Snapshot
from opus_node.core.types import SECOND
from opus_node.folds import Histogram, NodeFold
from opus_node.lag import LagMeter
from opus_node.transport import TransportStats


@dataclass(frozen=True, slots=True)
class Spec:
    """One metric. Its kind follows from its name: `_total` a counter, `_latency_seconds` a histogram, else a gauge."""

    help: str
    labels: tuple[str, ...] = ()


METRICS: Final[dict[str, Spec]] = {
    # Requests of this host's clients
    "opus_requests_total": Spec("Ended, by outcome (ok, deadline, refused) and the way they went.", ("app", "outcome", "via")),
    "opus_request_attempts_total": Spec("Messages that clients sent for requests, first tries and retries.", ("app",)),
    "opus_request_hops_total": Spec("Answered, by overlay hops to the replica.", ("app", "hops")),
    "opus_routing_latency_seconds": Spec("From issue at the client to arrival at the replica, if answered.", ("app",)),
    "opus_request_latency_seconds": Spec("From issue at the client to the reply, if answered.", ("app",)),
    "opus_open_requests": Spec("Without an answer yet."),
    # The node's part in the overlay
    "opus_role": Spec("1 if the node is it now: agent, replica, steward.", ("role", "app")),
    "opus_attached": Spec("1 if the node has an agent, or is one."),
    "opus_attachments_total": Spec("Agents the node attached to."),
    "opus_agents_lost_total": Spec("Agents the node gave up."),
    "opus_member_changes_total": Spec("Changes in this agent's view of other agents.", ("state",)),
    "opus_replica_sets_decided_total": Spec("Replica sets decided as steward.", ("app",)),
    "opus_leased_nodes": Spec("Nodes attached to this agent."),
    "opus_entries": Spec("Table entries held."),
    "opus_state_bytes": Spec("Their size, as messages would encode them."),
    "opus_requests_served_total": Spec("Requests answered as a replica."),
    "opus_requests_routed_total": Spec("Requests passed on as an agent."),
    # The emulated network
    "opus_messages_total": Spec("Messages to and from other nodes.", ("direction",)),
    "opus_link_bytes_total": Spec("Bytes with those of gRPC, TCP, IP; traffic is control or requests.", ("direction", "traffic")),
    "opus_messages_lost_total": Spec("Messages not sent: queue_full, expired or peer_gone.", ("cause",)),
    "opus_dials_total": Spec("Connections tried."),
    "opus_connections_failed_total": Spec(
        "Own connections that ended refused (or reset) or in silence, and peers' that broke.", ("cause",)
    ),
    "opus_rejected_total": Spec("Malformed frames, and streams of a false identity."),
    "opus_links": Spec("Connections to and from peers.", ("direction",)),
    "opus_queued_bytes": Spec("Waiting for peers."),
    # The process
    "opus_timer_lag_seconds_total": Spec("How late the node's timers fired, summed."),
    "opus_timers_fired_total": Spec("Timers that the sum is of."),
    "opus_notices_dropped_total": Spec("Notices lost in the full buffer towards the controller."),
    "opus_cpu_seconds_total": Spec("CPU time."),
    "opus_peak_resident_bytes": Spec("The most memory that was ever resident, pages shared with other nodes included."),
}


class Source(Protocol):
    """What metrics are read from."""

    @property
    def fold(self) -> NodeFold: ...
    @property
    def lag(self) -> LagMeter: ...
    @property
    def stats(self) -> TransportStats: ...
    def snapshot(self) -> Snapshot: ...
    def gauges(self) -> dict[str, float]:
        """The rest: opus_open_requests, opus_queued_bytes, opus_notices_dropped_total as in `METRICS`; links, streams."""


class NodeMetrics(Collector):
    """One node's registry."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> str:
        """The Prometheus text exposition."""
        return generate_latest(self._registry).decode()

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self._of_notices(self._source.fold)
        yield from self._of_state(self._source.snapshot())
        yield from self._of_transport(self._source.stats)
        yield from self._of_process()

    def _of_notices(self, fold: NodeFold) -> Iterator[Metric]:
        yield _family("opus_requests_total", fold.requests)
        yield _family("opus_request_attempts_total", {(app,): n for app, n in fold.attempts.items()})
        yield _family("opus_request_hops_total", {(app, str(hops)): n for (app, hops), n in fold.hops.items()})
        yield _histogram("opus_routing_latency_seconds", fold.routing)
        yield _histogram("opus_request_latency_seconds", fold.latency)
        yield _family("opus_role", {role: float(active) for role, active in fold.roles.items()})
        yield _family("opus_attachments_total", {(): fold.attached})
        yield _family("opus_agents_lost_total", {(): fold.agents_lost})
        yield _family("opus_member_changes_total", {(state,): n for state, n in fold.members.items()})
        yield _family("opus_replica_sets_decided_total", {(app,): n for app, n in fold.replica_sets.items()})

    def _of_state(self, now: Snapshot) -> Iterator[Metric]:
        yield _family("opus_attached", {(): float(bool(now.agent))})
        yield _family("opus_leased_nodes", {(): now.nodes})
        yield _family("opus_entries", {(): now.entries})
        yield _family("opus_state_bytes", {(): now.state_bytes})
        yield _family("opus_requests_served_total", {(): now.requests_served})
        yield _family("opus_requests_routed_total", {(): now.requests_routed})

    def _of_transport(self, stats: TransportStats) -> Iterator[Metric]:
        yield _family("opus_messages_total", {("sent",): stats.messages_sent, ("received",): stats.messages_received})
        by_traffic = {
            ("sent", "control"): stats.control_bytes_sent,
            ("received", "control"): stats.control_bytes_received,
            ("sent", "requests"): stats.request_bytes_sent,
            ("received", "requests"): stats.request_bytes_received,
        }
        yield _family("opus_link_bytes_total", by_traffic)
        lost = {("queue_full",): stats.dropped, ("expired",): stats.expired, ("peer_gone",): stats.failed}
        yield _family("opus_messages_lost_total", lost)
        yield _family("opus_dials_total", {(): stats.dials})
        yield _family(
            "opus_connections_failed_total", {("refused",): stats.refused, ("silence",): stats.silent, ("broken",): stats.broken}
        )
        yield _family("opus_rejected_total", {(): stats.rejected})

    def _of_process(self) -> Iterator[Metric]:
        source = self._source
        gauges = source.gauges()
        yield _family("opus_links", {("out",): gauges["links"], ("in",): gauges["streams"]})
        for name in ("opus_open_requests", "opus_queued_bytes", "opus_notices_dropped_total"):
            yield _family(name, {(): gauges[name]})
        yield _family("opus_timer_lag_seconds_total", {(): source.lag.total / SECOND})
        yield _family("opus_timers_fired_total", {(): source.lag.count})
        usage = resource.getrusage(resource.RUSAGE_SELF)
        yield _family("opus_cpu_seconds_total", {(): usage.ru_utime + usage.ru_stime})
        yield _family("opus_peak_resident_bytes", {(): usage.ru_maxrss * 1024})


def _family(name: str, values: Any) -> Metric:
    """A counter's or gauge's samples: label values to number."""
    spec = METRICS[name]
    kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    family = kind(name, spec.help, labels=spec.labels)
    for labels, value in values.items():
        family.add_metric(list(labels), value)
    return family


def _histogram(name: str, by_app: dict[str, Histogram]) -> Metric:
    spec = METRICS[name]
    family = HistogramMetricFamily(name, spec.help, labels=spec.labels)
    for app, histogram in by_app.items():
        buckets = [("+Inf" if bound == float("inf") else repr(bound / SECOND), float(n)) for bound, n in histogram.cumulative()]
        family.add_metric([app], buckets=buckets, sum_value=histogram.total / SECOND)
    return family
