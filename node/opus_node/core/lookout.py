"""What an attached node measures in the background: agents that may serve it better, and what its agent wants to know.

An agent is measured when it was just heard of, when somebody chose it for this node, when it seems better by what is known
already, and now and then; only if it may be better than the present one, each one ever more seldom while it is not chosen, and
with pauses that double while nothing turns up:
a thousand nodes that all measure every new agent at once are what a start can least afford, since a stranger costs a dial.
"""

from __future__ import annotations

from typing import Protocol

from opus_node.core.context import Context
from opus_node.core.messages import LeaseReply, Measured, ProbeReply
from opus_node.core.prober import Prober
from opus_node.core.timers import Timer
from opus_node.core.types import MILLISECOND, NOTHING, SECOND, Nanos, NodeId
from opus_node.core.ways import Way, Ways

MOVE_SHARE = 0.08
MOVE_LEAST: Nanos = 2 * MILLISECOND
"""A node moves to an agent that is better by more than max(8 %, 2 ms): less is noise."""
AT_ONCE = 2
"""Agents measured at once by a node that is far from its own; content, it measures one."""
PAUSE_FAR: Nanos = 500 * MILLISECOND
PAUSE_NEAR: Nanos = 5 * SECOND
PAUSE_MOST: Nanos = 600 * SECOND
"""The first pause between such measurements, by whether the agent is near enough, and the last."""
ASKED_MOST = 8
"""Round trips kept for the agent that asked for them."""
ANSWER_SOON: Nanos = 600 * MILLISECOND
"""After being asked unasked to measure: a lease with what was found."""


def worth_moving(now_at: Nanos) -> Nanos:
    """The cost that is worth leaving an agent with one of `now_at`."""
    return now_at - max(int(MOVE_SHARE * now_at), MOVE_LEAST)


class Seeker(Protocol):
    """Who looks around (`attach.Attachment`)."""

    def probed(self, node: NodeId, rtt: Nanos, reply: ProbeReply) -> None:
        """Takes what an agent answers."""

    def lease_now(self) -> None: ...


class Lookout:
    __slots__ = ("_answer_timer", "_ctx", "_look_at", "_measured", "_pause", "_prober", "_seeker", "_timer", "_ways")

    def __init__(self, ctx: Context, prober: Prober, ways: Ways, seeker: Seeker) -> None:
        self._ctx = ctx
        self._prober = prober
        self._ways = ways
        self._seeker = seeker
        self._timer: Timer | None = None
        self._answer_timer: Timer | None = None
        self._look_at: Nanos = 0
        self._pause: Nanos = 0
        self._measured: dict[NodeId, Nanos] = NOTHING
        """What the agent asked to be measured, until the next lease."""

    def stop(self) -> None:
        for timer in (self._timer, self._answer_timer):
            if timer is not None:
                timer.cancel()
        self._measured = NOTHING

    # Agents

    def attached(self, way: Way) -> None:
        """To a new agent: there is time to look around, the less the farther it is."""
        self._pause = 0
        if way.delay() <= self._ctx.config.near_enough:
            self._look_at = self._ctx.now + self._ctx.jitter(PAUSE_NEAR)

    def hurry(self) -> None:
        """Others may be better by now. Not held back: an agent that arises for nodes which do not look at it ends again."""
        self._pause = 0
        self._look_at = min(self._look_at, self._ctx.now + self._ctx.jitter(PAUSE_FAR, 0.0, 1.0))

    def look(self, current: Way) -> None:
        ctx = self._ctx
        if self._certainly_better(current):
            return
        if ctx.now < self._look_at:
            waits = self._timer is not None and self._timer.run is not None
            if not waits and any(way.wanted for way in self._ways):
                self._timer = ctx.timers.at(self._look_at, self._due, current)
            return
        most = worth_moving(self._ways.cost(current))
        hopes = [(self._ways.hoped(way), way.agent) for way in self._ways if way.wanted and way is not current]
        wanted = [agent for hoped, agent in sorted(hopes) if hoped <= most]
        if not wanted:
            return
        far = current.delay() > ctx.config.near_enough
        for agent in wanted[: AT_ONCE if far else 1]:
            self._ask(agent)
        pause = ctx.jitter(self._pause or (PAUSE_FAR if far else PAUSE_NEAR))
        self._look_at = ctx.now + ctx.budget.stretched(pause)
        self._pause = min(2 * pause, PAUSE_MOST)

    def _certainly_better(self, current: Way) -> bool:
        """What is known already speaks for another agent: it is measured once more, to be sure."""
        best = self._ways.best(current.agent)
        if best is None or self._ways.cost(best) >= worth_moving(self._ways.cost(current)):
            return False
        if self._ctx.now - best.asked_at >= self._ctx.budget.stretched(best.again):
            self._ask(best.agent)
        return True

    def _due(self, current: Way) -> None:
        self._timer = None
        if self._ways.get(current.agent) is current:
            self.look(current)

    def _ask(self, agent: NodeId) -> None:
        way = self._ways.by_agent[agent]
        way.wanted = False
        way.asked(self._ctx.now)
        self._prober.ask(agent, self._seeker.probed)

    # What the agent wants to know

    def measure(self, message: LeaseReply) -> None:
        ctx = self._ctx
        for node in message.measure[: ctx.budget.some(ASKED_MOST)]:
            if node != ctx.me:
                self._prober.ask(node, self._sibling)
        if message.measure and not message.seq and (self._answer_timer is None or self._answer_timer.run is None):
            self._answer_timer = ctx.timers.at(ctx.now + ANSWER_SOON, self._answer)

    def _sibling(self, node: NodeId, rtt: Nanos, reply: ProbeReply) -> None:
        if node in self._measured or len(self._measured) < ASKED_MOST:
            if self._measured is NOTHING:
                self._measured = {}
            self._measured[node] = rtt

    def _answer(self, _: object) -> None:
        self._answer_timer = None
        if self._measured:
            self._seeker.lease_now()

    def measured(self) -> tuple[Measured, ...]:
        """For the lease that is about to go."""
        if not self._measured:
            return ()
        told = tuple(Measured(node, rtt) for node, rtt in self._measured.items())
        self._measured = NOTHING
        return told
