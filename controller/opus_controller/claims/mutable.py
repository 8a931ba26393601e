"""Claim 6: of data that change too many replicas may be less available than fewer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from opus_node.core.types import BOUNDED, CONSISTENCIES, EVENTUAL, LINEARIZABLE, PRIMARY, WRITE_ALL

from opus_controller.bench.availability.worlds import FAMILIES
from opus_controller.bench.overlay.statistics import Estimate
from opus_controller.claims import words
from opus_controller.claims.claim import CONDITIONS, FAILS, HOLDS, Claim, Finding, Found, Line, Plot, Table, Task, Verdict
from opus_controller.claims.measure.mutable import MEMBERSHIPS, RECONFIGURED, STATIC, forecast, played
from opus_controller.claims.setting import Setting

LOST = 0.0005
"""Five hundredths of a point less available than with the best m: replicas hurt."""
COORDINATED = (WRITE_ALL, LINEARIZABLE, PRIMARY, BOUNDED)
"""All that need others' agreement: of all members, or of a majority."""
FORECAST = (1, 3, 5, 7, 9, 11, 13, 15)
PLAYED, PLAYED_QUICK = (1, 3, 7, 15), (1, 5)
DURATION_S, QUICK_S = 192.0, 72.0
COURSES = 24
FAULTS = {"churn": "crashes", "cuts": "partitions"}
"""By family of instances; with crashes regions are cut off now and then, too."""


def _whole(setting: Setting) -> bool:
    return setting.scale.effort >= 1


def _sizes(setting: Setting) -> tuple[int, ...]:
    return PLAYED if _whole(setting) else PLAYED_QUICK


def _run(family: str, replicas: int, seed: int) -> str:
    return f"mutable {family} m={replicas} {seed}"


def _told(family: str) -> str:
    return f"mutable forecast {family}"


def tasks(setting: Setting) -> list[Task]:
    duration_s, courses = DURATION_S if _whole(setting) else QUICK_S, setting.times(COURSES, 2)
    runs = [
        Task(_run(family, m, seed), partial(played, family, m, seed, duration_s), (8 + 3 * m) * duration_s / DURATION_S)
        for family in FAMILIES
        for m in _sizes(setting)
        for seed in setting.seeds
    ]
    return runs + [Task(_told(family), partial(forecast, family, FORECAST, courses), courses) for family in FAMILIES]


@dataclass(frozen=True)
class Curve:
    """Of one mode under one family: availability by m."""

    sizes: Sequence[int]
    shares: Sequence[Estimate]

    @property
    def best(self) -> int:
        """The fewest of those that are most available."""
        return max(range(len(self.sizes)), key=lambda k: (self.shares[k].value, -self.sizes[k]))

    @property
    def lost(self) -> float:
        """By the largest m against the best."""
        return self.shares[self.best].value - self.shares[-1].value


def measured(found: Found, setting: Setting, family: str, mode: str) -> Curve:
    every = [[found[_run(family, m, seed)][mode] for seed in setting.seeds] for m in _sizes(setting)]
    return Curve(_sizes(setting), [words.mean(one["ok"] / one["asked"] for one in of) for of in every])


def foretold(found: Found, family: str, mode: str, membership: str) -> Curve:
    return Curve(FORECAST, [words.mean(shares) for shares in found[_told(family)][membership][mode]])


def judge(found: Found, setting: Setting) -> Finding:
    runs = {(family, mode): measured(found, setting, family, mode) for family in FAMILIES for mode in CONSISTENCIES}
    told = {
        (family, mode, membership): foretold(found, family, mode, membership)
        for family in FAMILIES
        for mode in CONSISTENCIES
        for membership in MEMBERSHIPS
    }
    hurt = {key: runs[key].lost > LOST and told[(*key, RECONFIGURED)].lost > LOST for key in runs}
    modes = [mode for mode in CONSISTENCIES if any(hurt[family, mode] for family in FAMILIES)]
    coordinated = [mode for mode in COORDINATED if mode in modes]
    verdict: Verdict = HOLDS if len(coordinated) == len(COORDINATED) else CONDITIONS if coordinated else FAILS
    because = _because(runs, hurt)
    if verdict == CONDITIONS:
        because += f" So for {words.listed(coordinated)}."
    stay = [mode for mode in CONSISTENCIES if any(told[family, mode, STATIC].lost > LOST for family in FAMILIES)]
    because += f" If members were never replaced, so the forecast, for {words.listed(stay)}."
    return Finding(
        verdict,
        because,
        (_table(runs, told, hurt), _coordination(runs)),
        [_plot(family, runs, told) for family in FAMILIES],
        (
            "Thirty hosts in six regions; each mode is an application of its own, all in one run. Requests have 2 s, 30% are "
            "writes. "
            "Measured and foretold must agree: a run is a few minutes with a few incidents, where one request weighs more than "
            "what "
            "is looked for; the forecast sees many courses of events, but plays no messages.",
            "Opus replaces members that are lost within seconds; that is what is run. Static members are foretold only.",
            f"The largest m is {_sizes(setting)[-1]} in runs, {FORECAST[-1]} in the forecast. Mean availability over seeds, or "
            f"courses.",
        ),
    )


