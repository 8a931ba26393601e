"""Users' programs beside the nodes; empty where a run has no service."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from opus_controller.observe.dashboards.overview import quantiles
from opus_controller.observe.dashboards.parts import RUN, Query, board, faults, lines, number, role_changes, section, states

_STARTED = f'opus_service_changes_total{{{RUN}, change="started"}}'
_CHANGES = f"opus_service_changes_total{{{RUN}}}"
_BYTES = f"opus_service_files_bytes_total{{{RUN}}}"
_READY = f"opus_service_ready{{{RUN}}}"
_RECEIVED = f'opus_service_files_bytes_total{{{RUN}, direction="received"}}'
_FETCHES = f"opus_service_fetch_seconds_count{{{RUN}}}"


def build() -> dashboard.Dashboard:
    return board(
        "opus-services",
        "Services",
        "Users' programs beside the nodes: where they run, how they answer, what shipping their files costs.",
        [
            number("Ready now", "Programs that take requests.", "short", Query(f"sum by (app) ({_READY})", "{{app}}")),
            number("Started so far", "Programs; of hosts that live.", "short", Query(f"sum by (app) ({_STARTED})", "{{app}}")),
            number("Shipped so far", "Files' bytes that new replicas received; of hosts that live.", "bytes",
                   Query(f"sum by (app) ({_RECEIVED})", "{{app}}"), width=5),
            number("Time of a shipment", "Mean, from when files were wanted to when they lay there unpacked.", "s",
                   Query(f"sum by (app) (opus_service_fetch_seconds_sum{{{RUN}}}) / (sum by (app) ({_FETCHES}) > 0)", "{{app}}"),
                   width=5),
            number("Shipments so far", "To hosts that live.", "short", Query(f"sum by (app) ({_FETCHES})", "{{app}}"), width=6),
            section("Where they run"),
            lines("Programs ready", "That take requests, beside the replicas that live.", "short",
                  Query(f"sum by (app) ({_READY})", "{{app}} ready"),
                  Query(f"opus_replicas{{{RUN}}} and on (app) {_READY}", "{{app}} replicas"), width=12),
            lines("Programs started and ended", "Over the window; stopped: with the role; failed: not even started.", "short",
                  Query(f"sum by (change) (increase({_CHANGES}[$window]))", "{{change}}"), width=12),
            states("Hosts whose program is ready", "Those where it was ever started.",
                   Query(f"{_READY} and on (host, app) ({_STARTED} > 0)", "{{host}} {{app}}"),
                   off=("not ready", "transparent"), on=("ready", "green")),
            section("How they answer"),
            lines("Requests", "A second, laid before programs, by outcome.", "reqps",
                  Query(f"sum by (app, outcome) (rate(opus_service_requests_total{{{RUN}}}[$window]))", "{{app}} {{outcome}}"),
                  stacked=True),
            lines("Answer time", "The programs' own.", "s", *quantiles("opus_service_latency_seconds")),
            lines("Gateways", "Requests (http) or connections (tcp) a second at hosts' gateways, by outcome.", "reqps",
                  Query(f"sum by (app, outcome) (rate(opus_gateway_requests_total{{{RUN}}}[$window]))", "{{app}} {{outcome}}"),
                  stacked=True),
            section("What their files cost"),
            lines("Files passed on", "Between hosts.", "Bps",
                  Query(f"sum by (direction) (rate({_BYTES}[$window]))", "{{direction}}"), width=12),
            lines("Files by host", "Received so far.", "bytes",
                  Query(f"sum by (host) ({_RECEIVED} > 0)", "{{host}}"), width=12),
        ],
        [faults(), role_changes('role="replica"')],
    )  # fmt: skip
