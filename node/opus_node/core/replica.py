"""A replica's side: serving requests at once, beating to the steward, and taking up or laying down the role.

Where a user's program serves (`programs`), requests are laid before it, and refused while it is not ready. Where answering takes
time (`work`), they stand in a line; who is turned away is told another replica.

A replica that hears from no steward keeps serving: where it holds no mutable state a stale one does no harm, and registers
(`data`) are kept by majorities, whatever a steward says. One that was retired serves on for a while, so that a change of the set
makes no request fail that is already under way.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from opus_node.core.context import Context
from opus_node.core.data.place import Place
from opus_node.core.data.quorum import Outcome
from opus_node.core.data.registers import NO_REGISTERS, Registers, keeps
from opus_node.core.events import Request, RoleChanged, Served
from opus_node.core.messages import (
    BUSY,
    NOT_HOLDER,
    NOT_PRIMARY,
    NOT_READY,
    AppointReply,
    BeatReply,
    ReplicaBeat,
    ReplicaSet,
    ReplicaSilent,
    Reply,
    RouteAck,
    RouteRefuse,
    RouteRequest,
)
from opus_node.core.once import Once
from opus_node.core.programs import NO_PROGRAMS, Programs
from opus_node.core.sets import claimed
from opus_node.core.timers import Timer
from opus_node.core.types import MILLISECOND, NONE_OF_THEM, NOTHING, SECOND, AppId, Nanos, NodeId
from opus_node.core.work import MILLICORES, NO_WORK, Work, emulated

BEAT: Nanos = 1 * SECOND
GRACE: Nanos = 8 * SECOND
"""How long a retired replica goes on serving: by then all who use it have heard so from their agents, with a lease."""
SMALL_REPLY = 8192
"""A reply of at most so many bytes needs no acknowledgement ahead of it."""
LOST_STEWARD = 8
"""After every so many beats without an answer one goes to the node's own agent too: it may know a newer set."""


class Serving:
    """One application this node serves, or has just ceased to."""

    __slots__ = ("active", "replica_set", "unanswered", "until")

    def __init__(self, replica_set: ReplicaSet) -> None:
        self.replica_set = replica_set
        self.active = False
        self.until: Nanos = 0
        self.unanswered = 0


class Around(Place, Protocol):
    """The rest of a replica's node. One object: a bound method for each of its answers would take every node 64 bytes more."""

    def deliver(self, answer: Reply | RouteRefuse) -> None:
        """Brings an answer to its client, perhaps this node's own."""

    def wrote(self, request: Request | RouteRequest) -> None:
        """Hears of each write that is answered here."""


