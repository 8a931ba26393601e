"""A small rtnetlink client: requests in batches, acknowledged one by one, errors that say what was being done.

Bringing up hundreds of shaped hosts takes tens of thousands of requests. `tc -batch` has no way to say the seed or to
read back what it set, and general libraries take about 0.5 ms to encode a message; here it is some microseconds, and a batch
costs one system call. A socket belongs to the network namespace in which it was opened, whatever thread uses it later.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

NLM_F_REQUEST, NLM_F_ACK, NLM_F_ECHO, NLM_F_DUMP = 0x1, 0x4, 0x8, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400

_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_ACK_TLVS = 0x200
_NLMSGERR_ATTR_MSG = 1
_SOL_NETLINK = 270
_NETLINK_CAP_ACK, _NETLINK_EXT_ACK = 10, 11
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERRNO = struct.Struct("=i")
_BATCH_BYTES = 96 << 10
_BATCH_MESSAGES = 400
_SEND_BUFFER = 1 << 20
_RECEIVE_BUFFER = 8 << 20
_READ_BYTES = 1 << 16
"""The kernel makes no datagram of answers larger than 32 kB."""
_ANSWER_S = 60.0


class _Local(threading.local):
    """Where a thread reads; hundreds of sockets share it, and it is not made anew for each of thousands of answers."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(_READ_BYTES))


_local = _Local()


class NetlinkError(OSError):
    """The kernel refused a request: errno, what was being done, and the kernel's own words if it had any."""


@dataclass(frozen=True, slots=True)
class Request:
    """One message: its type, flags beside REQUEST and ACK, body after the header, and words for an error."""

    kind: int
    flags: int
    body: bytes
    what: str
    ignore: tuple[int, ...] = ()
    """Error numbers that are no error here (ENOENT when deleting)."""


def attribute(kind: int, value: bytes) -> bytes:
    """One netlink attribute, padded."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds others."""
    return attribute(kind | 0x8000, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """A zero-terminated string."""
    return attribute(kind, value.encode() + b"\0")


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def attributes(data: bytes | memoryview, offset: int = 0) -> Iterator[tuple[int, memoryview]]:
    """(kind, value) of each attribute in `data` from `offset` on."""
    view = memoryview(data)
    while offset + 4 <= len(view):
        length, kind = _ATTRIBUTE.unpack_from(view, offset)
        if length < 4:
            return
        yield kind & 0x3FFF, view[offset + 4 : offset + length]
        offset += length + (-length % 4)


class Netlink:
    """A NETLINK_ROUTE socket in the namespace of the thread that makes it. Not for several threads at once."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.settimeout(_ANSWER_S)
        for option, size, fallback in (
            (_SO_SNDBUFFORCE, _SEND_BUFFER, socket.SO_SNDBUF),
            (_SO_RCVBUFFORCE, _RECEIVE_BUFFER, socket.SO_RCVBUF),
        ):
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, option, size)
            except PermissionError:
                self._socket.setsockopt(socket.SOL_SOCKET, fallback, size)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        self._socket.bind((0, 0))
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def do(self, requests: Iterable[Request]) -> list[bytes]:
        """Have all of them carried out in order; the bodies of messages the kernel sent back (echoes, answers).

        A refused one does not keep the others from being carried out. Raises NetlinkError for the first refused.
        """
        answers: list[bytes] = []
        errors: list[NetlinkError] = []
        for batch in _batches(requests):
            self._send(batch)
            self._collect(batch, answers, errors)
        if errors:
            raise errors[0]
        return answers

    def dump(self, request: Request) -> list[bytes]:
        """Every object that answers a dump request."""
        self._sequence += 1
        self._write(_pack(request, NLM_F_REQUEST | NLM_F_DUMP, self._sequence))
        answers: list[bytes] = []
        while True:
            for kind, _, sequence, body in self._messages():
                if sequence != self._sequence:
                    continue
                if kind == _NLMSG_DONE:
                    return answers
                if kind == _NLMSG_ERROR:
                    raise _error(request, body, 0)
                answers.append(body)

    def _send(self, batch: Sequence[Request]) -> None:
        packed = []
        for request in batch:
            self._sequence += 1
            packed.append(_pack(request, NLM_F_REQUEST | NLM_F_ACK, self._sequence))
        self._write(b"".join(packed))

    def _write(self, data: bytes) -> None:
        self._socket.sendto(data, (0, 0))

    def _collect(self, batch: Sequence[Request], answers: list[bytes], errors: list[NetlinkError]) -> None:
        """Read until every request of the batch is acknowledged."""
        first = self._sequence - len(batch) + 1
        missing = len(batch)
        while missing:
            for kind, flags, sequence, body in self._messages():
                if not first <= sequence <= self._sequence:
                    continue
                if kind != _NLMSG_ERROR:
                    answers.append(body)
                    continue
                missing -= 1
                request = batch[sequence - first]
                number = -_ERRNO.unpack_from(body)[0]
                if number and number not in request.ignore:
                    errors.append(_error(request, body, flags))

    def _messages(self) -> Iterator[tuple[int, int, int, bytes]]:
        """(type, flags, sequence number, body) of each message in the next datagram."""
        buffer = _local.buffer
        size = self._socket.recv_into(buffer)
        offset = 0
        while offset + _HEADER.size <= size:
            length, kind, flags, sequence, _ = _HEADER.unpack_from(buffer, offset)
            yield kind, flags, sequence, bytes(buffer[offset + _HEADER.size : offset + length])
            offset += length + (-length % 4)


def _batches(requests: Iterable[Request]) -> Iterator[list[Request]]:
    batch: list[Request] = []
    size = 0
    for request in requests:
        if batch and (len(batch) >= _BATCH_MESSAGES or size + len(request.body) > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(request)
        size += len(request.body) + _HEADER.size
    if batch:
        yield batch


def _pack(request: Request, flags: int, sequence: int) -> bytes:
    body = request.body
    header = _HEADER.pack(_HEADER.size + len(body), request.kind, request.flags | flags, sequence, 0)
    return header + body + b"\0" * (-len(body) % 4)


def _error(request: Request, body: bytes, flags: int) -> NetlinkError:
    number = -_ERRNO.unpack_from(body)[0]
    words = ""
    if flags & _NLM_F_ACK_TLVS:
        for kind, value in attributes(body, 4 + _HEADER.size):
            if kind == _NLMSGERR_ATTR_MSG:
                words = f" ({bytes(value).rstrip(bytes(1)).decode(errors='replace')})"
    name = errno.errorcode.get(number, str(number))
    return NetlinkError(number, f"{request.what}: {os.strerror(number)} [{name}]{words}")
