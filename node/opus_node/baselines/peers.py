"""Other nodes as one node sees them: round trips, and questions that are asked again until they count as silence.

    ask --Told--> on_told
        --nothing in time--> again, TRIES times in all, each wait twice the last --> on_silent

Time-outs follow from measured round trips, as MSPastry and Bamboo have them (Rhea et al., "Handling churn in a DHT", USENIX
2004).
"""

from __future__ import annotations

from collections.abc import Callable

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
    __slots__ = ("ask", "most", "node", "on_silent", "on_told", "sent_at", "slow", "timer", "tries")

    def __init__(self, node: NodeId, ask: Ask | Seek, on_told: OnTold, on_silent: OnSilent | None) -> None:
        self.node = node
        self.ask = ask
        self.on_told = on_told
        self.on_silent = on_silent
        self.sent_at: Nanos = 0
        self.tries = 0
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
        question.tries = 1
        self._questions[self._nonce] = question
        question.timer = self._ctx.timers.at(self._ctx.now + SOUGHT + 2 * self._ctx.lag, self._due, self._nonce)
        self._ctx.send(node, question.ask)

    def _send(self, question: Question) -> None:
        ctx = self._ctx
        self._questions[question.ask.nonce] = question
        question.tries += 1
        question.sent_at = ctx.now
        patience = ctx.patience(self.rtt(question.node), ahead=not question.slow)
        wait = max(SLOW if question.slow else LEAST, patience) << (question.tries - 1)
        question.timer = ctx.timers.at(ctx.now + wait, self._due, question.ask.nonce)
        ctx.send(question.node, question.ask)

    def _due(self, nonce: int) -> None:
        question = self._questions[nonce]
        if question.tries < question.most:
            self._send(question)
            return
        del self._questions[nonce]
        self.lost += 1
        if question.on_silent is not None:
            question.on_silent(question.node)

    def told(self, source: NodeId, message: Told) -> None:
        question = self._questions.get(message.nonce)
        if question is None or (isinstance(question.ask, Ask) and question.node != source):
            return
        del self._questions[message.nonce]
        if question.timer is not None:
            question.timer.cancel()
        # Karn's rule: of one asked twice nobody knows which was answered. A slow one's time is that of a dial and a transfer.
        if isinstance(question.ask, Ask) and question.tries == 1 and not question.slow:
            self.rtt(source).sample(self._ctx.now - question.sent_at)
        question.on_told(source, message)

    def unreachable(self, node: NodeId) -> None:
        """Whoever waits for it need not."""
        for nonce, question in list(self._questions.items()):
            if question.node == node and isinstance(question.ask, Ask):
                del self._questions[nonce]
                if question.timer is not None:
                    question.timer.cancel()
                self.lost += 1
                if question.on_silent is not None:
                    question.on_silent(node)
