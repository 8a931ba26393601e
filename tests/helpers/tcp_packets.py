"""TCP packets as a TUN device with offloads hands them over, and a receiver's view of them."""

from __future__ import annotations

import struct

from opus_controller.net.userspace_packets import VNET

MSS = 1460
SOURCE, TARGET = bytes([198, 18, 0, 1]), bytes([198, 19, 255, 254])


def super_packet(payload: bytes, flags: int = 0x18, seq: int = 0xFFFFF000, ipid: int = 0xFFFE, mss: int = MSS) -> bytes:
    """What a TUN device hands over for one large TCP send."""
    length = 40 + len(payload)
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, length & 0xFFFF, ipid, 0x4000, 64, 6, 0, SOURCE, TARGET)
    ip = ip[:10] + struct.pack(">H", internet_checksum(ip)) + ip[12:]
    pseudo = SOURCE + TARGET + struct.pack(">HH", 6, length - 20)
    tcp = struct.pack(">HHIIBBHHH", 40000, 80, seq, 77, 0x50, flags, 500, 0xFFFF - internet_checksum(pseudo), 0)
    vnet = struct.pack("=BBHHHH", 1, 1, 40, mss, 20, 16)
    return vnet + ip + tcp + payload


def internet_checksum(data: bytes) -> int:
    """RFC 1071, word by word: no trick shared with what is tested."""
    data += b"\0" * (len(data) % 2)
    total = 0
    for (word,) in struct.iter_unpack(">H", data):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def is_valid(packet: bytes) -> bool:
    """Whether a receiver that trusts nothing takes the packet: IP and TCP checksums add up."""
    ip = packet[VNET:]
    tcp = ip[20:]
    pseudo = ip[12:20] + struct.pack(">HH", 6, len(tcp))
    return internet_checksum(ip[:20]) == 0 and internet_checksum(pseudo + tcp) == 0 and struct.unpack(">H", ip[2:4])[0] == len(ip)
