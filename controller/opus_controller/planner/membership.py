"""Who keeps the data while hosts fail and are cut off, and which requests can be answered; by mode of consistency.

One application, membership only: no message is played, an operation can be answered or not by whom it needs (docs/data.md). Where
membership is reconfigured a member that is out of reach of the others is replaced after a while, if enough are left to decide;
where it is static the same hosts stay, one that comes back without its memory is taken in anew, if enough are left, and a
steward that takes over goes on with those of them that it reaches. A request is asked again until its deadline, so who is
answered again soon enough has missed nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opus_controller.planner.course import Span
from opus_controller.planner.delays import MEASURED, SECOND, Delays
from opus_controller.planner.waits import Unsettled, Waits, busy


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
class Case:
    mode: str
    hosts: tuple[str, ...]
    """The first members, the primary first."""
    spares: tuple[str, ...]
    """Who follows them, in order."""
    static: bool = False
    delays: Delays = MEASURED
    steward: str = ""
    """Whoever decides on members as long as it is there; empty: somebody always does."""
    keys: tuple[int, float] = (1000, 0.0)
    """How many, and their popularity (Zipf's exponent)."""
    staleness: int = 0
    """With bounded: a member goes on answering reads for nine tenths of that without a majority."""
    patience: int = 0
    """For so long a request is asked again."""

    @property
    def lease(self) -> int:
        return self.staleness * 9 // 10 if self.mode == BOUNDED else NEEDS[self.mode].lease


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
Spell = tuple[int, float]
"""(until when it is answered or not, the share that is from then on): the other way about before, if that is 0 or 1."""
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
        self._takes = 0
        """How long the change takes that is wanted since then."""
        self._apart: dict[Member, int] = {}
        """Members that do not reach a majority, and since when."""
        self._alone_since: dict[str, int] = {}
        """Clients that reach no member, where each side of a cut may have its own."""
        self._asked = 0.0
        self._short_since = -1
        """Since when a member is silent, where writes wait for that."""
        self._unsettled = Unsettled(busy(list(rates.values())), *case.keys)
        self._waits = {
            client: (Waits(reads, case.patience), Waits(writes, case.patience)) for client, (reads, writes) in rates.items()
        }

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
            there = [(host, span.lives[host]) for host in self.case.hosts if host in span.lives]
            enough = not self.need.majority or 2 * len(there) > len(self.case.hosts)
            return there if enough else []  # until then whoever founded them has the data, and there are none
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
        if self.need.majority and self.members and held < self.majority:
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
            self._takes = self._delay(span, core, wanted)
        return max(now, self._wrong_since + self._takes)

    def _delay(self, span: Span, core: Sequence[Member], wanted: Sequence[Member]) -> int:
        """As things stand when it begins."""
        delays, case = self.case.delays, self.case
        centre = core[0][0] if core else ""
        if case.static:
            first = delays.back if self._heads(span, centre) else delays.headless
            return first + (delays.short if len(wanted) < len(case.hosts) else 0)
        if not self._heads(span, centre):
            return delays.headless
        died = any(span.lives.get(host) != life for host, life in self.members)
        return delays.died if died else delays.cut

    def _heads(self, span: Span, side: str) -> bool:
        steward = self.case.steward
        return not steward or (span.up(steward) and (not side or span.reach(steward, side)))

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
            begins = any(one not in self.members for one in there) or not self._heads(span, centre)
            return there if enough and begins else None
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
        free = self._free(core, start, end)
        alike: dict[tuple[tuple[bool, bool], ...], tuple[Sequence[Member], tuple[Spell, Spell] | None]] = {}
        for client, (reads, writes) in self.rates.items():
            waits = self._waits[client]
            if not span.up(client):  # it asks nothing
                for one in waits:
                    one.ends(self.case.patience)
                continue
            self._asked += (reads + writes) * (end - start) / SECOND
            side = span.side(client)
            here, spells = alike.get(side, ((), None))
            if spells is None:
                here = [one for one in alive if span.reach(client, one[0])]
                spells = self._by_majority(here, core, free)
                alike[side] = here, spells
            if not self.need.majority:
                spells = self._by_any(span, client, here, start)
            for one, (until, then) in zip(waits, spells, strict=True):
                middle = min(max(until, start), end)
                one.goes(middle - start, 0.0 if then else 1.0)
                one.goes(end - middle, then)

    def _free(self, core: Sequence[Member], start: int, end: int) -> float:
        """The share of reads that need not wait for a write."""
        if not self.need.write_all or len(core) == len(self.members):
            self._short_since = -1
            return 1.0
        if self._short_since < 0:
            self._short_since = start
        return self._unsettled.free(start - self._short_since, end - self._short_since)

    def _by_majority(self, here: Sequence[Member], core: Sequence[Member], free: float) -> tuple[Spell, Spell]:
        """Of a client's reads and writes; `here`: members that it reaches."""
        never, always = (-1, 0.0), (-1, 1.0)
        if self.lost or not here:
            return never, never
        inside = [one for one in here if one in core]
        if len(core) < self.majority or not inside:
            return (max(self._alone_until(one) for one in here), 0.0), never
        if self.need.primary and (self.members[0] not in core or self.members[0] not in here):
            return (max(self._alone_until(one) for one in here), 0.0), never
        whole = not self.need.write_all or len(core) == len(self.members)
        return (-1, free), always if whole else never

    def _alone_until(self, one: Member) -> int:
        """Until when a member without a majority answers reads."""
        if one not in self._apart or (self.need.primary and one != self.members[0]):
            return -1
        return self._apart[one] + self.case.lease

    def _by_any(self, span: Span, client: str, here: Sequence[Member], start: int) -> tuple[Spell, Spell]:
        """Any replica answers; where there is none, there is one after a while, unless the set is static."""
        if here:
            self._alone_since.pop(client, None)
            return (-1, 1.0), (-1, 1.0)
        delays = self.case.delays
        takes = delays.found if self._heads(span, client) else delays.founded
        served = self._alone_since.setdefault(client, start) + (_NEVER if self.case.static else takes)
        return (served, 1.0), (served, 1.0)
