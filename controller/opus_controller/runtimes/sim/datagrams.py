"""Messages outside of connections: what the path loses is lost, nobody repairs or delays it, and nobody is told.

    send -> up link -> path -> down link -> hop cost -> core

Jitter, reordering, bursts and full queues act on a datagram as on any packet. Not modelled: duplication (the core takes one
answer to a question) and the refusal by the kernel of a host whose process is dead, at which the node does not look either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from opus_node.core.events import Event, Receive
from opus_node.core.messages import Message, hastened
from opus_node.core.types import Nanos
from opus_node.sizes import MTU, datagram_size, is_control

from opus_controller.runtimes.sim.costs import HopCost
from opus_controller.runtimes.sim.host import SimHost
from opus_controller.runtimes.sim.path import Path

if TYPE_CHECKING:
    from opus_controller.runtimes.sim.agenda import Agenda
    from opus_controller.runtimes.sim.fabric import Fabric


class Datagrams:
    def __init__(self, fabric: Fabric, agenda: Agenda, hop: HopCost, step: Callable[[SimHost, Event, Nanos], None]) -> None:
        """`step` as the fabric has it."""
        self._fabric = fabric
        self._agenda = agenda
        self._hop_ns = hop.per_message_ns
        self._paths: dict[tuple[str, str], Path] = {}
        """Of pairs that share theirs with no other: those that remember what they lost last."""
        self._step = step
        self._drops = fabric.drops
        self.delivered = 0
        self.handler = self._arrive
        """Bound once, not with each message."""

    def changed(self) -> None:
        """The network is another."""
        self._paths.clear()

    def send(self, source: SimHost, target: SimHost, message: Message, now: Nanos) -> bool:
        """Whether it fits into one."""
        wire = datagram_size(message)
        if wire > MTU:
            return False
        if is_control(message):
            source.control_sent += wire
            if source.control_by_kind is not None:
                source.control_by_kind[type(message).__name__] += wire
        arrives = now + self._hop_ns
        if source.up is not None:
            left = source.up.enter(now, int(wire * source.up.byte_ns))
            if left is None:
                self._drops["queue full"] += 1
                return True
            arrives += left - now
        path = self._between(source, target)
        if path.cut or (path.lossy and path.loses(self._fabric.draw(source))):
            self._drops["datagram lost"] += 1
            return True
        arrives += path.base if path.plain else path.transit(1, self._fabric.draw(source))
        takes = int(wire * target.down.byte_ns) if target.down is not None else 0
        self._fabric.carry(arrives + takes, source, target, self.handler, source, target, (message, wire, takes))
        return True

    def _between(self, source: SimHost, target: SimHost) -> Path:
        path = self._paths.get((source.id, target.id))
        if path is None:
            path = self._fabric.path(source, target)
            if path.has_state:
                self._paths[source.id, target.id] = path
        return path

    def _arrive(self, now: Nanos, source: SimHost, target: SimHost, what: tuple[Message, int, Nanos]) -> None:
        """The last bit is in, if the access link was idle for the time that it took."""
        message, wire, takes = what
        if target.down is not None:
            left = target.down.enter(now - takes, takes)
            if left is None:
                self._drops["queue full"] += 1
                return
            if left > now:
                self._agenda.put(left, target, self._taken, source, target, (message, wire))
                return
        self._taken(now, source, target, (message, wire))

    def _taken(self, now: Nanos, source: SimHost, target: SimHost, what: tuple[Message, int]) -> None:
        if target.core is not None and not target.paused and target.processor is not None:
            self._agenda.put(target.processor.enter(now), target, self._deliver, source, target, what)
        else:
            self._deliver(now, source, target, what)

    def _deliver(self, now: Nanos, source: SimHost, target: SimHost, what: tuple[Message, int]) -> None:
        if target.core is None:
            self._drops["receiver died"] += 1
            return
        if target.paused:
            target.waiting.append((0, self._deliver, source, target, what))
            return
        message, wire = what
        if is_control(message):
            target.control_received += wire
            if target.control_by_kind is not None:
                target.control_by_kind[type(message).__name__] += wire
        if hastened(message):
            target.called(source.id, now)
        self.delivered += 1
        self._step(target, Receive(source.id, message), now)
