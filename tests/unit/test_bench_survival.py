"""`opus bench survival`: what is called lost, on which grounds, and that a table in force tells what a run loses."""

from __future__ import annotations

import pytest
from opus_controller.bench.survival import places, table
from opus_controller.bench.survival.losses import losses, lost
from opus_controller.bench.survival.places import DOMAINS, PLACEMENTS, RANDOM, STEWARD, Ground
from opus_controller.bench.survival.played import played

LINE = Ground(
    "line",
    [[abs(i // 2 - j // 2) * 50.0 for j in range(12)] for i in range(12)],
    [frozenset((2 * k, 2 * k + 1)) for k in range(6)],
    [str(i // 2) for i in range(12)],
    members=12,
    shards=24,
)
"""Six pairs of hosts along a line, all of them members."""


def test_lost_is_what_has_no_copy_left() -> None:
    holders = (("1", "2"), ("1",), ("3", "4"), ("2", "3"))
    assert lost(holders, ()) == 0.0
    assert lost(holders, {"1"}) == 0.25
    assert lost(holders, {"1", "2", "3"}) == 0.75
    assert lost(holders, {"1", "2", "3", "4"}) == 1.0


def test_six_regions_are_its_sites_and_the_steward_sees_them_apart() -> None:
    ground = places.six()
    assert [len(region) for region in ground.regions] == [5] * 6
    assert all(len({ground.domains[i] for i in region}) == 1 for region in ground.regions)
    assert len(set(ground.domains)) == 6


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_one_copy_is_lost_with_its_host(placement: str) -> None:
    found = losses(LINE, placement, 1, seed=1)
    assert found["1 region"] == pytest.approx(1 / 6)
    assert found["20% of hosts"] == pytest.approx(2 / 12, abs=0.05)


def test_two_copies_outlive_a_region_only_if_they_are_in_two() -> None:
    assert losses(LINE, DOMAINS, 2, seed=1)["worst"] == losses(LINE, STEWARD, 2, seed=1)["worst"] == 0.0
    assert any(losses(LINE, RANDOM, 2, seed)["worst"] > 0 for seed in range(1, 6))
    assert losses(LINE, DOMAINS, 2, seed=1)["2 regions"] > 0
    assert losses(LINE, DOMAINS, 3, seed=1)["2 regions"] == 0.0


def test_the_same_seed_gives_the_same_table() -> None:
    assert places.table(LINE, RANDOM, 3, 1) == places.table(LINE, RANDOM, 3, 1) != places.table(LINE, RANDOM, 3, 2)


def test_a_run_loses_the_keys_that_its_table_says_and_no_other() -> None:
    found = played(seed=1, copies=2)
    assert found["keys"] > 400
    assert found["lost"] > 0.05  # three regions of six: a pair of them is often all that a shard has
    assert found["apart"] == 0.0
    assert played(seed=1, copies=4)["lost"] == 0.0


def test_rows_name_what_they_are_about() -> None:
    rows = table.all_rows()
    assert {row.name for row in rows} == {"six", "planet", "played"}
    lines, _ = table.measure(table.Order(rows=["six"], seeds=1))
    assert len(lines) == 25
    assert {line.verdict for line in lines} == {"", "ok?"}  # kept; of one seed there is no interval
