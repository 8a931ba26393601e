"""Who is how far from whom, for placement: the steward asks, agents measure, and only what may change the choice.

    steward --Survey(nodes)--> agent ...probes those it does not know... --Surveyed(round trips)--> steward

Coordinates and triangles are too weak to place by: they say whom to measure. An agent's round trips to other agents are known
from membership and cost nothing; a candidate is measured by an agent only if by its own agent's distance it may be nearer than
what serves that agent now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from opus_node.core.context import Context
from opus_node.core.messages import Measured, ProbeReply, Survey, Surveyed
from opus_node.core.prober import Prober
from opus_node.core.timers import Timer
from opus_node.core.types import SECOND, AppId, Nanos, NodeId

ASKED_AT_ONCE = 32
"""Round trips asked of one agent in one message; those that have to be measured first among them: PROBED_AT_ONCE."""
PROBED_AT_ONCE = 4
ASK_AGAIN: Nanos = 12 * SECOND
"""An unanswered question is asked again after so long."""
PATIENCE: Nanos = 3 * SECOND
"""An agent answers with what it has by then: a silent candidate holds up no other."""
KEPT: Nanos = 300 * SECOND
"""After so long a round trip is asked for again: paths change."""
SOURCES = 16
"""Stewards whose questions are answered at the same time."""


class Witness:
    """An agent's side. `tell` brings an answer to the steward that asked, which may be this very node."""

    __slots__ = ("_asked", "_ctx", "_prober", "_tell_steward")

    def __init__(self, ctx: Context, prober: Prober, tell: Callable[[NodeId, Surveyed], None]) -> None:
        self._ctx = ctx
        self._prober = prober
        self._tell_steward = tell
        self._asked: dict[NodeId, Answer] = {}

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

    def _measured(self, source: NodeId, node: NodeId, rtt: Nanos, reply: ProbeReply, warm: bool) -> None:
        answer = self._asked.get(source)
        if answer is None or not warm or node not in answer.open:
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
            self._tell_steward(source, Surveyed(tuple(Measured(node, rtt) for node, rtt in answer.found.items())))


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

    __slots__ = ("_ask_agent", "_asked", "_ctx", "_of_interest", "_rtts")

    def __init__(self, ctx: Context, ask: Callable[[NodeId, Survey], None]) -> None:
        """`ask` brings a question to an agent, which may be this very node."""
        self._ctx = ctx
        self._ask_agent = ask
        self._rtts: dict[NodeId, dict[NodeId, tuple[Nanos, Nanos]]] = {}
        """agent -> node -> (round trip, when told)."""
        self._asked: dict[NodeId, dict[NodeId, Nanos]] = {}
        self._of_interest: dict[AppId, frozenset[NodeId]] = {}

    def rtt(self, agent: NodeId, node: NodeId) -> Nanos | None:
        """As measured by the agent, or, from one agent to another, by either of them."""
        if agent == node:
            return 0
        found = self._rtts.get(agent, {}).get(node) or self._rtts.get(node, {}).get(agent)
        return None if found is None else found[0]

    def ask(self, agent: NodeId, free: Iterable[NodeId], dear: Iterable[NodeId]) -> int:
        """Asks `agent` for what is missing, or old; `dear` nodes it has to measure. Returns how many round trips are missing
        (asked for or not)."""
        now = self._ctx.now
        told, asked = self._rtts.setdefault(agent, {}), self._asked.setdefault(agent, {})

        def due(node: NodeId) -> bool:
            known = told.get(node)
            return (known is None or now - known[1] >= KEPT) and now - asked.get(node, -ASK_AGAIN) >= ASK_AGAIN

        cheap, costly = list(free), list(dear)
        nodes = [node for node in cheap if node != agent and due(node)][: ASKED_AT_ONCE - PROBED_AT_ONCE]
        nodes += [node for node in costly if node != agent and due(node)][:PROBED_AT_ONCE]
        if nodes:
            asked.update(dict.fromkeys(nodes, now))
            self._ask_agent(agent, Survey(tuple(nodes)))
        return sum(1 for node in (*cheap, *costly) if node != agent and node not in told)

    def on_surveyed(self, source: NodeId, message: Surveyed) -> None:
        told, asked = self._rtts.get(source), self._asked.get(source)
        if told is None or asked is None:
            return  # never asked
        for one in message.rtts:
            if asked.pop(one.node, None) is not None and one.rtt >= 0:
                told[one.node] = (one.rtt, self._ctx.now)

    def attend(self, app: AppId, nodes: Iterable[NodeId]) -> None:
        """Bounds the tables: of interest to `app` are only these; what no application cares for is forgotten."""
        now = frozenset(nodes)
        if now == self._of_interest.get(app):
            return
        self._of_interest[app] = now
        some = frozenset().union(*self._of_interest.values())
        self._rtts = {a: {n: rtt for n, rtt in row.items() if n in some} for a, row in self._rtts.items() if a in some}
        self._asked = {a: {n: at for n, at in row.items() if n in some} for a, row in self._asked.items() if a in some}

    def entries(self) -> int:
        return sum(map(len, self._rtts.values()))
