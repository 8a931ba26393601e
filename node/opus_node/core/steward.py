"""The steward of an application: the agent that decides who serves it, keeps m replicas alive, and fences with epochs.

    steward(app) = rendezvous hash over live agents          sets ordered by (epoch, steward): the greater wins everywhere

    nothing known --summaries of all agents, or 3 s--> first set
    replica silent --asked twice in vain--> replaced from the candidates
    steward dead --the next by hash--> takes the set over under a greater epoch: no election, nothing to count
    two stewards after a partition --their sets meet--> the greater set wins, then the rightful steward joins the two

Available, not consistent, by choice: each side of a partition decides for itself, since v1's replicas hold no mutable
state and a stale one does no harm. But when most of a set falls silent at once, it is rather this side that is cut off;
then a steward waits CUT_PATIENCE, so that a short cut reshuffles nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product

from opus_node.core.cluster import Cluster, homes
from opus_node.core.context import Context
from opus_node.core.crowd import MOVED, Crowd
from opus_node.core.data.registers import Registers
from opus_node.core.division import NAME, Division, Party, changed, lately, notices
from opus_node.core.events import KeysAsked, ReplicaSetDecided, RoleChanged, ShardsDecided
from opus_node.core.landscape import Landscape, demand, moved
from opus_node.core.messages import (
    Appoint,
    AppointReply,
    BeatReply,
    KeyRate,
    ReplicaBeat,
    ReplicaSet,
    Summary,
    SummaryWanted,
    Survey,
    Sync,
)
from opus_node.core.placement import EVERYWHERE, crowded, filled, first_of, heirs, improved, primary_first, quorate
from opus_node.core.popularity import differ, summed
from opus_node.core.prober import Prober
from opus_node.core.ready import Ready
from opus_node.core.reasons import UNKNOWN, placed
from opus_node.core.replica import LOST_STEWARD
from opus_node.core.rtt import Rtt
from opus_node.core.sets import ReplicaSets, claimed, next_epoch
from opus_node.core.sharding import Sharding
from opus_node.core.shards import Table, packed
from opus_node.core.sizer import MILLISECONDS, Sizer
from opus_node.core.sizing import ASSUMED
from opus_node.core.survey import Surveyor
from opus_node.core.swim import Swim
from opus_node.core.timers import Timer
from opus_node.core.types import BEST, MILLISECOND, PRIMARY, SECOND, AppConfig, AppId, Nanos, NodeId

TICK: Nanos = 250 * MILLISECOND
FIRST_LEAST: Nanos = 1 * SECOND
FIRST_MOST: Nanos = 3 * SECOND
"""The first set is decided between these after the steward began: once all agents have told of their nodes, or anyway."""
SILENT: Nanos = 2200 * MILLISECOND
"""A replica that has missed two beats is asked."""
DOUBT: Nanos = 1300 * MILLISECOND
"""One missed beat: enough to be counted among those that fell silent together."""
ASKED_LEAST: Nanos = 800 * MILLISECOND
"""It is given up only after two questions in vain and this long, so that one lost packet replaces nobody."""
UNHEARD_LEAST: Nanos = 2 * SECOND
"""For one this steward has never heard: the first question pays for dialling, and may find a busy host."""
CUT_PATIENCE: Nanos = 5 * SECOND
EXCLUDED: Nanos = 30 * SECOND
"""A member given up is no candidate for so long."""
SUMMARY_KEPT: Nanos = 12 * SECOND
SUMMARY_RECENT: Nanos = 4500 * MILLISECOND
"""One summary may be late, not two."""
SILENCE_MARGIN: Nanos = 1200 * MILLISECOND
"""Replicas beat once a second, so their silence began at most so long after the last beat."""
SUMMARIES = 4096
HANDOVER: Nanos = 10 * SECOND
"""A living steward is relieved only after another agent has come first for so long: while agents join, that changes often."""
MERGE_AFTER: Nanos = 1500 * MILLISECOND
"""After sets met, or lost agents came back: time for their summaries to arrive."""
MERGE_WAIT: Nanos = 2500 * MILLISECOND
"""... and so much longer if some have not."""
IMPROVE_EVERY: Nanos = 10 * SECOND
CHANGE_COST: Nanos = SECOND // 2
"""A change of the set makes all who use it look again: it must save so much of all delay, counted over the time since the last
one. Much is saved at once, a few percent at last. Where new members take longer than this to serve, so much as that."""
IMPROVE_MOST: Nanos = 30 * SECOND
"""Where demand and members are as they were, each decision that changes nothing doubles the time to the next, up to this: what
else is measured changes little."""
LITTLE = 0.02
"""Of all delay and dues: less is not worth a change however long it lasts, since what single clients ask for comes and goes by
as much."""
MUCH = 0.05
"""Of all delay and dues; a decision that saves less is as good as one that changes nothing."""
WORTH_COPYING = 0.1
"""The same where a new member has to be given shards: their data go over the network, what the former one holds is dropped."""
SURVEY_EVERY: Nanos = 3 * SECOND
"""While round trips are still wanted for a choice."""
HURRY: Nanos = SECOND
"""The same while demand moves."""
SURVEY_MOST: Nanos = 20 * SECOND
"""After the last change; then what is only guessed has to do."""
READY = 0.8
"""Share of the wanted round trips that must be there before a member is moved for a small gain."""
REFILL_EVERY: Nanos = 2 * SECOND
ANSWERED = LOST_STEWARD - 2
"""Of so many beats one is answered, sooner than the replica would think its steward lost."""
KEYS_EVERY: Nanos = 10 * SECOND
ANNOUNCED = 64
"""Agents told of a new set at once; gossip tells the rest."""


class Watch:
    """One replica as its steward sees it."""

    __slots__ = ("appointed_at", "asked_at", "asks", "beats", "first_asked_at", "heard", "heard_at", "proven", "rtt")

    def __init__(self, now: Nanos, proven: bool) -> None:
        self.heard_at = now
        self.heard = False
        """Whether this steward ever heard it; until then `heard_at` is when it was first asked."""
        self.proven = proven
        """Whether it has ever served; a candidate that was never reached is not worth remembering."""
        self.appointed_at: Nanos = -1 if proven else now
        """-1: it has shown that it serves."""
        self.asks = 0
        self.beats = 0
        self.asked_at: Nanos = 0
        self.first_asked_at: Nanos = 0
        self.rtt = Rtt()


class Desk:
    """All a steward holds for one application; soft state, rebuilt from summaries and beats."""

    __slots__ = (
        "acting",
        "changed_at",
        "config",
        "crowd",
        "decide_at",
        "decided",
        "demand",
        "excluded",
        "first_since",
        "former",
        "improve_at",
        "join_at",
        "join_with",
        "keys",
        "keys_at",
        "moving",
        "pause",
        "ready",
        "settled",
        "sharding",
        "sizer",
        "stranded",
        "summaries",
        "watched",
    )

    def __init__(self, config: AppConfig, ready: Ready) -> None:
        self.config = config
        self.ready = ready
        self.moving: Nanos = 0
        """What it has lately taken a new member to serve, from its appointment: programs have to be brought there and started."""
        self.settled: tuple[object, ...] = ()
        """What was known when nothing better was found."""
        self.decided: tuple[object, ...] = ()
        """For which members, and without whom, the last decision was ..."""
        self.demand: dict[NodeId, float] = {}
        """... and for which demand, by agent; at first, what was asked when this steward began."""
        self.decide_at: Nanos = 0
        self.pause: Nanos = 0
        loaded = config.service_time or config.program
        self.sizer = Sizer(config) if config.most or (config.divided and loaded) else None
        """`config.replicas` follows it; None: that is fixed. Where hosts are divided it only tells E and what a request costs."""
        self.sharding = Sharding(config) if config.shards else None
        self.acting = False
        self.stranded = -1
        """Since its data could not follow another set: the number of their last configuration known then; -1: they can."""
        self.first_since: Nanos = -1
        self.summaries: dict[NodeId, tuple[Nanos, Cluster]] = {}
        """By agent, and when last heard of."""
        self.watched: dict[NodeId, Watch] = {}
        self.excluded: dict[NodeId, Nanos] = {}
        self.former: tuple[NodeId, ...] = ()
        self.join_at: Nanos = -1
        self.join_with: NodeId = ""
        self.improve_at: Nanos = 0
        self.crowd = Crowd()
        self.keys: tuple[KeyRate, ...] = ()
        """Asked for most, as last told of; looked at again at ..."""
        self.keys_at: Nanos = 0
        self.changed_at: Nanos = 0


class Stewards:
    """This agent's desks, one an application, most of them idle."""

    __slots__ = (
        *("_ctx", "_divided", "_division", "_firsts", "_firsts_version", "_hopeless", "_learn", "_sets", "_started_at"),
        *("_registers", "_swim", "_timer", "desks", "highest", "surveyor"),
    )

    def __init__(
        self,
        ctx: Context,
        swim: Swim,
        sets: ReplicaSets,
        learn: Callable[[ReplicaSet], None],
        hopeless: Callable[[AppId], bool],
        registers: Registers,
        ask: Callable[[NodeId, Survey], None],
        prober: Prober,
    ) -> None:
        """`learn` compares and spreads a set; `hopeless(app)`: this node's own program has long been unready; `registers`: what
        this node knows of data; `ask` brings a question to an agent, perhaps this one."""
        self._ctx = ctx
        self._hopeless = hopeless
        self._registers = registers
        self._swim = swim
        self._sets = sets
        self._learn = learn
        self.surveyor = Surveyor(ctx, ask)
        everybody = ctx.config.depth == 1  # is an agent
        self.desks = {
            one.name: Desk(replace(one, agents_serve=one.agents_serve or everybody), Ready(ctx, prober))
            for one in ctx.config.apps
        }
        self._divided = {app: desk for app, desk in self.desks.items() if desk.config.divided}
        """Those with a utility: one steward has all of them, and divides hosts among them."""
        self._division = Division()
        self.highest: dict[AppId, int] = {}
        """Greatest epoch ever heard of: a decision goes beyond it."""
        self._firsts: dict[AppId, NodeId] = {}
        self._firsts_version = -1
        self._started_at = ctx.now
        self._timer: Timer | None = None

    # Whose turn it is

    def first(self, app: AppId) -> NodeId:
        if self._firsts_version != self._swim.version:
            self._firsts_version = self._swim.version
            agents = self._swim.agents()
            self._firsts = {name: first_of(name, agents) for name in self.desks if name not in self._divided}
            self._firsts.update(dict.fromkeys(self._divided, first_of(NAME, agents) if self._divided else ""))
        return self._firsts.get(app, "")

    def acting(self, app: AppId) -> NodeId:
        """Whom to tell: the steward of the known set while it lives, else the one whose turn it is."""
        known = self._sets.get(app)
        if known is not None and self._swim.is_live(known.steward):
            return known.steward
        return self.first(app)

    def acting_for(self) -> tuple[AppId, ...]:
        return tuple(app for app, desk in self.desks.items() if desk.acting)

    def consider(self) -> None:
        """Once a second, and after each change among agents: does any application need this agent as steward?"""
        for app, desk in self.desks.items():
            self._consider(app, desk)
        self._keep_ticking()

    def _keep_ticking(self) -> None:
        wanted = any(desk.acting or desk.first_since >= 0 for desk in self.desks.values())
        if wanted and (self._timer is None or self._timer.run is None):
            self._timer = self._ctx.timers.at(self._ctx.now + TICK, self._tick)

    def _consider(self, app: AppId, desk: Desk) -> None:
        ctx = self._ctx
        known = self._sets.get(app)
        if known is not None and known.steward == ctx.me:
            self._act(app, desk, True)
            return
        self._act(app, desk, False)
        if self.first(app) != ctx.me:
            desk.first_since = desk.join_at = -1
            return
        if desk.first_since < 0:
            desk.first_since = ctx.now
        waited = ctx.now - desk.first_since
        if known is None:
            self._decide_first(app, desk)
        elif desk.join_at >= 0:
            late = ctx.now - desk.join_at
            if late >= MERGE_WAIT or (late >= 0 and self._complete(desk)):
                self._join(app, desk, known)
        elif not self._swim.is_live(known.steward):
            self._publish(app, desk, known.members, f"took over from {known.steward}")
        elif waited >= HANDOVER:
            self._publish(app, desk, known.members, f"relieved {known.steward}")

    def _act(self, app: AppId, desk: Desk, acting: bool) -> None:
        if desk.acting == acting:
            return
        desk.acting = acting
        known = self._sets.get(app)
        self._ctx.notices.append(RoleChanged("steward", acting, app, known.epoch if known else 0))
        if acting and app in self._divided:
            self._division.begins(self._ctx.now)
        if acting:
            self._keep_ticking()
        else:
            desk.watched = {}
            desk.ready.clear()

    # The first set

    def _decide_first(self, app: AppId, desk: Desk) -> None:
        now = self._ctx.now
        waited = min(now - desk.first_since, now - self._started_at)
        summaries = self._fresh(desk)
        complete = all(agent in summaries for agent in self._swim.agents())
        plain = () if self._ctx.config.depth == 1 else summaries  # agents are no candidates, where there is anybody else
        candidates = len(_able(summaries) - set(plain))
        if waited >= FIRST_MOST or (waited >= FIRST_LEAST and complete and candidates >= desk.config.replicas):
            if app in self._divided:
                self._divide("first")
                return
            members = desk.config.members or self._filled(desk, summaries, ())
            if members:
                self._publish(app, desk, members, "first")

    def _fresh(self, desk: Desk, age: Nanos = SUMMARY_KEPT) -> dict[NodeId, Cluster]:
        """What live agents have told of their nodes, no longer ago than `age`."""
        now = self._ctx.now
        for agent in [agent for agent, (at, _) in desk.summaries.items() if now - at > SUMMARY_KEPT]:
            desk.summaries.pop(agent)[1].forget()
        return {
            agent: cluster
            for agent, (at, cluster) in desk.summaries.items()
            if now - at <= age and (self._swim.is_live(agent) or cluster.summary.agent)  # of those in a zone its head knows
        }

    def _land(
        self,
        desk: Desk,
        clusters: dict[NodeId, Cluster],
        members: Iterable[NodeId],
        excluded: Mapping[NodeId, Nanos] | None = None,
    ) -> Landscape:
        config = desk.config
        near_enough = self._ctx.config.near_enough
        asked = desk.crowd.asked(_summaries(clusters))
        if desk.config.divided:
            asked = lately(asked, _rates(clusters))
        barred = desk.excluded if excluded is None else excluded
        return Landscape(config, clusters, tuple(members), barred, near_enough, self.surveyor.told, asked)

    def _filled(
        self, desk: Desk, clusters: dict[NodeId, Cluster], keep: tuple[NodeId, ...], *, standing: bool = True
    ) -> tuple[NodeId, ...]:
        """Those that stand by come first: they are known to live."""
        land, count = self._land(desk, clusters, keep), self._count(desk, clusters)
        ready = tuple(node for node in desk.ready.heard() if node in land.index) if standing else ()
        return filled(desk.config, land, count, filled(desk.config, land, count, keep, ready) if ready else keep)

    def _stand_by(self, desk: Desk, land: Landscape, members: Sequence[NodeId]) -> None:
        """The replacement set: who would follow which of these members."""
        desk.ready.choose(heirs(desk.config, land, members))

    @staticmethod
    def _count(desk: Desk, clusters: dict[NodeId, Cluster]) -> int:
        """m."""
        return len(_able(clusters)) if desk.config.policy == EVERYWHERE else desk.config.replicas

    def _complete(self, desk: Desk) -> bool:
        """Whether every live agent has told of its nodes lately."""
        recent = self._fresh(desk, SUMMARY_RECENT)
        return all(agent in recent for agent in self._swim.agents())

    def on_summary(self, source: NodeId, summary: Summary) -> None:
        desk = self.desks.get(summary.app)
        if desk is None:
            return
        agent = summary.agent or source
        _, cluster = desk.summaries.get(agent, (0, None))
        if cluster is not None and cluster.summary.version == summary.version:
            cluster.renewed(summary)
            desk.summaries[agent] = (self._ctx.now, cluster)
        elif not summary.candidates:
            self._ctx.send(source, SummaryWanted(summary.app, summary.agent))
        elif cluster is not None or len(desk.summaries) < SUMMARIES:
            if cluster is not None:
                cluster.forget()
            desk.summaries[agent] = (self._ctx.now, Cluster(agent, summary))

    # Publishing

    def _publish(self, app: AppId, desk: Desk, members: tuple[NodeId, ...], cause: str, table: Table | None = None) -> None:
        """`table`: who holds which shard, where that is worked out already."""
        ctx = self._ctx
        before = self._sets.get(app)
        former = before.members if before else ()
        epoch = next_epoch(self._highest(app), ctx.incarnation)
        if app in self._divided:
            new = ReplicaSet(app, epoch, ctx.me, members)
        else:
            new = self._composed(desk, epoch, members, cause, before, table)
        members = new.members
        desk.join_at = -1
        desk.changed_at = ctx.now
        desk.ready.drop(members)
        desk.improve_at = ctx.now + (HURRY if desk.crowd.on(ctx.now) else SURVEY_EVERY)
        ctx.tell(ReplicaSetDecided(app, epoch, members, cause))
        for node in members:
            watch = desk.watched.get(node)
            if node != ctx.me and watch is None:
                watch = desk.watched[node] = Watch(ctx.now, node in former)
                self._ask(node, watch, new)
            elif node != ctx.me:
                ctx.send(node, Appoint(new))
        for node in former:
            if node not in members and node != ctx.me:
                ctx.send(node, Appoint(new))
        desk.watched = {node: watch for node, watch in desk.watched.items() if node in members}
        self._learn(new)
        others = [agent for agent in self._swim.agents() if agent != ctx.me]
        for agent in ctx.rng.sample(others, min(ANNOUNCED, len(others))):
            ctx.send(agent, Sync(False, (), (new,)))
        self._act(app, desk, True)

    def _composed(
        self, desk: Desk, epoch: int, members: tuple[NodeId, ...], cause: str, before: ReplicaSet | None, table: Table | None
    ) -> ReplicaSet:
        """Where hosts are not divided: who of them comes first, and who holds which shard. Observers are told why."""
        ctx, config, clusters = self._ctx, desk.config, self._fresh(desk)
        former = before.members if before else ()
        named = config.members if config.static else ()
        members = named or members  # the primary is named first
        land = self._land(desk, clusters, (*members, *former))
        if config.consistency == PRIMARY and not named:
            members = primary_first(land, members, former[0] if former else "")
        holders: tuple[int, ...] = ()
        if desk.sharding is not None:
            table = table or desk.sharding.table(land, clusters, members, before)
            holders = packed(table, members)
            ctx.tell(ShardsDecided(config.name, epoch, tuple(map(len, table)), holders, *desk.sharding.told()))
        new = ReplicaSet(config.name, epoch, ctx.me, members, holders)
        watches = [desk.watched.get(node) for node in former if node not in members]
        silent = [ctx.now - watch.heard_at if watch is not None and watch.heard else UNKNOWN for watch in watches]
        e, cost = (0.0, 0.0) if desk.sizer is None else (desk.sizer.e, desk.sizer.cost)
        wanted = self._count(desk, clusters)
        ctx.tell(placed(new, former, cause, land, _summaries(clusters), silent, wanted, cost, e))
        return new

    def _reshard(self, app: AppId, desk: Desk, known: ReplicaSet) -> None:
        """The same members, if shards should be held by others of them: demand has moved."""
        sharding = desk.sharding
        if sharding is None or not sharding.due(self._ctx.now) or not self._complete(desk):
            return
        clusters = self._fresh(desk)
        table = sharding.table(self._land(desk, clusters, known.members), clusters, known.members, known)
        if packed(table, known.members) != known.holders:
            since, improve_at = desk.changed_at, desk.improve_at
            self._publish(app, desk, known.members, "shards moved", table)
            desk.changed_at, desk.improve_at = since, improve_at  # members are as they were

    def _highest(self, app: AppId) -> int:
        """The greatest epoch known; of applications that hosts are divided among, of any of them: what is decided later wins."""
        alike = self._divided if app in self._divided else (app,)
        known = [one.epoch for app in alike if (one := self._sets.get(app)) is not None]
        return max(0, *known, *(self.highest.get(app, 0) for app in alike))

    def learned(self, new: ReplicaSet, before: ReplicaSet | None) -> None:
        """A set has won here. If it beat one of this steward's own, two stewards have met."""
        me = self._ctx.me
        self.highest[new.app] = max(self.highest.get(new.app, 0), new.epoch)
        desk = self.desks.get(new.app)
        if desk is not None and desk.sizer is not None:
            desk.config = desk.sizer.kept(len(new.members))
        if desk is None or new.steward == me:
            return
        if new.app in self._divided:
            self._division.hurry()  # it may claim hosts that are this steward's
        if before is not None and before.steward == me:
            self._remember(desk, before.members)
            if self.first(new.app) == me or not self._swim.is_live(new.steward):
                desk.join_at = self._ctx.now + MERGE_AFTER
                desk.join_with = new.steward
                desk.first_since = self._ctx.now
        self._consider(new.app, desk)
        self._keep_ticking()

    def agent_returned(self) -> None:
        """Agents believed dead live: their side may have members worth keeping."""
        for desk in self.desks.values():
            desk.excluded = {}  # they were perhaps only on the other side
            if desk.acting:
                desk.improve_at = min(desk.improve_at, self._ctx.now + MERGE_AFTER)

    def _join(self, app: AppId, desk: Desk, known: ReplicaSet) -> None:
        """One set out of two: those of both who answer to an agent, spread over regions, at most m. Where hosts are divided
        it is the one that won, and divided anew; a static one stays as it is."""
        desk.stranded = -1
        if app in self._divided or desk.config.static:
            self._publish(app, desk, known.members, f"merged with {desk.join_with}")
            if app in self._divided:
                self._division.hurry()
            return
        mine = [node for node in desk.former if node not in known.members]
        shared = [node for node in desk.former if node in known.members]
        theirs = [node for node in known.members if node not in desk.former]
        members = self._respread(desk, (*shared, *mine, *theirs))
        self._publish(app, desk, members or known.members, f"merged with {desk.join_with}")

    def _respread(self, desk: Desk, pool: tuple[NodeId, ...]) -> tuple[NodeId, ...]:
        """m members, as many as possible from `pool`, placed as if for the first time."""
        clusters = self._fresh(desk)
        land = self._land(desk, clusters, pool)
        some = filled(desk.config, land, self._count(desk, clusters), (), tuple(node for node in pool if node in land.index))
        return filled(desk.config, land, self._count(desk, clusters), some)

    # Keeping m alive

    def _tick(self, _: object) -> None:
        now = self._ctx.now
        for app, desk in self.desks.items():
            if desk.acting:
                desk.excluded.update((node, now + EXCLUDED) for node in desk.ready.tend())
                self._watch(app, desk)
                self._tell_keys(app, desk)
            elif desk.first_since >= 0:
                self._consider(app, desk)
            for node in [node for node, until in desk.excluded.items() if until <= now]:
                del desk.excluded[node]
        if self._divided:
            self._look_round()
        self._keep_ticking()

    def _tell_keys(self, app: AppId, desk: Desk) -> None:
        if self._ctx.now < desk.keys_at:
            return
        desk.keys_at = self._ctx.now + KEYS_EVERY
        keys = summed(cluster.summary.keys for cluster in self._fresh(desk).values())
        if differ(keys, desk.keys):
            desk.keys = keys
            self._ctx.notices.append(KeysAsked(app, tuple(one.key for one in keys), tuple(one.rate for one in keys)))

    def _watch(self, app: AppId, desk: Desk) -> None:
        ctx = self._ctx
        known = self._sets.get(app)
        if known is None or known.steward != ctx.me:
            self._consider(app, desk)
            return
        lost = []
        for node in known.members:
            if node == ctx.me:
                if self._hopeless(app):
                    desk.watched[node] = Watch(ctx.now, True)
                    lost.append(node)
                continue
            watch = desk.watched.get(node)
            if watch is None:
                watch = desk.watched[node] = Watch(ctx.now, True)
            if self._given_up(node, watch, known):
                lost.append(node)
        if desk.config.static:
            return  # who was asked, if it is there again, knows that it is a member
        if self._stranded(app, desk, known, lost):
            return
        if lost:
            self._replace(app, desk, known, lost)
        elif app in self._divided:
            self._tend(desk, known)
        elif self._resized(app, desk, known):
            pass
        elif len(known.members) < self._count(desk, self._fresh(desk)):
            if ctx.now - desk.changed_at >= REFILL_EVERY:
                members = self._refilled(desk, (self._fresh(desk),), known.members)
                self._change(app, desk, known, members, f"refilled: {len(known.members)} are too few")
        elif self._crowd(desk) or ctx.now >= desk.improve_at:
            self._improve(app, desk, known)
        else:
            self._reshard(app, desk, known)

    def _stranded(self, app: AppId, desk: Desk, known: ReplicaSet, lost: Sequence[NodeId]) -> bool:
        """On the wrong side of a cut other members would have no data, and after it the greater epoch: the set is left alone.
        If others have moved the data meanwhile, it is theirs once these are in reach again."""
        keeper = self._registers.keeper(app)
        if keeper is None:
            return False
        silent = {*lost, *(node for node, watch in desk.watched.items() if self._ctx.now - watch.heard_at > DOUBT)}
        before, config = desk.stranded, keeper.moved_to
        if keeper.stranded(silent):
            desk.stranded = config.number if before < 0 else before
            return True
        desk.stranded = -1
        members = tuple(one.node for one in config.members)
        if not 0 <= before < config.number or set(members) == set(known.members):
            return False
        self._publish(app, desk, members, "back to who has the data")
        return True

    def _resized(self, app: AppId, desk: Desk, known: ReplicaSet) -> bool:
        """Follows demand with the size, where that is not fixed, and lays off who is too many; whether the set has changed."""
        if desk.sizer is None:
            many = len(known.members) > desk.config.replicas and desk.config.policy != EVERYWHERE
            return many and self._fitted(app, desk, known, f"laid off: {desk.config.replicas} are enough")
        if desk.sizer.waits(self._ctx.now):
            return False
        summaries = _summaries(self._fresh(desk))
        count = desk.sizer.size(known.members, summaries, self._ctx.now)
        if count == len(known.members):
            return False
        desk.config = desk.sizer.kept(count)
        cost = f"{MILLISECONDS * desk.sizer.cost:.3g} ms of a core a request"
        return self._fitted(app, desk, known, f"resized to {count}: {cost}, E {desk.sizer.e:.2f}{desk.sizer.why}")

    def _fitted(self, app: AppId, desk: Desk, known: ReplicaSet, cause: str) -> bool:
        """As many as there should be: those of the members that serve best without the others, or all and some more."""
        members = self._respread(desk, known.members)
        if not members or set(members) == set(known.members):
            return False
        self._remember(desk, tuple(node for node in known.members if node not in members))
        self._publish(app, desk, members, cause)
        return True

    def _given_up(self, node: NodeId, watch: Watch, known: ReplicaSet) -> bool:
        """Asks a silent member; true once it has left two questions unanswered for long enough."""
        now = self._ctx.now
        if not watch.asks:
            if now - watch.heard_at >= SILENT:
                self._ask(node, watch, known)
            return False
        if now - watch.asked_at < self._ctx.patience(watch.rtt):
            return False
        if watch.asks >= 2 and now - watch.first_asked_at >= (ASKED_LEAST if watch.heard else UNHEARD_LEAST):
            stays = self.desks[known.app].config.static and now - watch.asked_at >= SILENT
            if watch.asks < 64 or stays:
                self._ask(node, watch, known)  # it may be that nobody can replace it
            return True
        self._ask(node, watch, known)
        return False

    def _ask(self, node: NodeId, watch: Watch, known: ReplicaSet) -> None:
        if not watch.asks:
            watch.first_asked_at = self._ctx.now
            if watch.heard:
                self.desks[known.app].ready.hurry()
        watch.asks += 1
        watch.asked_at = self._ctx.now
        self._ctx.send(node, Appoint(known))

    def _replace(self, app: AppId, desk: Desk, known: ReplicaSet, lost: list[NodeId]) -> None:
        now = self._ctx.now
        silences = {node: now - watch.heard_at for node, watch in desk.watched.items()}
        doubtful = [silence for node, silence in silences.items() if silence > DOUBT or node in lost]
        cut = len(doubtful) >= 2 and 2 * len(doubtful) > len(known.members)
        # Who has taken over from a silent steward and never heard the members has waited for its death already.
        unheard = not any(desk.watched[node].heard for node in lost)
        if cut and not unheard and max(doubtful) < CUT_PATIENCE:
            return
        home = homes({agent: cluster for agent, (_, cluster) in desk.summaries.items()})
        for node in lost:
            desk.excluded[node] = now + EXCLUDED
            if not desk.watched[node].proven and home.get(node) != self._ctx.me:
                dropped = desk.summaries.pop(home.get(node, ""), None)  # its agent has nothing to say until it speaks again
                if dropped is not None:
                    dropped[1].forget()
        keep = tuple(node for node in known.members if node not in lost)
        # On the wrong side of a cut only agents heard from since the silence began have candidates.
        age = max(doubtful) - (0 if unheard else SILENCE_MARGIN)
        if app in self._divided:
            self._division.hurry()
            self._divide("lost " + ", ".join(lost), age if cut else SUMMARY_KEPT)
            return
        summaries = self._fresh(desk, age if cut else SUMMARY_KEPT)
        # A region that is cut off takes candidates with it, and each that is tried costs a wait of its own.
        sure = {agent: cluster for agent, cluster in summaries.items() if not self._swim.doubted(agent)}
        enough = len(_able(sure) - set(lost)) >= self._count(desk, summaries)
        among = (sure, summaries) if enough else (summaries,)
        self._change(app, desk, known, self._refilled(desk, among, keep), "lost " + ", ".join(lost))

    def _refilled(self, desk: Desk, among: Sequence[dict[NodeId, Cluster]], keep: tuple[NodeId, ...]) -> tuple[NodeId, ...]:
        """`keep` filled up from the first of these, with who stands by; where a majority has to answer and that would give one
        to a region, in another way that does not, or does so least."""
        if not quorate(desk.config):
            return self._filled(desk, among[0], keep)
        least: int | None = None
        found = keep
        for clusters, standing in product(among, (True, False)):
            members = self._filled(desk, clusters, keep, standing=standing)
            beyond = crowded(desk.config, self._land(desk, among[-1], members), members)
            if least is None or beyond < least:
                least, found = beyond, members
            if not least:
                break
        return found

    def _change(self, app: AppId, desk: Desk, known: ReplicaSet, members: tuple[NodeId, ...], cause: str) -> None:
        """A set is never emptied: silent members are better than none."""
        if members and set(members) != set(known.members):
            gone = [node for node in known.members if node not in members]
            self._remember(desk, tuple(node for node in gone if node not in desk.watched or desk.watched[node].proven))
            self._publish(app, desk, members, cause)
        else:
            desk.changed_at = self._ctx.now

    # Dividing hosts among applications

    def _tend(self, desk: Desk, known: ReplicaSet) -> None:
        """What its hosts carry, and whether a crowd comes."""
        if desk.sizer is not None and not desk.sizer.waits(self._ctx.now):
            desk.sizer.look(known.members, self._ctx.now)
        if self._crowd(desk):
            self._division.hurry()

    def _look_round(self) -> None:
        """Divides anew where demand has moved, or it is time: once all agents have told of the members, too."""
        now = self._ctx.now
        mine = [desk for desk in self._divided.values() if desk.acting]
        if not mine or not self._division.looks(now):
            return
        moved = self._division.left({desk.config.name: _rates(self._fresh(desk)) for desk in mine})
        moved = moved or any(desk.crowd.on(now) for desk in mine)
        due = self._division.due(now) or (moved and self._division.paced(now))
        if due and all(map(self._complete, mine)) and all(map(self._told_of, mine)):
            self._divide("demand moved" if moved else "worth more")

    def _told_of(self, desk: Desk) -> bool:
        """Whether all members have an agent that tells of them."""
        known, told = self._sets.get(desk.config.name), homes(self._fresh(desk))
        return known is None or all(node in told for node in known.members)

    def _divide(self, cause: str, age: Nanos = SUMMARY_KEPT) -> None:
        """Who serves which of the applications that are in this steward's hands. Only agents heard of since `age` have others
        to give than those that serve."""
        ctx = self._ctx
        if not self._division.free(ctx.now):
            return
        sets = [known for app in self._divided if (known := self._sets.get(app)) is not None]
        mine = {app: desk for app, desk in self._divided.items() if desk.acting or self._begins(app)}
        barred = self._barred(sets, mine, age)
        parties = [self._party(desk, sets, barred) for desk in mine.values()]
        found = self._division.decide(parties, ctx.now)
        changes = [] if found is None else changed(found, parties, [self._sets.get(one.app) for one in parties], barred)
        if found is not None and changes:
            ctx.notices.extend(notices(found, parties, cause))
        for app, members in changes:
            self._publish(app, mine[app], members, cause)

    def _begins(self, app: AppId) -> bool:
        return self._sets.get(app) is None and self.first(app) == self._ctx.me

    def _barred(self, sets: list[ReplicaSet], mine: Mapping[AppId, Desk], age: Nanos) -> dict[NodeId, Nanos]:
        """Who is lost to any of them, serves one that is in other hands, or is not told of any more."""
        barred: dict[NodeId, Nanos] = {}
        for desk in self._divided.values():
            barred.update(desk.excluded)
        for one in sets:
            if one.app not in mine:
                barred.update((node, 0) for node in one.members if claimed(node, sets) == one.app)
        serving = {node for one in sets for node in one.members}
        for desk in mine.values():
            late = [cluster for at, cluster in desk.summaries.values() if self._ctx.now - at > age]
            barred.update((node, 0) for cluster in late for node in cluster.index if node not in serving)
        return barred

    def _party(self, desk: Desk, sets: list[ReplicaSet], barred: Mapping[NodeId, Nanos]) -> Party:
        app = desk.config.name
        known, clusters = self._sets.get(app), self._fresh(desk)
        members = tuple(node for node in known.members if claimed(node, sets) == app) if known else ()
        land = self._land(desk, clusters, members, barred)
        self._survey(desk, land, members)
        desk.demand = dict(land.demand)
        e, cost = (ASSUMED, 0.0) if desk.sizer is None else (desk.sizer.e, desk.sizer.cost)
        return Party(desk.config, clusters, land, members, e, cost)

    def _improve(self, app: AppId, desk: Desk, known: ReplicaSet) -> None:
        """Members that serve the demand better by more than it costs to move."""
        if not self._complete(desk):
            desk.improve_at = self._ctx.now + SECOND
            return
        clusters = self._fresh(desk)
        land = self._land(desk, clusters, known.members)
        ready = self._survey(desk, land, known.members)
        who, now = (known.members, tuple(land.barred)), self._ctx.now
        where = (land.knowledge(), self.surveyor.changes)
        crowd = desk.crowd.on(now)
        alike = who == desk.decided and moved(desk.demand, land.demand) <= MOVED
        settled = alike and where == desk.settled and not crowd
        desk.improve_at = now + (HURRY if crowd else IMPROVE_EVERY if ready and settled else SURVEY_EVERY)
        if desk.ready.short and not settled:
            self._stand_by(desk, land, known.members)
        rash = not ready and not crowd and now - desk.changed_at < SURVEY_MOST
        if rash or settled or (now < desk.decide_at and (alike or crowd)):
            return
        desk.pause = SURVEY_EVERY if crowd or not alike else min(2 * desk.pause, IMPROVE_MOST)
        desk.decided, desk.demand, desk.decide_at = who, dict(land.demand), now + desk.pause
        self._send_on_errands(desk, land, known.members)
        members, saved = improved(desk.config, land, known.members, ready)
        self._stand_by(desk, land, known.members)
        if set(members) == set(known.members):
            desk.settled = where if ready else ()
        elif not self._worth_it(desk, saved):
            return
        elif self._awaits(desk, known):
            desk.decide_at = now + SURVEY_EVERY
        else:
            self._remember(desk, tuple(node for node in known.members if node not in members))
            self._publish(app, desk, members, f"nearer to demand: {100 * saved:.0f}% of all delay and dues less")
            if saved < MUCH:
                desk.decided = (members, tuple(land.barred))

    def _worth_it(self, desk: Desk, saved: float) -> bool:
        """Whether a change that saves this share of all delay and dues brings what it costs."""
        least = WORTH_COPYING if desk.sharding else LITTLE
        return saved >= least and saved * (self._ctx.now - desk.changed_at) >= max(CHANGE_COST, desk.moving)

    @staticmethod
    def _awaits(desk: Desk, known: ReplicaSet) -> bool:
        """Whether a member that takes its time is not ready yet: it may never be, and who is must not be given away meanwhile."""
        slow = desk.config.program or desk.config.consistency
        return bool(slow) and any(node in desk.watched and desk.watched[node].appointed_at >= 0 for node in known.members)

    def _crowd(self, desk: Desk) -> bool:
        """Whether demand begins to move so far that members may have to: that waits for no decision."""
        now = self._ctx.now
        if desk.config.policy != BEST or not desk.crowd.due(now):
            return False
        summaries = _summaries(self._fresh(desk))
        if not desk.demand and self._complete(desk):
            desk.demand = demand(summaries)  # who takes over begins with what is asked then
        if not desk.crowd.begins(now, summaries, desk.demand, self._ctx.budget.lease_interval()):
            return False
        desk.decide_at = now
        return True

    def _survey(self, desk: Desk, land: Landscape, members: tuple[NodeId, ...]) -> bool:
        """Asks agents for round trips that may change the choice; whether most are there."""
        if desk.config.policy != BEST:
            return True
        wanted = land.wanted(members)
        self.surveyor.attend(desk.config.name, [*wanted, *land.index])
        missing = sum(self.surveyor.ask(agent, nodes) for agent, nodes in wanted.items())
        return missing <= (1 - READY) * sum(map(len, wanted.values()))

    def _send_on_errands(self, desk: Desk, land: Landscape, members: tuple[NodeId, ...]) -> None:
        """Single nodes confirm what guesses promise: that they are near those that serve, or would be nearer to others."""
        if desk.config.policy == BEST:
            for agent, errands in land.errands(members).items():
                for node, others in errands.items():
                    self.surveyor.send(agent, node, others)

    @staticmethod
    def _remember(desk: Desk, gone: tuple[NodeId, ...]) -> None:
        """Former members, the latest first: after a heal they are rather taken back than newcomers chosen."""
        desk.former = tuple(dict.fromkeys((*gone, *desk.former)))[: 2 * desk.config.replicas]

    # Messages

    def _heard(self, app: AppId, node: NodeId) -> Watch | None:
        desk = self.desks.get(app)
        watch = None if desk is None else desk.watched.get(node)
        if watch is not None:
            watch.heard_at = self._ctx.now
            watch.heard = watch.proven = True
        return watch

    def _serves(self, desk: Desk, watch: Watch) -> None:
        """A member says so; how long the new one took is remembered."""
        if watch.appointed_at >= 0:
            took, watch.appointed_at = self._ctx.now - watch.appointed_at, -1
            desk.moving = (desk.moving + took) // 2 if desk.moving else took

    def on_beat(self, source: NodeId, message: ReplicaBeat) -> None:
        """A member that knows the set is answered shortly, and not each time: it counts unanswered beats up to LOST_STEWARD."""
        watch = self._heard(message.app, source)
        known = self._sets.get(message.app)
        self.highest[message.app] = max(self.highest.get(message.app, 0), message.epoch)
        if watch is not None:
            watch.asks = 0
            watch.beats += 1
            if not message.unready:
                self._serves(self.desks[message.app], watch)
            sizer = self.desks[message.app].sizer
            if sizer is not None:
                sizer.on_beat(source, message, self._ctx.now)
        if known is None:
            return
        if watch is None or known.epoch != message.epoch or known.steward != self._ctx.me:
            self._ctx.send(source, BeatReply((known,), known.app))
        elif watch.beats % ANSWERED == 0:
            self._ctx.send(source, BeatReply((), known.app))

    def on_appoint_reply(self, source: NodeId, message: AppointReply) -> None:
        self.highest[message.app] = max(self.highest.get(message.app, 0), message.epoch)
        if not message.accepted:
            return
        watch = self._heard(message.app, source)
        if watch is not None:
            config = self.desks[message.app].config
            if not config.program and not config.consistency:
                self._serves(self.desks[message.app], watch)
            if watch.asks == 1:
                watch.rtt.sample(self._ctx.now - watch.asked_at, self._ctx.now)
            watch.asks = 0

    def on_replica_silent(self, app: AppId, replica: NodeId) -> None:
        """An agent could not reach it: ask it now instead of waiting for beats to fail."""
        desk = self.desks.get(app)
        known = self._sets.get(app)
        if desk is None or known is None or not desk.acting:
            return
        watch = desk.watched.get(replica)
        if watch is not None and not watch.asks and replica in known.members:
            self._ask(replica, watch, known)

    def on_leaving(self, app: AppId, replica: NodeId) -> None:
        """A member says itself that it goes: nothing is to be waited for."""
        desk, known = self.desks.get(app), self._sets.get(app)
        if desk is None or known is None or not desk.acting or known.steward != self._ctx.me or replica not in known.members:
            return
        if desk.config.static:
            return
        desk.excluded[replica] = self._ctx.now + EXCLUDED
        cause = f"{replica} leaves"
        if app in self._divided:
            self._division.hurry()
            self._divide(cause)
        else:
            keep = tuple(node for node in known.members if node != replica)
            self._change(app, desk, known, self._refilled(desk, (self._fresh(desk),), keep), cause)

    def leave(self) -> tuple[NodeId, ...]:
        """This agent goes: others serve where it has served under its own stewardship, as long as it knows who could. Its heirs:
        they take over when they hear of it."""
        for app in self.acting_for():
            self.on_leaving(app, self._ctx.me)
        agents = [agent for agent in self._swim.agents() if agent != self._ctx.me]
        if not agents:
            return ()
        return tuple(first_of(NAME if app in self._divided else app, agents) for app in self.acting_for())

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for app, desk in self.desks.items():
            self._act(app, desk, False)


def _able(clusters: Mapping[NodeId, Cluster]) -> set[NodeId]:
    """Who could serve, agents included; counted, never iterated."""
    return {one.node for cluster in clusters.values() for one in cluster.summary.candidates if not one.unfit}


def _rates(clusters: Mapping[NodeId, Cluster]) -> dict[NodeId, float]:
    return {agent: cluster.summary.rate for agent, cluster in clusters.items()}


def _summaries(clusters: Mapping[NodeId, Cluster]) -> dict[NodeId, Summary]:
    return {agent: cluster.summary for agent, cluster in clusters.items()}
