"""Hosts divided among applications by running stewards: who gets them, floors, crowds, cuts and what nobody wishes for."""

from __future__ import annotations

from random import Random

import pytest
from helpers.corenet import SIX, CoreNet, six_regions
from opus_node.core.division import EVERY, LEAST, Division, lately
from opus_node.core.events import HostsDivided, ReplicaSetDecided
from opus_node.core.landscape import Asked
from opus_node.core.messages import ReplicaSet
from opus_node.core.sets import claimed
from opus_node.core.types import MILLISECOND, SECOND, AppConfig, NodeConfig
from opus_node.core.utility import Points, Utility

MS = MILLISECOND
ALL: Points = ((0.5, 0.0), (0.99, 1.0))
"""Availability."""
EACH: Points = ((0.0, 0.0), (0.99, 1.0))
FLAT: Points = ((0.0, 1.0), (1.0, 1.0))


def app(
    name: str, worth: float, floor: int = 1, cost: int = 250 * MS, availability: Points = ALL, latency: Points = ()
) -> AppConfig:
    """A host of one core answers 1 / `cost` a second, and is used to 0.6 to 0.75 of that."""
    return AppConfig(
        name,
        floor,
        most=40,
        service_time=cost,
        queue=500 * MS,
        choice="latency-load",
        utility=Utility(worth, latency=latency, availability=availability),
        floor=floor,
    )


def network(*apps: AppConfig, per_site: int = 3, seed: str = "divided", **settings: int) -> CoreNet:
    return six_regions(config=NodeConfig(apps=apps, **settings), per_site=per_site, seed=seed)  # type: ignore[arg-type]


def load(net: CoreNet, span: int, rates: dict[str, float], sites: tuple[str, ...] = SIX) -> None:
    """Plays `span` with so many requests a second of each application, of clients in these sites."""
    rng, end, looked = Random(f"{net.seed}/{net.now}"), net.now + span, net.now
    due = {name: net.now + int(rng.random() * SECOND / rate) for name, rate in rates.items()}
    while due:
        name = min(due, key=lambda name: (due[name], name))
        if due[name] >= end:
            break
        net.run(due[name])
        clients = [node for node in net.live() if node.startswith(sites)]
        net.request(rng.choice(clients), app=name)
        due[name] += int(rng.expovariate(rates[name]) * SECOND)
        if net.now >= looked + LEAST // 4:
            looked = net.now
            alone_each(net)
    net.run(end)
    alone_each(net)


def alone_each(net: CoreNet) -> None:
    """No host serves two."""
    for node in net.live():
        assert len(net.snapshot(node).replica_of) <= 1, f"{node} at {net.now / SECOND} s"


def held(net: CoreNet, name: str) -> tuple[str, ...]:
    """The set that all agents have."""
    found = {one.members for node in net.agents() if (one := net.cores[node]._role.sets.get(name)) is not None}  # type: ignore[union-attr]
    assert len(found) == 1, found
    return found.pop()


def decisions(net: CoreNet, since: int = 0) -> list[tuple[int, ReplicaSetDecided]]:
    return [(told.at, told.notice) for told in net.told if isinstance(told.notice, ReplicaSetDecided) and told.at >= since]


def divisions(net: CoreNet, name: str) -> list[HostsDivided]:
    return [told.notice for told in net.told if isinstance(told.notice, HostsDivided) and told.notice.app == name]


# Who gets what


def test_where_hosts_are_short_who_is_worth_more_gets_them_and_the_other_keeps_its_floor() -> None:
    net = network(app("rich", 10.0, availability=EACH), app("poor", 1.0, floor=2, availability=EACH))
    net.run(8 * SECOND)
    load(net, 25 * SECOND, {"rich": 60.0, "poor": 40.0})
    rich, poor = held(net, "rich"), held(net, "poor")
    assert len(poor) == 2, "its floor, and no more: there are not hosts enough for one alone"
    assert len(rich) >= 9
    assert not set(rich) & set(poor)
    assert net.stewards("rich") == net.stewards("poor"), "one has both"


def test_each_division_is_told_with_its_inputs() -> None:
    net = network(app("rich", 10.0), app("poor", 1.0, floor=2))
    net.run(8 * SECOND)
    load(net, 15 * SECOND, {"rich": 15.0, "poor": 2.0})
    last = divisions(net, "rich")[-1]
    assert last.members
    assert 5.0 < last.demand < 40.0
    assert (last.cost, last.floor) == (0.25, 1)
    assert 0.6 <= last.e <= 0.75
    assert len(last.members) == len(last.keeps) == len(last.rivals) == len(last.offers)
    assert 0.0 < last.utility <= 10.0
    assert 0 < last.pool <= 18
    assert divisions(net, "rich")[0].cause == "first"
    for told in divisions(net, "poor"):
        assert len(told.members) >= told.floor
        assert told.promised == (len(told.members) == 2)


