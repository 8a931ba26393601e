"""Members of which a majority has to answer: near it, and in no region a majority."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opus_node.core.cluster import Cluster
from opus_node.core.landscape import Landscape
from opus_node.core.messages import Candidate, Measured, Summary
from opus_node.core.placement import filled, heirs, improved
from opus_node.core.quorate import Ground, Quorate
from opus_node.core.types import BOUNDED, LINEARIZABLE, MILLISECOND, PRIMARY, SECOND, AppConfig

spot = st.tuples(st.integers(0, 200), st.integers(0, 200))


def ground(spots: list[tuple[int, int]], demand: list[float], close: float = 0.0) -> Ground:
    """Hosts on a plane, each of which asks and could serve."""
    apart = [[((a - c) ** 2 + (b - d) ** 2) ** 0.5 for c, d in spots] for a, b in spots]
    return Ground(demand, apart, apart, close, [0.0] * len(spots), frozenset())


@given(st.lists(spot, min_size=3, max_size=8), st.data(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_single_swap_is_left_and_the_best_is_not_far(spots: list[tuple[int, int]], data: st.DataObject, led: bool) -> None:
    count = data.draw(st.integers(1, min(5, len(spots))))
    demand = data.draw(st.lists(st.integers(1, 9).map(float), min_size=len(spots), max_size=len(spots)))
    search = Quorate(ground(spots, demand, close=data.draw(st.sampled_from([0.0, 30.0]))), count, led)
    found = search.placed(())
    assert len({*found}) == len(found) == count
    cost = search.cost(found)
    for out in found:
        for into in range(len(spots)):
            if into not in found:
                other = search.cost([into if one == out else one for one in found])
                assert other[0] > cost[0] or other[1] >= cost[1] - 1e-6
    best = min(search.cost(some) for some in combinations(range(len(spots)), count))
    assert best[0] <= cost[0] <= best[0] + 1
    assert cost[1] <= 2 * best[1] + 1e-6 or cost[0] < best[0]


@given(st.lists(spot, min_size=4, max_size=8, unique=True), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_what_is_there_moves_only_for_what_a_move_is_worth(spots: list[tuple[int, int]], first: int) -> None:
    search = Quorate(ground(spots, [1.0] * len(spots)), 3, led=False)
    present = [first, *(one for one in range(4) if one != first)][:3]
    assert search.placed(present, worth=1.0) == present
    found = search.placed(present, worth=0.1)
    moves = len({*found} - {*present})
    assert search.cost(found)[1] <= search.cost(present)[1] * (1 - 0.1) ** moves + 1e-6


def told(agent: str, rate: float, away: dict[str, int], count: int = 3) -> Summary:
    """An agent and its nodes, all in one place; `away`: ms to the other agents."""
    nodes = [Candidate(f"{agent}{k}", MILLISECOND, 60 * SECOND, 1.0, 10**8) for k in range(count)]
    near = tuple(Measured(other, ms * MILLISECOND) for other, ms in away.items() if other != agent)
    return Summary("store", count, rate, 1, (*nodes, Candidate(agent, 0, SECOND, 1.0, 10**8)), near)


PLACES = {"a": 0, "b": 30, "c": 60, "d": 300}
"""Along a line, in ms."""


def land(config: AppConfig, members: tuple[str, ...] = (), barred: tuple[str, ...] = ()) -> Landscape:
    tell = [told(one, 10.0, {other: abs(at - there) for other, there in PLACES.items()}) for one, at in PLACES.items()]
    return Landscape(config, {one.candidates[-1].node: Cluster(one.candidates[-1].node, one) for one in tell}, members, barred,
                     20 * MILLISECOND, lambda agent: {})  # fmt: skip


@pytest.mark.parametrize("consistency", [LINEARIZABLE, PRIMARY])
def test_a_majority_is_near_itself_and_one_far_place_does_without(consistency: str) -> None:
    config = AppConfig("store", 3, consistency=consistency)
    assert sorted(one[0] for one in filled(config, land(config), 3)) == ["a", "b", "c"]
    spread = AppConfig("store", 3, consistency=BOUNDED)
    assert "d" in {one[0] for one in filled(spread, land(spread), 3)}, "who reads alone is better off nearby"


def test_no_place_has_a_majority_though_that_would_be_nearer() -> None:
    config = AppConfig("store", 5, consistency=LINEARIZABLE)
    members = filled(config, land(config), 5)
    assert max(sum(one[0] == place for one in members) for place in PLACES) == 2
    crowded = ("b0", "b1", "b2", "a0", "c0")
    better, saved = improved(config, land(config, crowded), crowded)
    assert max(sum(one[0] == place for one in better) for place in PLACES) == 2
    assert saved == 1, "as good as any saving: the end of one place would be that of all data"


def test_a_member_is_followed_by_whoever_keeps_the_majority_near() -> None:
    config = AppConfig("store", 3, consistency=LINEARIZABLE)
    members = ("a0", "b0", "c0")
    assert {one[0] for one in heirs(config, land(config, members), members)} == {"a", "b", "c"}
    again = filled(config, land(config, ("a0", "c0"), barred=("b0",)), 3, ("a0", "c0"))
    assert again[:2] == ("a0", "c0")
    assert again[2] in ("b1", "b2")


def test_nobody_is_left_to_be_chosen() -> None:
    config = AppConfig("store", 3, consistency=LINEARIZABLE)
    everybody = tuple(f"{place}{k}" for place in PLACES for k in range(3))
    assert filled(config, land(config, barred=(*everybody, *PLACES)), 3) == ()
    assert improved(config, land(config, ("a0",), barred=(*everybody[1:], *PLACES)), ("a0",)) == (("a0",), 0.0)
