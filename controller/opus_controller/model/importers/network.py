"""What readers return: round trips between sites, or cables between places; and what is done where some are missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opus_controller.model.errors import ScenarioError
from opus_controller.model.graph import Position, distance_km, fibre_delay_ns
from opus_controller.model.matrix import MAX_RTT_MS


@dataclass(frozen=True)
class Matrix:
    """Round trips between sites. `labels` are those of the file, of any form."""

    labels: Sequence[str]
    rtt_ms: NDArray[np.float64]
    """Square, row = from. NaN: not measured; on the diagonal, which is the round trip inside a site, 0 says so too."""
    places: Sequence[Position | None]
    left_out: Sequence[str] = ()
    """Labels of sites that are in the file and not here."""

    def chosen(self, sites: Sequence[int]) -> Matrix:
        """The same of some sites only."""
        rtt = self.rtt_ms[np.ix_(sites, sites)]
        return Matrix([self.labels[i] for i in sites], rtt, [self.places[i] for i in sites], self.left_out)


@dataclass(frozen=True)
class Cables:
    """A connected graph of sites; what the delay between two is follows from the shortest way."""

    labels: Sequence[str]
    places: Sequence[Position | None]
    edges: Sequence[tuple[int, int, int | None]]
    """Two positions in `labels` and nanoseconds one way; None: by the distance of their places."""
    left_out: Sequence[str] = ()

    def matrix(self, sites: Sequence[int]) -> Matrix:
        """Round trips over the shortest ways between some of the sites."""
        import networkx as nx

        graph: nx.Graph[int] = nx.Graph()
        for a, b, delay in self.edges:
            ns = delay if delay is not None else self._by_distance(a, b)
            if not graph.has_edge(a, b) or ns < graph.edges[a, b]["delay"]:
                graph.add_edge(a, b, delay=ns)
        rtt = np.zeros((len(sites), len(sites)))
        for i, source in enumerate(sites):
            reached = nx.single_source_dijkstra_path_length(graph, source, weight="delay")
            rtt[i] = [2 * reached[target] / 1e6 for target in sites]
        return Matrix([self.labels[i] for i in sites], rtt, [self.places[i] for i in sites], self.left_out)

    def _by_distance(self, a: int, b: int) -> int:
        one, other = self.places[a], self.places[b]
        assert one is not None, "a reader gives a place or a delay"
        assert other is not None, "a reader gives a place or a delay"
        return fibre_delay_ns(distance_km(one, other))


Network = Matrix | Cables


def completed(path: Path, labels: Sequence[str], rtt_ms: NDArray[np.float64], places: Sequence[Position | None]) -> Matrix:
    """A matrix without holes: what is not above 0 counts as not measured.

    A pair measured in one direction only takes that figure for both. While pairs are missing altogether, the site that
    lacks most others is left out; of several such, the last in the file.
    """
    rtt = np.where(rtt_ms > 0, rtt_ms, np.nan)
    _check_size(path, labels, rtt)
    rtt = np.where(np.isnan(rtt), rtt.T, rtt)
    diagonal = np.arange(len(labels))
    inside = np.nan_to_num(rtt[diagonal, diagonal])
    rtt[diagonal, diagonal] = inside
    holes = np.isnan(rtt)
    lacking = holes.sum(axis=1)
    out: list[int] = []
    while lacking.any():
        worst = len(labels) - 1 - int(np.argmax(lacking[::-1]))
        out.append(worst)
        lacking = lacking - holes[:, worst]
        lacking[worst] = 0
        holes[worst, :] = holes[:, worst] = False
    kept = [i for i in range(len(labels)) if i not in set(out)]
    if len(kept) < 2:
        raise ScenarioError(f"{path}: no two of {len(labels)} sites have a round trip between them; allowed: figures above 0")
    whole = Matrix(labels, rtt, places, [labels[i] for i in sorted(out)])
    return whole.chosen(kept)


def _check_size(path: Path, labels: Sequence[str], rtt: NDArray[np.float64]) -> None:
    i, j = divmod(int(np.argmax(np.nan_to_num(rtt, posinf=np.inf))), len(labels))
    if rtt[i, j] > MAX_RTT_MS:
        raise ScenarioError(
            f"{path}: {rtt[i, j]:g} ms from {labels[i]} to {labels[j]}; allowed: at most {MAX_RTT_MS} ms (--unit says what the "
            "figures are in)"
        )


def connected(
    path: Path,
    labels: Sequence[str],
    places: Sequence[Position | None],
    edges: Iterable[tuple[int, int, int | None]],
    among: Sequence[int],
) -> Cables:
    """The greatest connected part of `among` (positions), in that order; all others are left out.

    ScenarioError if it is a single site.
    """
    import networkx as nx

    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(among)
    edges = [(a, b, delay) for a, b, delay in edges if a != b and graph.has_node(a) and graph.has_node(b)]
    graph.add_edges_from((a, b) for a, b, _ in edges)
    part = max(nx.connected_components(graph), key=lambda part: (len(part), -min(part)))
    kept = [node for node in among if node in part]
    if len(kept) < 2:
        raise ScenarioError(f"{path}: no cable joins two of its {len(labels)} nodes that have a place")
    position = {node: k for k, node in enumerate(kept)}
    return Cables(
        [labels[node] for node in kept],
        [places[node] for node in kept],
        [(position[a], position[b], delay) for a, b, delay in edges if a in part and b in part],
        [label for node, label in enumerate(labels) if node not in part],
    )
