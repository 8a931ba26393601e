"""Everything of one application's registers at one node, whatever it is to them.

    every node    answers questions (holder), remembers the last configuration it has heard of
    a replica     brings clients' operations to a majority (quorum), once it is a member; until then it is not ready
    a steward     moves the data to each set that it decides on (move), and again when a member is there in another life

Configurations follow replica sets, and nothing else: whoever is in a set and no member, or a member and not in the set, says so
to the set's steward again and again, with the last configuration it knows. So a steward that has heard of none, or of one long
gone, learns where the data are; and who speaks to a former steward, or to an agent, is told of the present set.
"""

from __future__ import annotations

from collections.abc import Collection

from opus_node.core.context import Context
from opus_node.core.data.cells import (
    Answer,
    Ballot,
    Config,
    Copy,
    Elsewhere,
    Greeted,
    Install,
    Part,
    Peer,
    Question,
    Refused,
    Retire,
    Said,
    Settled,
)
from opus_node.core.data.fetch import Newcomer
from opus_node.core.data.holder import Holder
from opus_node.core.data.move import Move
from opus_node.core.data.place import Done, Place, writer_of
from opus_node.core.data.quorum import Outcome, Quorums
from opus_node.core.data.rules import Rule
from opus_node.core.data.wire import packed
from opus_node.core.events import DataKept
from opus_node.core.messages import BeatReply, ReplicaSet, RouteRequest
from opus_node.core.relay import ATTEMPT_BITS
from opus_node.core.sets import LIVES, newer, next_epoch
from opus_node.core.timers import Timer
from opus_node.core.types import MILLISECOND, SECOND, AppId, Nanos, NodeId

TELL: Nanos = 2 * SECOND
TELL_DOUBLED = 4
"""Between two reminders to the steward by a node whose part in the set differs from that in the configuration; twice as long each
time, up to so often. The steward may be gone, so every other one goes to the node's agent as well."""
MOVE_AGAIN: Nanos = 5 * SECOND
"""After which a steward that was outbid, or whose members are there in another life, tries anew."""
HURRIED: Nanos = 10 * SECOND
"""For so long a move asks again as often as it likes; then whoever it waits for is hardly about to answer ..."""
SLOWLY: Nanos = 2 * SECOND
"""... and is asked only so often."""
LOCATED: Nanos = 2 * SECOND
"""After which a majority of those who keep the data has answered a move, or is out of reach."""
STEP: Nanos = 100 * MILLISECOND
"""At which a move that is under way looks at the time."""


