"""How many agents there should be, and which: what the steward of the agents decides from their reports.

The steward of the agents is the agent that comes first by rendezvous hashing for no application. It keeps nothing that the
next reports would not tell anew, so whoever comes first after it goes on at once; each side of a partition has its own.

    fewer agents than one per `nodes_per_agent` nodes --> split where the offered gain is greatest
    as many           --> a split that brings more than some agent's end costs: it splits, and then there are more
    more              --> the agent whose end costs least steps down; or hands over to an heir in a better place

Beyond that number an agent may arise only where it brings as much as `near_enough` for most nodes of an average agent: a
far region of a small network. All of it is k-median by local search (Arya et al., SIAM J. Computing 33(3), 2004), with
measured delays, one decision after the other once the agents are enough.
"""

from __future__ import annotations

from collections.abc import Iterable

from opus_node.core.context import Context
from opus_node.core.messages import AgentOrder, AgentReport
from opus_node.core.peers import Peers
from opus_node.core.types import MILLISECOND, SECOND, Nanos, NodeId

ABUNDANT = 1.0
"""Of nodes_per_agent x near_enough: what an agent beyond the number must bring ..."""
NEVER: Nanos = 1 << 62
"""What a head beyond the number must bring: no request takes the way between an agent and its head."""
STAYS = 0.8
"""... and this share of it it must go on bringing, so that it does not come and go."""
CROWD: Nanos = MILLISECOND
"""Each node beyond the cap counts as so much gain of a split."""
BETTER = 0.85
"""A split or a handover is worth it if this share of its gain still exceeds what it costs."""
LOST: Nanos = 5 * SECOND
"""A promoted node that is not heard of as an agent after this was lost."""
AGAIN: Nanos = 4 * SECOND
"""After a new agent was heard of, until the offers of whoever promoted it count again: nodes move meanwhile."""
YOUNG: Nanos = 20 * SECOND
"""No agent steps down before: its nodes have yet to come."""
CALM: Nanos = 10 * SECOND
"""Between two changes once there are agents enough. Doubled where a change brought nothing."""
SURPLUS: Nanos = 5 * SECOND
"""Between two rounds in which agents step down because there are too many, a third of the surplus at a time."""
LASTING: Nanos = 10 * SECOND
"""So long there must have been too many: who is just moving from one agent to another is in nobody's report."""
IN_OFFICE: Nanos = 5 * SECOND
"""Who has just become steward waits so long for the reports of all: those of some say too little of how many nodes there are."""
SETTLED: Nanos = 15 * SECOND
"""After a new agent: nodes have found their places. While half of all agents are newer, what more would save is not known."""
CALM_MOST: Nanos = 320 * SECOND
PLENTY: Nanos = 20 * SECOND
PLENTY_MOST: Nanos = 1280 * SECOND
"""Between agents that arise beyond the number, once one was ended again as it did not bring what was offered: the same offer is
made anew at once. Doubled with each such, halved where they stay; none once things are ..."""
WORSE = 1.25
"""... by this factor worse than then."""
GREEDY: Nanos = 8 * SECOND
"""After a change, while agents are too few: only then is any offer good enough."""
TRIAL: Nanos = 30 * SECOND
"""After a swap or a handover, until it is judged: who is too many has gone, nodes have moved and leases told of it."""
KEPT_PROMISE = 0.25
NOTABLE = 0.01
"""A change that brought less than this share of what it promised, or of the whole burden, brought nothing: as much comes and goes
by itself."""
AT_ONCE = 6
"""One in so many agents is exchanged at once at most."""
KEPT: Nanos = 35 * SECOND
"""Reports older than this are no longer believed."""


class Told:
    """The last report of one agent."""

    __slots__ = ("at", "report")

    def __init__(self, at: Nanos, report: AgentReport) -> None:
        self.at = at
        self.report = report


