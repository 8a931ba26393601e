"""Maps of real networks by the Internet Topology Zoo, as GraphML or GML: nodes with Latitude and Longitude, and cables.

Nodes with a place become sites. Those without one are left out, and then what no cable joins to the greatest part (a map may
fall apart without them). What else the files tell (speeds, years, countries) is passed over: delays follow from distance.
(Knight, Nguyen, Falkner, Bowden, Roughan, *The Internet Topology Zoo*, IEEE JSAC 29(9), 2011.)
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from opus_controller.model.errors import ScenarioError
from opus_controller.model.graph import Position
from opus_controller.model.importers.network import Cables, connected
from opus_controller.model.textfile import read_text
from opus_controller.model.units import shown


def read_graphml(path: Path, ms: float) -> Cables:
    import networkx as nx

    try:
        graph = nx.read_graphml(path)
    except (nx.NetworkXError, SyntaxError, LookupError, ValueError, TypeError, AttributeError, OSError, EOFError) as error:
        # What networkx, its XML parser (whose ParseError is a SyntaxError) and their conversions raise.
        raise ScenarioError(f"{path}: not GraphML: {' '.join(str(error).split())}") from None
    return _cables(path, graph)


def read_gml(path: Path, ms: float) -> Cables:
    import networkx as nx

    # The Zoo's files have parallel cables and do not all say so, which networkx insists on.
    text = read_text(path)
    if not re.search(r"^\s*multigraph\s+1\b", text, re.MULTILINE):
        text = re.sub(r"^(\s*graph\s*\[)", r"\1 multigraph 1 ", text, count=1, flags=re.MULTILINE)
    try:
        graph = nx.parse_gml(text, label="id")
    except (nx.NetworkXError, LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ScenarioError(f"{path}: not GML: {' '.join(str(error).split())}") from None
    return _cables(path, graph)


def _cables(path: Path, graph: Any) -> Cables:
    nodes = list(graph.nodes)
    labels = [str(graph.nodes[node].get("label", node)) for node in nodes]
    places = [_place(path, label, graph.nodes[node]) for label, node in zip(labels, nodes, strict=True)]
    placed = [k for k, place in enumerate(places) if place is not None]
    if not placed:
        raise ScenarioError(f"{path}: no node has Latitude and Longitude, so no delay can be told from it")
    position = {node: k for k, node in enumerate(nodes)}
    edges = sorted({tuple(sorted((position[a], position[b]))) for a, b in graph.edges()})
    return connected(path, labels, places, [(a, b, None) for a, b in edges], placed)


def _place(path: Path, label: str, data: dict[str, object]) -> Position | None:
    if "Latitude" not in data or "Longitude" not in data:
        return None
    try:
        lat, lon = float(str(data["Latitude"])), float(str(data["Longitude"]))
    except ValueError:
        lat = lon = 999.0
    if not (abs(lat) <= 90 and abs(lon) <= 180):
        where = f"{data['Latitude']}, {data['Longitude']}"
        raise ScenarioError(f"{path}: the node {shown(label)} is at {shown(where)}; allowed: a latitude and a longitude")
    return lat, lon
