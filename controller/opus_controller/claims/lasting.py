"""Claim 8: members chosen for their past stay longer than random ones, where sessions are heavy-tailed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import exp, sqrt

from opus_node.core.placement import OLDEST
from opus_node.core.types import BEST

from opus_controller.bench.overlay.statistics import Estimate, Z
from opus_controller.claims import words
from opus_controller.claims.claim import CONDITIONS, FAILS, HOLDS, Claim, Finding, Found, Line, Plot, Table, Task, Verdict
from opus_controller.claims.measure import lasting
from opus_controller.claims.measure.lasting import LAWS, POLICIES, RANDOM
from opus_controller.claims.setting import Setting

DEPARTURES = 100
CONTROL = "exponential"
HEAVY = tuple(law for law in LAWS if law != CONTROL)
GAIN = 1.5
"""Times fewer failures of members than of random ones."""
BEYOND = 1.25
"""And so many times what the control gains."""
NAMES = {RANDOM: "random", OLDEST: "oldest (age alone)", BEST: "best (what Opus does)"}


@dataclass(frozen=True)
class Arm:
    law: str
    policy: str
    departures: int
    rate: float
    """Failures a member and hour."""
    population: float
    """The same of all nodes."""
    delay: float

    def gain_over(self, other: Arm) -> Estimate:
        """How many times less often members fail than with the other; the interval is that of two Poisson counts."""
        value, off = other.rate / self.rate, Z * sqrt(1 / self.departures + 1 / other.departures)
        return Estimate(value, value * exp(-off), value * exp(off), 2)


def _name(law: str, policy: str, setting: Setting) -> str:
    return f"stability {setting.main.name} {setting.scale.hosts} {law} {policy} {setting.first_seed}"


def tasks(setting: Setting) -> list[Task]:
    hosts, m, departures = setting.scale.hosts, setting.scale.replicas, setting.times(DEPARTURES, 10)
    found = []
    for law in LAWS:
        for policy in POLICIES:
            run = partial(lasting.lasting, setting.main, hosts, m, law, policy, departures, setting.first_seed)
            each = (hosts / 1000) ** 2 * (3.0 if policy == BEST else 0.5)
            found.append(Task(_name(law, policy, setting), run, 2 + departures * each))
    return found


def judge(found: Found, setting: Setting) -> Finding:
    arms = {(arm.law, arm.policy): arm for arm in _arms(found, setting)}
    gains = {key: arm.gain_over(arms[key[0], RANDOM]) for key, arm in arms.items()}
    verdict, why = _verdict(gains)
    told = [f"{words.estimate(gains[law, BEST])} ({law})" for law in LAWS]
    aged = [f"{words.number(gains[law, OLDEST].value)}" for law in LAWS]
    return Finding(
        verdict,
        f"Random members fail {words.listed(told)} times as often as those that Opus chooses, and {words.listed(aged)} times as "
        f"often as the oldest.{why}",
        tables=[_table(arms, gains)],
        plots=[_plot(gains), _cost(arms)],
        notes=[
            f"{setting.scale.hosts} hosts of {setting.main.name}, m = {setting.scale.replicas}, sessions of {lasting.MEAN:.0f} "
            "minutes on the mean under all laws; who goes is followed by a newcomer at the same place, and a member that goes "
            "by another that the policy chooses among all. Membership alone is played, by the core's own summaries and choice; "
            "no messages.",
            "A random member is better than the average node already, where sessions are heavy-tailed: whoever is met is "
            "likely to be in a long session (the inspection paradox; the table's last column). The gain is over that.",
            "Moves to better members count, too: a member that is moved away from has not failed, and who comes in its place "
            "is younger.",
            "Intervals (95%) are those of Poisson counts, one course of each arm.",
        ],
    )


def _arms(found: Found, setting: Setting) -> Iterator[Arm]:
    for law in LAWS:
        for policy in POLICIES:
            one = found[_name(law, policy, setting)]
            rate, population = one["departures"] / one["member_hours"], one["deaths"] / one["node_hours"]
            yield Arm(law, policy, one["departures"], rate, population, one["delay"])


def _gains(gains: dict[tuple[str, str], Estimate], policy: str) -> list[str]:
    """Heavy-tailed laws under which the policy helps."""
    bound = max(GAIN, BEYOND * gains[CONTROL, policy].value)
    return [law for law in HEAVY if gains[law, policy].value >= bound]


def _verdict(gains: dict[tuple[str, str], Estimate]) -> tuple[Verdict, str]:
    best, oldest = _gains(gains, BEST), _gains(gains, OLDEST)
    if len(best) == len(HEAVY):
        return HOLDS, ""
    if best:
        return CONDITIONS, f" Opus' choice is {GAIN:g} times as stable under {words.listed(best)} sessions only."
    if oldest:
        return CONDITIONS, f" Only where age alone decides, and delay does not count, under {words.listed(oldest)} sessions."
    return FAILS, f" Neither reaches {GAIN:g} times."


def _table(arms: dict[tuple[str, str], Arm], gains: dict[tuple[str, str], Estimate]) -> Table:
    head = (
        *("sessions", "policy", "failures counted", "a member and 100 hours", "random fail, times as often"),
        *("mean delay, times the ideal", "nodes fail, times as often"),
    )
    rows = [
        (
            *(law, NAMES[policy], str(arm.departures), words.number(100 * arm.rate)),
            words.estimate(gains[law, policy], 2) if policy != RANDOM else words.NONE,
            *(words.number(arm.delay, 2), words.number(arm.population / arm.rate, 2)),
        )
        for (law, policy), arm in arms.items()
    ]
    return Table("Failures of members", head, rows)


def _plot(gains: dict[tuple[str, str], Estimate]) -> Plot:
    lines = []
    for policy in (OLDEST, BEST):
        of = [gains[law, policy] for law in LAWS]
        at = list(range(1, len(LAWS) + 1))
        lines.append(Line(NAMES[policy], at, [one.value for one in of], [one.low for one in of], [one.high for one in of]))
    where = ", ".join(f"{k} {law}" for k, law in enumerate(LAWS, start=1))
    return Plot("gain", "How many times as often random members fail as chosen ones", where, "times as often", lines)


def _cost(arms: dict[tuple[str, str], Arm]) -> Plot:
    def points(policy: str) -> Line:
        of: Sequence[Arm] = [arms[law, policy] for law in LAWS]
        return Line(NAMES[policy], [100 * arm.rate for arm in of], [arm.delay for arm in of], points=True)

    lines = [points(policy) for policy in POLICIES]
    return Plot("cost", "What stability costs in delay", "failures a member and 100 hours", "mean delay, times the ideal", lines)


CLAIMS = (
    Claim(
        number=8,
        name="stability",
        says="“We advocate focusing on the subset of hosts (again, m of n) that exhibit strong uptime and good connectivity: "
        "the tail of the heavy-tailed distribution rather than the head.” “We propose to restrict service functions to subsets "
        "of nodes with significantly better connectivity and availability than the median, leading to improved stability of "
        "group membership.”",
        measured="Failures of members a member and hour under three laws of sessions, chosen at random, by age, and as Opus "
        "chooses.",
        rule=f"Holds if under both heavy-tailed laws members that Opus chooses fail at least {GAIN:g} times less often than "
        f"random ones, and {BEYOND:g} times what they gain under exponential sessions, where age says nothing; under "
        "conditions if that is so under one law, or only if age alone decides; else not.",
        tasks=tasks,
        judge=judge,
    ),
)
