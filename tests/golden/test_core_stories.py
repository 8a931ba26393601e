"""Readable transcripts of what the core does: each story is compared with the file of its name.

A change of behaviour shows here as a diff to read. After reading it: OPUS_UPDATE_GOLDEN=1 pytest tests/golden
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.corenet import APP, CoreNet, sites
from opus_node.core.messages import (
    Ack,
    AgentOrder,
    AgentReport,
    Appoint,
    AppointReply,
    BeatReply,
    Lease,
    LeaseReply,
    Message,
    Nack,
    Ping,
    PingReq,
    Probe,
    ProbeReply,
    ReplicaBeat,
    ReplicaSilent,
    Reply,
    RouteAck,
    RouteRefuse,
    RouteRequest,
    Summary,
    Survey,
    Surveyed,
    Sync,
)
from opus_node.core.types import MILLISECOND, SECOND, AppConfig, NodeConfig

HERE = Path(__file__).parent
PLAIN = NodeConfig()

CHATTER = (Ping, Ack, Nack, PingReq, Sync, Summary, Probe, ProbeReply, ReplicaBeat, BeatReply)
"""Background, left out where the story is about something else."""


def without(*kinds: type[Message]) -> Callable[[object], bool]:
    return lambda send: not isinstance(send.message, kinds)  # type: ignore[attr-defined]


def quiet_net(names: tuple[str, ...], seeds: tuple[str, ...], replicas: int, settings: NodeConfig = PLAIN) -> CoreNet:
    """Round trips: 1 ms in a place, 60 ms between a and b, 100 ms to c."""
    config = replace(settings, apps=(AppConfig(APP, replicas),))
    net = CoreNet(sites({("a", "b"): 60.0, ("a", "c"): 100.0, ("b", "c"): 100.0}), config=config, seed="story", seeds=seeds)
    net.boot_all(seeds)
    net.boot_all(name for name in names if name not in seeds)
    return net


def tell(net: CoreNet, title: str) -> None:
    assert net.log is not None
    net.log.append(f"-- {title}")


def join() -> CoreNet:
    """A node between two seeds measures both and attaches to the nearer one; its first request takes two hops, the next one."""
    net = quiet_net(("a-1", "b-1", "a-2"), ("a-1", "b-1"), 1)
    net.run(5 * SECOND)
    net.log = []
    net.log_filter = without(Ping, Ack, Sync, Summary, ReplicaBeat, BeatReply)
    tell(net, "b-2 boots")
    net.boot("b-2")
    net.run_for(SECOND)
    tell(net, "its first request")
    net.request("b-2")
    net.run_for(SECOND)
    tell(net, "its second")
    net.request("b-2")
    net.run_for(SECOND)
    return net


def promotion() -> CoreNet:
    """Four nodes far from the only agent: one is promoted, the others are told and move."""
    net = quiet_net(("a-1", "b-1", "b-2", "b-3", "b-4"), ("a-1",), 1)
    net.log = []
    net.log_filter = without(*CHATTER, Appoint, AppointReply)
    net.run(6 * SECOND)
    return net


def split() -> CoreNet:
    """Six nodes come to an agent that is to have three, and has one: the crowd makes it split. Two are promoted, three move."""
    net = quiet_net(("a-1", "a-2"), ("a-1",), 1, NodeConfig(nodes_per_agent=3))
    net.run(12 * SECOND)
    net.log = []
    net.log_filter = without(*CHATTER, Appoint, AppointReply)
    tell(net, f"six more boot; agents are {net.agents()}, replicas are {net.replicas()}")
    net.boot_all(f"a-{number}" for number in range(3, 9))
    net.run_for(3 * SECOND)
    tell(net, f"in the end: agents are {net.agents()}, with {nodes_of(net)} nodes; replicas are {net.replicas()}")
    return net


def nodes_of(net: CoreNet) -> list[int]:
    """How many nodes each agent has, in the order of the agents."""
    return [net.snapshot(agent).nodes for agent in net.agents()]


def replica_loss() -> CoreNet:
    """A replica is powered off without any load: its beats cease, it is asked twice, another takes its place."""
    net = quiet_net(("a-1", "b-1", "a-2", "a-3", "b-2", "b-3"), ("a-1", "b-1"), 2)
    net.run(12 * SECOND)
    net.log = []
    net.log_filter = without(Ping, Ack, Sync, Summary, Probe, ProbeReply)
    lost = net.replicas()[0]
    tell(net, f"{lost} is powered off; steward is {net.stewards()[0]}, replicas are {net.replicas()}")
    net.power_off(lost)
    net.run_for(5 * SECOND)
    return net


def steward_loss() -> CoreNet:
    """The steward is powered off: the agents find out, the next by hash takes over, its nodes go elsewhere."""
    net = quiet_net(("a-1", "b-1", "c-1", "a-2", "b-2", "c-2"), ("a-1", "b-1", "c-1"), 2)
    net.run(12 * SECOND)
    net.log = []
    net.log_filter = without(Ack, Sync, Summary, Probe, ProbeReply, ReplicaBeat, BeatReply, Ping)
    steward = net.stewards()[0]
    tell(net, f"{steward} is powered off; it was steward, replicas are {net.replicas()}")
    net.power_off(steward)
    net.run_for(12 * SECOND)
    return net


def partition_and_heal() -> CoreNet:
    """Place c is cut off for 20 s, decides for itself after a while, and is one with the others again soon after the heal."""
    names = tuple(f"{place}-{number}" for place in "abc" for number in (1, 2, 3))
    net = quiet_net(names, ("a-1", "b-1", "c-1"), 2)
    net.run(12 * SECOND)
    net.log = []
    net.log_filter = without(*CHATTER, AppointReply, RouteRequest, RouteAck, RouteRefuse, Reply, Lease, LeaseReply, ReplicaSilent)
    tell(net, f"c is cut off; steward is {net.stewards()[0]}, replicas are {net.replicas()}")
    net.cut([name for name in names if name.startswith("c-")])
    net.load(20 * SECOND, 2500 * MILLISECOND, ["c-2"])
    tell(net, f"healed; stewards are {net.stewards()}, replicas are {net.replicas()}")
    net.heal()
    net.load(10 * SECOND, 2500 * MILLISECOND, ["c-2"])
    tell(net, f"in the end: stewards are {net.stewards()}, replicas are {net.replicas()}")
    return net


def head_loss() -> CoreNet:
    """Depth 3. A node joins; then the head of a zone is powered off. Its agents lease at another head, by the ways in that they
    have, and their nodes notice nothing; whoever hung on the head itself finds another agent."""
    config = NodeConfig(apps=(AppConfig(APP, 2),), nodes_per_agent=3, depth=3)
    names = tuple(f"{place}-{number}" for place in "abc" for number in range(1, 7))
    net = CoreNet(sites({("a", "b"): 60.0, ("a", "c"): 100.0, ("b", "c"): 100.0}), config=config, seed="heads", seeds=names[::6])
    net.boot_all(name for name in names if name != "a-6")
    net.run(40 * SECOND)
    net.log = []
    net.log_filter = without(*CHATTER, AgentReport, AgentOrder, Survey, Surveyed)
    tell(net, f"agents are {net.agents()}, heads among them {heads(net)}; a-6 boots")
    net.boot("a-6")
    net.run_for(1500 * MILLISECOND)
    head = next(node for node in heads(net) if node.startswith("a-"))
    tell(net, f"{head} is powered off; it was head of {zone_of(net, head)}, agent of {zone_of(net, head, 0)}")
    net.power_off(head)
    net.run_for(12 * SECOND)
    zones = ", ".join(f"{one} of {zone_of(net, one)}" for one in heads(net))
    tell(net, f"agents are {net.agents()}, heads among them: {zones}")
    return net


def heads(net: CoreNet) -> list[str]:
    return [node for node in net.live() if net.snapshot(node).level > 1]


def zone_of(net: CoreNet, head: str, level: int = 1) -> list[str]:
    role = net.cores[head]._level(level).role
    return [] if role is None else sorted(role.leases.table)


STORIES = {story.__name__: story for story in (join, promotion, split, replica_loss, steward_loss, partition_and_heal, head_loss)}


@pytest.mark.parametrize("name", STORIES)
def test_the_story_is_as_it_was(name: str) -> None:
    story = STORIES[name]
    net = story()
    assert net.log is not None
    assert net.broken == []
    told = f"# {story.__doc__}\n" + "\n".join(net.log) + "\n"
    path = HERE / f"core_{name}.txt"
    if os.environ.get("OPUS_UPDATE_GOLDEN") == "1":
        path.write_text(told)
    assert path.exists(), "no golden file: OPUS_UPDATE_GOLDEN=1 writes it"
    assert told.splitlines() == path.read_text().splitlines()


def test_every_golden_file_has_its_story() -> None:
    assert {path.name for path in HERE.glob("core_*.txt")} == {f"core_{name}.txt" for name in STORIES}
