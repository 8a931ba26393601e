"""Leave to answer alone: that nobody has moved on from this configuration yet, and nobody will before the lease has ended.

A member asks the others again and again whether they still serve. Who has accepted another configuration does not say so any
more, and a majority of the members has to accept one before it can be decided. So a lease that begins when a majority was asked
has ended by the time at which anybody serves the next configuration, if the steward (`move`) waits for as long as those who have
accepted tell it to: each of them knows when it confirmed a lease last, and any two majorities share a member. Clocks need not
agree, but no two may run more than a fifth apart, and none of those that wait may jump ahead (docs/data.md).

Where it catches up, each answer brings what the other has stored since the last one. Every acknowledged write is stored by a
majority, and any two majorities share a member: who holds a lease has all that was acknowledged before the lease began.

Source: Gray, Cheriton, *Leases* (1989); by quorums as in Moraru, Andersen, Kaminsky, *Paxos quorum leases* (2014).
"""

from __future__ import annotations

from collections.abc import Callable

from opus_node.core.data.cells import Renew, Renewed
from opus_node.core.data.holder import Holder
from opus_node.core.data.rules import Rule
from opus_node.core.types import SECOND, Nanos, NodeId

RENEWALS = 4
"""In the time of one lease: three may be lost in a row."""
USED: Nanos = 10 * SECOND
"""It is renewed for so long after it was last wanted."""
ROUNDS = 8
"""An answer counts for one of the last so many that were asked."""


class Lease:
    """One member's."""

    __slots__ = ("_asked", "_heard", "_holder", "_last", "_number", "_renew_at", "_rule", "_send", "_wanted_until")

    def __init__(self, holder: Holder, rule: Rule, send: Callable[[NodeId, Renew], None]) -> None:
        self._holder = holder
        self._rule = rule
        self._send = send
        self._number = -1
        """Of the configuration that it is for."""
        self._last = holder.me.incarnation << 32
        self._asked: dict[int, Nanos] = {}
        """By round: when."""
        self._heard: dict[NodeId, Nanos] = {}
        """Of others: when the last round was asked that they have answered."""
        self._renew_at: Nanos = 0
        self._wanted_until: Nanos = -1

    def holds(self, now: Nanos) -> bool:
        config = self._holder.config
        if config is None or not self._holder.serves:
            return False
        others = config.majority - 1
        if others == 0:
            return True
        if config.number != self._number:
            return False
        heard = sorted(self._heard.values(), reverse=True)
        return len(heard) >= others and now < heard[others - 1] + self._rule.lease

    def want(self, now: Nanos) -> None:
        """Somebody has a use for it."""
        self._wanted_until = now + USED
        self.tick(now)

    def on(self, source: NodeId, answer: Renewed) -> None:
        config, at = self._holder.config, self._asked.get(answer.op)
        if at is not None and config is not None and answer.number == self._number == config.number and config.has(source):
            for key, cell in answer.cells.items():
                self._holder.take(key, cell)
            known, peer = self._holder.known, next(one for one in config.members if one.node == source)
            known[peer] = max(answer.count, known.get(peer, 0))
            if answer.last:
                self._heard[source] = max(at, self._heard.get(source, at))
            else:
                self._send(source, Renew(config.number, answer.op, known[peer]))

    def tick(self, now: Nanos) -> None:
        config = self._holder.config
        if config is None or not self._holder.serves:
            return
        if now >= self._wanted_until:
            self._renew_at = self._wanted_until  # nobody is waited for
            return
        if config.number != self._number:
            self._number, self._renew_at = config.number, now
            self._asked, self._heard = {}, {}
        if now >= self._renew_at:
            self._renew(now)

    def next_at(self) -> Nanos | None:
        """When `tick` is next worth calling."""
        return self._renew_at if self._holder.serves and self._renew_at < self._wanted_until else None

    def _renew(self, now: Nanos) -> None:
        config = self._holder.config
        assert config is not None
        self._last += 1
        self._renew_at = now + self._rule.lease // RENEWALS
        self._asked[self._last] = now
        for old in list(self._asked)[:-ROUNDS]:
            del self._asked[old]
        for member in config.members:
            if member != self._holder.me:
                since = self._holder.known.get(member, 0) if self._rule.catches_up else -1
                self._send(member.node, Renew(config.number, self._last, since))
