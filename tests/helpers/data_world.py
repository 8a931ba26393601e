"""Registers under everything that can go wrong, in virtual time: lost, doubled and late messages, one-way cuts, crashes that
forget, restarts, stewards that compete, clocks that differ. Clients' histories are recorded for the judge.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from opus_controller.engine.linearizable import Operation
from opus_node.core.data.cells import Ballot, Cell, Config, Copy, Elsewhere, Install, Part, Peer, Question, Tag
from opus_node.core.data.fetch import Newcomer
from opus_node.core.data.holder import Holder
from opus_node.core.data.move import Move
from opus_node.core.data.quorum import Outcome, Quorums
from opus_node.core.data.rules import rule_of
from opus_node.core.types import LINEARIZABLE, MILLISECOND, SECOND, AppConfig

NODES = 7
FOUNDERS = 3
CLIENTS = 8
KEYS = 4
HOT = 0.7
"""Share of operations on the first key: what meets nobody shows nothing."""
MANY = 12
"""Keys, none of them hot, where a value has to be settled to be told by one alone: what is written all the time never is."""
LEASE: int = 3 * SECOND
"""In place of the usual: what goes wrong within a lease is to show."""
TRY: int = 1 * SECOND
"""A client tries another replica after so long."""
GIVE_UP: int = 6 * SECOND
TICK: int = 100 * MILLISECOND
STALENESS: int = 6 * SECOND
CALM: int = 20 * SECOND
"""At the end: nothing goes wrong any more, and one steward is left."""


class Node:
    """A host with its three parts; a restart makes them anew under the next incarnation."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.incarnation = 0
        self.alive = False
        self.skew = world.rng.randrange(-5 * SECOND, 5 * SECOND)
        self.drift = world.rng.uniform(0.9, 1.1)
        self.boot()

    def boot(self) -> None:
        self.incarnation += 1
        self.alive = True
        self.holder = Holder(Peer(self.name, self.incarnation), self.world.first, self.world.rule.outlast)
        self.newcomer = Newcomer(self.holder, self.tell, self.entered)
        self.quorums = Quorums(self.holder, self.world.rule, lambda to, question: self.world.send(self.name, to, question))
        self.move: Move | None = None

    @property
    def now(self) -> int:
        return int(self.world.now * self.drift) + self.skew

    def ask(self, to: str, question: Question) -> None:
        """Of its move, which may ask this very node."""
        if to == self.name:
            self.receive(to, question)
        else:
            self.world.send(self.name, to, question)

    def tell(self, to: str, said: Any) -> None:
        """Of one who is to become a member, or has."""
        if to == self.name:
            life = self.incarnation
            self.world.at(0, lambda: self.receive(to, said) if self.alive and self.incarnation == life else None)
        else:
            self.world.send(self.name, to, said)

    def entered(self) -> None:
        self.quorums.moved(self.now)

    def receive(self, source: str, message: Any) -> None:
        if isinstance(message, Install):
            answer = self.newcomer.install(source, message, self.now)
            if answer is not None:
                self.tell(source, answer)
        elif isinstance(message, Copy):
            self.newcomer.copy(source, message, self.now)
        elif isinstance(message, Question):
            answer = self.holder.on(message, source, self.now)
            self.quorums.moved(self.now)
            if answer is not None and source == self.name:
                self.world.at(0, lambda: self.take(source, answer))
            elif answer is not None:
                self.world.send(self.name, source, answer)
        else:
            self.take(source, message)

    def take(self, source: str, answer: Any) -> None:
        if isinstance(answer, Part):
            self.newcomer.on(source, answer, self.now)
        elif isinstance(answer, Elsewhere):
            self.newcomer.elsewhere(answer.config)
        self.quorums.on(source, answer, self.now)
        if self.move is not None:
            self.move.on(source, answer, self.now)

    def tick(self) -> None:
        if self.alive:
            self.quorums.tick(self.now)
            self.newcomer.tick(self.now)
            if self.move is not None:
                self.move.tick(self.now)

    def steward(self, epoch: int, wanted: list[str], known: Config | None = None) -> None:
        known = known or self.holder.config or self.world.first
        self.move = Move(Ballot(epoch, self.name), known, wanted, self.ask, self.now, led=self.world.rule.led)


