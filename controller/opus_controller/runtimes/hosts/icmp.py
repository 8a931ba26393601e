"""ICMP echoes (RFC 792) from raw sockets inside hosts' namespaces, stamped by their kernels on arrival."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from opus_controller.net import stamps
from opus_controller.net.namespaces import run_inside

REQUEST, REPLY = 8, 0
BODY = 56
"""Bytes after the header, as `ping` sends."""
_HEADER = struct.Struct("!BBHHH")


@dataclass(frozen=True)
class Echo:
    """A request or a reply as it arrived."""

    kind: int
    identifier: int
    sequence: int
    stamp_ns: int | None
    """The kernel's wall clock at its arrival."""


def open_socket(netns: Path) -> socket.socket:
    """Hears every ICMP packet of the namespace, requests that its kernel answers among them. Not blocking."""

    def make() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMP)
        sock.setblocking(False)
        stamps.ask(sock)
        return sock

    return run_inside(netns, make)


def request(identifier: int, sequence: int) -> bytes:
    """An echo request of 64 bytes in all."""
    plain = _HEADER.pack(REQUEST, 0, 0, identifier, sequence) + bytes(BODY)
    total = sum(struct.unpack(f"!{len(plain) // 2}H", plain))
    total = (total >> 16) + (total & 0xFFFF)
    checksum = ~(total + (total >> 16)) & 0xFFFF
    return _HEADER.pack(REQUEST, 0, checksum, identifier, sequence) + bytes(BODY)


def receive(sock: socket.socket) -> Echo | None:
    """The next packet, if it is an echo; None for any other, or when there is none."""
    try:
        data, ancillary, _, _ = sock.recvmsg(2048, 256)
    except OSError:
        return None
    header = (data[0] & 0x0F) * 4
    if len(data) < header + _HEADER.size:
        return None
    kind, _, _, identifier, sequence = _HEADER.unpack_from(data, header)
    if kind not in (REQUEST, REPLY):
        return None
    return Echo(kind, identifier, sequence, stamps.read(ancillary))
