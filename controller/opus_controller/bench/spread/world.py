"""The members of one application and the paths between them, in virtual time: nothing else of a host, so a hundred are cheap.

Each has the core's own context, prober and `Spread`; messages take half of the round trip that the matrix says.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from random import Random

from opus_node.core.context import Context
from opus_node.core.messages import Message, Probe, ProbeReply, Update
from opus_node.core.prober import Prober
from opus_node.core.spread import Spread
from opus_node.core.types import Nanos, NodeConfig, NodeId
from opus_node.sizes import encoded_size

APP = "app"


class Member:
    def __init__(self, me: NodeId, bound: float, seed: str, delivered: Callable[[NodeId, Update, int], None]) -> None:
        self.ctx = Context(me, NodeConfig(), Random(f"{seed}/{me}"))
        self.prober = Prober(self.ctx)
        self.spread = Spread(self.ctx, self.prober, APP, bound, lambda update, missed, by: delivered(me, update, missed))

    def receive(self, source: NodeId, message: Message) -> None:
        if isinstance(message, Probe):
            self.ctx.send(source, ProbeReply(message.nonce, False, 0))
        elif isinstance(message, ProbeReply):
            self.prober.on_reply(source, message)
        else:
            self.spread.on(source, message)


class World:
    """`rtt(a, b)` in ns. `delivered` tells when each update reached whom, by its source and version."""

    def __init__(self, names: Sequence[NodeId], rtt: Callable[[NodeId, NodeId], Nanos], bound: float, seed: str) -> None:
        self.now: Nanos = 0
        self.rtt = rtt
        self.delivered: dict[tuple[NodeId, int], dict[NodeId, Nanos]] = {}
        self.sent: Counter[str] = Counter()
        """Bytes, by kind of message, in envelopes."""
        self.carried: Counter[tuple[NodeId, NodeId]] = Counter()
        """Updates sent from one to another."""
        self.dead: set[NodeId] = set()
        self.rng = Random(f"{seed}/world")
        self.loss = 0.0
        self.duplicate = 0.0
        self.jitter: Nanos = 0
        """Uniform; more than the gap between two messages reorders them."""
        self._heap: list[tuple[Nanos, int, NodeId, NodeId, Message | None]] = []
        self._order = 0
        self._wakes: dict[NodeId, Nanos] = {}
        self.members = {name: Member(name, bound, seed, self._told) for name in names}
        self.learn(names)

    def learn(self, members: Sequence[NodeId]) -> None:
        """Everybody alive hears who the members are."""
        for name in sorted(self.members.keys() - self.dead):
            self.act(name, lambda member: member.spread.learn(tuple(members)))

    def live(self) -> list[NodeId]:
        return [name for name in self.members if name not in self.dead]

    def kill(self, names: Iterable[NodeId]) -> None:
        """They fall silent; nobody is told."""
        self.dead |= set(names)

    def revive(self) -> None:
        """All who were silent go on as they were, like processes that had been paused."""
        back = sorted(self.dead)
        self.dead.clear()
        for name in back:
            self._wakes.pop(name, None)
            self.act(name, lambda member: member.ctx.timers.fire(self.now))

    def publish(self, source: NodeId, content: bytes = b"") -> int:
        """The version."""
        version = 0

        def do(member: Member) -> None:
            nonlocal version
            update = member.spread.publish(content)
            assert update is not None
            version = update.version

        self.act(source, do)
        return version

    def run(self, span: Nanos) -> None:
        end = self.now + span
        while self._heap and self._heap[0][0] <= end:
            self.now, _, to, source, message = heapq.heappop(self._heap)
            if to in self.dead:
                continue
            if message is not None:
                self.act(to, lambda member, s=source, m=message: member.receive(s, m))  # type: ignore[misc]
            elif self._wakes.get(to) == self.now:
                del self._wakes[to]
                self.act(to, lambda member: member.ctx.timers.fire(self.now))
        self.now = end

    def act(self, name: NodeId, do: Callable[[Member], None]) -> None:
        member = self.members[name]
        ctx = member.ctx
        ctx.now = self.now
        do(member)
        for send in ctx.sends:
            self._carry(name, send.to, send.message)
        ctx.sends.clear()
        ctx.notices.clear()
        wake = ctx.timers.next()
        if wake is not None and self._wakes.get(name) != wake:
            self._wakes[name] = max(wake, self.now)
            self._put(self._wakes[name], name, name, None)

    def _carry(self, source: NodeId, to: NodeId, message: Message) -> None:
        self.sent[type(message).__name__] += encoded_size(message)
        if isinstance(message, Update):
            self.carried[source, to] += 1
        delay = self.rtt(source, to) // 2
        if self.loss or self.duplicate or self.jitter:
            for _ in range(1 + (self.rng.random() < self.duplicate)):
                if self.rng.random() >= self.loss:
                    self._put(self.now + delay + self.rng.randrange(self.jitter + 1), to, source, message)
        else:
            self._put(self.now + delay, to, source, message)

    def _put(self, at: Nanos, to: NodeId, source: NodeId, message: Message | None) -> None:
        self._order += 1
        heapq.heappush(self._heap, (at, self._order, to, source, message))

    def _told(self, name: NodeId, update: Update, missed: int) -> None:
        self.delivered.setdefault((update.source, update.version), {})[name] = self.now
