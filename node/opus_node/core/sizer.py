"""The size of one application's subset while it runs: u, d and E from what replicas and agents tell, m from them (`sizing`).

    ReplicaBeat --work asked for, turned away, provided--> E (Knee), d        Summary --nodes, requests/s--> n, u
    ReplicaBeat --core time spent, requests answered--> what a request costs (Costs), u

Every agent keeps the size it has last heard of in a set, so that a new steward begins with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from opus_node.core.costs import Costs
from opus_node.core.load import PER_CENT
from opus_node.core.messages import Candidate, ReplicaBeat, Summary
from opus_node.core.sizing import E_MOST, Knee, Prospect, members_for, members_to_last, resized
from opus_node.core.stability import scale_of, survives
from opus_node.core.types import SECOND, AppConfig, Nanos, NodeId
from opus_node.core.work import MILLICORES

MILLISECONDS = 1000
"""In a second, as beats tell core time."""
REPORT: Nanos = 1 * SECOND
RESIZE: Nanos = 10 * SECOND
"""Between two sizes; the first so long after this steward heard of all: demand is told with leases."""
RECENT: Nanos = 3500 * SECOND // 1000
"""A beat may be late, not three."""
REPLACED: Nanos = 5 * SECOND
"""What it takes, about, until somebody else serves in a dead member's place."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Of a beat, since the member's boot."""

    spent: int
    """Milliseconds of a core."""
    answered: int
    turned_away: int

    def __sub__(self, other: Counts) -> Counts:
        return Counts(self.spent - other.spent, self.answered - other.answered, self.turned_away - other.turned_away)

    @property
    def grown(self) -> bool:
        """A difference that says something: whoever has begun anew counts from 0."""
        return min(self.spent, self.answered, self.turned_away) >= 0


class Told:
    """One member's last beat."""

    __slots__ = ("asked", "at", "counts", "provides", "shed")

    def __init__(self) -> None:
        self.at: Nanos = -1
        self.asked = 0.0
        self.provides = 0.0
        """0: it serves nobody now."""
        self.shed = 0.0
        """Cores: work turned away a second, between the last two beats."""
        self.counts: Counts | None = None


class Sizer:
    """One a desk whose application has a range of sizes; bounded by the members."""

    __slots__ = ("_config", "_costs", "_knee", "_report_at", "_resize_at", "_told", "why")

    def __init__(self, config: AppConfig) -> None:
        self._config = config
        self._costs = Costs(config.service_time / SECOND)
        self._knee = Knee()
        self._told: dict[NodeId, Told] = {}
        self._report_at: Nanos = 0
        self._resize_at: Nanos = -1
        self.why = ""
        """What the last size was made of, to be told after it."""

    @property
    def e(self) -> float:
        """Of a program not more than E_MOST: it turns nobody away who waits too long for his turn, as `work` does."""
        return min(self._knee.e, E_MOST) if self._config.program else self._knee.e

    @property
    def cost(self) -> float:
        """Core-seconds a request: as measured, or, until then, as the configuration has it (of a program: 0)."""
        return self._costs.cost

    def kept(self, members: int) -> AppConfig:
        """The configuration with the size that a set shows."""
        return replace(self._config, replicas=max(self._config.replicas, min(self._config.most, members)))

    def on_beat(self, source: NodeId, beat: ReplicaBeat, now: Nanos) -> None:
        """Of a member (others' are not taken)."""
        told = self._told.setdefault(source, Told())
        told.provides = 0.0 if beat.unready else beat.provides / MILLICORES
        told.asked = told.shed = 0.0
        counts = None
        if beat.load and told.provides:  # what a program consumes to become ready is no request's
            counts = Counts(beat.spent, beat.served, beat.turned_away)
            told.asked = beat.load[0].used / PER_CENT * told.provides
            self._count(told, counts, now)
        told.at, told.counts = now, counts

    def _count(self, told: Told, counts: Counts, now: Nanos) -> None:
        """What has come since its last beat; nothing of a member that was silent for long, which may have begun anew."""
        if told.counts is None or not 0 < now - told.at <= RECENT or not (since := counts - told.counts).grown:
            return
        self._costs.add(since.spent / MILLISECONDS, since.answered)
        told.shed = since.turned_away * self.cost * SECOND / (now - told.at)
        if self._config.program:
            told.asked += told.shed  # the emulation's own count has it

    def waits(self, now: Nanos) -> bool:
        """Whether there is nothing to look at yet."""
        return now < self._report_at

    def size(self, members: Sequence[NodeId], summaries: Mapping[NodeId, Summary], now: Nanos) -> int:
        """m for now; to be asked whenever it does not wait. Nobody is laid off while what requests cost is unknown."""
        self.look(members, now)
        if self._resize_at < 0:
            self._resize_at = now + RESIZE
        if now < self._resize_at:
            return len(members)
        self._resize_at = now + RESIZE
        return self._sized(members, summaries, now)

    def look(self, members: Sequence[NodeId], now: Nanos) -> None:
        """What the members carry, for E; to be told whenever it does not wait."""
        self._report_at = now + REPORT
        self._report(members, now)
        self._costs.look(now)

    def _report(self, members: Sequence[NodeId], now: Nanos) -> None:
        for node in [node for node in self._told if node not in members]:
            del self._told[node]
        recent = self._recent(now)
        self._knee.report(
            sum((told.asked for told in recent), 0.0),
            sum((told.shed for told in recent), 0.0),
            sum((told.provides for told in recent), 0.0),
        )

    def _recent(self, now: Nanos) -> list[Told]:
        return [told for told in self._told.values() if now - told.at <= RECENT and told.provides]

    def _sized(self, members: Sequence[NodeId], summaries: Mapping[NodeId, Summary], now: Nanos) -> int:
        config, recent = self._config, self._recent(now)
        n = sum(summary.nodes + 1 for summary in summaries.values())
        if not n or not recent:
            return len(members)
        rate = sum((summary.rate for summary in summaries.values()), 0.0)
        work = rate * self.cost
        provided = sum((told.provides for told in recent), 0.0) / len(recent)
        needed = members_for(n, work / n, provided, self.e)
        prospects = _prospects(members, summaries, provided)
        lasting = members_to_last(prospects, needed, config.most, work, self.e, config.availability)
        size = resized(len(members), max(needed, lasting), config.replicas, config.most)
        self.why = f"; {rate:.3g} requests/s on hosts of {provided:.3g} cores take {needed}, with those that may die {lasting}"
        unknown = rate > 0 and not self._costs.measured and not config.service_time
        return max(size, min(len(members), config.most)) if unknown else size


def _prospects(members: Sequence[NodeId], summaries: Mapping[NodeId, Summary], cores: float) -> list[Prospect]:
    """The members, then who may become one, the stablest first. An agent that could serve, too, is no candidate."""
    told: dict[NodeId, Candidate] = {}
    for agent in sorted(summaries):
        told.update((one.node, one) for one in summaries[agent].candidates if one.node != agent and not one.unfit)
    scale = scale_of([one.age for one in told.values()])
    lasts = {node: survives(REPLACED, one.age, scale, one.sessions, one.up) for node, one in told.items()}
    others = sorted((node for node in told if node not in members), key=lambda node: (-lasts[node], node))
    return [Prospect(cores, lasts[node]) for node in (*(node for node in members if node in told), *others)]
