"""Who could reach whom, and what the best delay was, while the world changed under the requests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.fakerun import FakeRun, make_plan
from opus_controller.report.run import Run, read
from opus_controller.report.world import NO_PATH

DELAYS = {("a", "b"): 10.0, ("a", "c"): 20.0, ("b", "c"): 30.0}


@pytest.fixture
def fake() -> FakeRun:
    """a-2 serves; all clients ask twice a second, so that every state is met: at x.25 and x.75."""
    run = FakeRun(make_plan(one_way_ms=DELAYS, hosts={"a": 2, "b": 2, "c": 2}, clients=("a-1", "b-1", "c-1")))
    run.begin()
    run.role(0.1, "a-2", "replica", "web")
    return run


def asked(fake: FakeRun, tmp_path: Path, client: str, *times: float) -> tuple[Run, list[float | None]]:
    """Best delays, ms, of requests of `client` at `times`; None where no live replica could be reached."""
    for t in times:
        fake.request(t, client)
    run = read(fake.write(tmp_path / "run"))
    best = run.judged.oracle.best
    return run, [None if b == NO_PATH else b / 1e6 for b in best.tolist()]


def test_nobody_is_reachable_before_there_is_a_replica(fake: FakeRun, tmp_path: Path) -> None:
    _, best = asked(fake, tmp_path, "b-1", 0.05, 0.15)
    assert best == [None, 10]


def test_a_partition_takes_the_path_and_a_heal_gives_it_back(fake: FakeRun, tmp_path: Path) -> None:
    fake.partition(5, ["b-1", "b-2"])
    fake.heal(8, "cut")
    _, best = asked(fake, tmp_path, "b-1", 4.99, 5.01, 7.99, 8.01)
    assert best == [10, None, None, 10]


def test_what_changes_at_an_instant_holds_at_that_instant(fake: FakeRun, tmp_path: Path) -> None:
    fake.partition(5, ["b-1", "b-2"])
    fake.heal(8, "cut")
    run, best = asked(fake, tmp_path, "b-1", 5, 8)
    assert best == [None, 10]
    assert run.judged.since_fault.tolist() == [0, 0]


def test_others_are_not_cut_by_a_partition(fake: FakeRun, tmp_path: Path) -> None:
    fake.partition(5, ["b-1", "b-2"])
    _, best = asked(fake, tmp_path, "c-1", 4, 6)
    assert best == [20, 20]


@pytest.mark.parametrize("side", [["b-1", "b-2"], ["a-1", "a-2", "c-1", "c-2"]])
def test_a_cut_in_one_direction_is_no_path_either(fake: FakeRun, tmp_path: Path, side: list[str]) -> None:
    """Requests need their replies, and TCP its acknowledgements."""
    fake.partition(5, side, both_ways=False)
    _, best = asked(fake, tmp_path, "b-1", 6)
    assert best == [None]


def test_a_replica_on_the_own_side_of_a_cut_counts(fake: FakeRun, tmp_path: Path) -> None:
    fake.role(6, "b-2", "replica", "web")
    fake.partition(5, ["b-1", "b-2"])
    _, best = asked(fake, tmp_path, "b-1", 5.5, 6.5)
    assert best == [None, 0]


def test_two_cuts_lie_over_each_other_and_heal_apart(fake: FakeRun, tmp_path: Path) -> None:
    fake.partition(5, ["b-1", "b-2"], "one")
    fake.partition(6, ["b-1"], "two")
    fake.heal(7, "one")
    fake.heal(8, "two")
    _, best = asked(fake, tmp_path, "b-1", 5.5, 6.5, 7.5, 8.5)
    assert best == [None, None, None, 10]


def test_a_link_change_moves_the_best_until_it_is_healed(fake: FakeRun, tmp_path: Path) -> None:
    fake.role(0.1, "c-2", "replica", "web")
    fake.link(5, "a", "b", 100)  # now c-2 is nearer to b-1: 30 ms
    fake.link(6, "b", "c", 200, name="slow-2")  # and now a-2 is again: 100 ms
    fake.heal(7, "slow")
    fake.heal(8, "slow-2")
    _, best = asked(fake, tmp_path, "b-1", 4.5, 5.5, 6.5, 7.5, 8.5)
    assert best == [10, 30, 100, 10, 10]


def test_a_dead_replica_is_none_until_it_has_its_role_again(fake: FakeRun, tmp_path: Path) -> None:
    fake.power_off(5, "a-2")
    fake.restart(7, "a-2")
    fake.role(8, "a-2", "replica", "web")
    _, best = asked(fake, tmp_path, "b-1", 4.9, 5.1, 7.1, 8.1)
    assert best == [10, None, None, 10]


def test_a_role_noticed_by_a_host_that_just_died_does_not_bring_it_back(fake: FakeRun, tmp_path: Path) -> None:
    """The fault's record has the instant before anything changed; the host may still speak for a moment."""
    fake.power_off(5, "a-2")
    fake.role(5.001, "a-2", "replica", "web")
    _, best = asked(fake, tmp_path, "b-1", 5.5)
    assert best == [None]


def test_a_paused_replica_serves_nobody(fake: FakeRun, tmp_path: Path) -> None:
    fake.fault(5, "pause", "nap", target="a-2", victims=["a-2"])
    fake.fault(6, "resume", "wake", target="a-2", victims=["a-2"], undoes="nap")
    _, best = asked(fake, tmp_path, "b-1", 4.5, 5.5, 6.5)
    assert best == [10, None, 10]


def test_a_replica_that_steps_down_is_none(fake: FakeRun, tmp_path: Path) -> None:
    fake.role(5, "c-2", "replica", "web")
    fake.role(5, "a-2", "replica", "web", active=False)
    run, best = asked(fake, tmp_path, "b-1", 4.5, 5.5)
    assert best == [10, 30]
    assert not run.judged.oracle.is_replica.any()


def test_a_client_that_serves_is_known_as_such(fake: FakeRun, tmp_path: Path) -> None:
    fake.role(5, "b-1", "replica", "web")
    run, best = asked(fake, tmp_path, "b-1", 4.5, 5.5)
    assert best == [10, 0]
    assert run.judged.oracle.is_replica.tolist() == [False, True]


def test_records_in_any_order_give_the_same_world(fake: FakeRun, tmp_path: Path) -> None:
    """Nodes' notices reach the player late; the file is in order of arrival."""
    fake.partition(5, ["b-1", "b-2"])
    fake.heal(8, "cut")
    fake.role(3, "c-2", "replica", "web")
    for t in range(10):
        fake.request(t + 0.5, "b-1")
    forward = read(fake.write(tmp_path / "forward")).judged.oracle.best
    fake.events.reverse()
    backward = read(fake.write(tmp_path / "backward")).judged.oracle.best
    assert np.array_equal(forward, backward)


def test_counts_over_time(fake: FakeRun, tmp_path: Path) -> None:
    fake.role(1, "b-1", "agent")
    fake.power_off(5, "a-2")
    run = read(fake.write(tmp_path / "run"))
    assert run.world.counts.at(0) == (6, 0, 0)
    assert run.world.counts.at(2_000_000_000) == (6, 1, 1)
    assert run.world.counts.at(5_000_000_000) == (5, 1, 0)
