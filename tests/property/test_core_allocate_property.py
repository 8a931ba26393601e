"""Whatever the pool and the applications: floors kept, never worse than before, one answer whatever the order, one owner each."""

from __future__ import annotations

from itertools import accumulate, product
from random import Random

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from opus_node.core.allocate import allocate, greedy
from opus_node.core.forecast import Need, Unit
from opus_node.core.utility import Points, Utility

MS = 1e6
PLACES = 3


@st.composite
def courses(draw: st.DrawFn, most: float, falling: bool) -> Points:
    xs = sorted(draw(st.lists(st.floats(0, most), min_size=2, max_size=4, unique=True)))
    ys = sorted(
        draw(st.lists(st.sampled_from([0.0, 0.0, 0.1, 0.5, 0.9, 1.0]), min_size=len(xs), max_size=len(xs))), reverse=falling
    )
    return tuple(zip(xs, ys, strict=True))


@st.composite
def utilities(draw: st.DrawFn) -> Utility:
    return Utility(
        worth=draw(st.sampled_from([0.0, 1.0, 3.0, 10.0])),
        least=draw(st.booleans()),
        quantile=draw(st.sampled_from([0.5, 0.95])),
        latency=draw(st.one_of(st.just(()), courses(400 * MS, True))),
        availability=draw(st.one_of(st.just(()), courses(1.0, False))),
        throughput=draw(st.one_of(st.just(()), courses(100.0, False))),
    )


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Unit], list[Need], dict[str, str]]:
    cores = draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=0, max_size=7))
    units = [Unit(f"h{i}", c, draw(st.sampled_from([0.0, 0.9, 1.0]))) for i, c in enumerate(cores)]
    rtts = {one.name: [draw(st.sampled_from([1.0, 60.0, 200.0])) * MS for _ in range(PLACES)] for one in units}
    left = sum(c > 0 for c in cores)
    needs = []
    for i in range(draw(st.integers(0, 4))):
        floor = draw(st.integers(0, min(2, left)))
        left -= floor
        demand = [draw(st.sampled_from([0.0, 1.0, 20.0])) for _ in range(PLACES)]
        cost, moving = draw(st.sampled_from([0.0, 0.02, 0.2])), draw(st.sampled_from([0.0, 0.1]))
        needs.append(Need(f"a{i}", draw(utilities()), demand, rtts, cost, 0.8, floor, moving=moving))
    owners = ["", "gone", *(need.app for need in needs)]
    return units, needs, {one.name: owner for one in units if (owner := draw(st.sampled_from(owners)))}


@settings(
    max_examples=150,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
)
@given(worlds(), st.randoms(use_true_random=False))
def test_what_every_allocation_keeps(world: tuple[list[Unit], list[Need], dict[str, str]], order: Random) -> None:
    units, needs, now = world
    found = allocate(units, needs, now)
    able = {one.name for one in units if one.cores > 0}
    assert set(found.serves) <= able
    assert set(found.serves.values()) <= {need.app for need in needs}
    for need, account in zip(needs, found.accounts, strict=True):
        assert len(account.units) >= need.floor, "floors come first"
        assert 0 <= account.utility <= need.utility.worth * (1 + 1e-9)
    before = {app: sum(now.get(unit) == app for unit in sorted(able)) for app in (need.app for need in needs)}
    if all(before[need.app] >= need.floor for need in needs):
        assert found.utility - found.moving >= found.utility_before - 1e-6, "never worse, what moving costs included"
    before_shuffled = dict(order.sample(sorted(now.items()), len(now)))
    again = allocate(order.sample(units, len(units)), order.sample(needs, len(needs)), before_shuffled)
    assert again == found


COUNTED = 5
"""Hosts, all alike and at one place: only how many of them an application has matters."""


@st.composite
def concave(draw: st.DrawFn) -> tuple[float, ...]:
    """Utility by number of hosts, from none: each host gains no more than the one before."""
    gains = sorted(draw(st.lists(st.integers(0, 9), min_size=COUNTED, max_size=COUNTED)), reverse=True)
    return tuple(accumulate([0.0, *map(float, gains)]))


@settings(max_examples=60, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
@given(st.lists(concave(), min_size=1, max_size=4))
def test_separable_concave_utilities_are_solved_exactly_by_plain_greedy_choice_and_by_all_of_it(
    tables: list[tuple[float, ...]],
) -> None:
    """Fox 1966. A host answers ten requests a second, so k of them are worth `table[k]`."""
    units = [Unit(f"h{i}", 1.0) for i in range(COUNTED)]
    rtts = {one.name: [MS] for one in units}
    needs = []
    for i, table in enumerate(tables):
        top = table[-1] or 1.0
        points = tuple((10.0 * k, worth / top) for k, worth in enumerate(table))
        needs.append(Need(f"a{i}", Utility(top, throughput=points), [10.0 * COUNTED], rtts, 0.05, 0.5))
    best = max(
        sum(table[k] for table, k in zip(tables, counts, strict=True))
        for counts in product(range(COUNTED + 1), repeat=len(tables))
        if sum(counts) <= COUNTED
    )
    assert abs(greedy(units, needs).utility - best) < 1e-6
    assert abs(allocate(units, needs).utility - best) < 1e-6
