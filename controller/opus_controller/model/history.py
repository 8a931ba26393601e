"""What each host's own clock and disk would know at any time of a run: for how long it has been up, and what it lived before.

A runtime tells a node that starts what its host knows, and nothing else: in the field the node would have read it itself. It
begins with the plan's lives (`Plan.churn`) and goes on with what really happens, faults included.
"""

from __future__ import annotations

from dataclasses import dataclass

from opus_controller.model.plan import Plan


@dataclass(frozen=True)
class History:
    """As in opus_node.core.types: nanoseconds, sessions before this one."""

    age: int = 0
    sessions: int = 0
    up: int = 0
    away: int = 0


@dataclass(slots=True)
class _Past:
    is_up: bool
    since: int | None
    """When the session or absence under way began; None: of an absence that the host will know nothing of."""
    sessions: int = 0
    up: int = 0
    away: int = 0


class Histories:
    """Of all hosts of a run. Times in ns since the origin."""

    def __init__(self, plan: Plan) -> None:
        self._boots = {host.name: host.boot_at_ns for host in plan.hosts}
        self._pasts: dict[str, _Past] = {}
        """Of hosts to which something has happened besides their first boot."""
        for life in plan.churn.lives if plan.churn else ():
            self._pasts[life.host] = _Past(life.up, -life.age_ns, life.sessions, life.up_ns, life.away_ns)

    def began(self, host: str, t: int) -> History:
        """The host's node starts at `t`: what it is to be told."""
        past = self._pasts.get(host)
        if past is None:
            return History(max(0, t - self._boots[host]))
        if not past.is_up or past.since is None:
            past.away += t - past.since if past.since is not None else 0
            past.is_up, past.since = True, t
        return History(max(0, t - past.since), past.sessions, past.up, past.away)

    def ended(self, host: str, t: int) -> None:
        """The host's node is gone; no matter how, and no harm if it was gone before."""
        past = self._pasts.setdefault(host, _Past(True, self._boots[host]))
        if past.is_up and past.since is not None:
            past.sessions += 1
            past.up += t - past.since
            past.is_up, past.since = False, t

    def lost(self, host: str) -> None:
        """What the (dead) host knew is gone with its disk."""
        self._pasts[host] = _Past(False, None)
