"""What BRITE writes: a header, nodes, and edges with a delay of their own.

    Topology: ( 2 Nodes, 1 Edges )
    Model (1 - RTWaxman):  ...

    Nodes: ( 2 )
    0   1  3  1  1  -1  RT_NODE                           id x y indegree outdegree AS type

    Edges: ( 1 )
    0   0  1  769.6  2.567  10.0  -1  -1  E_RT  U         id from to length delay bandwidth ASfrom ASto type

Delays are ms one way; where one is negative (BRITE gives none between autonomous systems), it is the length in km at the speed of
light, which is how BRITE reckons. Every node is a site. Bandwidths, kinds of nodes and edges are passed over, and an edge
counts both ways. (Medina, Lakhina, Matta, Byers, *BRITE: An Approach to Universal Topology Generation*, MASCOTS 2001.)
"""

from __future__ import annotations

import re
from pathlib import Path

from opus_controller.model.errors import ScenarioError
from opus_controller.model.importers.network import Cables, connected
from opus_controller.model.matrix import MAX_RTT_MS
from opus_controller.model.textfile import read_text
from opus_controller.model.units import shown

LIGHT_KM_PER_MS = 299.792458


def read_brite(path: Path, ms: float) -> Cables:
    """Raises ScenarioError, naming the line."""
    section, counts = "", {"Nodes": 0, "Edges": 0}
    nodes: dict[str, int] = {}
    edges: list[tuple[int, int, int | None]] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split()
        begins = re.match(r"\s*(Nodes|Edges)\s*:\s*\(\s*([0-9]{1,9})\s*\)", line)
        if begins:
            section, counts[begins[1]] = begins[1], int(begins[2])
        elif words and section == "Nodes":
            if len(words) < 3 or words[0] in nodes:
                raise ScenarioError(f"{path}:{number}: {shown(line.strip())}; allowed: id x y ..., each id once")
            nodes[words[0]] = len(nodes)
        elif words and section == "Edges":
            edges.append(_edge(path, number, words, nodes))
    for what, found in (("Nodes", len(nodes)), ("Edges", len(edges))):
        if counts[what] != found or not found:
            raise ScenarioError(f"{path}: {found} lines of {what} where it says {counts[what]}; allowed: a whole .brite file")
    return connected(path, [f"n{node}" for node in nodes], [None] * len(nodes), edges, list(range(len(nodes))))


def _edge(path: Path, line: int, words: list[str], nodes: dict[str, int]) -> tuple[int, int, int]:
    if len(words) < 6:
        raise ScenarioError(f"{path}:{line}: {len(words)} values of an edge; allowed: id from to length delay bandwidth ...")
    for end in words[1:3]:
        if end not in nodes:
            raise ScenarioError(f"{path}:{line}: there is no node {shown(end)}; allowed: those under Nodes")
    try:
        length, delay = float(words[3]), float(words[4])
    except ValueError:
        length = delay = -1.0
    if delay < 0:
        delay = length / LIGHT_KM_PER_MS
    if not 0 <= delay <= MAX_RTT_MS / 2:
        raise ScenarioError(f"{path}:{line}: length {shown(words[3])}, delay {shown(words[4])}; allowed: km, and ms one way")
    return nodes[words[1]], nodes[words[2]], round(delay * 1e6)
