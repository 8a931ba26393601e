"""Replies that went down with a connection to a client's former life are sent once more."""

from __future__ import annotations

from helpers.corenet import APP, six_regions
from opus_node.core.events import Event, Receive, Unreachable
from opus_node.core.messages import ReplicaSet, Reply, RouteRequest
from opus_node.core.replies import LARGEST, MOST, REMEMBERED, Replies
from opus_node.core.types import SECOND

NOBODY = ReplicaSet(APP, 1, "s", ("r",))


def reply(client: str, request: int = 1, content: bytes = b"") -> Reply:
    return Reply(APP, client, request, 1, 0, 1, NOBODY, 1000, content)


def test_what_was_sent_just_before_the_connection_broke_is_told_once() -> None:
    replies = Replies()
    replies.sent(reply("a", 1), 0)
    replies.sent(reply("a", 2), REMEMBERED)
    replies.sent(reply("b", 1), REMEMBERED)
    assert [one.request for one in replies.lost_with("a", REMEMBERED + 1)] == [2], "the first is too old"
    assert replies.lost_with("a", REMEMBERED + 2) == []
    assert [one.client for one in replies.lost_with("b", REMEMBERED + 2)] == ["b"]


def test_the_memory_is_bounded() -> None:
    replies = Replies()
    replies.sent(reply("a", 1, b"x" * (LARGEST + 1)), 0)
    assert replies.lost_with("a", 0) == []
    for number in range(2 * MOST):
        replies.sent(reply("a", number), 0)
    assert [one.request for one in replies.lost_with("a", 0)] == list(range(MOST, 2 * MOST))


def test_a_client_that_came_back_is_sent_the_reply_that_its_former_connection_swallowed() -> None:
    net = six_regions()
    net.run(30 * SECOND)
    replica = net.cores[net.replicas()[0]]

    def sent(event: Event) -> list[int]:
        """Requests of replies to the client."""
        sends = replica.step(event, net.now).sends
        return [send.message.request for send in sends if send.to == "client" and isinstance(send.message, Reply)]

    request = RouteRequest(APP, "client", 7, 1, 0, False, 1, True, SECOND, 1000, 200)
    assert sent(Receive("client", request)) == [7]
    assert sent(Unreachable("another")) == []
    assert sent(Unreachable("client")) == [7]
    assert sent(Unreachable("client")) == []
