"""What all parts of one core share: who it is, what time it is, and what the runtime will have to do."""

from __future__ import annotations

from random import Random

from opus_node.core.events import ClientReply, Notice, Send
from opus_node.core.messages import Message
from opus_node.core.timers import Timers
from opus_node.core.types import Nanos, NodeConfig, NodeId


class Context:
    """One a core; `now` and the three outboxes are renewed by each step."""

    __slots__ = (
        "agent_incarnation",
        "booted_at",
        "config",
        "incarnation",
        "me",
        "notices",
        "now",
        "replies",
        "rng",
        "sends",
        "timers",
    )

    def __init__(self, me: NodeId, config: NodeConfig, rng: Random) -> None:
        self.me = me
        self.config = config
        self.rng = rng
        self.now: Nanos = 0
        self.booted_at: Nanos = 0
        self.incarnation = 0
        self.agent_incarnation = 0
        """As SWIM counts it: above all of earlier processes of this host, and growing with each refutation."""
        self.timers = Timers()
        self.sends: list[Send] = []
        self.replies: list[ClientReply] = []
        self.notices: list[Notice] = []

    def send(self, to: NodeId, message: Message) -> None:
        self.sends.append(Send(to, message))

    def jitter(self, span: Nanos, low: float = 0.9, high: float = 1.1) -> Nanos:
        """`span` times a random factor: what all nodes do at boot must not stay in step."""
        return int(span * (low + (high - low) * self.rng.random()))
