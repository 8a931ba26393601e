"""What applications are worth while a run goes on, which hosts each holds, and by what that was decided."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from opus_controller.observe.dashboards.parts import (
    GREEN,
    RUN,
    Query,
    board,
    faults,
    lines,
    number,
    role_changes,
    rows,
    section,
    states,
)


def _each(metric: str, legend: str = "{{app}}") -> Query:
    return Query(f"opus_app_{metric}{{{RUN}}}", legend)


def build() -> dashboard.Dashboard:
    return board(
        "opus-applications",
        "Applications",
        "Utility by application over time, who holds which hosts, and by what that was decided; opus explain APP tells it all.",
        [
            number(
                "Worth now", "To its clients, by the requests that ended in the last 10 s.", "none", _each("utility"), width=6
            ),
            number("Worth at most", "When all is as it wishes.", "none", _each("worth"), width=6),
            number("Hosts now", "That live and serve it.", "short", Query(f"opus_replicas{{{RUN}}}", "{{app}}"), width=6),
            number("Hosts promised", "Floors, kept whatever the others are worth.", "short", _each("hosts_promised"), width=6),
            section("Utility"),
            lines(
                "Utility",
                "What clients felt, through the application's utility, by the requests that ended in the last 10 s.",
                "none",
                _each("utility"),
                width=12,
            ),
            lines(
                "Share of its worth",
                "Utility / what it is worth when all is as it wishes.",
                "percentunit",
                Query(f"opus_app_utility{{{RUN}}} / on (app) group_left opus_app_worth{{{RUN}}}", "{{app}}"),
                width=12,
                high=1,
            ),
            lines("Utility expected", "By the steward, when it last divided hosts.", "none", _each("utility_expected"), width=12),
            lines(
                "Answered and not",
                "Requests a second, by application and outcome.",
                "reqps",
                Query(f"sum by (app, outcome) (rate(opus_run_requests_total{{{RUN}}}[$window]))", "{{app}} {{outcome}}"),
                width=12,
                stacked=True,
            ),
            section("Hosts"),
            lines(
                "Hosts",
                "That live and serve it, and as many as were decided on last.",
                "short",
                Query(f"opus_replicas{{{RUN}}}", "{{app}} live"),
                _each("hosts_decided", "{{app}} decided"),
                width=12,
            ),
            lines(
                "Hosts gained and lost",
                "By decisions, over the window.",
                "short",
                Query(f"increase(opus_app_hosts_moved_total{{{RUN}}}[$window])", "{{app}} {{direction}}"),
                width=12,
            ),
            states(
                "Who holds which hosts",
                "By the hosts' own word, each application's in turn.",
                Query(f'max by (app, host) (opus_role{{{RUN}, role="replica"}})', "{{app}}: {{host}}"),
                off=("not", "transparent"),
                on=("serves", GREEN),
                height=16,
            ),
            section("Why"),
            lines("Asked", "Requests a second that the last decision went by.", "reqps", _each("asked_per_second")),
            lines("E", "Use of hosts at which it was taken to overload.", "percentunit", _each("overload_ratio"), high=1),
            lines("Cost of a request", "Of a core, as the last decision went by.", "s", _each("request_core_seconds")),
            lines(
                "Decisions",
                "On who serves it, over the window.",
                "short",
                Query(f"sum by (app) (increase(opus_app_decisions_total{{{RUN}}}[$window]))", "{{app}}"),
                width=12,
            ),
            rows(
                "Decisions so far",
                "By why.",
                Query(f"sum by (app, why) (opus_app_decisions_total{{{RUN}}}) > 0"),
                width=12,
                counted="decisions",
            ),
        ],
        [faults(), role_changes('role="steward"')],
    )
