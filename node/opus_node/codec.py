"""Core messages to protobuf and back: one message a class, equal names and fields (`core.messages`, `overlay.proto`).

At import, every message class is compared with its protobuf message, field by field, and gets an encoder and a decoder of
its own; a difference stops the import, not the thousandth message. A `payload` is a size in the core and that many real
bytes here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Final, get_args, get_origin, get_type_hints

from google.protobuf.message import DecodeError
from google.protobuf.message import Message as Protobuf
from opus_proto.v1 import overlay_pb2, transport_pb2

from opus_node.core.messages import Message
from opus_node.errors import LocalError, PeerError


def encode(message: Message) -> bytes:
    """The `Envelope` that carries `message`.

    Raises LocalError if a field does not fit its type on the wire (an int over 64 bits, say).
    """
    slot = _BY_CLASS[type(message)]
    try:
        return _ENVELOPE(**{slot.name: slot.to_protobuf(message)}).SerializeToString()
    except (ValueError, TypeError, OverflowError) as error:
        raise LocalError(f"cannot encode {message!r}: {error}") from error


def frame(envelopes: Iterable[bytes]) -> bytes:
    """The `Frame` of some encoded envelopes: protobuf's repeated field, put together from what is encoded already."""
    parts: list[bytes] = []
    for envelope in envelopes:
        parts += (_FRAME_TAG, _varint(len(envelope)), envelope)
    return b"".join(parts)


def decode(data: bytes) -> Message:
    """The message in one encoded `Envelope`; PeerError if there is none or it is malformed."""
    try:
        return _open(overlay_pb2.Envelope.FromString(data))
    except DecodeError as error:
        raise PeerError(f"malformed envelope of {len(data)} bytes: {error}") from error


def decode_frame(data: bytes) -> Iterator[tuple[Message, int]]:
    """Every message of an encoded `Frame` with the bytes of its envelope; PeerError at the first that is malformed."""
    try:
        parsed = transport_pb2.Frame.FromString(data)
    except DecodeError as error:
        raise PeerError(f"malformed frame of {len(data)} bytes: {error}") from error
    for envelope in parsed.envelopes:
        yield _open(envelope), envelope.ByteSize()


def _open(envelope: overlay_pb2.Envelope) -> Message:
    name = envelope.WhichOneof("body")
    if name is None:
        raise PeerError("an envelope with nothing in it that this version knows")
    message: Message = _BY_NAME[name](getattr(envelope, name))
    return message


ToProtobuf = Callable[[Any], Protobuf]
FromProtobuf = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Slot:
    """How one message class travels: the envelope's field and the conversion into it."""

    name: str
    to_protobuf: ToProtobuf


@dataclass(frozen=True, slots=True)
class _Field:
    """One field's conversion; None: the value is the same on both sides."""

    name: str
    encode: Callable[[Any], Any] | None
    decode: Callable[[Any], Any] | None
    required: bool = False
    """A record, which the sender always sets: a message without it is malformed."""


def _field(name: str, kind: Any) -> _Field:
    if name == "payload":
        return _Field(name, bytes, len)
    if kind in (int, bool, float, str, bytes):
        return _Field(name, None, None)
    if get_origin(kind) is not tuple:
        return _Field(name, *_converters(kind), required=True)
    item = get_args(kind)[0]
    if item in (int, str):
        return _Field(name, None, tuple)
    to, back = _converters(item)
    return _Field(name, lambda values: [to(value) for value in values], lambda values: tuple([back(value) for value in values]))


def _converters(record: type) -> tuple[ToProtobuf, FromProtobuf]:
    """Both directions for one dataclass; the protobuf message of the same name must have exactly its fields."""
    protobuf: type[Protobuf] = getattr(overlay_pb2, record.__name__)
    hints = get_type_hints(record)
    plan = [_field(each.name, hints[each.name]) for each in fields(record)]
    names = [each.name for each in plan]
    if names != [each.name for each in protobuf.DESCRIPTOR.fields]:
        raise TypeError(
            f"{record.__name__}: overlay.proto and core.messages differ in their fields; they must be the same, in order"
        )
    if not names:
        return (lambda value: protobuf()), (lambda parsed: record())
    get = attrgetter(*names) if len(names) > 1 else (lambda value, one=attrgetter(names[0]): (one(value),))
    conversions = [(position, each.encode) for position, each in enumerate(plan) if each.encode is not None]
    back = [(position, each.decode) for position, each in enumerate(plan) if each.decode is not None]
    required = [each.name for each in plan if each.required]

    def to_protobuf(value: Any) -> Protobuf:
        parts = list(get(value))
        for position, convert in conversions:
            parts[position] = convert(parts[position])
        return protobuf(**dict(zip(names, parts, strict=True)))

    def from_protobuf(parsed: Any) -> Any:
        for name in required:
            if not parsed.HasField(name):
                raise PeerError(f"{record.__name__} without {name}")
        parts = list(get(parsed))
        for position, convert in back:
            parts[position] = convert(parts[position])
        return record(*parts)

    return to_protobuf, from_protobuf


def _varint(value: int) -> bytes:
    """Protobuf's base 128 varint of a length."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _tables() -> tuple[dict[type, _Slot], dict[str, FromProtobuf]]:
    """The encoders by class and the decoders by the envelope's field."""
    slots = {each.message_type.name: each.name for each in overlay_pb2.Envelope.DESCRIPTOR.fields if each.message_type}
    classes = get_args(Message)
    if [cls.__name__ for cls in classes] != list(slots):
        raise TypeError("Envelope and core.messages.Message must list the same messages in the same order")
    encoders: dict[type, _Slot] = {}
    decoders: dict[str, FromProtobuf] = {}
    for cls in classes:
        to, back = _converters(cls)
        name = slots[cls.__name__]
        encoders[cls] = _Slot(name, to)
        decoders[name] = back
    return encoders, decoders


_ENVELOPE: Final[Callable[..., Protobuf]] = overlay_pb2.Envelope
_FRAME_TAG: Final = bytes([transport_pb2.Frame.ENVELOPES_FIELD_NUMBER << 3 | 2])
_BY_CLASS, _BY_NAME = _tables()
