"""One half of a connection: what one end knows of it, which is what it has done and what has arrived. The states of
`opus_node.lines`, and one of the kernel's.

    state        leaves it by
    CONNECTING   answered: OPEN · refused: WAITING, peer unreachable, what waited is lost · no answer in time: WAITING
    OPEN         message into a cut path: STALLED · reset: WAITING, peer unreachable · evicted, idle, or the peer's FIN: CLOSED
    STALLED      a retransmission gets through: OPEN · silent for too long: WAITING, what was sent is lost · reset: as OPEN
    WAITING      backoff over: CONNECTING (with a half of its own) if messages wait, else CLOSED

An accepted half begins OPEN, ends CLOSED and never dials. Everything that one end does to the other travels:

    dialler                                           acceptor
    CONNECTING  ── SYN ─────────────────────────────▶ one way later its state then decides: running, dead, paused, silent
                ◀───── refusal after one round trip, answer after two (TCP's and HTTP/2's), or nothing
    OPEN        ── headers, with the first message ─▶ OPEN: an accepted half begins
                ◀───────────── messages ────────────▶ of a half that the receiver does not have: RST, one way back
    CLOSED      ── FIN, after all messages ─────────▶ CLOSED

A connection is known by its dialler, its acceptor and a number of the dialler's own that it never gives again. An end that the
other has given up without a word learns by a reset, should it send.

What a half does is in `fabric.py`; this is its state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING

from opus_node.core.messages import DROPPABLE, Message
from opus_node.core.types import Nanos

from opus_controller.runtimes.sim.costs import BACKOFF_FIRST, EXPIRY, QUEUE_MESSAGES
from opus_controller.runtimes.sim.path import Path

if TYPE_CHECKING:
    from opus_controller.runtimes.sim.host import SimHost


class State(Enum):
    CONNECTING = auto()
    OPEN = auto()
    STALLED = auto()
    """Open as far as this end knows, but the path swallows everything; what was sent waits in the kernel."""
    WAITING = auto()
    CLOSED = auto()


class End:
    """From which end of which connection something comes; never changes."""

    __slots__ = ("accepted", "number", "source", "target")

    def __init__(self, source: SimHost, target: SimHost, number: int, accepted: bool) -> None:
        self.source = source
        self.target = target
        self.number = number
        """Of the connection, among its dialler's; later ones are higher. 0: not dialled yet."""
        self.accepted = accepted
        """Whether `target` has dialled."""

    def half(self) -> Channel | None:
        """The other end's, if that has one which lives."""
        target = self.target
        half = (target.channels if self.accepted else target.accepted).get(self.source.id)
        if half is None or half.number != self.number:
            return None
        return half if half.state is State.OPEN or half.state is State.STALLED else None


class Channel(End):
    """The half at `source`: the messages to `target`."""

    __slots__ = (
        "backoff", "dialed_at", "hold", "incarnation", "last", "measured_at", "opened_at", "path", "probed", "queue",
        "round_trips", "rto", "state", "told", "unheard_since", "used_at", "version",
    )  # fmt: skip

    def __init__(
        self, source: SimHost, target: SimHost, path: Path, version: int, number: int = 0, *, accepted: bool = False
    ) -> None:
        self.source = source
        self.target = target
        self.number = number
        self.accepted = accepted
        self.path = path
        self.version = version
        """Of the network that `path` was made for."""
        self.told = accepted
        """Whether the acceptor has been sent the headers, and so will have its half."""
        self.opened_at: Nanos = 0
        self.state = State.CONNECTING
        self.queue: deque[tuple[Nanos, Message]] | None = None
        """Since when each message waits, and it; None: nothing does."""
        self.incarnation = -1
        """Dialled: the process that answered."""
        self.used_at: Nanos = 0
        """When something was last sent or heard."""
        self.last: Nanos = 0
        """When the last message arrives; none arrives before the one before it."""
        self.hold: Nanos = 0
        """Until when arrivals here wait for one that this end's access link dropped."""
        self.dialed_at: Nanos = 0
        self.backoff = BACKOFF_FIRST
        """From the last dial to the next one, should it fail."""
        self.unheard_since: Nanos | None = None
        """When the oldest message was sent of which no acknowledgement can come."""
        self.round_trips = 0
        """Measured on this connection, at most one at a time."""
        self.measured_at: Nanos = 0
        self.rto: Nanos = 0
        """STALLED: between the last retransmission and the next."""
        self.probed = False
        """STALLED: whether the first one has been made."""

    def again(self) -> Channel:
        """For the next connection with the same peer; this one is over."""
        fresh = Channel(self.source, self.target, self.path, self.version)
        fresh.queue, self.queue = self.queue, None
        fresh.backoff, fresh.used_at = self.backoff, self.used_at
        self.state = State.CLOSED
        return fresh

    def open(self, now: Nanos) -> None:
        self.state = State.OPEN
        self.opened_at = self.used_at = now
        self.measured_at = now - self.path.rtt

    def enqueue(self, now: Nanos, message: Message) -> bool:
        """Let `message` wait. Full: the oldest goes that can be dropped, or else the newcomer; then False."""
        queue = self.queue or deque()
        fits = len(queue) < QUEUE_MESSAGES
        if not fits:
            place = next((i for i, (_, waiting) in enumerate(queue) if isinstance(waiting, DROPPABLE)), None)
            if place is None:
                return False
            del queue[place]
        queue.append((now, message))
        self.queue = queue
        return fits

    def keep(self, since: Nanos, message: Message) -> None:
        """Let it wait on, after all that does, however many those are."""
        if self.queue is None:
            self.queue = deque()
        self.queue.append((since, message))

    def take_over(self, other: Channel) -> None:
        """What waits there waits here."""
        for since, message in other.taken():
            self.keep(since, message)

    def expire(self, now: Nanos) -> int:
        """Drop what has waited too long; how many."""
        dropped, queue = 0, self.queue
        while queue and queue[0][0] + EXPIRY <= now:
            queue.popleft()
            dropped += 1
        return dropped

    def taken(self) -> Sequence[tuple[Nanos, Message]]:
        """What waits, which then waits no more."""
        queue, self.queue = self.queue, None
        return queue or ()
