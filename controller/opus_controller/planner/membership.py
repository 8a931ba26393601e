"""Who keeps the data while hosts fail and are cut off, and which requests can be answered; by mode of consistency.

One application, membership only: no message is played, an operation can be answered or not by whom it needs (docs/data.md). Where
membership is reconfigured a member that is out of reach of the others is replaced after a while, if enough are left to decide;
where it is static the same hosts stay, and one that comes back without its memory is taken in anew, if enough are left. A
request is asked again until its deadline, so who is answered again soon enough has missed nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opus_controller.planner.course import Span

SECOND = 1_000_000_000


@dataclass(frozen=True)
class Need:
    """Of one mode: which members an operation needs, of those that its client reaches."""

    majority: bool
    """Nothing goes without a majority in reach of each other."""
    write_all: bool = False
    primary: bool = False
    lease: int = 0
    """For so long a member that is out of reach of the others goes on answering reads."""


LEASE = 2 * SECOND
BOUNDED = "bounded"
NEEDS: Mapping[str, Need] = {
    "": Need(majority=False),
    "linearizable": Need(majority=True),
    "write-all": Need(majority=True, write_all=True, lease=LEASE),
    "primary": Need(majority=True, primary=True, lease=LEASE),
    BOUNDED: Need(majority=True),
    "eventual": Need(majority=False),
}


@dataclass(frozen=True)
class Delays:
    """How long the overlay takes, ns; from `opus bench availability --rows delays`."""

    replace: int = 6 * SECOND
    """From when a member is out of reach until another keeps the data in its place."""
    back: int = 5 * SECOND
    """From when a host is up again until a static set has taken it in anew, if all others are there, ..."""
    short: int = 5 * SECOND
    """... and so much longer if not (`opus_node.core.data.move.WHOLE`)."""
    found: int = 6 * SECOND
    """From when no replica is in reach until there is one on this side, where no majority is needed."""


@dataclass(frozen=True)
class Case:
    mode: str
    hosts: tuple[str, ...]
    """The first members, the primary first."""
    spares: tuple[str, ...]
    """Who follows them, in order."""
    static: bool = False
    delays: Delays = Delays()
    staleness: int = 0
    """With bounded: a member goes on answering reads for nine tenths of that without a majority."""
    patience: int = 0
    """For so long a request is asked again."""

    @property
    def lease(self) -> int:
        return self.staleness * 9 // 10 if self.mode == BOUNDED else NEEDS[self.mode].lease


class Waits:
    """What one client asks of one kind, and when it was not answered."""

    __slots__ = ("_patience", "_rate", "_waited", "missed")

    def __init__(self, rate: float, patience: int) -> None:
        """`rate`: requests a second."""
        self._rate = rate
        self._patience = patience
        self._waited = 0
        """For how long it has not been answered."""
        self.missed = 0.0

    def goes(self, nanos: int, answered: bool) -> None:
        if not answered:
            self._waited += nanos
        elif nanos > 0:
            self.ends(self._patience)

    def ends(self, patience: int = 0) -> None:
        """Who asked less than `patience` ago is answered after all."""
        self.missed += self._rate * max(0, self._waited - patience) / SECOND
        self._waited = 0


@dataclass
class Tally:
    """Requests: what was asked, and what could be answered."""

    asked: float = 0.0
    answered: float = 0.0

    @property
    def availability(self) -> float:
        return self.answered / self.asked if self.asked else 1.0


Member = tuple[str, int]
"""A host in one of its lives."""
_NEVER = 1 << 62


class Course:
    """One case through one course of events."""

    def __init__(self, case: Case, rates: Mapping[str, tuple[float, float]]) -> None:
        """`rates`: of each client's host, (reads, writes) a second."""
        self.case = case
        self.need = NEEDS[case.mode]
        self.rates = rates
        self.members: list[Member] = []
        self.lost = False
        """Whether a majority has lost what it held: nobody can know any more what was written."""
        self._wrong_since = -1
        self._apart: dict[Member, int] = {}
        """Members that do not reach a majority, and since when."""
        self._alone_since: dict[str, int] = {}
        """Clients that reach no member, where each side of a cut may have its own."""
        self._asked = 0.0
        self._waits = {client: (Waits(reads, case.patience), Waits(writes, case.patience)) for client, (reads, writes) in rates.items()}

    def play(self, spans: Sequence[Span]) -> Tally:
        for span in spans:
            if not self.members:
                self.members = self._first(span)
            at = span.start
            while at < span.end:
                due = self._due(span, at)
                until = min(span.end, due) if due is not None else span.end
                self._count(span, at, until)
                at = until
                if due is not None and at == due:
                    self._replace(span)
        for waits in self._waits.values():
            for one in waits:
                one.ends()
        return Tally(self._asked, self._asked - sum(one.missed for waits in self._waits.values() for one in waits))

    def _first(self, span: Span) -> list[Member]:
        if self.case.static:
            return [(host, span.lives[host]) for host in self.case.hosts if host in span.lives]
        able = [host for host in (*self.case.hosts, *self.case.spares) if host in span.lives]
        return [(host, span.lives[host]) for host in able[: len(self.case.hosts)]]

    # Membership

    def _alive(self, span: Span) -> list[Member]:
        return [one for one in self.members if span.up(one[0]) and span.lives[one[0]] == one[1]]

    def _core(self, span: Span) -> list[Member]:
        """The most members that reach each other."""
        alive = self._alive(span)
        if not span.cuts:
            return alive
        groups = [[other for other in alive if span.reach(one[0], other[0])] for one in alive]
        return max(groups, key=len, default=[])

    @property
    def majority(self) -> int:
        return len(self.members) // 2 + 1

    def _due(self, span: Span, now: int) -> int | None:
        """When the members change next, if nothing else does before."""
        held = sum(span.lives.get(host) == life for host, life in self.members)
        if self.need.majority and held < self.majority:
            self.lost = True
        core = self._core(span)
        inside = core if len(core) >= self.majority else []
        self._apart = {one: self._apart.get(one, now) for one in self.members if one not in inside}
        wanted = None if self.lost else self._wanted(span, core)
        if wanted is None or sorted(wanted) == sorted(self.members):
            self._wrong_since = -1
            return None
        if self._wrong_since < 0:
            self._wrong_since = now
        return max(now, self._wrong_since + self._takes(wanted))

    def _takes(self, wanted: Sequence[Member]) -> int:
        delays = self.case.delays
        if not self.case.static:
            return delays.replace
        return delays.back + (delays.short if len(wanted) < len(self.case.hosts) else 0)

    def _wanted(self, span: Span, core: Sequence[Member]) -> list[Member] | None:
        """Who should keep the data now; None: nobody can decide on that, or nobody asks for it."""
        if not self.need.majority:
            return self._of_all_sides(span)
        if len(core) < self.majority:
            return None
        centre = core[0][0]
        if self.case.static:
            there = [(host, span.lives[host]) for host in self.case.hosts if span.up(host) and span.reach(centre, host)]
            enough = len(there) > len(self.case.hosts) // 2
            return there if enough and any(one not in self.members for one in there) else None
        order = (*(host for host, _ in core), *self.case.hosts, *self.case.spares)
        near = [host for host in dict.fromkeys(order) if span.up(host) and span.reach(centre, host)]
        return [(host, span.lives[host]) for host in near[: len(self.case.hosts)]]

    def _of_all_sides(self, span: Span) -> list[Member]:
        """Replicas serve wherever they are; only who has died is replaced."""
        if self.case.static:
            return [(host, span.lives[host]) for host in self.case.hosts if span.up(host)]
        alive = [host for host, _ in self._alive(span)]
        order = (*alive, *self.case.hosts, *self.case.spares)
        there = [host for host in dict.fromkeys(order) if span.up(host)]
        return [(host, span.lives[host]) for host in there[: len(self.case.hosts)]]

    def _replace(self, span: Span) -> None:
        wanted = self._wanted(span, self._core(span))
        if wanted:
            self.members = wanted
        self._wrong_since = -1

    # Requests

    def _count(self, span: Span, start: int, end: int) -> None:
        core = self._core(span)
        alive = self._alive(span)
        for client, (reads, writes) in self.rates.items():
            waits = self._waits[client]
            if not span.up(client):  # it asks nothing
                for one in waits:
                    one.ends(self.case.patience)
                continue
            self._asked += (reads + writes) * (end - start) / SECOND
            here = [one for one in alive if span.reach(client, one[0])] if span.cuts else alive
            if self.need.majority:
                spells = self._by_majority(here, core)
            else:
                spells = self._by_any(client, here, start)
            for one, (until, then) in zip(waits, spells, strict=True):
                middle = min(max(until, start), end)
                one.goes(middle - start, not then)
                one.goes(end - middle, then)

    def _by_majority(self, here: Sequence[Member], core: Sequence[Member]) -> tuple[tuple[int, bool], tuple[int, bool]]:
        """Of a client's reads and writes: (until when they are answered or not, whether they are from then on); `here`: members
        that it reaches."""
        never, always = (-1, False), (-1, True)
        if self.lost or not here:
            return never, never
        inside = [one for one in here if one in core]
        alone = (max(self._alone_until(one) for one in here), False)
        if len(core) < self.majority or not inside:
            return alone, never
        if self.need.primary and (self.members[0] not in core or self.members[0] not in here):
            return alone, never
        return always, always if not self.need.write_all or len(core) == len(self.members) else never

    def _alone_until(self, one: Member) -> int:
        """Until when a member without a majority answers reads."""
        if one not in self._apart or (self.need.primary and one != self.members[0]):
            return -1
        return self._apart[one] + self.case.lease

    def _by_any(self, client: str, here: Sequence[Member], start: int) -> tuple[tuple[int, bool], tuple[int, bool]]:
        """Any replica answers; where there is none, there is one after a while, unless the set is static."""
        if here:
            self._alone_since.pop(client, None)
            return (-1, True), (-1, True)
        served = self._alone_since.setdefault(client, start) + (_NEVER if self.case.static else self.case.delays.found)
        return (served, True), (served, True)
