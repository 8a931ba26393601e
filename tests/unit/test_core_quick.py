"""Records that are made by assignment are what frozen dataclasses are in all else; the shared empty table stays empty."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace

import pytest
from opus_node.core.messages import Lease, Probe
from opus_node.core.quick import quicken
from opus_node.core.types import NOTHING


@dataclass(frozen=True, slots=True)
class Pair:
    first: int
    second: tuple[int, ...] = (1,)


def test_a_quickened_record_is_made_compared_changed_and_carried_as_before() -> None:
    before = repr(Pair(5)), hash(Pair(5, (2,)))
    quicken(Pair)
    assert (repr(Pair(5)), hash(Pair(5, (2,)))) == before
    assert Pair(5) == Pair(first=5, second=(1,)) != Pair(5, ())
    assert replace(Pair(5), first=6) == Pair(6)
    assert pickle.loads(pickle.dumps(Pair(7, (8,)))) == Pair(7, (8,))
    with pytest.raises(TypeError, match="first"):
        Pair()  # type: ignore[call-arg]


def test_messages_are_quick_and_have_their_defaults() -> None:
    assert Probe(3) == Probe(nonce=3, level=0, stream=False)
    assert not replace(Lease(1, 2, 3, 4, 1.0, 5, 6, 7, ()), brief=False).brief
    assert Probe.__setattr__ is object.__setattr__


def test_nobody_writes_into_the_table_that_all_share() -> None:
    with pytest.raises(TypeError):
        NOTHING["app"] = 1
    assert not NOTHING