def test_a_crowd_in_one_region_has_hosts_within_ten_seconds_and_gives_them_back() -> None:
    net = network(app("shop", 10.0), app("wiki", 2.0, floor=2), per_site=4)
    net.run(8 * SECOND)
    usual = {"shop": 4.0, "wiki": 30.0}
    load(net, 30 * SECOND, usual)
    before = len(held(net, "shop"))
    began = net.now
    while net.now < began + 25 * SECOND:
        load(net, SECOND, usual)
        load_more = {"shop": 40.0}
        load(net, SECOND, load_more, sites=("br",))
    assert len(held(net, "shop")) >= before + 4
    first = next(at for at, one in decisions(net, began) if one.app == "shop" and len(one.members) > before)
    assert first - began <= 10 * SECOND
    assert len(held(net, "wiki")) >= 2
    load(net, 45 * SECOND, usual)
    assert len(held(net, "shop")) <= before + 2
    wiki = held(net, "wiki")
    assert not set(wiki) & set(held(net, "shop"))


def test_in_calm_nobody_moves() -> None:
    net = network(app("one", 3.0), app("two", 2.0))
    net.run(8 * SECOND)
    rates = {"one": 4.0, "two": 4.0}  # two hosts each, with room for what counts of so few requests are off by
    load(net, 40 * SECOND, rates)
    settled = net.now
    load(net, 40 * SECOND, rates)
    assert len(decisions(net, settled)) <= 4, decisions(net, settled)


def test_a_lost_host_is_replaced_out_of_the_pool_in_seconds() -> None:
    net = network(app("one", 3.0, floor=2), app("two", 2.0, floor=2))
    net.run(8 * SECOND)
    load(net, 15 * SECOND, {"one": 3.0, "two": 3.0})
    lost = held(net, "one")[0]
    net.power_off(lost)
    load(net, 6 * SECOND, {"one": 3.0, "two": 3.0})
    members = held(net, "one")
    assert lost not in members
    assert len(members) >= 2
    assert any(lost in one.cause for one in divisions(net, "one"))


@pytest.mark.parametrize("depth", [1, 3])
def test_one_divides_at_any_depth(depth: int) -> None:
    net = network(app("one", 3.0, floor=2), app("two", 2.0, floor=2), depth=depth, nodes_per_agent=4)
    net.run(10 * SECOND)
    load(net, 15 * SECOND, {"one": 6.0, "two": 3.0})
    one, two = held(net, "one"), held(net, "two")
    assert len(one) >= 3, "two hosts could not answer what is asked"
    assert len(two) >= 2
    assert not set(one) & set(two)
    assert net.stewards("one") == net.stewards("two")


# Several stewards


def apart(net: CoreNet, sites: tuple[str, ...]) -> list[str]:
    return [node for node in net.cores if node.startswith(sites)]


@pytest.mark.parametrize("seed", ["cut0", "cut1", "cut2"])
def test_two_that_divide_the_same_hosts_on_either_side_of_a_cut_end_in_one_division(seed: str) -> None:
    net = network(app("one", 5.0, floor=2), app("two", 4.0, floor=2), seed=seed)
    net.run(8 * SECOND)
    rates = {"one": 8.0, "two": 8.0}
    load(net, 15 * SECOND, rates)
    net.cut(apart(net, SIX[:3]))
    cut_at = net.now
    load(net, 25 * SECOND, rates)
    deciders = {told.node for told in net.told if isinstance(told.notice, HostsDivided) and told.at > cut_at}
    assert len(deciders) >= 2, "both sides decide"
    net.heal()
    load(net, 40 * SECOND, rates)
    one, two = held(net, "one"), held(net, "two")
    assert not set(one) & set(two)
    assert min(len(one), len(two)) >= 2
    assert net.stewards("one") == net.stewards("two")
    assert len(net.stewards("one")) == 1
    assert sorted(net.replicas("one")) == sorted(one)
    assert sorted(net.replicas("two")) == sorted(two)
    assert net.broken == []


def test_an_isolated_steward_takes_nothing_from_the_others_and_comes_back_in_peace() -> None:
    net = network(app("one", 5.0, floor=2), app("two", 4.0, floor=2))
    net.run(8 * SECOND)
    rates = {"one": 6.0, "two": 6.0}
    load(net, 15 * SECOND, rates)
    (steward,) = net.stewards("one")
    net.cut([steward])
    others = tuple(site for site in SIX if not steward.startswith(site))
    cut_at = net.now
    load(net, 25 * SECOND, rates, sites=others)
    late = net.outcomes(cut_at + 10 * SECOND, [node for node in net.cores if node.startswith(others)])
    assert sum(one.outcome == "ok" for one in late) >= 0.9 * len(late)
    net.heal()
    load(net, 40 * SECOND, rates)
    assert net.stewards("one") == net.stewards("two")
    assert not set(held(net, "one")) & set(held(net, "two"))


def test_the_same_host_claimed_by_two_sets_serves_the_one_decided_last() -> None:
    sets = [ReplicaSet("one", 3000, "s1", ("h", "x")), ReplicaSet("two", 4000, "s0", ("h", "y"))]
    assert claimed("h", sets) == claimed("h", sets[::-1]) == "two"
    assert claimed("x", sets) == "one"
    assert claimed("z", sets) == ""
    tie = [ReplicaSet("one", 3000, "s1", ("h",)), ReplicaSet("two", 3000, "s1", ("h",))]
    assert claimed("h", tie) == claimed("h", tie[::-1])


