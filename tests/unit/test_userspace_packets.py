"""Super-packets are cut into what the wire would carry, and damage is left for the receiver's checksum to find."""

from __future__ import annotations

import struct

import pytest
from helpers.tcp_packets import MSS, is_valid, super_packet
from hypothesis import given
from hypothesis import strategies as st
from opus_controller.net.userspace_packets import VNET, Malformed, SuperPacket, corrupted, wire_counts, with_checksum


def payload_of(size: int) -> bytes:
    return bytes(i * 7 % 251 for i in range(size))


@given(st.integers(1, 12 * MSS), st.data())
def test_the_parts_are_the_stream(size: int, data: st.DataObject) -> None:
    payload = payload_of(size)
    packet = SuperPacket(super_packet(payload))
    assert packet.count == -(-size // MSS)
    first, seen = 0, b""
    while first < packet.count:
        count = data.draw(st.integers(1, packet.count - first))
        part = packet.part(first, count)
        last = first + count == packet.count
        assert struct.unpack(">I", part[VNET + 24 : VNET + 28])[0] == (0xFFFFF000 + len(seen)) & 0xFFFFFFFF
        assert struct.unpack(">H", part[VNET + 4 : VNET + 6])[0] == (0xFFFE + first) & 0xFFFF
        assert part[VNET + 33] == (0x18 if last else 0x10), "PSH only on the last"
        assert wire_counts(part) == (count, packet.wire_bytes(first, count))
        if count == 1:
            assert is_valid(with_checksum(part))
        seen += part[VNET + 40 :]
        first += count
    assert seen == payload
    assert wire_counts(super_packet(payload)) == (packet.count, size + 40 * packet.count)


def test_a_part_of_several_is_again_a_super_packet() -> None:
    payload = payload_of(10 * MSS)
    packet = SuperPacket(super_packet(payload))
    inner = SuperPacket(packet.part(2, 5))
    assert inner.count == 5
    assert inner.part(1, 1) == packet.part(3, 1)


def test_the_whole_as_one_part_is_the_super_packet_itself() -> None:
    whole = super_packet(payload_of(3 * MSS + 5), ipid=7)
    assert SuperPacket(whole).part(0, 4) == whole


@given(st.integers(1, MSS), st.integers(0, 2**32 - 1))
def test_one_flipped_bit_is_found_by_the_receiver(size: int, bit: int) -> None:
    packet = SuperPacket(super_packet(payload_of(size))).part(0, 1)
    intact, damaged = with_checksum(packet), corrupted(packet, bit)
    assert sum((a ^ b).bit_count() for a, b in zip(intact, damaged, strict=True)) == 1
    assert damaged[:VNET] == bytes(VNET), "nothing tells the receiver to trust it"
    assert is_valid(intact)
    assert not is_valid(damaged)


def test_a_plain_packet_is_left_as_it_is() -> None:
    plain = bytes(VNET) + payload_of(60)
    assert with_checksum(plain) == plain
    assert wire_counts(plain) == (1, 60)


@pytest.mark.parametrize(
    "damage",
    [
        lambda p: p[: VNET + 30],
        lambda p: p[:1] + b"\x05" + p[2:],
        lambda p: p[:VNET] + b"\x65" + p[VNET + 1 :],
        lambda p: p[: VNET + 9] + b"\x11" + p[VNET + 10 :],
        lambda p: p[:4] + b"\0\0" + p[6:],
        lambda p: p[: VNET + 32] + b"\xf0" + p[VNET + 33 :],
        lambda p: p[: VNET + 32] + b"\x00" + p[VNET + 33 :],
        lambda p: p[: VNET + 40],
    ],
    ids=["short", "gso type", "version", "protocol", "mss", "data offset high", "data offset low", "no payload"],
)
def test_contradictions_are_malformed(damage: object) -> None:
    assert callable(damage)
    with pytest.raises(Malformed):
        SuperPacket(damage(super_packet(payload_of(20))))


def test_a_checksum_outside_the_packet_is_malformed() -> None:
    with pytest.raises(Malformed):
        corrupted(struct.pack("=BBHHHH", 1, 0, 40, 0, 20, 16) + bytes(30), 5)
