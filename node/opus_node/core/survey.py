"""Who is how far from whom, for placement: the steward asks, agents measure, and only what may change the choice.

    steward --Survey(nodes)--> agent ...probes those it does not know... --Surveyed(round trips)--> steward

Coordinates and triangles are too weak to place by: they say whom to measure. A candidate is measured by an agent only if by its
own agent's distance it may be nearer than what serves that agent now (`Landscape.wanted`).

Replicas an agent measures all the time, by the requests that it passes on. When one has come notably nearer or farther than the
steward was told (a path has changed, or the host is dying slowly) it is told so unasked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from opus_node.core.context import Context
from opus_node.core.messages import Measured, ProbeReply, Survey, Surveyed
from opus_node.core.prober import Prober
from opus_node.core.timers import Timer
from opus_node.core.types import MILLISECOND, SECOND, AppId, Nanos, NodeId

ASKED_AT_ONCE = 8
"""Round trips asked of one agent in one message."""
ASK_AGAIN: Nanos = 12 * SECOND
"""An unanswered question is asked again after so long."""
PATIENCE: Nanos = 3 * SECOND
"""An agent answers with what it has by then: a silent candidate holds up no other."""
KEPT: Nanos = 300 * SECOND
KEPT_MOST: Nanos = 4800 * SECOND
"""After so long a round trip is asked for again, as paths change; after twice as long each time that it had not, up to this."""
SAME = 0.1
SAME_LEAST: Nanos = 2 * MILLISECOND
"""It has changed by more than that."""
ERRAND_AGAIN: Nanos = 60 * SECOND
ERRAND_DOUBLED = 6
"""A node that did not tell is sent again after so long, doubled each time, as often as this: what it found may be too far to
tell."""
SOURCES = 16
"""Stewards whose questions are answered at the same time."""
NEWS_EVERY: Nanos = 5 * SECOND
"""Between two looks for what has changed by itself."""


class Witness:
    """An agent's side. `tell` brings an answer to the steward that asked, which may be this very node."""

    __slots__ = ("_asked", "_ctx", "_news_at", "_prober", "_said", "_tell_steward")

    def __init__(self, ctx: Context, prober: Prober, tell: Callable[[NodeId, Surveyed], None]) -> None:
        self._ctx = ctx
        self._prober = prober
        self._tell_steward = tell
        self._asked: dict[NodeId, Answer] = {}
        self._said: dict[NodeId, dict[NodeId, Nanos]] = {}
        """What stewards were told."""
        self._news_at: Nanos = 0

    def look(self, replicas: Mapping[NodeId, Mapping[NodeId, Nanos]]) -> None:
        """Once a second, with what is known now of how far the replicas are, by their stewards."""
        ctx = self._ctx
        if ctx.now < self._news_at:
            return
        self._news_at = ctx.now + ctx.budget.stretched(NEWS_EVERY)
        self._said = {
            steward: {node: rtt for node, rtt in self._said.get(steward, {}).items() if node in now}
            for steward, now in replicas.items()
        }
        for steward, now in replicas.items():
            said = self._said[steward]
            news = {node: rtt for node, rtt in now.items() if node in said and not alike(rtt, said[node])}
            if news:
                self._say(steward, news)

    def _say(self, steward: NodeId, found: Mapping[NodeId, Nanos]) -> None:
        if steward in self._said or len(self._said) < SOURCES:
            self._said.setdefault(steward, {}).update(found)
        self._tell_steward(steward, Surveyed(tuple(Measured(node, rtt) for node, rtt in found.items())))

    def on_survey(self, source: NodeId, message: Survey, known: Mapping[NodeId, Nanos]) -> None:
        """`known`: round trips that need no measuring."""
        ctx = self._ctx
        answer = self._asked.get(source)
        if answer is None:
            if len(self._asked) >= SOURCES:
                return
            answer = self._asked[source] = Answer()
        for node in message.nodes[:ASKED_AT_ONCE]:
            if node == ctx.me:
                answer.found[node] = 0
            elif node in known:
                answer.found[node] = known[node]
            elif node not in answer.open and len(answer.open) < ASKED_AT_ONCE:
                answer.open.add(node)
                self._prober.ask(node, partial(self._measured, source))
        if not answer.open:
            self._tell(source)
        elif answer.timer is None:
            answer.timer = ctx.timers.at(ctx.now + PATIENCE, self._tell, source)

    def _measured(self, source: NodeId, node: NodeId, rtt: Nanos, reply: ProbeReply) -> None:
        answer = self._asked.get(source)
        if answer is None or node not in answer.open:
            return
        answer.open.discard(node)
        answer.found[node] = rtt
        if not answer.open:
            self._tell(source)

    def _tell(self, source: NodeId) -> None:
        answer = self._asked.pop(source, None)
        if answer is None:
            return
        if answer.timer is not None:
            answer.timer.cancel()
        if answer.found:
            self._say(source, answer.found)


