"""When the kernel took a packet, by CLOCK_REALTIME: SO_TIMESTAMPNS of socket(7). However late its reader is, that stands."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable

_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@ll")


def ask(sock: socket.socket) -> None:
    """From now on what `recvmsg` gives beside a packet holds its stamp; 64 bytes are room enough."""
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)


def read(ancillary: Iterable[tuple[int, int, bytes]]) -> int | None:
    """Nanoseconds; None if there is no stamp."""
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack_from(value)
            return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return None
