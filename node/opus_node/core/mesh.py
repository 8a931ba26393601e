"""The links among an application's replicas, as one member knows them, and the two rules by which it makes and gives up links.

    a link is worth making   if the way over the mesh to its far end is longer than `bound` times the direct one
    a link is worth nothing  if it would not be made anew

A graph in which both rules rest is a `bound`-spanner (Althofer, Das, Dobkin, Joseph, Soares 1993: their greedy one is as light
as any). A bound without end leaves the minimum spanning tree, 1 every link that is a shortest path: what lies between is the
application's choice of cost against delay. Whoever sends, the tree is that of shortest paths over the mesh, which all members
work out alike from what they tell each other of their links (link state, as in OSPF, RFC 2328). A link counts when both ends
tell it.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Collection, Iterable, Mapping
from math import inf

from opus_node.core.messages import MeshLinks
from opus_node.core.types import Nanos, NodeId

SLACK = 1.02
"""A link is made for a way that is so much longer than the bound allows: measuring again does not make links come and go."""


Graph = Mapping[NodeId, Mapping[NodeId, Nanos]]


class Tree:
    """Shortest paths over the mesh from one member, and direct ways to where there is no path. Never changed once made."""

    __slots__ = ("children", "delay", "parent")

    def __init__(self, delay: dict[NodeId, Nanos], parent: dict[NodeId, NodeId]) -> None:
        """`parent`: in the order in which they are reached."""
        self.delay = delay
        """Round trips along the path; of those that can be reached."""
        self.parent: dict[NodeId, NodeId] = {}
        self.children: dict[NodeId, list[NodeId]] = {}
        """Of the source besides one of each part of the mesh to which there is no path."""
        self.hang(parent)

    def hang(self, parent: dict[NodeId, NodeId]) -> None:
        self.parent.update(parent)
        for node, above in parent.items():
            self.children.setdefault(above, []).append(node)


class Mesh:
    """What members tell of their links, the last word of each. `barred` are taken for dead by this member: no way for which a
    link is made or given up leads over them. Trees do not know of that, so that they are the same everywhere; whoever sends along
    one passes them by (`below`)."""

    __slots__ = ("_adjacent", "_digest", "_members", "_trees", "_ways", "_ways_from", "barred", "told")

    def __init__(self) -> None:
        self.told: dict[NodeId, MeshLinks] = {}
        self.barred: dict[NodeId, Nanos] = {}
        """Since when."""
        self._digest = 0
        self._members: tuple[NodeId, ...] = ()
        self._adjacent: Graph | None = None
        self._ways: Graph | None = None
        """The same without those who are barred."""
        self._ways_from: dict[NodeId, Tree] = {}
        self._trees: dict[NodeId, Tree] = {}

    def put(self, links: MeshLinks) -> bool:
        """Whether it is news."""
        before = self.told.get(links.origin)
        if before is not None and before.seq >= links.seq:
            return False
        if before is not None:
            self._digest ^= _hash(before)
        self._digest ^= _hash(links)
        self.told[links.origin] = links
        if before is None or before.links != links.links:
            self._changed()
        return True

    def keep(self, members: Collection[NodeId]) -> None:
        """Forgets all others."""
        if self._members != (now := tuple(sorted(members))):
            self._members = now
            self._changed()
        for origin in [one for one in self.told if one not in members]:
            self._digest ^= _hash(self.told.pop(origin))
            self._changed()
        for node in [one for one in self.barred if one not in members]:
            del self.barred[node]

    def bar(self, node: NodeId, now: Nanos) -> None:
        if node not in self.barred:
            self.barred[node] = now
            self._forget_ways()

    def unbar(self, node: NodeId) -> None:
        if self.barred.pop(node, None) is not None:
            self._forget_ways()

    def digest(self) -> int:
        """Equal where the same was told; 32 bits."""
        return self._digest

    def _changed(self) -> None:
        self._adjacent = None
        self._trees.clear()
        self._forget_ways()

    def _forget_ways(self) -> None:
        self._ways = None
        self._ways_from.clear()

    def adjacent(self) -> Graph:
        """The graph: who is linked with whom, and the round trip (the longer one, where the ends differ)."""
        if self._adjacent is None:
            said = {origin: {one.node: one.rtt for one in links.links} for origin, links in self.told.items()}
            self._adjacent = {
                a: {b: max(rtt, said[b][a]) for b, rtt in links.items() if b in said and a in said[b]}
                for a, links in said.items()
            }
        return self._adjacent

    def ways(self) -> Graph:
        """The graph without those who are barred."""
        if self._ways is None:
            barred = self.barred
            self._ways = {
                a: {b: rtt for b, rtt in links.items() if b not in barred}
                for a, links in self.adjacent().items()
                if a not in barred
            }
        return self._ways

    def tree(self, source: NodeId) -> Tree:
        """By which all members pass on what `source` sends. Kept until the graph changes."""
        found = self._trees.get(source)
        if found is None:
            found = self._trees[source] = shortest(self.adjacent(), source)
            _reach_all(found, self.adjacent(), source, self._members)
        return found

    def below(self, tree: Tree, node: NodeId) -> list[NodeId]:
        """Its children, and in place of those who are barred theirs."""
        found: list[NodeId] = []
        for child in tree.children.get(node, ()):
            found += self.below(tree, child) if child in self.barred else [child]
        return found

    def wanted(self, me: NodeId, rtts: Mapping[NodeId, Nanos], bound: float, away: Collection[NodeId]) -> NodeId:
        """The nearest member to which the way over the mesh is too long; empty if there is none. Not those `away`."""
        if me not in self._ways_from:
            self._ways_from[me] = shortest(self.ways(), me)
        over = self._ways_from[me].delay
        far = [
            (rtt, node)
            for node, rtt in rtts.items()
            if node not in away and node not in self.barred and over.get(node, inf) > SLACK * bound * rtt
        ]
        return min(far)[1] if far else ""

    def spare(self, me: NodeId, bound: float, of: Iterable[NodeId]) -> NodeId:
        """The longest of this member's links with `of` that nobody needs; empty if all are needed."""
        graph = self.ways()
        own = graph.get(me, {})
        for rtt, node in sorted(((own[node], node) for node in of if node in own), reverse=True):
            if shortest(graph, me, without=node).delay.get(node, inf) <= bound * rtt:
                return node
        return ""


