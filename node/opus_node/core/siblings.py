"""Which of an agent's nodes would serve some of them better: the measured gain in delay from which agents arise.

    cost(x, a) = rtt(x, a) + W x delay of a           what a node pays for its agent, and chooses it by (`ways`)
    gain(p)    = sum over the nodes x of what each would save: max(0, cost(x, agent) - cost(x, p))

where a delay is the round trip to the replicas that are used: an agent on the way to the replicas is worth more than one that
is merely near.

Round trips between an agent's nodes are measured on its request, a few with each lease, those first from which most can be
hoped for; the rest is guessed from coordinates, within what the triangle inequality leaves over the measured ones. A node is
offered as an agent only once most of its gain is measured: guesses alone place agents badly (17.7 ms of round trip to the
agent against 14.3 ms, 22 agents on the PlanetLab matrix).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from opus_node.core.context import Context
from opus_node.core.coordinates import between
from opus_node.core.held import Held
from opus_node.core.messages import Measured, Offer
from opus_node.core.pauses import NO_PAUSE, Pauses, over, paused
from opus_node.core.stability import expected_minutes
from opus_node.core.types import MILLISECOND, SECOND, AppId, Nanos, NodeId

TOWARDS_REPLICAS = 0.6
"""W. At 1 agents would sit on the replicas' doorsteps, far from their nodes, and move with each hot spot; at 0 they would be in
the middle of their nodes, as far from the replicas as chance has it. One way from a node to its agent, and stretch: 10.1 ms and
1.00 at 1, 8.0 ms and 1.05 at 0.6, 6.9 ms and 1.25 at 0 (22 agents, ten k-median replicas, PlanetLab matrix)."""
PANEL = 32
"""Of an agent with more nodes only so many are looked at, chosen anew each time; gains are scaled up."""
FOCUS = 3
"""Candidates measured at a time."""
AT_ONCE = 3
"""Nodes that one node is asked to measure with one lease ..."""
EAGER: Nanos = 120 * SECOND
"""... one that has been with this agent for longer, while agents are enough, only one ..."""
SELDOM = 2
"""... and not again before a half of that time has passed: ever more seldom."""
CONFIRMED = 0.7
"""Share of a candidate's hoped-for gain that must be measured before it is offered."""
WORTH_ASKING: Nanos = MILLISECOND
"""A node from which less is to be hoped for is not asked."""
ASK_AGAIN: Nanos = 60 * SECOND
ASK_DOUBLED = 4
"""The first time that a node did not answer; doubled each time, as often as this."""
GUESS_SHARE = 0.8
"""Guesses from coordinates are too long for near nodes; so much of one is hoped for."""
STUDY_EVERY: Nanos = 60 * SECOND
"""Round trips and demand change too."""
OFFERS = 3
REMEMBERED = 32
"""Round trips to others kept for one node."""
ALIKE = 0.85
"""Candidates that gain this share of the best are alike: the oldest, ablest of them is offered."""


