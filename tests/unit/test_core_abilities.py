"""What hosts can do and what they remember: who serves follows from it."""

from __future__ import annotations

from dataclasses import replace

from helpers.corenet import APP, CoreNet, six_regions
from opus_node.core.events import ReplicaSetDecided
from opus_node.core.types import SECOND, Abilities, AppConfig, History, NodeConfig

HOUR = 3600 * SECOND
CONFIG = NodeConfig(apps=(AppConfig(APP, 3),))


def test_a_lease_tells_the_hosts_age_and_past_not_the_nodes() -> None:
    past = History(age=5 * HOUR, sessions=3, up=40 * HOUR, away=2 * HOUR)
    net = six_regions(configs={"in-3": replace(CONFIG, history=past)})
    net.run(20 * SECOND)
    role = net.cores[net.snapshot("in-3").agent]._role
    assert role is not None
    held = role.leases.table["in-3"]
    assert 5 * HOUR <= held.age(net.now) <= 5 * HOUR + net.now
    assert (held.sessions, held.up) == (3, 40 * HOUR)


def test_hosts_that_have_always_come_and_gone_do_not_serve_beside_some_that_stay() -> None:
    """In each region one host has been up for a week; the others were ten minutes old fifty times."""
    restless = History(age=600 * SECOND, sessions=50, up=50 * 600 * SECOND)
    steady = History(age=168 * HOUR, sessions=1, up=700 * HOUR)
    names = [f"{site}-{number}" for site in ("use", "usw", "eu", "in", "jp", "br") for number in range(1, 6)]
    configs = {name: replace(CONFIG, history=steady if name.endswith("-4") else restless) for name in names}
    net = six_regions(configs=configs)
    net.run(60 * SECOND)
    assert {name[-2:] for name in net.replicas()} == {"-4"}


def test_only_hosts_with_the_memory_and_storage_serve() -> None:
    app = AppConfig(APP, 4, memory=1 << 30, storage=1 << 34)
    config = NodeConfig(apps=(app,))
    able = Abilities(memory=1 << 30, storage=1 << 34)
    names = ("usw-2", "eu-3", "jp-5", "br-2", "br-3")
    configs = {name: replace(config, abilities=able) for name in names}
    configs["in-2"] = replace(config, abilities=replace(able, storage=1 << 33))
    net = six_regions(config=config, configs=configs)
    net.run(30 * SECOND)
    assert len(net.replicas()) == 4
    assert set(net.replicas()) <= set(names)
    net.power_off(*net.replicas()[:2])
    net.run_for(15 * SECOND)
    assert set(net.replicas()) == {name for name in names if name in net.live()}, "three are left"
    net.load(5 * SECOND, SECOND // 10)
    net.run_for(3 * SECOND)
    assert all(done.outcome == "ok" for done in net.outcomes(net.now - 8 * SECOND))


def decided(net: CoreNet, since: int) -> list[tuple[int, ReplicaSetDecided]]:
    return [(told.at, told.notice) for told in net.told if isinstance(told.notice, ReplicaSetDecided) and told.at >= since]


def standing_by(net: CoreNet) -> tuple[str, ...]:
    role = net.cores[net.stewards()[0]]._role
    assert role is not None
    assert role.stewards is not None
    return role.stewards.desks[APP].ready.heard()


def members(net: CoreNet) -> tuple[str, ...]:
    role = net.cores[net.stewards()[0]]._role
    assert role is not None
    known = role.sets.get(APP)
    assert known is not None
    return known.members


def test_who_replaces_a_lost_member_was_seen_to_live() -> None:
    """Its heir dies in the same instant, which no agent knows before its lease has run out."""
    for seed in range(8):
        net = six_regions(seed=f"ready{seed}")
        net.run(40 * SECOND)
        while len(first := standing_by(net)) < 3:
            net.run_for(SECOND // 10)
            assert net.now < 60 * SECOND
        assert not {*first} & {*net.replicas()}
        lost = members(net)[0]
        at = net.now
        net.power_off(lost, first[0])
        net.run_for(6 * SECOND)
        (when, after), *more = decided(net, at)
        assert first[0] not in after.members
        assert when - at < 3500 * SECOND // 1000
        assert not more, "whoever was taken serves"
        assert set(net.replicas()) == set(after.members)


def test_an_heir_of_the_steward_finds_who_stands_by_itself() -> None:
    net = six_regions()
    net.run(60 * SECOND)
    steward = net.stewards()[0]
    net.power_off(steward)
    net.run_for(60 * SECOND)
    assert net.stewards() != [steward]
    assert len(standing_by(net)) >= 2
