"""One-way delays over a graph of cables: the shortest way, at two thirds of the speed of light.

Light in fibre travels at c / 1.468 (ITU-T G.652), commonly taken as two thirds of c. Real cables are longer than the great
circle, so these delays are a floor; an edge may name its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from opus_controller.model.document import Problems
from opus_controller.model.fields import listed, suggestion
from opus_controller.model.matrix import Pair
from opus_controller.model.topology_form import GraphForm
from opus_controller.model.units import shown

EARTH_RADIUS_KM = 6371.0088
FIBRE_KM_PER_S = 299_792.458 * 2 / 3

Position = tuple[float, float]
"""Latitude and longitude in degrees."""


def distance_km(a: Position, b: Position) -> float:
    """Great-circle distance by the haversine formula."""
    lat_a, lon_a, lat_b, lon_b = (math.radians(x) for x in (*a, *b))
    h = math.sin((lat_b - lat_a) / 2) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, h)))


def fibre_delay_ns(km: float) -> int:
    """One-way delay, in whole microseconds so that no library's last bit of a sine shows."""
    return round(km / FIBRE_KM_PER_S * 1e6) * 1000


def graph_delays(problems: Problems, graph: GraphForm, sites: Sequence[str], places: Mapping[str, Position]) -> dict[Pair, int]:
    """Nanoseconds one way between all pairs of sites. Sites that no cables join, unknown nodes, ... are added to `problems`."""
    import networkx as nx  # half a second to import, needed by few topologies

    positions = dict(places)
    for name, node in graph.nodes.items():
        if node.lat is not None and node.lon is not None:
            positions[name] = node.lat, node.lon
    nodes = [*sites, *graph.nodes]
    for name in graph.nodes:
        if name in sites:
            problems.add(("graph", "nodes", name), "is a site already; allowed: a name that no site has", of_key=True)
    net: nx.Graph[str] = nx.Graph()
    net.add_nodes_from(nodes)
    for k, edge in enumerate(graph.edges):
        unknown = [end for end in (edge.from_, edge.to) if end not in nodes]
        for end in unknown:
            problems.add(
                ("graph", "edges", k), f"there is no node {shown(end)}; {suggestion(end, nodes)}allowed: {listed(nodes)}"
            )
        homeless = [end for end in (edge.from_, edge.to) if end in nodes and end not in positions]
        if homeless and edge.delay is None:
            problems.add(
                ("graph", "edges", k), f"the place of {homeless[0]} is unknown; allowed: lat and lon there, or a delay here"
            )
        elif not unknown:
            delay = (
                edge.delay if edge.delay is not None else fibre_delay_ns(distance_km(positions[edge.from_], positions[edge.to]))
            )
            if not net.has_edge(edge.from_, edge.to) or delay < net.edges[edge.from_, edge.to]["delay"]:
                net.add_edge(edge.from_, edge.to, delay=delay)
    if problems:
        return {}
    delays: dict[Pair, int] = {}
    for i, source in enumerate(sites):
        reached = nx.single_source_dijkstra_path_length(net, source, weight="delay")
        for j, target in enumerate(sites):
            if i != j and target in reached:
                delays[i, j] = round(reached[target])
            elif i != j:
                problems.add(("graph", "edges"), f"no cables join {source} and {target}; allowed: edges that connect all sites")
                return {}
    return delays
