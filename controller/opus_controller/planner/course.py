"""A plan's failures and cuts, as spans of time in which nothing changes.

What is chosen by role when it is due ("a replica of web") is left out: before a run nobody knows whom it will hit. So are
changed links and strains: they make things slow, not unavailable.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from opus_controller.model.plan import Heal, HostFault, Partition, Plan

Hosts = frozenset[str]
DOWN = ("crash", "power-off", "leave")


@dataclass(frozen=True)
class Span:
    start: int
    """Nanoseconds since the origin."""
    end: int
    lives: dict[str, int]
    """Hosts that are up, and in which of their lives: a host that restarts has lost its memory."""
    paused: Hosts
    cuts: tuple[tuple[Hosts, Hosts], ...]
    """(these, those): nothing goes between them."""

    def up(self, host: str) -> bool:
        return host in self.lives and host not in self.paused

    def side(self, host: str) -> tuple[tuple[bool, bool], ...]:
        """The same for hosts that reach the same others."""
        return tuple((host in a, host in b) for a, b in self.cuts)

    def reach(self, one: str, other: str) -> bool:
        """Whether messages go both ways."""
        return not any((one in a and other in b) or (one in b and other in a) for a, b in self.cuts)


@dataclass
class _State:
    lives: dict[str, int]
    life: dict[str, int]
    paused: set[str] = field(default_factory=set)
    cuts: dict[str, tuple[Hosts, Hosts]] = field(default_factory=dict)
    hit: dict[str, Hosts] = field(default_factory=dict)
    """By fault: whom it hit."""

    def down(self, hosts: Hosts) -> None:
        for host in hosts:
            self.lives.pop(host, None)
            self.paused.discard(host)

    def back(self, hosts: Hosts) -> None:
        for host in hosts:
            if host not in self.lives:
                self.life[host] = self.life.get(host, 0) + 1
                self.lives[host] = self.life[host]


def course_of(plan: Plan) -> list[Span]:
    """From the origin to the end of the timeline."""
    everyone = frozenset(host.name for host in plan.hosts)
    absent = frozenset(plan.absent)
    state = _State(dict.fromkeys(everyone - absent, 0), dict.fromkeys(everyone, 0))
    spans: list[Span] = []
    start = 0
    for at, change in _changes(plan):
        if at > start:
            spans.append(_span(state, start, min(at, plan.duration_ns)))
            start = at
        if at >= plan.duration_ns:
            break
        _apply(state, change, everyone)
    if start < plan.duration_ns:
        spans.append(_span(state, start, plan.duration_ns))
    return spans


Change = tuple[str, str, Hosts, Hosts]
"""(kind, name, these, those)."""


def _changes(plan: Plan) -> Iterator[tuple[int, Change]]:
    found: list[tuple[int, Change]] = []
    for event in plan.churn.events if plan.churn else ():
        found.append((event.at_ns, (event.kind, "", frozenset(event.hosts), frozenset())))
    for fault in plan.timeline:
        if isinstance(fault, HostFault):
            found.append((fault.at_ns, (fault.kind, fault.same_as or fault.name, frozenset(fault.target.hosts), frozenset())))
        elif isinstance(fault, Partition):
            found.append((fault.at_ns, ("partition", fault.name, frozenset(fault.a.hosts), frozenset(fault.b.hosts))))
        elif isinstance(fault, Heal):
            found.append((fault.at_ns, ("heal", fault.undoes, frozenset(), frozenset())))
    return iter(sorted(found, key=lambda one: one[0]))


def _apply(state: _State, change: Change, everyone: Hosts) -> None:
    kind, name, these, those = change
    if kind in DOWN:
        state.down(these)
    elif kind in ("restart", "return"):
        state.back(these)
    elif kind == "pause":
        state.paused |= these
    elif kind == "resume":
        state.paused -= these
    elif kind == "partition" and these:
        state.cuts[name] = (these, those or everyone - these)
    elif kind == "heal":
        state.cuts.pop(name, None)


def _span(state: _State, start: int, end: int) -> Span:
    return Span(start, end, dict(state.lives), frozenset(state.paused), tuple(state.cuts.values()))
