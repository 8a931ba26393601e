"""Join, attachment and leases, as a node feels them."""

from __future__ import annotations

import itertools
from random import Random

import pytest
from helpers.corenet import APP, SIX, CoreNet, sites, six_regions
from opus_node.core.events import AgentLost, Attached, Boot, Event, Ready, Receive, RoleChanged, Wake
from opus_node.core.messages import AgentHint, AgentsKnown, FindAgents, Lease, Message, Probe, ProbeReply, Release
from opus_node.core.node import NodeCore
from opus_node.core.types import MILLISECOND, SECOND, AppConfig, NodeConfig

NO_PROMOTION = NodeConfig(apps=(AppConfig(APP, 3),), near_enough=10 * SECOND, nodes_per_agent=1000)


def test_a_seed_is_an_agent_at_once_and_attached_to_itself() -> None:
    net = six_regions(per_site=1)
    assert net.agents() == ["use-1", "usw-1", "eu-1"]
    assert net.snapshot("eu-1").agent == "eu-1"


def test_every_node_attaches_to_the_nearest_agent_by_measured_round_trip() -> None:
    net = six_regions(config=NO_PROMOTION)
    net.run(5 * SECOND)
    agents = net.agents()
    assert agents == ["use-1", "usw-1", "eu-1"]
    for node in net.live():
        nearest = min(net.delay(node, agent) if agent != node else 0 for agent in agents)
        chosen = net.snapshot(node).agent
        assert (net.delay(node, chosen) if chosen != node else 0) == nearest, node


def test_a_join_touches_a_small_constant_number_of_hosts() -> None:
    net = six_regions(config=NO_PROMOTION, per_site=20)
    net.run(4 * SECOND)
    touched: set[str] = set()
    send = net._send

    def count(source: str, one: object) -> None:
        if source == "jp-x":
            touched.add(one.to)  # type: ignore[attr-defined]
        send(source, one)  # type: ignore[arg-type]

    net._send = count  # type: ignore[method-assign,assignment]
    net.boot("jp-x")
    net.run(10 * SECOND)
    assert net.snapshot("jp-x").agent == "usw-1"
    assert 1 <= len(touched) <= 7, "seeds, agents, and the first of its neighbours"


def test_a_node_without_an_answering_seed_keeps_trying_and_attaches_when_one_appears() -> None:
    net = CoreNet(sites({("a", "b"): 40.0}), seeds=("a-1",))
    net.boot("b-1")
    net.run(30 * SECOND)
    assert net.snapshot("b-1").agent == ""
    net.boot("a-1")
    net.run(37 * SECOND)
    assert net.snapshot("b-1").agent == "a-1"


def test_seeds_are_asked_with_growing_pauses() -> None:
    core = NodeCore("n", NodeConfig(), Random(1))
    ready = core.step(Boot(("s1", "s2")), 0)
    asked = [0]
    while ready.wake_at is not None and ready.wake_at < 60 * SECOND:
        at = ready.wake_at
        ready = core.step(Wake(), at)
        asked += [at for send in ready.sends if isinstance(send.message, FindAgents)]
    pauses = [later - earlier for earlier, later in itertools.pairwise(asked) if later > earlier]
    assert len(asked) > 5
    assert max(pauses) >= 3 * min(pauses)
    assert max(pauses) <= 15 * SECOND


