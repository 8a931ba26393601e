"""Stewardship: the first set, lost replicas, lost stewards, cuts and heals."""

from __future__ import annotations

import pytest
from helpers.corenet import APP, SIX, Chance, CoreNet, six_regions
from opus_node.core.events import ReplicaSetDecided, RoleChanged
from opus_node.core.messages import Appoint, ReplicaBeat, ReplicaSilent
from opus_node.core.types import MILLISECOND, SECOND, AppConfig, NodeConfig

SEEDS = [f"steward{number}" for number in range(4)]


def settled(seed: str = "six", span: int = 20 * SECOND, chance: Chance | None = None) -> CoreNet:
    net = six_regions(seed=seed, chance=chance)
    net.run(span)
    return net


def decisions(net: CoreNet, since: int = 0) -> list[tuple[int, ReplicaSetDecided]]:
    return [(told.at, told.notice) for told in net.told if isinstance(told.notice, ReplicaSetDecided) and told.at >= since]


def region(net: CoreNet, site: str) -> list[str]:
    return [node for node in net.cores if node.startswith(site + "-")]


def agreed(net: CoreNet) -> tuple[int, tuple[str, ...]]:
    """The one set that all agents hold; fails if they differ."""
    held = set()
    for node in net.agents():
        role = net.cores[node]._role
        assert role is not None
        known = role.sets.get(APP)
        assert known is not None, f"{node} knows no set"
        held.add((known.epoch, known.steward, known.members))
    assert len(held) == 1, held
    epoch, steward, members = held.pop()
    assert net.stewards() == [steward]
    assert sorted(net.replicas()) == sorted(members)
    return epoch, members


@pytest.mark.parametrize("seed", SEEDS)
def test_the_first_set_is_decided_within_three_seconds_one_a_region_and_no_agents(seed: str) -> None:
    net = settled(seed, 5 * SECOND)
    at, first = decisions(net)[0]
    assert SECOND <= at <= 3500 * MILLISECOND
    assert first.cause == "first"
    assert len({node.split("-")[0] for node in first.members}) == 3
    assert not set(first.members) & set(net.agents())


def test_in_calm_replicas_move_once_to_where_demand_is_and_then_stay() -> None:
    net = settled(span=120 * SECOND)
    made = decisions(net)
    assert len(made) <= 4
    assert len({frozenset(one.members) for _, one in made}) <= 2
    assert len({frozenset(one.members) for at, one in made if at > 40 * SECOND}) <= 1
    agreed(net)


def test_fewer_nodes_than_replicas_all_serve_agents_too() -> None:
    net = six_regions(config=NodeConfig(apps=(AppConfig(APP, 50),)), per_site=1)
    net.run(30 * SECOND)
    assert sorted(net.replicas()) == sorted(net.live())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_powered_off_replica_is_replaced_within_three_and_a_half_seconds_without_load(seed: str) -> None:
    net = settled(seed)
    before = agreed(net)[1]
    lost = before[0]
    net.power_off(lost)
    net.run_for(3500 * MILLISECOND)
    made = decisions(net, 20 * SECOND)
    assert [lost in one.cause for _, one in made] == [True]
    members = made[0][1].members
    assert len(members) == 3
    assert set(before) - {lost} <= set(members), "the others stay"
    net.run_for(3 * SECOND)
    agreed(net)


def test_with_load_the_agents_that_miss_it_make_it_faster() -> None:
    net = settled()
    net.load(10 * SECOND, 5 * MILLISECOND)
    lost = net.replicas()[0]
    off = net.now
    net.power_off(lost)
    net.load(5 * SECOND, 5 * MILLISECOND)
    assert decisions(net, off)[0][0] - off < 2500 * MILLISECOND


def test_a_report_against_a_living_replica_does_not_unseat_it() -> None:
    net = settled()
    epoch, members = agreed(net)
    steward = net.stewards()[0]
    from opus_node.core.events import Receive

    for _ in range(5):
        ready = net.cores[steward].step(Receive("jp-9", ReplicaSilent(APP, epoch, members[0])), net.now)
        for send in ready.sends:
            net._send(steward, send)
        net.run_for(SECOND)
    assert agreed(net) == (epoch, members)


def test_a_replica_that_restarts_at_once_serves_again_in_the_same_set() -> None:
    net = settled()
    epoch, members = agreed(net)
    net.power_off(members[0])
    net.run_for(300 * MILLISECOND)
    net.boot(members[0])
    net.run_for(5 * SECOND)
    assert agreed(net) == (epoch, members)
    assert APP in net.snapshot(members[0]).replica_of


@pytest.mark.parametrize("seed", SEEDS)
def test_a_lost_steward_is_followed_without_a_change_of_members(seed: str) -> None:
    net = settled(seed)
    epoch, members = agreed(net)
    net.power_off(net.stewards()[0])
    net.run_for(12 * SECOND)
    after = agreed(net)
    assert after[0] > epoch
    assert set(after[1]) == set(members)


