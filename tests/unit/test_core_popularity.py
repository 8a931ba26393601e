"""Which keys are asked for most, from single clients to the steward."""

from __future__ import annotations

from collections import Counter
from random import Random

from helpers.corenet import APP, six_regions
from hypothesis import given, settings
from hypothesis import strategies as st
from opus_node.core.events import KeysAsked
from opus_node.core.messages import KeyRate
from opus_node.core.popularity import COUNTERS, OF_AGENT, OF_NODE, SURE, Asked, Sketch, differ, summed
from opus_node.core.shards import shard_of
from opus_node.core.types import SECOND


@given(st.lists(st.integers(0, 60), min_size=1, max_size=400))
@settings(max_examples=80, deadline=None)
def test_who_is_far_ahead_is_told_of_and_nobody_for_more_than_was_asked(keys: list[int]) -> None:
    sketch = Sketch()
    for key in keys:
        sketch.count(key)
    told = sketch.told(float(len(keys)))
    truth = Counter(keys)
    assert len(told) <= OF_NODE
    assert all(SURE <= one.rate + 1e-3 <= truth[one.key] + 2e-3 for one in told)
    assert [one.rate for one in told] == sorted((one.rate for one in told), reverse=True)
    ahead = {key for key, count in truth.items() if count > len(keys) / 3 and count - len(keys) / COUNTERS >= SURE}
    assert ahead <= {one.key for one in told}


def test_keys_that_were_popular_give_way() -> None:
    sketch = Sketch()
    for _ in range(64):
        sketch.count(1)
    assert [one.key for one in sketch.told(1.0)] == [1]
    for _ in range(8):
        for _ in range(4):
            sketch.count(2)
        last = sketch.told(1.0)
    assert [one.key for one in last] == [2]


def test_sums_have_the_greatest() -> None:
    some = (KeyRate(1, 2.0), KeyRate(2, 1.0)), (KeyRate(3, 1.5), KeyRate(2, 1.5)), ()
    assert summed(some) == (KeyRate(2, 2.5), KeyRate(1, 2.0), KeyRate(3, 1.5))
    assert summed(some, 1) == (KeyRate(2, 2.5),)


def test_a_little_more_or_less_is_no_news_and_another_key_is() -> None:
    told = (KeyRate(1, 2.0), KeyRate(2, 1.0))
    assert not differ(told, told)
    assert not differ((KeyRate(1, 2.5), KeyRate(2, 0.8)), told)
    assert differ((KeyRate(3, 2.0), KeyRate(2, 1.0)), told)
    assert differ(told, ())
    assert not differ((), ())


def test_a_steward_knows_what_all_ask_for_and_hears_when_that_moves() -> None:
    net, rng = six_regions(), Random(7)
    net.run(10 * SECOND)
    asked: Counter[int] = Counter()

    def crowd(seconds: int, first: int) -> None:
        """60 requests a second, Zipf over 200 keys from `first` on."""
        for _ in range(60 * seconds):
            key = first + rng.choices(range(200), [1 / (rank + 1) for rank in range(200)])[0]
            asked[key] += 1
            net.request(rng.choice(net.live()), key=key)
            net.run_for(SECOND // 60)

    def known() -> dict[int, float]:
        last = [told.notice for told in net.told if isinstance(told.notice, KeysAsked) and told.notice.app == APP][-1]
        return dict(zip(last.keys, last.rates, strict=True))

    crowd(60, 0)
    assert set(list(known())[:2]) == {0, 1}
    assert 0.4 < known()[0] / (60 * asked[0] / sum(asked.values())) <= 1.2
    crowd(60, 1000)
    assert set(list(known())[:2]) == {1000, 1001}


def test_an_agent_tells_its_hottest_shards_smoothed_and_forgets_them() -> None:
    asked = Asked(64)
    assert asked.told(0) == ()
    for _ in range(300):
        asked.count(7)
    for key in range(40):
        asked.count(key)
    first = asked.told(3 * SECOND)
    assert len(first) == OF_AGENT
    assert first[0].key == shard_of(7, 64)
    assert 10 < first[0].rate < 40  # 100 requests/s for 3 s of a window of 15 s
    assert asked.told(3 * SECOND + 1) == first  # too soon to know more
    for second in range(6, 120, 3):
        last = asked.told(second * SECOND)
    assert last == ()
