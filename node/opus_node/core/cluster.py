"""One agent's nodes as a steward sees them: what they need and could give, and how far they are from each other and others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import dist, inf

from opus_node.core.coordinates import Place, unpacked
from opus_node.core.messages import Candidate, Summary
from opus_node.core.types import MILLISECOND, Nanos, NodeId
from opus_node.core.wholes import refreshed

GUESS = 1.3
"""Guesses from coordinates are lengthened: of many guesses the best are mostly too short."""
NEAR_UNIT: Nanos = 100_000
"""Of round trips in `Candidate.near`."""


class Cluster:
    """One agent's summary, and the round trips that follow from it."""

    __slots__ = ("_between", "_guessed", "abroad", "agent", "index", "measured", "others", "rtts", "shares", "summary")

    def __init__(self, agent: NodeId, summary: Summary) -> None:
        self.agent = agent
        self.summary = summary
        nodes = summary.candidates
        self.index = {one.node: i for i, one in enumerate(nodes)}
        self.rtts = [one.rtt / MILLISECOND for one in nodes]
        weights = [max(0, one.weight) for one in nodes]
        whole = sum(weights) or 1
        self.shares = [weight / whole for weight in weights] if any(weights) else [1 / max(1, len(nodes))] * len(nodes)
        """Of the agent's demand."""
        self.others = {one.node: one.rtt / MILLISECOND for one in summary.near}
        self.measured: list[set[NodeId]] = [set() for _ in nodes]
        """By node, to whom its round trip is known. Never iterated."""
        self.abroad: dict[NodeId, list[tuple[int, float]]] = {}
        """Nodes of other agents: (position, ms) of those here that have measured it."""
        self._between: list[list[float]] | None = None
        self._take(nodes, summary.abroad)
        self._guessed: dict[NodeId, tuple[Cluster, list[list[float]]]] = {}

    def renewed(self, summary: Summary) -> None:
        """Its nodes are as they were; how much they ask for is told anew."""
        self.summary = refreshed(self.summary, summary)

    def forget(self) -> None:
        """It has been replaced: two that remember each other would outlive that, where nobody collects cycles."""
        self._guessed.clear()

    @property
    def between(self) -> list[list[float]]:
        """ms, by positions in the summary. Worked out when asked for: where nodes count by their agents only, nobody does."""
        if self._between is None:
            self._between = self._worked_out(self.summary.candidates)
        return self._between

    def _worked_out(self, nodes: Sequence[Candidate]) -> list[list[float]]:
        where = [unpacked(one.at) if one.at else None for one in nodes]
        count = len(nodes)
        found = [[0.0] * count for _ in nodes]
        for i in range(count):
            here, rtt = where[i], self.rtts[i]
            row = found[i]
            for j in range(i):
                guess = by_agent = rtt + self.rtts[j]
                if nodes[i].node != self.agent != nodes[j].node:
                    guess = _guess(here, nodes[j].at)
                row[j] = found[j][i] = guess if guess < by_agent else by_agent
        for i, one in enumerate(nodes):
            for j, ms in _measured(one):
                if 0 <= j < count and j != i:
                    found[i][j] = found[j][i] = ms
        return found

    def _take(self, nodes: Sequence[Candidate], abroad: Sequence[NodeId]) -> None:
        """Who was measured; whatever makes no sense is passed over."""
        for i, one in enumerate(nodes):
            self.measured[i].add(one.node)
            for j, ms in _measured(one):
                if 0 <= j < len(nodes) and j != i:
                    self.measured[i].add(nodes[j].node)
                    self.measured[j].add(one.node)
                elif len(nodes) <= j < len(nodes) + len(abroad):
                    other = abroad[j - len(nodes)]
                    self.abroad.setdefault(other, []).append((i, ms))
                    self.measured[i].add(other)

    def guessed(self, other: Cluster) -> list[list[float]]:
        """ms from the nodes here to each candidate of another agent, by coordinates; remembered while both are as they were."""
        found = self._guessed.get(other.agent)
        if found is None or found[0] is not other:
            here = [unpacked(one.at) if one.at else None for one in self.summary.candidates]
            rows = [[_guess(place, one.at) for place in here] for one in other.summary.candidates]
            found = self._guessed[other.agent] = (other, rows)
        return found[1]


def _measured(one: Candidate) -> list[tuple[int, float]]:
    """(position of whom a candidate has measured, ms)."""
    return [(one.near[k], one.near[k + 1] * NEAR_UNIT / MILLISECOND) for k in range(0, len(one.near) - 1, 2)]


def _guess(here: tuple[tuple[float, ...], float] | None, at: Place) -> float:
    if here is None or not at:
        return inf
    there, height = unpacked(at)
    return GUESS * (dist(here[0], there) + here[1] + height)


def homes(clusters: Mapping[NodeId, Cluster]) -> dict[NodeId, NodeId]:
    """node -> agent it hangs at, for all candidates told of; the nearer agent if two claim it."""
    found: dict[NodeId, tuple[Nanos, NodeId]] = {}
    for agent in sorted(clusters):
        for candidate in clusters[agent].summary.candidates:
            claim = (candidate.rtt, agent)
            if candidate.node not in found or claim < found[candidate.node]:
                found[candidate.node] = claim
    return {node: agent for node, (_, agent) in found.items()}


def regions(clusters: Mapping[NodeId, Cluster], near_enough: Nanos) -> dict[NodeId, NodeId]:
    """agent -> first agent of its region. Balls around centres, not chains: a continent is not one region."""
    near = {agent: {one.node for one in clusters[agent].summary.near if one.rtt <= near_enough} for agent in clusters}
    centre: dict[NodeId, NodeId] = {}
    centres: list[NodeId] = []
    for agent in sorted(clusters):
        centre[agent] = next((one for one in centres if one in near[agent] or agent in near[one]), agent)
        if centre[agent] == agent:
            centres.append(agent)
    return centre
