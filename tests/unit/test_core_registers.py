"""Registers are linearizable whatever happens to hosts, network and stewards, and go on once it stops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from helpers.data_world import KEYS, STALENESS, Client, Node, World
from opus_controller.engine.bounded import check_register as check_bounded
from opus_controller.engine.linearizable import Operation, Verdict, check
from opus_node.core.data import store
from opus_node.core.data.cells import (
    Answer,
    Cell,
    Config,
    Copied,
    Copy,
    Fetch,
    Get,
    Got,
    Install,
    Installed,
    Part,
    Peer,
    Put,
    Question,
    Stored,
    Tag,
)
from opus_node.core.data.fetch import Newcomer
from opus_node.core.data.holder import Holder
from opus_node.core.data.lease import Lease
from opus_node.core.data.move import Move
from opus_node.core.data.quorum import Outcome, Quorums
from opus_node.core.data.rules import LEASE, Rule
from opus_node.core.types import BOUNDED, LINEARIZABLE, PRIMARY, SECOND, WRITE_ALL

SEEDS = 40
TRIED, TRIED_EARLY = 120, 50
"""Seeds for a planted bug; for an acknowledgement before all have stored who have to."""
FEW = 3
"""Writes that a read may miss."""
MODES = [(LINEARIZABLE, -1), (WRITE_ALL, -1), (PRIMARY, -1), (BOUNDED, -1), (BOUNDED, FEW)]
Bug = Callable[[pytest.MonkeyPatch], None]


SMALL, LARGE = 100, store.PAGE
"""Two cells are a page, so that what is held does not fit into a message, and is copied before anything is sealed; all are."""


@pytest.fixture(autouse=True)
def _pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PAGE", SMALL)


def world_of(seed: int, mode: str, missed: int) -> World:
    store.PAGE = SMALL if seed % 3 else LARGE
    return World(seed, mode, missed)


@pytest.mark.parametrize(("mode", "missed"), MODES)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_histories_keep_what_the_mode_promises(seed: int, mode: str, missed: int) -> None:
    judged(seed, mode, missed)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_thousand_histories_keep_it() -> None:
    for mode, missed in MODES:
        for seed in range(SEEDS, 1000 + SEEDS):
            judged(seed, mode, missed)


def judged(seed: int, mode: str, missed: int) -> None:
    """Nothing that was told is contradicted, and what is asked once all is well again is answered."""
    world = world_of(seed, mode, missed)
    history = world.run()
    verdict = verdict_of(history, mode, missed)
    assert verdict.found in ("linearizable", "kept"), (seed, verdict)
    late = [one for one in history if one.returned_at is None and one.called_at > world.well_from]
    assert not late or not world.able(), (seed, late)


@pytest.mark.parametrize(("mode", "missed"), MODES)
def test_the_seeds_are_hard_enough(mode: str, missed: int) -> None:
    """Operations fail and configurations change in them, but most operations are done."""
    done: Counter[bool] = Counter()
    configs = 0
    for seed in range(10):
        world = world_of(seed, mode, missed)
        done.update(one.returned_at is not None for one in world.run())
        configs += max(node.holder.config.number for node in world.nodes.values() if node.holder.config is not None)
    assert done[True] > 4 * done[False] > 0
    assert configs > 30


def verdict_of(history: list[Operation], mode: str, missed: int = -1) -> Verdict:
    if mode != BOUNDED:
        return check(history)
    keys = sorted({str(one.key) for one in history})
    verdicts = [check_bounded([one for one in history if one.key == key], STALENESS, missed) for key in keys]
    return next((one for one in verdicts if one.found == "violated"), verdicts[0])


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

    def on(self: Holder, question: Question, *rest: Any) -> Answer | None:
        if not isinstance(question, Get | Put):
            return answers(self, question, *rest)
        accepted, self._accepted = self._accepted, None
        try:
            return answers(self, question, *rest)
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


def twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that is tried again gets a new tag."""

    def again(self: Client, stage: str, tag: Tag) -> None:
        go(self, "reserve" if stage == "commit" and self.tries % 2 == 0 else stage, tag)

    go = Client.go
    monkeypatch.setattr(Client, "go", again)


