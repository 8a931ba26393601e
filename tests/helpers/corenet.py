"""A small deterministic network of cores for tests of the core itself: virtual time, a delay matrix, and malice on request.

Not the simulator: no rates, queues or streams. Messages may be lost, doubled, delayed and reordered; hosts crash,
freeze and restart; groups are cut off and healed. Every step is checked for what must always hold.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from random import Random
from typing import Any

from opus_node.clock import ClockedCore, HostClock
from opus_node.core.events import (
    Boot,
    ClientReply,
    Event,
    Leave,
    MembersPlaced,
    Notice,
    Receive,
    Request,
    RequestDone,
    RoleChanged,
    Send,
    Serve,
    Served,
    ServiceHealth,
    Wake,
)
from opus_node.core.messages import Message, ReplicaSet
from opus_node.core.node import NodeCore
from opus_node.core.sets import ReplicaSets
from opus_node.core.types import MILLISECOND, SECOND, AppConfig, Nanos, NodeConfig, NodeId

APP = "web"
Delay = Callable[[NodeId, NodeId], Nanos]
"""One way."""


@dataclass
class Chance:
    """What the network does to each message, by the network's own generator."""

    loss: float = 0.0
    duplicate: float = 0.0
    jitter: Nanos = 0
    """Uniform, on top of the delay; more than the gap between two messages reorders them."""


@dataclass
class Told:
    """One notice: when and where."""

    at: Nanos
    node: NodeId
    notice: Notice


