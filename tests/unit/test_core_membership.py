"""SWIM among agents: failures found, refuted, gossiped; halves that meet again; agents that leave or come back."""

from __future__ import annotations

from random import Random

from helpers.corenet import Chance, CoreNet, sites
from opus_node.core.events import Boot, MemberChanged, Receive, Wake
from opus_node.core.messages import Ack, MemberUpdate, Ping, Sync
from opus_node.core.node import NodeCore
from opus_node.core.types import MILLISECOND, SECOND, NodeConfig

CONFIG = NodeConfig()


def agents_net(count: int, chance: Chance | None = None, seed: str = "swim") -> CoreNet:
    """All seeds, so all agents, in two sites."""
    net = CoreNet(sites({("a", "b"): 80.0}), config=CONFIG, seed=seed, chance=chance or Chance())
    names = [f"{'ab'[number % 2]}-{number}" for number in range(count)]
    net.seeds = tuple(names)
    for name in names:
        net.cores[name] = NodeCore(name, CONFIG, Random(0))
    net.boot_all(names)
    return net


def view(net: CoreNet, node: str) -> dict[str, str]:
    """member -> state as `node` sees it."""
    role = net.cores[node]._role
    assert role is not None
    return {member.node: member.state for member in role.peers.members.values()}


def changes(net: CoreNet, member: str, state: str) -> list[tuple[int, str]]:
    return [
        (told.at, told.node)
        for told in net.told
        if isinstance(told.notice, MemberChanged) and (told.notice.member, told.notice.state) == (member, state)
    ]


def test_in_calm_nobody_is_ever_suspected() -> None:
    net = agents_net(8)
    net.run(120 * SECOND)
    assert [told for told in net.told if isinstance(told.notice, MemberChanged) and told.notice.state != "alive"] == []


def test_a_dead_agent_is_known_dead_by_all_within_seconds() -> None:
    net = agents_net(8)
    net.run(10 * SECOND)
    net.power_off("b-3")
    net.run(20 * SECOND)
    for node in net.live():
        assert view(net, node)["b-3"] == "dead", node
    first = min(at for at, _ in changes(net, "b-3", "dead"))
    assert 10 * SECOND + 2 * SECOND <= first <= 10 * SECOND + 7 * SECOND
    assert all(state == "alive" for node in net.live() for member, state in view(net, node).items() if member != "b-3")


def test_a_suspicion_is_shorter_with_confirmations() -> None:
    times = []
    for count in (2, 12):
        net = agents_net(count)
        net.run(10 * SECOND)
        net.power_off("b-1")
        net.run(30 * SECOND)
        suspected = min(at for at, _ in changes(net, "b-1", "suspect"))
        times.append(min(at for at, _ in changes(net, "b-1", "dead")) - suspected)
    assert times[1] < times[0]
    assert times[0] <= CONFIG.suspicion_periods * CONFIG.probe_interval


def test_lossy_paths_kill_nobody() -> None:
    net = agents_net(10, chance=Chance(loss=0.05, duplicate=0.02, jitter=20 * MILLISECOND))
    net.run(180 * SECOND)
    assert [told for told in net.told if isinstance(told.notice, MemberChanged) and told.notice.state == "dead"] == []


def test_one_bad_path_between_two_agents_kills_neither() -> None:
    """Others probe on their behalf, and the suspected refutes."""
    net = agents_net(6)
    net.run(10 * SECOND)
    net.cut(["a-0"], ["b-1"])
    net.run(90 * SECOND)
    assert changes(net, "a-0", "dead") == []
    assert changes(net, "b-1", "dead") == []


def test_halves_find_each_other_within_three_seconds_of_the_heal() -> None:
    net = agents_net(10)
    net.run(10 * SECOND)
    half = [node for node in net.cores if node.startswith("a-")]
    net.cut(half)
    net.run(60 * SECOND)
    for node in net.live():
        assert all((state == "alive") == (member[0] == node[0]) for member, state in view(net, node).items()), node
    net.heal()
    net.run(63 * SECOND)
    for node in net.live():
        assert any(member[0] != node[0] and state == "alive" for member, state in view(net, node).items()), node
    net.run(75 * SECOND)
    for node in net.live():
        assert set(view(net, node).values()) == {"alive"}, node


def test_incarnations_only_grow() -> None:
    net = agents_net(6, chance=Chance(loss=0.1, jitter=50 * MILLISECOND))
    net.run(60 * SECOND)
    seen: dict[tuple[str, str], int] = {}
    for told in net.told:
        if isinstance(told.notice, MemberChanged):
            key = (told.node, told.notice.member)
            assert told.notice.incarnation >= seen.get(key, 0)
            seen[key] = told.notice.incarnation
    assert seen


def test_a_restarted_agent_is_taken_for_its_new_self() -> None:
    net = agents_net(5)
    net.run(10 * SECOND)
    net.power_off("b-1")
    net.run(25 * SECOND)
    net.boot("b-1")
    net.run(28 * SECOND)
    for node in net.live():
        assert set(view(net, node).values()) == {"alive"}, node


def test_a_lie_about_oneself_is_refuted_at_once() -> None:
    core = NodeCore("a", CONFIG, Random(1))
    core.step(Boot(("a", "b")), 0)
    ready = core.step(Receive("b", Ping(1, (MemberUpdate("a", "dead", 41, ""),), ())), SECOND)
    acks = [send.message for send in ready.sends if isinstance(send.message, Ack)]
    told = [update for update in acks[0].updates if update.member == "a"]
    assert [(update.state, update.incarnation) for update in told] == [("alive", 42)]


def test_gossip_in_one_message_is_bounded_and_so_is_its_repetition() -> None:
    core = NodeCore("a", CONFIG, Random(1))
    core.step(Boot(("a", "b")), 0)
    members = tuple(MemberUpdate(f"m{number}", "alive", 1, "") for number in range(40))
    core.step(Receive("b", Sync(False, members, ())), MILLISECOND)
    told: dict[str, int] = {}
    for number in range(400):
        ready = core.step(Receive("b", Ping(number, (), ())), 2 * MILLISECOND)
        for send in ready.sends:
            if isinstance(send.message, Ack):
                assert len(send.message.updates) <= 7
                for update in send.message.updates:
                    told[update.member] = told.get(update.member, 0) + 1
    assert set(told) >= {update.member for update in members}
    assert max(told.values()) <= 3 * 6


def test_a_host_that_restarts_as_a_plain_node_is_no_agent_to_others_any_more() -> None:
    net = CoreNet(sites({("a", "b"): 80.0}), seeds=("a-1",))
    net.boot_all(["a-1", "b-1", "b-2", "b-3"])
    net.run(10 * SECOND)
    promoted = next(agent for agent in net.agents() if agent != "a-1")
    net.power_off(promoted)
    net.run_for(200 * MILLISECOND)
    net.boot(promoted)
    net.run_for(4 * SECOND)
    if not net.snapshot(promoted).is_agent:  # else it was promoted again, with reason
        assert view(net, "a-1")[promoted] == "left"


def test_an_agent_that_stood_still_accuses_nobody_when_it_wakes() -> None:
    """SIGSTOP for ten seconds: all its time-outs are overdue at once, and none of that is the others' fault."""
    net = agents_net(5)
    net.run(20 * SECOND)
    core = net.cores["a-0"]
    before = len(net.told)
    late = core.step(Wake(), 30 * SECOND)
    assert [notice for notice in late.notices if isinstance(notice, MemberChanged)] == []
    assert len(net.told) == before
