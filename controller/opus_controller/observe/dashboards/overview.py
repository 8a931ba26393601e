"""What users of the service feel, and what was done to it."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from opus_controller.observe.dashboards.parts import (
    GREY,
    RED,
    RUN,
    Limits,
    Query,
    board,
    faults,
    heat,
    lines,
    number,
    role_changes,
    section,
    states,
)

_ISSUED = f"opus_run_requests_total{{{RUN}}}"
_OK = f'opus_run_requests_total{{{RUN}, outcome="ok"}}'
_FAILED = f'opus_run_requests_total{{{RUN}, outcome!="ok"}}'


def quantiles(metric: str, selector: str = RUN) -> tuple[Query, ...]:
    """Median, 90th and 99th percentile of a histogram over the window."""
    return tuple(
        Query(f"histogram_quantile({q}, sum by (le) (rate({metric}_bucket{{{selector}}}[$window])))", f"p{round(q * 100)}")
        for q in (0.5, 0.9, 0.99)
    )


def build() -> dashboard.Dashboard:
    return board(
        "opus-overview",
        "Overview",
        "What users of the service feel, and what was done to it.",
        [
            number(
                "Availability so far",
                "Requests answered within their deadline / issued by live clients, since the run's begin.",
                "percentunit",
                Query(f"opus_availability_ratio{{{RUN}}}", "{{app}}"),
                limits=Limits(0.99, 0.999, high_is_good=True),
            ),
            number("Requests so far", "Whose outcome is known.", "short", Query(f"sum by (app) ({_ISSUED})", "{{app}}")),
            number("Hosts now", "By state.", "short", Query(f"sum by (state) (opus_hosts{{{RUN}}})", "{{state}}"), width=6),
            number("Replicas now", "That live.", "short", Query(f"opus_replicas{{{RUN}}}", "{{app}}"), width=3),
            number("Agents now", "That live.", "short", Query(f"opus_agents{{{RUN}}}", "agents"), width=3),
            number(
                "Valid",
                "1 while the figures mean something: the testbed itself kept up.",
                "short",
                Query(f"opus_testbed_valid{{{RUN}}}", "valid"),
                limits=Limits(1, 1, high_is_good=True),
            ),
            lines(
                "Availability",
                "Requests answered in time / whose outcome came in, over the window.",
                "percentunit",
                Query(f"sum by (app) (rate({_OK}[$window])) / sum by (app) (rate({_ISSUED}[$window]))", "{{app}}"),
                width=12,
                low=None,
                high=1,
            ),
            lines(
                "Requests",
                "A second, by outcome.",
                "reqps",
                Query(f"sum by (outcome) (rate({_ISSUED}[$window]))", "{{outcome}}"),
                width=12,
                stacked=True,
            ),
            lines(
                "Routing latency",
                "From issue at the client to arrival at the replica that answers.",
                "s",
                *quantiles("opus_routing_latency_seconds"),
                width=12,
            ),
            lines(
                "Request latency",
                "From issue at the client to the reply.",
                "s",
                *quantiles("opus_request_latency_seconds"),
                width=12,
            ),
            states(
                "Faults in force",
                "Partitions and link changes until healed, dead hosts until restarted.",
                Query(f"opus_fault_active{{{RUN}}}", "{{name}}: {{fault}} {{target}}"),
                off=("over", "transparent"),
                on=("in force", RED),
                height=5,
            ),
            section("Where"),
            lines(
                "Failed requests by site",
                "A second, by the client's site.",
                "reqps",
                Query(f"sum by (site) (rate({_FAILED}[$window]))", "{{site}}"),
                stacked=True,
            ),
            lines(
                "Replicas",
                "Live, and asked for.",
                "short",
                Query(f"opus_replicas{{{RUN}}}", "{{app}} live"),
                Query(f"opus_replicas_wanted{{{RUN}}}", "{{app}} wanted"),
            ),
            lines(
                "Hosts not up",
                "Powered off, crashed or paused.",
                "short",
                Query(f'sum by (state) (opus_hosts{{{RUN}, state!="up"}})', "{{state}}"),
                stacked=True,
            ),
            heat(
                "Routing latency, all of it",
                "Answered requests by bucket.",
                "s",
                Query(f"sum by (le) (increase(opus_routing_latency_seconds_bucket{{{RUN}}}[$window]))", "{{le}}"),
            ),
            states(
                "Hosts that answer",
                "Whether each host's metrics could be read; dead and paused ones do not answer.",
                Query(f'up{{{RUN}, job="opus-host"}}', "{{host}}"),
                off=("no answer", GREY),
                on=("answers", "green"),
                width=12,
            ),
        ],
        [faults(), role_changes('role="replica"')],
    )