def test_of_an_agent_that_a_probe_shows_full_nobody_asks_a_lease() -> None:
    config = NodeConfig()
    core = NodeCore("n", config, Random(1))
    room = {"full": config.nodes_per_agent - config.nodes_most, "crowded": config.nodes_per_agent - config.nodes_most + 1}
    delay = {"full": 2 * MILLISECOND, "crowded": 90 * MILLISECOND}
    due: list[tuple[int, str, Message]] = []
    leases: list[str] = []

    def act(ready: Ready, now: int) -> None:
        for send in ready.sends:
            match send.message:
                case FindAgents(nonce=nonce):
                    due.append((now + delay[send.to], send.to, AgentsKnown(nonce, tuple(AgentHint(one, 0) for one in delay))))
                case Probe(nonce=nonce):
                    due.append((now + delay[send.to], send.to, ProbeReply(nonce, True, room[send.to])))
                case Lease():
                    leases.append(send.to)

    now, ready = 0, core.step(Boot(("full",)), 0)
    while not leases:
        act(ready, now)
        due.sort(key=lambda one: one[0])
        wake = ready.wake_at
        if due and (wake is None or due[0][0] <= wake):
            now, source, message = due.pop(0)
            ready = core.step(Receive(source, message), now)
        else:
            assert wake is not None
            now = wake
            ready = core.step(Wake(), now)
        assert now < 5 * SECOND
    assert leases == ["crowded"]


