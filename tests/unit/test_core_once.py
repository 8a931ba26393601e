"""A request that comes twice, by a datagram and by the connection that was made meanwhile, is taken once; one that is made again
since its answer is overdue is answered again."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from helpers.corenet import APP, CoreNet, ask, plain, six_regions
from opus_node.core.context import Context
from opus_node.core.events import Receive, Send
from opus_node.core.messages import BUSY, Message, Reply, RouteAck, RouteRefuse, RouteRequest
from opus_node.core.once import MOST, REMEMBERED, Once
from opus_node.core.types import MILLISECOND, SECOND, AppConfig, NodeConfig


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


# Asked again


class Lost:
    """Loses the first of each class of messages that it is told."""

    def __init__(self, net: CoreNet, *kinds: type) -> None:
        self.left = list(kinds)
        self.again = 0
        """Requests that were sent again."""
        net.loses = self.loses

    def loses(self, source: str, send: Send) -> bool:
        kind = type(send.message)
        self.again += isinstance(send.message, RouteRequest) and send.message.again
        if kind in self.left:
            self.left.remove(kind)
            return True
        return False


def settled(*, direct: bool, program: bool = False) -> tuple[CoreNet, str]:
    """A network at rest, and a client far from all replicas that has asked before."""
    net = six_regions(NodeConfig(apps=(AppConfig(APP, 3, program=program),), direct=direct))
    net.starts = lambda node: 0
    net.run(40 * SECOND)
    node = plain(net, "jp")
    for _ in range(5):
        assert ask(net, node).outcome == "ok"
    return net, node


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("kind", [RouteRequest, RouteAck, Reply])
def test_one_lost_packet_makes_nobody_go_elsewhere(kind: type, direct: bool) -> None:
    net, node = settled(direct=direct)
    usual = ask(net, node)
    served = sum(net.snapshot(replica).requests_served for replica in net.replicas())
    lost = Lost(net, kind)
    done = ask(net, node)
    assert lost.left == ([kind] if direct and kind is RouteAck else []), "a direct request is acknowledged by its reply"
    assert (done.outcome, done.replica, done.attempts) == ("ok", usual.replica, 1)
    assert lost.again <= (2 if kind is Reply and not direct else 1), "a reply is asked for by way of the agent"
    took, usually = done.done_at - done.issued_at, usual.done_at - usual.issued_at
    assert took < 2 * usually + 50 * MILLISECOND
    assert sum(net.snapshot(replica).requests_served for replica in net.replicas()) == served + 1, "served once"


def test_where_nothing_gets_lost_nobody_is_asked_again() -> None:
    net, node = settled(direct=False)
    lost = Lost(net)
    for _ in range(20):
        ask(net, node)
    assert lost.again == 0


@pytest.mark.parametrize("direct", [True, False])
def test_a_program_is_asked_once_though_its_client_asks_again(direct: bool) -> None:
    net, node = settled(direct=direct, program=True)
    before = len(net.served)
    lost = Lost(net, *([] if direct else [RouteAck]), RouteAck, Reply)
    done = ask(net, node)
    assert (done.outcome, done.attempts, lost.left) == ("ok", 1, [])
    assert lost.again > 0
    assert len(net.served) == before + 1


def test_a_refusal_that_got_lost_is_repeated() -> None:
    net, node = settled(direct=True)
    gone = next(one for one in net.live() if one != node and one not in net.replicas() and not net.snapshot(one).is_agent)
    asked = RouteRequest(APP, node, 99, 1, 0, False, 1, True, SECOND, 1000, 200)
    refused = net.cores[gone].step(Receive(node, asked), net.now).sends
    again = net.cores[gone].step(Receive(node, replace(asked, again=True)), net.now + SECOND).sends
    assert [type(one.message) for one in refused] == [RouteRefuse]
    assert refused[0].message.reason != BUSY  # type: ignore[union-attr]
    assert [one.message for one in again] == [replace(refused[0].message, again=True)]  # type: ignore[arg-type]


def test_who_is_dead_is_asked_twice_at_most() -> None:
    net, node = settled(direct=True)
    dead = ask(net, node).replica
    net.power_off(dead)
    sent: list[RouteRequest] = []

    def loses(source: str, send: Send) -> bool:
        if source == node and send.to == dead and isinstance(send.message, RouteRequest):
            sent.append(send.message)
        return False

    net.loses = loses
    assert ask(net, node).outcome == "ok"
    assert [one.again for one in sent] == [False, True]