def shortest(graph: Graph, source: NodeId, without: NodeId = "") -> Tree:
    """Dijkstra's, the same everywhere: among equals the name decides. `without`: as if the source had no link with it."""
    delay: dict[NodeId, Nanos] = {}
    parents: dict[NodeId, NodeId] = {}
    heap: list[tuple[Nanos, NodeId, NodeId]] = [(0, source, "")]
    while heap:
        far, node, parent = heapq.heappop(heap)
        if node in delay:
            continue
        delay[node] = far
        if parent:
            parents[node] = parent
        for other, rtt in graph.get(node, {}).items():
            if other not in delay and not (node == source and other == without):
                heapq.heappush(heap, (far + rtt, other, node))
    return Tree(delay, parents)


def _reach_all(tree: Tree, graph: Graph, source: NodeId, members: Iterable[NodeId]) -> None:
    """Members to whom there is no path, since they are new or their neighbours died: the first by name of each part of the mesh
    becomes the source's own child, and the rest of the part hangs below it."""
    reached = set(tree.delay)
    for node in members:
        if node not in reached:
            part = shortest(graph, node)
            tree.hang({node: source, **part.parent})
            reached.update(part.delay)


def _hash(links: MeshLinks) -> int:
    return int.from_bytes(hashlib.blake2b(f"{links.origin} {links.seq}".encode(), digest_size=4).digest(), "big")
