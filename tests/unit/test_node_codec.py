"""Every message survives the wire unchanged, `sizes` knows its length without protobuf, and rubbish is the peer's fault."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opus_node import codec, sizes
from opus_node.core.messages import Demand, FindAgents, Lease, Message, Probe, ReplicaSet, Reply
from opus_node.errors import LocalError, PeerError
from opus_proto.v1 import overlay_pb2, transport_pb2

CLASSES = get_args(Message)
int64 = st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 300)
# No surrogates: they are no text, and no message field can hold them.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
floats = st.floats(allow_nan=False)


def any_of(cls: type) -> st.SearchStrategy[Any]:
    """Instances of a message class with every field anywhere in its range."""
    small = {"payload": st.integers(0, 70_000)} if "payload" in cls.__dataclass_fields__ else {}  # type: ignore[attr-defined]
    return st.builds(cls, **small)


st.register_type_strategy(int, int64)
st.register_type_strategy(str, text)
st.register_type_strategy(float, floats)

any_message = st.one_of([any_of(cls) for cls in CLASSES])


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_every_class_survives_the_wire_and_its_size_is_known(cls: type, data: st.DataObject) -> None:
    message = data.draw(any_of(cls))
    encoded = codec.encode(message)
    assert codec.decode(encoded) == message
    assert sizes.encoded_size(message) == len(encoded)


@given(st.lists(any_message, max_size=5))
@settings(deadline=None)
def test_a_frame_is_what_protobuf_would_make_and_its_size_is_the_sum(batch: list[Message]) -> None:
    encoded = [codec.encode(message) for message in batch]
    frame = codec.frame(encoded)
    whole = transport_pb2.Frame(envelopes=[overlay_pb2.Envelope.FromString(one) for one in encoded])
    assert frame == whole.SerializeToString()
    assert list(codec.decode_frame(frame)) == [(message, len(one)) for message, one in zip(batch, encoded, strict=True)]
    assert len(frame) == sum(sizes.in_frame(sizes.encoded_size(message)) for message in batch)


def lease(rate: float) -> Lease:
    return Lease(1, 0, 0, 0, 1.0, 0, 0, 0, (Demand("web", rate),))


def test_minus_zero_travels() -> None:
    message = codec.decode(codec.encode(lease(-0.0)))
    assert isinstance(message, Lease)
    assert str(message.demand[0].rate) == "-0.0"
    assert sizes.encoded_size(lease(-0.0)) == sizes.encoded_size(lease(1.0)) > sizes.encoded_size(lease(0.0))


def test_a_payload_is_that_many_real_bytes() -> None:
    reply = Reply("web", "198.18.0.1", 1, 0, 5, 2, ReplicaSet("web", 1, "198.18.0.2", ("198.18.0.3",)), 4321)
    envelope = overlay_pb2.Envelope.FromString(codec.encode(reply))
    assert len(envelope.reply.payload) == 4321


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff",
        codec.encode(Probe(300))[:-1],
        b"",  # nothing in it
        overlay_pb2.Envelope(appoint=overlay_pb2.Appoint()).SerializeToString(),  # without its replica set
        b"\xfa\x7f\x00",  # a message of a later version
        b"\x0a\x02\xff\xff",
    ],
)
def test_rubbish_is_the_peers_fault(data: bytes) -> None:
    with pytest.raises(PeerError):
        codec.decode(data)


@given(st.binary(max_size=300))
def test_no_bytes_whatever_do_more_than_raise_peer_error(data: bytes) -> None:
    try:
        decoded = list(codec.decode_frame(data))
    except PeerError:
        return
    assert all(isinstance(message, CLASSES) for message, _ in decoded)


def test_what_does_not_fit_is_our_own_fault() -> None:
    with pytest.raises(LocalError, match="FindAgents"):
        codec.encode(FindAgents(2**63))


def test_control_is_all_but_requests_and_replies_and_what_registers_and_updates_cost() -> None:
    traffic = [cls.__name__ for cls in CLASSES if not sizes.is_control(object.__new__(cls))]
    assert traffic == ["RouteRequest", "Reply", "Update", "Have", "Want", "Data"]
