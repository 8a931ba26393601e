"""How late this kernel's netem delivers, measured: a canary through the wan namespace's own loopback.

netem keeps no figures of its own lateness. So a netem of 5 ms sits on the loopback of the wan namespace, where nothing
else passes; a thread sends a datagram through it every 20 ms, and the kernel's time of arrival less the time of sending
less 5 ms is how late the timer was (20 to 50 µs on an idle machine, the sending included).
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import deque

from opus_controller.net import stamps, tc_qdisc
from opus_controller.net.links import TimerLag
from opus_controller.net.netem_options import KIND, NetemOptions, encode
from opus_controller.net.tc_netlink import Netlink

DELAY_NS = 5_000_000
_EVERY_S = 0.02
_KEPT = 10_000
"""Samples kept between two readings; older ones go first."""
_LOOPBACK = 1
_STAMP = struct.Struct("=q")


class Canary:
    """Made in a thread that is in the wan namespace, its loopback up."""

    def __init__(self, netlink: Netlink) -> None:
        options = encode(NetemOptions(delay_ns=DELAY_NS), 0)
        netlink.do([tc_qdisc.qdisc(_LOOPBACK, KIND, 0x10000, tc_qdisc.ROOT, options)])
        self._receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        stamps.ask(self._receiver)
        self._receiver.bind(("127.0.0.1", 0))
        self._receiver.setblocking(False)
        self._sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._sender.connect(self._receiver.getsockname())
        self._late: deque[int] = deque(maxlen=_KEPT)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="netem-canary", daemon=True)
        self._thread.start()

    def reading(self) -> TimerLag:
        """Of the samples since the last call."""
        late = sorted(self._late.popleft() for _ in range(len(self._late)))
        if not late:
            return TimerLag()
        return TimerLag(len(late), late[len(late) // 2], late[min(len(late) - 1, len(late) * 99 // 100)], late[-1])

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._sender.close()
        self._receiver.close()

    def _run(self) -> None:
        while not self._ended.wait(_EVERY_S):
            self._take()
            self._sender.send(_STAMP.pack(time.clock_gettime_ns(time.CLOCK_REALTIME)))

    def _take(self) -> None:
        """Everything that has come since the last time."""
        while True:
            try:
                data, ancillary, _, _ = self._receiver.recvmsg(_STAMP.size, 64)
            except BlockingIOError:
                return
            arrived = stamps.read(ancillary)
            if arrived is not None:
                self._late.append(max(0, arrived - _STAMP.unpack(data)[0] - DELAY_NS))
