"""Whether the testbed itself kept up: only then do a run's figures mean anything."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from opus_controller.engine.validity import LIMITS
from opus_controller.observe.dashboards.parts import GREEN, RED, RUN, Limits, Query, board, faults, lines, number, section, states

_MOST = {limit.name: limit.most for limit in LIMITS}


def build() -> dashboard.Dashboard:
    errors = f"sum by (le) (rate(opus_testbed_rtt_error_seconds_bucket{{{RUN}}}[$window]))"
    lag = f"sum by (le) (rate(opus_timer_lag_seconds_bucket{{{RUN}}}[$window]))"
    return board(
        "opus-testbed",
        "Testbed health",
        "Whether the testbed itself kept up. Past a limit, a run's figures describe the machine and not the overlay.",
        [
            number("Valid", "1 while no limit has been passed.", "short", Query(f"opus_testbed_valid{{{RUN}}}", "valid"),
                   width=6, limits=Limits(1, 1, high_is_good=True)),
            number("Hosts that answer", "Of those of the plan.", "short",
                   Query(f'sum(up{{{RUN}, job="opus-host"}})', "answer"), Query(f'count(up{{{RUN}, job="opus-host"}})', "all"),
                   width=6),
            number("Elapsed", "Since the run's origin.", "s", Query(f"opus_run_elapsed_seconds{{{RUN}}}", "elapsed")),
            number("Overflow", "Packets the links dropped though nobody asked.", "short",
                   Query(f"opus_testbed_link_overflow_packets_total{{{RUN}}}", "packets"), limits=Limits(1, 1)),
            number("Notices lost", "In full buffers.", "short",
                   Query(f"opus_testbed_notices_dropped_total{{{RUN}}}", "notices"), limits=Limits(1, 1)),
            states("Limits passed", "Once passed, passed: the run is invalid.",
                   Query(f"opus_testbed_breached{{{RUN}}}", "{{limit}}"), off=("within", GREEN), on=("passed", RED)),
            section("How late"),
            lines("Links", "How late packets were delivered, 99th percentile of each second.", "s",
                  Query(f"opus_testbed_link_lag_seconds{{{RUN}}}", "p99"), limit=_MOST["link lag p99"] / 1e3),
            lines("Nodes", "How late timers fired, 99th percentile of each second at the worst host.", "s",
                  Query(f"opus_testbed_node_lag_seconds{{{RUN}}}", "worst host p99"), limit=_MOST["node timer lag p99"] / 1e3),
            lines("All nodes' timers", "How late they fired, over the window.", "s",
                  Query(f"histogram_quantile(0.5, {lag})", "p50"), Query(f"histogram_quantile(0.99, {lag})", "p99")),
            lines("Round trips", "Measured less asked, absolute, on probed pairs.", "s",
                  Query(f"histogram_quantile(0.5, {errors})", "p50"), Query(f"histogram_quantile(0.99, {errors})", "p99")),
            section("How busy"),
            lines("Processors", "Share of all cores that is busy.", "percentunit",
                  Query(f"opus_testbed_cpu_busy_ratio{{{RUN}}}", "busy"),
                  Query(f"opus_testbed_cpu_others_ratio{{{RUN}}}", "by other programs"), high=1,
                  limit=_MOST["cpu while timers are late"]),
            lines("Memory", "Share of the machine's that is in use.", "percentunit",
                  Query(f"opus_testbed_memory_used_ratio{{{RUN}}}", "in use"), high=1, limit=_MOST["memory in use"]),
            lines("Processes", "Cores in use.", "none",
                  Query(f'sum(rate(process_cpu_seconds_total{{{RUN}, job="opus-host"}}[$window]))', "all nodes"),
                  Query(f'sum(rate(process_cpu_seconds_total{{{RUN}, job="opus-controller"}}[$window]))', "controller")),
            lines("Memory of a node", "Resident, pages shared with other nodes included.", "bytes",
                  Query(f'quantile(0.5, process_resident_memory_bytes{{{RUN}, job="opus-host"}})', "median"),
                  Query(f'max(process_resident_memory_bytes{{{RUN}, job="opus-host"}})', "largest")),
            section("How it is observed"),
            lines("Readings of hosts' metrics", "A second, by outcome; dead and paused hosts fail.", "ops",
                  Query(f"sum by (outcome) (rate(opus_testbed_scrapes_total{{{RUN}}}[$window]))", "{{outcome}}")),
            lines("Time for a reading", "Of a host's metrics, through the controller.", "s",
                  Query(f'quantile(0.5, scrape_duration_seconds{{{RUN}, job="opus-host"}})', "median"),
                  Query(f'max(scrape_duration_seconds{{{RUN}, job="opus-host"}})', "longest")),
            lines("Hosts that died by themselves", "Nobody had asked for it.", "short",
                  Query(f"opus_hosts_died_total{{{RUN}}}", "died")),
        ],
        [faults()],
    )  # fmt: skip
