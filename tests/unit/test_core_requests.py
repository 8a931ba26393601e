"""Requests as their clients feel them: ways, hops, time-outs, hedges, waves, deadlines."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import pytest
from helpers.corenet import APP, Chance, CoreNet, ask, plain, sites, six_regions
from opus_node.core.events import Boot, Receive, Request, RequestDone, Wake
from opus_node.core.messages import Probe, RouteAck, RouteRefuse, RouteRequest
from opus_node.core.node import NodeCore
from opus_node.core.replica import GRACE
from opus_node.core.types import MILLISECOND, SECOND, AppConfig, NodeConfig
from opus_node.core.ways import Way


def settled(**options: object) -> CoreNet:
    net = six_regions(**options)  # type: ignore[arg-type]
    net.run(40 * SECOND)  # by then replicas are where they stay
    return net


def test_a_first_request_takes_two_hops_and_the_next_goes_directly() -> None:
    net = settled()
    node = plain(net, "jp")
    first = ask(net, node)
    assert (first.outcome, first.hops, first.via, first.first, first.attempts) == ("ok", 2, "agent", True, 1)
    second = ask(net, node)
    assert (second.outcome, second.hops, second.via, second.first) == ("ok", 1, "direct", False)


def test_routing_latency_is_the_sum_of_the_hops() -> None:
    net = settled()
    node = plain(net, "jp")
    done = ask(net, node)
    agent = net.snapshot(node).agent
    assert done.arrived_at - done.issued_at == net.delay(node, agent) + net.delay(agent, done.replica)
    assert done.done_at - done.arrived_at == net.delay(done.replica, node)


def test_direct_requests_go_to_the_truly_nearest_replica() -> None:
    net = settled()
    for site in ("jp", "in", "br", "use", "eu"):
        node = plain(net, site)
        ask(net, node)
        done = ask(net, node)
        nearest = min(net.delay(node, replica) for replica in net.replicas())
        assert net.delay(node, done.replica) == nearest, node


def test_a_replica_answers_itself() -> None:
    net = settled()
    done = ask(net, net.replicas()[0])
    assert (done.outcome, done.hops, done.via, done.done_at) == ("ok", 0, "self", done.issued_at)


def test_a_client_on_an_agent_needs_one_hop() -> None:
    net = settled()
    agent = next(agent for agent in net.agents() if agent not in net.replicas())
    done = ask(net, agent)
    assert (done.outcome, done.hops, done.via) == ("ok", 1, "agent")


def test_without_direct_every_request_goes_by_the_agent() -> None:
    net = settled(config=NodeConfig(apps=(AppConfig(APP, 3),), direct=False))
    node = plain(net, "jp")
    assert [ask(net, node).hops for _ in range(3)] == [2, 2, 2]


def test_never_more_than_two_hops() -> None:
    net = settled()
    net.load(10 * SECOND, 10 * MILLISECOND)
    net.power_off(net.replicas()[0], net.agents()[-1])
    net.load(10 * SECOND, 10 * MILLISECOND)
    hops = Counter(done.hops for done in net.outcomes() if done.outcome == "ok")
    assert max(hops) == 2


def test_a_silent_cached_replica_costs_little_more_than_its_time_out() -> None:
    net = settled()
    node = plain(net, "in")
    ask(net, node)
    warm = ask(net, node)
    assert warm.via == "direct"
    net.power_off(warm.replica)
    done = ask(net, node)
    assert done.outcome == "ok"
    time_out = 3 * net.delay(node, warm.replica) + net.config.timeout_slack
    agent = net.snapshot(node).agent
    elsewhere = max(2 * (net.delay(node, agent) + net.delay(agent, one)) for one in net.replicas())
    assert done.done_at - done.issued_at < 2 * time_out + elsewhere + 200 * MILLISECOND
    again = ask(net, node)
    assert again.attempts <= 1, "the silent one is not tried again (none at all: it serves itself by now)"


def test_a_silent_replica_is_hedged_by_the_agent() -> None:
    net = settled(config=NodeConfig(apps=(AppConfig(APP, 3),), direct=False))
    node = plain(net, "jp")
    usual = ask(net, node)
    agent = net.snapshot(node).agent
    net.power_off(usual.replica)
    done = ask(net, node)
    assert done.outcome == "ok"
    assert (done.hops, done.via) == (2, "agent"), "by its own agent, which went elsewhere"
    assert done.done_at - done.issued_at < 2 * SECOND // 3
    assert done.replica != usual.replica
    assert net.snapshot(agent).requests_routed >= 2


def warm(net: CoreNet) -> None:
    """Every client has asked twice: it knows replicas and goes to them directly."""
    for _ in range(2):
        for node in net.live():
            net.request(node)
        net.run_for(2 * SECOND)


def lay_one_off(net: CoreNet) -> str:
    """The steward is told to keep one replica fewer; which one goes."""
    before = net.replicas()
    role = net.cores[net.stewards()[0]]._role
    assert role is not None
    assert role.stewards is not None
    desk = role.stewards.desks[APP]
    desk.config = replace(desk.config, replicas=len(before) - 1)
    net.run_for(SECOND)
    (gone,) = set(before) - set(net.replicas())
    return gone


def test_while_a_replica_retires_no_request_is_sent_twice() -> None:
    net = settled()
    warm(net)
    since = net.now
    gone = lay_one_off(net)
    net.load(GRACE + 4 * SECOND, 20 * MILLISECOND)
    net.run_for(2 * SECOND)
    found = net.outcomes(since)
    assert {(done.outcome, done.attempts) for done in found if done.via != "self"} == {("ok", 1)}
    assert any(done.replica == gone for done in found), "it served on for a while"


def test_who_asks_seldom_is_told_of_a_retired_replica_before_it_would_be_refused() -> None:
    net = settled()
    warm(net)
    gone = lay_one_off(net)
    used = [node for node in net.live() if (cache := net.cores[node]._client.caches.get(APP)) and gone in cache.entries]
    assert len(used) > 3, "it was the nearest of many"
    net.run_for(GRACE)
    since = net.now
    for node in net.live():
        net.request(node)
    net.run_for(2 * SECOND)
    found = [done for done in net.outcomes(since) if done.via != "self"]
    assert len(found) > 20
    assert {(done.outcome, done.attempts, done.replica == gone) for done in found} == {("ok", 1, False)}


def test_a_silent_agent_is_answered_by_a_wave_at_once() -> None:
    net = settled(config=NodeConfig(apps=(AppConfig(APP, 3),), direct=False))
    node = plain(net, "jp")
    ask(net, node)
    net.power_off(net.snapshot(node).agent)
    net.log = []
    net.log_filter = lambda send: isinstance(send.message, RouteRequest) and send.message.hops == 1
    done = ask(net, node)
    sent = [line.split()[0] for line in net.log if f" {node} -> " in line]
    waves = Counter(sent)
    assert done.outcome == "ok"
    assert sorted(waves.values()) == [1, 1, net.config.wave], "to the agent, to it again, then the wave in one instant"
    assert done.attempts == 1 + net.config.wave
    assert done.done_at - done.issued_at < SECOND
    assert net.snapshot(node).agent not in ("", "jp-dead")
    assert ask(net, node).attempts == 1, "it is attached elsewhere by now"


def knows_only(net: CoreNet, node: str, *ways: str) -> None:
    """Of ways in, `node` keeps its agent, which falls silent, and has `ways`; each is measured."""
    attachment = net.cores[node]._attachment
    gone = net.snapshot(node).agent
    attachment._seeds = ()
    attachment.ways.by_agent = {one: way for one, way in attachment.ways.by_agent.items() if one == gone}
    for one in ways:
        way = attachment.ways.by_agent[one] = Way(one)
        way.sample(2 * net.delay(node, one))
    net.power_off(gone)


def test_the_farthest_of_a_silent_wave_does_not_hold_up_the_next() -> None:
    net = settled(config=NodeConfig(apps=(AppConfig(APP, 3),), direct=False, wave=2))
    node = plain(net, "jp")
    live = next(one for one in net.agents() if one.startswith("eu"))  # 230 ms away, the third way
    near, far = plain(net, "usw"), plain(net, "use")
    knows_only(net, node, near, far, live)
    net.power_off(near, far)
    done = ask(net, node)
    assert (done.outcome, done.attempts) == ("ok", 4)
    ways = net.cores[node]._attachment.ways.by_agent
    answered = net.delay(node, live) + net.delay(live, done.replica) + net.delay(done.replica, node)
    since = done.done_at - answered - done.issued_at
    assert since < ways[far].timeout(net.config), "when the live one was asked"


def test_who_is_no_agent_any_more_names_its_own_to_a_request() -> None:
    net = settled(config=NodeConfig(apps=(AppConfig(APP, 3),), direct=False))
    node, former = plain(net, "jp"), plain(net, "eu")
    agent = net.snapshot(former).agent
    assert agent not in ("", net.snapshot(node).agent)
    knows_only(net, node, former)
    done = ask(net, node)
    assert (done.outcome, done.hops) == ("ok", 2)
    assert done.attempts == 3, "its agent, who was one, and that one's agent"
    assert former not in net.cores[node]._attachment.ways.by_agent


def test_who_has_lost_all_ways_in_finds_an_agent_by_one_that_was_one() -> None:
    net = settled()
    node, former = plain(net, "jp"), plain(net, "eu")
    knows_only(net, node, former)
    net.run_for(15 * SECOND)
    assert net.snapshot(node).agent in net.agents()


def test_nobody_answers_then_the_deadline_ends_it_exactly() -> None:
    net = settled()
    node = plain(net)
    net.cut([node])
    done = ask(net, node, 3 * SECOND)
    assert done.outcome == "deadline"
    assert done.done_at - done.issued_at == 3 * SECOND
    assert 4 <= done.attempts <= 40, "it kept trying, at a bounded rate"


def test_after_a_total_cut_the_first_requests_succeed() -> None:
    net = settled()
    net.load(10 * SECOND, 20 * MILLISECOND)
    for node in list(net.cores):
        net.cut([node])
    net.load(20 * SECOND, 20 * MILLISECOND)
    assert any(done.outcome == "deadline" for done in net.outcomes(net.now - 10 * SECOND))
    net.heal()
    healed = net.now
    net.load(10 * SECOND, 10 * MILLISECOND)
    net.run_for(2 * SECOND)
    after = net.outcomes(healed)
    assert [done for done in after if done.outcome != "ok"] == []
    slow = [done for done in after if done.done_at - done.issued_at > SECOND]
    assert len(slow) < len(after) / 100


def test_a_deadline_already_past_is_answered_at_once() -> None:
    net = settled()
    node = plain(net)
    net.request(node, 0)
    done = [told.notice for told in net.told if isinstance(told.notice, RequestDone)][-1]
    assert done.outcome == "deadline"
    assert done.done_at == net.now


def test_more_requests_than_a_node_can_hold_are_refused_at_once_and_once() -> None:
    net = settled()
    node = plain(net)
    net.cut([node])
    for _ in range(1500):
        net.request(node)
    refused = [done for done in net.done() if done.outcome == "refused"]
    assert 1 <= len(refused) < 600
    net.run_for(3 * SECOND)
    assert net.unanswered() == []
    assert net.broken == []


def test_lost_doubled_and_reordered_messages_leave_one_answer_a_request() -> None:
    net = settled(chance=Chance(loss=0.05, duplicate=0.1, jitter=20 * MILLISECOND))
    since = net.now
    net.load(30 * SECOND, 20 * MILLISECOND)
    net.run_for(2 * SECOND)
    assert net.broken == []
    assert net.unanswered() == []
    ok = [done for done in net.outcomes(since) if done.outcome == "ok"]
    assert len(ok) >= 0.995 * len(net.outcomes(since))


def agent_core(config: NodeConfig | None = None) -> NodeCore:
    """A seed alone, so an agent, that knows no replica."""
    from random import Random

    core = NodeCore("s", config or NodeConfig(apps=(AppConfig(APP, 3),)), Random(1))
    core.step(Boot(("s",)), 0)
    return core


def route(attempt: int = 1, direct: bool = False, hops: int = 1) -> RouteRequest:
    return RouteRequest(APP, "c", 1, attempt, 0, False, hops, direct, 9 * SECOND, 100, 100)


def test_an_agent_that_knows_no_replica_refuses_and_does_not_acknowledge() -> None:
    ready = agent_core().step(Receive("c", route()), MILLISECOND)
    assert [type(send.message) for send in ready.sends] == [RouteRefuse]


@pytest.mark.parametrize("message", [route(direct=True), route(hops=2)])
def test_a_request_meant_for_a_replica_is_never_forwarded(message: RouteRequest) -> None:
    ready = agent_core().step(Receive("c", message), MILLISECOND)
    assert [(send.to, type(send.message)) for send in ready.sends] == [("c", RouteRefuse)]


def test_an_agent_that_is_a_replica_serves_in_one_hop() -> None:
    core = agent_core()
    now = 0
    while not core.snapshot().replica_of:  # alone it ends up serving itself
        now += SECOND
        core.step(Wake(), now)
        assert now < 30 * SECOND
    ready = core.step(Receive("c", route()), now)
    replies = [send for send in ready.sends if send.to == "c"]
    assert [type(send.message).__name__ for send in replies] == ["Reply"], "small: the reply is the acknowledgement"
    big = RouteRequest(APP, "c", 2, 1, 0, False, 1, False, now + SECOND, 100_000, 100)
    ready = core.step(Receive("c", big), now)
    assert next(type(send.message) for send in ready.sends) is RouteAck
    assert core.snapshot().requests_served == 2


def test_an_acknowledgement_that_comes_twice_is_timed_once() -> None:
    """By a datagram, and by the connection that was made meanwhile."""
    net = settled()
    core = net.cores[plain(net)]
    (sent,) = core.step(Request(APP, 10_000, 1, False, 0, 0, net.now + 9 * SECOND), net.now).sends
    ack = Receive(sent.to, RouteAck(core._ctx.me, 10_000, sent.message.attempt))  # type: ignore[union-attr]
    core.step(ack, net.now + 50 * MILLISECOND)
    rtt = core._attachment.rtt_of(sent.to)
    assert rtt is not None
    told = (rtt.srtt, rtt.samples)
    later = net.now + 3 * SECOND
    again = core.step(Wake(), later).sends
    assert [one for one in again if isinstance(one.message, RouteRequest)], "no reply has come"
    core.step(ack, later + MILLISECOND)
    assert (rtt.srtt, rtt.samples) == told


def test_a_message_nobody_awaits_changes_nothing() -> None:
    core = agent_core()
    before = core.snapshot()
    for message in (RouteAck("s", 5, 1), RouteRefuse("s", 5, 1, ""), RouteAck("x", 5, 1)):
        assert core.step(Receive("c", message), MILLISECOND).sends == ()
    assert core.snapshot() == before


def test_before_boot_nothing_happens() -> None:
    from random import Random

    core = NodeCore("n", NodeConfig(), Random(1))
    assert core.step(Request(APP, 1, 0, False, 1, 1, SECOND), 0).notices == ()
    assert core.step(Wake(), 0).sends == ()


def test_one_app_is_served_without_disturbing_another() -> None:
    config = NodeConfig(apps=(AppConfig("web", 3), AppConfig("mail", 2)))
    net = six_regions(config=config)
    net.run(40 * SECOND)
    assert len(net.replicas("web")) == 3
    assert len(net.replicas("mail")) == 2
    node = next(node for node in net.live() if node not in net.replicas("web") + net.replicas("mail") + net.agents())
    for app in ("web", "mail"):
        net.request(node, app=app)
        net.run_for(2 * SECOND)
        done = net.done()[-1]
        assert (done.app, done.outcome) == (app, "ok")
        assert done.replica in net.replicas(app)
    assert net.snapshot(node).entries <= 16 + 2 * 3


def test_a_slow_start_without_replicas_is_waited_out() -> None:
    net = CoreNet(sites({("a", "b"): 30.0}), seeds=("a-1",))
    net.boot_all(["a-1", "a-2", "a-3", "b-1", "b-2"])
    net.run(300 * MILLISECOND)  # attached perhaps, nothing decided yet
    done = ask(net, "b-2", 6 * SECOND)
    assert done.outcome == "ok"


def test_the_best_cached_replica_stays_dialled_while_it_is_used_now_and_then() -> None:
    """Connections are closed when idle for three minutes, and dialling costs two round trips more."""
    net = settled()
    node = plain(net)
    for _ in range(3):
        net.request(node)
        net.run_for(5 * SECOND)
    best = next(done.replica for done in reversed(net.outcomes(nodes=[node])) if done.via == "direct")
    net.log = []
    net.log_filter = lambda send: send.to == best and isinstance(send.message, Probe)
    asked = net.now
    net.run_for(600 * SECOND)
    times = [float(line.split("s ")[0][2:]) for line in net.log if f" {node} -> {best} Probe" in line]
    spoken = [asked / SECOND - 5, *times]
    assert max(later - earlier for earlier, later in itertools.pairwise(spoken)) <= 180
    assert 300 <= times[-1] - asked / SECOND + 180 <= 540, "who has not asked for five minutes may dial"
