"""The emulated network: what was asked for, what packets met."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from opus_controller.observe.dashboards.parts import RUN, Query, board, faults, lines, rows, section

_PAIR = "source_site, target_site"
_NAMES = "{{source_site}} - {{target_site}}"
_ASKED = f"avg by ({_PAIR}) (opus_rtt_asked_seconds{{{RUN}}})"
_MEASURED = (
    f"sum by ({_PAIR}) (rate(opus_rtt_seconds_sum{{{RUN}}}[$window]))"
    f" / sum by ({_PAIR}) (rate(opus_rtt_seconds_count{{{RUN}}}[$window]))"
)
_LOST = f"sum by ({_PAIR}) (rate(opus_probes_lost_total{{{RUN}}}[$window]))"
_ANSWERED = f"sum by ({_PAIR}) (rate(opus_rtt_seconds_count{{{RUN}}}[$window]))"


def build() -> dashboard.Dashboard:
    return board(
        "opus-network",
        "Network",
        "The emulated network: round trips and losses asked for and measured, drops by cause, queues.",
        [
            section("Paths between sites, on probed pairs of hosts"),
            lines("Round trip asked", "What the links are told to give, access links included.", "s",
                  Query(_ASKED, _NAMES), width=12),
            lines("Round trip measured", "Means of echoes over the window; none while a path is cut.", "s",
                  Query(_MEASURED, _NAMES), width=12),
            rows("Round trips now", "Seconds, asked and measured over the run so far.",
                 Query(_ASKED, "asked"),
                 Query(f"sum by ({_PAIR}) (opus_rtt_seconds_sum{{{RUN}}}) / sum by ({_PAIR}) (opus_rtt_seconds_count{{{RUN}}})",
                       "measured"), unit="s", width=8),
            lines("Loss of round trips", "Asked for, and of echoes over the window.", "percentunit",
                  Query(f"max by ({_PAIR}) (opus_path_loss_asked_ratio{{{RUN}}})", f"{_NAMES} asked"),
                  Query(f"{_LOST} / ({_LOST} + {_ANSWERED})", f"{_NAMES} measured")),
            lines("Paths cut", "Probed pairs of hosts between which nothing is to pass.", "short",
                  Query(f"sum by ({_PAIR}) (opus_path_cut{{{RUN}}})", _NAMES), stacked=True),
            rows("Round trips before the workload", "Seconds, as the fidelity gate found them.",
                 Query(f"avg by ({_PAIR}) (opus_gate_rtt_asked_seconds{{{RUN}}})", "asked"),
                 Query(f"avg by ({_PAIR}) (opus_gate_rtt_seconds{{{RUN}}})", "measured"), unit="s"),
            lines("Pairs that the gate found wrong", "Measured before the workload, beyond tolerance.", "short",
                  Query(f"sum(1 - opus_gate_within_tolerance{{{RUN}}})", "pairs")),
            section("Emulated links"),
            lines("Traffic", "Sent by the hosts of each site.", "bps",
                  Query(f'8 * sum by (site) (rate(opus_eth0_bytes_total{{{RUN}, direction="sent"}}[$window]))', "{{site}}"),
                  stacked=True),
            lines("Packets", "Of all hosts, a second.", "pps",
                  Query(f"sum by (direction) (rate(opus_eth0_packets_total{{{RUN}}}[$window]))", "{{direction}}")),
            lines("Packets dropped", "A second, by cause: testbed is what nobody asked for.", "pps",
                  Query(f"sum by (cause) (rate(opus_eth0_dropped_packets_total{{{RUN}}}[$window]))", "{{cause}}"), stacked=True),
            lines("Packets altered", "A second, as asked for.", "pps",
                  Query(f"sum by (how) (rate(opus_eth0_altered_packets_total{{{RUN}}}[$window]))", "{{how}}"), stacked=True),
            lines("Queues of access links", "The fullest of each site.", "bytes",
                  Query(f"max by (site) (opus_eth0_queue_bytes{{{RUN}}})", "{{site}}")),
            section("What nodes make of it"),
            lines("Messages", "Between nodes, a second.", "ops",
                  Query(f"sum by (direction) (rate(opus_messages_total{{{RUN}}}[$window]))", "{{direction}}")),
            lines("Messages not sent", "A second, by cause.", "ops",
                  Query(f"sum by (cause) (rate(opus_messages_lost_total{{{RUN}}}[$window]))", "{{cause}}"), stacked=True),
            lines("Connections that failed", "A second, by cause.", "ops",
                  Query(f"sum by (cause) (rate(opus_connections_failed_total{{{RUN}}}[$window]))", "{{cause}}"), stacked=True),
            lines("Connections", "Open, of all hosts.", "short",
                  Query(f"sum by (direction) (opus_links{{{RUN}}})", "{{direction}}")),
            lines("Waiting for peers", "Bytes in nodes' own queues.", "bytes",
                  Query(f"sum(opus_queued_bytes{{{RUN}}})", "all"), Query(f"max(opus_queued_bytes{{{RUN}}})", "worst host")),
            lines("Dials", "Tried a second.", "ops", Query(f"sum(rate(opus_dials_total{{{RUN}}}[$window]))", "dials")),
        ],
        [faults()],
    )  # fmt: skip