@dataclass
class CoreNet:
    """Cores and the paths between them. `delay(a, b)` is one way; see `sites` for a ready-made one."""

    delay: Delay
    config: NodeConfig = field(default_factory=lambda: NodeConfig(apps=(AppConfig(APP, 3),)))
    seed: str = "corenet"
    chance: Chance = field(default_factory=Chance)
    seeds: tuple[NodeId, ...] = ()
    make: Callable[[NodeId, NodeConfig, Random], Any] = NodeCore

    def __post_init__(self) -> None:
        self.now: Nanos = 0
        self.steps = 0
        self.cores: dict[NodeId, NodeCore] = {}
        self.clocks: dict[NodeId, HostClock] = {}
        """Of hosts that have a clock of their own when they boot."""
        self.configs: dict[NodeId, NodeConfig] = {}
        """Of hosts that are not like the others."""
        self.lives: dict[NodeId, int] = {}
        self.dead: set[NodeId] = set()
        self.left: dict[NodeId, Nanos] = {}
        """When those went that were asked to."""
        self.told: list[Told] = []
        self.log: list[str] | None = None
        self.starts: Callable[[NodeId], Nanos | None] = lambda node: None
        """How long a host's program takes to be ready once the role began; None: it never is."""
        self.answers: Callable[[NodeId, Serve], Served | None] = lambda node, serve: Served(serve.ticket, True, 1000, b"yes")
        """What a host's program answers, 5 ms after it was asked; None: nothing."""
        self.served: list[tuple[NodeId, Serve]] = []
        self.replied: list[tuple[NodeId, ClientReply]] = []
        self.log_filter: Callable[[Send], bool] = lambda send: True
        self.loses: Callable[[NodeId, Send], bool] = lambda source, send: False
        """Which messages get lost, besides what chance takes."""
        self._rng = Random(f"{self.seed}/net")
        self._queue: list[tuple[Nanos, int, NodeId, int, Event]] = []
        self._order = 0
        self._wakes: dict[NodeId, Nanos] = {}
        self._cuts: list[tuple[frozenset[NodeId], frozenset[NodeId]]] = []
        self._requests: dict[NodeId, int] = {}
        self._asked: dict[tuple[NodeId, int, int], tuple[Nanos, Nanos]] = {}
        self._done: dict[tuple[NodeId, int, int], Told] = {}
        self.broken: list[str] = []
        """Violations of what must hold at every step."""
        self.decided: dict[tuple[str, int, NodeId], tuple[NodeId, ...]] = {}
        self._held: dict[NodeId, tuple[ReplicaSets, dict[str, tuple[int, NodeId]]]] = {}
        """What each agent held, as long as it is one."""

    # Hosts

    def boot(self, node: NodeId) -> None:
        life = self.lives[node] = self.lives.get(node, -1) + 1
        self.dead.discard(node)
        core: Any = self.make(node, self.configs.get(node, self.config), Random(f"{self.seed}/{node}/{life}"))
        if node in self.clocks:
            core = ClockedCore(core, self.clocks[node], node)
        self.cores[node] = core
        self._step(node, Boot(self.seeds, life))

    def boot_all(self, nodes: Iterable[NodeId]) -> None:
        for node in nodes:
            self.boot(node)

    def power_off(self, *nodes: NodeId) -> None:
        for node in nodes:
            self.dead.add(node)
            self._wakes.pop(node, None)
            self._asked = {key: value for key, value in self._asked.items() if key[0] != node}

    def leave(self, *nodes: NodeId) -> None:
        """Asks them to go; each is dead as soon as it says that it may be."""
        for node in nodes:
            self._step(node, Leave())

    def live(self) -> list[NodeId]:
        return [node for node in self.cores if node not in self.dead]

    def snapshot(self, node: NodeId) -> Any:
        return self.cores[node].snapshot()

    def agents(self) -> list[NodeId]:
        return [node for node in self.live() if self.snapshot(node).is_agent]

    def replicas(self, app: str = APP) -> list[NodeId]:
        return [node for node in self.live() if app in self.snapshot(node).replica_of]

    def stewards(self, app: str = APP) -> list[NodeId]:
        return [node for node in self.live() if app in self.snapshot(node).steward_of]

    # Paths

    def cut(self, one: Iterable[NodeId], other: Iterable[NodeId] | None = None) -> None:
        """Nothing passes between the groups, both ways; packets in flight are lost. Without `other`: all the rest."""
        first = frozenset(one)
        self._cuts.append((first, frozenset(other) if other is not None else frozenset(self.cores) - first))

    def heal(self) -> None:
        self._cuts = []

    def is_cut(self, one: NodeId, other: NodeId) -> bool:
        return any((one in a and other in b) or (one in b and other in a) for a, b in self._cuts)

    # Clients

    def request(
        self, node: NodeId, deadline: Nanos = 2 * SECOND, app: str = APP, write: bool = False, key: int | None = None
    ) -> int:
        number = self._requests[node] = self._requests.get(node, 0) + 1
        self._asked[(node, self.lives[node], number)] = (self.now, self.now + deadline)
        self._step(node, Request(app, number, number % 17 if key is None else key, write, 200, 1000, self.now + deadline))
        return number

    def done(self) -> list[RequestDone]:
        return [told.notice for told in self._done.values() if isinstance(told.notice, RequestDone)]

    def outcomes(self, since: Nanos = 0, nodes: Iterable[NodeId] | None = None) -> list[RequestDone]:
        """Requests issued at `since` or later, by `nodes` or by all."""
        chosen = None if nodes is None else set(nodes)
        return [
            told.notice
            for (node, _, _), told in self._done.items()
            if isinstance(told.notice, RequestDone) and told.notice.issued_at >= since and (chosen is None or node in chosen)
        ]

    def unanswered(self) -> list[tuple[NodeId, int, int]]:
        """Requests of live clients past their deadline without their one RequestDone."""
        return [key for key, (_, deadline) in self._asked.items() if deadline < self.now and key not in self._done]

    # Time

    def run(self, until: Nanos) -> None:
        """Plays on to `until` (absolute)."""
        while self._queue and self._queue[0][0] <= until:
            at, _, node, life, event = heapq.heappop(self._queue)
            self.now = max(self.now, at)
            if node in self.dead or self.lives.get(node) != life:
                continue
            if isinstance(event, Wake):
                if self._wakes.get(node) != at:
                    continue
                del self._wakes[node]
            elif isinstance(event, Receive) and self.is_cut(event.source, node):
                continue
            self._step(node, event)
        self.now = until

    def run_for(self, span: Nanos) -> None:
        self.run(self.now + span)

    def load(self, span: Nanos, every: Nanos, nodes: list[NodeId] | None = None, deadline: Nanos = 2 * SECOND) -> None:
        """Plays `span` with one request each `every`, clients drawn at random among the live `nodes`."""
        end = self.now + span
        while self.now < end:
            alive = [node for node in (nodes or list(self.cores)) if node not in self.dead]
            self.request(self._rng.choice(alive), deadline)
            self.run(min(end, self.now + every))

    def _step(self, node: NodeId, event: Event) -> None:
        self.steps += 1
        ready = self.cores[node].step(event, self.now)
        for send in ready.sends:
            if send.to == node:
                self.broken.append(f"{node} sends {send.message} to itself")
            self._send(node, send)
        for notice in ready.notices:
            self._notice(node, notice)
            if isinstance(notice, RoleChanged) and notice.role == "replica":
                self._program(node, notice)
        for serve in ready.serves:
            self.served.append((node, serve))
            if (served := self.answers(node, serve)) is not None:
                self._push(self.now + 5 * MILLISECOND, node, served)
        self.replied += [(node, reply) for reply in ready.replies]
        for reply in ready.replies:
            self._reply(node, reply)
        self._check_held(node)
        if ready.left:
            self.left[node] = self.now
            self.power_off(node)
        elif ready.wake_at is None:
            self._wakes.pop(node, None)
        elif self._wakes.get(node) != ready.wake_at:
            at = max(ready.wake_at, self.now)
            self._wakes[node] = at
            self._push(at, node, Wake())

    def _program(self, node: NodeId, notice: RoleChanged) -> None:
        takes = self.starts(node)
        if notice.active and takes is not None and any(app.program for app in self.config.apps):
            self._push(self.now + takes, node, ServiceHealth(notice.app, True))

    def _push(self, at: Nanos, node: NodeId, event: Event) -> None:
        self._order += 1
        heapq.heappush(self._queue, (at, self._order, node, self.lives.get(node, 0), event))

    def _send(self, source: NodeId, send: Send) -> None:
        self._note(source, send)
        for replica_set in sets_in(send.message):
            self._check_set(replica_set)
        if send.to not in self.cores or self.is_cut(source, send.to) or self.loses(source, send):
            return
        rng, chance = self._rng, self.chance
        copies = 1
        if chance.loss and rng.random() < chance.loss:
            copies = 0
        elif chance.duplicate and rng.random() < chance.duplicate:
            copies = 2
        for _ in range(copies):
            late = rng.randrange(chance.jitter) if chance.jitter else 0
            self._push(self.now + self.delay(source, send.to) + late, send.to, Receive(source, send.message))

    def _check_set(self, one: ReplicaSet) -> None:
        known = self.decided.setdefault((one.app, one.epoch, one.steward), one.members)
        if known != one.members:
            self.broken.append(f"two sets share {one.app} {one.epoch} {one.steward}: {known} and {one.members}")

    def _check_held(self, node: NodeId) -> None:
        role = getattr(self.cores[node], "_role", None)
        if role is None:
            self._held.pop(node, None)
            return
        sets, before = self._held.get(node, (None, {}))
        now = {one.app: (one.epoch, one.steward) for one in role.sets.all()}
        if sets is role.sets:
            self.broken += [
                f"{node} goes back from {before[app]} to {now[app]}" for app in now if now[app] < before.get(app, (0, ""))
            ]
        self._held[node] = (role.sets, now)

    def _notice(self, node: NodeId, notice: Notice) -> None:
        told = Told(self.now, node, notice)
        self.told.append(told)
        if self.log is not None and not isinstance(notice, MembersPlaced):  # which explains the next one, at length
            self.log.append(f"t={self.now / SECOND:.3f}s {node} * {brief(notice)}")
        if isinstance(notice, RequestDone):
            key = (node, self.lives[node], notice.request)
            if key in self._done:
                self.broken.append(f"{node} is done twice with request {notice.request}")
            self._done[key] = told
            if notice.done_at > self._asked[key][1] + MILLISECOND:
                self.broken.append(f"{node} is done with request {notice.request} after its deadline")

    def _reply(self, node: NodeId, reply: ClientReply) -> None:
        if (node, self.lives[node], reply.request) not in self._done:
            self.broken.append(f"{node} replies to request {reply.request} without a RequestDone")

    def _note(self, source: NodeId, send: Send) -> None:
        if self.log is not None and self.log_filter(send):
            self.log.append(f"t={self.now / SECOND:.3f}s {source} -> {send.to} {brief(send.message)}")


