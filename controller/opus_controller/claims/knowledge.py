"""Claim 12: good choices require only approximate information."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

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
from opus_controller.claims.measure import knowledge
from opus_controller.claims.measure.knowledge import DELAYS, DEMAND, HOSTS, STALE, SUMS
from opus_controller.claims.measure.networks import Network
from opus_controller.claims.setting import Setting

DRAWS, REGIONS = 8, 16
GOOD = 0.10
"""A choice that loses at most this is a good one."""
STAY = str(knowledge.STAYS_S[0])
REQUIRED = {DELAYS: 0.5, HOSTS: 0.5, DEMAND: 0.5, SUMS: 22.0, STALE: 60.0}
"""What must be borne for the claim to hold ..."""
LEAST = {DELAYS: 0.2, HOSTS: 0.2, DEMAND: 0.2, SUMS: 5.0, STALE: 15.0}
"""... and for it to hold under conditions."""
KINDS = {
    DELAYS: "delays, an error for each pair",
    HOSTS: "delays, an error for each host",
    DEMAND: "demand, an error for each host",
    SUMS: "nothing but sums, nodes an agent",
    STALE: f"demand as it was, s ago (crowds stay {int(STAY) // 60} min)",
}


@dataclass(frozen=True)
class Loss:
    network: str
    kind: str
    level: float
    share: Estimate


def _name(network: Network, setting: Setting) -> str:
    return f"approximate-knowledge {network.name} {setting.scale.hosts}"


def tasks(setting: Setting) -> list[Task]:
    hosts, draws, regions = setting.scale.hosts, setting.times(DRAWS, 3), setting.times(REGIONS, 4)
    cost = draws * 16 * (hosts / 1000) ** 2 + hosts / 100
    return [
        Task(_name(one, setting), partial(knowledge.lost, one, hosts, setting.scale.replicas, draws, regions), cost)
        for one in setting.networks
    ]


def judge(found: Found, setting: Setting) -> Finding:
    losses = list(_losses(found, setting))
    borne = {kind: _borne([one for one in losses if one.kind == kind]) for kind in KINDS}
    stewards = {one.name: found[_name(one, setting)]["stewards"] for one in setting.networks}
    told = _borne_told(losses, borne)
    verdict, why = _verdict(losses, borne, max(stewards.values()))
    return Finding(
        verdict,
        f"A placement loses at most {GOOD:.0%} on every network with {told}; with what Opus' stewards are told it loses "
        f"{words.percent(max(stewards.values()))} at most.{why}",
        tables=[_table(losses, setting), _contrast(found, setting)],
        plots=[_errors(losses, setting), _staleness(found, setting)],
        notes=[
            f"m = {setting.scale.replicas}. Loss: the demand's true mean delay to the nearest replica, over that of the same "
            "search (the core's k-median: greedy, then swaps) with exact delays and demand, less 1. Demand of hosts is "
            f"lognormal (deviation of the logarithm {knowledge.UNEVEN:g}), other in each draw; intervals are over draws.",
            "An error of 50% is a factor between 0.5 and 1.5, uniform; of 100%, between 0 and 2: the search then takes what is "
            "far away for near, as it looks for the least.",
            f"A crowd is {knowledge.CROWD_HOSTS:.0%} of the hosts, those around one, with {knowledge.CROWD_DEMAND:.0%} of all "
            "demand; it moves at once to another place after an exponential stay. Placements follow at once, too: what moving "
            "costs and how long it takes is not in here.",
        ],
    )


def _losses(found: Found, setting: Setting) -> Iterator[Loss]:
    for network in setting.networks:
        figures = found[_name(network, setting)]
        for kind, levels in figures["lost"].items():
            for level, draws in levels.items():
                yield Loss(network.name, kind, float(level), words.mean(draws))
        for age, share in figures[STALE][STAY].items():
            yield Loss(network.name, STALE, float(age), words.mean([share]))


def _borne(losses: Sequence[Loss]) -> float:
    """The greatest level up to which no network loses more than GOOD, of those measured on all; 0: not even the least."""
    found, networks = 0.0, {one.network for one in losses}
    for level in sorted({one.level for one in losses}):
        there = [one for one in losses if one.level == level]
        if any(one.share.value > GOOD for one in there) or len(there) < len(networks):
            return found
        found = level
    return found


def _needs(losses: Sequence[Loss], wanted: dict[str, float]) -> dict[str, float]:
    """The same or, of few hosts, who have few agents, the most that could be measured."""
    most = {kind: max((one.level for one in losses if one.kind == kind), default=0.0) for kind in wanted}
    return {kind: min(level, most[kind]) for kind, level in wanted.items()}


def _verdict(losses: Sequence[Loss], borne: dict[str, float], stewards: float) -> tuple[Verdict, str]:
    short = [kind for kind, least in _needs(losses, REQUIRED).items() if borne[kind] < least]
    if not short and stewards <= GOOD:
        return HOLDS, ""
    if any(borne[kind] < least for kind, least in _needs(losses, LEAST).items()) or stewards > 2 * GOOD:
        return FAILS, ""
    asked = _needs(losses, REQUIRED)
    missed = [f"{KINDS[kind]} (asked for: {_level(kind, asked[kind])})" for kind in short]
    missed += ["what stewards are told"] if stewards > GOOD else []
    return CONDITIONS, f" Less than asked for: {words.listed(missed)}."


def _level(kind: str, level: float) -> str:
    return f"{level:.0f} nodes" if kind == SUMS else f"{level:.0f} s" if kind == STALE else f"{level:.0%}"


def _borne_told(losses: Sequence[Loss], borne: dict[str, float]) -> str:
    there = [kind for kind in KINDS if any(one.kind == kind for one in losses)]
    return words.listed(
        [
            f"errors of {borne[DELAYS]:.0%} in each delay",
            f"{borne[HOSTS]:.0%} in each host's delays",
            f"{borne[DEMAND]:.0%} in demand",
            *([f"sums of {borne[SUMS]:.0f} nodes" if borne[SUMS] else "no sums"] if SUMS in there else []),
            f"demand {borne[STALE]:.0f} s old",
        ]
    )


def _table(losses: Sequence[Loss], setting: Setting) -> Table:
    networks = [one.name for one in setting.networks]
    by = {(one.network, one.kind, one.level): one.share for one in losses}
    levels = [(kind, level) for kind in KINDS for level in sorted({one.level for one in losses if one.kind == kind})]
    rows = [
        (KINDS[kind], _level(kind, level), *(_share(by.get((name, kind, level))) for name in networks)) for kind, level in levels
    ]
    return Table("Loss, % of the mean delay with exact knowledge", ("what is not known", "how badly", *networks), rows)


def _share(found: Estimate | None) -> str:
    return words.NONE if found is None else words.estimate(found, 1, 100.0)


def _contrast(found: Found, setting: Setting) -> Table:
    figures = [found[_name(one, setting)] for one in setting.networks]
    rows = [
        ("what Opus' stewards are told, even demand", *(words.percent(one["stewards"]) for one in figures)),
        ("nothing: random places", *(words.percent(words.mean(one["by_chance"]).value) for one in figures)),
    ]
    return Table("For comparison", ("known", *(one.name for one in setting.networks)), rows)


def _errors(losses: Sequence[Loss], setting: Setting) -> Plot:
    main = [one for one in losses if one.network == setting.main.name]
    lines = []
    for kind in (DELAYS, HOSTS, DEMAND):
        of = sorted((one for one in main if one.kind == kind), key=lambda one: one.level)
        low, value, high = ([100 * getattr(one.share, name) for one in of] for name in ("low", "value", "high"))
        lines.append(Line(KINDS[kind], [100 * one.level for one in of], value, low, high))
    return Plot("errors", f"Loss by errors in what placement knows, {setting.main.name}", "error, %", "loss, %", lines)


def _staleness(found: Found, setting: Setting) -> Plot:
    lines = []
    for network in setting.networks:
        stale: Figures = found[_name(network, setting)][STALE]
        for stay, by_age in stale.items():
            label = f"{network.name}, stays {int(stay) // 60} min"
            lines.append(Line(label, [int(age) for age in by_age], [100 * share for share in by_age.values()]))
    return Plot("staleness", "Loss by the age of what is known of a crowd", "age, s", "loss, %", lines)


CLAIMS = (
    Claim(
        number=12,
        name="approximate-knowledge",
        says="“Good (rather than optimal) choices require only approximate information: aggressive use of hierarchy and "
        "aggregation can limit the amount of state that any node must maintain.”",
        measured="The core's own placement on wrong, old or summed-up delays and demand, judged by the true ones.",
        rule=f"A placement is good if it loses at most {GOOD:.0%} of mean delay. Holds if on every network it is good with "
        f"errors of up to {REQUIRED[DELAYS]:.0%} in delays (of pairs, of hosts) and in demand, with sums of "
        f"{REQUIRED[SUMS]:.0f} nodes, with demand {REQUIRED[STALE]:.0f} s old where crowds stay {int(STAY) // 60} min, and "
        f"with what Opus' stewards are told. Under conditions if with {LEAST[DELAYS]:.0%}, {LEAST[SUMS]:.0f} nodes and "
        f"{LEAST[STALE]:.0f} s (and twice the loss for the stewards); else not.",
        tasks=tasks,
        judge=judge,
    ),
)
