"""Converged tables: what the protocols' own tables hold once everything has settled, for n that no simulator could let grow up.

Only tables of the nodes on sampled routes are made. A node's table is made by its protocol's own code (`opus_node.baselines`); a
request goes from table to table as the relay would pass it on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from random import Random
from typing import Protocol

from opus_node.baselines import chord_table, kademlia, kademlia_table, pastry, pastry_table
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
    """Hops of `count` requests from random nodes to a holder of as many applications' keys; entries of those nodes' tables."""
    ring, rng = ring_of(n), Random(f"{seed}/ideal/{protocol}/{n}")
    make = maker(protocol, ring, replicas, seed)
    tables: dict[str, Converged] = {}

    def table(node: str) -> Converged:
        if node not in tables:
            tables[node] = make(node)
        return tables[node]

    hops, entries = [], []
    for k in range(count):
        source = ring[rng.randrange(n)][1]
        entries.append(table(source).entries())
        hops.append(_hops(source, of_app(f"{APP}-{k}"), replicas, table))
    return {"n": n, "hops": spread(hops), "entries": spread(entries)}


def _hops(node: str, key: int, replicas: int, table: Callable[[str], Converged]) -> int:
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


class Converged(Protocol):
    def ways(self, key: int, without: Collection[str], most: int) -> Sequence[str]: ...

    def holders(self, key: int, count: int) -> Sequence[str]: ...

    def entries(self) -> int: ...


def maker(protocol: str, ring: list[tuple[int, str]], replicas: int, seed: int) -> Callable[[str], Converged]:
    """What makes a node's converged table, as long as the protocol's own settings for so many copies have it."""
    if protocol == CHORD:
        longest = max(chord_table.SUCCESSORS, replicas + chord_table.MARGIN)
        return chord_table.Ideal((node for _, node in ring), successors=longest, predecessors=replicas + chord_table.MARGIN).table
    if protocol == PASTRY:
        leaves = max(pastry_table.LEAVES, 2 * (replicas + pastry.MARGIN))
        return lambda node: pastry_table.ideal(node, ring, Random(f"{seed}/{node}"), leaves=leaves)
    if protocol == KADEMLIA:
        return lambda node: kademlia_table.ideal(node, ring, kademlia.K, Random(f"{seed}/{node}"))
    raise ValueError(f"{protocol} has no tables that could be made")
