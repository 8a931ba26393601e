"""How many bytes a message takes on the wire, computed without protobuf: equal to what `codec.encode` makes, by test.

    bytes on a link for one message = in_frame(encoded_size(message)) + STREAM_OVERHEAD

and ACK_OVERHEAD in the other direction. Where messages are answered on the same connection, the answer carries the
acknowledgement, and both carry HTTP/2 window updates of 26 B: as many bytes in all (2% fewer, by tests/netns).

The first two are exact and follow from protobuf's wire format (https://protobuf.dev/programming-guides/encoding/):
field i of a dataclass has number i + 1 (or, up to the 15th, another one up to 15: a tag of one byte, too), class i of `Message`
has number i + 1 in the envelope, defaults are left out.
The last is what gRPC, TCP and IP add.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import lru_cache
from math import copysign
from operator import attrgetter
from typing import Any, Final, get_args, get_origin, get_type_hints

from opus_node.core.messages import REQUEST_TRAFFIC, Message

GRPC_OVERHEAD: Final = 5 + 9
"""Bytes: gRPC's length prefix (flag and length) and the header of one HTTP/2 DATA frame."""
TCP_IP_OVERHEAD: Final = 20 + 20 + 12
"""Bytes: IPv4 and TCP headers with the timestamp option, as Linux sends them."""
STREAM_OVERHEAD: Final = GRPC_OVERHEAD + TCP_IP_OVERHEAD
"""Added, in the message's own direction, to a message that is alone in its packet."""
ACK_OVERHEAD: Final = TCP_IP_OVERHEAD
"""In the other direction: the TCP acknowledgement, where no data is there to carry it."""
DIAL_SENT: Final = 655
DIAL_RECEIVED: Final = 317
"""What a dial costs besides, at the dialling end: TCP's handshake, HTTP/2's preface and settings, the stream's headers, and
their acknowledgements. Measured from eth0's counters (gRPC 1.85, IPv4 addresses of ten letters); tests/netns compares."""

UDP_IP_OVERHEAD: Final = 20 + 8
"""Bytes: IPv4 and UDP headers of a message that travels by itself, as its envelope."""

MTU: Final = 1500
MAX_DATAGRAM: Final = MTU - UDP_IP_OVERHEAD
"""Bytes of an envelope that fits into one packet."""

MAX_PAYLOAD: Final = 8 << 20
"""Bytes a request's or reply's payload may have: no queue or receiver has to hold more for one message."""

Sizer = Callable[[Any], int]


def encoded_size(message: Message) -> int:
    """Bytes of `message` in its envelope, as `codec.encode` makes it."""
    tag, body = _ENVELOPE[type(message)]
    size = body(message)
    return tag + varint(size) + size


def in_frame(envelope_bytes: int) -> int:
    """Bytes an encoded envelope takes in a `Frame`: its tag and length come before it."""
    return 1 + varint(envelope_bytes) + envelope_bytes


def wire_size(message: Message) -> int:
    """Bytes on the link, in the message's own direction, for a message that travels alone."""
    return in_frame(encoded_size(message)) + STREAM_OVERHEAD


def datagram_size(message: Message) -> int:
    """The same of a message that is sent as a datagram."""
    return encoded_size(message) + UDP_IP_OVERHEAD


_UNCOUNTED: Final = frozenset(REQUEST_TRAFFIC)


def is_control(message: Message) -> bool:
    """Whether it counts as control bytes (DESIGN section 7): all but requests and replies."""
    return type(message) not in _UNCOUNTED


_VARINT: Final = tuple((bits + 6) // 7 or 1 for bits in range(65))
"""By bit length."""


def varint(value: int) -> int:
    """Bytes of `value` as protobuf's int64: 7 bits a byte; a negative one always takes ten."""
    return 10 if value < 0 else _VARINT[value.bit_length()]


def _tag(number: int) -> int:
    return varint(number << 3)


def _int(tag: int) -> Sizer:
    by_bits = tuple(tag + length for length in _VARINT)
    return lambda value: (by_bits[value.bit_length()] if value > 0 else tag + 10) if value else 0


def _bool(tag: int) -> Sizer:
    return lambda value: tag + 1 if value else 0


def _float(tag: int) -> Sizer:
    # Minus zero is not the default and travels.
    return lambda value: tag + 8 if value or copysign(1.0, value) < 0 else 0


@lru_cache(maxsize=1 << 14)
def _text(value: str) -> int:
    """A string and its length. Cached, since nearly all strings are the names of nodes."""
    length = len(value.encode())
    return varint(length) + length


def _str(tag: int) -> Sizer:
    return lambda value: tag + _text(value) if value else 0


_MANY: Final = 64


def _strings(tag: int) -> Sizer:
    def size(values: tuple[str, ...]) -> int:
        total = tag * len(values)
        for value in values:
            total += _text(value)
        return total

    large = lru_cache(maxsize=64)(size)  # the members of a set, of whom very many are told
    return lambda values: large(values) if len(values) > _MANY else size(values)


def _ints(tag: int) -> Sizer:
    """Packed: one tag and length for all."""

    def size(values: tuple[int, ...]) -> int:
        length = sum(map(varint, values))
        return tag + varint(length) + length if values else 0

    return size


def _payload(tag: int) -> Sizer:
    return lambda length: tag + varint(length) + length if length else 0


def _bytes(tag: int) -> Sizer:
    return lambda value: tag + varint(len(value)) + len(value) if value else 0


def _record(tag: int, body: Sizer) -> Sizer:
    def size(value: Any) -> int:
        length = body(value)
        return tag + varint(length) + length

    return size


def _records(tag: int, record: type) -> Sizer:
    """Cached by content, since what is gossiped and hinted is mostly what was before; not floats, for which 0.0 == -0.0."""
    get = attrgetter(*(field.name for field in fields(record)))
    one = _record(tag, _parts(record))
    if float not in get_type_hints(record).values():
        one = lru_cache(maxsize=1 << 15)(one)
    return lambda values: sum(map(one, map(get, values))) if values else 0


def _field(name: str, kind: Any, number: int) -> Sizer:
    """The sizer of one field, its tag included."""
    tag = _tag(number)
    if name == "payload":
        return _payload(tag)
    simple = {int: _int, bool: _bool, float: _float, str: _str, bytes: _bytes}.get(kind)
    if simple is not None:
        return simple(tag)
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        lists = {int: _ints, str: _strings}.get(item)
        return lists(tag) if lists is not None else _records(tag, item)
    return _record(tag, _body(kind))


def _body(record: type) -> Sizer:
    """The sizer of a dataclass's fields, without a tag of its own."""
    names = [field.name for field in fields(record)]
    if not names:
        return lambda value: 0
    get, parts = attrgetter(*names), _parts(record)
    return lambda value: parts(get(value))


def _parts(record: type) -> Sizer:
    """The same, of what `attrgetter` gives for all the fields: a tuple of them, or the only one."""
    hints = get_type_hints(record)
    sizers = [_field(field.name, hints[field.name], number) for number, field in enumerate(fields(record), start=1)]
    if len(sizers) == 1:
        return sizers[0]

    def size(values: tuple[Any, ...]) -> int:
        total = 0
        for sizer, part in zip(sizers, values, strict=True):
            total += sizer(part)
        return total

    return size


_ENVELOPE: Final[dict[type, tuple[int, Sizer]]] = {
    record: (_tag(number), _body(record)) for number, record in enumerate(get_args(Message), start=1)
}
