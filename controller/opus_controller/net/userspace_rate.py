"""One direction of an access link: a rate in front of a queue of so many bytes, dropping what does not fit.

A virtual clock: the link is busy until `free`, and a packet's last bit leaves after those before it. What waits is what
the time until `free` can carry, so no queue needs to be kept and the rate is exact in the long run, however late the loop
gets round to a packet. The packet being sent counts as waiting; an idle link takes a packet of any size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opus_controller.net.userspace_engine import Engine, Stage
from opus_controller.net.userspace_packets import GSO_TYPE, VNET, SuperPacket

if TYPE_CHECKING:
    from opus_controller.net.userspace_host import Host

DEFAULT_QUEUE_NS = 100_000_000
DEFAULT_QUEUE_BYTES = 10 * 1500
"""A rate without a queue gets one of 100 ms, of ten large packets at least: no queue is unbounded."""
_CHUNK_NS = 500_000
"""A super-packet is passed on in parts of at most this long, so that it makes no burst worth mentioning."""
_BYTE_NS = 8_000_000_000
"""Nanoseconds a byte takes at one bit per second."""


class RateLink:
    """The stage before `exit`, at `rate` bits per second of IP packets."""

    __slots__ = ("_engine", "_exit", "_free", "_host", "_queue_ns", "_rate")

    def __init__(self, engine: Engine, host: Host, exit_stage: Stage) -> None:
        self._engine = engine
        self._host = host
        self._exit = exit_stage
        self._free = 0
        self._rate = _BYTE_NS
        self._queue_ns = 0

    def configure(self, rate: int, queue_bytes: int | None) -> None:
        """For packets from now on; what already waits leaves when it was going to."""
        self._rate = rate
        if queue_bytes is None:
            self._queue_ns = max(DEFAULT_QUEUE_NS, DEFAULT_QUEUE_BYTES * _BYTE_NS // rate)
        else:
            self._queue_ns = queue_bytes * _BYTE_NS // rate

    def waiting(self, now: int) -> int:
        """Bytes in the queue, the packet being sent included."""
        return max(0, self._free - now) * self._rate // _BYTE_NS

    def enter(self, due: int, data: bytes) -> None:
        """A packet for the queue."""
        if data[GSO_TYPE]:
            self._enter_super(due, data)
            return
        takes = (len(data) - VNET) * _BYTE_NS // self._rate
        free = self._free
        if free <= due:
            free = due
        elif free - due + takes > self._queue_ns:
            self._host.queue_dropped += 1
            return
        self._free = free = free + takes
        self._engine.push(free, self._exit, data)

    def _enter_super(self, due: int, data: bytes) -> None:
        """As many of its wire packets as fit, in parts."""
        packet = SuperPacket(data)
        wire_ns = (packet.header_bytes + packet.mss) * _BYTE_NS // self._rate
        most = max(1, _CHUNK_NS // max(1, wire_ns))
        first, end = 0, packet.count
        while first < end:
            free = max(self._free, due)
            room = (self._queue_ns - (free - due)) // max(1, wire_ns)
            count = min(most, end - first, room if free > due else max(1, room))
            if count <= 0:
                self._host.queue_dropped += end - first
                return
            self._free = free + packet.wire_bytes(first, count) * _BYTE_NS // self._rate
            self._engine.push(self._free, self._exit, data if count == end else packet.part(first, count))
            first += count