class Census:
    """All the steward of the agents holds. Idle at all other agents."""

    __slots__ = (
        "_born",
        "_calm",
        "_changed_at",
        "_ctx",
        "_ended",
        "_fit_at",
        "_judged",
        "_leaving",
        "_pending",
        "_plenty",
        "_plenty_at",
        "_quiet_until",
        "_seeds",
        "_since",
        "_stewards",
        "_swim",
        "_told",
        "_trial",
        "bar",
    )

    def __init__(self, ctx: Context, swim: Peers, seeds: tuple[NodeId, ...]) -> None:
        self._ctx = ctx
        self._swim = swim
        self._seeds = seeds
        self._told: dict[NodeId, Told] = {}
        self._stewards: set[NodeId] = set()
        self._pending: dict[NodeId, tuple[NodeId, Nanos]] = {}
        """Promoted, not yet heard of: by whom, when."""
        self._leaving: dict[NodeId, Nanos] = {}
        """Told to step down, and when."""
        self._quiet_until: dict[NodeId, Nanos] = {}
        """Agents whose reports are out of date, since they have just split."""
        self._born: dict[NodeId, Nanos] = {}
        self._since: Nanos = ctx.now
        """In office; as good as unborn until then."""
        self._changed_at: Nanos = ctx.now
        self._fit_at: Nanos = ctx.now
        """When there were last not too many."""
        self._calm = CALM
        self._plenty: Nanos = 0
        self._plenty_at: Nanos = ctx.now
        """When an agent last arose beyond the number."""
        self._ended: Nanos = 0
        """The burden when one was last ended since then; 0: none was."""
        self._judged: Nanos = 0
        """The burden when a change was last judged."""
        self._trial: tuple[Nanos, Nanos] | None = None
        """The burden before the last swap or handover, and what that promised to take from it."""
        self.bar: Nanos = 0

    def steward(self) -> NodeId:
        return self._swim.steward()

    # Messages

    def on_report(self, source: NodeId, report: AgentReport) -> None:
        if self.steward() != self._ctx.me:
            return
        self._told[source] = Told(self._ctx.now, report)
        if source != self._ctx.me:
            self._ctx.send(source, AgentOrder((), False, self.bar))

    def on_agent(self, node: NodeId) -> None:
        """There is a new agent."""
        now = self._ctx.now
        if node not in self._seeds:
            self._born[node] = now
        pending = self._pending.pop(node, None)
        if pending is not None:
            self._quiet_until[pending[0]] = now + AGAIN

    # Deciding

    def decide(self, stewards: Iterable[NodeId] = ()) -> list[tuple[NodeId, AgentOrder]]:
        """Once a second: orders to agents, perhaps to this one. `stewards` of applications, and this one, whose successors would
        begin with nothing, step down only where nobody else can."""
        now, agents = self._ctx.now, self._swim.counted()
        self._stewards = {self._ctx.me, *stewards}
        if self.steward() != self._ctx.me:
            self._told.clear()
            self._pending.clear()
            self._trial = None
            self._since = self._changed_at = self._fit_at = now
            return []
        self._forget(now)
        told = {agent: self._told[agent].report for agent in agents if agent in self._told}
        if 2 * len(told) < len(agents):
            return []
        # A new agent has hardly any nodes yet; an older one that has not reported is like the others.
        unheard = sum(1 for agent in agents if agent not in told and now - self._born.get(agent, -YOUNG) >= YOUNG)
        nodes = sum(report.nodes for report in told.values()) * (len(told) + unheard) // len(told) + len(agents)
        per_agent = self._ctx.config.nodes_per_agent
        target = max(self._swim.fewest, -(-nodes // per_agent))
        worth = int(ABUNDANT * self._ctx.config.near_enough * min(per_agent, nodes / target)) if not self._ctx.level else NEVER
        count = len(agents) + len(self._pending) - len(self._leaving)
        burden = sum(report.burden for report in told.values())
        least = self._cheapest(told)
        self.bar = 0 if count < target else worth if least is None else min(worth, int(told[least].cost / BETTER))
        settled = 2 * sum(1 for at in self._born.values() if now - at < SETTLED) <= len(agents)
        # One more agent saves about half of what an average one is burdened with: a much worse offer can wait for better ones.
        idle = now - max(self._changed_at, self._since) >= GREEDY
        least_gain = 0 if idle else burden // (4 * max(1, len(agents)))
        self._wake_up(burden)
        if count <= target:
            self._fit_at = now
        if unheard and now - self._since < IN_OFFICE:
            return []
        plenty = settled and now - self._plenty_at >= self._plenty
        orders = self._splits(told, target - count, least_gain, worth if plenty else None)
        if orders or self._pending or now - self._since < YOUNG:
            return orders
        if now - self._fit_at >= LASTING and not unheard and now - self._changed_at >= SURPLUS:
            orders = self._ends(told, -(-(count - target) // 3), STAYS * worth)
            if orders and not self._ended:
                self._plenty = min(PLENTY_MOST, max(PLENTY, 2 * self._plenty))
                self._ended = burden
        if orders or unheard or now - self._changed_at < max(self._calm, TRIAL if self._trial else 0):
            return orders
        self._judge(burden)
        return self._swaps(told, burden) or self._handover(told, burden)

    def _judge(self, burden: Nanos) -> None:
        """What the last change brought: what is only promised is lost effort, so less of it."""
        if self._trial is not None:
            before, promised = self._trial
            kept = before - burden >= max(KEPT_PROMISE * promised, NOTABLE * before)
            self._calm = max(CALM, self._calm // 2) if kept else min(CALM_MOST, 2 * self._calm)
            self._trial = None
            self._judged = burden

    def _wake_up(self, burden: Nanos) -> None:
        """Pauses that have grown while nothing was to be gained are over once nodes are served worse."""
        if self._ended and burden > WORSE * self._ended:
            self._plenty = 0
        if self._judged and burden > WORSE * self._judged:
            self._calm, self._judged = CALM, burden

    def _forget(self, now: Nanos) -> None:
        for memory in (self._told, self._born, self._quiet_until):
            for agent in [agent for agent in memory if not self._swim.is_live(agent)]:
                del memory[agent]
        self._told = {agent: told for agent, told in self._told.items() if now - told.at <= KEPT}
        self._pending = {node: (by, at) for node, (by, at) in self._pending.items() if now - at <= LOST}
        self._leaving = {agent: at for agent, at in self._leaving.items() if now - at <= 2 * LOST and self._swim.is_live(agent)}

    def _offers(self, told: dict[NodeId, AgentReport]) -> list[tuple[Nanos, NodeId, NodeId]]:
        """(gain, agent, node it would promote), the best first; not of agents that have just split."""
        busy = [by for by, _ in self._pending.values()]
        found = []
        for agent, report in told.items():
            if agent in busy or agent in self._leaving or self._told[agent].at < self._quiet_until.get(agent, -1):
                continue
            crowd = max(0, report.nodes - self._ctx.config.nodes_per_agent) * CROWD
            found += [(offer.gain + crowd, agent, offer.node) for offer in report.offers]
        found.sort(key=lambda one: (-one[0], one[1], one[2]))
        return found

    def _splits(
        self, told: dict[NodeId, AgentReport], missing: int, least: Nanos, worth: Nanos | None
    ) -> list[tuple[NodeId, AgentOrder]]:
        chosen: dict[NodeId, list[NodeId]] = {}
        for gain, agent, node in self._offers(told):
            if gain < least or (missing <= 0 and (worth is None or gain <= worth)):
                break
            if missing <= 0 and self._plenty_at == self._ctx.now and self._plenty:
                break
            if missing <= 0:
                self._arises_beyond()
            missing -= 1
            chosen.setdefault(agent, []).append(node)
            self._pending[node] = (agent, self._ctx.now)
        if chosen:
            self._changed_at = self._ctx.now
        return [(agent, AgentOrder(tuple(nodes), False, self.bar)) for agent, nodes in chosen.items()]

    def _arises_beyond(self) -> None:
        if self._plenty_at < self._ctx.now and not self._ended:
            self._plenty = self._plenty // 2 if self._plenty > PLENTY else 0
        self._plenty_at, self._ended = self._ctx.now, 0

    def _cheapest(self, told: dict[NodeId, AgentReport]) -> NodeId | None:
        """Whose end would cost least, of those that may step down."""
        mortal = self._mortal(told)
        return mortal[0][1] if mortal else None

    def _mortal(self, told: dict[NodeId, AgentReport]) -> list[tuple[Nanos, NodeId]]:
        """(cost of its end, agent) of those that may step down, the cheapest first, stewards after all others."""
        now, barred = self._ctx.now, {*self._seeds, *self._leaving}
        found = sorted(
            (agent in self._stewards, report.cost, agent)
            for agent, report in told.items()
            if report.cost and agent not in barred and now - self._born.get(agent, -YOUNG) >= YOUNG
        )
        return [(cost, agent) for _, cost, agent in found] if self._to_spare() else []

    def _to_spare(self) -> int:
        """How many may go before there are too few."""
        return max(0, len(self._swim.counted()) - self._swim.fewest)

    def _swaps(self, told: dict[NodeId, AgentReport], burden: Nanos) -> list[tuple[NodeId, AgentOrder]]:
        """A few splits at once, not of agents whose end costs little; whose ends do, then, is seen when nodes have moved."""
        most = min(max(1, len(told) // AT_ONCE), self._to_spare())
        cheapest = self._mortal(told)[:most]
        offers: dict[NodeId, tuple[Nanos, NodeId]] = {}
        for gain, agent, node in self._offers(told):
            if agent not in offers and all(agent != other for _, other in cheapest):
                offers[agent] = (gain, node)
        orders, promised = [], 0
        for (cost, _), (agent, (gain, node)) in zip(cheapest, offers.items(), strict=False):
            if BETTER * gain <= cost:
                break
            promised += gain - cost
            self._pending[node] = (agent, self._ctx.now)
            orders.append((agent, AgentOrder((node,), False, self.bar)))
        if orders:
            self._trial = (burden, promised)
            self._changed_at = self._ctx.now
        return orders

    def _ends(self, told: dict[NodeId, AgentReport], most: int, worth: float) -> list[tuple[NodeId, AgentOrder]]:
        ends = [agent for cost, agent in self._mortal(told) if cost < worth][: min(most, self._to_spare())]
        if ends:
            self._changed_at = self._ctx.now
        for agent in ends:
            self._leaving[agent] = self._ctx.now
        return [(agent, AgentOrder((), True, self.bar)) for agent in ends]

    def _handover(self, told: dict[NodeId, AgentReport], burden: Nanos) -> list[tuple[NodeId, AgentOrder]]:
        heirs = [
            (report.heir[0].gain, agent, report.heir[0].node)
            for agent, report in told.items()
            if report.heir
            and agent not in self._seeds
            and agent not in self._stewards
            and self._told[agent].at >= self._quiet_until.get(agent, -1)
        ]
        if not heirs:
            return []
        gain, agent, node = max(heirs)
        if gain < int((1 - BETTER) * self._ctx.config.near_enough) * max(1, told[agent].nodes):
            return []
        self._pending[node] = (agent, self._ctx.now)
        self._leaving[agent] = self._ctx.now
        self._trial = (burden, gain)
        self._changed_at = self._ctx.now
        return [(agent, AgentOrder((node,), True, self.bar))]
