"""An agent's side of requests: acknowledge, forward to the nearest replica (or as the application chooses), hedge when that one
is silent, go on to another when it is busy.

    node --RouteRequest--> agent --RouteRequest--> replica --Reply--> node
         <---RouteAck-----       <---RouteAck-----

A replica that does not acknowledge in time is asked once more before it is taken for silent. The agent forgets a request as soon
as one has acknowledged it. If every replica it tried is silent or refuses,
it says so to the node, which then tries elsewhere. Where every replica has just turned a request away it turns away the next
itself: a refusal from here is quicker, and costs the busy ones nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from opus_node.core.choice import Choice, by_latency, choice_of, pick
from opus_node.core.context import Context
from opus_node.core.coordinates import Place, expected
from opus_node.core.held import Held
from opus_node.core.load import UNHEARD
from opus_node.core.messages import (
    BUSY,
    NOT_HOLDER,
    NOT_PRIMARY,
    SMALL,
    AppDelay,
    NearReplicas,
    ProbeReply,
    ReplicaSet,
    RouteAck,
    RouteRefuse,
    RouteRequest,
)
from opus_node.core.once import Once
from opus_node.core.popularity import Asked
from opus_node.core.prober import Prober
from opus_node.core.rtt import NEVER, Rtt
from opus_node.core.shards import Table, shard_of, table_of
from opus_node.core.timers import Timer
from opus_node.core.types import MILLISECOND, SECOND, AppId, Nanos, NodeId

RELAYS = 2048
"""Requests under way through one agent at most; more are refused ("busy") and counted."""
HEDGE_UNKNOWN: Nanos = 150 * MILLISECOND
"""Silence after which a replica that was never measured is hedged."""
TRIES = 3
"""Replicas tried for one request before the agent gives up."""
REMEASURE: Nanos = 45 * SECOND
REMEASURE_MOST: Nanos = 160 * SECOND
"""Between two measurements of a replica; the pause grows while they tell what was known, but ends before the connection is closed
as idle."""
REFUSED_FIRST: Nanos = 1 * SECOND
REFUSED_DOUBLED = 4
"""Who says that it is no replica is gone to last for so long, twice as long each time up to so often: an agent may know of an
appointment before the appointed does."""
REPORT: Nanos = 1 * SECOND
"""Between two reports of one silent replica to the steward."""
NOT_REPORTED: Nanos = -REPORT
NOTABLE_SHARE = 0.1
NOTABLE_LEAST: Nanos = 2 * MILLISECOND
"""A change of the delay to the replicas of which nodes are told."""
MANY = 64
"""Of a larger set an agent goes by its nearest members: it keeps connections to those, and measures them again. The others it
has measured once, for the day when all of those are silent."""
NEAREST = 32
NEAREST_AGAIN: Nanos = 30 * SECOND
"""Between two looks for who these are."""
FIRST_ASKED = 32
"""Members of a large set that are measured at once, each second as many."""
NEAR = 4
"""Replicas named to a node as worth measuring."""
GONE = 8
"""The latest to leave a set, of whom nodes are told."""
ATTEMPT_BITS = 16
"""The lower bits of `attempt` count a client's tries; the upper ones are its incarnation."""


class Target(Rtt):
    """A replica as its agent sees it."""

    __slots__ = (
        *("at", "load", "measured_at", "node", "pause", "refusals", "refused", "refused_until", "reported_at", "strikes"),
    )

    def __init__(self, node: NodeId) -> None:
        super().__init__()
        self.node = node
        self.load = UNHEARD
        self.at: Place = 0
        self.strikes = 0
        self.refused = False
        self.refused_until: Nanos = 0
        self.refusals = 0
        self.measured_at: Nanos = 0
        self.pause: Nanos = REMEASURE
        self.reported_at: Nanos = NOT_REPORTED

    def refuses(self, now: Nanos) -> None:
        self.refused = True
        self.refused_until = now + (REFUSED_FIRST << min(self.refusals, REFUSED_DOUBLED))
        self.refusals += 1

    def far(self) -> tuple[Nanos, NodeId]:
        return (self.delay(), self.node)

    def rank(self) -> tuple[bool, int, Nanos, NodeId]:
        return (self.refused, min(self.strikes, 1), self.delay(), self.node)


