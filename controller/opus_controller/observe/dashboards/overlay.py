"""How the overlay organizes itself: roles, attachment, state, control traffic, membership, and how near it comes."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from opus_controller.observe.dashboards.parts import RUN, Query, board, faults, lines, number, role_changes, rows, section

_CONTROL = f'sum by (host) (rate(opus_link_bytes_total{{{RUN}, traffic="control"}}[$window]))'


def _spread(expr: str) -> tuple[Query, ...]:
    """Over hosts."""
    return (Query(f"quantile(0.5, {expr})", "median host"), Query(f"max({expr})", "worst host"))


def build() -> dashboard.Dashboard:
    routing, best = (f"rate(opus_stretch_{part}_seconds_total{{{RUN}}}[$window])" for part in ("routing", "best"))
    return board(
        "opus-overlay",
        "Overlay",
        "How the overlay organizes itself: roles, attachment, state, control traffic, membership, stretch.",
        [
            number(
                "Roles now",
                "Hosts that are it now, by their own word.",
                "short",
                Query(f"sum by (role) (opus_role{{{RUN}}})", "{{role}}"),
                width=9,
            ),
            number("Attached now", "Share of living hosts that have an agent, or are one.", "percentunit",
                   Query(f"avg(opus_attached{{{RUN}}})", "attached"), width=5),
            number("Stretch so far", "Sum of routing latencies / sum of delays to the best live replica.", "none",
                   Query(f"sum by (app) (opus_stretch_routing_seconds_total{{{RUN}}})"
                         f" / sum by (app) (opus_stretch_best_seconds_total{{{RUN}}})", "{{app}}"), width=5),
            number("Epoch now", "The newest replica set that any host knows.", "none",
                   Query(f"max by (app) (opus_view_epoch{{{RUN}}})", "{{app}}"), width=5),
            section("Roles"),
            lines("Roles", "Hosts in each role.", "short", Query(f"sum by (role) (opus_role{{{RUN}}})", "{{role}}")),
            lines("Nodes of an agent", "Attached to it, itself not counted.", "short",
                  Query(f'opus_leased_nodes{{{RUN}}} and on (run, host) opus_role{{role="agent"}} == 1', "{{host}}")),
            rows("Who is what now", "By the hosts' own word.",
                 Query(f"max by (host, site, role, app) (opus_role{{{RUN}}} == 1)"), width=8),
            section("Attachment and membership"),
            lines("Attachments", "A second; losses are agents given up.", "ops",
                  Query(f"sum(rate(opus_attachments_total{{{RUN}}}[$window]))", "attached"),
                  Query(f"sum(rate(opus_agents_lost_total{{{RUN}}}[$window]))", "lost")),
            lines("Round trip to the agent", "As measured when attaching.", "s", *_spread(f"opus_agent_rtt_seconds{{{RUN}}}")),
            lines("Membership", "Changes in agents' views of each other over the window, by new state.", "short",
                  Query(f"sum by (state) (increase(opus_member_changes_total{{{RUN}}}[$window]))", "{{state}}")),
            lines("View epochs", "Of the replica sets that hosts know: apart while news travels.", "none",
                  Query(f"max by (app) (opus_view_epoch{{{RUN}}})", "{{app}} newest"),
                  Query(f"min by (app) (opus_view_epoch{{{RUN}}})", "{{app}} oldest"), low=None),
            lines("Replica sets decided", "By stewards, over the window.", "short",
                  Query(f"sum by (app) (increase(opus_replica_sets_decided_total{{{RUN}}}[$window]))", "{{app}}")),
            lines("Attached", "Share of living hosts that have an agent, or are one.", "percentunit",
                  Query(f"avg(opus_attached{{{RUN}}})", "attached"), high=1),
            section("What it costs"),
            lines("Control traffic of a host", "Sent plus received, with gRPC, TCP and IP.", "Bps", *_spread(_CONTROL)),
            lines("State of a host", "Table entries.", "short", *_spread(f"opus_entries{{{RUN}}}")),
            lines("Size of the state", "As messages would encode it.", "bytes", *_spread(f"opus_state_bytes{{{RUN}}}")),
            section("Updates among replicas"),
            lines("Updates", "Writes a second that a replica told the others of, and that they heard of.", "ops",
                  Query(f'sum by (app) (rate(opus_updates_total{{{RUN}, what="published"}}[$window]))', "{{app}} published"),
                  Query(f'sum by (app) (rate(opus_updates_total{{{RUN}, what="delivered"}}[$window]))', "{{app}} delivered")),
            lines("Copies for a delivery", "Updates sent / delivered: 1 is the least.", "none",
                  Query(f'sum by (app) (rate(opus_update_copies_total{{{RUN}, what="sent"}}[$window]))'
                        f' / sum by (app) (rate(opus_updates_total{{{RUN}, what="delivered"}}[$window]))', "{{app}}")),
            lines("Links of a replica", "With others in the mesh.", "short",
                  Query(f"max by (app) (opus_mesh_links{{{RUN}}})", "{{app}} most"),
                  Query(f"avg by (app) (opus_mesh_links{{{RUN}}})", "{{app}} mean")),
            section("How requests go"),
            lines("Stretch", "Routing latency / delay to the best live replica, of clients that are no replicas.",
                  "none", Query(f"sum by (app) ({routing}) / sum by (app) ({best})", "{{app}}")),
            lines("Hops", "Answered requests a second, by overlay hops to the replica.", "reqps",
                  Query(f"sum by (hops) (rate(opus_request_hops_total{{{RUN}}}[$window]))", "{{hops}}"), stacked=True),
            lines("Ways", "Answered requests a second: by an agent, direct, or the client's own host.", "reqps",
                  Query(f'sum by (via) (rate(opus_requests_total{{{RUN}, outcome="ok"}}[$window]))', "{{via}}"), stacked=True),
            lines("Served by", "Requests a second, by replica.", "reqps",
                  Query(f"rate(opus_requests_served_total{{{RUN}}}[$window]) > 0", "{{host}}"), stacked=True),
            lines("Routed by", "Requests a second, by agent.", "reqps",
                  Query(f"rate(opus_requests_routed_total{{{RUN}}}[$window]) > 0", "{{host}}"), stacked=True),
            lines("Attempts for a request", "Messages that clients sent / requests.", "none",
                  Query(f"sum by (app) (rate(opus_request_attempts_total{{{RUN}}}[$window]))"
                        f" / sum by (app) (rate(opus_requests_total{{{RUN}}}[$window]))", "{{app}}")),
        ],
        [faults(), role_changes()],
    )  # fmt: skip
