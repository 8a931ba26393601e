"""The size of one application's subset while it runs: u, d and E from what replicas and agents tell, m from them (`sizing`).

    ReplicaBeat --work asked for, turned away, provided--> E (Knee), d        Summary --nodes, requests/s--> n, u

Every agent keeps the size it has last heard of in a set, so that a new steward begins with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from opus_node.core.load import PER_CENT
from opus_node.core.messages import Candidate, ReplicaBeat, Summary
from opus_node.core.sizing import Knee, Prospect, members_for, members_to_last, resized
from opus_node.core.stability import scale_of, survives
from opus_node.core.types import SECOND, AppConfig, Nanos, NodeId
from opus_node.core.work import MILLICORES

REPORT: Nanos = 1 * SECOND
RESIZE: Nanos = 10 * SECOND
"""Between two sizes; the first so long after this steward heard of all: demand is told with leases."""
RECENT: Nanos = 3500 * SECOND // 1000
"""A beat may be late, not three."""
REPLACED: Nanos = 5 * SECOND
"""What it takes, about, until somebody else serves in a dead member's place."""


class Told:
    """One member's last beat."""

    __slots__ = ("asked", "at", "provides", "shed", "turned_away")

    def __init__(self) -> None:
        self.at: Nanos = -1
        self.asked = 0.0
        self.provides = 0.0
        self.shed = 0.0
        """Cores: work turned away a second, between the last two beats."""
        self.turned_away = 0


class Sizer:
    """One a desk whose application has a range of sizes; bounded by the members."""

    __slots__ = ("_config", "_knee", "_report_at", "_resize_at", "_told")

    def __init__(self, config: AppConfig) -> None:
        self._config = config
        self._knee = Knee()
        self._told: dict[NodeId, Told] = {}
        self._report_at: Nanos = 0
        self._resize_at: Nanos = -1

    @property
    def e(self) -> float:
        return self._knee.e

    def kept(self, members: int) -> AppConfig:
        """The configuration with the size that a set shows."""
        return replace(self._config, replicas=max(self._config.replicas, min(self._config.most, members)))

    def on_beat(self, source: NodeId, beat: ReplicaBeat, now: Nanos) -> None:
        """Of a member (others' are not taken)."""
        told = self._told.setdefault(source, Told())
        if beat.load:
            told.provides = beat.provides / MILLICORES
            told.asked = beat.load[0].used / PER_CENT * told.provides
            grown = beat.turned_away - told.turned_away
            if told.at >= 0 and grown >= 0 and now > told.at:
                told.shed = grown * self._config.service_time / (now - told.at)
            told.turned_away = beat.turned_away
        told.at = now

    def waits(self, now: Nanos) -> bool:
        """Whether there is nothing to look at yet."""
        return now < self._report_at

    def size(self, members: Sequence[NodeId], summaries: Mapping[NodeId, Summary], now: Nanos) -> int:
        """m for now; to be asked whenever it does not wait."""
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

    def _report(self, members: Sequence[NodeId], now: Nanos) -> None:
        for node in [node for node in self._told if node not in members]:
            del self._told[node]
        recent = self._recent(now)
        self._knee.report(
            sum(told.asked for told in recent), sum(told.shed for told in recent), sum(told.provides for told in recent)
        )

    def _recent(self, now: Nanos) -> list[Told]:
        return [told for told in self._told.values() if now - told.at <= RECENT and told.provides]

    def _sized(self, members: Sequence[NodeId], summaries: Mapping[NodeId, Summary], now: Nanos) -> int:
        config, recent = self._config, self._recent(now)
        n = sum(summary.nodes + 1 for summary in summaries.values())
        if not n or not recent:
            return len(members)
        work = sum(summary.rate for summary in summaries.values()) * config.service_time / SECOND
        provided = sum(told.provides for told in recent) / len(recent)
        needed = members_for(n, work / n, provided, self.e)
        prospects = _prospects(members, summaries, provided)
        lasting = members_to_last(prospects, needed, config.most, work, self.e, config.availability)
        return resized(len(members), max(needed, lasting), config.replicas, config.most)


def _prospects(members: Sequence[NodeId], summaries: Mapping[NodeId, Summary], cores: float) -> list[Prospect]:
    """The members, then who may become one, the stablest first. An agent that could serve, too, is no candidate."""
    told: dict[NodeId, Candidate] = {}
    for agent in sorted(summaries):
        told.update((one.node, one) for one in summaries[agent].candidates if one.node != agent and not one.unfit)
    scale = scale_of([one.age for one in told.values()])
    lasts = {node: survives(REPLACED, one.age, scale, one.sessions, one.up) for node, one in told.items()}
    others = sorted((node for node in told if node not in members), key=lambda node: (-lasts[node], node))
    return [Prospect(cores, lasts[node]) for node in (*(node for node in members if node in told), *others)]
