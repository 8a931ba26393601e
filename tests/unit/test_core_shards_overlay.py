"""Shards of a whole overlay: each key is where its shard is, wherever that moves, and only agents and members have to know."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from helpers.corenet import APP, CoreNet, six_regions
from helpers.register_net import operation_done
from opus_node.core.data.sharded import Sharded
from opus_node.core.events import KeysKept, ReplicaSetDecided, RequestDone, ShardsDecided
from opus_node.core.messages import Reply
from opus_node.core.shards import shard_of
from opus_node.core.types import EVENTUAL, MILLISECOND, SECOND, AppConfig, NodeConfig

SHARDS = 16
KEYS = 40


class ShardNet:
    def __init__(self, seed: str = "calm", *, replicas: int = 8, copies: int = 3, **options: Any) -> None:
        self.app = AppConfig(APP, replicas, consistency=EVENTUAL, shards=SHARDS, copies=copies)
        self.net: CoreNet = six_regions(NodeConfig(apps=(self.app,)), seed=seed, **options)
        self.net.run(8 * SECOND)
        self.rng = Random(seed)

    def of(self, node: str) -> Sharded:
        found = self.net.cores[node]._replica.registers._by_app[APP]
        assert isinstance(found, Sharded)
        return found

    def holders(self, key: int) -> list[str]:
        """By the greatest set that anybody knows."""
        known = [(one.epoch, one.steward, node) for node in self.net.live() if (one := self.of(node)._set) is not None]
        return list(self.of(max(known)[2])._table[shard_of(key, SHARDS)])

    def held(self, key: int) -> list[str]:
        """Live hosts whose memory has it."""
        shard = shard_of(key, SHARDS)
        return [
            node
            for node in self.net.live()
            if (one := self.of(node)._shards.get(shard)) is not None and str(key) in one._store.cells
        ]

    def write_all(self) -> dict[int, str]:
        """Every key, each by another host; what was written."""
        return {key: self.written(key) for key in range(KEYS)}

    def written(self, key: int) -> str:
        node = self.rng.choice(self.net.live())
        done = operation_done(self.net, node, self.net.request(node, 2 * SECOND, write=True, key=key))
        assert done.outcome == "ok"
        return done.value

    def read(self, node: str, key: int) -> str:
        done = operation_done(self.net, node, self.net.request(node, 2 * SECOND, write=False, key=key))
        assert done.outcome == "ok"
        return done.value

    def notices(self, kind: type) -> list[Any]:
        return [told.notice for told in self.net.told if isinstance(told.notice, kind)]


def test_a_key_is_held_by_the_holders_of_its_shard_and_read_everywhere() -> None:
    world = ShardNet()
    written = world.write_all()
    world.net.run_for(4 * SECOND)
    for key in written:
        assert sorted(world.held(key)) == sorted(world.holders(key))
        assert len(world.held(key)) >= 3
    members = world.net.replicas()
    assert all(len(world.of(node)._shards) < SHARDS for node in members)  # nobody has all of it
    for key, value in written.items():
        assert world.read(world.rng.choice(world.net.live()), key) == value
    for node in members[:2]:  # a member reads what it does not hold
        other = next(key for key in written if node not in world.held(key))
        assert world.read(node, other) == written[other]


def test_requests_take_two_hops_at_most_and_clients_are_told_of_no_table() -> None:
    world = ShardNet()
    world.net.log, world.net.log_filter = (
        [],
        lambda send: isinstance(send.message, Reply) and bool(send.message.replica_set.holders),
    )
    world.write_all()
    done = world.notices(RequestDone)
    assert {one.outcome for one in done} == {"ok"}
    assert max(one.hops for one in done) == 2
    assert not [line for line in world.net.log if " Reply" in line]
    assert not any(len(cache.entries) > 3 for core in world.net.cores.values() for cache in core._client.caches.values())


def test_a_lost_holder_is_replaced_and_its_shards_are_copied() -> None:
    world = ShardNet()
    written = world.write_all()
    world.net.run_for(3 * SECOND)
    lost = next(node for node in world.net.replicas() if node not in (*world.net.seeds, *world.net.stewards()))
    hit = [key for key in written if lost in world.held(key)]
    assert hit
    world.net.power_off(lost)
    world.net.run_for(15 * SECOND)
    for key in hit:
        assert lost not in world.holders(key)
        assert sorted(world.held(key)) == sorted(world.holders(key))
        assert len(world.held(key)) >= 3
    for key, value in written.items():
        assert world.read(world.net.live()[0], key) == value


def test_whole_regions_that_die_take_nothing_along_that_has_a_copy_elsewhere() -> None:
    world = ShardNet(replicas=10, per_site=4)
    written = world.write_all()
    world.net.run_for(3 * SECOND)
    region = Counter(node.split("-")[0] for node in world.net.replicas() if node not in world.net.stewards()).most_common()[-1][0]
    world.net.power_off(*[node for node in world.net.live() if node.split("-")[0] == region])
    assert all(world.held(key) for key in written)  # no shard was in one region only
    world.net.run_for(25 * SECOND)
    for key, value in written.items():
        assert sorted(world.held(key)) == sorted(world.holders(key))
        assert world.read(world.net.live()[0], key) == value


def test_a_shard_that_is_given_up_is_handed_over_and_then_forgotten() -> None:
    world = ShardNet()
    written = world.write_all()
    world.net.run_for(3 * SECOND)
    leaver = next(node for node in world.net.replicas() if node not in (*world.net.seeds, *world.net.stewards()))
    world.net.leave(leaver)
    world.net.run_for(15 * SECOND)
    assert leaver in world.net.left
    kept = [one for one in world.net.told if one.node == leaver and isinstance(one.notice, KeysKept) and not one.notice.held]
    assert kept or leaver in world.net.dead
    for key, value in written.items():
        assert len(world.held(key)) >= 3
        assert world.read(world.net.live()[0], key) == value


def test_the_shard_that_everybody_asks_for_gets_more_copies_where_they_ask_and_loses_them_again() -> None:
    world = ShardNet(replicas=10)
    world.write_all()
    key = 7
    shard = shard_of(key, SHARDS)
    before = len(world.holders(key))
    crowd(world, 40 * SECOND, lambda: key if world.rng.random() < 0.7 else world.rng.randrange(KEYS))
    hot = world.notices(ShardsDecided)[-1]
    assert hot.copies[shard] > before == 3
    assert max(hot.copies) == hot.copies[shard]
    assert sorted(world.held(key)) == sorted(world.holders(key))
    crowd(world, 60 * SECOND, lambda: world.rng.randrange(KEYS))
    assert world.notices(ShardsDecided)[-1].copies[shard] < hot.copies[shard]
    assert sorted(world.held(key)) == sorted(world.holders(key))
    assert {one.outcome for one in world.notices(RequestDone)} == {"ok"}


def crowd(world: ShardNet, span: int, key: Any) -> None:
    end = world.net.now + span
    while world.net.now < end:
        world.net.request(world.rng.choice(world.net.live()), 2 * SECOND, write=world.rng.random() < 0.1, key=key())
        world.net.run_for(40 * MILLISECOND)


def test_in_calm_shards_stay_where_they_are() -> None:
    world = ShardNet()
    crowd(world, 60 * SECOND, lambda: world.rng.randrange(KEYS))
    before = len(world.notices(ShardsDecided))
    crowd(world, 60 * SECOND, lambda: world.rng.randrange(KEYS))
    later = world.notices(ShardsDecided)[before:]
    assert sum(one.moves for one in later) <= SHARDS, [one.cause for one in world.notices(ReplicaSetDecided)]


def test_messages_about_other_peoples_shards_do_no_harm() -> None:
    world = ShardNet()
    node = world.net.replicas()[0]
    world.of(node).on("198.18.9.9", object(), -3)  # type: ignore[arg-type]
    world.of(node).on("198.18.9.9", object(), SHARDS)  # type: ignore[arg-type]
    assert set(world.of(node)._shards) <= set(range(SHARDS))
