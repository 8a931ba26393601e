"""Claim 18: the subset adapts by itself to load, participants, node status and network conditions."""

from __future__ import annotations

from collections.abc import Callable
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
from opus_controller.claims.measure.adapting import (
    AFTER_S,
    FALLEN,
    GROWN,
    JOINED,
    KINDS,
    LENGTHENED,
    MOVED,
    grown,
    joined,
    settled,
)
from opus_controller.claims.setting import Setting

WITHIN_S = 60.0
"""In the mean over seeds, for each."""
FEWEST = 2
"""Of the changes must be within it, for the claim to hold under any condition."""
SEEDS = 4
MOST_HOSTS = 120
CHANGES = {
    MOVED: ("load: demand moves", "five sixths of the demand come from another region"),
    GROWN: ("load: demand grows", "four times as many requests, replicas: auto"),
    JOINED: ("participants", "as many hosts again join within 5 s"),
    FALLEN: ("node status", "a third of the replicas fall silent"),
    LENGTHENED: ("network conditions", "delays of a fifth of the hosts, one region, become three times what they were"),
}
"""By kind: what it stands for, what happens."""
UNTIL = {
    MOVED: "latency within 10% of what it settles at",
    GROWN: "99% answered within 1 s",
    JOINED: "99% answered, and latency within 10% of what it settles at",
    FALLEN: "m serve again",
    LENGTHENED: "latency within 10% of what it settles at",
}


def _seeds(setting: Setting) -> range:
    return range(setting.first_seed, setting.first_seed + setting.times(SEEDS))


def _name(part: str, seed: int) -> str:
    return f"adapting {part} {seed}"


def tasks(setting: Setting) -> list[Task]:
    hosts, m = min(MOST_HOSTS, max(30, setting.scale.hosts // 3)), setting.scale.replicas
    of: dict[str, Callable[[int], Callable[[], Figures]]] = {
        "settled": lambda seed: partial(settled, setting.main, hosts, m, seed),
        GROWN: lambda seed: partial(grown, setting.main, hosts // 2, seed),
        JOINED: lambda seed: partial(joined, setting.main, hosts, m, seed),
    }
    cost = {"settled": 0.3, GROWN: 0.12, JOINED: 0.12}
    return [Task(_name(part, seed), make(seed), hosts * cost[part]) for part, make in of.items() for seed in _seeds(setting)]


def _figures(found: Found, setting: Setting, kind: str) -> list[Figures]:
    part = kind if kind in (GROWN, JOINED) else "settled"
    return [found[_name(part, seed)][kind] for seed in _seeds(setting)]


def judge(found: Found, setting: Setting) -> Finding:
    took: dict[str, Estimate] = {kind: words.mean(one["seconds"] for one in _figures(found, setting, kind)) for kind in KINDS}
    late = [kind for kind in KINDS if took[kind].value > WITHIN_S]
    verdict: Verdict = HOLDS if not late else CONDITIONS if len(KINDS) - len(late) >= FEWEST else FAILS
    because = "Until all is as it will be: " + "; ".join(f"{CHANGES[kind][0]}, {took[kind].value:.0f} s" for kind in KINDS) + "."
    if late:
        because += f" Not within {WITHIN_S:g} s: {words.listed([CHANGES[kind][0] for kind in late])}."
    rows = [(*CHANGES[kind], UNTIL[kind], words.estimate(took[kind]), _each(found, setting, kind)) for kind in KINDS]
    lines = [
        Line(
            CHANGES[kind][0],
            [float(seed) for seed in _seeds(setting)],
            [one["seconds"] for one in _figures(found, setting, kind)],
        )
        for kind in KINDS
    ]
    lines.append(Line(f"{WITHIN_S:g} s", [float(seed) for seed in _seeds(setting)], [WITHIN_S] * len(_seeds(setting))))
    return Finding(
        verdict,
        because,
        (Table("Seconds from the change", ("to", "what happens", "until", "s [95%]", "by seed"), rows),),
        (Plot("seconds", "From a change until all is as it will be", "seed", "s", lines),),
        (
            "Latency is compared client by client with its own mean over the last minute, in windows of 5 s. An overlay that "
            "keeps "
            "its replicas although others would serve the new demand, or the new delays, more than 10% better, counts as never "
            "back.",
            f"Looked at for {AFTER_S:g} s; what is not over by then counts with that, or where its last minute begins. Replicas "
            f"hold "
            f"no data here, so nothing of the time is a transfer's.",
        ),
    )


def _each(found: Found, setting: Setting, kind: str) -> str:
    return ", ".join(f"{one['seconds']:.0f}" for one in _figures(found, setting, kind))


CLAIMS = (
    Claim(
        18,
        "adaptation",
        "Membership in the service subset and the mapping of service functions must adapt automatically to changes in load, "
        "participant set, node status, and network conditions, all of which may be highly dynamic.",
        "Each is changed at once in an overlay that has settled: demand moves, demand grows, as many hosts again join, a third "
        "of the "
        "replicas fall silent, delays of one region change. Seconds until all is as it will be.",
        f"Holds if each takes at most {WITHIN_S:g} s in the mean over seeds. Under conditions if at least {FEWEST} of them do: "
        f"to "
        f"those. Else not.",
        tasks,
        judge,
    ),
)
