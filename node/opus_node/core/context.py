"""What all parts of one core share: who it is, what time it is, and what the runtime will have to do."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any, Final, cast

from opus_node.core.budget import Budget
from opus_node.core.coordinates import Place, Position
from opus_node.core.events import ClientReply, MemberChanged, Notice, Send, Serve
from opus_node.core.messages import Message
from opus_node.core.rtt import DIAL, KEPT_OPEN, UNKNOWN, Rtt
from opus_node.core.timers import Timers
from opus_node.core.types import MILLISECOND, SECOND, Nanos, NodeConfig, NodeId

LAG_LEAST: Nanos = 20 * MILLISECOND
"""Less is scheduling, which the time-outs' slack covers."""
JITTER: Nanos = 10 * MILLISECOND
"""So much later than its round trip an answer is not late yet."""
REFUTATIONS = 20
"""Bits of an agent's incarnation left for refutations within one life of its process."""
LAG_MAX: Nanos = 2 * SECOND
"""Also after a pause of the whole process, which says nothing of the peers."""


class Context:
    """One a core; `now` and the four outboxes are renewed by each step."""

    __slots__ = (
        "_late",
        "_late_at",
        "agent_incarnation",
        "booted_at",
        "budget",
        "config",
        "incarnation",
        "level",
        "me",
        "notices",
        "now",
        "position",
        "replies",
        "rng",
        "sends",
        "serves",
        "timers",
    )

    def __init__(self, me: NodeId, config: NodeConfig, rng: Random, position: Position | None = None) -> None:
        self.me = me
        self.config = config
        self.rng = rng
        self.now: Nanos = 0
        self.booted_at: Nanos = 0
        self.incarnation = 0
        self.agent_incarnation = 0
        """As SWIM counts it: above all of earlier processes of this host, and growing with each refutation."""
        self._late: Nanos = 0
        self._late_at: Nanos = 0
        self.position = position or Position(config.known_agents)
        self.budget = Budget(config)
        self.timers = Timers()
        self.sends: list[Send] = []
        self.replies: tuple[ClientReply, ...] = ()
        """Of the lowest level only, like `serves`; mostly empty."""
        self.notices: list[Notice] = []
        self.serves: tuple[Serve, ...] = ()
        self.level = 0

    @property
    def age(self) -> Nanos:
        """For how long the host has been up, before its node started, too."""
        return self.config.history.age + self.now - self.booted_at

    def above(self, level: int) -> Context:
        """The same host as a part of a higher relation of the hierarchy: its messages bear that level, and of what happens there
        observers hear only whom its heads hold for alive. `now` is set for each."""
        other = Context(self.me, self.config, self.rng, self.position)
        other.level = level
        other.now, other.booted_at = self.now, self.booted_at
        other.incarnation, other.agent_incarnation = self.incarnation, (self.incarnation << REFUTATIONS) + 1
        other._late, other._late_at = self._late, self._late_at
        other.timers, other.budget = self.timers, self.budget
        other.sends = self.sends
        other.notices = Muted(self.notices)
        return other

    def send(self, to: NodeId, message: Message) -> None:
        if self.level:
            levelled: Any = message
            message = replace(levelled, level=self.level)
        self.sends.append(Send(to, message))

    def patience(self, rtt: Rtt, unknown: Nanos = UNKNOWN, *, ahead: bool = False) -> Nanos:
        """How long silence of a peer is still ordinary.

        A node that is late itself waits longer before it blames others (Lifeguard's local health), by twice its lag: on a
        machine with too few processors the peers are as late. Otherwise what comes late is taken for silence, searching for
        somebody better makes everybody later, and a busy start never ends. A peer that was measured by datagrams only has to be
        dialled first, unless what it is to answer goes `ahead` of the dial, and the answer too.
        """
        dial = 2 * rtt.srtt + DIAL if rtt.samples and self.now - rtt.met_at > KEPT_OPEN and not ahead else 0
        return rtt.timeout(self.config, unknown) + dial + 2 * self.lag

    def due(self, rtt: Rtt) -> Nanos:
        """When the answer of a measured peer is late enough to ask it once more: one of the two packets was lost, most likely."""
        return rtt.srtt + max(2 * rtt.var, JITTER) + 2 * self.lag

    def once_more(self, rtt: Rtt, patient: Nanos, transfer: Nanos = 0) -> tuple[Nanos, Nanos]:
        """When to ask a measured peer again, and until when to wait then: at least until `patient`, and one more round trip."""
        again_at = self.now + self.due(rtt) + transfer
        return again_at, max(patient, again_at + rtt.srtt + JITTER)

    def met(self, peer: NodeId, rtt: Rtt, took: Nanos, at: Place) -> None:
        """A round trip through a connection to a peer that says it is `at`. It moves this node's own place, unless it may have
        paid for a dial, as the first may."""
        measured = rtt.samples > 0
        if rtt.sample(took, self.now) and measured:
            self.position.sample(peer, took, at)

    @property
    def lag(self) -> Nanos:
        """How late this process has lately come to its own timers; halved with each second since."""
        return self._late and self._late >> min((self.now - self._late_at) // SECOND, 63)

    def woken(self, late: Nanos) -> None:
        """A timer fired `late`."""
        late = min(late, LAG_MAX)
        if late > LAG_LEAST and late >= self.lag:
            self._late, self._late_at = late, self.now

    def jitter(self, span: Nanos, low: float = 0.9, high: float = 1.1) -> Nanos:
        """`span` times a random factor: what all nodes do at boot must not stay in step."""
        return int(span * (low + (high - low) * self.rng.random()))


NOBODY: Final = Context("", NodeConfig(), cast(Random, None))
"""A node without applications, which draws nothing. Parts that then have nothing to do are made for it, once: all nodes share
them."""


class Muted(list[Notice]):
    """Notices of a higher level: a node is attached to its agent, whatever the agent is attached to."""

    def __init__(self, told: list[Notice]) -> None:
        super().__init__()
        self._told = told

    def append(self, notice: Notice) -> None:
        if isinstance(notice, MemberChanged):
            self._told.append(notice)
