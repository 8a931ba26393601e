"""The prober of links' fidelity takes damaged packets for what they are."""

from __future__ import annotations

import struct
import zlib

from helpers.fidelity.prober import Arrival, _arrival

BODY = b"0123456789"
HEADER = struct.pack("=IIq", zlib.crc32(struct.pack("=Iq", 7, 99)), 7, 99)


def test_what_comes_whole_has_its_number() -> None:
    assert _arrival(HEADER + BODY, BODY, 5) == Arrival(7, 5)


def test_a_bit_that_was_flipped_is_counted_and_the_number_not_believed() -> None:
    assert _arrival(HEADER + b"0123456788", BODY, 5) == Arrival(-1, 5, 1)
    assert _arrival(b"x" + HEADER[1:] + BODY, BODY, 5) == Arrival(-1, 5, 1)


def test_a_packet_cut_short_by_a_flipped_bit_of_its_length_is_a_damaged_one() -> None:
    assert _arrival(HEADER[:8], BODY, 5) == Arrival(-1, 5, 1)
