"""Claim 4: requests find their replicas faster than in tuned distributed hash tables.

Fairness: as many copies as Opus has replicas, the nearest of those known is taken, the same client with the same cache; each
overlay is tuned along its own knob of maintenance, and the best of its settings counts against Opus.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opus_controller.claims import lives, words
from opus_controller.claims.claim import CONDITIONS, FAILS, HOLDS, Claim, Finding, Found, Line, Plot, Table, Task, Verdict
from opus_controller.claims.measure.networks import Network
from opus_controller.claims.measure.overlays import EVERYONE, MULTI_HOP, OURS, PLACED, RANDOM_SUBSET, RIVAL, Overlay
from opus_controller.claims.setting import Setting

MULTI_HOP_FIRST, RIVAL_FIRST, RIVAL_REPEAT = 0.40, 0.65, 0.60
"""Of Opus' mean by theirs, at most."""
COMPARED = (*EVERYONE, PLACED, RANDOM_SUBSET)
FIRST, REPEAT = ("requests", "first", "ms", "mean"), ("requests", "repeat", "ms", "mean")


def tasks(setting: Setting) -> list[Task]:
    found = [life for network in setting.networks for overlay in COMPARED for life in lives.asked(setting, network, overlay)]
    found += [life for overlay in EVERYONE for life in lives.tuned(setting, overlay)]
    return lives.tasks(found)


@dataclass(frozen=True)
class Ratio:
    network: str
    against: str
    value: float
    bound: float

    @property
    def reached(self) -> bool:
        return self.value <= self.bound

    def __str__(self) -> str:
        return f"{self.network}, {self.against}: {self.value:.2f} (at most {self.bound:g})"


def ratios(found: Found, setting: Setting, network: Network) -> list[Ratio]:
    ours = lives.asked(setting, network, OURS)
    first, repeat = (lives.told(found, ours, *path).value for path in (FIRST, REPEAT))
    best = min(_best(found, setting, network, overlay) for overlay in MULTI_HOP)
    rival = lives.asked(setting, network, RIVAL)
    one_hop = _best(found, setting, network, RIVAL)
    again = lives.told(found, rival, *REPEAT).value
    return [
        Ratio(network.name, "first requests by the best multi-hop overlay", first / best, MULTI_HOP_FIRST),
        Ratio(network.name, "first requests by one-hop", first / one_hop, RIVAL_FIRST),
        Ratio(network.name, "repeat requests by one-hop", repeat / again, RIVAL_REPEAT),
    ]


def _best(found: Found, setting: Setting, network: Network, overlay: Overlay) -> float:
    """Mean of first requests at its best setting; the knob was only turned on the main network."""
    means = [lives.told(found, lives.asked(setting, network, overlay), *FIRST).value]
    if network == setting.main:
        means += [lives.told(found, [life], *FIRST).value for life in lives.tuned(setting, overlay)]
    return min(means)


def judge(found: Found, setting: Setting) -> Finding:
    all_ratios = [ratio for network in setting.networks for ratio in ratios(found, setting, network)]
    reached = [ratio for ratio in all_ratios if ratio.reached]
    slower = [ratio for ratio in all_ratios if ratio.bound == MULTI_HOP_FIRST and ratio.value >= 1]
    verdict: Verdict = HOLDS if len(reached) == len(all_ratios) else FAILS if slower else CONDITIONS
    because = f"{len(reached)} of {len(all_ratios)} ratios are reached. " + "; ".join(map(str, all_ratios)) + "."
    table = [_row(found, setting, network, overlay) for network in setting.networks for overlay in COMPARED]
    head = (
        "network",
        "overlay",
        "first, ms",
        "p95",
        "repeat, ms",
        "p95",
        "hops",
        "answered",
        "B/s a host",
        "p99",
        "entries, mean",
        "max",
    )
    return Finding(
        verdict,
        because,
        (Table("Routing latency from issue to the replica that answers, mean over seeds", head, table),),
        (_curve(found, setting),),
        (
            "Latencies are what clients would feel, each message's cost of 0.52 ms and dials of connections included; clients "
            "that are "
            "replicas themselves count with 0 ms.",
            f"{PLACED.label}: the one-hop overlay with its copies where a k-median search over the whole matrix puts them. It "
            f"should "
            "win on latency: compare bytes and entries, which grow with n.",
            "agents_serve is off in Opus: a host that is an agent serves only where there is nobody else.",
        ),
    )


def _row(found: Found, setting: Setting, network: Network, overlay: Overlay) -> Sequence[str]:
    of = lives.asked(setting, network, overlay)

    def mean(*path: str, digits: int = 1) -> str:
        return words.number(lives.told(found, of, *path).value, digits)

    first, repeat = (lives.told(found, of, *path) for path in (FIRST, REPEAT))
    issued, ok = (
        sum(lives.value(found, life, "requests", kind, what) for life in of for kind in ("first", "repeat"))
        for what in ("issued", "ok")
    )
    return (
        network.name,
        overlay.label,
        words.estimate(first),
        mean("requests", "first", "ms", "p95"),
        words.estimate(repeat),
        mean("requests", "repeat", "ms", "p95"),
        mean("requests", "first", "hops", "mean", digits=2),
        words.percent(ok / issued, 2),
        mean("rest", "bytes_mean", digits=0),
        mean("rest", "bytes_p99", digits=0),
        mean("tables", "all", "mean"),
        mean("tables", "all", "max", digits=0),
    )


def _curve(found: Found, setting: Setting) -> Plot:
    lines = []
    for overlay in EVERYONE:
        settings = [lives.asked(setting, setting.main, overlay), *([life] for life in lives.tuned(setting, overlay))]
        points = sorted(
            (lives.told(found, of, "rest", "bytes_mean").value, lives.told(found, of, *FIRST).value) for of in settings
        )
        lines.append(Line(overlay.label, [x for x, _ in points], [y for _, y in points]))
    title = f"What a host pays for maintenance, and what first requests take, on {setting.main.name}"
    return Plot("bytes-latency", title, "control bytes a second and host", "first requests, mean ms", lines, log_x=True)


CLAIMS = (
    Claim(
        4,
        "latency",
        "Distributing service functions across a carefully selected subset of nodes will yield better performance than massively "
        "decentralized approaches; with random placement more replicas are required to deliver the same.",
        "Every host asks once, and again with a warm cache, on each network: Opus, Chord, Pastry, Kademlia and a one-hop overlay "
        "with as "
        "many copies, nearest taken; each tuned along its knob of maintenance on the main network.",
        f"Holds if on every network the mean of Opus' first requests is at most {MULTI_HOP_FIRST} of the best multi-hop "
        f"overlay's and "
        f"{RIVAL_FIRST} of one-hop's, and {RIVAL_REPEAT} of one-hop's for repeat requests. Does not hold if on some network the "
        f"best "
        "multi-hop overlay is as fast. Otherwise under conditions: on the networks, and against those, where the ratios are "
        "reached.",
        tasks,
        judge,
    ),
)
