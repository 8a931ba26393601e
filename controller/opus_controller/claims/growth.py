"""Claims 1 to 3: hops, state and the cost of coming and going do not grow with n, where those of other overlays grow with log "
"n."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from opus_controller.claims import lives, words
from opus_controller.claims.claim import (
    CONDITIONS,
    FAILS,
    HOLDS,
    Claim,
    Figures,
    Finding,
    Found,
    Line,
    Plot,
    Table,
    Task,
    Verdict,
)
from opus_controller.claims.measure.ideal import routes
from opus_controller.claims.measure.overlays import EVERYONE, MULTI_HOP, OURS, RIVAL, Overlay
from opus_controller.claims.setting import Setting

HOPS = 2
HOPS_GROW = 1.05
"""Mean hops at the largest n by those at the smallest, at most, to count as constant."""
OTHERS_GROW = 1.5
"""The same of converged tables' hops from the smallest to the largest n, at least, to count as growing."""
ENTRIES = 16 + 3
"""Of a plain node that uses one application (DESIGN section 4)."""
ENTRIES_GROW = 1.25
"""Median entries of plain nodes at the largest n by those at the one before it; at few hosts there are too few agents to know."""
PASTRY_SAYS = 75
"""Entries of a Pastry node among a million, as the paper has it."""
COST_GROWS = 1.5
"""What all hosts together send and receive for one that comes, at the largest n by the smallest, at most."""


def _ideal_name(overlay: Overlay, n: int) -> str:
    return f"ideal {overlay.label} {n}"


def _ideals(setting: Setting) -> list[Task]:
    scale = setting.scale
    return [
        Task(
            _ideal_name(one, n),
            partial(routes, one.protocol, n, scale.replicas, scale.routes, setting.first_seed),
            2 + n / 50_000,
        )
        for one in MULTI_HOP
        for n in scale.ideal
    ]


def _grown(setting: Setting) -> list[Task]:
    return lives.tasks([life for overlay in EVERYONE for life in lives.grown(setting, overlay)])


def _both(setting: Setting) -> list[Task]:
    return [*_grown(setting), *_ideals(setting)]


def _series(found: Found, setting: Setting, overlay: Overlay, *path: str) -> tuple[list[float], list[float]]:
    """A figure of live overlays against n."""
    of = lives.grown(setting, overlay)
    return [float(lives.value(found, life, "rest", "hosts")) for life in of], [
        float(lives.value(found, life, *path) or 0) for life in of
    ]


def _ideal(found: Found, setting: Setting, overlay: Overlay, what: str) -> tuple[list[float], list[float]]:
    told: list[Figures] = [found[_ideal_name(overlay, n)] for n in setting.scale.ideal]
    return [float(one["n"]) for one in told], [float(one[what]["mean"]) for one in told]


def _growth(values: Sequence[float]) -> float:
    return values[-1] / values[0] if values and values[0] > 0 else float("inf")


def _table(title: str, series: Sequence[tuple[str, list[float], list[float]]], digits: int) -> Table:
    every = sorted({n for _, sizes, _ in series for n in sizes})
    rows = []
    for label, sizes, values in series:
        by_size = dict(zip(sizes, values, strict=True))
        rows.append((label, *(words.number(by_size[n], digits) if n in by_size else "" for n in every)))
    return Table(title, ("n =", *(f"{n:,.0f}" for n in every)), rows)


def _plot(name: str, title: str, y: str, series: Sequence[tuple[str, list[float], list[float]]], *, log_y: bool = False) -> Plot:
    return Plot(name, title, "hosts", y, [Line(label, sizes, values) for label, sizes, values in series], log_x=True, log_y=log_y)


# 1


