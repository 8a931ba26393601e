"""An emulated host as the simulator keeps it: its node, its kernel's state, its clients."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

from opus_node.clock import HostClock
from opus_node.core.events import Event, Ready, Snapshot
from opus_node.core.types import SECOND, Nanos
from opus_node.workload import Arrivals

from opus_controller.engine.clocks import RIGHT, Skew
from opus_controller.model.plan import Host
from opus_controller.model.shapes import DEFAULT_QUEUE_NS, LEAST_QUEUE_BYTES, AccessLink, Direction
from opus_controller.runtimes.sim.agenda import Handler, turns_of
from opus_controller.runtimes.sim.channel import Channel
from opus_controller.runtimes.sim.costs import CALLED_WAIT, LINGER
from opus_controller.runtimes.sim.draws import Draws
from opus_controller.runtimes.sim.processor import Processor

DIALS = "connecting"
"""Among kinds of control bytes: TCP's and HTTP/2's beginnings."""

NONE_SERVED: frozenset[tuple[str, str]] = frozenset()


class Core(Protocol):
    """The core's one door, as `opus_node.core.node.NodeCore` and the baselines have it."""

    def step(self, event: Event, now: Nanos) -> Ready: ...

    def snapshot(self) -> Snapshot: ...


@lru_cache(maxsize=1024)
def _limits(direction: Direction) -> tuple[float, Nanos]:
    """Time that a byte occupies the link, and for how long what waits may occupy it. Links that are alike share the numbers."""
    byte_ns = 8 * SECOND / direction.rate_bps if direction.rate_bps else 0.0
    if direction.queue_bytes is not None:
        return byte_ns, round(direction.queue_bytes * byte_ns)
    return byte_ns, max(DEFAULT_QUEUE_NS, round(LEAST_QUEUE_BYTES * byte_ns))


class Rate:
    """One direction of an access link as a virtual clock: busy until `free`; what waits is what it carries until then."""

    __slots__ = ("_queue_ns", "byte_ns", "dropped", "free")

    def __init__(self, direction: Direction) -> None:
        self.byte_ns, self._queue_ns = _limits(direction)
        self.free: Nanos = 0
        self.dropped = 0

    def enter(self, now: Nanos, takes: Nanos) -> Nanos | None:
        """When the last bit has left of what occupies the link for `takes`; None if the queue has no room (an idle link has)."""
        if self.free <= now:
            self.free = now + takes
        elif self.free - now + takes > self._queue_ns:
            self.dropped += 1
            return None
        else:
            self.free += takes
        return self.free


@dataclass(slots=True, eq=False)
class SimHost:
    plan: Host
    id: str
    """The node's identity, its address."""
    turn: int
    """Of the last entry that it has put on the agenda; also numbers its dials."""
    kind: int = 0
    """Hosts of one site with equal access links are of one kind."""
    core: Core | None = None
    """None: no process runs."""
    powered: bool = True
    """Whether its kernel is there to refuse what comes for a dead process."""
    paused: bool = False
    leaving: bool = False
    """Asked to go: it has no clients any more, and ends by itself."""
    left: bool = False
    """Its core has gone; what it said last may still wait for a connection."""
    incarnation: int = -1
    """Of the running or last process; -1: never started."""
    wake_at: Nanos | None = None
    """What the core asked for."""
    woken_at: Nanos | None = None
    """The earliest wake-up on the agenda; may be for an earlier wish, and then is only passed on."""
    channels: dict[str, Channel] = field(default_factory=dict)
    """Those it dialled, by peer."""
    accepted: dict[str, Channel] = field(default_factory=dict)
    """Those that peers dialled, by peer."""
    calling: dict[str, Nanos] = field(default_factory=dict)
    """Peers that have sent something ahead of their dial, and when; the latest last."""
    closing: dict[tuple[str, int, bool], Nanos] | None = None
    """Halves that it has closed in good order, by peer, number and whether accepted, and until when it hears what comes yet."""
    draws: Draws | None = None
    """For what its messages meet with; made with the first draw."""
    reached: tuple[str, ...] = ()
    """Peers that a dial of the running process has reached."""
    up: Rate | None = None
    down: Rate | None = None
    """None: no limit."""
    share: float = 1.0
    """Of its processor that is left."""
    processor: Processor | None = None
    """None: as fast as any."""
    disk: int | None = None
    """Bytes that its disk holds at most; None: its storage."""
    write_bps: int | None = None
    """At which its disk takes what is written; None: as it comes."""
    clock: HostClock | None = None
    """None: the testbed's."""
    skew: Skew = RIGHT
    """What its clock is to be."""
    clients: tuple[Arrivals, ...] = ()
    stored: frozenset[str] = frozenset()
    """Digests of services' files that it keeps, through restarts; never iterated."""
    serving: frozenset[tuple[str, str]] = NONE_SERVED
    """Roles it has told of that need many channels: (agent or replica, application)."""
    requests: int = 0
    """Issued by the running process."""
    waiting: list[tuple[int, Handler, Any, Any, Any]] = field(default_factory=list)
    """What came up while it was paused: rank, then the agenda's entry."""
    control_sent: int = 0
    control_received: int = 0
    """Bytes, since the process started."""
    control_by_kind: Counter[str] | None = None
    """The two together, by class of message, where somebody wants to know (`World.by_kind`); DIALS for what connecting takes
    besides."""

    here = True
    """In this process."""

    def closes(self, peer: str, number: int, accepted: bool, now: Nanos) -> None:
        """A half, in good order."""
        if self.closing is None:
            self.closing = {}
        self.closing[peer, number, accepted] = now + LINGER
        while self.closing[first := next(iter(self.closing))] < now:
            del self.closing[first]

    def called(self, peer: str, now: Nanos) -> None:
        """Something came ahead of its dial."""
        self.calling.pop(peer, None)
        self.calling[peer] = now
        while self.calling[first := next(iter(self.calling))] < now - CALLED_WAIT:
            del self.calling[first]

    def forget_calls(self, now: Nanos) -> None:
        """Those that are too old to be waited for, if all are: they may be the last for long."""
        if self.calling and next(reversed(self.calling.values())) < now - CALLED_WAIT:
            self.calling = {}

    @staticmethod
    def of(plan: Host, kinds: dict[tuple[str, AccessLink], int]) -> SimHost:
        """`kinds` numbers the kinds of hosts met so far."""
        host = SimHost(plan, plan.address, turns_of(plan.index), kind_of(plan, kinds))
        host.set_rates(plan.access)
        return host

    def set_rates(self, access: AccessLink) -> None:
        """What waits at a link whose rate changes goes as it would have gone; what comes after it waits for that."""
        for name, direction in (("up", access.up), ("down", access.down)):
            before, after = getattr(self, name), Rate(direction) if direction.rate_bps else None
            if before is not None and after is not None:
                after.free, after.dropped = before.free, before.dropped
            setattr(self, name, after)


def kind_of(plan: Host, kinds: dict[tuple[str, AccessLink], int]) -> int:
    """`kinds` numbers those met so far."""
    return kinds.setdefault((plan.site, plan.access), len(kinds))


class Away(SimHost):
    """A host that lives in another process (`border`): of a SimHost only what others need to send to it; nothing else is set."""

    __slots__ = ("part",)

    here = False

    def __init__(self, plan: Host, kind: int, part: int) -> None:
        self.plan = plan
        self.id = plan.address
        self.kind = kind
        self.part = part
        """The process."""
        self.down = Rate(plan.access.down) if plan.access.down.rate_bps else None
