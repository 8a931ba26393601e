"""What a report says of shards: from records of what came into whose memory, not from what a steward wanted."""

from __future__ import annotations

from typing import Any

from opus_controller.model.plan import App, Plan
from opus_controller.report.shards import SECOND, held_at_end, summary
from opus_controller.report.words import shards as in_words
from opus_node.core.shards import shard_of

INDEX = App(name="index", replicas=3, consistency="eventual", shards=8, copies=2)
END = 100 * SECOND


class Planned:
    """As much of a plan as is looked at."""

    def __init__(self, *apps: App) -> None:
        self.apps = apps


def plan(*apps: App) -> Plan:
    return Planned(*apps)  # type: ignore[return-value]


def kept(t: int, host: str, keys: list[int], held: bool = True, app: str = "index") -> dict[str, Any]:
    return {"t": t * SECOND, "host": host, "kind": "kept", "app": app, "shard": 0, "held": held, "keys": keys}


def wrote(t: int, key: int, outcome: str = "ok", write: bool = True) -> dict[str, Any]:
    times = {"issued_at": t * SECOND, "done_at": t * SECOND + 1}
    return {"app": "index", "key": key, "write": write, "outcome": outcome, **times}


def decided(t: int, copies: list[int], moves: int = 0) -> dict[str, Any]:
    told = {"copies": copies, "domains": [2] * len(copies), "moves": moves}
    return {"t": t * SECOND, "host": "s", "kind": "shards", "app": "index", "epoch": t, **told}


def test_no_application_with_shards_no_result() -> None:
    assert summary(plan(App(name="web", replicas=3)), [], [], END) is None


def test_what_a_host_held_is_gone_with_it_and_when_it_hands_it_over() -> None:
    events = [
        kept(1, "a", [1, 2]),
        kept(1, "b", [2, 3]),
        kept(1, "c", [4], app="other"),
        {"t": 5 * SECOND, "host": "a", "kind": "host_down"},
        kept(7, "b", [2], held=False),
        {"t": 8 * SECOND, "host": "a", "kind": "host_up"},
        kept(9, "a", [5]),
    ]
    assert held_at_end("index", events) == {"a": {5}, "b": {3}}
    assert held_at_end("index", reversed(events)) == {"a": {5}, "b": {3}}  # by time, not by order


def test_a_key_is_lost_that_was_written_and_is_nowhere() -> None:
    events = [
        kept(1, "a", [1, 2, 3]),
        kept(1, "b", [1, 3]),
        {"t": 50 * SECOND, "host": "a", "kind": "host_down"},
        decided(1, [2] * 8),
        decided(60, [2] * 7 + [5], moves=3),
    ]
    registers = [wrote(1, 1), wrote(1, 2), wrote(2, 3), wrote(99, 4), wrote(3, 5, "deadline"), wrote(4, 6, write=False)]
    found = summary(plan(INDEX), events, registers, END)
    assert found is not None
    one = found.apps[0]
    assert (one.keys, one.lost_keys) == (3, 1)  # 4 was written too late to say, 5 was not acknowledged, 6 was read
    assert found.lost == one.lost == 1 / 3
    assert (one.copies_min, one.copies_mean, one.copies_max, one.tables, one.moves) == (2, 19 / 8, 5, 2, 3)
    assert one.fullest_share == 1.0
    assert in_words(one) == "8 with 2 to 5 copies, mean 2.4, the hottest 2; 3 moves; 1 of 3 keys lost"


def test_the_hottest_shard_is_that_of_the_last_requests() -> None:
    copies = [0] * 8
    copies[shard_of(7, 8)], copies[shard_of(1, 8)] = 6, 2
    assert shard_of(7, 8) != shard_of(1, 8)
    registers = [wrote(t, 1) for t in range(60)] + [wrote(t, 7) for t in range(60, 80)]
    found = summary(plan(INDEX), [decided(1, copies)], registers, END)
    assert found is not None
    assert found.apps[0].hottest_copies == 6
    assert found.apps[0].hottest_share == 60 / 80
