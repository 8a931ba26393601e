"""Whom an agent has its nodes measure: the nearest few, unless most of its nodes will not stay."""

from __future__ import annotations

from random import Random

from opus_node.core.context import Context
from opus_node.core.coordinates import pack
from opus_node.core.held import Held
from opus_node.core.neighbours import AT_ONCE, CROWDED, Neighbours
from opus_node.core.siblings import Siblings
from opus_node.core.types import AppConfig, NodeConfig


def neighbours(nodes: int) -> tuple[Neighbours, dict[str, Held]]:
    """Nodes of an agent, in a row."""
    ctx, table = Context("a", NodeConfig(apps=(AppConfig("kv", replicas=100),)), Random(1)), dict[str, Held]()
    for number in range(nodes):
        held = table[f"n{number:04}"] = Held(f"n{number:04}", 0)
        held.at = pack((10.0 * number, 0.0, 0.0, 0.0), 0.0, 0.1)
    return Neighbours(ctx, table, Siblings(ctx, table)), table


def test_a_node_is_asked_for_those_that_are_nearest() -> None:
    one, table = neighbours(50)
    assert set(one.wanted(table["n0020"], 10)) == {"n0019", "n0021"}
    assert len(one.wanted(table["n0020"], 10)) == AT_ONCE


def test_an_agent_with_far_too_many_nodes_asks_only_what_a_steward_wants_to_know() -> None:
    one, table = neighbours(CROWDED + 1)
    assert one.wanted(table["n0020"], 10) == ()
    one.errand("n0020", ["n0100"])
    assert one.wanted(table["n0020"], 10) == ("n0100",)
    del table["n0000"]
    assert set(one.wanted(table["n0020"], 10)) == {"n0019", "n0021"}