def test_a_silent_agent_is_left_for_a_backup_within_seconds_of_the_next_lease() -> None:
    net = six_regions(config=NO_PROMOTION)
    net.run(10 * SECOND)
    orphans = [node for node in net.live() if net.snapshot(node).agent == "eu-1" and node != "eu-1"]
    assert orphans
    net.power_off("eu-1")
    net.run(10 * SECOND + NO_PROMOTION.lease_interval * 12 // 10 + 2 * SECOND)
    assert all(net.snapshot(node).agent in ("use-1", "usw-1") for node in orphans)
    lost = [told for told in net.told if isinstance(told.notice, AgentLost)]
    assert {told.node for told in lost} == set(orphans)


def test_one_unanswered_lease_does_not_move_a_node_whose_agent_answers_a_probe() -> None:
    net = six_regions(config=NO_PROMOTION)
    net.run(10 * SECOND)
    net.log = []
    net.log_filter = lambda send: isinstance(send.message, Lease)
    net.cut(["eu-2"], ["eu-1"])
    for _ in range(1000):
        if any("eu-2 -> eu-1" in line for line in net.log):
            break
        net.run_for(10 * MILLISECOND)
    else:
        raise AssertionError("no lease within ten seconds")
    net.heal()
    net.run_for(5 * SECOND)
    assert net.snapshot("eu-2").agent == "eu-1"
    assert not [told for told in net.told if isinstance(told.notice, AgentLost)]


def test_a_nearer_agent_that_appears_is_moved_to_and_the_old_one_released() -> None:
    net = six_regions()
    net.log = []
    net.log_filter = lambda send: isinstance(send.message, Release)
    net.run(10 * SECOND)
    moves = [told for told in net.told if isinstance(told.notice, Attached) and told.node == "jp-1"]
    if net.snapshot("jp-1").is_agent:  # chance made it the agent of its region
        moves = [told for told in net.told if isinstance(told.notice, Attached) and told.node == "jp-2"]
    assert moves[0].notice.agent in net.seeds  # type: ignore[union-attr]
    assert moves[-1].notice.agent.startswith("jp-")  # type: ignore[union-attr]
    released = [tuple(line.split()[1:4:2]) for line in net.log if "Release" in line]
    assert (moves[-1].node, moves[0].notice.agent) in released  # type: ignore[union-attr]


def test_every_region_gets_its_own_agent_within_ten_seconds() -> None:
    for seed in range(5):
        net = six_regions(seed=f"regions{seed}")
        net.run(10 * SECOND)
        for site in SIX:
            homes = {net.snapshot(f"{site}-{number}").agent.rsplit("-", 1)[0] for number in range(1, 6)}
            assert homes == {site}, f"seed {seed}, {site}: {homes}"
        assert len(net.agents()) <= 8


def test_a_crowd_where_nobody_is_nearer_is_shared_by_one_agent_per_so_many_nodes() -> None:
    config = NodeConfig(apps=(AppConfig(APP, 3),), nodes_per_agent=8)
    net = CoreNet(sites({}), config=config, seeds=("a-1",))
    names = [f"a-{number}" for number in range(1, 61)]
    net.boot_all(names)
    net.run(10 * SECOND)
    assert max(net.snapshot(agent).nodes for agent in net.agents()) <= 2 * 8, "soon no agent has more than twice its share"
    net.run(150 * SECOND)
    agents = net.agents()
    assert 7 <= len(agents) <= 9
    assert max(net.snapshot(agent).nodes for agent in agents) <= 8 + 2
    assert all(net.snapshot(node).agent in agents for node in net.live())


def test_once_agents_are_enough_they_come_and_go_ever_more_rarely() -> None:
    net = CoreNet(sites({}), config=NodeConfig(apps=(AppConfig(APP, 3),), nodes_per_agent=4), seeds=("a-1",))
    net.boot_all([f"a-{number}" for number in range(1, 41)])
    net.run(120 * SECOND)
    early = [told for told in net.told if isinstance(told.notice, RoleChanged) and told.notice.role == "agent"]
    net.run(600 * SECOND)
    late = [
        told
        for told in net.told
        if isinstance(told.notice, RoleChanged) and told.notice.role == "agent" and told.at > 400 * SECOND
    ]
    assert len(early) >= 9
    assert len(late) <= 4


def test_an_idle_agent_with_a_near_one_steps_down_and_its_node_finds_the_other() -> None:
    net = CoreNet(sites({("a", "b"): 60.0}), seeds=("a-1",), config=NodeConfig(apps=(AppConfig(APP, 2),), nodes_per_agent=5))
    names = [f"a-{number}" for number in range(1, 16)] + [f"b-{number}" for number in range(1, 5)]
    net.boot_all(names)
    net.run(20 * SECOND)
    crowd = net.agents()
    assert len(crowd) > 3
    keep = [agent for agent in crowd if agent.startswith("b-") or agent == "a-1"]
    others = [name for name in names if name.startswith("a-") and name not in crowd]
    net.power_off(*others)  # hardly anybody is left to serve
    net.run(200 * SECOND)
    left = net.agents()
    assert len(left) < len(crowd)
    assert set(keep) <= set(left) | {agent for agent in crowd if agent.startswith("b-")}
    assert "a-1" in left, "a seed never steps down"
    for node in net.live():
        assert net.snapshot(node).agent in left
    settled = list(left)
    net.run(300 * SECOND)
    assert net.agents() == settled, "no flapping"


def test_a_lease_costs_a_resting_node_no_more_than_three_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    net = six_regions(config=NO_PROMOTION)
    net.run(180 * SECOND)
    steps: list[Event] = []
    resting = net.cores[next(node for node in net.live() if node not in net.replicas() + net.agents())]
    step = NodeCore.step

    def counted(core: NodeCore, event: Event, now: int) -> Ready:
        if core is resting:
            steps.append(event)
        return step(core, event, now)

    monkeypatch.setattr(NodeCore, "step", counted)
    net.run(240 * SECOND)
    leases = 60 / 5
    assert len(steps) > leases
    assert len(steps) <= 3 * leases + 4, [type(one).__name__ for one in steps]


def test_a_probe_is_answered_by_everybody_at_once() -> None:
    net = six_regions(per_site=2)
    net.run(5 * SECOND)
    for node in ("use-1", "use-2"):
        ready = net.cores[node].step(Receive("eu-2", Probe(7)), net.now)
        assert [send.to for send in ready.sends] == ["eu-2"]
        assert ready.sends[0].message.nonce == 7  # type: ignore[union-attr]
        assert ready.sends[0].message.is_agent is (node == "use-1")  # type: ignore[union-attr]


def test_a_plain_node_stays_within_its_bound_of_entries() -> None:
    net = six_regions(per_site=20, config=NodeConfig(apps=(AppConfig(APP, 5),), nodes_per_agent=5))
    net.run(20 * SECOND)
    net.load(40 * SECOND, 20 * MILLISECOND)
    assert len(net.agents()) > 20, "more agents than a node may remember"
    assert len(net.done()) > 1500
    for node in net.live():
        snapshot = net.snapshot(node)
        if not snapshot.is_agent:
            assert snapshot.entries <= 16 + 3, f"{node}: {snapshot.entries}"
            assert snapshot.state_bytes <= 1024
