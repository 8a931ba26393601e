"""One end of a connection; the states of `opus_node.lines`, and one of the kernel's.

A dialled channel, when it opens, gets a twin at the other end, an accepted channel, which carries the answers. The states:

    state        leaves it by
    CONNECTING   connected: OPEN · refused: WAITING, peer unreachable, what waited is lost · no answer in time: WAITING
    OPEN         message into a cut path: STALLED · reset: WAITING, peer unreachable · evicted or idle: CLOSED
    STALLED      a retransmission gets through: OPEN · silent for too long: WAITING, what was sent is lost · reset: as OPEN
    WAITING      backoff over: CONNECTING if messages wait, else CLOSED

An accepted channel begins OPEN, ends CLOSED and never dials. An end that its twin has given up is an orphan: it learns by a
reset, should it send.

What a channel does is in `fabric.py`; this is its state.
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
    """Open as far as both ends know, but the path swallows everything; what was sent waits in the kernel."""
    WAITING = auto()
    CLOSED = auto()


class Channel:
    """From `source` to `target`: the messages of one direction."""

    __slots__ = (
        "accepted", "backoff", "dialed_at", "hold", "incarnation", "last", "measured_at", "number", "opened_at",
        "orphan", "path", "probed", "queue", "resetting", "round_trips", "rto", "source", "state", "target", "twin",
        "unheard_since", "used_at", "version",
    )  # fmt: skip

    def __init__(self, source: SimHost, target: SimHost, path: Path, version: int, *, accepted: bool = False) -> None:
        self.source = source
        self.target = target
        self.path = path
        self.version = version
        """Of the network that `path` was made for."""
        self.accepted = accepted
        """Of the target's making."""
        self.twin: Channel | None = None
        """The other end; None while there is none."""
        self.orphan = False
        """The other end has given it up without this one's knowing."""
        self.opened_at: Nanos = 0
        self.state = State.CONNECTING
        self.queue: deque[tuple[Nanos, Message]] | None = None
        """Since when each message waits, and it; None: nothing does."""
        self.incarnation = -1
        """The process at the far end that the connection is with."""
        self.used_at: Nanos = 0
        self.last: Nanos = 0
        """When the last message arrives; none arrives before the one before it."""
        self.hold: Nanos = 0
        """Until when arrivals wait for one that the target's access link dropped."""
        self.dialed_at: Nanos = 0
        self.backoff = BACKOFF_FIRST
        """From the last dial to the next one, should it fail."""
        self.number = 0
        """Connections made; tells timers of an earlier one apart."""
        self.unheard_since: Nanos | None = None
        """When the oldest message was sent of which no acknowledgement can come."""
        self.round_trips = 0
        """Measured on this connection, at most one at a time."""
        self.measured_at: Nanos = 0
        self.rto: Nanos = 0
        """STALLED: between the last retransmission and the next."""
        self.probed = False
        """STALLED: whether the first one has been made."""
        self.resetting = False
        """A reset is on its way back."""

    def quiet_since(self) -> Nanos:
        """When either end last sent something."""
        twin = self.twin
        return self.used_at if twin is None or twin.used_at < self.used_at else twin.used_at

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
