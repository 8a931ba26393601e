"""A node's cache of replicas: whom it measures that somebody names."""

from __future__ import annotations

from heapq import heappop, heappush
from random import Random

from opus_node.core.cache import FARTHER, KEPT, SHUT_DOUBLED, SHUT_FIRST, AppCache
from opus_node.core.context import Context
from opus_node.core.messages import NearReplicas, Probe, ProbeReply, ReplicaSet
from opus_node.core.prober import Prober
from opus_node.core.rtt import KEPT_OPEN
from opus_node.core.types import MILLISECOND, NodeConfig

MEMBERS = ("a", "b", "c", "d")
RTT_MS = {"a": 10, "b": 20, "c": 30, "d": 90}


class Node:
    """A cache, and replicas that answer all probes in their own time."""

    def __init__(self) -> None:
        self.ctx = Context("me", NodeConfig(), Random(1))
        self.prober = Prober(self.ctx)
        self.cache = AppCache(self.ctx, self.prober, "web")
        self.connected: set[str] = set()

    def probed(self) -> set[str]:
        """Answers until nobody is asked any more; who was."""
        asked: set[str] = set()
        due: list[tuple[int, str, int, bool]] = []
        while self.ctx.sends or due:
            for send in self.ctx.sends:
                assert isinstance(send.message, Probe)
                asked.add(send.to)
                dialled = send.message.stream and send.to not in self.connected
                takes = RTT_MS[send.to] * MILLISECOND * (3 if dialled else 1)
                if send.message.stream:
                    self.connected.add(send.to)
                heappush(due, (self.ctx.now + takes, send.to, send.message.nonce, send.message.stream))
            self.ctx.sends.clear()
            self.ctx.now, node, nonce, stream = heappop(due)
            self.prober.on_reply(node, ProbeReply(nonce, False, 0, stream=stream))
        return asked


def test_who_was_found_farther_than_those_kept_is_not_measured_again_at_once() -> None:
    node = Node()
    assert len(MEMBERS) == KEPT + 1
    node.cache.suggest(MEMBERS)
    assert node.probed() == set(MEMBERS)
    assert set(node.cache.entries) == {"a", "b", "c"}
    node.cache.suggest(MEMBERS)
    assert node.probed() == set()
    node.ctx.now += FARTHER
    node.cache.suggest(MEMBERS)
    assert node.probed() == {"d"}


def test_once_one_is_lost_the_others_are_worth_a_look_again() -> None:
    node = Node()
    node.cache.suggest(MEMBERS)
    node.probed()
    node.cache.refused("a")
    node.cache.suggest(MEMBERS)
    assert node.probed() == {"a", "d"}
    node.cache.learn(ReplicaSet("web", 1, "s", MEMBERS[1:]), "b")
    assert node.probed() == {"d"}, "the set has a smaller choice now"
    assert set(node.cache.entries) == {"b", "c", "d"}


def test_who_is_told_to_have_gone_is_forgotten_and_its_successor_measured() -> None:
    node = Node()
    node.cache.suggest(["a", "b"])
    node.probed()
    node.cache.told(NearReplicas("web", ("c", "b"), ("a", "x")))
    assert node.probed() == {"c"}
    assert set(node.cache.entries) == {"b", "c"}


def test_measuring_dials_nobody_and_the_nearest_is_gone_to_only_once_it_is_dialled() -> None:
    node = Node()
    node.cache.suggest(["a"])
    assert node.cache.best([]) is None
    node.probed()
    best = node.cache.best([])
    assert best is not None
    assert best.node == "a"
    assert best.srtt == RTT_MS["a"] * MILLISECOND, "as the datagram measured, not as the dial took"
    node.cache.suggest(["b", "c"])
    node.probed()
    assert set(node.cache.entries) == {"a", "b", "c"}
    assert node.connected == {"a"}, "farther ones are remembered"
    node.cache.count(1)
    node.cache.tend(node.ctx.now)
    node.probed()
    assert node.connected == {"a"}, "nor are they kept open: a small request runs ahead of its dial"
    node.cache.refused("a")
    node.ctx.now += KEPT_OPEN
    node.cache.tend(node.ctx.now)
    node.probed()
    assert node.connected == {"a", "b"}, "the nearest that is left"


def test_who_is_not_ready_is_kept_and_gone_to_again_later_and_later_until_it_has_served() -> None:
    node = Node()
    node.cache.suggest(["a", "b"])
    node.probed()
    first, second = node.cache.entries["a"], node.cache.entries["b"]
    for doubled in (0, 1, 2, 3, SHUT_DOUBLED, SHUT_DOUBLED):
        assert node.cache.best([]) is first
        node.cache.not_ready("a")
        assert node.cache.best([]) is second
        assert node.cache.ranked() == [second, first]
        node.ctx.now += (SHUT_FIRST << doubled) - 1
        assert node.cache.best([]) is second
        node.ctx.now += 1
    node.cache.answered("a", RTT_MS["a"] * MILLISECOND)
    node.cache.not_ready("a")
    node.ctx.now += SHUT_FIRST
    assert node.cache.best([]) is first, "it had been ready meanwhile"


def test_a_connection_that_is_kept_open_says_nothing_of_the_program() -> None:
    node = Node()
    node.cache.suggest(["a"])
    node.probed()
    node.cache.not_ready("a")
    node.ctx.now += SHUT_FIRST
    node.cache.count(1)
    node.cache.entries["a"].met_at = -FARTHER
    node.cache.tend(node.ctx.now)
    assert node.probed() == {"a"}
    now = node.ctx.now
    node.cache.not_ready("a")
    assert node.cache.entries["a"].shut_until == now + 2 * SHUT_FIRST
