"""An agent's part in how many agents there are: it reports what a split would gain and its own end cost, and does as ordered.

    leases --measured round trips--> offers, cost --AgentReport--> steward of the agents --AgentOrder--> Promote, or step down

Whoever is promoted is told all that is known; its future nodes, those that measured it nearer, are told of it as soon as it
is heard of. An agent that was promised nothing back (its order or report is lost) reports again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from opus_node.core.census import Census
from opus_node.core.context import Context
from opus_node.core.held import Held
from opus_node.core.leases import Leases
from opus_node.core.messages import AgentHint, AgentOrder, AgentReport, AppDelay, LeaseReply, Offer, Promote
from opus_node.core.peers import Peers
from opus_node.core.sets import ReplicaSets
from opus_node.core.siblings import TOWARDS_REPLICAS, mix
from opus_node.core.swim import Member
from opus_node.core.timers import Timer
from opus_node.core.types import MILLISECOND, SECOND, AppId, Nanos, NodeId

SOON: Nanos = 1 * SECOND
"""Between two looks at one's nodes while something changes, doubled to LATE while nothing does."""
LATE: Nanos = 8 * SECOND
REPORT_EVERY: Nanos = 10 * SECOND
"""A report at least so often; sooner if it has changed by NOTABLE."""
NOTABLE = 0.2
TRIED: Nanos = 30 * SECOND
"""A node that was promoted and is no agent yet is not offered again for so long."""
NEW_NODE: Nanos = 200 * MILLISECOND
"""Pause between the bursts in which nodes are asked unasked, while agents are too few."""
PUSHED = 24
"""Nodes asked to measure in one burst."""
HANDOVER: Nanos = 3 * SECOND
"""From hearing of the heir to stepping down: its nodes measure it meanwhile."""
ALIKE: Nanos = 2 * MILLISECOND
"""A new agent that is farther from a node by no more than this serves it as well."""


