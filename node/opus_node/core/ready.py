"""The replacement set of an application: candidates that would serve next, seen to live by its steward.

    placement --who would follow which member--> standing by --Probe, EVERY--> heard: taken first when a member is lost
                                                             --silence, PATIENCE--> barred, others stand by

An agent tells of a node for two leases after the last one, so the best candidate may be dead as well; a steward that appointed it
would find out only by its silence, while requests go there. Soft state: a new steward chooses its own. Where hosts are divided
among applications there is none: all free hosts stand by.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

from opus_node.core.context import Context
from opus_node.core.messages import ProbeReply
from opus_node.core.prober import Prober
from opus_node.core.types import MILLISECOND, SECOND, Nanos, NodeId

MOST = 16
"""Of many members not each has one."""
EVERY: Nanos = 10 * SECOND
"""Between two questions to one of them, at pace 1. All are asked at once when a member is doubted: by when that is given up, it
is known who of them lives."""
SOON: Nanos = 600 * MILLISECOND
"""Who has not answered within this is not taken."""
PATIENCE: Nanos = 3500 * SECOND // 1000
"""A probe is tried for three seconds."""


class Standby:
    """One of them; times as of the last question and the last answer."""

    __slots__ = ("asked_at", "heard_at")

    def __init__(self) -> None:
        self.asked_at: Nanos = -1
        """-1: it owes no answer."""
        self.heard_at: Nanos = -1


class Ready:
    """Of one desk."""

    __slots__ = ("_ctx", "_prober", "_standing", "short")

    def __init__(self, ctx: Context, prober: Prober) -> None:
        self._ctx = ctx
        self._prober = prober
        self._standing: dict[NodeId, Standby] = {}
        self.short = True
        """Whether others are to be chosen: some serve now, or were silent."""

    def __len__(self) -> int:
        return len(self._standing)

    def choose(self, nodes: Sequence[NodeId]) -> None:
        """Who stands by from now on, the first to serve first."""
        self.short = False
        self._standing = {node: self._standing.get(node) or Standby() for node in nodes[:MOST] if node != self._ctx.me}

    def drop(self, nodes: Collection[NodeId]) -> None:
        """The set is another, and these serve now."""
        self.short = True
        self._standing = {node: one for node, one in self._standing.items() if node not in nodes}

    def clear(self) -> None:
        self.short = True
        self._standing = {}

    def hurry(self) -> None:
        """One of them may be needed soon."""
        for node, one in self._standing.items():
            self._ask(node, one)

    def _ask(self, node: NodeId, one: Standby) -> None:
        if one.asked_at < 0:
            one.asked_at = self._ctx.now
            self._prober.ask(node, partial(self._answered, one))

    def tend(self) -> list[NodeId]:
        """Asks those whose turn it is; who was silent, and stands by no more."""
        now, pause = self._ctx.now, self._ctx.budget.stretched(EVERY)
        silent = [node for node, one in self._standing.items() if 0 <= one.asked_at <= now - PATIENCE - 2 * self._ctx.lag]
        self.short |= bool(silent)
        for node in silent:
            del self._standing[node]
        for node, one in self._standing.items():
            if one.heard_at < 0 or now - one.heard_at >= pause:
                self._ask(node, one)
        return silent

    def heard(self) -> tuple[NodeId, ...]:
        """Those that have answered, and owe no answer for long; none once others are to be chosen: best in whose place they would
        be is not known then."""
        if self.short:
            return ()
        late = self._ctx.now - SOON - 2 * self._ctx.lag
        return tuple(node for node, one in self._standing.items() if one.heard_at >= 0 and not 0 <= one.asked_at <= late)

    def _answered(self, one: Standby, node: NodeId, rtt: Nanos, reply: ProbeReply) -> None:
        one.asked_at, one.heard_at = -1, self._ctx.now
