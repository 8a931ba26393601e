"""Ways in: what an agent told of replicas that have moved since keeps it from nothing; replicas by latency."""

from __future__ import annotations

from random import Random

from opus_node.core.context import Context
from opus_node.core.held import Held
from opus_node.core.messages import AgentHint, AppDelay, Demand, ReplicaSet
from opus_node.core.once import Once
from opus_node.core.prober import Prober
from opus_node.core.relay import REFUSED_FIRST, Relay
from opus_node.core.types import MILLISECOND, SECOND, AppConfig, NodeConfig
from opus_node.core.ways import Way, Ways

APP = "web"
FAR = AppDelay(APP, 200 * MILLISECOND)


def context() -> Context:
    return Context("198.18.0.1", NodeConfig(apps=(AppConfig(APP),)), Random(1))


class Alike:
    """Whose requests are all for one application."""

    def shares(self) -> dict[str, float]:
        return {APP: 1.0}


def measured(ways: Ways, agent: str, rtt: int, delay: AppDelay) -> Way:
    ways.add(agent)
    way = ways.by_agent[agent]
    way.sample(rtt)
    way.heard_at = 0
    ways.told(way, (delay,))
    return way


def test_a_way_told_of_before_replicas_moved_is_hoped_for_again_when_an_agent_picks_it() -> None:
    ctx = context()
    ways = Ways(ctx, Alike())
    way = measured(ways, "198.18.0.2", 10 * MILLISECOND, FAR)
    way.asked(0)
    assert ways.hoped(way) > 100 * MILLISECOND, "as it told"
    ctx.now = 1000 * SECOND
    ways.hinted(AgentHint(way.agent, 0), None, chosen=False)
    assert not way.wanted, "named by chance: nothing is known anew"
    ways.hinted(AgentHint(way.agent, 0), None, chosen=True)
    assert way.wanted
    assert ways.hoped(way) <= 10 * MILLISECOND
    assert ways.cost(way) > 100 * MILLISECOND, "moving there still waits for what it tells"
    ways.told(way, (FAR,))
    assert ways.hoped(way) > 100 * MILLISECOND


def test_where_replicas_went_farther_every_way_may_be_better() -> None:
    ways = Ways(context(), Alike())
    way = measured(ways, "198.18.0.2", 10 * MILLISECOND, FAR)
    way.changed()
    assert way.wanted
    assert ways.hoped(way) <= 10 * MILLISECOND


def test_an_agent_takes_the_nearest_replica_where_latency_alone_counts() -> None:
    ctx = context()
    relay = Relay(ctx, Prober(ctx), Once(ctx), lambda app, replica: None, lambda: "")
    relay.learn(ReplicaSet(APP, 1, ctx.me, ("198.18.0.2", "198.18.0.3")))
    for target, rtt in zip(relay.targets[APP].values(), (11, 10), strict=True):
        target.sample(rtt * MILLISECOND)
    chosen = [relay.choose(APP, [], 1) for _ in range(20)]
    assert {one.node for one in chosen if one is not None} == {"198.18.0.3"}


def test_a_replica_that_does_not_know_of_its_appointment_yet_is_gone_to_again_soon() -> None:
    ctx = context()
    relay = Relay(ctx, Prober(ctx), Once(ctx), lambda app, replica: None, lambda: "")
    relay.learn(ReplicaSet(APP, 1, ctx.me, ("198.18.0.2", "198.18.0.3")))
    near, far = relay.targets[APP].values()
    near.sample(10 * MILLISECOND)
    far.sample(90 * MILLISECOND)

    def chosen_at(now: int) -> str:
        ctx.now = now
        relay.tick()
        target = relay.choose(APP, [], 1)
        assert target is not None
        return target.node

    near.refuses(ctx.now)
    assert chosen_at(REFUSED_FIRST - 1) == far.node
    assert chosen_at(REFUSED_FIRST) == near.node
    near.refuses(ctx.now)
    assert chosen_at(3 * REFUSED_FIRST - 1) == far.node, "twice as long: it may be none for good"
    assert chosen_at(3 * REFUSED_FIRST) == near.node


def test_a_node_is_told_once_who_serves_no_more_and_never_of_one_who_does_again() -> None:
    ctx = context()
    relay = Relay(ctx, Prober(ctx), Once(ctx), lambda app, replica: None, lambda: "")
    held = Held("198.18.0.9", 0)
    held.demand = (Demand(APP, 1.0),)

    def told(epoch: int, *members: str) -> tuple[str, ...]:
        relay.learn(ReplicaSet(APP, epoch, ctx.me, members))
        for target in relay.targets[APP].values():
            target.sample(10 * MILLISECOND)
        return tuple(gone for one in relay.near(held) for gone in one.gone)

    assert told(1, "a", "b") == ()
    assert told(2, "b", "c") == ("a",)
    assert told(3, "b", "a") == ("c",)
    assert told(4, ctx.me, "b", "a") == ()
    assert told(5, *"bcdefghijk") == ("a", ctx.me)
    assert told(6, "b") == tuple("defghijk"), "the latest only"
    newcomer = Held("198.18.0.10", 0)
    newcomer.demand = (Demand(APP, 1.0),)
    assert [one.gone for one in relay.near(newcomer)] == [tuple("defghijk")], "it may remember them from another agent"