def sets_in(message: Message) -> tuple[ReplicaSet, ...]:
    """The replica sets a message carries."""
    found: tuple[ReplicaSet, ...] = tuple(getattr(message, "replica_sets", ()))
    one = getattr(message, "replica_set", None)
    return (*found, one) if one is not None else found


def brief(value: Any) -> str:
    """A record on one line: class name and fields, without empty ones and packed coordinates, which tell a reader nothing."""
    shown = []
    for one in _told(value):
        content = getattr(value, one.name)
        if content in ((), "", 0) and content is not False:
            continue
        shown.append(f"{one.name}={_plain(content)}")
    return f"{type(value).__name__}({' '.join(shown)})"


def _plain(content: Any) -> str:
    if isinstance(content, tuple):
        return "[" + ", ".join(_plain(one) for one in content) + "]"
    if hasattr(content, "__dataclass_fields__"):
        told = [one.name for one in _told(content) if one.name != "holders" or content.holders]  # most sets have no table
        return "/".join(_plain(getattr(content, name)) for name in told)
    return str(content)


def sites(rtt_ms: dict[tuple[str, str], float], inside_ms: float = 1.0) -> Delay:
    """Delays between nodes named "site-number"; half of `rtt_ms` one way, `inside_ms` round trip within a site."""
    table = {}
    for (one, other), rtt in rtt_ms.items():
        table[one, other] = table[other, one] = int(rtt * MILLISECOND / 2)
    inside = int(inside_ms * MILLISECOND / 2)

    def delay(source: NodeId, to: NodeId) -> Nanos:
        one, other = source.rsplit("-", 1)[0], to.rsplit("-", 1)[0]
        return inside if one == other else table[one, other]

    return delay


