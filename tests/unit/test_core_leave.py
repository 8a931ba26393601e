"""A node that is asked to go: nobody finds out by silence, nobody's request suffers, somebody else serves at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from helpers.corenet import CoreNet, plain, six_regions
from opus_node.core.events import AgentLost, Attached, Leave, MemberChanged, Receive, ReplicaSetDecided, RoleChanged
from opus_node.core.messages import Ack, Appoint, Lease, LeaseReply, Ping, Promote, ReplicaSet
from opus_node.core.types import MILLISECOND, SECOND, NodeId

Way = Callable[[CoreNet, NodeId], None]
SETTLED = 40 * SECOND


def settled() -> CoreNet:
    net = six_regions()
    net.load(SETTLED, 20 * MILLISECOND)
    return net


def suspected(net: CoreNet, since: int) -> list[MemberChanged]:
    notices = [told.notice for told in net.told if told.at >= since]
    return [one for one in notices if isinstance(one, MemberChanged) and one.state in ("suspect", "dead")]


def replaced_after(net: CoreNet, gone: NodeId, since: int) -> int:
    """ns until a set without it was decided."""
    for told in net.told:
        if told.at >= since and isinstance(told.notice, ReplicaSetDecided) and gone not in told.notice.members:
            return told.at - since
    raise AssertionError(f"{gone} was never replaced")


def lose(net: CoreNet, victim: NodeId, way: Way) -> list[int]:
    """How long all requests of the others took from then on, ns; those that failed took their deadline."""
    since = net.now
    others = [node for node in net.live() if node != victim]
    way(net, victim)
    net.load(10 * SECOND, 10 * MILLISECOND, others)
    net.run_for(3 * SECOND)
    done = net.outcomes(since, others)
    assert len(done) >= 990
    return sorted(one.done_at - one.issued_at if one.outcome == "ok" else 2 * SECOND for one in done)


def leave(net: CoreNet, node: NodeId) -> None:
    net.leave(node)


def power_off(net: CoreNet, node: NodeId) -> None:
    net.power_off(node)


def test_a_replica_that_leaves_is_replaced_at_once_and_missed_by_nobody() -> None:
    found = {}
    for way in (leave, power_off):
        net = settled()
        victim = next(node for node in net.replicas() if node not in net.agents() and node not in net.stewards())
        since = net.now
        times = lose(net, victim, way)
        found[way] = (times, replaced_after(net, victim, since))
        assert victim not in net.replicas()
        assert len(net.replicas()) == 3
        assert not net.broken
        if way is leave:
            assert net.left[victim] - since < SECOND
            assert not suspected(net, since)
    (times, took), (silent_times, silent_took) = found[leave], found[power_off]
    assert took < 200 * MILLISECOND, "one way to its steward"
    assert silent_took >= 5 * took, "it is missed, and asked twice in vain"
    assert times[-1] < SECOND, "no request fails, none waits for a time-out"
    usual = 150 * MILLISECOND
    assert sum(time > usual for time in times) <= sum(time > usual for time in silent_times) / 4
    assert times[-1] <= silent_times[-1]
    assert sum(times) < sum(silent_times)


def test_an_agent_that_leaves_hands_its_nodes_over() -> None:
    net = settled()
    victim = next(node for node in net.agents() if net.snapshot(node).nodes and node not in net.stewards())
    nodes = [node for node in net.live() if net.snapshot(node).agent == victim and node != victim]
    since = net.now
    times = lose(net, victim, leave)
    told = [one for one in net.told if one.at >= since]
    assert not suspected(net, since)
    assert not [one for one in told if isinstance(one.notice, AgentLost)], "they moved and did not lose it"
    moved = {one.node: one.at for one in told if isinstance(one.notice, Attached)}
    assert set(nodes) <= set(moved)
    assert all(net.snapshot(node).agent not in ("", victim) for node in nodes)
    assert times[-1] < SECOND
    assert net.left[victim] - since < SECOND


def test_a_steward_that_leaves_is_followed_by_its_heir() -> None:
    """Whether or not it serves itself."""
    net = settled()
    steward = net.stewards()[0]
    since = net.now
    times = lose(net, steward, leave)
    took = next(
        t
        for t in net.told
        if t.at >= since and isinstance(t.notice, RoleChanged) and t.notice.role == "steward" and t.notice.active
    )
    assert took.at - since < 300 * MILLISECOND
    assert took.node != steward
    assert net.stewards() == [took.node]
    assert len(net.replicas()) == 3
    assert steward not in net.replicas()
    assert not suspected(net, since)
    assert times[-1] < SECOND
    assert not net.broken


def test_a_plain_node_goes_at_once_and_its_own_requests_are_answered_first() -> None:
    net = settled()
    node = plain(net)
    agent, since = net.snapshot(node).agent, net.now
    before = net.snapshot(agent).nodes
    net.request(node)
    net.leave(node)
    net.run_for(SECOND)
    assert [one.outcome for one in net.outcomes(since, [node])] == ["ok"]
    assert net.left[node] - since < 600 * MILLISECOND
    assert net.snapshot(agent).nodes == before - 1, "its lease need not run out"
    quick = plain(net)
    since = net.now
    net.leave(quick)
    assert net.left[quick] == since


def test_who_has_left_comes_back() -> None:
    net = settled()
    agent = next(node for node in net.agents() if node in net.seeds)
    net.leave(agent)
    net.run_for(5 * SECOND)
    net.boot(agent)
    since = net.now
    net.load(10 * SECOND, 20 * MILLISECOND)
    assert net.snapshot(agent).is_agent
    assert all(one.outcome == "ok" for one in net.outcomes(since) if one.done_at < net.now)
    views = [told.notice for told in net.told if told.at >= since and isinstance(told.notice, MemberChanged)]
    assert {one.state for one in views if one.member == agent} == {"alive"}


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_many_leave_at_once(share: float) -> None:
    """Replicas, agents and the steward among them: those that stay are served, and nobody waits longer than MOST."""
    net = settled()
    everyone = net.live()
    gone = {*everyone[:: round(1 / share)], *net.replicas()[:1], *net.stewards()}
    stay = [node for node in everyone if node not in gone]
    since = net.now
    net.leave(*sorted(gone))
    net.load(15 * SECOND, 20 * MILLISECOND, stay)
    net.run_for(3 * SECOND)
    assert set(net.left) == gone
    assert max(at - since for at in net.left.values()) <= 2 * SECOND
    done = net.outcomes(since, stay)
    assert sum(one.outcome == "ok" for one in done) >= 0.999 * len(done)
    assert len(net.replicas()) == 3
    assert not net.broken


def test_while_it_lingers_it_takes_up_nothing_new() -> None:
    """Whoever has not heard is told that it is none any more."""
    net = settled()
    agent = next(node for node in net.agents() if node not in net.stewards() and node not in net.replicas())
    core = net.cores[agent]
    core.step(Leave(), net.now)
    asker = plain(net)
    elected = ReplicaSet("web", 1 << 40, asker, (agent,))
    for message in (Appoint(elected), Promote((), (), ())):
        ready = core.step(Receive(asker, message), net.now)
        assert not [one for one in ready.notices if isinstance(one, RoleChanged)]
    (answer,) = [s.message for s in core.step(Receive(asker, Lease(7, 0, 0, 0, 1.0, 1, 1, 1, ())), net.now).sends]
    assert isinstance(answer, LeaseReply)
    assert not answer.accepted
    assert answer.agents
    (ack,) = [s.message for s in core.step(Receive(asker, Ping(3, (), ())), net.now).sends]
    assert isinstance(ack, Ack)
    assert [(one.member, one.state) for one in ack.updates] == [(agent, "left")]
