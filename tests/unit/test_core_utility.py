"""What applications are worth, what a configuration may be expected to do, and who serves whom: by hand, and worst cases."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from opus_node.core.allocate import Allocation, allocate, greedy
from opus_node.core.cluster import Cluster
from opus_node.core.forecast import Forecast, Need, Unit
from opus_node.core.landscape import Landscape
from opus_node.core.messages import Candidate, Measured, Summary
from opus_node.core.needs import need_of, units_of
from opus_node.core.types import MILLISECOND, SECOND, AppConfig
from opus_node.core.utility import NOTHING, Felt, Points, Utility, at, envelope

MS = float(MILLISECOND)
S_SHAPE: Points = ((0.0, 0.0), (20.0, 0.0), (30.0, 1.0))
"""Of throughput: nothing below 20/s."""

# Functions


def test_between_points_a_line_and_flat_outside() -> None:
    points = ((10.0, 0.2), (20.0, 0.8))
    assert [at(points, x) for x in (-inf, 0.0, 10.0, 15.0, 20.0, 99.0, inf)] == pytest.approx([0.2, 0.2, 0.2, 0.5, 0.8, 0.8, 0.8])


def test_the_envelope_is_concave_and_touches() -> None:
    assert envelope(((0.0, 0.0), (1.0, 0.0), (2.0, 1.0), (3.0, 1.0))) == ((0.0, 0.0), (2.0, 1.0), (3.0, 1.0))
    assert envelope(((0.0, 0.0), (0.0, 1.0), (1.0, 1.0))) == ((0.0, 1.0), (1.0, 1.0))


def test_shares_are_multiplied_or_the_least_counts() -> None:
    product = Utility(10.0, latency=((100 * MS, 1.0), (200 * MS, 0.0)), availability=((0.0, 0.0), (1.0, 1.0)))
    felt = Felt(150 * MS, 0.8, 5.0)
    assert product.of(felt) == pytest.approx(4.0)
    assert replace(product, least=True).of(felt) == pytest.approx(5.0)
    assert product.of(NOTHING) == 0.0
    assert Utility(10.0).of(NOTHING) == 10.0, "what nobody minds does not matter"


def test_hope_begins_with_the_first_unit() -> None:
    steep = Utility(10.0, latency=((100 * MS, 1.0), (110 * MS, 0.0)), throughput=S_SHAPE)
    assert steep.of(Felt(150 * MS, 1.0, 10.0)) == 0.0
    assert steep.hopeful.of(Felt(150 * MS, 1.0, 10.0)) > 0.0
    assert steep.hopeful.of(Felt(50 * MS, 1.0, 30.0)) == steep.of(Felt(50 * MS, 1.0, 30.0)) == 10.0


# Forecasts

PLACES = {"a": [0.0, 50 * MS], "b": [50 * MS, 0.0], "far": [200 * MS, 200 * MS]}


def need(app: str = "web", utility: Utility | None = None, demand: tuple[float, ...] = (10.0, 10.0), **more: float) -> Need:
    settings = {"cost": 0.05, "e": 0.8, **more}
    utility = utility or Utility(throughput=S_SHAPE)
    return Need(app, utility, demand, PLACES, **settings)  # type: ignore[arg-type]


def felt(one: Need, *units: Unit) -> Felt:
    return Forecast(one, units).felt(range(len(units)))


def test_nobody_serves_nothing() -> None:
    assert felt(need()) == NOTHING
    assert felt(need(), Unit("a", 0.0)) == NOTHING, "no cores serve nobody"


def test_near_hosts_fill_up_before_far_ones() -> None:
    """One core at 50 ms a request, used to 0.8, answers 16/s."""
    one = need(utility=Utility(quantile=0.5))
    two = felt(one, Unit("a", 1.0), Unit("b", 1.0))
    assert two.availability == pytest.approx(1.0)
    assert two.throughput == pytest.approx(20.0)
    wait = 0.05 * 1e9 * (1 + 0.5 / (2 * 0.5))
    assert two.latency == pytest.approx(wait), "each place is served at home, in use by half"
    alone = felt(one, Unit("a", 1.0))
    assert alone.availability == pytest.approx(0.8)
    assert alone.throughput == pytest.approx(16.0)
    assert felt(need(utility=Utility(quantile=0.99)), Unit("a", 1.0)).latency > 50 * MS, "b's rest comes from afar"


def test_who_may_die_is_expected_to() -> None:
    assert felt(need(), Unit("a", 2.0, 0.9)).availability == pytest.approx(0.9)
    assert felt(need(), Unit("a", 2.0, 0.9), Unit("b", 2.0, 0.9)).availability == pytest.approx(0.99)


def test_without_cost_or_demand() -> None:
    assert felt(need(cost=0.0), Unit("a", 1.0)).availability == 1.0
    idle = felt(need(demand=(0.0, 0.0)), Unit("a", 1.0))
    assert idle == Felt(0.0, 1.0, 0.0)


# Who serves whom


def hosts(count: int, cores: float = 1.0) -> list[Unit]:
    return [Unit(f"h{i}", cores) for i in range(count)]


def wants(app: str, utility: Utility, rate: float, pool: list[Unit], floor: int = 0, moving: float = 0.0) -> Need:
    """Of one place, all hosts at the same distance; a host answers 16/s."""
    return Need(app, utility, (rate,), {one.name: (10 * MS,) for one in pool}, 0.05, 0.8, floor, moving=moving)


def held(found: Allocation) -> dict[str, int]:
    return {one.app: len(one.units) for one in found.accounts}


def test_the_first_host_of_a_bundle_gains_nothing_and_the_bundle_is_found() -> None:
    pool = hosts(4)
    needs = [wants("web", Utility(1.0, throughput=((0.0, 0.0), (40.0, 0.0), (60.0, 1.0))), 64.0, pool)]
    assert greedy(pool, needs).utility == 0.0
    assert allocate(pool, needs).utility == pytest.approx(1.0)


def test_priorities_emerge_when_capacity_is_short() -> None:
    pool = hosts(3)
    steps = Utility(1.0, throughput=((0.0, 0.0), (20.0, 0.0), (30.0, 1.0)))
    dear = Utility(5.0, throughput=steps.throughput)
    found = allocate(pool, [wants("cheap", steps, 32.0, pool), wants("dear", dear, 32.0, pool)])
    assert held(found) == {"cheap": 0, "dear": 2}, "a third host would gain nobody anything"


def test_everyone_wants_the_same_host() -> None:
    pool = [Unit("near", 1.0), *hosts(3)]
    near = {"near": (0.0,), **{one.name: (300 * MS,) for one in pool[1:]}}
    quick = ((50 * MS + 90 * MS, 1.0), (150 * MS, 0.0))
    needs = [
        Need(app, Utility(worth, latency=quick), (5.0,), near, 0.05, 0.8) for app, worth in (("a", 1.0), ("b", 3.0), ("c", 2.0))
    ]
    found = allocate(pool, needs)
    assert found.serves == {"near": "b"}
    (grant,) = found.grants
    assert grant.rival == "c"
    assert [grant.offer, grant.keeps] == pytest.approx([2.0, 3.0])


def test_flat_utility_wants_nothing_and_keeps_its_floor() -> None:
    pool = hosts(3)
    flat = Utility(2.0, availability=((0.0, 0.5), (1.0, 0.5)))
    found = allocate(pool, [wants("flat", flat, 10.0, pool, floor=1), wants("none", flat, 10.0, pool)])
    assert held(found) == {"flat": 1, "none": 0}
    assert found.utility == pytest.approx(2.0)


def test_no_capacity_serves_nobody() -> None:
    pool = hosts(3, cores=0.0)
    needs = [wants("web", Utility(throughput=S_SHAPE), 32.0, pool, floor=1)]
    assert allocate(pool, needs).serves == {}
    assert allocate([], needs, {"gone": "web"}).serves == {}
    assert allocate(hosts(2), []).serves == {}


def test_floors_come_first_and_are_shared_where_too_few_hosts_live() -> None:
    pool = hosts(3)
    greedy_one = Utility(100.0, throughput=((0.0, 0.0), (48.0, 1.0)))
    none = Utility(0.0, throughput=S_SHAPE)
    found = allocate(pool, [wants("rich", greedy_one, 60.0, pool), wants("poor", none, 0.0, pool, floor=1)])
    assert held(found) == {"poor": 1, "rich": 2}
    assert [one.promised for one in found.grants if one.app == "poor"] == [True]
    scarce = allocate(pool, [wants("a", none, 0.0, pool, floor=4), wants("b", none, 0.0, pool, floor=2)])
    assert held(scarce) == {"a": 2, "b": 1}


def test_a_small_gain_moves_nobody_and_a_great_one_does() -> None:
    pool = hosts(1)
    line: Points = ((0.0, 0.0), (16.0, 1.0))

    def asked(gain: float, moving: float) -> Allocation:
        needs = [
            wants("old", Utility(1.0, throughput=line), 16.0, pool, moving=moving),
            wants("new", Utility(1.0 + gain, throughput=line), 16.0, pool, moving=moving),
        ]
        return allocate(pool, needs, {"h0": "old"})

    assert asked(0.05, 0.1).serves == {"h0": "old"}
    assert asked(0.2, 0.1).serves == {"h0": "new"}
    assert asked(0.05, 0.0).serves == {"h0": "new"}


def test_what_brings_less_than_its_rent_is_let_go() -> None:
    pool = hosts(3)
    needs = [wants("web", Utility(1.0, throughput=((0.0, 0.0), (16.0, 1.0))), 16.0, pool)]
    everything = {one.name: "web" for one in pool}
    assert len(allocate(pool, needs, everything).serves) == 3
    found = allocate(pool, needs, everything, rent=0.01)
    assert len(found.serves) == 1
    assert sorted(one.before for one in found.grants) == ["web"] * 3, "what was let go is told as well"


def test_an_account_tells_the_inputs_of_its_decision() -> None:
    pool = hosts(2)
    found = allocate(pool, [wants("web", Utility(4.0, throughput=((0.0, 0.0), (32.0, 1.0))), 32.0, pool, moving=0.25)])
    (account,) = found.accounts
    assert (account.demand, account.units, account.before) == (32.0, ("h0", "h1"), ())
    assert [account.utility, account.utility_before] == pytest.approx([4.0, 0.0])
    assert account.felt.throughput == pytest.approx(32.0)
    assert found.moving == account.moving == 0.5
    assert found.whole


def test_effort_bounds_the_search_and_the_best_so_far_has_to_do() -> None:
    pool = [Unit(f"h{i}", 1.0, 0.9 + i / 1000) for i in range(12)]
    needs = [wants(f"a{k}", Utility(1.0 + k, throughput=((0.0, 0.0), (30.0, 0.0), (60.0, 1.0))), 64.0, pool) for k in range(5)]
    found = allocate(pool, needs, effort=50)
    assert not found.whole
    assert found.forecasts < 200
    assert allocate(pool, needs).whole


# From what stewards are told


def told(app: str, rates: dict[str, float]) -> dict[str, Cluster]:
    """Two agents 80 ms apart, each with two nodes 10 ms away from it that could serve."""
    found = {}
    for agent, other in (("a", "b"), ("b", "a")):
        minute = 60 * SECOND
        nodes = [Candidate(f"{agent}{i}", 10 * MILLISECOND, minute, 2.0, 10**8, 0, 4, ()) for i in (1, 2)]
        nodes.append(Candidate(agent, 0, minute, 2.0, 10**8, 0, 4, ()))
        found[agent] = Cluster(agent, Summary(app, 2, rates[agent], 1, tuple(nodes), (Measured(other, 80 * MILLISECOND),)))
    return found


def test_a_stewards_summaries_make_a_need() -> None:
    config = AppConfig("web", service_time=50 * MILLISECOND)
    clusters = told("web", {"a": 30.0, "b": 3.0})
    land = Landscape(config, clusters, (), ("b2",), 20 * MILLISECOND, lambda agent: {})
    units = units_of([land])
    assert sorted(one.name for one in units) == ["a1", "a2", "b1"], "agents serve only where nobody else could, who is barred not"
    assert units[0].cores == 2.0
    assert units[0].up == pytest.approx((150 / 155) ** 2), (
        "of two minutes and a half: its minute and what all are believed to have"
    )
    one = need_of(config, Utility(latency=((60 * MS, 1.0), (90 * MS, 0.0))), clusters, land, e=0.8, floor=1)
    assert (one.cost, one.floor, sorted(one.rtts)) == (0.05, 1, ["a1", "a2", "b1"])
    assert one.demand[0] > 3 * one.demand[1]
    near, far = one.rtts["a1"]
    assert 10 * MS <= near <= 20 * MS, "from the agent's nodes, itself one of them"
    assert far > 80 * MS
    assert all(unit.startswith("a") for unit in allocate(units, [one]).serves), "near most of what is asked for"


def test_where_nobody_asks_there_is_no_demand() -> None:
    config = AppConfig("web", service_time=50 * MILLISECOND)
    clusters = told("web", {"a": 0.0, "b": 0.0})
    land = Landscape(config, clusters, (), (), 20 * MILLISECOND, lambda agent: {})
    assert need_of(config, Utility(), clusters, land).demand == [0.0, 0.0]