def judge_hops(found: Found, setting: Setting) -> Finding:
    live = {one.label: _series(found, setting, one, "requests", "first", "hops", "mean") for one in EVERYONE}
    ideal = {one.label: _ideal(found, setting, one, "hops") for one in MULTI_HOP}
    most = max(_series(found, setting, OURS, "requests", "first", "hops", "p99")[1])
    ours = live[OURS.label][1]
    constant = most <= HOPS and _growth(ours) <= HOPS_GROW
    flat = [label for label, (_, values) in ideal.items() if _growth(values) < OTHERS_GROW]
    verdict: Verdict = FAILS if not constant else CONDITIONS if flat else HOLDS
    because = (
        f"Opus: {words.number(ours[0], 2)} hops at {live[OURS.label][0][0]:,.0f} hosts, {words.number(ours[-1], 2)} at "
        f"{live[OURS.label][0][-1]:,.0f} ({_growth(ours):.2f} times, at most {HOPS_GROW:g}), 99% within {most:.0f}. "
        + "; ".join(
            f"{label}: {words.number(v[0], 1)} to {words.number(v[-1], 1)} from {n[0]:,.0f} to {n[-1]:,.0f}"
            for label, (n, v) in ideal.items()
        )
        + "."
    )
    if verdict == CONDITIONS:
        because += f" Against overlays other than {words.listed(flat)}, whose hops hardly grow (less than {OTHERS_GROW:g} times)."
    series = [
        *((f"{label}, live", *values) for label, values in live.items()),
        *((f"{label}, converged", *values) for label, values in ideal.items()),
    ]
    return Finding(
        verdict,
        because,
        (_table("Hops of first requests, mean", series, 2),),
        (_plot("hops", "Hops of first requests to a replica", "overlay hops, mean", series),),
        (
            "Live overlays grew up in the simulator; converged tables are made by the protocols' own code. Opus has no converged "
            "tables: "
            "node to agent to replica is two hops whatever n is; `opus bench scale` counts them at larger n.",
            "Kademlia's hops are the depth of its look-up, several questions at once, and the request itself.",
        ),
    )


# 2


def judge_state(found: Found, setting: Setting) -> Finding:
    plain = _series(found, setting, OURS, "tables", "plain", "p50")
    most = _series(found, setting, OURS, "tables", "plain", "max")
    agents = _series(found, setting, OURS, "tables", "agents", "max")
    others = {one.label: _series(found, setting, one, "tables", "all", "mean") for one in (*MULTI_HOP, RIVAL)}
    ideal = {one.label: _ideal(found, setting, one, "entries") for one in MULTI_HOP}
    late = plain[1][-1] / plain[1][-2] if len(plain[1]) > 1 and plain[1][-2] else 1.0
    bounded = max(most[1]) <= ENTRIES and late <= ENTRIES_GROW
    agents_flat = _growth(agents[1]) <= ENTRIES_GROW
    verdict: Verdict = FAILS if not bounded else HOLDS if agents_flat else CONDITIONS
    because = (
        f"Plain nodes hold {plain[1][0]:.0f} entries at {plain[0][0]:,.0f} hosts and {plain[1][-1]:.0f} at {plain[0][-1]:,.0f}, "
        f"never more than "
        f"{max(most[1]):.0f} (at most {ENTRIES}); the fullest agent {agents[1][0]:.0f} and {agents[1][-1]:.0f}."
    )
    if verdict == CONDITIONS:
        because += " So for nodes; agents, at depth two, must know all agents."
    pastry = ideal.get("pastry")
    if pastry is not None:
        because += (
            f" Pastry's table: {pastry[1][-1]:.0f} entries at {pastry[0][-1]:,.0f} (the paper says {PASTRY_SAYS} at a million)."
        )
    series = [
        ("opus, plain nodes, median", *plain),
        ("opus, plain nodes, most", *most),
        ("opus, agents, most", *agents),
        *((f"{label}, live", *values) for label, values in others.items()),
        *((f"{label}, converged", *values) for label, values in ideal.items()),
    ]
    return Finding(
        verdict,
        because,
        (_table("Table entries of a host", series, 1),),
        (_plot("entries", "Table entries of a host", "entries", series, log_y=True),),
        ("An entry is another host that a table names, as often as tables name it; replicas that a client remembers count.",),
    )


# 3


