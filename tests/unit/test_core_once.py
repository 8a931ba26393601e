"""A request that comes twice, by a datagram and by the connection that was made meanwhile, is taken once."""

from __future__ import annotations

from random import Random

import pytest
from helpers.corenet import APP, CoreNet, six_regions
from opus_node.core.context import Context
from opus_node.core.events import Receive
from opus_node.core.messages import Message, RouteRequest
from opus_node.core.once import MOST, REMEMBERED, Once
from opus_node.core.types import SECOND, AppConfig, NodeConfig


def memory() -> tuple[Context, Once]:
    ctx = Context("me", NodeConfig(), Random(1))
    return ctx, Once(ctx)


def test_clients_requests_and_attempts_are_told_apart() -> None:
    _, once = memory()
    keys = [("a", 1, 1), ("a", 1, 2), ("a", 2, 1), ("b", 1, 1)]
    assert [once.first(key) for key in (*keys, *keys)] == [True] * 4 + [False] * 4


@pytest.mark.parametrize("began", [0, 1, REMEMBERED - 1, REMEMBERED, 7 * REMEMBERED // 2])
def test_it_remembers_as_long_as_it_says_whenever_that_begins(began: int) -> None:
    ctx, once = memory()
    once.first(("b", 0, 1))
    ctx.now = began
    assert once.first(("a", 1, 1))
    for number in range(10):  # others go on asking
        ctx.now = began + number * (REMEMBERED // 10)
        once.first(("b", number + 1, 1))
    ctx.now = began + REMEMBERED - 1
    assert not once.first(("a", 1, 1))
    ctx.now = began + 2 * REMEMBERED
    once.first(("b", 99, 1))
    ctx.now = began + 3 * REMEMBERED
    assert once.first(("a", 1, 1)), "and not for ever"


def test_its_memory_is_bounded_and_the_latest_are_in_it() -> None:
    ctx, once = memory()
    for number in range(5 * MOST):
        assert once.first(("a", number, 1))
        assert len(once) <= 2 * MOST
    assert not any(once.first(("a", number, 1)) for number in range(4 * MOST, 5 * MOST))
    ctx.now += 2 * REMEMBERED
    once.first(("b", 0, 1))
    assert len(once) == 1


def taken(net: CoreNet, message: RouteRequest) -> list[Message]:
    """What a replica sends, and asks its program, when `message` comes twice; the second time nothing."""
    replica = net.cores[net.replicas()[0]]
    ready = replica.step(Receive("client", message), net.now)
    again = replica.step(Receive("client", message), net.now + SECOND)
    assert [one for one in again.sends if one.to == "client"] == []
    assert again.serves == ()
    return [*(one.message for one in ready.sends if one.to == "client"), *ready.serves]  # type: ignore[list-item]


@pytest.mark.parametrize("program", [False, True])
def test_a_replica_answers_once_and_its_program_is_asked_once(program: bool) -> None:
    net = six_regions(NodeConfig(apps=(AppConfig(APP, 3, program=program),)))
    net.starts = lambda node: 0
    net.run(40 * SECOND)
    assert [
        type(one).__name__ for one in taken(net, RouteRequest(APP, "client", 7, 1, 0, False, 1, True, SECOND, 1000, 200))
    ] == (["RouteAck", "Serve"] if program else ["Reply"])