class Client:
    """One operation after the other; whoever does not answer is left for another."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.count = 0
        self.think()

    def think(self) -> None:
        self.world.at(self.world.rng.randrange(80 * MILLISECOND), self.begin)

    def begin(self) -> None:
        if self.world.now >= self.world.ends:
            return
        self.count += 1
        rng = self.world.rng
        exact = self.world.rule.exact
        self.key = "k0" if not exact and rng.random() < HOT else f"k{rng.randrange(MANY if exact else KEYS)}"
        self.value = f"{self.name}-{self.count}"
        self.called = self.world.now
        self.kind = rng.choice(["read", "read", "write"])
        self.tries = 0
        self.go("read" if self.kind == "read" else "reserve", Tag())

    def go(self, stage: str, tag: Tag) -> None:
        """One try of one stage, at a replica that chance chooses."""
        world = self.world
        if world.now - self.called > GIVE_UP:
            self.done(None, heard=False)
            return
        self.tries += 1
        mine, key, value = (self.count, self.tries), self.key, self.value
        node = world.nodes[world.whom_to_ask()]
        deadline = GIVE_UP

        def arrives() -> None:
            if not node.alive:
                return
            end, quorums = node.now + deadline, node.quorums
            if stage == "read":
                begun = quorums.read(key, node.now, end, told)
            elif stage == "reserve":
                begun = quorums.reserve(key, value, node.now, end, told)
            else:
                begun = quorums.commit(key, tag, value.encode(), node.now, end, told)
            if not begun:
                told(Outcome("read", key, False))

        def told(outcome: Outcome) -> None:
            world.over_network(lambda: answered(outcome))

        def answered(outcome: Outcome) -> None:
            if mine != (self.count, self.tries):
                return
            if not outcome.done:
                self.go(stage, tag)
            elif stage == "reserve":
                self.go("commit", outcome.cell.tag)
            else:
                self.done(outcome.cell, heard=True)

        world.over_network(arrives)
        world.at(TRY, lambda: self.go(stage, tag) if mine == (self.count, self.tries) else None)

    def done(self, cell: Cell | None, *, heard: bool) -> None:
        world = self.world
        value = self.value if self.kind == "write" else None
        if self.kind == "read" and cell is not None and cell.value is not None:
            value = cell.value.decode()
        kind: Any = self.kind
        version = (cell.tag.count, cell.tag.writer) if cell is not None else None
        until = world.now if heard else None
        world.history.append(Operation(self.name, self.key, kind, value, self.called, until, version))
        self.tries += 1
        self.think()


class World:
    def __init__(self, seed: int, mode: str = LINEARIZABLE, missed: int = -1, lasts_s: float = 50.0) -> None:
        self.rule = rule_of(AppConfig("web", consistency=mode, staleness=STALENESS, missed=missed))
        if self.rule.exact:
            self.rule = replace(self.rule, lease=LEASE)
        self.rng = rng = Random(seed)
        self.pause = 4 * SECOND if self.rule.lease else SECOND
        """Between two troubles, at most. Who answers alone has to come to it in between."""
        self.more = ["replace"] * 6 if self.rule.lease else []
        self.now = 0
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self.ends = int(lasts_s * SECOND)
        self.calm_at = self.ends - CALM // 2
        self.loss = rng.choice([0.0, 0.05, 0.25])
        self.cut: set[tuple[str, str]] = set()
        names = [f"n{i}" for i in range(NODES)]
        self.first = Config(0, tuple(Peer(name, 1) for name in names[:FOUNDERS]))
        self.nodes = {name: Node(self, name) for name in names}
        self.history: list[Operation] = []
        self.clients = [Client(self, f"c{i}") for i in range(CLIENTS)]
        self.epoch = 0
        self.ballots: dict[str, int] = {}
        """By node, the last epoch under which it was steward."""

    def whom_to_ask(self) -> str:
        """A member most of the time, the primary more often; now and then one without which others go on."""
        last, rng = self.last, self.rng
        past = [name for name, node in self.nodes.items() if node.alive and node.holder.serves and self._left_behind(name)]
        if past and rng.random() < 0.3:
            return rng.choice(past)
        if self.rule.led and rng.random() < 0.6:
            return last.primary.node
        return rng.choice([one.node for one in last.members] * 2 + list(self.nodes))

    def _left_behind(self, name: str) -> bool:
        """Whether others go on without it."""
        return self.nodes[name].holder.config != self.last or all(
            (other, name) in self.cut for other in self.nodes if other != name
        )

    # Time and network

    def at(self, after: int, act: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now + after, self._count, act))

    def delay(self) -> int:
        usual = int(self.rng.expovariate(1 / (40 * MILLISECOND)))
        return usual if self.calm or self.rng.random() < 0.9 else usual + self.rng.randrange(3 * SECOND)

    @property
    def last(self) -> Config:
        """The last configuration that serves anywhere."""
        heard = [one.holder.config for one in self.nodes.values() if one.holder.config is not None]
        return max(heard, key=lambda config: config.number)

    def able(self, without: Node | None = None) -> bool:
        """Whether a majority lives of it, and of what may have been decided to follow: nothing could go on otherwise."""
        last = self.last
        following = [one.holder.following for one in self.nodes.values()]
        following += [one.move.following for one in self.nodes.values() if one.move is not None]
        needed = [last, *(config for config in following if config is not None and config.number > last.number)]
        return all(self._living(config, without) >= config.majority for config in needed)

    @property
    def well_from(self) -> int:
        """By when all is well again: the last steward has moved the data, and outlasted whoever answered alone."""
        return self.calm_at + GIVE_UP + self.rule.outlast

    @property
    def calm(self) -> bool:
        return self.now >= self.calm_at

    def over_network(self, act: Callable[[], None]) -> None:
        if self.calm or self.rng.random() >= self.loss:
            self.at(self.delay(), act)

    def send(self, source: str, to: str, message: Any) -> None:
        if (source, to) in self.cut:
            return
        node, life = self.nodes[to], self.nodes[to].incarnation

        def arrives() -> None:
            # A connection is to one life of a process, a late message may still find the next: both happen.
            if node.alive and (node.incarnation == life or self.rng.random() < 0.5):
                node.receive(source, message)

        for _ in range(2 if not self.calm and self.rng.random() < 0.05 else 1):
            self.over_network(arrives)

    # What goes wrong

    def run(self) -> list[Operation]:
        self.at(0, self._ticks)
        self.at(0, lambda: self._steward(3))
        self.at(SECOND, self._trouble)
        self.at(self.calm_at, self._recover)
        while self._queue and self.now < self.ends + GIVE_UP + TRY:
            self.now, _, act = heapq.heappop(self._queue)
            act()
        return self.history

    def _ticks(self) -> None:
        for node in self.nodes.values():
            node.tick()
        self.at(TICK, self._ticks)

    def _trouble(self) -> None:
        rng = self.rng
        if self.calm:
            return
        what = rng.choice(["crash", "crash", "restart", "restart", "cut", "heal", "steward", "steward", "nothing", *self.more])
        if what == "crash":
            self._crash()
        elif what == "restart":
            self._restart()
        elif what == "cut":
            side = {name for name in self.nodes if rng.random() < 0.4}
            both = rng.random() < 0.7
            self.cut |= {(a, b) for a in side for b in self.nodes if b not in side}
            self.cut |= {(b, a) for a in side for b in self.nodes if b not in side and both}
        elif what == "heal":
            self.cut = set()
        elif what == "steward":
            self._steward(rng.choice([2, 3, 3, 4, 5]))
        elif what == "replace":
            self._replace()
            self.at(self.pause, self._trouble)
            return
        self.at(rng.randrange(self.pause), self._trouble)

    def _replace(self) -> None:
        """A member that may just now answer alone is cut off, and replaced at once, or not so soon."""
        self.cut = set()
        last = self.last
        name = last.primary.node if self.rule.led else self.rng.choice(last.members).node
        self.cut = {(a, b) for a in self.nodes for b in self.nodes if (a == name) != (b == name)}
        if self.rng.random() < 0.5:
            self._steward(3, last, but=name)

    def _crash(self) -> None:
        node = self.rng.choice([node for node in self.nodes.values() if node.alive])
        if self.able(without=node):
            node.alive = False

    def _living(self, config: Config, without: Node | None) -> int:
        lives = {Peer(node.name, node.incarnation) for node in self.nodes.values() if node.alive and node is not without}
        return sum(peer in lives for peer in config.members)

    def _restart(self) -> None:
        dead = [node for node in self.nodes.values() if not node.alive]
        if dead:
            self.rng.choice(dead).boot()

    def _steward(self, members: int, known: Config | None = None, but: str = "") -> None:
        """Any node, whatever it knows; sometimes two of one epoch, never one twice under one."""
        node = self.rng.choice([node for node in self.nodes.values() if node.alive and node.name != but])
        self.epoch = max(self.epoch + self.rng.choice([0, 1]), self.ballots.get(node.name, 0) + 1)
        self.ballots[node.name] = self.epoch
        able = sorted(self.nodes)
        if but or self.rng.random() < 0.5:  # whoever is silent is not chosen
            able = [name for name in able if self.nodes[name].alive and not {(node.name, name), (name, node.name)} & self.cut]
        node.steward(self.epoch, self.rng.sample(able, min(members, len(able))), known)

    def _recover(self) -> None:
        self.cut = set()
        for node in self.nodes.values():
            if not node.alive:
                node.boot()
            node.move = None
        self.epoch += 1  # as a steward does that was outbid
        self._steward(5, self.last)  # as gossip brings it
