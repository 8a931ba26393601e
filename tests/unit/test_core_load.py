"""Load: answering takes time, replicas tell how busy they are, turn away what they have no room for, and demand spreads."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from helpers.corenet import APP, CoreNet, ask, plain, sites, six_regions
from opus_node.core.choice import CHOICES, Option, capacity, choice_of, latency, latency_load, pick
from opus_node.core.load import BUCKET, FULL, TARGET, TOLL_MOST, Heard, Meter
from opus_node.core.messages import BUSY, Load, RouteRefuse
from opus_node.core.types import MILLISECOND, SECOND, AppConfig, NodeConfig

SERVICE = 20 * MILLISECOND
"""Fifty requests a second and host."""


def app(choice: str = "latency", **more: object) -> AppConfig:
    return AppConfig(APP, 3, service_time=SERVICE, choice=choice, **more)  # type: ignore[arg-type]


def settled(config: AppConfig) -> CoreNet:
    net = six_regions(config=NodeConfig(apps=(config,)))
    net.run(40 * SECOND)
    return net


def crowd(net: CoreNet, site: str, rate: int, seconds: int) -> Counter[str]:
    """`rate` requests/s from all the nodes of one site that do not serve; how they ended."""
    nodes = [node for node in net.live() if node.startswith(site) and node not in net.replicas()]
    since = net.now
    net.load(seconds * SECOND, SECOND // rate, nodes)
    net.run_for(3 * SECOND)
    assert net.unanswered() == []
    assert net.broken == []
    return Counter(done.outcome for done in net.outcomes(since))


# The emulated processor


def test_answering_takes_the_service_time() -> None:
    net = settled(app())
    done = ask(net, plain(net, "jp"))
    assert done.done_at - done.arrived_at == SERVICE + net.delay(done.replica, plain(net, "jp"))
    own = ask(net, net.replicas()[0])
    assert (own.via, own.hops, own.done_at - own.issued_at) == ("self", 0, SERVICE)


def test_who_comes_at_once_waits_in_line_and_beyond_the_limit_goes_elsewhere() -> None:
    net = settled(app(queue=3 * SERVICE))
    replica = net.replicas()[0]
    since = net.now
    for _ in range(7):
        net.request(replica)
    net.run_for(SECOND)
    done = net.outcomes(since)
    took = sorted(one.done_at - one.issued_at for one in done if one.replica == replica)
    assert took == [SERVICE * n for n in (1, 2, 3, 4)], "one at work, three in line"
    assert all(one.outcome == "ok" for one in done)
    assert {one.replica for one in done} > {replica}
    assert net.snapshot(replica).requests_shed >= 3


def test_a_refusal_names_another_replica_and_tells_the_load() -> None:
    net = settled(app(queue=0))
    node = plain(net)
    net.log = []
    net.log_filter = lambda send: isinstance(send.message, RouteRefuse) and send.message.reason == BUSY
    crowd(net, node.split("-")[0], 120, 2)
    refusals = [line for line in net.log if "RouteRefuse" in line]
    by_replicas = [line for line in refusals if " load=" in line]
    assert all("alternative=" in line for line in by_replicas), [line for line in by_replicas if "alternative=" not in line]
    assert by_replicas
    assert sum(net.snapshot(one).requests_shed for one in net.live()) == len(refusals), "each is counted where it was made"


# An overload


@pytest.mark.parametrize("choice", CHOICES)
def test_a_crowd_at_one_place_is_served_by_all_replicas(choice: str) -> None:
    """Twice what the nearest can do, 0.67 of what all three can."""
    net = settled(app(choice))
    assert crowd(net, "jp", 100, 20)["ok"] == 2000


def test_farther_replicas_take_over_before_near_ones_turn_away() -> None:
    shed, late = {}, {}
    for choice in ("latency", "latency-load"):
        net = settled(app(choice))
        crowd(net, "jp", 60, 20)
        shed[choice] = sum(net.snapshot(node).requests_shed for node in net.live())
        late[choice] = sorted(done.done_at - done.issued_at for done in net.done())[int(0.5 * len(net.done()))]
    assert shed["latency-load"] < 0.5 * shed["latency"]
    assert late["latency-load"] < late["latency"]


def test_more_than_everyone_can_do_is_refused_quickly_and_the_rest_is_served() -> None:
    net = settled(app("latency-load"))
    outcomes = crowd(net, "jp", 300, 10)
    assert outcomes["refused"] + outcomes["ok"] >= 0.97 * outcomes.total()
    assert outcomes["ok"] >= 0.8 * 10 * 150, "goodput holds while twice as much is asked for"
    calm = net.now
    net.run_for(10 * SECOND)
    assert ask(net, plain(net, "jp")).outcome == "ok"
    assert net.now > calm


def test_hedges_go_to_another_replica_and_keep_within_their_budget() -> None:
    net = settled(app(hedge=10 * MILLISECOND))
    node = plain(net, "jp")
    done = [ask(net, node) for _ in range(60)]
    assert all(one.outcome == "ok" for one in done)
    hedged = sum(one.attempts == 2 for one in done)
    assert 5 <= hedged <= 10 + 6 + 1, "every request would be hedged: the burst and a tenth are"
    assert net.broken == []


# What is told and remembered


def test_a_toll_rises_while_too_much_is_asked_and_falls_when_it_is_not() -> None:
    meter = Meter(0)
    now, tolls = 0, []
    for share in (1.5, 0.2):
        for _ in range(12):
            for _ in range(10):
                meter.add(int(share * BUCKET / 10), now)
                now += BUCKET // 10
        tolls.append(meter.toll)
        assert meter.used(now) == pytest.approx(share, rel=0.05)
    assert 0 < tolls[1] < tolls[0] <= TOLL_MOST
    meter.add(0, now + 60 * SECOND)
    assert meter.toll == 0


def test_at_the_target_the_toll_stays() -> None:
    meter = Meter(0)
    meter.toll = 50 * MILLISECOND
    for step in range(400):
        meter.add(int(TARGET * BUCKET / 10), step * BUCKET // 10)
        if step == 200:
            settled_at = meter.toll
    assert abs(meter.toll - settled_at) <= 3 * MILLISECOND


def test_what_was_heard_fades_and_who_turned_away_is_asked_again() -> None:
    heard = Heard()
    heard = heard.told((Load(90, 64 * MILLISECOND, 100),), 0)
    assert heard.option("a", 7, SECOND, 2 * SECOND) == Option("a", 7, 90, 64 * MILLISECOND, 100)
    assert heard.option("a", 7, 3 * SECOND, 2 * SECOND) == Option("a", 7, 45, 32 * MILLISECOND, -1)
    assert heard.option("a", 7, 100 * SECOND, 2 * SECOND) == Option("a", 7)
    heard = heard.told((), 3 * SECOND)
    assert heard.option("a", 7, 3 * SECOND, 2 * SECOND).used == 45
    heard = heard.turned_away(0)
    assert heard.full(FULL - 1)
    assert not heard.full(FULL)


# Choices


def test_by_latency_the_nearest() -> None:
    assert latency((Option("a", 30), Option("b", 10, toll=SECOND), Option("c", 20)), Random(1)) == 1


def test_by_latency_and_load_the_way_with_its_toll_counts_and_of_equals_the_idle_one() -> None:
    far = (Option("a", 100), Option("b", 10, 95, 200), Option("c", 60, 10, 0))
    assert latency_load(far, Random(1)) == 2
    equals = (Option("a", 100, 80), Option("b", 101, 20), Option("c", 1000))
    assert latency_load(equals, Random(1)) == 1
    drawn = Counter(latency_load([Option(name, 100, 10) for name in "abcd"], Random(seed)) for seed in range(400))
    assert set(drawn) == {0, 1, 2}, "of two alike the first by name"


def test_by_capacity_in_proportion_to_what_is_free() -> None:
    options = (Option("a", 10, spare=100), Option("b", 500, spare=300), Option("c", 20, spare=0))
    rng = Random(7)
    drawn = Counter(capacity(options, rng) for _ in range(4000))
    assert drawn[1] / drawn[0] == pytest.approx(3, rel=0.2)
    assert drawn[2] < 60
    unheard = Counter(capacity([Option("a", 1), Option("b", 2)], rng) for _ in range(1000))
    assert unheard[0] == pytest.approx(500, rel=0.15)


def test_a_function_of_ones_own_chooses_and_an_impossible_answer_means_the_nearest() -> None:
    asked: list[int] = []

    def farthest(options: object, rng: Random) -> int:
        asked.append(len(options))  # type: ignore[arg-type]
        return max(range(len(options)), key=lambda i: options[i].rtt)  # type: ignore[arg-type, index]

    net = settled(AppConfig(APP, 3, choose=farthest))
    node = plain(net, "jp")
    done = [ask(net, node) for _ in range(4)][-1]
    assert net.delay(node, done.replica) == max(net.delay(node, replica) for replica in net.replicas())
    assert asked
    assert pick(lambda options, rng: 99, (Option("a", 2), Option("b", 1)), Random(1)).node == "b"
    assert choice_of(AppConfig(APP)) is latency


def test_an_agent_sheds_when_every_replica_has_just_done_so() -> None:
    net = settled(app(queue=0))
    agent = next(agent for agent in net.agents() if agent not in net.replicas())
    role = net.cores[agent]._role
    assert role is not None
    for target in role.relay.targets[APP].values():
        target.load = target.load.turned_away(net.now)
    node = next(node for node in net.live() if net.snapshot(node).agent == agent and node not in (agent, *net.replicas()))
    net.cores[node]._client.caches = {}
    net.request(node)
    net.run_for(2 * SECOND)
    assert role.relay.shed == 1
    assert net.outcomes(net.now - 2 * SECOND, [node])[0].outcome == "ok", "the next agent knew of room"


def test_without_a_service_time_nothing_is_told() -> None:
    net = CoreNet(sites({("a", "b"): 20.0}))
    net.seeds = ("a-1",)
    net.boot_all(["a-1", "a-2", "b-1", "b-2", "b-3"])
    net.run(10 * SECOND)
    net.log = []
    ask(net, "b-1")
    assert net.log
    assert not any(" load=" in line for line in net.log)