class Promotion:
    __slots__ = (
        "_bar",
        "_census",
        "_ctx",
        "_delays",
        "_ended",
        "_heir",
        "_heirs",
        "_leases",
        "_pause",
        "_promoted",
        "_reported",
        "_reported_at",
        "_retire",
        "_sets",
        "_steward",
        "_swim",
        "_timer",
    )

    def __init__(
        self,
        ctx: Context,
        leases: Leases,
        swim: Peers,
        sets: ReplicaSets,
        census: Census,
        delays: Callable[[], tuple[AppDelay, ...]],
        retire: Callable[[], None],
    ) -> None:
        """`delays` is how far this agent is from the replicas it would choose, `retire` ends its role."""
        self._ctx = ctx
        self._leases = leases
        self._swim = swim
        self._sets = sets
        self._census = census
        self._delays = delays
        self._retire = retire
        self._promoted: dict[NodeId, tuple[Nanos, Held]] = {}
        """When, and what was known of them: their leases end sooner than news of new agents come."""
        self._heir: NodeId = ""
        self._heirs: tuple[Offer, ...] = ()
        self._bar: Nanos = 0
        self._ended = False
        self._reported: AgentReport | None = None
        self._reported_at: Nanos = 0
        self._steward: NodeId = ""
        """To whom."""
        self._pause = SOON
        self._timer: Timer | None = None

    def start(self) -> None:
        self._timer = self._ctx.timers.at(self._ctx.now + self._ctx.jitter(SOON), self._look)

    def stop(self) -> None:
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()

    # Looking and reporting

    def _look(self, _: object) -> None:
        ctx = self._ctx
        self._leases.siblings.forget()
        self._leases.neighbours.forget()
        self._promoted = {node: one for node, one in self._promoted.items() if ctx.now - one[0] < TRIED}
        if self._leases.siblings.stale():
            self._study()
        report, steward = self._report(), self._census.steward()
        if steward != self._steward or self._worth_telling(report):
            self._reported, self._reported_at, self._steward = report, ctx.now, steward
            if steward == ctx.me:
                self._census.on_report(ctx.me, report)
            elif steward:
                ctx.send(steward, report)
            self._pause = SOON
        else:
            self._pause = min(LATE, 2 * self._pause)
        if not self._bar:
            self._pause = SOON
            self._push()
        for agent, order in self._census.decide(one.steward for one in self._sets.all()):
            if agent == ctx.me:
                self.on_order(ctx.me, order)
            else:
                ctx.send(agent, order)
        if steward == ctx.me:
            self._pause = SOON
            self._bar = self._census.bar
        if not self._ended:
            self._timer = ctx.timers.at(ctx.now + ctx.jitter(self._pause), self._look)

    def _delay(self) -> tuple[Nanos, dict[AppId, Nanos], dict[AppId, float]]:
        """How far the replicas are, weighed by the nodes' demand; by application; the weights."""
        mine = {one.app: one.rtt for one in self._delays()}
        rates: dict[AppId, float] = dict.fromkeys(mine, 0.0)
        for held in self._leases.table.values():
            for one in held.demand:
                if one.app in rates:
                    rates[one.app] += one.rate
        share = mix(rates) if rates else {}
        return int(sum(share[app] * mine[app] for app in share)), mine, share

    def _study(self) -> None:
        table = self._leases.table
        delay, mine, share = self._delay()
        theirs = {
            held.node: int(
                sum(share[app] * min(held.nearest(app) or held.rtt // 2 + mine[app], held.rtt + mine[app]) for app in share)
            )
            for held in table.values()
        }
        self._leases.siblings.study(delay, theirs, self._bar)
        self._heirs = self._leases.siblings.heir(delay, theirs) if self._bar else ()

    def _report(self) -> AgentReport:
        table = self._leases.table
        offers, heirs = (self._free(told) for told in (self._leases.siblings.offers, self._heirs))
        burden = sum(held.rtt for held in table.values()) + len(table) * int(TOWARDS_REPLICAS * self._delay()[0])
        return AgentReport(len(table), burden, self._cost(), offers, heirs)

    def _free(self, told: Iterable[Offer]) -> tuple[Offer, ...]:
        """Those that can be promoted: replicas only where nobody else can."""
        table, serving = self._leases.table, {node for one in self._sets.all() for node in one.members}
        able = tuple(offer for offer in told if offer.node in table and offer.node not in self._promoted)
        return tuple(offer for offer in able if offer.node not in serving) or able

    def _cost(self) -> Nanos:
        """What its nodes, and itself, would lose; 0 while too few of them have said so."""
        table = self._leases.table
        known = [held.spare for held in table.values() if held.spare]
        if 2 * len(known) < len(table):
            return 0
        nearest = min((member.srtt for member in self._swim.members.values() if member.live and member.samples), default=0)
        return nearest + (sum(known) * len(table) // len(known) if known else 0) + 1

    def _worth_telling(self, report: AgentReport) -> bool:
        before = self._reported
        if before is None or self._ctx.now - self._reported_at >= REPORT_EVERY:
            return True
        return (
            _differ(before.nodes, report.nodes)
            or _differ(before.cost, report.cost)
            or _differ(_best(before.offers), _best(report.offers))
            or _differ(_best(before.heir), _best(report.heir))
        )

    def _push(self) -> None:
        """Agents are too few: nodes are asked at once, not when their leases come."""
        left = PUSHED
        for held in self._leases.table.values():
            wanted = self._leases.siblings.wanted(held)
            if wanted:
                self._ctx.send(held.node, LeaseReply(0, True, (), self._ctx.position.at, (), wanted))
                left -= 1
                if not left:
                    return

    # Orders

    def on_order(self, source: NodeId, order: AgentOrder) -> None:
        if source != self._census.steward():
            return
        ctx = self._ctx
        self._bar = order.bar
        for node in order.promote:
            held = self._leases.table.get(node)
            if held is not None:
                self._promoted[node] = (ctx.now, held)
                ctx.send(node, Promote(self._swim.table(), self._sets.all(), self._swim.above()))
        if order.step_down and not order.promote:
            self._retire()
        elif order.step_down:
            self._heir = order.promote[0]
        elif order.promote:
            self._heir = ""

    def agents_changed(self) -> None:
        """If another is steward of the agents now, it knows nothing yet."""
        if self._timer is not None and self._timer.run is not None and self._census.steward() != self._steward:
            self._timer.cancel()
            self._timer = self._ctx.timers.at(self._ctx.now + self._ctx.jitter(SOON, 0.1, 0.5), self._look)

    def on_agent(self, member: Member) -> None:
        """Somebody has become an agent; perhaps one that this agent promoted."""
        ctx = self._ctx
        self._census.on_agent(member.node)
        self._leases.release(member.node)
        promoted = self._promoted.pop(member.node, None)
        if promoted is None:
            return
        self._tell_of(promoted[1], member)
        if member.node == self._heir:
            self._heir = ""
            ctx.timers.at(ctx.now + HANDOVER, self._hand_over)

    def _tell_of(self, new: Held, member: Member) -> None:
        """Nodes that it is nearer to hear of it; if they are few, a crowd hands over as many as are not much farther."""
        ctx, table = self._ctx, self._leases.table
        hint = (AgentHint(new.node, new.rtt, member.at or new.at),)
        nearer, alike = [], []
        for held in table.values():
            rtt = self._leases.siblings.between(held, new)
            if rtt is not None and rtt < held.rtt - ALIKE:
                nearer.append(held.node)
            elif (held.rtt + new.rtt if rtt is None else rtt) <= held.rtt + ALIKE:
                alike.append(held.node)
        # To all that were promoted at once alike.
        crowd = len(table) // (len(self._promoted) + 2) if len(table) > ctx.config.nodes_per_agent else 0
        for one in nearer:
            ctx.send(one, LeaseReply(0, True, hint, ctx.position.at))
        for one in ctx.rng.sample(alike, max(0, min(len(alike), crowd - len(nearer)))):
            del table[one]
            ctx.send(one, LeaseReply(0, False, hint, ctx.position.at))

    def _hand_over(self, _: object) -> None:
        if not self._ended:
            self._retire()


def _best(offers: tuple[Offer, ...]) -> Nanos:
    return offers[0].gain if offers else 0


def _differ(one: int, other: int) -> bool:
    return abs(one - other) > NOTABLE * max(one, other, 1)
