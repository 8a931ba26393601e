"""Transit and stub domains, after the generator GT-ITM.

A few transit domains carry what goes far; on each of their nodes hang stub domains, where the hosts are. The domains are joined
by a random graph, so are the nodes of each; a random graph has an edge between two nodes with a probability (of GT-ITM's sample
parameters: 1, 0.6 and 0.42 between domains, in a transit domain and in a stub), and is drawn again until it is connected.
A stub hangs on its transit node by one link; GT-ITM's further links between stubs are left out, as in its sample.

A link's delay is drawn by its class, uniformly from half to one and a half of the class's figure; paths take the shortest way.
(Zegura, Calvert, Bhattacharjee, *How to Model an Internetwork*, INFOCOM 1996.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from opus_controller.model.errors import ScenarioError
from opus_controller.model.generators.provenance import check_hosts, command, sharing
from opus_controller.model.topology_form import MAX_SITES
from opus_controller.model.topology_text import cables_text, groups_text, head, sites_text
from opus_controller.model.units import format_duration

BETWEEN, TRANSIT, ACCESS, STUB = range(4)
"""Classes of links: between transit domains, within one, from it to a stub, within a stub."""
CLASSES: Final = ("between transit domains", "within one", "to a stub", "within a stub")
DELAYS_NS: Final = (40_000_000, 20_000_000, 5_000_000, 2_000_000)
"""One way. Ours: such that domains are a continent apart, and their nodes a few cities."""
_BETWEEN, _TRANSIT, _STUB = 1.0, 0.6, 0.42
"""Probabilities of an edge."""
_STEP_NS: Final = 10_000
"""Delays are whole steps."""
MOST_NODES: Final = 10_000

Link = tuple[str, str, int]
"""Two nodes and the delay one way, ns."""


@dataclass(frozen=True)
class TransitStub:
    hosts: int
    seed: int = 1
    transits: int = 4
    """Transit domains."""
    transit_nodes: int = 4
    """In each."""
    stubs: int = 3
    """Stub domains on each transit node."""
    stub_nodes: int = 8
    """In each."""
    delays_ns: tuple[int, ...] = DELAYS_NS
    """Of each class of links."""

    def text(self, name: str = "") -> str:
        """The topology's file: sites are stub nodes with hosts, drawn; all other nodes are routers. Raises ScenarioError."""
        self._check()
        rng = Random(f"{self.seed}/transit-stub")
        routers, leaves, links = self._draw(rng)
        sites = leaves if self.hosts >= len(leaves) else sorted(rng.sample(leaves, self.hosts), key=leaves.index)
        chosen = set(sites)
        routers += [leaf for leaf in leaves if leaf not in chosen]
        edges = [(a, b, format_duration(delay)) for a, b, delay in links]
        body = f"{sites_text(sites, [None] * len(sites))}\n{cables_text(edges, routers)}"
        notes = sharing(self.hosts, len(sites))
        return f"{head(name or 'transit-stub', self._source(), notes)}\n{body}\n{groups_text(sites, self.hosts)}"

    def _check(self) -> None:
        check_hosts(self.hosts)
        sizes = (self.transits, self.transit_nodes, self.stubs, self.stub_nodes)
        if min(sizes) < 1 or len(self.delays_ns) != len(CLASSES) or min(self.delays_ns) < 2 * _STEP_NS:
            raise ScenarioError(
                f"transit-stub: domains of nothing, or not {len(CLASSES)} delays; allowed: sizes from 1, delays from 20us"
            )
        leaves = self.transits * self.transit_nodes * self.stubs * self.stub_nodes
        nodes = leaves + self.transits * self.transit_nodes
        if nodes > MOST_NODES:
            raise ScenarioError(f"transit-stub: {nodes} nodes in all domains; allowed: at most {MOST_NODES}")
        if min(self.hosts, leaves) > MAX_SITES:
            raise ScenarioError(
                f"transit-stub: {self.hosts} hosts on {leaves} stub nodes are {min(self.hosts, leaves)} sites; allowed: at most "
                f"{MAX_SITES}, by fewer hosts or, for hosts that share sites, fewer stub nodes"
            )

    def _draw(self, rng: Random) -> tuple[list[str], list[str], list[Link]]:
        """Transit nodes, stub nodes, links."""
        links: list[Link] = []

        def join(a: str, b: str, kind: int) -> None:
            steps = self.delays_ns[kind] / _STEP_NS * rng.uniform(0.5, 1.5)
            links.append((a, b, round(steps) * _STEP_NS))

        def domain(names: Sequence[str], probability: float, kind: int) -> None:
            for a, b in _connected_pairs(len(names), probability, rng):
                join(names[a], names[b], kind)

        backbones = [[f"t{d + 1}-{k + 1}" for k in range(self.transit_nodes)] for d in range(self.transits)]
        for a, b in _connected_pairs(self.transits, _BETWEEN, rng):
            join(rng.choice(backbones[a]), rng.choice(backbones[b]), BETWEEN)
        leaves: list[str] = []
        for backbone in backbones:
            domain(backbone, _TRANSIT, TRANSIT)
            for router in backbone:
                for s in range(self.stubs):
                    stub = [f"{router}-s{s + 1}-{k + 1}" for k in range(self.stub_nodes)]
                    domain(stub, _STUB, STUB)
                    join(router, rng.choice(stub), ACCESS)
                    leaves += stub
        return [router for backbone in backbones for router in backbone], leaves, links

    def _source(self) -> str:
        options: dict[str, object] = {
            "hosts": self.hosts,
            "seed": self.seed,
            "transits": self.transits,
            "transit-nodes": self.transit_nodes,
            "stubs": self.stubs,
            "stub-nodes": self.stub_nodes,
            "delays": ",".join(format_duration(delay) for delay in self.delays_ns),
        }
        return (
            "SYNTHETIC, nothing of it is measured: transit and stub domains after Zegura, Calvert, Bhattacharjee, How to Model "
            f"an Internetwork (INFOCOM 1996), made by: {command('transit-stub', options)} (delays one way: {', '.join(CLASSES)}; "
            "each link's is drawn from 0.5 to 1.5 of it)"
        )


def _connected_pairs(nodes: int, probability: float, rng: Random) -> list[tuple[int, int]]:
    """The edges of a random graph, given that it is connected."""
    import networkx as nx

    while True:
        graph: nx.Graph[int] = nx.gnp_random_graph(nodes, probability, seed=rng)
        if nx.is_connected(graph):
            return sorted((a, b) for a, b in graph.edges())
