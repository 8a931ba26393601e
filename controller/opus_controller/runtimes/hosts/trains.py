"""The fidelity gate's trains: packets between hosts' namespaces, stamped by the far host's kernel on arrival."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from opus_controller.engine.fidelity_rate import AskedRate, CheckedRate, Train, judge
from opus_controller.net import stamps
from opus_controller.net.namespaces import path_of, run_inside

ROUNDS = 5
UNTOLD = 2
"""Trains that told nothing: this machine is not fast enough for the rate."""
WAIT_S = 0.25
"""For the last packet, beyond twice the time that the train should take."""
_HEADERS = 28
_NUMBER = struct.Struct("!II")
"""Which train, and which packet of it."""
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_BUFFER = 4 << 20


async def measure(ways: Iterable[AskedRate], netns_of: Callable[[str], str]) -> tuple[CheckedRate, ...]:
    """One way after the other, so that none is in another's; in up to ROUNDS trains, those within tolerance are done."""
    found = []
    for asked in ways:
        with _socket(netns_of(asked.source.name)) as near, _socket(netns_of(asked.target.name)) as far:
            far.bind((asked.target.address, 0))
            trains: list[Train] = []
            checked = judge(asked, trains)
            while len(trains) < (ROUNDS if checked.wrong else UNTOLD) and (checked.wrong or checked.measured_bps is None):
                trains.append(await _train(asked, near, far, len(trains)))
                checked = judge(asked, trains)
            found.append(checked)
    return tuple(found)


async def _train(asked: AskedRate, near: socket.socket, far: socket.socket, number: int) -> Train:
    train, there, all_there = Train(), far.getsockname(), asyncio.Event()

    def receive() -> None:
        with suppress(BlockingIOError):
            while True:
                data, ancillary, _, _ = far.recvmsg(asked.size, 256)
                stamp = stamps.read(ancillary)
                if stamp is not None and len(data) >= _NUMBER.size and _NUMBER.unpack_from(data)[0] == number:
                    train.arrived_ns.setdefault(_NUMBER.unpack_from(data)[1], stamp)
                    if len(train.arrived_ns) == asked.packets:
                        all_there.set()

    loop = asyncio.get_running_loop()
    loop.add_reader(far, receive)
    try:
        rest = bytes(asked.size - _HEADERS - _NUMBER.size)
        began = time.monotonic_ns()
        for k in range(asked.packets):
            with suppress(OSError):  # a host that has died, or a full buffer
                near.sendto(_NUMBER.pack(number, k) + rest, there)
        train.sending_ns = time.monotonic_ns() - began
        with suppress(TimeoutError):
            async with asyncio.timeout((asked.delay_ns + 2 * asked.takes_ns) / 1e9 + WAIT_S):
                await all_there.wait()
    finally:
        loop.remove_reader(far)
    return train


def _socket(netns: str) -> socket.socket:
    def make() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        sock.setblocking(False)
        for option in (_SO_SNDBUFFORCE, _SO_RCVBUFFORCE):
            sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
        stamps.ask(sock)
        return sock

    return run_inside(path_of(netns), make)