def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A steward lets the next configuration serve while members of the last one may still answer alone."""
    monkeypatch.setattr(Move, "_outlasted", lambda self, now: True)


def unleased(monkeypatch: pytest.MonkeyPatch) -> None:
    """A member answers alone as long as it has not heard of another configuration."""
    monkeypatch.setattr(Lease, "holds", lambda self, now: self._holder.serves)


def unsettled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A member that answers alone tells what it holds, whether others hold it too or not."""
    monkeypatch.setattr(Holder, "unsettled", property(lambda self: set(), lambda self, value: None), raising=False)


def partial(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write is acknowledged when a majority holds it, though others answer alone."""
    monkeypatch.setattr(Quorums, "_enough", lambda self, config: config.majority)


def incomplete(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new member is content with what one of the last ones holds."""

    def install(self: Newcomer, source: str, question: Install, now: int) -> Answer | None:
        return installs(self, source, replace(question, quorum=1), now)

    installs = Newcomer.install
    monkeypatch.setattr(Newcomer, "install", install)


def first_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new member is content with the first page of what each holds."""

    def on(self: Newcomer, source: str, part: Part, now: int) -> None:
        ons(self, source, replace(part, last=True), now)

    ons = Newcomer.on
    monkeypatch.setattr(Newcomer, "on", on)


def unsealed_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new member takes what one held before it was sealed for all that it holds."""

    def on(self: Newcomer, source: str, part: Part, now: int) -> None:
        ons(self, source, replace(part, sealed=True), now)

    ons = Newcomer.on
    monkeypatch.setattr(Newcomer, "on", on)


def everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each member takes itself for the primary."""
    monkeypatch.setattr(
        World, "rule", property(lambda self: Rule(lease=LEASE, exact=True), lambda self, rule: None), raising=False
    )


BUGS = [
    *((bug, LINEARIZABLE) for bug in (hasty, unsealed, forgetful, twice, incomplete, first_page, unsealed_copy)),
    *((bug, WRITE_ALL) for bug in (partial, forgetful, twice, hurried, unleased, unsettled)),
    *((bug, PRIMARY) for bug in (hasty, unsealed, forgetful, twice, hurried, unleased, unsettled, everybody)),
    *((bug, BOUNDED) for bug in (hasty, unsealed, unleased, hurried)),
]


@pytest.mark.parametrize(("bug", "mode"), BUGS)
def test_a_planted_bug_is_caught(bug: Bug, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bug(monkeypatch)
    missed = FEW if mode == BOUNDED else -1
    tried = TRIED_EARLY if bug in (hasty, partial) else TRIED
    assert any(verdict_of(world_of(seed, mode, missed).run(), mode, missed).found == "violated" for seed in range(tried))


def test_who_has_given_before_it_entered_is_one_of_a_majority_and_not_enough() -> None:
    """Also when somebody says later that one who has entered will do: it has to give once more."""
    config = Config(1, tuple(Peer(name, 1) for name in "abcn"))
    newcomer = Peer("n", 1)
    holder, sent = Holder(newcomer), list[tuple[str, Any]]()
    entry = Newcomer(holder, lambda to, said: sent.append((to, said)), lambda: None)
    cells = {"k": Cell(Tag(1, "w"), b"v")}
    assert entry.install("s", Install(config, ("a", "b"), 2), 0) is None
    entry.on("a", Part(1, config.members[0], 0, 1, True, False, True, cells), 0)
    assert entry.install("t", Install(config, ("a",), 0), 0) is None
    assert not holder.is_member
    assert sent[-1] == ("a", Fetch(1, 1))
    entry.on("a", Part(1, config.members[0], 1, 2, True, True, True, {"l": Cell(Tag(4, "w"), b"u")}), 0)
    assert holder.is_member
    assert sorted(holder.store.cells) == ["k", "l"]
    assert sorted(to for to, said in sent if isinstance(said, Installed)) == ["s", "t"]


CELLS = {name: Cell(Tag(1, "w"), name.encode()) for name in "klmn"}


def copying() -> tuple[Config, Holder, Newcomer, list[tuple[str, Any]]]:
    """Who is to be the fourth member, and has copied what two of three hold, two cells."""
    config = Config(1, tuple(Peer(name, 1) for name in "abcn"))
    holder, sent = Holder(config.members[3]), list[tuple[str, Any]]()
    entry = Newcomer(holder, lambda to, said: sent.append((to, said)), lambda: None)
    entry.copy("s", Copy(1, ("a", "b", "c"), 2), 0)
    assert [to for to, said in sent] == ["a", "b", "c"]
    for giver in config.members[:2]:
        assert not any(isinstance(said, Copied) for _, said in sent)
        entry.on(giver.node, Part(1, giver, 0, 2, True, False, False, {"k": CELLS["k"], "l": CELLS["l"]}), 0)
    assert ("s", Copied(1)) in sent
    return config, holder, entry, sent


def test_what_was_copied_before_is_not_fetched_again_and_is_not_enough() -> None:
    config, holder, entry, sent = copying()
    sent.clear()
    assert entry.install("s", Install(config, ("a", "b"), 2), 0) is None
    assert not holder.is_member
    assert sent == [("a", Fetch(1, 2)), ("b", Fetch(1, 2))]
    for giver in config.members[:2]:
        entry.on(giver.node, Part(1, giver, 2, 3, True, False, True, {"m": CELLS["m"]}), 0)
    assert holder.is_member
    assert sorted(holder.store.cells) == ["k", "l", "m"]


def test_a_giver_that_has_restarted_is_asked_for_all_anew() -> None:
    """In its new life it counts from nothing: what it holds after two is not what is lacking."""
    config, holder, entry, sent = copying()
    entry.install("s", Install(config, ("a", "b"), 0), 0)
    again = Peer("a", 2)
    late = Part(1, again, 2, 3, True, True, True, {"n": CELLS["n"]})
    entry.on("a", late, 0)
    entry.on("a", late, 0)  # doubled on its way
    assert not holder.is_member
    assert sent[-1] == ("a", Fetch(1, 0))
    entry.on("a", Part(1, again, 0, 3, True, True, True, {"m": CELLS["m"], "n": CELLS["n"]}), 0)
    assert holder.is_member
    assert sorted(holder.store.cells) == ["k", "l", "m", "n"]


def test_what_nobody_wants_any_more_is_forgotten() -> None:
    _, _, entry, sent = copying()
    sent.clear()
    now = 0
    while (wanted := entry.next_at()) is not None:
        assert wanted > now
        now = wanted
        assert now < 60 * SECOND
        entry.tick(now)
    assert {to for to, _ in sent} == {"c"}  # who never answered was asked on


def test_a_read_leaves_what_it_tells_with_a_majority() -> None:
    """One of two has a later value, perhaps nobody else does: before it is told, another member stores it."""
    config = Config(0, tuple(Peer(name, 1) for name in "abc"))
    holder, told = Holder(config.members[0], config), list[Outcome]()
    sent: list[tuple[str, Any]] = []
    quorums = Quorums(holder, Rule(), lambda to, said: sent.append((to, said)))
    later = Cell(Tag(2, "w"), b"v")
    holder.take("k", later)
    assert quorums.read("k", 0, SECOND, told.append)
    op = sent[-1][1].op
    quorums.on("b", Got(0, op, Cell(Tag(1, "w"), b"u")), 0)
    assert not told
    assert ("c", Put(0, op, "k", later)) in sent
    quorums.on("c", Stored(0, op), 0)
    assert [one.cell for one in told] == [later]


def test_no_member_lacks_more_writes_than_it_may() -> None:
    """Of six two, for each of three who bring them about: the third waits until the silent member has stored one of them."""
    config = Config(0, tuple(Peer(name, 1) for name in "abc"))
    sent: list[tuple[str, Any]] = []
    told: list[Outcome] = []
    quorums = Quorums(
        Holder(config.members[0], config), Rule(lease=5 * SECOND, missed=6), lambda to, said: sent.append((to, said))
    )
    for count in (1, 2, 3):
        assert quorums.commit("k", Tag(count, "w"), b"v", 0, SECOND, told.append)
        quorums.on("b", Stored(0, sent[-1][1].op), 0)
    assert [one.cell.tag.count for one in told] == [1, 2]
    silent = [said.op for to, said in sent if to == "c"]
    quorums.tick(2 * SECOND - 1)
    assert [said.op for to, said in sent if to == "c"] != silent  # it is told again of what it lacks
    assert [one.done for one in told] == [True, True, False]
    quorums.commit("k", Tag(4, "w"), b"v", 2 * SECOND, 9 * SECOND, told.append)
    quorums.on("b", Stored(0, sent[-1][1].op), 2 * SECOND)
    assert len(told) == 3
    quorums.on("c", Stored(0, silent[0]), 2 * SECOND)
    assert [one.cell.tag.count for one in told if one.done] == [1, 2, 4]


def test_keys_are_registers_of_their_own() -> None:
    assert {one.key for one in World(1).run()} == {f"k{i}" for i in range(KEYS)}
