"""Who keeps the data while hosts fail and are cut off, and which requests can be answered; by mode of consistency.

One application, membership only: no message is played, an operation can be answered or not by whom it needs (docs/data.md). Where
membership is reconfigured a member that is out of reach of the others is replaced after `replace`, if enough are left to decide;
where it is static the same hosts stay, and one that comes back without its memory is taken in anew, if enough are left.
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


NEEDS: Mapping[str, Need] = {
    "": Need(majority=False),
    "linearizable": Need(majority=True),
    "write-all": Need(majority=True, write_all=True),
    "primary": Need(majority=True, primary=True),
    "bounded": Need(majority=True),
    "eventual": Need(majority=False),
}
BOUNDED = "bounded"


@dataclass(frozen=True)
class Case:
    mode: str
    hosts: tuple[str, ...]
    """The first members, the primary first."""
    spares: tuple[str, ...]
    """Who follows them, in order."""
    static: bool = False
    replace: int = 6 * SECOND
    """From when a member is out of reach until another keeps the data in its place."""
    staleness: int = 0
    """With bounded: a member goes on answering reads for so long without a majority."""


@dataclass
class Tally:
    """Seconds of requests: what was asked, and what could be answered."""

    asked: float = 0.0
    answered: float = 0.0

    @property
    def availability(self) -> float:
        return self.answered / self.asked if self.asked else 1.0


Member = tuple[str, int]
"""A host in one of its lives."""


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
        self.tally = Tally()

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
        return self.tally

    def _first(self, span: Span) -> list[Member]:
        count = len(self.case.hosts)
        able = [host for host in (*self.case.hosts, *self.case.spares) if host in span.lives]
        return [(host, span.lives[host]) for host in able[:count]]

    # Membership

    def _alive(self, span: Span) -> list[Member]:
        return [one for one in self.members if span.up(one[0]) and span.lives[one[0]] == one[1]]

    def _core(self, span: Span) -> list[Member]:
        """The most members that reach each other."""
        alive = self._alive(span)
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
        wanted = self._wanted(span, core)
        if self.lost or wanted is None or sorted(wanted) == sorted(self.members):
            self._wrong_since = -1
            return None
        if self._wrong_since < 0:
            self._wrong_since = now
        return self._wrong_since + self.case.replace

    def _wanted(self, span: Span, core: Sequence[Member]) -> list[Member] | None:
        """Who should keep the data now; None: nobody can decide on that."""
        if self.need.majority and len(core) < self.majority:
            return None
        if self.case.static:
            return [
                (host, life if (now := span.lives.get(host)) is None or not span.up(host) else now) for host, life in self.members
            ]
        centre = core[0][0] if core else next((host for host in self.case.spares if span.up(host)), "")
        order = (*(host for host, _ in core), *self.case.hosts, *self.case.spares)
        near = [host for host in dict.fromkeys(order) if span.up(host) and centre and span.reach(centre, host)]
        return [(host, span.lives[host]) for host in near[: len(self.case.hosts)]]

    def _replace(self, span: Span) -> None:
        wanted = self._wanted(span, self._core(span))
        if wanted:
            self.members = wanted
        self._wrong_since = -1

    # Requests

    def _count(self, span: Span, start: int, end: int) -> None:
        seconds = (end - start) / SECOND
        core = self._core(span)
        alive = self._alive(span)
        for client, (reads, writes) in self.rates.items():
            if not span.up(client):
                continue  # it asks nothing
            here = [one for one in alive if span.reach(client, one[0])]
            read, write = self._answered(here, core, start, end) if self.need.majority else self._by_any(client, here, start, end)
            self.tally.asked += (reads + writes) * seconds
            self.tally.answered += (reads * read + writes * write) * seconds

    def _answered(self, here: Sequence[Member], core: Sequence[Member], start: int, end: int) -> tuple[float, float]:
        """The shares of a client's reads and writes that are answered; `here`: members that it reaches."""
        if self.lost or not here:
            return 0.0, 0.0
        inside = [one for one in here if one in core]
        if len(core) < self.majority or not inside:
            return max((self._stale(one, start, end) for one in here), default=0.0), 0.0
        if self.need.primary and (self.members[0] not in core or self.members[0] not in here):
            return 0.0, 0.0
        return 1.0, float(not self.need.write_all or len(core) == len(self.members))

    def _by_any(self, client: str, here: Sequence[Member], start: int, end: int) -> tuple[float, float]:
        """Any replica answers; where there is none, there is one after a while."""
        if here:
            self._alone_since.pop(client, None)
            return 1.0, 1.0
        served = self._alone_since.setdefault(client, start) + self.case.replace
        share = max(0, end - max(start, served)) / (end - start)
        return share, share

    def _stale(self, one: Member, start: int, end: int) -> float:
        """Which share of this time a member without a majority may still answer reads."""
        if self.case.mode != BOUNDED or one not in self._apart:
            return 0.0
        return max(0, min(end, self._apart[one] + self.case.staleness) - start) / (end - start)
