"""What the userspace links must know of a packet's bytes: the TUN header, TCP segmentation, checksums.

Every packet is `bytes`: a virtio_net_hdr of 10 bytes, which the TUN device puts in front (IFF_VNET_HDR), then the IPv4
packet. With offloads on, the kernel hands over TCP data in super-packets of up to 64 kB that stand for many packets on the
wire, and leaves the checksum of what it sends to "the hardware". A super-packet is cut here into what a path wants to
decide separately: any run of its wire packets, which is again a (smaller) super-packet, or a single one.

Pure functions; imports nothing heavy, since the shaper process must be small.
"""

from __future__ import annotations

import struct

VNET = 10
"""Bytes of struct virtio_net_hdr: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset; host byte order."""
GSO_TYPE = 1
"""Offset of the byte that is not zero in a super-packet."""
ADDRESSES = slice(VNET + 12, VNET + 20)
"""Source and destination address, side by side: the key of a path."""

_HEADER = struct.Struct("=BBHHHH")
_NEEDS_CSUM = 1
_GSO_NONE = 0
_GSO_TCPV4 = 1
_TCP_CSUM_OFFSET = 16
_LAST_ONLY = 0x09
"""FIN and PSH belong on the last of the packets a super-packet stands for."""
_FIRST_ONLY = 0x80
"""CWR belongs on the first."""

NO_HEADER = bytes(VNET)


class Malformed(ValueError):
    """Bytes that are no packet the kernel would have handed over."""


class SuperPacket:
    """A TCP/IPv4 super-packet: `count` wire packets with the same headers but for numbers, flags and checksums.

    Malformed if it is of another kind or its lengths contradict each other.
    """

    __slots__ = ("_data", "_flags", "_header", "_ip_sum", "_ipid", "_pseudo_sum", "_seq", "count", "header_bytes", "mss")

    def __init__(self, data: bytes) -> None:
        if len(data) < VNET + 40:
            raise Malformed("super-packet too short")
        _, kind, _, mss, csum_start, _ = _HEADER.unpack_from(data)
        ip_bytes = (data[VNET] & 15) * 4
        if kind != _GSO_TCPV4 or data[VNET] >> 4 != 4 or data[VNET + 9] != 6 or csum_start != ip_bytes or ip_bytes < 20:
            raise Malformed("super-packet that is not TCP over IPv4")
        headers = ip_bytes + (data[VNET + ip_bytes + 12] >> 4) * 4
        payload = len(data) - VNET - headers
        if headers < ip_bytes + 20 or payload <= 0 or mss <= 0:
            raise Malformed("super-packet without payload")
        self._data = data
        self.mss: int = mss
        self.header_bytes = headers
        """IP and TCP headers, which every wire packet carries."""
        self.count = -(-payload // mss)
        """Wire packets it stands for."""
        self._header = bytearray(data[VNET : VNET + headers])
        self._ipid = int.from_bytes(data[VNET + 4 : VNET + 6])
        self._seq = int.from_bytes(data[VNET + ip_bytes + 4 : VNET + ip_bytes + 8])
        self._flags = data[VNET + ip_bytes + 13]
        fixed = bytearray(data[VNET : VNET + ip_bytes])
        fixed[2:6] = b"\0\0\0\0"  # length and identification: every wire packet has its own
        fixed[10:12] = b"\0\0"  # the checksum itself
        self._ip_sum = int.from_bytes(fixed)
        self._pseudo_sum = int.from_bytes(data[VNET + 12 : VNET + 20]) + 6

    def wire_bytes(self, first: int, count: int) -> int:
        """IP bytes of `count` wire packets from the `first`-th on."""
        payload = len(self._data) - VNET - self.header_bytes
        return min(count * self.mss, payload - first * self.mss) + count * self.header_bytes

    def part(self, first: int, count: int) -> bytes:
        """The `count` wire packets from the `first`-th on, as one packet to deliver (a super-packet if more than one)."""
        header, ip_bytes = self._header, (self._header[0] & 15) * 4
        begin = VNET + self.header_bytes + first * self.mss
        payload = self._data[begin : begin + count * self.mss]
        length = self.header_bytes + len(payload)
        ipid = (self._ipid + first) & 0xFFFF
        flags = self._flags if first + count == self.count else self._flags & ~_LAST_ONLY
        if first:
            flags &= ~_FIRST_ONLY
        struct.pack_into(">HH", header, 2, length, ipid)
        struct.pack_into(">H", header, 10, 0xFFFF - _fold(self._ip_sum + length + ipid))
        struct.pack_into(">I", header, ip_bytes + 4, (self._seq + first * self.mss) & 0xFFFFFFFF)
        header[ip_bytes + 13] = flags
        struct.pack_into(">H", header, ip_bytes + _TCP_CSUM_OFFSET, _fold(self._pseudo_sum + length - ip_bytes))
        kind, size = (_GSO_TCPV4, self.mss) if count > 1 else (_GSO_NONE, 0)
        vnet = _HEADER.pack(_NEEDS_CSUM, kind, self.header_bytes, size, ip_bytes, _TCP_CSUM_OFFSET)
        return b"".join((vnet, header, payload))


def wire_counts(data: bytes) -> tuple[int, int]:
    """(packets on the wire, their IP bytes) of a packet; right for super-packets too."""
    if not data[GSO_TYPE]:
        return 1, len(data) - VNET
    packet = SuperPacket(data)
    return packet.count, packet.wire_bytes(0, packet.count)


def corrupted(data: bytes, bit: int) -> bytes:
    """The packet with one bit of its IP bytes flipped, `bit` taken modulo their number.

    The checksum the kernel had left open is filled in before, or the receiver would take the damage for valid. netem does
    the same; it picks its bit from the packet's linear part, which for most TCP data is only the headers and on a veth
    includes the Ethernet header. Here it is anywhere in the IP packet.
    """
    damaged = bytearray(with_checksum(data))
    bit %= (len(damaged) - VNET) * 8
    damaged[VNET + bit // 8] ^= 1 << (bit % 8)
    return bytes(damaged)


def with_checksum(data: bytes) -> bytes:
    """A single wire packet with its transport checksum complete and nothing left for the receiver to trust."""
    flags, _, _, _, start, offset = _HEADER.unpack_from(data)
    if not flags & _NEEDS_CSUM:
        return NO_HEADER + data[VNET:]
    if VNET + start + offset + 2 > len(data):
        raise Malformed("checksum outside the packet")
    whole = bytearray(data)
    whole[:VNET] = NO_HEADER
    covered = whole[VNET + start :]
    if len(covered) % 2:
        covered.append(0)
    checksum = 0xFFFF - _fold(int.from_bytes(covered))  # the field holds the pseudo header's sum: it is part of what is summed
    struct.pack_into(">H", whole, VNET + start + offset, checksum or 0xFFFF)
    return bytes(whole)


def _fold(total: int) -> int:
    """The one's complement sum of the 16-bit words of a big-endian number: 2**16 is 1 modulo 65,535."""
    return (total - 1) % 0xFFFF + 1 if total else 0