def judge_cost(found: Found, setting: Setting) -> Finding:
    join = {one.label: _series(found, setting, one, "newcomers", "join_bytes_of_all") for one in EVERYONE}
    own = {one.label: _series(found, setting, one, "newcomers", "join_bytes") for one in EVERYONE}
    leave = {one.label: _series(found, setting, one, "newcomers", "leave_bytes_of_all") for one in EVERYONE}
    messages = {one.label: _series(found, setting, one, "newcomers", "join_messages") for one in EVERYONE}
    ours = own[OURS.label][1]
    constant = _growth(ours) <= COST_GROWS
    multi = {one.label: own[one.label][1][-1] for one in MULTI_HOP}
    dearer = [label for label, value in multi.items() if value < ours[-1]]
    verdict: Verdict = FAILS if not constant else CONDITIONS if dearer else HOLDS
    because = (
        f"A newcomer to Opus sends and receives {ours[0] / 1000:.1f} kB in its first 40 s at {own[OURS.label][0][0]:,.0f} hosts, "
        f"{ours[-1] / 1000:.1f} kB at {own[OURS.label][0][-1]:,.0f}; "
        + ", ".join(f"{label} {value / 1000:.1f} kB" for label, value in multi.items())
        + " there."
    )
    if verdict == CONDITIONS:
        because += f" It does not grow, but costs more than in {words.listed(dearer)}."
    tables = [
        _table(
            "Bytes that a newcomer sends and receives, its first 40 s, its upkeep included", [(k, *v) for k, v in own.items()], 0
        ),
        _table("Bytes of all hosts beyond rest for one that comes", [(k, *v) for k, v in join.items()], 0),
        _table("Bytes of all hosts beyond rest for one that goes silently", [(k, *v) for k, v in leave.items()], 0),
        _table("Messages that a newcomer sends, its first 40 s", [(k, *v) for k, v in messages.items()], 0),
    ]
    return Finding(
        verdict,
        because,
        tables,
        (_plot("join", "What a newcomer sends and receives in its first 40 s", "bytes", [(k, *v) for k, v in own.items()]),),
        ("What all hosts pay is the difference of two large sums: it scatters, and may come out negative.",),
    )


CLAIMS = (
    Claim(
        1,
        "constant-hops",
        "Routing state and hop count for request routing in existing peer-to-peer systems typically grow with O(lg n) at best; "
        "using only "
        "a subset of the available hosts reduces this overhead.",
        "Hops of every host's first request against n: overlays that grew up in the simulator, and converged tables up to a "
        "million nodes.",
        f"Holds if 99% of Opus' first requests take at most {HOPS} hops at every n, the mean grows at most {HOPS_GROW:g} times "
        f"from the "
        f"smallest to the largest n, and every multi-hop overlay's mean grows at least {OTHERS_GROW:g} times from the smallest "
        f"to the largest "
        "n of converged tables. Under conditions if some of those do not grow. Else not.",
        _both,
        judge_hops,
    ),
    Claim(
        2,
        "constant-state",
        "Routing individual requests is based on a small amount of locally maintained state: in Pastry 75 entries for a million "
        "nodes, "
        "O(lg n) in general; a subset needs less.",
        "Table entries of every host against n, live and of converged tables.",
        f"Holds if no plain node ever holds more than {ENTRIES} entries, the median grows at most {ENTRIES_GROW:g} times from "
        f"the second "
        f"largest n to the largest, and the fullest agent's too from the smallest to the largest n. Under conditions if only "
        f"agents grow. "
        "Else not.",
        _both,
        judge_state,
    ),
    Claim(
        3,
        "cheap-membership",
        "Massively decentralized approaches are sensitive to the rapid status changes of a large subset of the population; "
        "members of a "
        "subset are few and stable, and who comes or goes concerns few others.",
        "Ten hosts go silently, stay away, and come back as strangers: their bytes and messages, and everybody's.",
        f"Holds if what a newcomer sends and receives grows at most {COST_GROWS:g} times from the smallest to the largest n and "
        f"is less there "
        "than in every multi-hop overlay. Under conditions if it does not grow, but is more than in some. Else not.",
        _grown,
        judge_cost,
    ),
)