class Replica:
    __slots__ = (
        *("_around", "_beat_timer", "_ctx", "_divided", "_leaving", "_measured", "_once"),
        *("programs", "registers", "served", "serving", "work"),
    )

    def __init__(self, ctx: Context, once: Once, around: Around) -> None:
        self._ctx = ctx
        self._once = once
        self._around = around
        self._divided = tuple(app.name for app in ctx.config.apps if app.divided)
        self._measured = frozenset(app.name for app in ctx.config.apps if app.measured) or NONE_OF_THEM
        self.serving: dict[AppId, Serving] = NOTHING
        self.served = 0
        self._leaving = False
        self._beat_timer: Timer | None = None
        apps = ctx.config.apps
        self.programs = Programs(ctx) if any(app.program for app in apps) else NO_PROGRAMS
        self.work = Work(ctx, self._worked) if any(emulated(app) for app in apps) else NO_WORK
        self.registers = Registers(ctx, around, self._kept) if any(keeps(app) for app in apps) else NO_REGISTERS

    def serves(self, app: AppId) -> bool:
        """Whether requests for `app` are answered here (also in the grace after retiring)."""
        if not self.serving:
            return False
        role = self.serving.get(app)
        return (
            role is not None
            and (role.active or role.until > self._ctx.now)
            and self.programs.ready(app)
            and self.registers.ready(app)
        )

    def takes_time(self, app: AppId) -> bool:
        """Whether requests for `app` are not answered in the instant in which they arrive."""
        return self.programs.has(app) or self.work.has(app) or self.registers.has(app)

    @property
    def shed(self) -> int:
        """Requests turned away since boot."""
        return self.work.shed + self.programs.busy

    def active(self) -> tuple[AppId, ...]:
        return tuple(app for app, role in self.serving.items() if role.active)

    # The role

    def learn(self, new: ReplicaSet) -> None:
        """A set greater than any known before: take the role up, keep it, or lay it down; its data follow it."""
        self._take_up(new)
        self.registers.learn(new)

    def _take_up(self, new: ReplicaSet) -> None:
        role = self.serving.get(new.app)
        member = self._ctx.me in new.members
        if role is None:
            if not member:
                return
            if self.serving is NOTHING:
                self.serving = {}
            role = self.serving[new.app] = Serving(new)
        role.replica_set = new
        role.unanswered = 0
        if member and self._leaving:
            self._tell_leaving(new)
        if new.app in self._divided:
            self._serve_one()
        else:
            self._act(role, member)

    def _serve_one(self) -> None:
        """Of the applications that hosts are divided among, a host serves the one whose set was decided last."""
        roles = [role for app in self._divided if (role := self.serving.get(app)) is not None]
        served = claimed(self._ctx.me, [role.replica_set for role in roles])
        for role in sorted(roles, key=lambda role: role.replica_set.app == served):
            self._act(role, role.replica_set.app == served)

    def _act(self, role: Serving, active: bool) -> None:
        if role.active == active or (active and self._leaving):
            return
        role.active = active
        if not active:
            role.until = self._ctx.now + GRACE
        self._changed(role.replica_set, active)

    def _changed(self, new: ReplicaSet, active: bool) -> None:
        ctx = self._ctx
        ctx.notices.append(RoleChanged("replica", active, new.app, new.epoch))
        if active:
            self.programs.wanted(new.app)
        if active and (self._beat_timer is None or self._beat_timer.run is None):
            self._beat_timer = ctx.timers.at(ctx.now + ctx.jitter(BEAT, 0.3, 1.0), self._beat)

    def answer_appoint(self, source: NodeId, known: ReplicaSet, app: AppId) -> None:
        """After learning: tells the steward whether this node serves under the greatest set it knows."""
        role = self.serving.get(app)
        able = role is not None and role.active and not self._leaving and not self.programs.hopeless(app)
        self._ctx.send(source, AppointReply(app, known.epoch, able))

    def leave(self) -> None:
        """This node goes: its stewards are to put others in its place. Until they have (it hears so as any other member that is
        retired) it serves, and for the grace after."""
        self._leaving = True
        for app in self.active():
            self._tell_leaving(self.serving[app].replica_set)

    def _tell_leaving(self, known: ReplicaSet) -> None:
        if known.steward != self._ctx.me:
            self._ctx.send(known.steward, ReplicaSilent(known.app, known.epoch, self._ctx.me))

    def busy(self) -> bool:
        """Whether somebody counts on this node: a set it is in, data that are nowhere else yet, or a request that it has before
        it."""
        return bool(self.active()) or self.registers.needed() or self.work.waiting > 0 or self.programs.waiting > 0

    # Beats

    def _beat(self, _: object) -> None:
        ctx = self._ctx
        for app in [app for app, role in self.serving.items() if not role.active and role.until <= ctx.now]:
            del self.serving[app]
        if not self.serving:
            return
        for app, role in self.serving.items():
            if not role.active or self._leaving or self.programs.hopeless(app):
                continue
            steward = role.replica_set.steward
            if steward != ctx.me:
                role.unanswered += 1
                beat = self._beat_of(app, role.replica_set.epoch)
                ctx.send(steward, beat)
                agent = self._around.agent_id()
                if role.unanswered % LOST_STEWARD == 0 and agent not in ("", ctx.me, steward):
                    ctx.send(agent, beat)
        self._beat_timer = ctx.timers.at(ctx.now + ctx.jitter(BEAT, 0.95, 1.05), self._beat)

    def _beat_of(self, app: AppId, epoch: int) -> ReplicaBeat:
        work, measured = self.work, app in self._measured
        if self.programs.has(app):
            return self._program_beat(app, epoch, measured)
        if not work.has(app):
            return ReplicaBeat(app, epoch, self.served, unready=not self.registers.ready(app))
        served, spent = (work.answered[app], work.spent[app] // MILLISECOND) if measured else (self.served, 0)
        return ReplicaBeat(app, epoch, served, work.load(), work.provides(app), work.turned_away[app], spent=spent)

    def _program_beat(self, app: AppId, epoch: int, measured: bool) -> ReplicaBeat:
        programs, ready = self.programs, self.programs.ready(app)
        if not measured:
            return ReplicaBeat(app, epoch, self.served, unready=not ready)
        account = programs.account(app)
        cores, spent = self._ctx.config.abilities.cpu, account.spent // MILLISECOND
        provides = round(MILLICORES * cores)
        return ReplicaBeat(app, epoch, account.counted, programs.load(app), provides, account.turned_away, not ready, spent)

    def on_beat_reply(self, message: BeatReply) -> None:
        role = self.serving.get(message.app)
        if role is not None:
            role.unanswered = 0

    # Serving

    def serve(self, source: NodeId, message: RouteRequest) -> Reply:
        """The answer, which goes straight to the client; a forwarding agent is told at once, and so is one that awaits much."""
        ctx = self._ctx
        if source != message.client or message.reply_bytes > SMALL_REPLY:
            self._once.answer(source, RouteAck(message.client, message.request, message.attempt))
        self.served += 1
        return self._reply(message, ctx.now, message.reply_bytes, b"")

    def served_itself(self, request: Request) -> None:
        """A request of this node's own that took no time."""
        self.served += 1
        if request.write:
            self._around.wrote(request)

    def take(self, message: RouteRequest) -> bool:
        """Lay a request before the program or those who keep the data, or put it in the line; False if there are too many."""
        if self.registers.has(message.app):
            return self.registers.begin(message)
        return self.programs.ask(message) if self.programs.has(message.app) else self.work.admit(message)

    def ask(self, source: NodeId, message: RouteRequest) -> None:
        """The same for another node's. The hop before is told at once: the answer takes its time."""
        key = (message.client, message.request, message.attempt)
        if self.take(message):
            self._once.answer(source, RouteAck(*key, self.work.load()))
        elif primary := self.registers.primary(message.app):
            self._once.answer(source, RouteRefuse(*key, NOT_PRIMARY, primary))
        elif holder := self.registers.elsewhere(message.app, message.key):
            self._once.answer(source, RouteRefuse(*key, NOT_HOLDER, holder))
        else:
            self._once.answer(source, RouteRefuse(*key, BUSY, self._relief(message), self.work.load()))

    def _relief(self, message: RouteRequest) -> NodeId:
        """Another replica, for a request that is turned away here."""
        others = [node for node in self.serving[message.app].replica_set.members if node not in (self._ctx.me, message.client)]
        return self._ctx.rng.choice(others) if others else ""

    def _worked(self, message: RouteRequest, arrived_at: Nanos) -> None:
        if message.app not in self.serving:
            self._around.deliver(RouteRefuse(message.client, message.request, message.attempt, "no replica any more"))
            return
        self.served += 1
        self._around.deliver(self._reply(message, arrived_at, message.reply_bytes, b""))

    def _kept(self, message: RouteRequest, arrived_at: Nanos, outcome: Outcome) -> None:
        """Whoever had to has answered, or will not in time. Perhaps at once, but its client is not told before it has asked."""
        self._ctx.timers.at(self._ctx.now, self._tell, (message, arrived_at, outcome))

    def _tell(self, told: tuple[RouteRequest, Nanos, Outcome]) -> None:
        message, arrived_at, outcome = told
        if not outcome.done or message.app not in self.serving:
            self._around.deliver(RouteRefuse(message.client, message.request, message.attempt, NOT_READY))
            return
        self.served += 1
        value = b"" if message.write else outcome.cell.value or b""
        answer = self._reply(message, arrived_at, 0, value)
        self._around.deliver(replace(answer, tags=(outcome.cell.tag,)))

    def answered(self, event: Served) -> Reply | RouteRefuse | None:
        """What the program's answer means to the client that asked."""
        asked = self.programs.answered(event)
        if asked is None:
            return None
        message = asked.message
        if not event.ok or message.app not in self.serving:
            return RouteRefuse(message.client, message.request, message.attempt, event.why or "no replica any more")
        self.served += 1
        return self._reply(message, asked.arrived_at, event.reply_bytes, event.content)

    def _named(self, app: AppId) -> ReplicaSet:
        """What clients are told of who serves: who holds which shard is their agents' affair."""
        known = self.serving[app].replica_set
        return replace(known, holders=()) if known.holders else known

    def _reply(self, message: RouteRequest, arrived_at: Nanos, payload: int, content: bytes) -> Reply:
        if message.write:
            self._around.wrote(message)
        return Reply(
            message.app,
            message.client,
            message.request,
            message.attempt,
            arrived_at,
            message.hops,
            self._named(message.app),
            payload,
            content,
            self.work.load(),
        )
