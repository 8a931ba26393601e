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
from dataclasses import fields, is_dataclass
from functools import lru_cache
from math import copysign
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


@lru_cache(maxsize=1 << 14)
def _text(value: str) -> int:
    """A string and its length. Cached, since nearly all strings are the names of nodes."""
    length = len(value.encode())
    return varint(length) + length


_MANY: Final = 64


def _texts(values: tuple[str, ...]) -> int:
    """All of them, without tags."""
    return _many_texts(values) if len(values) > _MANY else _few_texts(values)


def _few_texts(values: tuple[str, ...]) -> int:
    size = 0
    for value in values:
        size += _text(value)
    return size


_many_texts = lru_cache(maxsize=64)(_few_texts)
"""The members of a set, of whom very many are told."""


def _varints(values: tuple[int, ...]) -> int:
    size = 0
    for value in values:
        size += varint(value)
    return size


def _minus_zero(value: float) -> bool:
    """It is not the default, and travels."""
    return value == 0.0 and copysign(1.0, value) < 0


# One function for each class, written as `dataclass` writes `__init__`: it need not look at what its fields are.


def written() -> str:
    """Their source. It is executed below, or, where this module is compiled, stands in place of that (`bench.compiled`)."""
    found: dict[type, list[str]] = {}
    for record in get_args(Message):
        _write(record, found)
    names: dict[str, list[str]] = {}
    for record in found:
        names.setdefault(record.__module__, []).append(record.__name__)
    lines = [f"from {module} import {', '.join(sorted(these))}" for module, these in sorted(names.items())]
    for body in found.values():
        lines += body
    for number, record in enumerate(get_args(Message), start=1):
        lines.append(f"_ENVELOPE[{record.__name__}] = ({_tag(number)}, _size_of_{record.__name__})")
    return "\n".join([*lines, ""])


def _write(record: Any, found: dict[type, list[str]]) -> None:
    """Those of the records within it come before its own."""
    if record in found:
        return
    lines = []
    hints = get_type_hints(record)
    for number, field in enumerate(fields(record), start=1):
        kind = hints[field.name]
        for inner in (kind, *get_args(kind)):
            if is_dataclass(inner):
                _write(inner, found)
        lines += _field(field.name, kind, _tag(number))
    header = [f"def _size_of_{record.__name__}(one: {record.__name__}) -> int:", "    size = 0"]
    found[record] = [*header, *(f"    {line}" for line in lines), "    return size"]


def _field(name: str, kind: Any, tag: int) -> list[str]:
    value = f"one.{name}"
    if name == "payload":
        return [f"if {value}:", f"    size += {tag} + varint({value}) + {value}"]
    if kind is int:
        short = "_VARINT[value.bit_length()] if value > 0 else 10"
        return [f"value = {value}", "if value:", f"    size += {tag} + ({short})"]
    if kind is bool:
        return [f"if {value}:", f"    size += {tag + 1}"]
    if kind is float:
        return [f"if {value} or _minus_zero({value}):", f"    size += {tag + 8}"]
    if kind is str:
        return [f"if {value}:", f"    size += {tag} + _text({value})"]
    if kind is bytes:
        return [f"if {value}:", f"    size += {tag} + varint(len({value})) + len({value})"]
    if get_origin(kind) is not tuple:
        return [f"length = _size_of_{kind.__name__}({value})", f"size += {tag} + varint(length) + length"]
    item = get_args(kind)[0]
    if item is str:
        return [f"if {value}:", f"    size += {tag} * len({value}) + _texts({value})"]
    if item is int:  # packed: one tag and length for all
        return [f"if {value}:", f"    length = _varints({value})", f"    size += {tag} + varint(length) + length"]
    each = f"{name}_each"
    return [
        f"for {each} in {value}:",
        f"    length = _size_of_{item.__name__}({each})",
        f"    size += {tag} + varint(length) + length",
    ]


_ENVELOPE: Final[dict[type, tuple[int, Sizer]]] = {}
exec(written())