class Answer:
    """What one steward will be told."""

    __slots__ = ("found", "open", "timer")

    def __init__(self) -> None:
        self.found: dict[NodeId, Nanos] = {}
        self.open: set[NodeId] = set()
        """Never iterated."""
        self.timer: Timer | None = None


class Surveyor:
    """A steward's side: the round trips it was told of, agents by nodes, for all its applications. Soft state."""

    __slots__ = ("_ask_agent", "_asked", "_ctx", "_errands", "_kept", "_of_interest", "_rtts", "changes")

    def __init__(self, ctx: Context, ask: Callable[[NodeId, Survey], None]) -> None:
        """`ask` brings a question to an agent, which may be this very node."""
        self._ctx = ctx
        self._ask_agent = ask
        self._rtts: dict[NodeId, dict[NodeId, tuple[Nanos, Nanos]]] = {}
        """agent -> node -> (round trip, when told)."""
        self._kept: dict[NodeId, dict[NodeId, Nanos]] = {}
        """How long such a round trip is believed."""
        self._asked: dict[NodeId, dict[NodeId, Nanos]] = {}
        self._of_interest: dict[AppId, frozenset[NodeId]] = {}
        self.changes = 0
        """How often what was known has turned out otherwise."""
        self._errands: dict[NodeId, dict[NodeId, tuple[int, Nanos]]] = {}
        """node -> other -> how often it was sent to measure it, and not before when again."""

    def told(self, agent: NodeId) -> Mapping[NodeId, tuple[Nanos, Nanos]]:
        """What an agent has measured: node -> (round trip, when told)."""
        return self._rtts.get(agent, {})

    def ask(self, agent: NodeId, nodes: Sequence[NodeId]) -> int:
        """Asks `agent` for what is missing, or old, the first of `nodes` first; tells how many are missing, asked for or not."""
        now = self._ctx.now
        told, asked = self._rtts.setdefault(agent, {}), self._asked.setdefault(agent, {})
        kept, stretched = self._kept.setdefault(agent, {}), self._ctx.budget.stretched

        def due(node: NodeId) -> bool:
            known = told.get(node)
            old = known is None or now - known[1] >= stretched(kept[node])
            return old and now - asked.get(node, -ASK_AGAIN) >= ASK_AGAIN

        wanted = [node for node in nodes if due(node)][:ASKED_AT_ONCE]
        if wanted:
            asked.update(dict.fromkeys(wanted, now))
            self._ask_agent(agent, Survey(tuple(wanted)))
        return sum(1 for node in nodes if node not in told)

    def send(self, agent: NodeId, node: NodeId, others: Sequence[NodeId]) -> None:
        """An agent's node is to measure some others."""
        now = self._ctx.now
        asked = self._errands.setdefault(node, {})
        due = [other for other in others if now >= asked.get(other, (0, 0))[1]]
        if due:
            for other in due:
                times, _ = asked.get(other, (0, 0))
                asked[other] = (times + 1, now + (ERRAND_AGAIN << min(times, ERRAND_DOUBLED)))
            self._ask_agent(agent, Survey(tuple(due), node))

    def on_surveyed(self, source: NodeId, message: Surveyed) -> None:
        told, asked, kept = self._rtts.get(source), self._asked.get(source), self._kept.get(source)
        if told is None or asked is None or kept is None:
            return  # never asked
        for one in message.rtts:
            before = told.get(one.node)
            same = before is not None and alike(one.rtt, before[0])
            if (asked.pop(one.node, None) is not None or (before is not None and not same)) and one.rtt >= 0:
                self.changes += before is not None and not same
                kept[one.node] = min(KEPT_MOST, 2 * kept[one.node]) if same else KEPT
                told[one.node] = (one.rtt, self._ctx.now)

    def attend(self, app: AppId, nodes: Iterable[NodeId]) -> None:
        """Bounds the tables: of interest to `app` are only these; what no application cares for is forgotten."""
        limit = self._ctx.now - (ERRAND_AGAIN << ERRAND_DOUBLED)
        self._errands = {n: left for n, row in self._errands.items() if (left := {o: e for o, e in row.items() if e[1] > limit})}
        now = frozenset(nodes)
        if now == self._of_interest.get(app):
            return
        self._of_interest[app] = now
        some = frozenset().union(*self._of_interest.values())
        self._rtts = {a: {n: rtt for n, rtt in row.items() if n in some} for a, row in self._rtts.items() if a in some}
        self._kept = {a: {n: span for n, span in row.items() if n in some} for a, row in self._kept.items() if a in some}
        self._asked = {a: {n: at for n, at in row.items() if n in some} for a, row in self._asked.items() if a in some}

    def entries(self) -> int:
        return sum(map(len, self._rtts.values()))


def alike(now: Nanos, before: Nanos) -> bool:
    return abs(now - before) <= max(SAME_LEAST, int(SAME * before))
