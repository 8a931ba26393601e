"""Registers are linearizable whatever happens to hosts, network and stewards, and go on once it stops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from helpers.data_world import GIVE_UP, KEYS, Client, Node, World
from opus_controller.engine.linearizable import check
from opus_node.core.data.cells import Answer, Config, Get, Put, Question, Tag
from opus_node.core.data.holder import Holder
from opus_node.core.data.quorum import Quorums

SEEDS = 60
Bug = Callable[[pytest.MonkeyPatch], None]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_histories_are_linearizable(seed: int) -> None:
    judged(seed)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_thousand_histories_are_linearizable() -> None:
    for seed in range(SEEDS, 1000 + SEEDS):
        judged(seed)


def judged(seed: int) -> None:
    """Nothing that was told is contradicted, and what is asked once all is well again is answered."""
    world = World(seed)
    history = world.run()
    verdict = check(history)
    assert verdict.found == "linearizable", (seed, verdict)
    late = [one for one in history if one.returned_at is None and one.called_at > world.calm_at + GIVE_UP]
    assert not late or not world.able(), (seed, late)


def test_the_seeds_are_hard_enough() -> None:
    """Operations fail and configurations change in them, but most operations are done."""
    done: Counter[bool] = Counter()
    configs = 0
    for seed in range(10):
        world = World(seed)
        done.update(one.returned_at is not None for one in world.run())
        configs += max(node.holder.config.number for node in world.nodes.values() if node.holder.config is not None)
    assert done[True] > 10 * done[False] > 0
    assert configs > 30


def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operations are acknowledged with one answer less than a majority; configurations still change by majorities."""

    def few(self: Quorums, *rest: Any) -> None:
        monkeypatch.setattr(Config, "majority", property(lambda config: len(config.members) // 2 or 1))
        try:
            took(self, *rest)
        finally:
            monkeypatch.setattr(Config, "majority", majority)

    majority, took = Config.majority, Quorums._take
    monkeypatch.setattr(Quorums, "_take", few)


def unsealed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has accepted the next configuration goes on serving the present one."""

    def on(self: Holder, question: Question) -> Answer | None:
        if not isinstance(question, Get | Put):
            return answers(self, question)
        accepted, self._accepted = self._accepted, None
        try:
            return answers(self, question)
        finally:
            self._accepted = accepted

    answers = Holder.on
    monkeypatch.setattr(Holder, "on", on)


def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has restarted counts as who it was, without its memory."""

    def boot(self: Node) -> None:
        config = self.holder.config if hasattr(self, "holder") else None
        boots(self)
        if config is not None:
            self.holder.config = config
            self.holder.me = next((one for one in config.members if one.node == self.name), self.holder.me)

    boots = Node.boot
    monkeypatch.setattr(Node, "boot", boot)


def unwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read tells what it found first, and leaves it where it was."""

    def got(self: Quorums, one: Any, now: int) -> None:
        if one.kind == "read":
            greatest = max(one.got.values(), key=lambda cell: cell.tag)
            one.got = dict.fromkeys(one.got, greatest)
        gets(self, one, now)

    gets = Quorums._got
    monkeypatch.setattr(Quorums, "_got", got)


def twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that is tried again gets a new tag."""

    def again(self: Client, stage: str, tag: Tag) -> None:
        go(self, "reserve" if stage == "commit" and self.tries % 2 == 0 else stage, tag)

    go = Client.go
    monkeypatch.setattr(Client, "go", again)


@pytest.mark.parametrize("bug", [hasty, unsealed, forgetful, unwritten, twice])
def test_a_planted_bug_is_caught_within_fifty_seeds(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    bug(monkeypatch)
    assert any(check(World(seed).run()).found == "violated" for seed in range(50))


def test_keys_are_registers_of_their_own() -> None:
    assert {one.key for one in World(1).run()} == {f"k{i}" for i in range(KEYS)}