def test_a_host_in_two_sets_serves_one_and_takes_the_other_up_when_it_is_let_go() -> None:
    net = network(app("one", 5.0), app("two", 4.0))
    net.run(8 * SECOND)
    node = next(node for node in net.live() if not net.snapshot(node).replica_of and node not in net.agents())
    replica = net.cores[node]._replica
    replica.learn(ReplicaSet("one", 900_000, "s", (node,)))
    assert replica.active() == ("one",)
    replica.learn(ReplicaSet("two", 901_000, "s", (node,)))
    assert replica.active() == ("two",)
    replica.learn(ReplicaSet("one", 900_500, "s", (node,)))
    assert replica.active() == ("two",), "older than the other's"
    replica.learn(ReplicaSet("two", 902_000, "s", ("else",)))
    assert replica.active() == ("one",)


# What nobody wishes for


def test_all_want_the_same_host_and_one_gets_it() -> None:
    near: Points = ((60.0 * MS, 1.0), (90.0 * MS, 0.0))
    apps = [app(name, worth, cost=20 * MS, latency=near) for name, worth in (("a", 3.0), ("b", 2.0), ("c", 1.0))]
    net = network(*apps, per_site=2)
    net.run(8 * SECOND)
    load(net, 25 * SECOND, {"a": 3.0, "b": 3.0, "c": 3.0}, sites=("br",))
    sets = [held(net, name) for name in "abc"]
    assert len({node for members in sets for node in members}) == sum(map(len, sets))
    assert all(sets)
    assert any(node.startswith("br") for node in sets[0]), "whose worth is greatest is where all ask"


def test_what_is_worth_the_same_whatever_happens_holds_one_host_and_moves_none() -> None:
    net = network(app("flat", 5.0, availability=FLAT), app("other", 2.0, floor=2))
    net.run(8 * SECOND)
    load(net, 20 * SECOND, {"flat": 20.0, "other": 3.0})
    assert len(held(net, "flat")) == 1
    flat = [one for _, one in decisions(net, 8 * SECOND) if one.app == "flat"]
    assert len({one.members for one in flat}) <= 1


def test_with_one_host_one_application_is_served_and_the_others_as_soon_as_there_are_more() -> None:
    net = network(app("a", 2.0), app("b", 1.0), per_site=1)
    net.power_off(*[node for node in net.cores if node != "use-1"])
    net.run(12 * SECOND)
    assert len(net.snapshot("use-1").replica_of) == 1
    alone_each(net)
    net.boot_all([node for node in net.cores if node != "use-1"])
    load(net, 40 * SECOND, {"a": 1.0, "b": 1.0})
    assert held(net, "a")
    assert held(net, "b")
    assert not set(held(net, "a")) & set(held(net, "b"))


def test_all_candidates_lost_at_once_leaves_the_sets_as_they_were() -> None:
    """Capacity zero: silent members are better than none, and whoever comes back serves."""
    net = network(app("a", 2.0), app("b", 1.0), per_site=1)
    net.run(10 * SECOND)
    load(net, 5 * SECOND, {"a": 1.0, "b": 1.0})
    agents = net.agents()
    gone = [node for node in net.live() if node not in agents]
    net.power_off(*gone)
    net.run_for(20 * SECOND)
    assert all(held(net, name) for name in "ab")
    alone_each(net)
    net.boot_all(gone)
    load(net, 45 * SECOND, {"a": 1.0, "b": 1.0})
    assert sorted(net.replicas("a")) == sorted(held(net, "a"))
    assert sorted(net.replicas("b")) == sorted(held(net, "b"))


def test_who_says_nothing_of_worth_is_placed_as_ever() -> None:
    plain = AppConfig("plain", 3)
    alone = network(plain)
    beside = network(plain, app("rich", 5.0))
    for net in (alone, beside):
        net.run(20 * SECOND)
    assert len(held(beside, "plain")) == 3
    assert [one.app for told in beside.told if isinstance(one := told.notice, HostsDivided)].count("plain") == 0
    assert held(alone, "plain") == held(beside, "plain")


# When it is time


def test_it_is_due_every_few_seconds_and_at_once_in_a_hurry_but_never_twice_in_a_second() -> None:
    division = Division()
    assert division.due(0)
    assert division.free(0)
    division.decide([], 0)
    assert not division.free(LEAST - 1)
    assert not division.due(EVERY - 1)
    assert division.due(EVERY)
    division.hurry()
    assert division.due(1)
    assert not division.looks(1)
    assert division.looks(LEAST)
    assert not division.looks(LEAST + 1)


def test_what_is_asked_lately_is_believed_up_to_half_more_than_is_told() -> None:
    assert lately(None, {}) is None
    found = lately(Asked({"a": 10.0, "b": 2.0, "c": 1.0}, 5.0), {"a": 4.0, "b": 4.0})
    assert found is not None
    assert dict(found.rates) == {"a": 6.0, "b": 2.0, "c": 0.0}
