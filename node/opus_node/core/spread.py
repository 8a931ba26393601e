"""How what one replica publishes reaches the others: an eager tree for each source over a shared mesh, and lazy repair.

    publish / Update ──▶ deliver ──▶ Update ─▶ children in the source's tree   (`pushes`: acknowledged by Have, or passed by)
                                └──▶ Have ──▶ LAZY others ──▶ Want ──▶ Update  (if it has not come by the tree: `grafts`)
    MeshHello, now and then: digests; where they differ, all is told (MeshNews, Have)

It is Plumtree (Leitao, Pereira, Rodrigues 2007) with two differences. Trees are not found by pruning what comes late: members
tell each other their links (`mesh`), so that all know every source's tree before it sends, and a member whose child is silent
passes the update on to the child's children. And the mesh is no random one: its links are those that the application's bound on
delay needs (`Linking`). Everything is soft state but how far each stream has come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from opus_node.core.context import Context
from opus_node.core.grafts import Grafts
from opus_node.core.linking import Linking
from opus_node.core.messages import Have, Mark, MeshAnswer, MeshAsk, MeshHello, MeshNews, Message, Update, Want
from opus_node.core.prober import Prober
from opus_node.core.pushes import Pushes
from opus_node.core.timers import Timer
from opus_node.core.types import MILLISECOND, AppId, Nanos, NodeId
from opus_node.core.updates import MOST, Taken, Updates

LAZY = 3
"""Members beside the tree that hear of each update."""
GATHERED: Nanos = 50 * MILLISECOND
"""For so long what others are to hear of is gathered."""
AT_ONCE = 16
"""Updates sent as an answer, at most; who lacks more asks again."""

Deliver = Callable[[Update, int, NodeId], None]
"""Called with an update, how many before it are gone for good, and who sent it: of its own nobody."""


class Spread:
    """One application's, at one of its replicas. Each update is delivered once, in order."""

    __slots__ = (
        "_ctx", "_deliver", "_grafts", "_known", "_lazy", "_lazy_timer", "_links", "_pushes",
        "app", "copies", "needless", "updates",
    )  # fmt: skip

    def __init__(self, ctx: Context, prober: Prober, app: AppId, bound: float, deliver: Deliver) -> None:
        """`bound`: how much longer than the direct one the way from any member to any other may be; above 1."""
        self._ctx = ctx
        self._deliver = deliver
        self.app = app
        self.updates = Updates(app)
        self._known: tuple[NodeId, ...] | None = None
        """The other members, as of when this one last was one or ceased to be; None: it has never been."""
        self._links = Linking(ctx, prober, app, bound, self._hello, self._linked)
        self._pushes = Pushes(ctx, self._links, self._send)
        self._grafts = Grafts(ctx, self._links, self.updates)
        self._lazy: dict[NodeId, None] = {}
        """Sources of which others are yet to hear."""
        self._lazy_timer: Timer | None = None
        self.copies = 0
        """Updates sent, each time anew ..."""
        self.needless = 0
        """... and received though they had come before."""

    def learn(self, members: Sequence[NodeId]) -> None:
        """The set of replicas is this from now on; without this node in it, it takes no part."""
        was, now = self._links.active, self._ctx.now
        if was or self._ctx.me in members:
            self._known = tuple(node for node in members if node != self._ctx.me)
        if self._ctx.me in members and not was:
            self.updates.join(now)
        self.updates.of(members, now)
        self._links.learn(members)
        if was and not self._links.active:
            self._pushes.clear()
            self._grafts.clear()
        elif self._links.active and not was:
            for other in self._links.others(LAZY):  # what has been, until there are links by which to hear of it
                self._ctx.send(other, Have(self.app, self.updates.marks(now), whole=True))

    def publish(self, content: bytes, payload: int = 0) -> Update | None:
        """None: this node has never been a member, or there is more than MOST of it. Who has left hands it to some who are."""
        if self._known is None or len(content) + payload > MOST:
            return None
        update = self.updates.publish(self._ctx.me, self._ctx.incarnation, content, payload)
        self._deliver(update, 0, "")
        if self._links.active:
            self._forward(update, "")
        else:
            for other in self._ctx.rng.sample(self._known, min(LAZY, len(self._known))):
                self._send(other, update)
        return update

    @property
    def neighbours(self) -> tuple[NodeId, ...]:
        """In the mesh."""
        return tuple(sorted(self._links.links))

    def entries(self) -> int:
        """What the tables hold: members, links, streams."""
        return self._links.entries() + len(self.updates.streams)

    def on(self, source: NodeId, message: Message) -> None:
        """Everything that is said among the replicas of this application."""
        links = self._links
        if not links.active:
            if isinstance(message, MeshAsk):
                self._ctx.send(source, MeshAnswer(self.app, False))
            elif isinstance(message, Want):
                self._on_want(source, message)
            return
        links.heard(source)
        match message:
            case Update():
                self._on_update(source, message)
            case Have():
                self._on_have(source, message)
            case Want():
                self._on_want(source, message)
            case MeshHello():
                links.on_hello(source, message)
                if message.marks != self.updates.digest(self._ctx.now):
                    self._ctx.send(source, Have(self.app, self.updates.marks(self._ctx.now), whole=True))
            case MeshAsk():
                links.on_ask(source, message)
            case MeshAnswer():
                links.on_answer(source, message)
            case MeshNews():
                links.on_news(source, message)

    # Updates

    def _on_update(self, source: NodeId, update: Update) -> None:
        before = self.updates.mark(update.source)
        taken = self.updates.take(update, self._ctx.now)
        if taken is Taken.GAP:
            self._grafts.told(source, Mark(update.source, update.life, update.version), at_once=True)
            return
        self._ctx.send(source, Have(self.app, (self.updates.mark(update.source),)))
        self.needless += taken is Taken.OLD
        if taken is Taken.NEXT:
            come = before.version if before.life == update.life else 0
            self._deliver(update, update.version - come - 1, source)
            self._grafts.delivered(update.source)
            self._forward(update, source)

    def _on_want(self, source: NodeId, message: Want) -> None:
        for mark in message.marks:
            for update in self.updates.since(mark, AT_ONCE):
                self._send(source, update)

    def _forward(self, update: Update, came_from: NodeId) -> None:
        tree = self._links.mesh.tree(update.source)
        for child in self._links.mesh.below(tree, self._ctx.me):
            if child != came_from:
                self._pushes.push(child, update, tree)
        parent = tree.parent.get(self._ctx.me, "")
        if came_from and parent not in ("", came_from):  # who should have brought it may lack it, and those beyond
            self._ctx.send(parent, Have(self.app, (self.updates.mark(update.source),)))
        self._lazy[update.source] = None
        if self._lazy_timer is None:
            self._lazy_timer = self._ctx.timers.at(self._ctx.now + GATHERED, self._tell)

    def _send(self, to: NodeId, update: Update) -> None:
        self.copies += 1
        self._ctx.send(to, update)

    def _tell(self, _: object) -> None:
        """Some others, chosen anew each time, hear what there is: even if every link of the tree broke, it would spread."""
        self._lazy_timer = None
        marks = tuple(self.updates.mark(source) for source in self._lazy)
        self._lazy.clear()
        for other in self._links.others(LAZY):
            self._ctx.send(other, Have(self.app, marks))

    def _on_have(self, source: NodeId, message: Have) -> None:
        for mark in message.marks:
            self._pushes.acknowledged(source, mark)
        for mark in self.updates.lacking(message.marks, self._ctx.now):
            self._grafts.told(source, mark)
        if message.whole:
            ahead = self.updates.ahead(message.marks, self._ctx.now)
            if ahead:
                self._ctx.send(source, Have(self.app, ahead))

    # What the links need of it

    def _hello(self) -> MeshHello:
        return MeshHello(self.app, self._links.mesh.digest(), self.updates.digest(self._ctx.now))

    def _linked(self, other: NodeId) -> None:
        """A new neighbour: what does it lack?"""
        self._ctx.send(other, Have(self.app, self.updates.marks(self._ctx.now), whole=True))
