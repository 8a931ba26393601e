"""Claims 7 and 15: how many members a load takes, and that everybody serves where the load is near what everybody can do."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from opus_controller.bench.overlay.sizing import ANSWERED, CALIBRATED, DEADLINE_S, LOADS, SERVICE, Case, cases
from opus_controller.bench.overlay.statistics import Estimate
from opus_controller.claims import words
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
from opus_controller.claims.measure.sizes import LEAST, serving, sized
from opus_controller.claims.setting import Setting

NEAR, ROUGH = 0.20, 0.50
"""The m predicted, off by at most so much of the m needed (or by one member)."""
MOST_HOSTS = 120
SEEDS = 3
COUNT_S = 8.0

HOSTS = 30
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""u/d: what is asked for, of what all hosts can do."""
ALL, FEW = 0.90, 0.25
"""Of the hosts serve: at least, at the greatest load; at most, at the least."""
SERVED_S = 150.0


def _seeds(setting: Setting) -> range:
    return range(setting.first_seed, setting.first_seed + setting.times(SEEDS))


# 7


def _size_name(setting: Setting, seed: int) -> str:
    return f"subset size {setting.main.name} {seed}"


def size_tasks(setting: Setting) -> list[Task]:
    hosts = min(MOST_HOSTS, max(2 * CALIBRATED, setting.scale.hosts // 3))
    count_s = max(1.5, COUNT_S * min(1.0, setting.scale.effort + 0.125))
    return [
        Task(_size_name(setting, seed), partial(sized, setting.main, hosts, seed, count_s), 0.3 * hosts * (1 + count_s / 4))
        for seed in _seeds(setting)
    ]


def judge_size(found: Found, setting: Setting) -> Finding:
    every = [found[_size_name(setting, seed)] for seed in _seeds(setting)]
    of_seed = [(seed, case) for case, seed in zip(cases(every), [seed for seed in _seeds(setting) for _ in LOADS], strict=True)]
    near = [case.off <= NEAR for _, case in of_seed]
    rough = all(case.off <= ROUGH for _, case in of_seed)
    verdict: Verdict = HOLDS if all(near) else CONDITIONS if rough else FAILS
    worst = max((case for _, case in of_seed), key=lambda case: case.off)
    because = (
        f"E is {words.estimate(words.mean(one['e'] for one in every), 2)} at m = {CALIBRATED}; the m that it predicts for half "
        f"and twice the load is within one member or {NEAR:.0%} of the least that carries it in {sum(near)} of {len(near)}. "
        f"The worst: {worst.predicted} predicted, {worst.needed} needed."
    )
    if verdict == CONDITIONS:
        off = sorted({case.load for ok, (_, case) in zip(near, of_seed, strict=True) if not ok})
        because += f" So as a rough guide, within {ROUGH:.0%}: beyond {NEAR:.0%} at {words.listed(off)} the load."
    return Finding(
        verdict,
        because,
        (_size_table(every, of_seed),),
        (_share_plot(every[0], of_seed[: len(LOADS)]), _knee_plot(every)),
        (
            f"Hosts have 0.5 to 2 cores, drawn anew under each seed, and the {SERVICE / 1e6:g} ms of a request are emulated; a "
            f"load is "
            f"carried if {ANSWERED:.1%} of the requests are answered within {DEADLINE_S:g} s.",
            "u is what the steward is told by its agents, d what the ten members of the calibration provide on the mean: members "
            "that are "
            "added provide something else.",
            "E is that of the other seeds; of a single seed its own. The curves are the trials of the bisections, no more.",
        ),
    )


def _size_table(every: Sequence[Figures], of_seed: Sequence[tuple[int, Case]]) -> Table:
    rows = [
        (
            str(seed),
            case.load,
            words.number(case.e, 2),
            words.number(every[k // len(LOADS)]["d"], 2),
            words.number(every[k // len(LOADS)][f"u_{case.load}"], 3),
            str(case.predicted),
            str(case.needed),
            words.percent(case.off, 0),
        )
        for k, (seed, case) in enumerate(of_seed)
    ]
    return Table(
        "Members for half and twice the load of m = 10",
        ("seed", "load", "E", "d, cores", "u, cores", "m predicted", "least m that carries it", "off (0%: within one)"),
        rows,
    )


def _share_plot(one: Figures, of_seed: Sequence[tuple[int, Case]]) -> Plot:
    lines = []
    for _, case in of_seed:
        tried = sorted(one[f"tried_{case.load}"])
        lines.append(Line(f"{case.load} the load", [m for m, _ in tried], [100 * (1 - share) for _, share in tried]))
        lines.append(Line(f"m predicted, {case.load}", [case.predicted], [0.0], points=True))
    title = "Requests not answered in time against m, and the m that the equation predicts (first seed)"
    return Plot("members", title, "members", "not answered within 1 s, %", lines)


def _knee_plot(every: Sequence[Figures]) -> Plot:
    lines = []
    for k, one in enumerate(every):
        tried = sorted(one["tried_e"])
        lines.append(Line(f"seed {k + 1}", [x for x, _ in tried], [100 * (1 - share) for _, share in tried]))
    title = f"Where m = {CALIBRATED} begins to overload"
    return Plot("knee", title, "load by what the members provide", "not answered within 1 s, %", lines)


# 15


def _serve_name(load: float, seed: int) -> str:
    return f"serving {load:g} {seed}"


def _loads(setting: Setting) -> Sequence[float]:
    return SHARES if setting.scale.effort >= 1 else SHARES[::2]


def serve_tasks(setting: Setting) -> list[Task]:
    seconds = 90.0 + (SERVED_S - 90.0) * min(1.0, setting.scale.effort)
    return [
        Task(_serve_name(load, seed), partial(serving, setting.main, HOSTS, seed, load, seconds), 3 + 6 * load)
        for load in _loads(setting)
        for seed in _seeds(setting)
    ]


def judge_serve(found: Found, setting: Setting) -> Finding:
    of = {load: [found[_serve_name(load, seed)] for seed in _seeds(setting)] for load in _loads(setting)}
    serve: dict[float, Estimate] = {load: words.mean(one["members"] / one["n"] for one in every) for load, every in of.items()}
    most, least = serve[SHARES[-1]].value, serve[SHARES[0]].value
    verdict: Verdict = FAILS if most < ALL else HOLDS if least <= FEW else CONDITIONS
    because = (
        f"At u/d = {SHARES[-1]:g} {most:.0%} of {HOSTS} hosts serve (at least {ALL:.0%}), at {SHARES[0]:g} {least:.0%} (at most "
        f"{FEW:.0%})."
    )
    if verdict == CONDITIONS:
        because += " So where u is near d; where it is far from d more serve than the load takes."
    rows = [
        (
            f"{load:g}",
            words.estimate(serve[load], 0, 100) + "%",
            words.number(words.mean(one["members"] for one in every).value),
            words.percent(words.mean(one["answered"] for one in every).value, 2),
        )
        for load, every in of.items()
    ]
    lines = [
        Line(
            "as the steward decides",
            list(of),
            [100 * one.value for one in serve.values()],
            low=[100 * one.low for one in serve.values()],
            high=[100 * one.high for one in serve.values()],
        ),
        Line("u/d (E = 1)", list(of), [100 * max(load, LEAST / HOSTS) for load in of]),
    ]
    plot = Plot("serving", "Hosts that serve against what is asked for", "u/d", "hosts that serve, %", lines)
    return Finding(
        verdict,
        because,
        (Table("After the steward has settled", ("u/d", "hosts that serve", "members", "answered in time"), rows),),
        (plot,),
        (
            f"{HOSTS} hosts of one core; a request takes 400 ms of it (emulated) and may take 5 s, as in scenarios/seti.yaml. "
            f"The steward is free to keep {LEAST} to {HOSTS} members.",
            "The steward also keeps members against losses (its target of availability), and begins with E = 0.6 until it has "
            "seen an "
            "overload: that is why more serve than u/d.",
        ),
    )


CLAIMS = (
    Claim(
        7,
        "subset-size",
        "The ratio of subset size m to the total number of nodes n can approximately be characterized by m/n = u/(d E), where E "
        "is the fraction of resources in use when the system as a whole begins to become overloaded.",
        "E by bisection at m = 10 on hosts of unlike cores; then the least m that carries half and twice the load, by bisection, "
        "against the "
        "m that the equation gives.",
        f"Holds if in all cases the m predicted is within one member or {NEAR:.0%} of the least m that carries the load. Under "
        f"conditions if within {ROUGH:.0%}. Else not.",
        size_tasks,
        judge_size,
    ),
    Claim(
        15,
        "everyone-serves",
        "In a few systems, such as SETI@home, all available service resources will be used; thus u approaches d, and it makes "
        "sense for m to equal n. In most systems u is far less than d, and m far less than n.",
        f"{HOSTS} hosts are asked for {SHARES[0]:.0%} to {SHARES[-1]:.0%} of what all of them can do; a steward that measures "
        f"(replicas: auto) finds the number of members.",
        f"Holds if at u/d = {SHARES[-1]:g} at least {ALL:.0%} of the hosts serve, and at {SHARES[0]:g} at most {FEW:.0%}. Under "
        f"conditions if only the former. Else not.",
        serve_tasks,
        judge_serve,
    ),
)
