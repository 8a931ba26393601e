"""What a head passes on of what its zone's agents tell: their summaries, as many as the level above has room for.

Like agents it tells the whole once, and then only how many nodes there are and what they ask for, with the version of the whole.
Beyond the room the lightest are added to the nearest of the others, as if their nodes were there: what is lost is where exactly
the demand is, and their candidates; whoever has a member among its nodes is passed on. With few enough agents nothing is lost.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from opus_node.core.context import Context
from opus_node.core.coordinates import Place, expected
from opus_node.core.messages import Summary, SummaryWanted
from opus_node.core.types import SECOND, AppId, Nanos, NodeId
from opus_node.core.wholes import Wholes

KEPT: Nanos = 8 * SECOND
"""Two summaries may be late, not three."""
TELLERS = 1024
POINTS = 96
"""Summaries that all heads together pass on."""
LEAST = 4


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
            told[agent] = (self._ctx.now, replace(known, nodes=summary.nodes, rate=summary.rate))
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
    """As if the other's nodes were the one's."""
    return replace(one, nodes=one.nodes + other.nodes + 1, rate=round(one.rate + other.rate, 3))


def _apart(one: Summary, other: Summary) -> Nanos:
    return expected(_place(one), _place(other))


def _place(one: Summary) -> Place:
    """Of the agent: it is a candidate itself."""
    return next((candidate.at for candidate in one.candidates if candidate.node == one.agent), 0)
