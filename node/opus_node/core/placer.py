"""Where an application's replicas should be, given what agents tell and have measured: k-median over agents as demand points.

Each agent stands for its nodes: its weight is their demand, its distance to a candidate is what it measured itself. On
PlanetLab that comes within 4% of the best placement known for m = 10 (coordinates alone: 20%). The shortlist holds a few
candidates of every agent, those that their agent names first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import sqrt

from opus_node.core.context import Context
from opus_node.core.coordinates import expected
from opus_node.core.kmedian import place, total
from opus_node.core.messages import Candidate, Summary
from opus_node.core.placement import homes
from opus_node.core.rtt import UNKNOWN
from opus_node.core.survey import Surveyor
from opus_node.core.types import MILLISECOND, AppId, Nanos, NodeId

DEMAND_POINTS = 96
"""Agents taken into account at most, the heaviest: the choice costs time with agents x candidates."""
SHORTLIST = 192
"""Candidates taken into account at most, alike many of every agent, but one at least, besides the members."""
PRIOR = 30.0
"""Requests' worth of belief that all nodes ask alike, against which few requests seen say little."""
WINDOW_S = 15.0
"""Over which nodes smooth the rates they tell (`cache.demand`: three leases)."""
MOVE = 0.1
"""Moving all members must save this share of the mean delay, moving one of m the m-th part of it: less is noise, and what a move
costs is not in the figures."""
WITHIN = 1.15
"""Whom to measure: who may be nearer than what serves by now, by triangles that are off by so much."""
READY = 0.9
"""Share of the wanted round trips that must be there for a choice to be made."""


class Placer:
    """One a desk; remembers for which inputs it found nothing better."""

    __slots__ = ("_app", "_ctx", "_settled", "_surveyor", "ready")

    def __init__(self, ctx: Context, app: AppId, surveyor: Surveyor) -> None:
        self._app = app
        self._ctx = ctx
        self._surveyor = surveyor
        self._settled: tuple[object, ...] = ()
        self.ready = False
        """Whether the last call had the round trips it wanted."""

    def better(
        self, members: Sequence[NodeId], count: int, summaries: Mapping[NodeId, Summary], excluded: Collection[NodeId]
    ) -> tuple[NodeId, ...]:
        """Members worth changing to; empty if there are none, or if round trips are still to be measured (see `ready`)."""
        world = _World(summaries, members, excluded)
        if any(node not in world.by_name for node in members) or len(world.candidates) < count:
            self.ready = False
            return ()
        self.ready = self._survey(world, members)
        shares = world.shares()
        inputs = (tuple(world.candidates), tuple(members), shares)
        if not self.ready or inputs == self._settled:
            return ()
        costs = [[self._rtt(world, agent, one) / MILLISECOND for one in world.candidates] for agent in world.agents]
        index = {one.node: i for i, one in enumerate(world.candidates)}
        current = [index[node] for node in members]
        worth = MOVE / count * total(world.weights, costs, current)
        found = place(world.weights, costs, count, current, worth)
        if set(found) == set(current):
            self._settled = inputs
            return ()
        return tuple(world.candidates[c].node for c in found)

    def _survey(self, world: _World, members: Sequence[NodeId]) -> bool:
        """Asks agents for round trips that may change the choice; whether nearly all are there."""
        surveyor = self._surveyor
        surveyor.attend(self._app, [*world.agents, *(one.node for one in world.candidates)])
        wanted = missing = 0
        for agent in world.agents:
            serving = min(self._rtt(world, agent, world.by_name[node]) for node in members)
            dear = [one.node for one in world.candidates if self._may_be_nearer(world, agent, one, serving)]
            dear.sort(key=lambda node: node not in members)
            wanted += len(world.agents) + len(dear)
            missing += surveyor.ask(agent, world.agents, dear)
        return missing <= (1 - READY) * wanted

    def _may_be_nearer(self, world: _World, agent: NodeId, one: Candidate, serving: Nanos) -> bool:
        home = world.home[one.node]
        if home == agent:
            return False  # its own agent knows
        between = self._surveyor.rtt(agent, home)
        return between is not None and between - one.rtt <= WITHIN * serving

    def _rtt(self, world: _World, agent: NodeId, one: Candidate) -> Nanos:
        """Measured, or what the candidate's own agent's distance suggests, or what coordinates do."""
        home = world.home[one.node]
        if home == agent:
            return one.rtt
        measured = self._surveyor.rtt(agent, one.node)
        if measured is not None:
            return measured
        between = self._surveyor.rtt(agent, home)
        if between is not None:
            return int(sqrt(between * between + one.rtt * one.rtt))
        return expected(world.place_of(agent), one.at) or UNKNOWN


class _World:
    """What the summaries say, cut down to what is taken into account."""

    def __init__(self, summaries: Mapping[NodeId, Summary], members: Sequence[NodeId], excluded: Collection[NodeId]) -> None:
        self.home = homes(summaries)
        told = {
            one.node: one for agent in sorted(summaries) for one in summaries[agent].candidates if self.home[one.node] == agent
        }
        weights = demand(summaries)
        heaviest = sorted(summaries, key=lambda agent: (-weights[agent], agent))[:DEMAND_POINTS]
        self.agents = sorted(heaviest)
        self.weights = [weights[agent] for agent in self.agents]
        each = max(1, SHORTLIST // max(1, len(self.agents)))
        chosen = {node: told[node] for node in members if node in told}
        for agent in self.agents:
            fit = [one for one in summaries[agent].candidates if self.home[one.node] == agent != one.node]
            chosen.update((one.node, one) for one in [one for one in fit if one.node not in excluded][:each])
        if len(chosen) < len(members):  # agents serve only when there is no one else
            chosen.update((agent, told[agent]) for agent in self.agents if agent in told and agent not in excluded)
        self.by_name = chosen
        self.candidates = [chosen[node] for node in sorted(chosen)]
        self._places = {agent: told[agent].at for agent in self.agents if agent in told}

    def place_of(self, agent: NodeId) -> int:
        return self._places.get(agent, 0)

    def shares(self) -> tuple[int, ...]:
        """Of demand, in steps of a fifth: less is noise, and no reason to think again."""
        whole = sum(self.weights) or 1.0
        return tuple(round(5 * len(self.weights) * weight / whole) for weight in self.weights)


def demand(summaries: Mapping[NodeId, Summary]) -> dict[NodeId, float]:
    """agent -> requests/s of its nodes, drawn towards what as many average nodes ask (a gamma prior), or nodes if none ask.

    Where all ask little the few requests seen by one agent are chance; a crowd that asks is believed at once.
    """
    nodes = {agent: summary.nodes + 1 for agent, summary in summaries.items()}
    rate = sum(summary.rate for summary in summaries.values()) / max(1, sum(nodes.values()))
    if rate <= 0:
        return {agent: float(count) for agent, count in nodes.items()}
    weights = {}
    for agent, summary in summaries.items():
        alike = rate * nodes[agent] * WINDOW_S
        weights[agent] = rate * nodes[agent] * (PRIOR + summary.rate * WINDOW_S) / (PRIOR + alike)
    return weights
