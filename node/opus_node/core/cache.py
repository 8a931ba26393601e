"""The replicas a client remembers: at most three a application, the nearest by its own measurements, not the first to answer."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import islice

from opus_node.core.choice import by_latency, choice_of, pick
from opus_node.core.context import Context
from opus_node.core.load import UNHEARD
from opus_node.core.messages import Demand, KeyRate, Load, NearReplicas, ProbeReply, ReplicaSet
from opus_node.core.popularity import Sketch
from opus_node.core.prober import Prober
from opus_node.core.rtt import KEPT_OPEN, LONG_AGO, Rtt
from opus_node.core.types import MILLISECOND, SECOND, AppConfig, AppId, Nanos, NodeId

TENDED = 1
"""Entries whose connections are kept open: the nearest. To the next a small request runs ahead of its dial (`transport`), and the
probes of a second connection were most of what replicas spent on control."""
KEPT = 3
"""Entries for one application (DESIGN section 4)."""
SMALL = 4
"""All members of a set as small as this are measured when it is learned; of a larger one whoever answered, and those that the
agent names."""
SUGGESTED = 8
SUGGESTED_LEAST = 2
"""Measured of those that somebody names, at pace 1 and at any pace."""
REMEASURE: Nanos = 120 * SECOND
REMEASURE_MOST: Nanos = 1920 * SECOND
"""While requests flow, one member, whichever, is measured after so long; four times as long while none is better
than those held."""
RECENT: Nanos = 300 * SECOND
"""Who has not asked for so long may dial."""
NOT_RECENT: Nanos = -RECENT
DEAR: Nanos = 30 * MILLISECOND
FARTHER: Nanos = 300 * SECOND
FARTHER_KEPT = 16
"""One found farther than those kept is not measured again for so long though somebody names it; so many are remembered."""
LOOK_EVERY: Nanos = SECOND
"""A toll beyond which, not more often than this, one more member is measured: when near ones are busy, farther ones must be known
and dialled before they are needed (a dial takes three round trips)."""
HEDGE_SHARE = 0.1
HEDGE_BURST = 10.0
"""Hedges are at most this share of requests, saved up for so many: an overload must not be answered with twice the load."""
SUSPECT_FIRST: Nanos = 500 * MILLISECOND
SUSPECT_MAX: Nanos = 16 * SECOND
SHUT_FIRST: Nanos = 1 * SECOND
SHUT_DOUBLED = 4
"""Who was not ready is gone to again after so long, twice as long each time up to so often, as agents do."""


class Entry(Rtt):
    """One replica; one with `strikes` is not gone to directly until it answers a probe, one that is shut not for a while."""

    __slots__ = ("asked_at", "load", "node", "refusals", "shut_until", "strikes")

    def __init__(self, node: NodeId) -> None:
        super().__init__()
        self.node = node
        self.load = UNHEARD
        self.strikes = 0
        self.asked_at: Nanos = LONG_AGO
        self.shut_until: Nanos = 0
        self.refusals = 0


class AppCache:
    """What one node knows of one application it uses."""

    __slots__ = (
        "_app",
        "_asked_at",
        "_ctx",
        "_farther",
        "_fresh_at",
        "_hedges",
        "_keys",
        "_looked_at",
        "_pause",
        "_prober",
        "_rate_at",
        "_requests",
        "config",
        "entries",
        "epoch",
        "head",
        "keys",
        "rate",
        "reply",
        "steward",
        "used",
    )

    def __init__(self, ctx: Context, prober: Prober, app: AppId) -> None:
        self._ctx = ctx
        self._prober = prober
        self._app = app
        self.config = next((one for one in ctx.config.apps if one.name == app), AppConfig(app))
        self._hedges = HEDGE_BURST
        self._looked_at: Nanos = 0
        self.entries: dict[NodeId, Entry] = {}
        self._farther: dict[NodeId, Nanos] = {}
        """Replicas that were found farther than all entries, and until when that is believed, while no entry is lost."""
        self.head: Entry | None = None
        """The primary, where there is one, as far as anybody has said; it may be none of the entries."""
        self.epoch = -1
        self.steward: NodeId = ""
        self.reply = Rtt()
        """From sending by an agent to the reply."""
        self.used = False
        self._fresh_at: Nanos = 0
        self._pause: Nanos = REMEASURE
        self._requests = 0
        self._asked_at: Nanos = NOT_RECENT
        self.rate = 0.0
        self.keys: tuple[KeyRate, ...] = ()
        """Most asked for, as of the last call."""
        self._keys = Sketch()
        self._rate_at: Nanos = ctx.now

    # Demand

    def count(self, key: int) -> None:
        self._requests += 1
        self._keys.count(key)
        self._asked_at = self._ctx.now
        self._hedges = min(HEDGE_BURST, self._hedges + HEDGE_SHARE)

    def may_hedge(self) -> bool:
        """Whether one more hedge is within the budget, which it then takes."""
        if self._hedges < 1.0:
            return False
        self._hedges -= 1.0
        return True

    def demand(self) -> Demand:
        """Requests per second, smoothed over about three calls (one a lease)."""
        now = self._ctx.now
        span = now - self._rate_at
        if span >= SECOND // 2:
            rate = self._requests * SECOND / span
            self.rate = rate if not self.rate else self.rate + (rate - self.rate) / 2
            self._requests = 0
            self._rate_at = now
            self.keys = self._keys.told(self.rate)
        return Demand(self._app, round(self.rate, 3), self.nearest(), self.keys)

    def nearest(self) -> Nanos:
        """Round trip to the nearest replica that answers; 0: none is known."""
        return min((entry.srtt for entry in self.entries.values() if not entry.strikes), default=0)

    def farthest(self) -> Rtt:
        """To the farthest of the entries; an empty one where there are none."""
        return max(self.entries.values(), key=Rtt.delay, default=Rtt())

    # Replicas

    def learn(self, replica_set: ReplicaSet, responder: NodeId) -> None:
        """From a reply: a greater set drops those that are no longer in it; members not yet known are measured. Where keys are
        sharded none is remembered: who of them holds what is the agents' affair."""
        if self.config.shards:
            return
        key = (replica_set.epoch, replica_set.steward)
        if key < (self.epoch, self.steward):
            return
        now = self._ctx.now
        if key > (self.epoch, self.steward):
            self.epoch, self.steward = key
            for node in [node for node in self.entries if node not in replica_set.members]:
                del self.entries[node]
                self._farther = {}
            self._fresh_at = now
            self._pause = REMEASURE
            fresh = replica_set.members if len(replica_set.members) <= SMALL else (responder,)
            self.suggest(node for node in fresh if node in replica_set.members)
        elif now - self._fresh_at >= self._ctx.budget.stretched(self._pause):
            self._fresh_at = now
            self._pause = self._ctx.jitter(min(REMEASURE_MOST, 4 * self._pause))
            others = [node for node in replica_set.members if node not in (responder, self._ctx.me)]
            if others:
                self._prober.ask(self._ctx.rng.choice(others), self._measured)

    def told(self, news: NearReplicas) -> None:
        """By the agent, with a lease: some have gone, others are there."""
        for node in news.gone:
            self.refused(node)
        self.suggest(news.replicas)

    def suggest(self, nodes: Iterable[NodeId]) -> None:
        """Somebody thinks that these are near; not those that were just found to be farther than those that are kept."""
        known = (*self.entries, self._ctx.me)
        new = (node for node in nodes if node not in known and self._ctx.now >= self._farther.get(node, 0))
        for node in list(islice(new, max(SUGGESTED_LEAST, self._ctx.budget.some(SUGGESTED)))):
            self._prober.ask(node, self._measured)

    def _measured(self, node: NodeId, rtt: Nanos, reply: ProbeReply) -> None:
        """Of those not held, one better than the worst is remembered: the nearest, or any where load counts, once dialled."""
        entry = self.entries.get(node)
        if entry is not None:
            entry.strikes = 0
            entry.sample(rtt)
        elif self._worth(node, rtt):
            if by_latency(self.config) and 0 < self.nearest() <= rtt:
                self._remember(node, rtt)
            else:
                self._prober.reach(node, partial(self._reached, rtt))

    def _worth(self, node: NodeId, rtt: Nanos) -> bool:
        if len(self.entries) < KEPT:
            return True
        worst = max(self.entries.values(), key=self._cost)
        if worst.strikes or self._cost(worst)[1] > rtt:
            return True
        self._leave_out(node)
        return False

    def _leave_out(self, node: NodeId) -> None:
        self._farther.pop(node, None)
        self._farther[node] = self._ctx.now + self._ctx.budget.stretched(FARTHER)
        while len(self._farther) > FARTHER_KEPT:
            del self._farther[next(iter(self._farther))]

    def _reached(self, measured: Nanos, node: NodeId, rtt: Nanos, reply: ProbeReply) -> None:
        """Its connection stands: only now is it gone to, since a request must not wait for the dial."""
        entry = self.entries.get(node)
        if entry is None and self._worth(node, measured):
            entry = self._remember(node, measured)
        if entry is not None:
            entry.strikes = 0
            entry.met_at = self._ctx.now

    def _remember(self, node: NodeId, rtt: Nanos) -> Entry:
        if len(self.entries) >= KEPT:
            worst = max(self.entries.values(), key=self._cost)
            del self.entries[worst.node]
            if not worst.strikes:
                self._leave_out(worst.node)
            self._pause = REMEASURE
        entry = self.entries[node] = Entry(node)
        entry.sample(rtt)
        return entry

    def _tended(self, node: NodeId, rtt: Nanos, reply: ProbeReply) -> None:
        entry = self.entries.get(node)
        if entry is not None:
            entry.strikes = 0
            entry.sample(rtt, self._ctx.now)

    def led_by(self, node: NodeId) -> Entry:
        """`node` has answered as the primary, or was named as such."""
        if self.head is None or self.head.node != node:
            self.head = self.entries.get(node) or Entry(node)
        return self.head

    def _known(self, node: NodeId) -> Entry | None:
        return self.head if self.head is not None and self.head.node == node else self.entries.get(node)

    def best(self, tried: list[NodeId]) -> Entry | None:
        """The one to go to: the primary, or the nearest that answers, or as the application chooses; none that has just turned a
        request away.

        Silent ones are probed here, with growing pauses, instead of risking a request.
        """
        found: Entry | None = None
        able: list[Entry] = []
        now = self._ctx.now
        if self.head is not None and self.head.node not in tried:
            return self.head
        for entry in self.entries.values():
            if entry.strikes:
                if now - entry.asked_at >= min(SUSPECT_MAX, SUSPECT_FIRST << min(entry.strikes, 6)):
                    entry.asked_at = now
                    entry.strikes += 1
                    self._prober.ask(entry.node, self._measured)
            elif entry.node not in tried and now >= entry.shut_until and not entry.load.full(now):
                able.append(entry)
                if found is None or entry.srtt < found.srtt:
                    found = entry
        if found is None or by_latency(self.config):
            return found
        staleness = self._ctx.config.load_staleness
        options = [entry.load.option(entry.node, entry.srtt, now, staleness) for entry in able]
        chosen = pick(choice_of(self.config), options, self._ctx.rng)
        return self.entries[chosen.node]

    def ranked(self) -> list[Entry]:
        """Where to go when ways are short: the nearest that answers first, then those that may not."""
        now = self._ctx.now
        return sorted(self.entries.values(), key=lambda one: (one.strikes > 0, now < one.shut_until, one.delay()))

    def tend(self, until: Nanos) -> None:
        """Keeps the nearest's connection from being closed as idle before `until`: dialling costs two round trips more."""
        recent = self._ctx.now - self._asked_at <= RECENT / self._ctx.budget.pace
        if not recent or not self.entries:
            return
        for entry in sorted(self.entries.values(), key=lambda entry: (entry.strikes, entry.srtt, entry.node))[:TENDED]:
            if not entry.strikes and until - entry.met_at >= KEPT_OPEN and self._ctx.now - entry.asked_at >= KEPT_OPEN // 2:
                entry.asked_at = self._ctx.now
                self._prober.reach(entry.node, self._tended)

    def strike(self, node: NodeId) -> None:
        """It owed an answer."""
        self._leave_head(node)
        entry = self.entries.get(node)
        if entry is not None and not entry.strikes:
            entry.strikes = 1
            entry.asked_at = self._ctx.now

    def _leave_head(self, node: NodeId) -> None:
        if self.head is not None and self.head.node == node:
            self.head = None

    def refused(self, node: NodeId) -> None:
        """It is no replica any more."""
        self._leave_head(node)
        if self.entries.pop(node, None) is not None:
            self._farther = {}

    def not_ready(self, node: NodeId) -> None:
        """It is a replica whose program does not answer yet; nobody would name it again once forgotten."""
        self._leave_head(node)
        entry = self.entries.get(node)
        if entry is not None:
            entry.strikes = 0
            entry.shut_until = self._ctx.now + (SHUT_FIRST << min(entry.refusals, SHUT_DOUBLED))
            entry.refusals += 1

    def heard(self, node: NodeId, load: tuple[Load, ...], members: tuple[NodeId, ...] = ()) -> None:
        """How busy it is, as it says; one of the others is measured if that is much."""
        if not load or self.config.shards:
            return
        now = self._ctx.now
        entry = self.entries.get(node)
        if entry is not None:
            entry.load = entry.load.told(load, now)
        if load[0].toll > DEAR and now - self._looked_at >= LOOK_EVERY and not by_latency(self.config):
            others = [one for one in members if one not in self.entries and one not in (node, self._ctx.me)]
            if others:
                self._looked_at = now
                self._prober.ask(self._ctx.rng.choice(others), self._measured)

    def _cost(self, entry: Entry) -> tuple[int, Nanos, NodeId]:
        """Whom to forget first: the silent, then the farthest, its toll counted where the application looks at load."""
        toll = 0
        if not by_latency(self.config):
            toll = entry.load.option(entry.node, 0, self._ctx.now, self._ctx.config.load_staleness).toll
        return entry.strikes, entry.delay() + toll, entry.node

    def turned_away(self, node: NodeId) -> None:
        """It had no room for a request."""
        entry = self.entries.get(node)
        if entry is not None:
            entry.strikes = 0
            entry.met_at = self._ctx.now
            entry.load = entry.load.turned_away(self._ctx.now)

    def answered(self, node: NodeId, rtt: Nanos) -> None:
        """It has taken a request."""
        entry = self._known(node)
        if entry is not None:
            entry.strikes = entry.refusals = 0
            entry.sample(rtt, self._ctx.now)
