"""One member's links in the mesh of its application: making, giving up, telling, and noticing who is silent.

    measure all members ─▶ tick: ask for the nearest link that is wanted ─ MeshAsk ─▶ MeshAnswer ─▶ tell all (MeshNews)
                                 or give up the longest one that nobody needs (`mesh`)

Each end of a link tells it; a link that the other end has not told for a while is given up, so that lost messages do no lasting
harm. No member has more than DEGREE links.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from opus_node.core.context import Context
from opus_node.core.events import MeshChanged
from opus_node.core.mesh import Mesh
from opus_node.core.messages import Measured, MeshAnswer, MeshAsk, MeshHello, MeshLinks, MeshNews, ProbeReply
from opus_node.core.prober import Prober
from opus_node.core.rtt import UNKNOWN
from opus_node.core.timers import Timer
from opus_node.core.types import MILLISECOND, SECOND, AppId, Nanos, NodeId

DEGREE = 6
TICK: Nanos = 500 * MILLISECOND
PROBES = 16
"""Members measured a tick."""
MEASURED_BY: Nanos = 5 * SECOND
"""No longer are links put off until all who answer are measured: they are for want of better ones."""
GIVEN_UP = 0.15
"""How likely a link that nobody needs is given up in a tick: two who do so at once could give up each other's detour."""
OLD_ENOUGH: Nanos = 3 * SECOND
"""Younger links are not given up: what is told of others made meanwhile is still under way."""
UNTOLD: Nanos = 5 * SECOND
"""A link that its other end has not told for so long is none."""
REFUSED: Nanos = 5 * SECOND
"""Until somebody who refused is asked again."""
HELLO: Nanos = 2 * SECOND
SILENT = 3
"""Hellos; then a neighbour is taken for dead."""
AGAIN: Nanos = 30 * SECOND
"""Between two measurements of a member, one after the other."""
GATHERED: Nanos = 50 * MILLISECOND
"""For so long what is passed on of links is gathered."""
MOVED = 0.2
"""What is told of a link is told again when its round trip has changed by so much."""