class Large:
    """Of a set of more than MANY."""

    __slots__ = ("again_at", "nearest", "strangers")

    def __init__(self, targets: Mapping[NodeId, Target], before: Large | None) -> None:
        self.strangers = [node for node, target in targets.items() if not target.measured_at]
        """Never asked."""
        self.nearest: list[Target] = [] if before is None else [one for one in before.nearest if one.node in targets]
        self.again_at: Nanos = 0 if before is None else before.again_at
        """When these are to be chosen anew."""

    def met(self, target: Target) -> None:
        """It was measured: who is near serves at once."""
        if self.nearest and target.far() < self.nearest[-1].far() and target not in self.nearest:
            self.nearest.insert(0, target)


class Relayed:
    __slots__ = ("busy", "deadline", "expires", "last", "message", "named", "sent_at", "source", "timer", "tried")

    def __init__(self, source: NodeId, message: RouteRequest, now: Nanos) -> None:
        self.source = source
        self.message = message
        self.deadline = now + message.left
        self.busy = False
        """Whether a replica has turned it away."""
        self.named: NodeId = ""
        """Who should hold its shard, as a replica says that does not."""
        self.tried: list[NodeId] = []
        self.last: Target | None = None
        self.sent_at: Nanos = 0
        self.expires: Nanos = 0
        """When the last one tried is taken for silent."""
        self.timer: Timer | None = None


