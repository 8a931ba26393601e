"""What a head passes on of what its zone's agents tell: their summaries, as many as the level above has room for.

Like agents it tells the whole once, and then only how many nodes there are and what they ask for, with the version of the whole.
Beyond the room the lightest are added to the nearest of the others, with the fittest of their nodes, which then stand for the
rest: what is lost is where exactly the demand is, and what was measured there; whoever has a member among its nodes is passed on.
With few enough agents nothing is lost.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from opus_node.core.context import Context
from opus_node.core.coordinates import Place, expected
from opus_node.core.messages import Candidate, Summary, SummaryWanted
from opus_node.core.popularity import summed
from opus_node.core.types import SECOND, AppId, Nanos, NodeId
from opus_node.core.wholes import Wholes, refreshed

KEPT: Nanos = 8 * SECOND
"""Two summaries may be late, not three."""
TELLERS = 1024
POINTS = 96
"""Summaries that all heads together pass on."""
LEAST = 4
FEWEST = 4
"""Nodes that stand for those of an agent whose summary is added to another's."""
SPREAD = 1_000_003
BOUND = 1 << 62
"""Versions are compared for equality only; that of a sum follows from all of its parts."""


def share(heads: int) -> int:
    """How many summaries one of so many heads passes on."""
    return max(LEAST, POINTS // max(1, heads))


class Aggregate:
    """Soft state of a head. A summary here always says whose nodes it is about, and is a whole one."""

    __slots__ = ("_ctx", "_told", "_wholes")

    def __init__(self, ctx: Context) -> None:
        """`ctx` is the host's, without a level: the answer to a summary has none."""
        self._ctx = ctx
        self._told: dict[AppId, dict[NodeId, tuple[Nanos, Summary]]] = {config.name: {} for config in ctx.config.apps}
        self._wholes: dict[tuple[AppId, NodeId], Wholes] = {}
        """By whose nodes they are about."""

    def take(self, source: NodeId, summary: Summary) -> None:
        told = self._told.get(summary.app)
        if told is None:
            return
        agent = summary.agent or source
        _, known = told.get(agent, (0, None))
        if known is not None and known.version == summary.version:
            told[agent] = (self._ctx.now, refreshed(known, summary))
        elif not summary.candidates:
            self._ctx.send(source, SummaryWanted(summary.app, summary.agent))
        elif known is not None or len(told) < TELLERS:
            told[agent] = (self._ctx.now, replace(summary, agent=agent, level=0))

    def of(self, app: AppId, own: Sequence[Summary], most: int, serving: Collection[NodeId]) -> list[Summary]:
        """This host's `own`, then those of its zone, `most` of them at most besides those that have members."""
        told = self._told[app]
        for agent in [agent for agent, (at, _) in told.items() if self._ctx.now - at > KEPT]:
            del told[agent]
            self._wholes.pop((app, agent), None)
        mine = [one.agent for one in own]
        others = [summary for agent, (_, summary) in told.items() if agent not in mine]
        serve = {one.agent for one in others if any(candidate.node in serving for candidate in one.candidates)}
        others.sort(key=lambda one: (one.agent not in serve, -one.rate, -one.nodes, one.agent))
        room = max(len(serve), most - len(own))
        kept = {one.agent: one for one in (*own, *others[:room])}
        for one in others[room:]:
            nearest = min(kept, key=lambda agent: (_apart(kept[agent], one), agent))
            kept[nearest] = merged(kept[nearest], one)
        return list(kept.values())

    def due(self, target: NodeId, summary: Summary) -> Summary:
        """What to tell `target` of it now: the whole, or that nothing has changed."""
        return self._wholes.setdefault((summary.app, summary.agent), Wholes()).due(target, summary)

    def wanted(self, app: AppId, agent: NodeId, target: NodeId) -> None:
        """It lacks what it was told."""
        wholes = self._wholes.get((app, agent))
        if wholes is not None:
            wholes.wanted(target)

    def entries(self) -> int:
        return sum(map(len, self._told.values()))


def merged(one: Summary, other: Summary) -> Summary:
    """As if the other's nodes were the one's: FEWEST of them, as far as its agent is and they from that, with all its demand."""
    some = [candidate for candidate in other.candidates if candidate.node != other.agent][:FEWEST]
    away, scale = _apart(one, other), _scale(one, other, some)
    known = {candidate.node for candidate in one.candidates}
    taken = tuple(
        replace(candidate, rtt=candidate.rtt + away, weight=max(1, round(scale * candidate.weight)), near=())
        for candidate in some
        if candidate.node not in known
    )
    moved = [replace(candidate, near=_shifted(candidate.near, len(one.candidates), len(taken))) for candidate in one.candidates]
    return replace(
        one,
        nodes=one.nodes + other.nodes + 1,
        rate=round(one.rate + other.rate, 3),
        version=(one.version * SPREAD + other.version) % BOUND,
        candidates=(*moved, *taken),
        keys=summed((one.keys, other.keys)),
        shards=summed((one.shards, other.shards)),
    )


def _scale(one: Summary, other: Summary, some: Sequence[Candidate]) -> float:
    """What weights of the other's nodes are to be multiplied by, so that these have its demand."""
    mine, theirs = (sum(candidate.weight for candidate in each) for each in (one.candidates, some))
    asked = other.rate / one.rate if one.rate > 0 and other.rate > 0 else (other.nodes + 1) / (one.nodes + 1)
    return asked * mine / theirs if theirs else 1.0


def _shifted(near: tuple[int, ...], since: int, by: int) -> tuple[int, ...]:
    """Positions from `since` on have become greater (`Candidate.near`)."""
    return tuple(value + by if i % 2 == 0 and value >= since else value for i, value in enumerate(near))


def _apart(one: Summary, other: Summary) -> Nanos:
    return expected(_place(one), _place(other))


def _place(one: Summary) -> Place:
    """Of the agent: it is a candidate itself."""
    return next((candidate.at for candidate in one.candidates if candidate.node == one.agent), 0)
