"""One host in depth."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from opus_controller.observe.dashboards.overview import quantiles
from opus_controller.observe.dashboards.parts import (
    GREY,
    RUN,
    Query,
    board,
    faults,
    label_variable,
    lines,
    role_changes,
    section,
    states,
)

HOST = f'{RUN}, host="$host"'


def build() -> dashboard.Dashboard:
    return board(
        "opus-host",
        "Host",
        "One host in depth: its clients, its part in the overlay, its link, its process.",
        [
            states("Answers", "Whether its metrics could be read.", Query(f"up{{{HOST}}}", "{{host}}"),
                   off=("no answer", GREY), on=("answers", "green"), width=12, height=6),
            states("Roles", "What it is, by its own word.", Query(f"opus_role{{{HOST}}}", "{{role}} {{app}}"),
                   off=("not", "transparent"), on=("is", "blue"), width=12, height=6),
            section("Its clients"),
            lines("Requests", "A second, by outcome.", "reqps",
                  Query(f"sum by (outcome) (rate(opus_requests_total{{{HOST}}}[$window]))", "{{outcome}}"), stacked=True),
            lines("Routing latency", "Of its clients' answered requests.", "s", *quantiles("opus_routing_latency_seconds", HOST)),
            lines("Open requests", "Without an answer yet.", "short", Query(f"opus_open_requests{{{HOST}}}", "open")),
            section("Its part in the overlay"),
            lines("Work for others", "Requests a second, answered as a replica and passed on as an agent.", "reqps",
                  Query(f"rate(opus_requests_served_total{{{HOST}}}[$window])", "served"),
                  Query(f"rate(opus_requests_routed_total{{{HOST}}}[$window])", "routed")),
            lines("Attached", "1 if it has an agent, or is one; and how many nodes hang on it.", "short",
                  Query(f"opus_attached{{{HOST}}}", "attached"), Query(f"opus_leased_nodes{{{HOST}}}", "nodes of its own")),
            lines("State", "Table entries.", "short", Query(f"opus_entries{{{HOST}}}", "entries")),
            lines("View epoch", "Of the replica set it knows.", "none", Query(f"opus_view_epoch{{{HOST}}}", "{{app}}"), low=None),
            lines("Traffic of its messages", "Control and requests, both ways, with gRPC, TCP and IP.", "Bps",
                  Query(f"sum by (traffic) (rate(opus_link_bytes_total{{{HOST}}}[$window]))", "{{traffic}}"), stacked=True),
            lines("Connections", "To and from peers.", "short", Query(f"opus_links{{{HOST}}}", "{{direction}}")),
            section("Its link"),
            lines("Traffic of eth0", "From the IP header on.", "bps",
                  Query(f"8 * rate(opus_eth0_bytes_total{{{HOST}}}[$window])", "{{direction}}")),
            lines("Packets dropped", "A second, by cause.", "pps",
                  Query(f"rate(opus_eth0_dropped_packets_total{{{HOST}}}[$window])", "{{cause}}"), stacked=True),
            lines("Queue of the access link", "Both directions.", "bytes", Query(f"opus_eth0_queue_bytes{{{HOST}}}", "waiting")),
            section("Its process"),
            lines("CPU", "Cores in use.", "none", Query(f"rate(process_cpu_seconds_total{{{HOST}}}[$window])", "cores")),
            lines("Memory", "Resident, pages shared with other nodes included.", "bytes",
                  Query(f"process_resident_memory_bytes{{{HOST}}}", "now"), Query(f"opus_peak_resident_bytes{{{HOST}}}", "peak")),
            lines("Timer lag", "How late its timers fired, over the window.", "s", *quantiles("opus_timer_lag_seconds", HOST)),
            lines("Clock", "How far it is ahead of the testbed's; below 0: behind.", "s",
                  Query(f"opus_clock_ahead_seconds{{{HOST}}}", "ahead"), low=None),
        ],
        [faults(), role_changes('host="$host"')],
        [label_variable("host", "Host", f'up{{{RUN}, job="opus-host"}}', "host")],
    )  # fmt: skip