class Keeper:
    __slots__ = (
        *("_app", "_began_at", "_ctx", "_done", "_due", "_known", "_last", "_move", "_place", "_reminded", "_seen"),
        *("_rule", "_set", "_timer", "_vain_since", "holder", "newcomer", "quorums"),
    )

    def __init__(self, ctx: Context, app: AppId, rule: Rule, founders: Config, place: Place, done: Done) -> None:
        """At boot. `founders`: the first configuration, the same everywhere; `done` hears of each operation begun here."""
        self._place = place
        self._ctx = ctx
        self._app = app
        self._rule = rule
        self._done = done
        self.holder = Holder(Peer(ctx.me, ctx.incarnation), founders, rule.outlast)
        self.quorums = Quorums(self.holder, rule, self._say)
        self.newcomer = Newcomer(self.holder, self._say, self._entered)
        self._known = founders
        """The last configuration heard of, by whomever, that at least one of its members has entered: who has the cells that the
        others need."""
        self._set: ReplicaSet | None = None
        self._move: Move | None = None
        """This node's, as the steward of the present set."""
        self._began_at: Nanos = 0
        self._vain_since: Nanos = 0
        """When the first of the moves began that no majority has answered."""
        self._last = 0
        """Epoch of its last ballot."""
        self._reminded = 0
        """How often in a row."""
        self._due: Nanos = -1
        """When the steward is to move the data again, or who is no steward reminds it; -1: not."""
        self._timer: Timer | None = None
        self._seen: tuple[int, bool] = (-1, False)
        self._look()

    # What a replica is asked

    @property
    def ready(self) -> bool:
        """Whether operations can be begun here."""
        return self.holder.is_member

    @property
    def primary(self) -> NodeId:
        """Who alone begins operations, as far as this node knows and if it is not itself; empty: nobody else has to."""
        config = self._known
        return config.primary.node if self._rule.led and config.primary != self.holder.me else ""

    @property
    def needed(self) -> bool:
        """Whether somebody may still want what is held here, since the data are to be kept elsewhere and are not yet."""
        return self.holder.is_member and self._set is not None

    def stranded(self, silent: Collection[NodeId]) -> bool:
        """At the steward: whether the data could not follow another set now, since a majority of those who keep them has not
        answered for a while, or is among the `silent`."""
        move = self._move
        if move is None:
            return False
        if move.in_vain and self._ctx.now - self._vain_since >= LOCATED:
            return True
        config = self.moved_to
        return sum(one.node not in silent for one in config.members) < config.majority

    @property
    def moved_to(self) -> Config:
        """Where the data are, as far as this node knows."""
        return self._served or (self._move.known if self._move is not None else self._known)

    def begin(self, message: RouteRequest) -> bool:
        """A client's request: a read, a write that wants a tag, or one that has its tag. False: nothing was done, there are too
        many, or it cannot be done here."""
        now = self._ctx.now
        until = now + message.left

        def told(outcome: Outcome) -> None:
            self._done(message, now, outcome)

        key = str(message.key)
        if not message.write:
            begun = self.quorums.read(key, now, until, told)
        elif not message.tags:
            writer = writer_of(message.client, message.attempt >> ATTEMPT_BITS, message.request)
            begun = self.quorums.reserve(key, writer, now, until, told)
        else:
            begun = self.quorums.commit(key, message.tags[0], message.content, now, until, told)
        self._rearm()
        return begun

    # What it hears

    def learn(self, new: ReplicaSet) -> None:
        """Its steward has the data follow a set greater than any before."""
        if not newer(new, self._set):
            return
        self._set, self._reminded = new, 0
        if new.steward == self._ctx.me:
            self._begin_move()
        else:
            self._move = None
            self._due = self._ctx.now if self._owes() else -1
        self._rearm()

    def on(self, source: NodeId, said: Said) -> None:
        if isinstance(said, Question):
            self._asked(source, said)
        elif isinstance(said, Answer):
            self._told(source, said)
        self._look()
        self._rearm()

    def _asked(self, source: NodeId, question: Question) -> None:
        now = self._ctx.now
        answer: Answer | None = None
        if isinstance(question, Install):
            answer = self.newcomer.install(source, question, now)
        elif isinstance(question, Copy):
            self.newcomer.copy(source, question, now)
        else:
            answer = self.holder.on(question, source, now)
        if isinstance(question, Retire):
            self._hear(question.config)
        if isinstance(question, Install | Retire | Settled):
            self.quorums.moved(self._ctx.now)
        if isinstance(answer, Greeted):
            answer = Greeted(answer.peer, self._known)
        if answer is not None:
            self._say(source, answer)

    def _told(self, source: NodeId, answer: Answer) -> None:
        match answer:
            case Elsewhere(config):
                self._hear(config)
                self.newcomer.elsewhere(config)
            case Part():
                self.newcomer.on(source, answer, self._ctx.now)
            case Greeted(peer, config) if peer.node == source:
                if config is not None:
                    self._hear(config)
                self._greeted(peer, config)
            case Refused(number) if (served := self._served) is not None and number == served.number and served.has(source):
                self._again()  # it was a member, in another life
        self.quorums.on(source, answer, self._ctx.now)
        if self._move is not None:
            self._move.on(source, answer, self._ctx.now)
            self._follow(self._move)

    def _entered(self) -> None:
        config = self.holder.config
        if config is not None:
            self._hear(config)
        self.quorums.moved(self._ctx.now)

    def _hear(self, config: Config) -> None:
        if config.number > self._known.number:
            self._known = config

    def _greeted(self, peer: Peer, config: Config | None) -> None:
        """Once the data are where the set says: whoever asks belongs to the set and not to the configuration, and is to be taken
        in, or has not heard that it may forget."""
        known, served = self._set, self._served
        if known is None or peer.node == self._ctx.me:
            return
        if known.steward != self._ctx.me:
            self._ctx.send(peer.node, BeatReply((known,), self._app))
        elif served is None:
            return
        elif peer.node in known.members:
            if peer not in served.members:
                self._again()
        elif config is not None and config.number < served.number and not served.has(peer.node):
            self._say(peer.node, Retire(served))

    # The steward's move

    @property
    def _served(self) -> Config | None:
        """At the steward, once a majority serves where its set says: the configuration that does. None: not yet."""
        if self._move is None or self._move.stage != "done":
            return None
        return self._move.following or self._move.known

    def _follow(self, move: Move) -> None:
        """What it has found out or decided; if somebody else has meanwhile, the data are to come back to this steward's set."""
        self._hear(move.known)
        if move.following is not None and move.stage == "done":
            self._hear(move.following)
        served = self._served
        if move.stage == "outbid" or (served is not None and served.number < self._known.number):
            self._again()

    def _begin_move(self) -> None:
        """Under a ballot that ends in this node's incarnation, as epochs do: none is used twice, by any of its lives. Who has
        restarted may hear of a set that it decided on in a former life, whose ballot that life has used."""
        known = self._set
        assert known is not None
        last, start = self._move, self._known
        if last is None or not last.in_vain:
            self._vain_since = self._ctx.now
        # Who has entered what the last move decided may be out of reach; those it was decided by can have it installed again.
        if last is not None and last.stage == "install" and last.known.number + 1 == start.number:
            start = last.known
        outbid = last.outbid_by.epoch if last is not None else 0
        used, life = max(self._last, outbid), self._ctx.incarnation
        own = known.epoch > used and known.epoch % LIVES == life % LIVES
        self._last = known.epoch if own else next_epoch(max(used, known.epoch), life)
        self._began_at, self._due = self._ctx.now, -1
        ballot = Ballot(self._last, self._ctx.me)
        self._move = Move(ballot, start, known.members, self._say, self._ctx.now, led=self._rule.led)

    def _again(self) -> None:
        if self._due < 0:
            self._due = max(self._ctx.now, self._began_at + MOVE_AGAIN)

    @property
    def _hurries(self) -> bool:
        return self._ctx.now - self._began_at < HURRIED

    def _tend_move(self, move: Move, now: Nanos) -> None:
        if not self._place.acts(self._app):
            self._due = -1
        elif 0 <= self._due <= now:
            self._begin_move()
        else:
            move.tick(now)
            self._follow(move)

    # Whoever is no steward

    def _owes(self) -> bool:
        """Whether this node's part in the set and in the configuration differ, as far as it knows."""
        known = self._set
        return known is not None and (self._ctx.me in known.members) != self.holder.is_member

    def _remind(self) -> None:
        known = self._set
        if known is None or not self._owes():
            self._due = -1
            return
        ctx, said, agent = self._ctx, Greeted(self.holder.me, self._known), self._place.agent_id()
        self._due = ctx.now + ctx.jitter(TELL << min(self._reminded, TELL_DOUBLED))
        self._say(known.steward, said)
        if self._reminded % 2 and agent not in ("", ctx.me, known.steward):
            self._say(agent, said)
        self._reminded += 1

    # Time

    def _rearm(self) -> None:
        wanted = self._wanted_at()
        if wanted is None:
            return
        wanted = max(wanted, self._ctx.now)
        if self._timer is None or self._timer.run is None or self._timer.when > wanted:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._ctx.timers.at(wanted, self._tick)

    def _wanted_at(self) -> Nanos | None:
        now = self._ctx.now
        times = [at for at in (self.quorums.next_at(), self.newcomer.next_at()) if at is not None]
        if self._move is not None and not self._move.settled:
            times.append(now + (STEP if self._hurries else SLOWLY))
        if self._due >= 0:
            times.append(self._due)
        return min(times, default=None)

    def _tick(self, _: object) -> None:
        now = self._ctx.now
        self.quorums.tick(now)
        self.newcomer.tick(now)
        if self._move is not None:
            self._tend_move(self._move, now)
        elif 0 <= self._due <= now:
            self._remind()
        self._look()
        self._rearm()

    # Out

    def _say(self, to: NodeId, said: Question | Answer) -> None:
        """Also to itself, as soon as this step is over: a move waits for its own node as for any other."""
        if to == self._ctx.me:
            self._ctx.timers.at(self._ctx.now, self._to_itself, said)
        else:
            self._ctx.send(to, packed(self._app, said))

    def _to_itself(self, said: Question | Answer) -> None:
        self.on(self._ctx.me, said)

    def _look(self) -> None:
        """Tells observers when it becomes a member, or is none any more."""
        holder = self.holder
        number = holder.config.number if holder.config is not None else -1
        if self._seen == (seen := (number if holder.is_member else -1, holder.is_member)):
            return
        self._seen = seen
        members = tuple(one.node for one in holder.config.members) if holder.config is not None else ()
        self._ctx.notices.append(DataKept(self._app, holder.is_member, number, members))
        if self._move is None and self._due < 0 and self._owes():
            self._reminded, self._due = 0, self._ctx.now + TELL