class Relay:
    __slots__ = (
        *("_apps", "_ctx", "_gone", "_heads", "_key", "_large", "_news", "_once", "_other", "_prober", "_relayed", "_report"),
        *("_tables", "_told", "asked", "routed", "serving", "shed", "targets"),
    )

    def __init__(
        self, ctx: Context, prober: Prober, once: Once, report: Callable[[AppId, NodeId], None], other: Callable[[], NodeId]
    ) -> None:
        """`report(app, replica)` tells the steward that a replica is silent; `other()` is an agent that may have room."""
        self._once = once
        self._other = other
        self._apps = {app.name: app for app in ctx.config.apps}
        self._ctx = ctx
        self._prober = prober
        self._report = report
        self.targets: dict[AppId, dict[NodeId, Target]] = {}
        self._large: dict[AppId, Large] = {}
        """What is known besides of those sets that are."""
        self.serving: dict[AppId, bool] = {}
        """Whether this agent is one of the replicas itself."""
        self._told: tuple[AppDelay, ...] = ()
        self._news = True
        """Whether delays may be others than when they were last told."""
        self._key: dict[AppId, tuple[int, NodeId]] = {}
        """Which set the targets are of."""
        self._heads: dict[AppId, Target] = {}
        """Primaries, where applications have one, as far as they were named; perhaps none of the targets."""
        self._gone: dict[AppId, dict[NodeId, tuple[int, NodeId]]] = {}
        """Who serves no more, the latest last, and since which set."""
        self._relayed: dict[tuple[NodeId, int, int], Relayed] = {}
        self._tables: dict[AppId, Table] = {}
        """Who holds which shard, where there are any."""
        self.asked = {app.name: Asked(app.shards) for app in ctx.config.apps if app.shards}
        """How much each shard is asked for by way of this agent."""
        self.routed = 0
        self.shed = 0
        """Requests turned away."""

    # Replicas

    def learn(self, new: ReplicaSet) -> None:
        """Targets follow the set; those that stay keep their estimates, new ones are measured in the background."""
        self._news = True
        known = self.targets.get(new.app, {})
        members = frozenset(new.members)
        targets = {node: known.get(node) or Target(node) for node in new.members if node != self._ctx.me}
        self._remember(new, members, [*known, self._ctx.me] if self.serving.get(new.app) else known)
        self.targets[new.app] = targets
        self.serving[new.app] = self._ctx.me in members
        self._key[new.app] = (new.epoch, new.steward)
        if new.app in self.asked:
            self._tables[new.app] = table_of(new, self._apps[new.app].shards)
        self._heads.pop(new.app, None)
        if len(targets) > MANY:
            self._large[new.app] = Large(targets, self._large.get(new.app))
        else:
            self._large.pop(new.app, None)
        for target in self.near_by(new.app):
            target.refused, target.refusals = False, 0
            if not target.samples and new.app not in self._large:
                self._measure(target)
                self._prober.reach(target.node, self._reached)

    def _remember(self, new: ReplicaSet, members: Collection[NodeId], before: Iterable[NodeId]) -> None:
        gone = self._gone.setdefault(new.app, {})
        gone.update((node, (new.epoch, new.steward)) for node in before if node not in members)
        for node in [*(node for node in gone if node in members), *list(gone)[:-GONE]]:
            gone.pop(node, None)

    def _measure(self, target: Target) -> None:
        target.measured_at = self._ctx.now
        if target.samples and not target.strikes:
            self._prober.reach(target.node, self._measured)  # requests find the connection open
        else:
            self._prober.ask(target.node, self._measured)

    def _reached(self, node: NodeId, rtt: Nanos, reply: ProbeReply) -> None:
        for target in self._targets(node):
            target.strikes = 0
            target.met_at = self._ctx.now

    def _measured(self, node: NodeId, rtt: Nanos, reply: ProbeReply) -> None:
        for target in self._targets(node):
            target.strikes = 0
            target.at = reply.at
            self._sample(target, rtt, reply.stream)
        for app, large in self._large.items():
            if (one := self.target(app, node)) is not None:
                large.met(one)

    def _targets(self, node: NodeId) -> list[Target]:
        """What it is to all applications."""
        return [targets[node] for targets in self.targets.values() if node in targets]

    def _sample(self, target: Target, rtt: Nanos, stream: bool) -> None:
        """It is measured anew the later, the less there was to learn."""
        news = _differ(rtt, target.srtt)
        self._news = True
        target.pause = REMEASURE if news else self._ctx.jitter(min(REMEASURE_MOST, 2 * target.pause), 0.85, 1.0)
        target.sample(rtt, self._ctx.now if stream else NEVER)

    def sample(self, target: Target, rtt: Nanos) -> None:
        """By a request that it acknowledged."""
        self._news = True
        target.sample(rtt, self._ctx.now)

    def refused(self, target: Target) -> None:
        self._news = True
        target.refused = True

    def tick(self) -> None:
        """Once a second: look after silent replicas, and after estimates that have grown old."""
        for app, targets in self.targets.items():
            large = self._large.get(app)
            self._tend(targets.values() if large is None else self._tended(targets, large))

    def _tend(self, targets: Iterable[Target]) -> None:
        now = self._ctx.now
        for target in targets:
            if target.refused and now >= target.refused_until:
                target.refused, self._news = False, True
            if now - target.measured_at >= target.pause or target.strikes:
                self._measure(target)

    def _tended(self, targets: Mapping[NodeId, Target], large: Large) -> Sequence[Target]:
        """Of a large set the nearest; those that nobody has measured yet are, so many at a time."""
        ctx = self._ctx
        some = large.strangers[-FIRST_ASKED:]
        del large.strangers[-FIRST_ASKED:]
        for node in some:
            if (target := targets.get(node)) is not None and not target.samples:
                self._measure(target)
        if ctx.now >= large.again_at:
            large.again_at = ctx.now + (SECOND if large.strangers or some else ctx.jitter(NEAREST_AGAIN))
            before = set(large.nearest)
            self._news = True
            large.nearest = heapq.nsmallest(NEAREST, targets.values(), key=Target.far)
            for target in large.nearest:
                if target not in before:
                    self._prober.reach(target.node, self._reached)
        return large.nearest

    def target(self, app: AppId, node: NodeId) -> Target | None:
        return self.targets.get(app, {}).get(node)

    def near_by(self, app: AppId) -> Collection[Target]:
        """Those that it goes by: all, or the nearest of a large set as soon as any is known."""
        large = self._large.get(app)
        return large.nearest if large is not None and large.nearest else self.targets.get(app, {}).values()

    def led_by(self, app: AppId, node: NodeId) -> None:
        """A replica names `node` as the primary."""
        self._heads[app] = self.target(app, node) or Target(node)

    def able(self, app: AppId, key: int) -> list[Target]:
        """Replicas that may answer for a key: all, or those that hold its shard."""
        table = self._tables.get(app)
        if table is None:
            return list(self.near_by(app))
        holders = table[shard_of(key, len(table))]
        return [target for target in self.targets.get(app, {}).values() if target.node in holders]

    def count(self, app: AppId, key: int) -> None:
        """A request passes by here."""
        self.routed += 1
        if app in self.asked:
            self.asked[app].count(key)

    def choose(self, app: AppId, tried: list[NodeId], attempt: int, key: int = 0) -> Target | None:
        """The primary, or else the best replica not yet tried: least delay, or as the application chooses, answering ones first,
        none that has just turned a request away if there is another; later attempts spread over the set."""
        now, head = self._ctx.now, self._heads.get(app)
        if head is not None and head.node not in tried:
            return head
        left = [target for target in self.able(app, key) if target.node not in tried]
        if app in self._large and app not in self._tables and all(target.strikes or target.refused for target in left):
            left = [target for target in self.targets[app].values() if target.node not in tried] or left
        left = [target for target in left if not target.load.full(now)] or left
        if len(left) <= 1:
            return left[0] if left else None
        left.sort(key=Target.rank)
        config = self._apps.get(app)
        if config is not None and not by_latency(config):
            return self._chosen(choice_of(config), left)
        best, second = left[0], left[1]
        if attempt >= 3 and not tried:
            return self._ctx.rng.choice(left)
        if attempt == 2 and not tried:
            return best if self._ctx.rng.random() < 0.5 else second
        return best

    def _chosen(self, choice: Choice, ranked: list[Target]) -> Target:
        """What `choice` says of those that answer, or of all if none does."""
        standing = ranked[0].rank()[:2]
        able = {target.node: target for target in ranked if target.rank()[:2] == standing}
        now, staleness = self._ctx.now, self._ctx.config.load_staleness
        options = [target.load.option(node, target.delay(), now, staleness) for node, target in able.items()]
        return able[pick(choice, options, self._ctx.rng).node]

    def delays(self) -> tuple[AppDelay, ...]:
        """How far the replicas are that it would choose; the same tuple for as long as that is about the same."""
        if not self._news:
            return self._told
        self._news = False
        found = [AppDelay(app, delay) for app in self.targets if (delay := self._delay(app)) is not None]
        told = {one.app: one.rtt for one in self._told}
        if len(found) != len(told) or any(_differ(one.rtt, told.get(one.app)) for one in found):
            self._told = tuple(found)
        return self._told

    def near(self, held: Held) -> tuple[NearReplicas, ...]:
        """Replicas worth measuring for one of this agent's nodes, for each application whose set it has not heard of yet."""
        found = []
        for app in (one.app for one in held.demand):
            targets = self.near_by(app)
            key = self._key.get(app, (0, ""))
            before = held.heard_of.get(app, (-1, ""))
            if (
                app not in self.asked
                and targets
                and before != key
                and all(target.samples or target.strikes for target in targets)
            ):
                held.heard_of = {**held.heard_of, app: key}
                best = heapq.nsmallest(NEAR, targets, key=lambda target: (_guess(held, target), target.node))
                mine = (self._ctx.me,) if self.serving.get(app) else ()
                near = (*mine, *(target.node for target in best if target.node != held.node))
                gone = (node for node, since in self._gone[app].items() if since > before and node != held.node)
                found.append(NearReplicas(app, near, tuple(gone)))
        return tuple(found)

    def _delay(self, app: AppId) -> Nanos | None:
        if self.serving.get(app):
            return 0
        return min((target.srtt for target in self.near_by(app) if target.samples and not target.refused), default=None)

    # Requests

    def on_request(self, source: NodeId, message: RouteRequest) -> None:
        ctx = self._ctx
        key = (message.client, message.request, message.attempt)
        targets = self.near_by(message.app)
        if not targets:
            self._once.answer(source, RouteRefuse(*key, "no replica known"))
            return
        crowded = len(self._relayed) >= RELAYS
        if crowded or all(target.load.full(ctx.now) for target in targets):
            self.shed += 1
            self._once.answer(source, RouteRefuse(*key, BUSY, self._other() if crowded else ""))
            return
        self._once.answer(source, RouteAck(*key))
        self.count(message.app, message.key)
        forward = RouteRequest(
            message.app,
            message.client,
            message.request,
            message.attempt,
            message.key,
            message.write,
            message.hops + 1,
            False,
            message.left,
            message.reply_bytes,
            message.payload,
            message.content,
            message.tags,
        )
        relayed = Relayed(source, forward, ctx.now)
        self._relayed[key] = relayed
        self._try(key, relayed)

    def _try(self, key: tuple[NodeId, int, int], relayed: Relayed) -> None:
        ctx = self._ctx
        message = relayed.message
        if relayed.timer is not None:
            relayed.timer.cancel()
        target = None
        if len(relayed.tried) < TRIES and ctx.now < relayed.deadline:
            named, relayed.named = relayed.named, ""
            if named and named not in (*relayed.tried, ctx.me):
                target = self.target(message.app, named) or Target(named)
            else:
                target = self.choose(message.app, relayed.tried, _try_of(message), message.key)
        if target is None:
            del self._relayed[key]
            if ctx.now < relayed.deadline:
                self.shed += relayed.busy
                self._once.answer(relayed.source, RouteRefuse(*key, BUSY if relayed.busy else "replicas silent"))
            return
        if relayed.tried:
            message = relayed.message = replace(message, left=relayed.deadline - ctx.now)
        relayed.tried.append(target.node)
        relayed.last = target
        relayed.sent_at = ctx.now
        ctx.send(target.node, message)
        relayed.expires = ctx.now + ctx.patience(target, HEDGE_UNKNOWN)
        if target.samples and max(message.payload, len(message.content)) <= SMALL and _first(relayed):
            again_at, relayed.expires = ctx.once_more(target, relayed.expires)
            relayed.timer = ctx.timers.at(again_at, self._ask_again, key)
        else:
            relayed.timer = ctx.timers.at(relayed.expires, self._silent, key)

    def _ask_again(self, key: tuple[NodeId, int, int]) -> None:
        relayed = self._relayed.get(key)
        if relayed is None or relayed.last is None:
            return
        left = relayed.deadline - self._ctx.now
        self._ctx.send(relayed.last.node, replace(relayed.message, left=left, again=True))
        relayed.timer = self._ctx.timers.at(relayed.expires, self._silent, key)

    def _silent(self, key: tuple[NodeId, int, int]) -> None:
        relayed = self._relayed.get(key)
        if relayed is None or relayed.last is None:
            return
        self.strike(relayed.message.app, relayed.last)
        self._try(key, relayed)

    def strike(self, app: AppId, target: Target) -> None:
        """A replica owed an acknowledgement: rank it last, ask it again, tell the steward."""
        ctx = self._ctx
        self._leave_head(app, target)
        if not target.samples and not target.strikes:
            target.strikes = 1  # perhaps only a slow dial
            return
        target.strikes += 1
        if ctx.now - target.reported_at >= REPORT:
            target.reported_at = ctx.now
            self._measure(target)
            self._report(app, target.node)

    def _leave_head(self, app: AppId, target: Target) -> None:
        if self._heads.get(app) is target:
            del self._heads[app]

    def on_ack(self, source: NodeId, message: RouteAck) -> None:
        key = (message.client, message.request, message.attempt)
        relayed = self._relayed.get(key)
        if relayed is None or source not in relayed.tried:
            return
        target = relayed.last
        if target is not None and target.node == source:
            self.sample(target, self._ctx.now - relayed.sent_at)
        else:
            target = self.target(relayed.message.app, source)
        if target is not None:
            target.strikes = target.refusals = 0
            target.load = target.load.told(message.load, self._ctx.now)
        self._once.passed(key, source)
        self._forget(key, relayed)

    def on_refuse(self, source: NodeId, message: RouteRefuse) -> None:
        key = (message.client, message.request, message.attempt)
        relayed = self._relayed.get(key)
        if relayed is None or source not in relayed.tried:
            return
        target = self.target(relayed.message.app, source)
        if message.reason == BUSY:
            relayed.busy = True
            if target is not None:
                target.strikes = 0
                target.load = target.load.told(message.load, self._ctx.now)
                target.load = target.load.turned_away(self._ctx.now)
        elif message.reason == NOT_PRIMARY and message.alternative != self._ctx.me:
            self.led_by(relayed.message.app, message.alternative)
        elif message.reason == NOT_HOLDER:
            relayed.named = message.alternative
        elif target is not None:
            self._leave_head(relayed.message.app, target)
            target.refuses(self._ctx.now)
            self._news = True
        if relayed.last is None or relayed.last.node == source:
            self._try(key, relayed)

    def on_unreachable(self, peer: NodeId) -> None:
        for app in self.targets:
            if (target := self.target(app, peer)) is not None:
                self.strike(app, target)
        for key, relayed in list(self._relayed.items()):
            if relayed.last is not None and relayed.last.node == peer:
                self._try(key, relayed)

    def _forget(self, key: tuple[NodeId, int, int], relayed: Relayed) -> None:
        if relayed.timer is not None:
            relayed.timer.cancel()
        del self._relayed[key]

    def stop(self) -> None:
        """The agent steps down: what is under way is handed back to the nodes."""
        for key, relayed in list(self._relayed.items()):
            self._forget(key, relayed)
            self._once.answer(relayed.source, RouteRefuse(*key, "no agent any more"))
        self.targets = {}
        self._large = {}
        self._news = True


def _first(relayed: Relayed) -> bool:
    """Whether neither this agent nor the client has waited in vain for it yet: a second silence is hardly a lost packet."""
    return len(relayed.tried) == 1 and _try_of(relayed.message) == 1


def _try_of(message: RouteRequest) -> int:
    """Its client's how manieth, from 1."""
    return message.attempt & ((1 << ATTEMPT_BITS) - 1)


def _guess(held: Held, target: Target) -> Nanos:
    """From one of the agent's nodes to a replica: no nearer than their difference from here, no farther than by here."""
    away = target.delay()
    return max(abs(held.rtt - away), min(expected(held.at, target.at) or away, held.rtt + away))


def _differ(now: Nanos, told: Nanos | None) -> bool:
    return told is None or abs(now - told) > max(NOTABLE_LEAST, int(NOTABLE_SHARE * told))
