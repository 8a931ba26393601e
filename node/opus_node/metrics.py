"""What a node tells Prometheus: its own registry, filled at each scrape from folds and counters that exist anyway.

`SECTIONS` is the table of all of it; a test compares it with what is exposed. The target's own labels (host, site, run) are
the scraper's to add.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from opus_node.core.events import Snapshot
from opus_node.core.types import SECOND
from opus_node.exposition import PROCESS, Families, Spec
from opus_node.folds import NodeFold
from opus_node.lag import LagMeter
from opus_node.services.spec import ServiceStats
from opus_node.transport import TransportStats

SECTIONS: Final[dict[str, dict[str, Spec]]] = {
    "Requests of a host's clients": {
        "opus_requests_total": Spec(
            "counter", "Ended, by outcome (ok, deadline, refused) and the way they went.", ("app", "outcome", "via")
        ),
        "opus_request_attempts_total": Spec("counter", "Messages that clients sent for requests, retries included.", ("app",)),
        "opus_request_hops_total": Spec("counter", "Answered, by overlay hops to the replica.", ("app", "hops")),
        "opus_routing_latency_seconds": Spec(
            "histogram", "From issue at the client to arrival at the replica, if answered.", ("app",)
        ),
        "opus_request_latency_seconds": Spec("histogram", "From issue at the client to the reply, if answered.", ("app",)),
        "opus_open_requests": Spec("gauge", "Without an answer yet."),
    },
    "A node's part in the overlay": {
        "opus_role": Spec("gauge", "1 if the node is it now (agent, head, replica, steward), 0 if it was.", ("role", "app")),
        "opus_role_changed_timestamp_seconds": Spec("gauge", "When it last took it or gave it up, Unix time.", ("role", "app")),
        "opus_view_epoch": Spec("gauge", "Epoch of the replica set that the node knows.", ("app",)),
        "opus_attached": Spec("gauge", "1 if the node has an agent, or is one."),
        "opus_agent_rtt_seconds": Spec("gauge", "Round trip to the agent as measured when attaching; absent at agents."),
        "opus_attachments_total": Spec("counter", "Agents the node attached to."),
        "opus_agents_lost_total": Spec("counter", "Agents the node gave up."),
        "opus_member_changes_total": Spec("counter", "Changes in this agent's view of other agents, by new state.", ("state",)),
        "opus_replica_sets_decided_total": Spec("counter", "Replica sets decided as steward.", ("app",)),
        "opus_leased_nodes": Spec("gauge", "Nodes attached to this agent."),
        "opus_entries": Spec("gauge", "Table entries held."),
        "opus_state_bytes": Spec("gauge", "Their size, as messages would encode them."),
        "opus_requests_served_total": Spec("counter", "Requests answered as a replica."),
        "opus_requests_routed_total": Spec("counter", "Requests passed on as an agent."),
        "opus_requests_shed_total": Spec("counter", "Requests turned away as a replica or an agent, for want of room."),
    },
    "Updates among replicas": {
        "opus_updates_total": Spec(
            "counter", "Writes this replica told the others of (published), or heard of from one (delivered).", ("app", "what")
        ),
        "opus_update_copies_total": Spec(
            "counter", "Updates sent to other replicas, and received though they had come before (needless).", ("app", "what")
        ),
        "opus_mesh_links": Spec("gauge", "Links with other replicas, over which updates go.", ("app",)),
    },
    "A user's program at a node": {
        "opus_service_ready": Spec("gauge", "1 if the program takes requests now; absent where no program serves.", ("app",)),
        "opus_service_changes_total": Spec(
            "counter", "Programs started, stopped, ended by themselves, or failed to start.", ("app", "change")
        ),
        "opus_service_requests_total": Spec("counter", "Laid before the program, by outcome (ok, failed).", ("app", "outcome")),
        "opus_service_latency_seconds": Spec("histogram", "The program's own time to answer.", ("app",)),
        "opus_service_core_seconds_total": Spec(
            "counter", "User and system time of the program and what it started; absent where nobody measures it.", ("app",)
        ),
        "opus_service_files_bytes_total": Spec("counter", "Files of services passed on between hosts.", ("app", "direction")),
        "opus_service_fetch_seconds": Spec("summary", "From when files were wanted to when they lay there unpacked.", ("app",)),
        "opus_gateway_requests_total": Spec(
            "counter", "Requests (http) or connections (tcp) at the host's gateway, by outcome.", ("app", "outcome")
        ),
    },
    "A node's messages": {
        "opus_messages_total": Spec("counter", "Messages to and from other nodes.", ("direction",)),
        "opus_link_bytes_total": Spec(
            "counter", "Bytes with those of gRPC, TCP, IP; traffic is control or requests.", ("direction", "traffic")
        ),
        "opus_messages_lost_total": Spec("counter", "Messages not sent: queue_full, expired or peer_gone.", ("cause",)),
        "opus_dials_total": Spec("counter", "Connections tried."),
        "opus_connections_failed_total": Spec(
            "counter", "Own connections that ended refused (or reset) or in silence, and peers' that broke.", ("cause",)
        ),
        "opus_rejected_total": Spec("counter", "Malformed frames, and streams of a false identity."),
        "opus_links": Spec("gauge", "Connections to and from peers.", ("direction",)),
        "opus_queued_bytes": Spec("gauge", "Waiting for peers."),
    },
    "A node's process": {
        "opus_timer_lag_seconds": Spec("histogram", "How late the node's timers fired: the machine is too busy if they are."),
        "opus_clock_ahead_seconds": Spec("gauge", "How far the host's clock is ahead of the testbed's; below 0: behind."),
        "opus_notices_dropped_total": Spec("counter", "Notices lost in the full buffer towards the controller."),
        "opus_peak_resident_bytes": Spec("gauge", "The most memory that was ever resident."),
        **PROCESS,
    },
}  # fmt: skip
METRICS: Final[dict[str, Spec]] = {name: spec for section in SECTIONS.values() for name, spec in section.items()}
_make = Families(METRICS)


class Source(Protocol):
    """What metrics are read from."""

    @property
    def fold(self) -> NodeFold: ...
    @property
    def lag(self) -> LagMeter: ...
    @property
    def stats(self) -> TransportStats: ...
    @property
    def origin_unix_s(self) -> float:
        """The wall clock at the run's origin, read once: a moment told twice must be the same moment."""

    @property
    def services(self) -> Mapping[str, ServiceStats]:
        """By application."""

    def snapshot(self) -> Snapshot: ...
    def gauges(self) -> dict[str, float]:
        """The rest, as in `METRICS`: opus_open_requests, opus_queued_bytes, opus_notices_dropped_total, opus_clock_ahead_seconds;
        and links, streams."""