def _because(runs: Mapping[tuple[str, str], Curve], hurt: Mapping[tuple[str, str], bool]) -> str:
    told = []
    for family in FAMILIES:
        some = [
            f"{mode} {_points(runs[family, mode].lost)}"
            + (" (not foretold)" if runs[family, mode].lost > LOST and not hurt[family, mode] else "")
            for mode in CONSISTENCIES
        ]
        told.append(f"under {FAULTS[family]} {', '.join(some)}")
    return f"Points of availability that the largest m loses against the best m: {'; '.join(told)}."


def _table(
    runs: Mapping[tuple[str, str], Curve], told: Mapping[tuple[str, str, str], Curve], hurt: Mapping[tuple[str, str], bool]
) -> Table:
    rows = []
    for (family, mode), curve in runs.items():
        shares = "; ".join(f"{m}: {words.estimate(share, 2, 100)}" for m, share in zip(curve.sizes, curve.shares, strict=True))
        losses = (f"{_m(one)}, {_points(one.lost)}" for one in (curve, *(told[family, mode, which] for which in MEMBERSHIPS)))
        rows.append((FAULTS[family], mode, shares, *losses, "yes" if hurt[family, mode] else "no"))
    head = ("faults", "mode", "m: available, %", "best m, lost", "the same foretold", "foretold of static members", "hurt")
    title = "Availability against m, as run, and as foretold; points of availability lost by the largest m"
    return Table(title, head, rows)


def _coordination(runs: Mapping[tuple[str, str], Curve]) -> Table:
    rows = []
    for family in FAMILIES:
        free = runs[family, EVENTUAL]
        for mode in COORDINATED:
            costs = [_points(off.value - on.value) for on, off in zip(runs[family, mode].shares, free.shares, strict=True)]
            rows.append((FAULTS[family], mode, *costs))
    head = ("faults", "mode", *(f"m = {m}" for m in runs[FAMILIES[0], EVENTUAL].sizes))
    return Table("What coordination costs: points of availability below eventual, which has none", head, rows)


def _m(curve: Curve) -> str:
    return str(curve.sizes[curve.best])


def _points(share: float) -> str:
    return words.number(100 * share, 2)


def _plot(family: str, runs: Mapping[tuple[str, str], Curve], told: Mapping[tuple[str, str, str], Curve]) -> Plot:
    lines = []
    for mode in CONSISTENCIES:
        ahead, curve = told[family, mode, RECONFIGURED], runs[family, mode]
        lines.append(Line(f"{mode}, forecast", [float(m) for m in ahead.sizes], [100 * (1 - one.value) for one in ahead.shares]))
        lines.append(Line(mode, [float(m) for m in curve.sizes], [100 * (1 - one.value) for one in curve.shares], points=True))
    return Plot(family, f"Unavailability against m under {FAULTS[family]}", "replicas", "requests not answered, %", lines)


CLAIMS = (
    Claim(
        6,
        "mutable-data",
        "Services with mutable state may suffer from too much replication: adding replicas may compromise availability rather "
        "than "
        "improve it.",
        "Data under five modes of consistency, kept by 1 to 15 replicas, while hosts come and go and regions are cut off; as "
        "run, and "
        "as foretold for the sizes between. The eventual mode needs no coordination.",
        f"Replicas hurt a mode if, under crashes or under partitions, the largest m is more than {100 * LOST:g} points less "
        f"available "
        f"than the best m, in runs and in the forecast alike. Holds if they hurt {words.listed(COORDINATED)}. Under conditions "
        f"if "
        f"some of these. Else not.",
        tasks,
        judge,
    ),
)
