"""Claim 5: how many random replicas a few well-placed ones are worth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from opus_controller.claims import words
from opus_controller.claims.claim import CONDITIONS, FAILS, HOLDS, Claim, Figures, Finding, Found, Line, Plot, Table, Task
from opus_controller.claims.measure import few
from opus_controller.claims.measure.networks import Network
from opus_controller.claims.setting import Setting

COUNTS = (5, 10, 20, 50)
LIVE_COUNTS = (5, 10, 20)
DRAWS = 200
WORTH = 1.5
"""So many times as many random replicas are a waste worth a word."""
BY_IDEAL, BY_STEWARDS, LIVE = "ideal", "stewards", "live"
MEASURES = {"mean": "mean", "p95": "p95"}


@dataclass(frozen=True)
class Case:
    """m placed replicas, and how many random ones are as good."""

    network: str
    by: str
    m: int
    ms: dict[str, float]
    needed: dict[str, int]
    sure: dict[str, int]

    def factor(self, measure: str) -> float:
        return self.needed[measure] / self.m


def _counts(counts: Sequence[int], setting: Setting) -> list[int]:
    """Of that many hosts, in which a quarter at most serves."""
    return [m for m in counts if 4 * m <= setting.scale.hosts]


def _geometry(network: Network, setting: Setting) -> str:
    return f"few-replicas {network.name} {setting.scale.hosts}"


def _live(setting: Setting) -> str:
    return f"few-replicas live {setting.main.name} {setting.scale.hosts} {setting.first_seed}"


def tasks(setting: Setting) -> list[Task]:
    hosts, draws = setting.scale.hosts, setting.times(DRAWS, 10)
    drawn = [
        Task(_geometry(one, setting), partial(few.geometry, one, hosts, _counts(COUNTS, setting), draws), hosts / 40)
        for one in setting.networks
    ]
    of = partial(few.live, setting.main, hosts, _counts(LIVE_COUNTS, setting), setting.first_seed)
    return [*drawn, Task(_live(setting), of, hosts / 3)]


def judge(found: Found, setting: Setting) -> Finding:
    cases = list(_cases(found, setting))
    judged = [case for case in cases if case.by != BY_IDEAL]
    short = [(case, measure) for case in judged for measure in MEASURES if case.factor(measure) < WORTH]
    share = 1 - len(short) / (len(judged) * len(MEASURES))
    verdict = HOLDS if not short else CONDITIONS if share >= 0.5 else FAILS
    return Finding(
        verdict,
        f"{_range(judged, 'mean')} times as many random replicas give the same mean delay as those that Opus places, "
        f"{_range(judged, 'p95')} times as many the same p95.{_except(short)}",
        tables=[_table(cases)],
        plots=[_plot(found, network, setting) for network in setting.networks],
        notes=[
            "Delays are one way to the nearest replica by the matrix, over all hosts, those that serve included (0 for them).",
            "*ideal*: k-median with all delays known. *stewards*: the core's own summaries and placement with round trips "
            "measured as nodes and agents measure them, hosts equally old. *live*: what stewards of a running overlay had "
            f"chosen after {few.SETTLED_S:.0f} s, one seed.",
            "This is about delay alone. Where hosts share a few places, as in clouds, delays take few values, so that the mean "
            "of all draws may need more replicas to come down to one than 95% of the draws do.",
        ],
    )


def _cases(found: Found, setting: Setting) -> Iterator[Case]:
    for network in setting.networks:
        figures = found[_geometry(network, setting)]
        sets = {BY_IDEAL: figures["ideal"], BY_STEWARDS: figures["stewards"]}
        if network is setting.main:
            sets[LIVE] = found[_live(setting)]
        for by, placed in sets.items():
            for m, felt in placed.items():
                yield _case(network.name, by, int(m), felt, figures["random"])


def _case(network: str, by: str, m: int, felt: Figures, curves: Figures) -> Case:
    needed = {measure: few.needed(curves[measure], felt[measure]) for measure in MEASURES}
    sure = {measure: few.needed(curves[f"{measure}_sure"], felt[measure]) for measure in MEASURES}
    return Case(network, by, m, {measure: felt[measure] for measure in MEASURES}, needed, sure)


def _range(cases: Sequence[Case], measure: str) -> str:
    factors = [case.factor(measure) for case in cases]
    return f"{min(factors):.1f} to {max(factors):.1f}"


def _except(short: Sequence[tuple[Case, str]]) -> str:
    if not short:
        return ""
    told = [f"{case.network}, {case.by}, m = {case.m}, {measure} ({case.factor(measure):.2f})" for case, measure in short]
    return f" Fewer than {WORTH:g} times as many do for: {words.listed(told)}."


def _table(cases: Sequence[Case]) -> Table:
    head = (
        "network",
        "placed by",
        "m",
        "mean ms",
        "random: same mean",
        "in 95% of draws",
        "p95 ms",
        "same p95",
        "in 95% of draws",
    )
    rows = [
        (
            *(case.network, case.by, str(case.m)),
            *(words.number(case.ms["mean"]), f"{case.needed['mean']} ({case.factor('mean'):.1f}x)", str(case.sure["mean"])),
            *(words.number(case.ms["p95"]), f"{case.needed['p95']} ({case.factor('p95'):.1f}x)", str(case.sure["p95"])),
        )
        for case in cases
    ]
    return Table("Random replicas that are as good as m placed ones", head, rows)


def _plot(found: Found, network: Network, setting: Setting) -> Plot:
    figures = found[_geometry(network, setting)]
    lines = []
    for measure, name in MEASURES.items():
        curve = figures["random"][measure]
        counts = sorted({min(len(curve), round(1.25**k)) for k in range(32)})
        lines.append(Line(f"random, {name}", counts, [curve[k - 1] for k in counts]))
        placed = figures["stewards"]
        lines.append(Line(f"placed, {name}", [int(m) for m in placed], [one[measure] for one in placed.values()], points=True))
    return Plot(
        f"{network.name}", f"Delay to the nearest replica, {network.name}", "replicas", "one-way delay, ms", lines, log_x=True
    )


CLAIMS = (
    Claim(
        number=5,
        name="few-replicas",
        says="“A primary goal of our work is to show the resource waste that comes from random distribution, i.e., the "
        "inflation in the number of randomly placed replicas required to deliver the same levels of performance and "
        "availability as a smaller number of ‘well-placed’ replicas.”",
        measured="Hosts in random order, of which the first k serve, against m replicas that Opus places: the least k whose "
        "mean, and whose 95th percentile over clients, of the delay to the nearest replica is as low, on the mean of the "
        "draws.",
        rule=f"Holds if on every network, for every m and live, at least {WORTH:g} times as many random replicas are needed "
        "for the same mean and for the same p95; under conditions if that is so of at least half of these cases (the others "
        "are named); else not.",
        tasks=tasks,
        judge=judge,
    ),
)
