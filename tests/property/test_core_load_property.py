"""Whatever the load, choice and mishap: one answer to each request of a live client, by its deadline; tables stay bounded."""

from __future__ import annotations

from collections import Counter

from helpers.corenet import APP, Chance, CoreNet, sites
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from opus_node.core.choice import CHOICES
from opus_node.core.relay import RELAYS
from opus_node.core.types import MILLISECOND, SECOND, AppConfig, NodeConfig

NAMES = tuple(f"{place}-{number}" for place in "abc" for number in range(1, 4))
SEEDS = ("a-1", "b-1")
SERVICE = 40 * MILLISECOND
DEADLINE = 800 * MILLISECOND

APPS = st.builds(
    AppConfig,
    st.just(APP),
    st.sampled_from([1, 3]),
    service_time=st.just(SERVICE),
    queue=st.sampled_from([0, 100 * MILLISECOND, SECOND]),
    choice=st.sampled_from(sorted(CHOICES)),
    hedge=st.sampled_from([0, 60 * MILLISECOND]),
)
CHANCES = st.builds(
    Chance,
    loss=st.sampled_from([0.0, 0.05, 0.2]),
    duplicate=st.sampled_from([0.0, 0.1]),
    jitter=st.sampled_from([0, 60 * MILLISECOND]),
)
BURSTS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.integers(1, 40), st.integers(0, 600), st.sampled_from(["", "off", "cut"])),
    min_size=1,
    max_size=6,
)
"""Who asks, how often in one instant, how long the story goes on then (ms), and what befalls a replica before."""


@settings(
    max_examples=30,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
)
@given(st.integers(0, 3), APPS, CHANCES, BURSTS)
def test_one_answer_each_and_bounded_tables(
    seed: int, app: AppConfig, chance: Chance, bursts: list[tuple[str, int, int, str]]
) -> None:
    config = NodeConfig(apps=(app,), nodes_per_agent=5)
    paths = sites({("a", "b"): 60.0, ("a", "c"): 110.0, ("b", "c"): 150.0})
    net = CoreNet(paths, config=config, seed=f"load{seed}", chance=chance)
    net.seeds = SEEDS
    net.boot_all(NAMES)
    net.run(6 * SECOND)
    asked: Counter[str] = Counter()
    for who, times, then_ms, deed in bursts:
        _befall(net, deed)
        for _ in range(times if who not in net.dead else 0):
            net.request(who, DEADLINE)
            asked[who] += 1
            _bounded(net)
        net.run_for(then_ms * MILLISECOND)
    net.run_for(DEADLINE + MILLISECOND)
    assert net.unanswered() == []
    assert net.broken == []
    answers = Counter((node, net.lives[node], reply.request) for node, reply in net.replied)
    assert all(count == 1 for count in answers.values())
    net.run_for(2 * SECOND)
    for node in net.live():
        assert sum(count for (one, _, _), count in answers.items() if one == node) == asked[node]
        assert net.cores[node]._replica.work.waiting == 0, "who stood in the line was served, whoever still wanted it"


def _befall(net: CoreNet, deed: str) -> None:
    mortal = [node for node in net.replicas() if node not in SEEDS]
    if deed == "off" and mortal:
        net.power_off(mortal[0])
    elif deed == "cut" and mortal:
        net.cut(mortal[:1])
    else:
        net.heal()


def _bounded(net: CoreNet) -> None:
    for node in net.live():
        core = net.cores[node]
        line = core._replica.work
        longest = net.config.apps[0].queue // SERVICE + 1
        assert line.waiting <= longest + 1
        assert len(core._client._pending) <= 1024
        for pending in core._client._pending.values():
            assert pending.sheds <= len(pending.flights), "each try is turned away once"
            assert len(pending.flights) <= 64
        if core._role is not None:
            assert len(core._role.relay._relayed) <= RELAYS