SIX = ("use", "usw", "eu", "in", "jp", "br")
SIX_RTT = {
    ("use", "usw"): 62.0,
    ("use", "eu"): 75.0,
    ("use", "in"): 190.0,
    ("use", "jp"): 150.0,
    ("use", "br"): 115.0,
    ("usw", "eu"): 135.0,
    ("usw", "in"): 220.0,
    ("usw", "jp"): 100.0,
    ("usw", "br"): 175.0,
    ("eu", "in"): 120.0,
    ("eu", "jp"): 215.0,
    ("eu", "br"): 185.0,
    ("in", "jp"): 125.0,
    ("in", "br"): 300.0,
    ("jp", "br"): 260.0,
}
"""Six regions of the world, about as far from each other as they are."""


def six_regions(
    config: NodeConfig | None = None,
    seed: str = "six",
    per_site: int = 5,
    chance: Chance | None = None,
    configs: dict[NodeId, NodeConfig] | None = None,
) -> CoreNet:
    """`per_site` hosts in each of six regions, seeds in three of them, all booted at time 0; `configs` are single hosts' own."""
    net = CoreNet(sites(SIX_RTT), seed=seed, chance=chance or Chance())
    net.configs = configs or {}
    if config is not None:
        net.config = config
    net.seeds = tuple(f"{site}-1" for site in SIX[:3])
    names = [f"{site}-{number}" for site in SIX for number in range(1, per_site + 1)]
    for name in names:  # all exist before the first message is sent
        net.cores[name] = NodeCore(name, net.config, Random(0))
        net.dead.add(name)
    net.boot_all(names)
    return net


def _told(record: Any) -> list[Any]:
    return [one for one in fields(record) if one.name != "at"]


def ask(net: CoreNet, node: str, deadline: int = 2 * SECOND) -> RequestDone:
    """One request, played to its end."""
    number = net.request(node, deadline)
    net.run_for(deadline + MILLISECOND)
    found = [told.notice for told in net.told if told.node == node and isinstance(told.notice, RequestDone)]
    assert found[-1].request == number
    return found[-1]


def plain(net: CoreNet, site: str = "") -> str:
    """A node that is neither agent nor replica."""
    return next(node for node in net.live() if node not in net.agents() and node not in net.replicas() and node.startswith(site))
