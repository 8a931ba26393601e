"""Segmentation offload of an interface, off: what crosses it are then the packets of the wire.

With offloads a veth carries 64 kB at a time, and qdiscs behind it would lose, count and reorder those. By ioctl(2), in the
namespace of the calling thread (linux/ethtool.h, ETHTOOL_SFEATURES).
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct

_SIOCETHTOOL = 0x8946
_GSSET_INFO, _GSTRINGS, _GFEATURES, _SFEATURES = 0x37, 0x1B, 0x3A, 0x3B
_SS_FEATURES = 4
_NAME_BYTES = 32
_PREFIXES = ("tx-tcp-", "tx-udp-segmentation", "tx-udp_tnl-", "tx-generic-segmentation", "tx-gso-", "tx-sctp-", "rx-gro")


def segmentation_off(interface: str) -> None:
    """Turn off every feature by which an interface takes or makes packets larger than its MTU. OSError as the kernel has it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        names = feature_names(sock, interface)
        blocks = (len(names) + 31) // 32
        wanted = [0] * blocks
        for bit, name in enumerate(names):
            if name.startswith(_PREFIXES):
                wanted[bit // 32] |= 1 << bit % 32
        pairs = b"".join(struct.pack("=II", valid, 0) for valid in wanted)
        _call(sock, interface, array.array("B", struct.pack("=II", _SFEATURES, blocks) + pairs))


def large_packets(interface: str) -> list[str]:
    """Names of the features in question that are on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        names = feature_names(sock, interface)
        blocks = (len(names) + 31) // 32
        answer = array.array("B", struct.pack("=II", _GFEATURES, blocks) + bytes(16 * blocks))
        _call(sock, interface, answer)
        active = [struct.unpack_from("=4I", answer, 8 + 16 * block)[2] for block in range(blocks)]
        return [
            name for bit, name in enumerate(names) if name.startswith(_PREFIXES) and active[bit // 32] >> bit % 32 & 1
        ]  # fmt: skip


_known: list[tuple[str, ...]] = []


def feature_names(sock: socket.socket, interface: str) -> tuple[str, ...]:
    """The kernel's features in the order of their bits: the same for every interface, so asked for once."""
    if not _known:
        info = array.array("B", struct.pack("=IIQI", _GSSET_INFO, 0, 1 << _SS_FEATURES, 0))
        _call(sock, interface, info)
        count = struct.unpack_from("=I", info, 16)[0]
        strings = array.array("B", struct.pack("=III", _GSTRINGS, _SS_FEATURES, count) + bytes(_NAME_BYTES * count))
        _call(sock, interface, strings)
        raw = strings.tobytes()[12:]
        _known.append(
            tuple(raw[i * _NAME_BYTES : (i + 1) * _NAME_BYTES].partition(b"\0")[0].decode() for i in range(count))
        )  # fmt: skip
    return _known[0]


def _call(sock: socket.socket, interface: str, data: array.array[int]) -> None:
    address, _ = data.buffer_info()
    fcntl.ioctl(sock, _SIOCETHTOOL, struct.pack("16sQ", interface.encode(), address))
