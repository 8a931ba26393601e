"""Whatever the network does, some things always hold; and after calm, everything does.

Hypothesis writes the story: loss, doubling, jitter that reorders, crashes, restarts, freezes of paths, cuts and heals.
`CoreNet` checks at every step: no message to oneself, no two sets with the same epoch and steward, exactly one
RequestDone a request and never after its deadline.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from helpers.corenet import APP, Chance, CoreNet, sites
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from opus_node.core.events import MemberChanged, ReplicaSetDecided
from opus_node.core.relay import GONE
from opus_node.core.types import MILLISECOND, SECOND, AppConfig, NodeConfig

PLACES = ("a", "b", "c")
NAMES = tuple(f"{place}-{number}" for place in PLACES for number in range(1, 5))
SEEDS = ("a-1", "b-1", "c-1")
CONFIG = NodeConfig(apps=(AppConfig(APP, 3),), nodes_per_agent=6)
FOR_EVER_ALIVE = ("a-1", "b-2")
"""A seed and a node that no story kills: somebody has to be there in the end."""


@dataclass(frozen=True)
class Deed:
    """One thing that happens, and how long the story goes on after it."""

    kind: str
    who: tuple[str, ...]
    then_ms: int


UNHURRIED = settings(
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.explicit, Phase.generate],
)
"""The same stories in every run of CI. Shrinking a story takes minutes: add Phase.shrink by hand to debug one."""

DEEDS = st.builds(
    Deed,
    st.sampled_from(["off", "boot", "cut", "heal", "cut_one_way", "load", "wipe"]),
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True).map(tuple),
    st.integers(100, 8000),
)
CHANCES = st.builds(
    Chance,
    loss=st.sampled_from([0.0, 0.01, 0.05, 0.2]),
    duplicate=st.sampled_from([0.0, 0.05]),
    jitter=st.sampled_from([0, 3 * MILLISECOND, 60 * MILLISECOND]),
)


DEPTHS = pytest.mark.parametrize("depth", [1, 2, 3, 4])
"""The same stories and the same claims, whatever the depth of the hierarchy."""


def story(depth: int, seed: int, chance: Chance, deeds: list[Deed]) -> CoreNet:
    net = CoreNet(
        sites({("a", "b"): 60.0, ("a", "c"): 110.0, ("b", "c"): 150.0}),
        config=replace(CONFIG, depth=depth, nodes_per_agent=6 if depth < 3 else 2),
        seed=f"story{seed}",
        chance=chance,
    )
    net.seeds = SEEDS
    net.boot_all(NAMES)
    net.run(5 * SECOND)
    for deed in deeds:
        perform(net, deed)
    return net


def perform(net: CoreNet, deed: Deed) -> None:
    mortal = [node for node in deed.who if node not in FOR_EVER_ALIVE]
    if deed.kind == "off":
        net.power_off(*mortal)
    elif deed.kind == "boot":
        for node in mortal:
            if node in net.dead:
                net.boot(node)
    elif deed.kind == "cut":
        net.cut(deed.who)
    elif deed.kind == "cut_one_way":
        net.cut(deed.who[:1], deed.who[1:])
    elif deed.kind == "heal":
        net.heal()
    elif deed.kind == "wipe":
        for node in deed.who:
            if node not in net.dead:
                wipe(net, node)
    net.load(deed.then_ms * MILLISECOND, 40 * MILLISECOND, deadline=1500 * MILLISECOND)


def wipe(net: CoreNet, node: str) -> None:
    """It forgets what it was told: of its nodes and their measurements, of replicas and who serves, as steward of all others. Not
    the epochs it has heard of, which fence (whoever loses those, by a restart, counts on in another incarnation)."""
    core = net.cores[node]
    for cache in core._client.caches.values():
        cache.entries.clear()
    for level in core._levels:
        role = level.role
        if role is None:
            continue
        role.leases.table.clear()
        role.census._told.clear()
        for told in role.aggregate._told.values():
            told.clear()
        role.relay.targets.clear()
        role.sets.by_app.clear()
        role.sets._left.clear()
        role.sets._digest = None
        if role.stewards is not None:
            role.stewards.surveyor._rtts.clear()
            for desk in role.stewards.desks.values():
                desk.summaries.clear()
                desk.watched.clear()
                desk.former = ()
                desk.ready.clear()


def bounded(net: CoreNet) -> None:
    """Tables and timers within their bounds, whatever happened."""
    for node in net.live():
        snapshot = net.snapshot(node)
        if not snapshot.is_agent:
            assert snapshot.entries <= 16 + 3, f"{node} holds {snapshot.entries} entries"
        core = net.cores[node]
        assert len(core._ctx.timers) < 400
        assert len(core._prober._pending) <= 256
        assert len(core._client._pending) <= 1024
        relay = core._client.relay
        if relay is not None:
            gone = relay._gone.get(APP, {})
            assert len(gone) <= GONE
            assert not gone.keys() & relay.targets.get(APP, {}).keys()


def incarnations_grow(net: CoreNet) -> None:
    seen: dict[tuple[str, str], int] = {}
    life: dict[str, int] = {}
    for told in net.told:
        if isinstance(told.notice, MemberChanged):
            key = (told.node, told.notice.member)
            if told.notice.state != "alive" or told.notice.incarnation > 1:
                assert told.notice.incarnation >= seen.get(key, 0) or life.get(told.node) != net.lives[told.node]
            seen[key] = told.notice.incarnation
            life[told.node] = net.lives[told.node]


def epochs_grow(net: CoreNet) -> None:
    """What one steward decides goes beyond all that it decided before."""
    epochs: dict[str, int] = {}
    for told in net.told:
        if isinstance(told.notice, ReplicaSetDecided) and net.lives[told.node] == 0:
            assert told.notice.epoch > epochs.get(told.node, 0)
            epochs[told.node] = told.notice.epoch


def complaint(net: CoreNet) -> str:
    """Why this is no state of rest; empty if it is one."""
    agents = net.agents()
    held = set()
    for node in net.live():
        if net.snapshot(node).agent not in agents:
            return f"{node} hangs on {net.snapshot(node).agent!r}"
    for agent in agents:
        role = net.cores[agent]._role
        assert role is not None
        held.add(role.sets.get(APP))
    if len(held) != 1 or None in held:
        return f"agents hold {held}"
    if why := disagreement(net):
        return why
    (agreed,) = held
    assert agreed is not None
    if net.stewards() != [agreed.steward]:
        return f"stewards are {net.stewards()}, the set is {agreed}"
    if sorted(net.replicas()) != sorted(agreed.members):
        return f"{net.replicas()} serve, the set is {agreed}"
    if len(agreed.members) != min(CONFIG.apps[0].replicas, len(net.live())):
        return f"{len(agreed.members)} members"
    return ""


def disagreement(net: CoreNet) -> str:
    """On who is an agent: at the top all see each other, below each hangs on a head that lists it."""
    top = len(net.cores[SEEDS[0]]._levels) - 1
    for number in range(top + 1):
        roles = {node: role for node in net.live() if (role := net.cores[node]._level(number).role) is not None}
        for node, role in roles.items():
            if number == top:
                if sorted(role.peers.agents()) != sorted(roles):
                    return f"{node} sees {role.peers.agents()} on level {number}, live are {sorted(roles)}"
                continue
            head = net.cores[node]._level(number + 1).attachment.agent
            above = net.cores[head]._level(number + 1).role if head in net.live() else None
            if above is None or (head != node and node not in above.leases.table):
                return f"{node} hangs on {head!r} on level {number + 1}"
    return ""


def calm_after(net: CoreNet) -> None:
    """Heal, no more loss: within 40 seconds one agreed set, everybody attached to a live agent, every request served."""
    net.heal()
    net.chance.loss = net.chance.duplicate = 0.0
    net.chance.jitter = 0
    net.run_for(5 * SECOND)
    for _ in range(35):
        why = complaint(net)
        if not why:
            break
        net.run_for(SECOND)
    assert why == "", why
    since = net.now
    net.load(5 * SECOND, 25 * MILLISECOND)
    net.run_for(2 * SECOND)
    assert [done for done in net.outcomes(since) if done.outcome != "ok"] == []


@DEPTHS
@settings(UNHURRIED, max_examples=20)
@given(st.integers(0, 2**32), CHANCES, st.lists(DEEDS, max_size=8))
def test_invariants_hold_in_any_story_and_calm_brings_agreement(depth: int, seed: int, chance: Chance, deeds: list[Deed]) -> None:
    net = story(depth, seed, chance, deeds)
    net.run_for(2 * SECOND)
    assert net.broken == []
    assert net.unanswered() == []
    bounded(net)
    incarnations_grow(net)
    epochs_grow(net)
    calm_after(net)
    assert net.broken == []
    assert net.unanswered() == []


@DEPTHS
@settings(UNHURRIED, max_examples=12)
@given(st.integers(0, 2**32), st.sets(st.sampled_from(NAMES), min_size=1, max_size=8), st.integers(1, 40))
def test_any_partition_heals_into_one_set(depth: int, seed: int, side: set[str], seconds: int) -> None:
    net = story(depth, seed, Chance(), [])
    net.run_for(5 * SECOND)
    net.cut(sorted(side))
    net.load(seconds * SECOND, 50 * MILLISECOND)
    net.heal()
    healed = net.now
    net.load(8 * SECOND, 20 * MILLISECOND)
    net.run_for(2 * SECOND)
    late = [done for done in net.outcomes(healed + 2 * SECOND) if done.outcome != "ok"]
    assert late == [], "two seconds after the heal every request is served"
    calm_after(net)
    assert net.broken == []