class Siblings:
    """Soft state of one agent: what its nodes measured to each other, and who is being measured now."""

    __slots__ = ("_asked", "_ctx", "_enough", "_focus", "_near", "_studied", "_table", "offers")

    def __init__(self, ctx: Context, table: dict[NodeId, Held]) -> None:
        self._ctx = ctx
        self._table = table
        self._near: dict[NodeId, dict[NodeId, Nanos]] = {}
        """By node; what one measured stands for both directions."""
        self._asked: dict[NodeId, dict[NodeId, Pauses]] = {}
        """Of a node, by those whom it was asked for."""
        self._focus: list[tuple[NodeId, Nanos]] = []
        """Candidates under measurement, and the agent's delay in excess of theirs."""
        self._studied: tuple[int, int, Nanos] = (-1, -1, 0)
        """How many nodes and measurements there were, and when, at the last study."""
        self._enough = False
        """Whether there are agents enough, and an offer must bring something."""
        self.offers: tuple[Offer, ...] = ()

    # Measuring

    def wanted(self, held: Held) -> tuple[NodeId, ...]:
        """Whom this node should measure now."""
        if not self._focus:
            return ()
        now = self._ctx.now
        if self._enough and now < held.ask_at:
            return ()
        age = now - held.since
        most = 1 if self._enough and age > EAGER else AT_ONCE
        asked = self._asked.setdefault(held.node, {})
        found: list[NodeId] = []
        for candidate, ahead in self._focus:
            other = self._table.get(candidate)
            if other is None or other is held or self.between(held, other) is not None:
                continue
            pauses = asked.get(candidate, NO_PAUSE)
            if over(pauses, now) and self._hope(held, other, ahead) >= WORTH_ASKING:
                found.append(candidate)
                asked[candidate] = paused(pauses, now, ASK_AGAIN, ASK_DOUBLED)
                held.ask_at = now + self._ctx.budget.stretched(age // SELDOM)
                if len(found) == most:
                    break
        return tuple(found)

    def take(self, node: NodeId, measured: Iterable[Measured]) -> None:
        near = self._near.setdefault(node, {})
        for one in measured:
            near.pop(one.node, None)
            near[one.node] = one.rtt
        while len(near) > REMEMBERED:
            del near[next(iter(near))]

    def measured(self, node: NodeId) -> list[tuple[NodeId, Nanos]]:
        """What a node has measured, the nearest first."""
        return sorted(self._near.get(node, {}).items(), key=lambda item: (item[1], item[0]))

    def forget(self) -> None:
        """Drops what belongs to nodes that have gone."""
        table = self._table
        for memory in (self._near, self._asked):
            for node in [node for node in memory if node not in table]:
                del memory[node]

    # Distances

    def between(self, one: Held, other: Held) -> Nanos | None:
        """As measured by either; None if neither has."""
        found = self._near.get(one.node, {}).get(other.node)
        return found if found is not None else self._near.get(other.node, {}).get(one.node)

    def _hope(self, one: Held, other: Held, ahead: Nanos) -> Nanos:
        """What the first may gain if the other were an agent: by coordinates, within the bounds that common landmarks set."""
        low, high = abs(one.rtt - other.rtt), one.rtt + other.rtt
        now_at = one.rtt + ahead
        if low >= now_at:
            return 0
        guess = min(self._guess(one, other) or low, high)
        mine, theirs = self._near.get(one.node), self._near.get(other.node)
        if guess < now_at and mine and theirs:
            for landmark in mine.keys() & theirs.keys():  # in any order: it is the greatest that counts
                off = mine[landmark] - theirs[landmark]
                if off > low or -off > low:
                    low = abs(off)
        return _gain(one.rtt, max(low, guess), ahead)

    def _guess(self, one: Held, other: Held) -> Nanos:
        """From coordinates, shortened; 0 where there are none."""
        if not one.at or not other.at:
            return 0
        return int(GUESS_SHARE * MILLISECOND * between(one.at, other.at))

    # Who would be worth it

    def stale(self) -> bool:
        """Whether another study would find something new."""
        nodes, measurements, at = self._studied
        return (
            abs(len(self._table) - nodes) * 10 > nodes
            or abs(sum(map(len, self._near.values())) - measurements) * 20 > measurements
            or self._ctx.now - at >= STUDY_EVERY
        )

    def study(self, delay: Nanos, delays: dict[NodeId, Nanos], bar: Nanos) -> tuple[Offer, ...]:
        """Offers as far as they are known, and who is to be measured next: who might gain more than `bar`.

        `delay` is the agent's to the replicas used, `delays` those of nodes that know theirs.
        """
        self._studied = (len(self._table), sum(map(len, self._near.values())), self._ctx.now)
        self._enough = bar > 0
        nodes = self._panel()
        if len(nodes) < 2:
            self._focus = []
            self.offers = ()
            return ()
        ahead = {held.node: delay - delays.get(held.node, delay) for held in nodes}
        confirmed: list[tuple[Nanos, Held, list[Nanos]]] = []
        hopeful: list[tuple[Nanos, NodeId]] = []
        scale = len(self._table) / len(nodes)
        for candidate in nodes:
            known, hoped, gains = self._gains(candidate, nodes, ahead[candidate.node])
            if known >= CONFIRMED * (known + hoped):
                confirmed.append((int(known * scale), candidate, gains))
            elif (known + hoped) * scale > bar:
                hopeful.append((known + hoped, candidate.node))
        hopeful.sort(key=lambda one: (-one[0], one[1]))
        best = max((one[0] for one in confirmed), default=0)
        self._focus = [(node, ahead[node]) for hope, node in hopeful if hope * scale > max(bar, best // 2)][:FOCUS]
        self.offers = self._offers(confirmed, nodes, scale)
        return self.offers

    def _panel(self) -> list[Held]:
        nodes = list(self._table.values())
        if len(nodes) <= PANEL:
            return nodes
        # Whoever has been measured most is seen again: measurements of different panels would never meet.
        nodes.sort(key=lambda held: (-len(self._near.get(held.node, ())), held.node))
        return nodes[: PANEL // 2] + self._ctx.rng.sample(nodes[PANEL // 2 :], PANEL - PANEL // 2)

    def _gains(self, candidate: Held, nodes: Sequence[Held], ahead: Nanos) -> tuple[Nanos, Nanos, list[Nanos]]:
        """(measured gain, what may be hoped for besides, measured gain by node)."""
        known = hoped = 0
        gains = []
        for held in nodes:
            gain = 0
            if held is candidate:
                gain = _gain(held.rtt, 0, ahead)
            elif held.rtt + ahead > WORTH_ASKING:
                rtt = self.between(held, candidate)
                if rtt is not None:
                    gain = _gain(held.rtt, rtt, ahead)
                else:
                    hope = self._hope(held, candidate, ahead)
                    hoped += hope if hope >= WORTH_ASKING else 0
            known += gain
            gains.append(gain)
        return known, hoped, gains

    def _offers(self, confirmed: list[tuple[Nanos, Held, list[Nanos]]], nodes: Sequence[Held], scale: float) -> tuple[Offer, ...]:
        """Greedy: the best, then the best on top of it."""
        offers: list[Offer] = []
        taken = [0] * len(nodes)
        while confirmed and len(offers) < OFFERS:
            more = [
                (int(scale * sum((max(0, gain - had) for gain, had in zip(gains, taken, strict=True)), 0.0)), held, gains)
                for _, held, gains in confirmed
            ]
            best = max(one[0] for one in more)
            if best <= 0:
                break
            gain, chosen, gains = max((one for one in more if one[0] >= ALIKE * best), key=lambda one: self._merit(one[1]))
            offers.append(Offer(chosen.node, gain))
            taken = [max(had, gain) for had, gain in zip(taken, gains, strict=True)]
            confirmed = [one for one in confirmed if one[1] is not chosen]
        return tuple(offers)

    def _merit(self, held: Held) -> tuple[int, float, int, NodeId]:
        """Stable (by doublings of minutes), capable, well connected."""
        minutes = expected_minutes(held.age(self._ctx.now), held.sessions, held.up)
        return (minutes.bit_length(), held.cpu, held.bandwidth, held.node)

    def heir(self, delay: Nanos, delays: dict[NodeId, Nanos]) -> tuple[Offer, ...]:
        """Who would serve these nodes better in the agent's place; each would rather go elsewhere than lose more than `spare`."""
        nodes = list(self._table.values())
        if not 2 <= len(nodes) <= 2 * PANEL:
            return ()
        best: tuple[Nanos, Held] | None = None
        for candidate in nodes:
            ahead = int(TOWARDS_REPLICAS * (delay - delays.get(candidate.node, delay)))
            total = 2 * ahead  # the candidate comes nearer by what the agent gets farther
            unknown = 0
            for held in nodes:
                if held is candidate:
                    continue
                rtt = self.between(held, candidate)
                if rtt is None:
                    unknown += 1
                    rtt = held.rtt + candidate.rtt
                total += max(held.rtt + ahead - rtt, -held.spare if held.spare else -MILLISECOND * 20)
            if unknown * 4 <= len(nodes) and total > 0 and (best is None or total > best[0]):
                best = (total, candidate)
        return (Offer(best[1].node, best[0]),) if best is not None else ()


def _gain(now: Nanos, then: Nanos, ahead: Nanos) -> Nanos:
    """Of a node `now` away from its agent, if one `then` away, whose replicas are nearer by `ahead`, were there."""
    return max(0, now - then + int(TOWARDS_REPLICAS * ahead))


@lru_cache(maxsize=256)
def _whole(app: AppId) -> dict[AppId, float]:
    return {app: 1.0}


def mix(demand: dict[AppId, float]) -> dict[AppId, float]:
    """Shares of demand; equal ones where nothing has been asked lately. Not to be changed: nodes share them."""
    if len(demand) == 1:
        return _whole(next(iter(demand)))
    total = sum(demand.values(), 0.0)
    if total > 0:
        return {app: rate / total for app, rate in demand.items()}
    return {app: 1 / len(demand) for app in demand}
