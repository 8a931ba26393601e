"""What those who keep registers say to each other survives the wire, and rubbish in its place is as good as lost."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opus_node import codec
from opus_node.core.data.cells import (
    EMPTY,
    Answer,
    Ballot,
    Cell,
    Config,
    Exchange,
    Got,
    Greeted,
    Peer,
    Promised,
    Put,
    Question,
    Tag,
)
from opus_node.core.data.wire import packed, unpacked
from opus_node.core.messages import Data

KINDS = (*get_args(Question), *get_args(Answer), *get_args(Exchange))

small = st.integers(0, 2**40)
name = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
tag = st.builds(Tag, st.integers(1, 2**40), name)
cell = st.builds(Cell, tag, st.binary(max_size=30))
peer = st.builds(Peer, name, small)
config = st.builds(Config, small, st.lists(peer, max_size=5).map(tuple))
ballot = st.builds(Ballot, small, name)
FIELDS: dict[str, st.SearchStrategy[object]] = {
    "number": small,
    "op": small,
    "key": name,
    "cell": cell,
    "cells": st.dictionaries(name, cell, max_size=5),
    "config": config,
    "following": config,
    "ballot": ballot,
    "by": ballot,
    "peer": peer,
    "giver": peer,
    "tag": tag,
    "since": small,
    "count": small,
    "life": small,
    "ready": st.booleans(),
    "last": st.booleans(),
    "inside": st.booleans(),
    "sealed": st.booleans(),
    "size": small,
    "givers": st.lists(name, max_size=5).map(tuple),
    "quorum": small,
    "left": st.lists(small, max_size=5).map(tuple),
}
LOOSE: dict[type, dict[str, st.SearchStrategy[object]]] = {
    Got: {"cell": cell | st.just(EMPTY)},
    Greeted: {"config": config | st.none()},
    Promised: {"accepted": st.none() | st.tuples(ballot, config)},
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_each_question_and_answer_survives_the_wire(kind: type, data: st.DataObject) -> None:
    known = {**FIELDS, **LOOSE.get(kind, {})}
    said = data.draw(st.builds(kind, **{field: known[field] for field in kind.__dataclass_fields__}))  # type: ignore[attr-defined]
    carried = codec.decode(codec.encode(packed("web", said)))
    assert isinstance(carried, Data)
    assert carried.app == "web"
    assert unpacked(carried) == said


@pytest.mark.parametrize("kind", [kind.__name__.lower() for kind in KINDS])
def test_an_empty_one_is_understood_or_lost_but_breaks_nothing(kind: str) -> None:
    said = unpacked(Data("web", kind))
    assert said is None or type(said).__name__.lower() == kind


def test_what_no_version_knows_is_lost() -> None:
    assert unpacked(Data("web", "abdicate")) is None


def test_a_cell_that_was_never_written_cannot_come_with_a_value() -> None:
    """Two registers that differ under one tag would never agree."""
    forged = codec.decode(codec.encode(packed("web", Put(1, 2, "k", Cell(Tag(0, "w"), b"x")))))
    assert isinstance(forged, Data)
    assert unpacked(forged) == Put(1, 2, "k", EMPTY)