def test_steward_and_replica_lost_together_are_both_replaced() -> None:
    net = settled()
    _, members = agreed(net)
    net.power_off(net.stewards()[0], members[0])
    net.run_for(20 * SECOND)
    after = agreed(net)[1]
    assert members[0] not in after
    assert len(after) == 3


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("site", ["jp", "eu"])
def test_a_short_cut_reshuffles_nothing(seed: str, site: str) -> None:
    """Most of the set is silent for the steward that is cut off: it waits."""
    net = settled(seed)
    _, members = agreed(net)
    cut = region(net, site)
    net.cut(cut)
    net.run_for(1700 * MILLISECOND)  # shorter than what unseats a single member whose last beat came a second before
    net.heal()
    net.run_for(15 * SECOND)
    assert set(agreed(net)[1]) == set(members)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("site", SIX)
def test_both_sides_of_a_long_cut_serve_and_one_set_is_left_after_the_heal(seed: str, site: str) -> None:
    net = settled(seed)
    _, members = agreed(net)
    cut = region(net, site)
    net.cut(cut)
    net.run_for(25 * SECOND)
    inside = [node for node in net.replicas() if node in cut]
    outside = [node for node in net.replicas() if node not in cut]
    assert inside, "the cut-off region serves itself"
    assert len(outside) >= 3
    net.heal()
    net.run_for(20 * SECOND)
    after = agreed(net)[1]
    assert len(after) == 3
    assert len({node.split("-")[0] for node in after}) == 3, "and it is spread again"
    assert len(set(after) & set(members)) >= 2, "by those who served before"


def test_epochs_only_grow_and_no_two_sets_share_epoch_and_steward() -> None:
    net = settled(chance=Chance(loss=0.03, duplicate=0.03, jitter=5 * MILLISECOND))
    for site in ("eu", "in", "use"):
        net.cut(region(net, site))
        net.run_for(12 * SECOND)
        net.heal()
        net.run_for(6 * SECOND)
    assert net.broken == []
    epochs: dict[str, int] = {}
    for told in net.told:
        if isinstance(told.notice, ReplicaSetDecided):
            assert told.notice.epoch > epochs.get(told.node, 0)
            epochs[told.node] = told.notice.epoch


def test_replicas_beat_to_the_steward_once_a_second_and_to_the_new_one_after_a_change() -> None:
    net = settled()
    steward, (_, members) = net.stewards()[0], agreed(net)
    net.log = []
    net.log_filter = lambda send: isinstance(send.message, ReplicaBeat)
    net.run_for(10 * SECOND)
    beats = [line for line in net.log if "ReplicaBeat" in line]
    others = [node for node in members if node != steward]
    assert 9 * len(others) <= len(beats) <= 11 * len(others)
    assert all(f"-> {steward} " in line for line in beats)
    net.power_off(steward)
    net.run_for(30 * SECOND)  # the region that lost its agent makes a new one, which may be the steward to be
    net.log.clear()
    net.run_for(5 * SECOND)
    assert all(f"-> {net.stewards()[0]} " in line for line in net.log if "ReplicaBeat" in line)


def test_a_retired_replica_is_told_and_serves_on_for_a_moment() -> None:
    net = settled()
    _, members = agreed(net)
    lost = members[0]
    net.cut([lost])
    net.run_for(8 * SECOND)
    net.heal()
    net.run_for(3 * SECOND)
    roles = [told.notice for told in net.told if told.node == lost and isinstance(told.notice, RoleChanged)]
    assert [one.active for one in roles if one.role == "replica"] == [True, False]
    assert lost not in net.replicas()


def test_appointing_is_idempotent() -> None:
    from opus_node.core.events import Receive

    net = settled()
    epoch, members = agreed(net)
    node = members[0]
    role = net.cores[net.stewards()[0]]._role
    assert role is not None
    known = role.sets.get(APP)
    assert known is not None
    for _ in range(3):
        ready = net.cores[node].step(Receive(known.steward, Appoint(known)), net.now)
        assert [type(send.message).__name__ for send in ready.sends] == ["AppointReply"]
        assert ready.notices == ()
    old = type(known)(APP, 0, "zzz", ("nobody",))
    ready = net.cores[node].step(Receive("zzz", Appoint(old)), net.now)
    reply = ready.sends[0].message
    assert (reply.epoch, reply.accepted) == (epoch, True), "an older set is answered with the newer one's epoch"  # type: ignore[union-attr]
    assert APP in net.snapshot(node).replica_of


@pytest.mark.parametrize("site", ["usw", "jp"])
def test_whoever_is_cut_off_with_lost_members_does_not_follow_them(site: str) -> None:
    """Each that is tried in vain would cost a wait."""
    net = six_regions(NodeConfig(apps=(AppConfig(APP, 15),)), seed=SEEDS[0])
    net.run(20 * SECOND)
    members, cut, off = agreed(net)[1], region(net, site), net.now
    net.cut(cut)
    net.run_for(9 * SECOND)
    told = [one for one in net.told if one.at >= off and one.node not in cut]
    sets = [one.notice.members for one in told if isinstance(one.notice, ReplicaSetDecided)]
    assert len(set(members) & set(cut)) > 1
    assert len(sets) > 1
    assert not [one for one in sets if set(one) & set(cut) - set(members)]