class Linking:
    __slots__ = (
        "_asked",
        "_asked_timer",
        "_began_at",
        "_bound",
        "_ctx",
        "_differed",
        "_heard_at",
        "_hello",
        "_hello_timer",
        "_linked",
        "_measure_at",
        "_members", "_news", "_news_timer",
        "_noticed",
        "_prober",
        "_refused",
        "_seq",
        "_tick_timer",
        "_unmeasured",
        "active",
        "app",
        "links",
        "mesh",
        "rtts",
    )  # fmt: skip

    def __init__(
        self,
        ctx: Context,
        prober: Prober,
        app: AppId,
        bound: float,
        hello: Callable[[], MeshHello],
        linked: Callable[[NodeId], None],
    ) -> None:
        """`hello` says what goes out now and then, `linked` hears of each new neighbour."""
        self._ctx = ctx
        self._prober = prober
        self.app = app
        self._bound = bound
        self._hello = hello
        self._linked = linked
        self.active = False
        self.links: dict[NodeId, Nanos] = {}
        """This member's, since when."""
        self.rtts: dict[NodeId, Nanos] = {}
        self.mesh = Mesh()
        self._members: tuple[NodeId, ...] = ()
        """The others."""
        self._unmeasured: list[NodeId] = []
        self._measure_at: Nanos = 0
        self._seq = 0
        self._asked: NodeId = ""
        self._asked_timer: Timer | None = None
        self._news: dict[NodeId, set[NodeId]] = {}
        """Whose links are to be passed on, and who knows of them already."""
        self._news_timer: Timer | None = None
        self._noticed: tuple[NodeId, ...] = ()
        """The links that observers were told of."""
        self._refused: dict[NodeId, Nanos] = {}
        """Until when."""
        self._heard_at: dict[NodeId, Nanos] = {}
        """Of neighbours."""
        self._differed: dict[NodeId, tuple[int, int]] = {}
        """Members whose last hello did not agree: their digest and this member's."""
        self._began_at: Nanos = 0
        self._tick_timer: Timer | None = None
        self._hello_timer: Timer | None = None

    def learn(self, members: Sequence[NodeId]) -> None:
        me, ctx = self._ctx.me, self._ctx
        if me not in members:
            self._leave()
            return
        new = [node for node in members if node != me and node not in self._members]
        self._members = tuple(node for node in members if node != me)
        self.mesh.keep(members)
        for table in (self.rtts, self._refused, self._differed):
            for node in [one for one in table if one not in self._members]:
                del table[node]
        ctx.rng.shuffle(new)
        self._unmeasured = [node for node in self._unmeasured if node in self._members] + new
        if not self.active:
            self.active, self._began_at = True, ctx.now
            self._tick_timer = ctx.timers.at(ctx.now + ctx.jitter(TICK, 0.1, 1.0), self._tick)
            self._hello_timer = ctx.timers.at(ctx.now + ctx.jitter(HELLO, 0.5, 1.0), self._greet)
        gone = [node for node in self.links if node not in self._members]
        for node in gone:
            self._unlink(node, tell=True)
        if gone or not self._seq:
            self._tell()

    def _leave(self) -> None:
        for timer in (self._tick_timer, self._hello_timer, self._asked_timer, self._news_timer):
            if timer is not None:
                timer.cancel()
        self._news_timer = None
        self._news.clear()
        for node in list(self.links):
            self._unlink(node, tell=True)
        self._notice()
        self.active, self._asked, self._members = False, "", ()
        self.mesh.keep(())
        self._unmeasured.clear()

    # What the rest asks

    def entries(self) -> int:
        return len(self._members) + sum(len(told.links) for told in self.mesh.told.values())

    def rtt(self, node: NodeId) -> Nanos:
        return self.rtts.get(node, UNKNOWN)

    def patience(self, node: NodeId) -> Nanos:
        """How long silence of a member is ordinary."""
        config = self._ctx.config
        return int(config.timeout_rtts * self.rtt(node)) + config.timeout_slack + 2 * self._ctx.lag

    def others(self, count: int) -> list[NodeId]:
        """So many members by chance, not those taken for dead."""
        there = [node for node in self._members if node not in self.mesh.barred]
        return self._ctx.rng.sample(there, min(count, len(there)))

    # Who lives

    def heard(self, source: NodeId) -> None:
        if source in self.links:
            self._heard_at[source] = self._ctx.now
        if source in self.mesh.barred:
            self.mesh.unbar(source)

    def silent(self, node: NodeId) -> None:
        """It did not answer twice."""
        if node in self._members:
            self.mesh.bar(node, self._ctx.now)
        if node in self.links:
            self._unlink(node, tell=False)
            self._tell()
        self._soon()

    def _greet(self, _: object) -> None:
        ctx = self._ctx
        for node in [one for one in self.links if ctx.now - self._heard_at[one] > SILENT * HELLO + self.patience(one)]:
            self.silent(node)
        away = [node for node in self._members if node not in self.links]
        hello = self._hello()
        for node in (*self.links, *ctx.rng.sample(away, min(1, len(away)))):
            ctx.send(node, hello)
        self._hello_timer = ctx.timers.at(ctx.now + ctx.jitter(HELLO), self._greet)

    # Round trips

    def _measure(self) -> None:
        ctx = self._ctx
        for _ in range(min(PROBES, len(self._unmeasured))):
            self._prober.ask(self._unmeasured.pop(), self._measured)
        if ctx.now >= self._measure_at and self._members:
            self._measure_at = ctx.now + AGAIN // len(self._members)
            if not self._unmeasured:
                node = ctx.rng.choice(self._members)
                self._prober.ask(node, self._measured)

    def _measured(self, node: NodeId, rtt: Nanos, _: ProbeReply) -> None:
        if node not in self._members:
            return
        before = self.rtts.get(node)
        self.rtts[node] = max(1, rtt if before is None or rtt < before else before + (rtt - before) // 4)
        if node in self.mesh.barred:
            self.mesh.unbar(node)
        told = self.mesh.told.get(self._ctx.me)
        said = next((one.rtt for one in told.links if one.node == node), 0) if told is not None else 0
        if said and abs(self.rtts[node] - said) > MOVED * said + MILLISECOND:
            self._tell()

    # Links

    def _soon(self) -> None:
        """The next tick need not be waited for."""
        if self.active and self._tick_timer is not None:
            self._tick_timer.cancel()
            self._tick_timer = self._ctx.timers.at(self._ctx.now + self._ctx.jitter(TICK, 0.02, 0.1), self._tick)

    def _tick(self, _: object) -> None:
        ctx = self._ctx
        self._tick_timer = ctx.timers.at(ctx.now + ctx.jitter(TICK), self._tick)
        self._measure()
        if len(self.rtts) < len(self._members) and ctx.now - self._began_at < MEASURED_BY:
            return
        for node in [one for one, since in self.links.items() if ctx.now - since > UNTOLD and not self._told_by(one)]:
            self._unlink(node, tell=True)
            self._tell()
        if not self._asked and not self._ask() and ctx.rng.random() < GIVEN_UP:
            self._give_up([node for node, since in self.links.items() if node > ctx.me and ctx.now - since > OLD_ENOUGH])

    def _ask(self) -> bool:
        ctx, mesh = self._ctx, self.mesh
        self._refused = {node: until for node, until in self._refused.items() if until > ctx.now}
        away = {*self.links, *self._refused, *self._bereft()}
        wanted = mesh.wanted(ctx.me, self.rtts, self._bound, away)
        if not wanted or (len(self.links) >= DEGREE and not self._give_up(list(self.links))):
            return False
        self._asked = wanted
        ctx.send(wanted, MeshAsk(self.app, self.rtts[wanted]))
        self._asked_timer = ctx.timers.at(ctx.now + 2 * self.patience(wanted), self._unanswered, wanted)
        return True

    def _bereft(self) -> list[NodeId]:
        """Members whose every link has been given up by the other end: either they are dead, or they will ask themselves."""
        graph = self.mesh.ways()
        return [node for node, told in self.mesh.told.items() if told.links and not graph.get(node)]

    def _unanswered(self, node: NodeId) -> None:
        self._asked = ""
        self.silent(node)

    def _give_up(self, of: Sequence[NodeId]) -> bool:
        spare = self.mesh.spare(self._ctx.me, self._bound, of)
        if spare:
            self._unlink(spare, tell=True)
            self._tell()
        return bool(spare)

    def _unlink(self, node: NodeId, tell: bool) -> None:
        del self.links[node]
        del self._heard_at[node]
        if tell:
            self._ctx.send(node, MeshAnswer(self.app, False))

    def _link(self, node: NodeId) -> None:
        ctx = self._ctx
        self.links[node] = self._heard_at[node] = ctx.now
        self._tell()
        ctx.send(node, MeshNews(self.app, self._all(), whole=True))
        self._linked(node)

    def on_ask(self, source: NodeId, message: MeshAsk) -> None:
        if source not in self._members:
            self._ctx.send(source, MeshAnswer(self.app, False))
            return
        self.rtts.setdefault(source, max(1, message.rtt))
        asking = 1 if self._asked and self._asked != source else 0
        if source not in self.links and len(self.links) + asking >= DEGREE and not self._give_up(list(self.links)):
            self._ctx.send(source, MeshAnswer(self.app, False))
            return
        self._ctx.send(source, MeshAnswer(self.app, True))
        if source not in self.links:
            self._link(source)

    def on_answer(self, source: NodeId, message: MeshAnswer) -> None:
        asked = source == self._asked
        if asked:
            self._asked = ""
            if self._asked_timer is not None:
                self._asked_timer.cancel()
        if message.linked and source in self._members and source not in self.links:
            if len(self.links) < DEGREE:
                self._link(source)
            else:
                self._ctx.send(source, MeshAnswer(self.app, False))
        elif not message.linked:
            if asked:
                self._refused[source] = self._ctx.now + REFUSED
            if source in self.links:
                self._unlink(source, tell=False)
                self._tell()

    # What is told of links

    def _told_by(self, node: NodeId) -> bool:
        told = self.mesh.told.get(node)
        return told is not None and any(one.node == self._ctx.me for one in told.links)

    def _all(self) -> tuple[MeshLinks, ...]:
        return tuple(one for _, one in sorted(self.mesh.told.items()))

    def _tell(self) -> None:
        ctx = self._ctx
        self._seq = max(self._seq, ctx.incarnation << 32) + 1
        links = tuple(Measured(node, self.rtt(node)) for node in sorted(self.links))
        own = MeshLinks(ctx.me, self._seq, links)
        self.mesh.put(own)
        self._news.pop(ctx.me, None)
        self._pass_on(ctx.me, "")
        self._notice()

    def _notice(self) -> None:
        links = tuple(sorted(self.links))
        if links != self._noticed:
            self._noticed = links
            self._ctx.notices.append(MeshChanged(self.app, links))

    def _pass_on(self, origin: NodeId, came_from: NodeId) -> None:
        self._news.setdefault(origin, set()).add(came_from)
        if self._news_timer is None:
            self._news_timer = self._ctx.timers.at(self._ctx.now + GATHERED, self._pass_on_now)

    def _pass_on_now(self, _: object) -> None:
        """To each neighbour what it has not told itself meanwhile."""
        self._news_timer = None
        told = self.mesh.told
        for node in self.links:
            news = tuple(told[origin] for origin, knows in self._news.items() if node not in knows and origin in told)
            if news:
                self._ctx.send(node, MeshNews(self.app, news))
        self._news.clear()

    def on_hello(self, source: NodeId, message: MeshHello) -> None:
        """Two hellos that tell of the same difference: it is not under way, but lost."""
        now = (message.links, self.mesh.digest())
        if now[0] == now[1] or source not in self._members:
            self._differed.pop(source, None)
        elif self._differed.get(source) == now:
            del self._differed[source]
            self._ctx.send(source, MeshNews(self.app, self._all(), whole=True))
        else:
            self._differed[source] = now

    def on_news(self, source: NodeId, message: MeshNews) -> None:
        ctx = self._ctx
        for one in message.told:
            if one.origin == ctx.me:
                if one.seq > self._seq:  # said in a former life
                    self._seq = one.seq
                    self._tell()
            elif one.origin in self._members:
                self._heard_of(source, one)
        if message.whole:
            theirs = {one.origin: one.seq for one in message.told}
            beyond = tuple(one for one in self._all() if one.seq > theirs.get(one.origin, -1))
            if beyond:
                ctx.send(source, MeshNews(self.app, beyond))

    def _heard_of(self, source: NodeId, one: MeshLinks) -> None:
        if self.mesh.put(one):
            self._news.pop(one.origin, None)
            self._pass_on(one.origin, source)
            if one.origin == source and source not in self.links and source != self._asked and self._told_by(source):
                self._ctx.send(source, MeshAnswer(self.app, False))  # it holds this member for a neighbour
        elif one.origin in self._news and self.mesh.told[one.origin].seq == one.seq:
            self._news[one.origin].add(source)
