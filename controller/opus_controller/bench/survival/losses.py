"""The share of shards that is gone when some hosts are: those of which no other host had a copy."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from random import Random
from statistics import fmean

from opus_node.core.shards import Table

from opus_controller.bench.survival.places import Ground, table

DRAWS = 100
"""Of hosts, or of pairs of regions, for one table."""
SHARES = (0.1, 0.2, 0.3)
FAILURES = ("1 region", "2 regions", *(f"{share:.0%} of hosts" for share in SHARES))


def lost(holders: Table, gone: Collection[str]) -> float:
    """Of all shards; their keys are spread alike."""
    return sum(all(node in gone for node in one) for one in holders) / len(holders)


def losses(ground: Ground, placement: str, copies: int, seed: int) -> dict[str, float]:
    """By failure, the mean share of shards lost; and the worst of one region under "worst"."""
    holders, rng = table(ground, placement, copies, seed), Random(f"{seed}/failures")
    hosts = range(len(ground.ms))
    cases: dict[str, list[Iterable[int]]] = {
        "1 region": list(ground.regions),
        "2 regions": list(ground.pairs(rng, DRAWS)),
        **{f"{share:.0%} of hosts": [rng.sample(hosts, round(share * len(hosts))) for _ in range(DRAWS)] for share in SHARES},
    }
    found = {name: [lost(holders, {str(i) for i in gone}) for gone in of_case] for name, of_case in cases.items()}
    return {**{name: fmean(shares) for name, shares in found.items()}, "worst": max(found["1 region"])}
