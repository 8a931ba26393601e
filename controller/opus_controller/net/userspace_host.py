"""A host as the shaper sees it: the far end of its eth0, its two access links, the paths from it, its counters."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from opus_controller.net.userspace_engine import Engine, Stage
from opus_controller.net.userspace_packets import ADDRESSES, GSO_TYPE, VNET, Malformed, wire_counts
from opus_controller.net.userspace_path import Path
from opus_controller.net.userspace_rate import RateLink

_READ_BYTES = VNET + 65536
_BATCH = 64
"""At most so many packets are read from one device before what is due is delivered."""
_IPV4_HEADER = 20

COUNTERS = (
    "sent", "received", "sent_bytes", "received_bytes", "lost", "cut", "queue_dropped", "overflow", "duplicated", "corrupted",
    "reordered",
)  # fmt: skip
"""The counters a host has, by the names of `links.LinkCounters`."""
FIGURES = (*COUNTERS, "queued_bytes")
"""All that is told of a host, by the same names."""


class Host:
    """One host. `find` is asked, once for each destination, for the path to an address (None: nobody has it)."""

    __slots__ = (
        *COUNTERS, "_batch", "_down", "_engine", "_find", "_ingress", "_out", "_paths", "_powered", "_up", "access_delay",
        "access_loss", "address", "arrive", "fd", "name",
    )  # fmt: skip

    def __init__(self, engine: Engine, name: str, address: bytes, find: Callable[[Host, bytes], Path | None]) -> None:
        self.name = name
        self.address = address
        self.access_delay = 0
        self.access_loss = 0.0
        self.fd = -1
        """Of the TUN device, or -1 when not attached."""
        self._engine = engine
        self._find = find
        self._out = -1
        self._powered = True
        self._batch = 1
        self._paths: dict[bytes, Stage] = {}
        self._up = RateLink(engine, self, self._enter_path)
        self._down = RateLink(engine, self, self._deliver)
        self._ingress: Stage = self._enter_path
        self.arrive: Stage = self._deliver
        """The stage that takes packets at the receiving end."""
        self.sent = self.received = self.sent_bytes = self.received_bytes = 0
        self.lost = self.cut = self.queue_dropped = self.overflow = 0
        self.duplicated = self.corrupted = self.reordered = 0

    def configure_access(
        self, delay: int, loss: float, up: tuple[int | None, int | None], down: tuple[int | None, int | None]
    ) -> None:
        """The access link: delay and loss in each direction; (bits/s, queue in bytes) up and down."""
        self.access_delay, self.access_loss = delay, loss
        self._ingress, self.arrive = self._enter_path, self._deliver
        if up[0] is not None:
            self._up.configure(up[0], up[1])
            self._ingress = self._up.enter
        if down[0] is not None:
            self._down.configure(down[0], down[1])
            self.arrive = self._down.enter

    @property
    def queued_bytes(self) -> int:
        """Waiting in its two access queues now."""
        now = time.monotonic_ns()
        return self._up.waiting(now) + self._down.waiting(now)

    def plug(self, fd: int) -> int:
        """Take `fd` for the device (-1: none) and hand back the one before it."""
        before, self.fd = self.fd, fd
        self._out = fd if self._powered else -1
        return before

    def power(self, on: bool) -> None:
        """Off: what is in flight to it is dropped when it arrives (what it sends is dropped by its paths, all cut)."""
        self._powered = on
        self._out = self.fd if on else -1

    def forget_paths(self) -> None:
        """Ask for every path again: shapes or cuts have changed."""
        self._paths.clear()

    def readable(self) -> None:
        """Read what the host has sent, a batch at most, and let it enter the network. OSError if the device is gone."""
        engine, fd, ingress = self._engine, self.fd, self._ingress
        now = time.monotonic_ns()
        full = engine.full()
        for _ in range(self._batch):
            try:
                data = os.read(fd, _READ_BYTES)
            except BlockingIOError:
                self._batch = 1  # it sends now and then: ask once a wake-up, and spare the call that finds nothing
                return
            try:
                count, size = wire_counts(data) if data[GSO_TYPE] else (1, len(data) - VNET)
            except Malformed:
                engine.malformed += 1
                continue
            self.sent += count
            self.sent_bytes += size
            if full:
                self.overflow += count
            else:
                ingress(now, data)
        self._batch = min(2 * self._batch, _BATCH)

    def _enter_path(self, due: int, data: bytes) -> None:
        stage = self._paths.get(data[ADDRESSES])
        if stage is None:
            stage = self._ask(data)
            if stage is None:
                return
        stage(due, data)

    def _ask(self, data: bytes) -> Stage | None:
        """The path for a packet whose two addresses were not seen together since the last change."""
        addresses = data[ADDRESSES]
        if len(data) < VNET + _IPV4_HEADER or data[VNET] >> 4 != 4:
            self._engine.malformed += 1
            return None
        path = self._find(self, addresses[4:]) if addresses[:4] == self.address else None
        if path is None:
            self._engine.unroutable += 1
            return None
        self._paths[addresses] = path.enter
        return path.enter

    def _deliver(self, due: int, data: bytes) -> None:
        try:
            os.write(self._out, data)
        except OSError:
            self._not_taken(data)
            return
        if data[GSO_TYPE]:
            count, size = wire_counts(data)
            self.received += count
            self.received_bytes += size
        else:
            self.received += 1
            self.received_bytes += len(data) - VNET
        self._engine.late(time.monotonic_ns() - due)

    def _not_taken(self, data: bytes) -> None:
        """The kernel would not have it: no such host now, or a packet damaged beyond what a device accepts."""
        if self._out < 0:
            self.cut += wire_counts(data)[0]
        elif data[VNET] >> 4 == 4:
            self.overflow += wire_counts(data)[0]
        # else: a flipped bit made it something that is not IPv4; counted as corrupted when it was flipped
