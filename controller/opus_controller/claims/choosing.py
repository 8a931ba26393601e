"""Claim 13: requests go to good replicas almost always, without global state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from opus_controller.bench.overlay import statistics
from opus_controller.bench.overlay.statistics import Estimate
from opus_controller.claims import lives, words
from opus_controller.claims.claim import CONDITIONS, FAILS, HOLDS, Claim, Figures, Finding, Found, Line, Plot, Table, Task
from opus_controller.claims.measure.choices import FACTORS, TINY_MS
from opus_controller.claims.measure.networks import Network
from opus_controller.claims.measure.overlays import OURS, RIVAL, Overlay
from opus_controller.claims.setting import Setting

GOOD, POOR = 1.2, 3.0
"""Times as far as the best live replica."""
GOOD_SHARE, POOR_SHARE = 0.90, 0.01
FIRST, REPEAT = "first", "repeat"


@dataclass(frozen=True)
class Case:
    network: str
    overlay: str
    which: str
    requests: int
    good: Estimate
    good_strictly: Estimate
    poor: Estimate
    farther_ms: tuple[Estimate, Estimate]
    """p95 and p99."""

    @property
    def fine(self) -> bool:
        return self.good.value >= GOOD_SHARE and self.poor.value <= POOR_SHARE

    @property
    def name(self) -> str:
        return f"{self.which} requests on {self.network}"


def tasks(setting: Setting) -> list[Task]:
    of = [lives.asked(setting, network, overlay) for network in setting.networks for overlay in (OURS, RIVAL)]
    return lives.tasks([life for some in of for life in some])


def judge(found: Found, setting: Setting) -> Finding:
    cases = list(_cases(found, setting))
    ours = [case for case in cases if case.overlay == OURS.label]
    missed = [case for case in ours if not case.fine]
    verdict = HOLDS if not missed else CONDITIONS if 2 * len(missed) <= len(ours) else FAILS
    least, most = min(case.good.value for case in ours), max(case.poor.value for case in ours)
    return Finding(
        verdict,
        f"At least {words.percent(least)} of requests go to a replica within {GOOD:g}x of the best live one, at most "
        f"{words.percent(most)} to one over {POOR:g}x as far.{_except(missed)}",
        tables=[_table(cases)],
        plots=[_plot(found, network, setting) for network in setting.networks],
        notes=[
            "Distances are one way by the matrix, from the client to the replica that answered, and to the best that lived "
            "when the request was issued; what the way by an agent adds is not in them. Clients that serve themselves are left "
            "out; requests without an answer count as neither good nor near.",
            f"Who is at most {TINY_MS:g} ms (one way) farther than the best counts as good, whatever the ratio: the table "
            "gives the share without that allowance, too.",
            "At rest: nobody comes or goes. A host's first request knows no replica; its third, half a minute later, is a "
            f"repeat. {RIVAL.label} is for comparison: every host knows all members, but not how far they are.",
        ],
    )


def _cases(found: Found, setting: Setting) -> Iterator[Case]:
    for network in setting.networks:
        for overlay in (OURS, RIVAL):
            for which in (FIRST, REPEAT):
                yield _case(
                    network, overlay, which, [one[which]["choices"] for one in _requests(found, overlay, network, setting)]
                )


def _requests(found: Found, overlay: Overlay, network: Network, setting: Setting) -> list[Figures]:
    return [found[life.name]["requests"] for life in lives.asked(setting, network, overlay)]


def _case(network: Network, overlay: Overlay, which: str, choices: Sequence[Figures]) -> Case:
    def share(rule: str, factor: float, beyond: bool = False) -> Estimate:
        counts = [(round(one["count"] * one[rule][f"{factor:g}"]), one["count"]) for one in choices if one["count"]]
        return statistics.share([(n - k if beyond else k, n) for k, n in counts])

    p95, p99 = (words.mean(one["farther_ms"][name] for one in choices) for name in ("p95", "p99"))
    return Case(
        network.name,
        overlay.label,
        which,
        sum(one["count"] for one in choices),
        share("within", GOOD),
        share("within_strictly", GOOD),
        share("within", POOR, beyond=True),
        (p95, p99),
    )


def _except(missed: Sequence[Case]) -> str:
    if not missed:
        return ""
    told = [f"{one.name} ({words.percent(one.good.value)} good, {words.percent(one.poor.value)} poor)" for one in missed]
    return f" Not good enough: {words.listed(told)}."


def _table(cases: Sequence[Case]) -> Table:
    head = (
        *("network", "overlay", "requests", "counted", f"within {GOOD:g}x, %", f"without the {TINY_MS:g} ms, %"),
        *(f"over {POOR:g}x, %", "farther than the best, p95 ms", "p99 ms"),
    )
    rows = [
        (
            *(case.network, case.overlay, case.which, str(case.requests)),
            *(words.estimate(one, 1, 100.0) for one in (case.good, case.good_strictly, case.poor)),
            *(words.number(one.value) for one in case.farther_ms),
        )
        for case in cases
    ]
    return Table("How far the replicas are that answered, against the best", head, rows)


def _plot(found: Found, network: Network, setting: Setting) -> Plot:
    lines = []
    for overlay in (OURS, RIVAL):
        for which in (FIRST, REPEAT):
            choices = [one[which]["choices"] for one in _requests(found, overlay, network, setting)]
            shares = [words.mean(one["within"][f"{factor:g}"] for one in choices).value for factor in FACTORS]
            lines.append(Line(f"{overlay.label}, {which}", FACTORS, [100 * share for share in shares]))
    title = f"Requests that go to a replica within a factor of the best, {network.name}"
    return Plot(network.name, title, "factor", "% of requests", lines)


CLAIMS = (
    Claim(
        number=13,
        name="good-choices",
        says="“It is not necessary to make optimal choices; rather, it is sufficient to make good choices in a majority of "
        "cases and to avoid poor decisions.” “The key is to make appropriate request routing decisions almost all of the time, "
        "without global state.”",
        measured="Every host of a running overlay asks; who answered is held against the nearest replica that lived in that "
        "instant.",
        rule=f"Holds if on every network, of first and of repeated requests, at least {GOOD_SHARE:.0%} go to a replica within "
        f"{GOOD:g}x of the best (or {TINY_MS:g} ms) and at most {POOR_SHARE:.0%} to one over {POOR:g}x as far; under "
        "conditions if that is so in at least half of these cases (the others are named); else not.",
        tasks=tasks,
        judge=judge,
    ),
)
