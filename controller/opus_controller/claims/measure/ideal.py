"""Converged tables: what the protocols' own tables hold once everything has settled, for n that no simulator could let grow up.

Only tables of the nodes on sampled routes are made. A node's table is made by its protocol's own code (`opus_node.baselines`); a
request goes from table to table as the relay would pass it on.
"""

from __future__ import annotations

from random import Random
from typing import Any

from opus_node.baselines.ids import of_app, of_node
from opus_node.core.types import CHORD, KADEMLIA, PASTRY

from opus_controller.bench.worlds import APP
from opus_controller.claims.claim import Figures
from opus_controller.claims.measure.life import spread

MOST_HOPS = 64


def ring_of(n: int) -> list[tuple[int, str]]:
    """n nodes with addresses of a private net, in the order of their identifiers."""
    nodes = (f"10.{k >> 16 & 255}.{k >> 8 & 255}.{k & 255}" for k in range(n))
    return sorted((of_node(node), node) for node in nodes)


def routes(protocol: str, n: int, replicas: int, count: int, seed: int) -> Figures:
    """Hops of `count` requests from random nodes to a holder of keys of as many applications, and entries of those nodes' "
    "tables."""
    ring, rng = ring_of(n), Random(f"{seed}/ideal/{protocol}/{n}")
    make = maker(protocol)
    tables: dict[str, Any] = {}

    def table(node: str) -> Any:
        if node not in tables:
            tables[node] = make(node, ring, Random(f"{seed}/{node}"))
        return tables[node]

    hops, entries = [], []
    for k in range(count):
        source = ring[rng.randrange(n)][1]
        key = of_app(f"{APP}-{k}")
        entries.append(table(source).entries())
        hops.append(_hops(source, key, replicas, table))
    return {"n": n, "hops": spread(hops), "entries": spread(entries)}


def _hops(node: str, key: int, replicas: int, table: Any) -> int:
    for hops in range(MOST_HOPS):
        holders = table(node).holders(key, replicas)
        if node in holders:
            return hops
        if holders:
            return hops + 1
        ways = table(node).ways(key, (node,), 1)
        if not ways:
            return hops
        node = ways[0]
    return MOST_HOPS


def maker(protocol: str) -> Any:
    """The function (node, ring, rng) -> converged table of a protocol."""
    if protocol == CHORD:
        from opus_node.baselines.chord_table import ideal as chord

        return chord
    if protocol == PASTRY:
        from opus_node.baselines.pastry_table import ideal as pastry

        return pastry
    if protocol == KADEMLIA:
        from opus_node.baselines.kademlia_table import ideal as kademlia

        return kademlia
    raise ValueError(f"{protocol} has no tables that could be made")
