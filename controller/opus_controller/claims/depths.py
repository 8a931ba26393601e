"""Claim 14: hierarchies of any depth; from which n on a third level pays."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import exp, isfinite, log

from opus_controller.bench.overlay.deep import LEVELS
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
from opus_controller.claims.measure.depths import look
from opus_controller.claims.monitoring import Growth
from opus_controller.claims.setting import Setting

DEPTHS = (1, 2, 3, 4)
MESHED = 100
"""Hosts, up to which depth 1 is tried: everybody is an agent, and knows all others."""
TWO, THREE = 2, 3
SLOWER = 1.2
"""Latency by agents at depth 3 by that at depth 2, at most."""
FARTHEST = 1e9
"""Hosts ("potentially billions", the paper): what only pays beyond does not pay."""
COUNT_S = 60.0


def _sizes(setting: Setting, depth: int) -> list[int]:
    """Depth 4 is looked at once, at the size before the largest: for what it costs, not for what it brings."""
    sizes, whole = setting.scale.sizes, setting.scale.effort >= 1
    if depth == 1:
        return [n for n in sizes if n <= MESHED]
    if depth <= THREE:
        return list(sizes) if whole else [sizes[0], sizes[-1]]
    return [sizes[-2]] if whole else []


def _name(setting: Setting, depth: int, n: int) -> str:
    return f"depth {depth} {setting.main.name} {n}"


def tasks(setting: Setting) -> list[Task]:
    scale = setting.scale
    count_s = COUNT_S if scale.effort >= 1 else scale.rest_s
    return [
        Task(
            _name(setting, depth, n),
            partial(look, setting.main, n, depth, scale.replicas, setting.first_seed, scale.settle_s, count_s),
            n / 8 * (4 if depth == 1 else 1),
        )
        for depth in DEPTHS
        for n in _sizes(setting, depth)
    ]


def busiest(one: Figures) -> float:
    """Mean control bytes a second of a host on the level where that is most."""
    return max(float(one[f"{level}_bytes"]) for level in LEVELS if one[f"{level}s"])


def fullest(one: Figures) -> float:
    """Table entries of the agent, on whatever level, that holds most."""
    return float(max(one[f"{level}_entries_max"] for level in LEVELS[1:]))


MEASURES: dict[str, Callable[[Figures], float]] = {"bytes of the busiest level": busiest, "entries of the fullest agent": fullest}


def crosses(two: Growth, three: Growth) -> float:
    """From so many hosts on the third level has less; inf: never."""
    if two.power <= three.power:
        return float("inf")
    exponent = log(three.factor / two.factor) / (two.power - three.power)
    return exp(exponent) if exponent < log(FARTHEST) else float("inf")


def judge(found: Found, setting: Setting) -> Finding:
    of = {depth: [found[_name(setting, depth, n)] for n in _sizes(setting, depth)] for depth in DEPTHS}
    two, three = of[TWO][-1], of[THREE][-1]
    slower = three["latency_ms"] / two["latency_ms"]
    pays = [what for what, measure in MEASURES.items() if measure(three) < measure(two)]
    later = {what: crosses(_growth(of[TWO], measure), _growth(of[THREE], measure)) for what, measure in MEASURES.items()}
    expected = {what: n for what, n in later.items() if isfinite(n) and what not in pays}
    quick = slower <= SLOWER
    verdict: Verdict = FAILS if not quick else HOLDS if pays else CONDITIONS if expected else FAILS
    because = (
        f"At {two['hosts']:,} hosts depth 2 and 3: {busiest(two):,.0f} and {busiest(three):,.0f} B/s a host of the busiest "
        f"level, "
        f"{fullest(two):.0f} and {fullest(three):.0f} entries at the fullest agent, {words.ms(two['latency_ms'])} and "
        f"{words.ms(three['latency_ms'])} by agents ({slower:.2f} times, at most {SLOWER:g})."
    )
    if verdict == HOLDS:
        because += f" A third level has fewer {words.listed(pays)}."
    elif verdict == CONDITIONS:
        at = [f"{what} from about {_round(n)} hosts on" for what, n in expected.items()]
        because += f" By the growth from {of[TWO][0]['hosts']:,} hosts on it would have fewer {words.listed(at)}."
    return Finding(
        verdict,
        because,
        (_table(of),),
        (
            _plot("bytes", "Control bytes on the busiest level", "B/s a host", of, busiest),
            _plot("entries", "Table entries of the fullest agent", "entries", of, fullest),
            _plot("latency", "Requests by agents", "ms to the replica, mean", of, lambda one: float(one["latency_ms"])),
        ),
        (
            "The cap of nodes an agent is 22 at every depth. Requests go by agents here (caches are off): a node that knows its "
            "replicas needs no hierarchy.",
            f"At depth 1 every host is an agent that knows all others; it is tried up to {MESHED} hosts. One seed.",
            f"Growth is fitted as a power of n to the sizes measured; {_told(later)}.",
        ),
    )


def _growth(of: list[Figures], measure: Callable[[Figures], float]) -> Growth:
    return Growth.of([float(one["hosts"]) for one in of], [measure(one) for one in of])


def _told(later: dict[str, float]) -> str:
    cross = (f"{what} at {_round(n)} hosts" if isfinite(n) else f"{what} never" for what, n in later.items())
    return f"the curves of depth 2 and 3 cross: {'; '.join(cross)}"


def _round(n: float) -> str:
    return f"{float(f'{n:.2g}'):,.0f}"


def _table(of: dict[int, list[Figures]]) -> Table:
    head = (
        "depth",
        "hosts",
        *(f"{level}s: B/s, most entries" for level in LEVELS),
        "steward's entries",
        "by agents, ms",
        "hops, most",
        "answered",
    )
    rows = []
    for depth, every in of.items():
        for one in every:
            levels = (
                f"{one[f'{level}s']}: {one[f'{level}_bytes']:,.0f}, {one[f'{level}_entries_max']}" if one[f"{level}s"] else ""
                for level in LEVELS
            )
            answered = words.percent(one["ok"] / one["issued"], 2)
            told = (str(one["steward_entries"]), words.number(one["latency_ms"]), str(one["hops_max"]), answered)
            rows.append((str(depth), f"{one['hosts']:,}", *levels, *told))
    return Table("How many hosts are on each level, what each of them sends and receives, what the fullest holds", head, rows)


def _plot(name: str, title: str, y: str, of: dict[int, list[Figures]], measure: Callable[[Figures], float]) -> Plot:
    lines = [
        Line(f"depth {depth}", [float(one["hosts"]) for one in every], [measure(one) for one in every])
        for depth, every in of.items()
        if every
    ]
    return Plot(name, title, "hosts", y, lines, log_x=True)


CLAIMS = (
    Claim(
        14,
        "depth",
        "A two-level hierarchy should be sufficient for most applications; our approach extends directly to hierarchies of "
        "arbitrary "
        "depth.",
        "The same hosts under hierarchies of one to four levels: control bytes of each level, table entries of agents and of the "
        "steward, and latency of requests by agents, against n.",
        f"Holds if at the largest n measured depth 3 has fewer control bytes on its busiest level than depth 2, or fewer entries "
        f"at "
        f"its fullest agent, while requests by agents take at most {SLOWER:g} times as long. Under conditions if they do and "
        f"only "
        f"the growth fitted to what was measured says so of a larger n, below {FARTHEST:.0e}. Else not.",
        tasks,
        judge,
    ),
)
