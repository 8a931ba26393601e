"""Other nodes as one node sees them: round trips, and questions that are asked again until they count as silence.

    ask --Told--> on_told
        --nothing in time--> again, TRIES times in all, each wait twice the last --> on_silent

Time-outs follow from measured round trips, as MSPastry and Bamboo have them (Rhea et al., "Handling churn in a DHT", USENIX
2004).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from opus_node.core.context import Context
from opus_node.core.messages import Ask, MemberUpdate, Seek, Told
from opus_node.core.rtt import Rtt
from opus_node.core.timers import Timer
from opus_node.core.types import MILLISECOND, Nanos, NodeId

OnTold = Callable[[NodeId, Told], None]
OnSilent = Callable[[NodeId], None]

TRIES = 3
LEAST: Nanos = 100 * MILLISECOND
"""Before a question is asked again: datagrams are answered by processes that others keep busy."""
SLOW: Nanos = 2000 * MILLISECOND
"""The same of one that is longer than a packet, or whose answer is: a connection must be made for it."""
SOUGHT: Nanos = 2000 * MILLISECOND
"""Until a question that is passed on from node to node counts as lost."""
KEPT = 1024
"""Round trips remembered; the one not used for longest is forgotten."""


class Question:
    __slots__ = ("ask", "most", "node", "on_silent", "on_told", "sent_at", "slow", "timer")

    def __init__(self, node: NodeId, ask: Ask | Seek, on_told: OnTold, on_silent: OnSilent | None) -> None:
        self.node = node
        self.ask = ask
        self.on_told = on_told
        self.on_silent = on_silent
        self.sent_at: dict[int, Nanos] = {}
        """Of each try, by its nonce: each is another, so that an answer tells its own round trip."""
        self.most = TRIES
        self.slow = False
        self.timer: Timer | None = None


class Peers:
    __slots__ = ("_ctx", "_nonce", "_questions", "_rtts", "lost")

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._nonce = 0
        self._questions: dict[int, Question] = {}
        self._rtts: dict[NodeId, Rtt] = {}
        self.lost = 0
        """Questions that nobody has answered."""

    def rtt(self, node: NodeId) -> Rtt:
        """The estimate of the round trip to `node`, perhaps an empty one."""
        found = self._rtts.pop(node, None) or Rtt()
        self._rtts[node] = found
        if len(self._rtts) > KEPT:
            del self._rtts[next(iter(self._rtts))]
        return found

    def delay(self, node: NodeId) -> Nanos:
        """For comparisons; a large one while nothing is known."""
        found = self._rtts.get(node)
        return Rtt().delay() if found is None else found.delay()

    def known(self, node: NodeId) -> bool:
        """Whether the round trip to it was measured."""
        found = self._rtts.get(node)
        return found is not None and found.samples > 0

    def ask(
        self,
        node: NodeId,
        what: str,
        on_told: OnTold,
        on_silent: OnSilent | None = None,
        *,
        key: int = 0,
        nodes: tuple[NodeId, ...] = (),
        updates: tuple[MemberUpdate, ...] = (),
        tries: int = TRIES,
        slow: bool = False,
    ) -> None:
        """One of the two is called, once, unless this node ends before. `slow`: the question or its answer may be longer than a
        packet."""
        self._nonce += 1
        question = Question(node, Ask(self._nonce, what, key, nodes, updates), on_told, on_silent)
        question.most, question.slow = tries, slow
        self._send(question)

    def seek(self, node: NodeId, what: str, key: int, on_told: OnTold, on_silent: OnSilent | None = None) -> None:
        """The same of whoever the key belongs to, by way of `node`; asked once, and the answer comes from anybody."""
        self._nonce += 1
        question = Question(node, Seek(self._nonce, self._ctx.me, what, key, 1), on_told, on_silent)
        question.most = 1
        question.sent_at[self._nonce] = self._ctx.now
        self._questions[self._nonce] = question
        question.timer = self._ctx.timers.at(self._ctx.now + SOUGHT + 2 * self._ctx.lag, self._due, question)
        self._ctx.send(node, question.ask)

    def _send(self, question: Question) -> None:
        ctx, nonce = self._ctx, question.ask.nonce
        self._questions[nonce] = question
        question.sent_at[nonce] = ctx.now
        patience = ctx.patience(self.rtt(question.node), ahead=not question.slow)
        wait = max(SLOW if question.slow else LEAST, patience) << (len(question.sent_at) - 1)
        question.timer = ctx.timers.at(ctx.now + wait, self._due, question)
        ctx.send(question.node, question.ask)

    def _due(self, question: Question) -> None:
        if len(question.sent_at) < question.most:
            self._nonce += 1
            question.ask = replace(question.ask, nonce=self._nonce)
            self._send(question)
        else:
            self._unanswered(question)

    def _unanswered(self, question: Question) -> None:
        self._end(question)
        self.lost += 1
        if question.on_silent is not None:
            question.on_silent(question.node)

    def _end(self, question: Question) -> None:
        if question.timer is not None:
            question.timer.cancel()
        for nonce in question.sent_at:
            del self._questions[nonce]

    def told(self, source: NodeId, message: Told) -> None:
        question = self._questions.get(message.nonce)
        if question is None or (isinstance(question.ask, Ask) and question.node != source):
            return
        self._end(question)
        # The time of a slow one is that of a dial and a transfer, and of one that was passed on, that of several paths.
        if isinstance(question.ask, Ask) and not question.slow:
            self.rtt(source).sample(self._ctx.now - question.sent_at[message.nonce])
        question.on_told(source, message)

    def unreachable(self, node: NodeId) -> None:
        """Whoever waits for it need not."""
        waiting = [one for nonce, one in self._questions.items() if one.node == node and isinstance(one.ask, Ask)]
        for question in waiting:
            if question.ask.nonce in self._questions:
                self._unanswered(question)