class NodeMetrics(Collector):
    """One node's registry."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> str:
        """The Prometheus text exposition."""
        return generate_latest(self._registry).decode()

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self._of_notices(self._source.fold)
        yield from self._of_state(self._source.snapshot())
        yield from self._of_services(self._source.services)
        yield from self._of_transport(self._source.stats)
        yield from self._of_process()

    def _of_notices(self, fold: NodeFold) -> Iterator[Metric]:
        yield _make.of("opus_requests_total", fold.requests)
        yield _make.of("opus_request_attempts_total", {(app,): n for app, n in fold.attempts.items()})
        yield _make.of("opus_request_hops_total", {(app, str(hops)): n for (app, hops), n in fold.hops.items()})
        yield _make.histogram("opus_routing_latency_seconds", {(app,): h for app, h in fold.routing.items()})
        yield _make.histogram("opus_request_latency_seconds", {(app,): h for app, h in fold.latency.items()})
        yield _make.of("opus_role", {role: float(active) for role, active in fold.roles.items()})
        changed = {role: self._source.origin_unix_s + at / SECOND for role, at in fold.role_changed.items()}
        yield _make.of("opus_role_changed_timestamp_seconds", changed)
        yield _make.one("opus_agent_rtt_seconds", None if fold.agent_rtt is None else fold.agent_rtt / SECOND)
        yield _make.one("opus_attachments_total", fold.attached)
        yield _make.one("opus_agents_lost_total", fold.agents_lost)
        yield _make.of("opus_member_changes_total", {(state,): n for state, n in fold.members.items()})
        yield _make.of("opus_replica_sets_decided_total", {(app,): n for app, n in fold.replica_sets.items()})
        yield _make.of("opus_updates_total", fold.updates)

    def _of_state(self, now: Snapshot) -> Iterator[Metric]:
        yield _make.one("opus_attached", float(bool(now.agent)))
        yield _make.of("opus_view_epoch", {(app,): epoch for app, epoch in now.epochs})
        yield _make.one("opus_leased_nodes", now.nodes)
        yield _make.one("opus_entries", now.entries)
        yield _make.one("opus_state_bytes", now.state_bytes)
        yield _make.one("opus_requests_served_total", now.requests_served)
        yield _make.one("opus_requests_routed_total", now.requests_routed)
        yield _make.one("opus_requests_shed_total", now.requests_shed)
        sent = {(one.app, "sent"): one.copies for one in now.spreads}
        yield _make.of("opus_update_copies_total", {**sent, **{(one.app, "needless"): one.needless for one in now.spreads}})
        yield _make.of("opus_mesh_links", {(one.app,): one.links for one in now.spreads})

    def _of_services(self, services: Mapping[str, ServiceStats]) -> Iterator[Metric]:
        each = services.items()
        yield _make.of("opus_service_ready", {(app,): float(one.ready) for app, one in each})
        changes = {(app, change): n for app, one in each for change, n in one.changes.items()}
        yield _make.of("opus_service_changes_total", changes)
        asked = {(app, outcome): n for app, one in each for outcome, n in one.requests.items()}
        yield _make.of("opus_service_requests_total", asked)
        yield _make.histogram("opus_service_latency_seconds", {(app,): one.latency for app, one in each})
        consumed = {(app,): one.core_time / SECOND for app, one in each if one.core_time is not None}
        yield _make.of("opus_service_core_seconds_total", consumed)
        received = {(app, "received"): one.received_bytes for app, one in each}
        sent = {(app, "sent"): one.sent_bytes for app, one in each}
        yield _make.of("opus_service_files_bytes_total", {**received, **sent})
        yield _make.summary("opus_service_fetch_seconds", {(app,): (one.fetched, one.fetch_s) for app, one in each})
        at_gateway = {(app, outcome): n for app, one in each for outcome, n in one.gateway.items()}
        yield _make.of("opus_gateway_requests_total", at_gateway)

    def _of_transport(self, stats: TransportStats) -> Iterator[Metric]:
        yield _make.of("opus_messages_total", {("sent",): stats.messages_sent, ("received",): stats.messages_received})
        by_traffic = {
            ("sent", "control"): stats.control_bytes_sent,
            ("received", "control"): stats.control_bytes_received,
            ("sent", "requests"): stats.request_bytes_sent,
            ("received", "requests"): stats.request_bytes_received,
        }
        yield _make.of("opus_link_bytes_total", by_traffic)
        lost = {("queue_full",): stats.dropped, ("expired",): stats.expired, ("peer_gone",): stats.failed}
        yield _make.of("opus_messages_lost_total", lost)
        yield _make.one("opus_dials_total", stats.dials)
        failed = {("refused",): stats.refused, ("silence",): stats.silent, ("broken",): stats.broken}
        yield _make.of("opus_connections_failed_total", failed)
        yield _make.one("opus_rejected_total", stats.rejected)

    def _of_process(self) -> Iterator[Metric]:
        source = self._source
        gauges = source.gauges()
        yield _make.of("opus_links", {("out",): gauges["links"], ("in",): gauges["streams"]})
        for name in ("opus_open_requests", "opus_queued_bytes", "opus_notices_dropped_total", "opus_clock_ahead_seconds"):
            yield _make.one(name, gauges[name])
        yield _make.histogram("opus_timer_lag_seconds", {(): source.lag.histogram})
        yield _make.one("opus_peak_resident_bytes", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
