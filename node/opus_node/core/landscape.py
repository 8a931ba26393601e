"""What placement is decided on: who needs how much where, who could serve, and how far everybody is from everybody.

A point is one of an agent's nodes, a candidate is mostly one as well. Round trips between them are as measured by either, or

    between nodes of one agent   guessed from coordinates, at most by way of the agent
    to another agent's nodes     by way of the agent, as requests go: rtt(node, agent) + rtt(agent, candidate), the latter as
                                 measured or sqrt(rtt(agent, other agent)^2 + rtt(other agent, candidate)^2);
                                 or guessed from coordinates, if that is less, but not less than
                                 rtt(agent, candidate) - rtt(node, agent): coordinates of young hosts are far off

Guesses are lengthened by a third for the choice, and shortened again to find whom it is worth measuring. Coordinates alone miss
the best placement of 10, 20, 50 on the PlanetLab matrix by 16, 28, 120%.

Besides, there are scenarios, of little weight: a region fails with all its candidates, or some candidates at random. They
keep all members from one failure domain, and each near another.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from heapq import nsmallest
from itertools import chain
from math import inf, sqrt
from operator import mul

from opus_node.core.cluster import GUESS, Cluster, homes, regions
from opus_node.core.coordinates import expected
from opus_node.core.messages import Candidate, Summary
from opus_node.core.quorate import Ground
from opus_node.core.rtt import UNKNOWN
from opus_node.core.stability import hazard, scale_of
from opus_node.core.types import MILLISECOND, AppConfig, AppId, Nanos, NodeId

POINTS = 1536
"""More nodes than this are taken into account by their agents only."""
SHORTLIST = 448
"""Candidates taken into account at most, of each agent the fittest, besides those that serve."""
NEARBY = 8
"""Agents, itself included, to whose nodes a candidate's round trips are guessed from coordinates, too; to others they matter
little."""

FEW, FEW_LEAST = 48, 2
"""Candidates where a majority's ways count, too: of all agents together, and of each at least."""
FINE = 128
"""More nodes than this are then places by their agents only."""

WITHIN = 1.15
"""Whom to measure: who may be nearer than what serves by now, by triangles that are off by so much."""
WANTED = 48
"""Candidates that one agent is to measure at most."""
ERRANDS_FOR = 2
"""Candidates that single nodes measure, by members: those of which most may be hoped."""
ERRANDS_EACH = 2
"""Of them, for one node at a time."""
EAGER = 0.9
"""By so much a candidate must seem nearer than what serves to be worth a measurement."""

PRIOR_MOST = 30.0
"""Requests' worth of belief that all nodes ask alike, against which few requests seen say little: at most so much ..."""
PRIOR_LEAST = 1.0
"""... and at least this where agents' counts differ by far more than chance would have them."""
CHANCE = 3.0
BUNDLE = 3.0
"""A rate just begun rests on one lease's requests, a third of the window: such counts vary as if requests came in threes."""
WINDOW_S = 15.0
"""Over which nodes smooth the rates they tell (`cache.demand`: three leases)."""

RISK = 0.02
"""Weight of all scenarios of failure together."""
REGIONS_FAIL = 4
DRAWS = 4
"""Scenarios in which candidates fail at random ..."""
FAIL_SHARE = 0.25
"""... so many of them."""
BEREFT = 1000.0
"""ms: where no member is left."""

STABILITY = 0.2
"""Of a member's mean share of all delay: what a member costs that is as likely to go as the average host."""
CAPACITY = 0.12
"""The same for one of half the capacity of the average host."""
DUE_MOST = 4.0


Told = Mapping[NodeId, tuple[Nanos, Nanos]]
"""node -> (round trip, when told)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Requests/s by agent, and over how many seconds they were counted."""

    rates: Mapping[NodeId, float]
    window_s: float


class Landscape:
    """Columns and dues for `kmedian`, from what agents tell."""

    def __init__(
        self,
        config: AppConfig,
        clusters: Mapping[NodeId, Cluster],
        members: Collection[NodeId],
        excluded: Collection[NodeId],
        near_enough: Nanos,
        told: Callable[[NodeId], Told],
        asked: Asked | None = None,
    ) -> None:
        """`told` is what an agent has measured of other agents' nodes; `asked` goes before the summaries' rates."""
        self._app = config.name
        self._by_agent = clusters
        self._clusters = [clusters[agent] for agent in sorted(clusters)]
        self._position = {one.agent: i for i, one in enumerate(self._clusters)}
        self._told = [told(one.agent) for one in self._clusters]
        self.home = homes(clusters)
        self.region = regions(clusters, near_enough)
        self._close = near_enough / MILLISECOND
        self.demand = demand({one.agent: one.summary for one in self._clusters}, asked)
        self.candidates = self._shortlist(members, excluded, config.replicas, config.agents_serve)
        self.index = {one.node: i for i, one in enumerate(self.candidates)}
        self._barred = excluded
        self.barred = [i for i, one in enumerate(self.candidates) if one.node in excluded]
        self._agents = self._between_agents()

        self.coarse = sum(len(one.rtts) for one in self._clusters) > POINTS
        self._radii = [max(one.rtts, default=0.0) for one in self._clusters]
        self._weights = [[self.demand[one.agent] * share for share in one.shares] for one in self._clusters]
        self._columns: list[list[float]] | None = None
        self._known_risks: list[float] | None = None

    @property
    def columns(self) -> list[list[float]]:
        if self._columns is None:
            scenarios = self._scenarios()
            self._columns = [self._column(one, self.coarse, scenarios) for one in self.candidates]
        return self._columns

    @property
    def _risks(self) -> list[float]:
        if self._known_risks is None:
            self._known_risks = _risks(self.candidates)
        return self._known_risks

    def knowledge(self) -> tuple[object, ...]:
        """Which version of what is known: who could serve, and where."""
        return (tuple((one.agent, one.summary.version) for one in self._clusters), tuple(map(len, self._told)))

    def dues(self, cost: float, count: int) -> list[float]:
        """What each candidate costs for being unstable or weak, where `count` members serve at a delay of `cost`."""
        return [risk * cost / max(1, count) for risk in self._risks]

    # Who could serve

    def _shortlist(
        self, members: Collection[NodeId], excluded: Collection[NodeId], count: int, agents_serve: bool
    ) -> list[Candidate]:
        """Members, then one of each agent after the other, the fittest first: one failure domain before a second of it."""
        told = {one.node: one for cluster in self._clusters for one in cluster.summary.candidates if self._lives_at(one, cluster)}
        chosen = {node: told[node] for node in members if node in told}
        fit = [self._fit(cluster, excluded, agents_serve) for cluster in self._clusters]
        for turn in range(max(map(len, fit), default=0)):
            if len(chosen) >= max(SHORTLIST, 2 * count):
                break
            for one in [queue[turn] for queue in fit if turn < len(queue)]:
                chosen.setdefault(one.node, one)
        if len(chosen) < count:  # agents serve only when there is no one else
            agents = [told[cluster.agent] for cluster in self._clusters if cluster.agent in told]
            chosen.update((one.node, one) for one in agents if one.node not in excluded and not one.unfit)
        return list(chosen.values())

    def _lives_at(self, one: Candidate, cluster: Cluster) -> bool:
        return self.home[one.node] == cluster.agent

    def _fit(self, cluster: Cluster, excluded: Collection[NodeId], agents_serve: bool) -> list[Candidate]:
        """An agent's nodes as they are ordered by it."""
        return [
            one
            for one in cluster.summary.candidates
            if one.node not in excluded
            and not one.unfit
            and self._lives_at(one, cluster)
            and (agents_serve or one.node != cluster.agent)
        ]

    # How far

    def _between_agents(self) -> dict[NodeId, list[float]]:
        """ms from each agent to all, in order; by either's measurement, else by coordinates."""
        clusters = self._clusters
        places = [next((one.at for one in c.summary.candidates if one.node == c.agent), 0) for c in clusters]
        found = {}
        for one, here in zip(clusters, places, strict=True):
            row = []
            for other, there in zip(clusters, places, strict=True):
                measured = one.others.get(other.agent) or other.others.get(one.agent)
                if one is other:
                    row.append(0.0)
                elif measured:
                    row.append(measured)
                else:
                    row.append((GUESS * expected(here, there) or UNKNOWN) / MILLISECOND)
            found[one.agent] = row
        return found

    def _bases(self, one: Candidate) -> list[float]:
        """ms from each agent to a candidate: measured, or as its own agent's distance suggests."""
        spur = one.rtt / MILLISECOND
        found = []
        for between, told in zip(self._agents[self.home[one.node]], self._told, strict=True):
            measured = told.get(one.node)
            found.append(measured[0] / MILLISECOND if measured else sqrt(between * between + spur * spur))
        return found

    def ways(self, one: Candidate) -> list[float]:
        """ms from each agent's nodes to a candidate by way of the agent, on the mean of what they ask; agents by name."""
        spurs = [sum(map(mul, cluster.shares, cluster.rtts)) for cluster in self._clusters]
        return [spur + base for spur, base in zip(spurs, self._bases(one), strict=True)]

    def ground(self, keep: Collection[NodeId], barred: Collection[int]) -> tuple[list[int], Ground]:
        """For `quorate`: (whom it numbers, by their places among the candidates; how far they are from all and each other).

        They are those to keep, and the fittest of each agent, as many as are weighed. Where many nodes ask, places are agents.
        """
        each = max(FEW_LEAST, FEW // max(1, len(self._clusters)))
        taken: dict[NodeId, int] = {}
        few = []
        for i, one in enumerate(self.candidates):
            home = self.home[one.node]
            if one.node not in keep:
                if i in barred or taken.get(home, 0) == each:
                    continue
                taken[home] = taken.get(home, 0) + 1
            few.append(i)
        some = [self.candidates[i] for i in few]
        bases = [self._bases(one) for one in some]
        fine = sum(map(len, self._weights)) <= FINE
        ground = Ground(
            demand=list(chain(*self._weights)) if fine else [self.demand[cluster.agent] for cluster in self._clusters],
            ways=[list(chain(*self._rows(one, base))) if fine else self.ways(one) for one, base in zip(some, bases, strict=True)],
            apart=[[self._apart(one, other, base) for other, base in zip(some, bases, strict=True)] for one in some],
            close=self._close,
            risks=[self._risks[i] for i in few],
            barred=frozenset(k for k, i in enumerate(few) if i in barred),
        )
        return few, ground

    def _apart(self, one: Candidate, other: Candidate, bases: Sequence[float]) -> float:
        """ms between two candidates; `bases`: from each agent to the other one. Of one agent they are at most as far apart as the
        way by it, which is measured, whatever coordinates say."""
        home = self._by_agent[self.home[one.node]]
        base = bases[self._position[home.agent]]
        told = self._row(other, home, base, True, 1.0)[home.index[one.node]]
        return min(told, (one.rtt + other.rtt) / MILLISECOND) if self.home[other.node] == home.agent else told

    def wanted(self, members: Sequence[NodeId]) -> dict[NodeId, list[NodeId]]:
        """By agent, the candidates it should measure: those that may be nearer than what serves it now, the nearest first.

        Members come before others, as all that is decided hangs on them.
        """
        serving = frozenset(members)
        spurs = [(one.node, self.home[one.node], one.rtt / MILLISECOND) for one in self.candidates]
        bases = [self._bases(one) for one in self.candidates if one.node in serving]
        nearest = list(map(min, *bases)) if len(bases) > 1 else bases[0] if bases else [inf] * len(self._clusters)
        found = {}
        for i, (cluster, least) in enumerate(zip(self._clusters, nearest, strict=True)):
            hopes = []
            for node, home, spur in spurs:
                between = self._agents[home][i]
                if home != cluster.agent and between - spur <= WITHIN * least:
                    hopes.append((node not in serving, between + spur, node))
            found[cluster.agent] = [node for _, _, node in nsmallest(WANTED, hopes)]
        return found

    def _rows(self, one: Candidate, bases: Sequence[float], hope: float = 1.0) -> list[list[float]]:
        """By agent, ms from each of its nodes to a candidate; `hope` is for guesses from coordinates."""
        away = self._agents[self.home[one.node]]
        nearby = _nearby(away)
        return [
            self._row(one, cluster, base, straight <= nearby, hope)
            for cluster, straight, base in zip(self._clusters, away, bases, strict=True)
        ]

    def _row(self, one: Candidate, cluster: Cluster, base: float, near: bool, hope: float) -> list[float]:
        """Of the nodes of one agent, which is `base` away from the candidate."""
        home = self._by_agent[self.home[one.node]]
        position = home.index[one.node]
        if cluster is home:
            row = list(home.between[position])
        elif near:
            guesses = zip(cluster.rtts, cluster.guessed(home)[position], strict=True)
            row = [
                (ms if ms < base + rtt else base + rtt) if (ms := hope * guess) > base - rtt else base - rtt
                for rtt, guess in guesses
            ]
        else:
            row = [rtt + base for rtt in cluster.rtts]
        for i, ms in cluster.abroad.get(one.node, ()):
            row[i] = ms
        return row

    def _column(self, one: Candidate, coarse: bool, scenarios: Sequence[_Scenario]) -> list[float]:
        """A column for `kmedian`."""
        home = self.home[one.node]
        bases = self._bases(one)
        column: list[float] = []
        if coarse:
            column += [self.demand[cluster.agent] * base for cluster, base in zip(self._clusters, bases, strict=True)]
        else:
            for weights, row in zip(self._weights, self._rows(one, bases), strict=True):
                column += [weight * ms for weight, ms in zip(weights, row, strict=True)]
        draws = _draws(self._app, one.node)
        for scenario in scenarios:
            failed = draws[scenario.draw] if scenario.draw >= 0 else self.region[home] == scenario.region
            column += [weight * (BEREFT if failed else bases[i]) for i, weight in scenario.points]
        return column

    def column(self, node: NodeId) -> list[float]:
        """One of the columns, without working out all."""
        return self._column(self.candidates[self.index[node]], self.coarse, self._scenarios())

    def delays(self, node: NodeId) -> list[float]:
        """Of a candidate, by point: requests/s times ms; failures are left out."""
        return self._column(self.candidates[self.index[node]], self.coarse, ())

    # Whom single nodes should measure

    def errands(self, members: Sequence[NodeId]) -> dict[NodeId, dict[NodeId, list[NodeId]]]:
        """By agent and node: members that serve it, and candidates that might serve it better and others as well.

        Guesses are taken at face value here: what is hoped for in vain is found out by one measurement.
        """
        serving = [self.candidates[self.index[node]] for node in members if node in self.index]
        if not serving or self.coarse:
            return {}
        rows = {one.node: self._rows(one, self._bases(one)) for one in serving}
        now = [list(map(min, *each)) if len(each) > 1 else each[0] for each in zip(*rows.values(), strict=True)]
        longest = [max(each, default=0.0) for each in now]
        gains = sorted(
            (-self._gain(one, now, longest), one.node)
            for one in self.candidates
            if one.node not in rows and one.node not in self._barred
        )
        rivals = [node for _, node in gains[: ERRANDS_FOR * len(serving)]]
        hopes = {node: self._hopes(self.candidates[self.index[node]]) for node in (*rows, *rivals)}
        found: dict[NodeId, dict[NodeId, list[NodeId]]] = {}
        for k, cluster in enumerate(self._clusters):
            for i, one in enumerate(cluster.summary.candidates):
                known = cluster.measured[i]
                mine = sorted((hopes[node][k][i], node) for node in rows if node not in known)[:1]
                hope = ((hopes[node][k][i], node) for node in rivals if node not in known)
                mine += sorted(each for each in hope if each[0] < EAGER * now[k][i])[:ERRANDS_EACH]
                if mine and one.node != cluster.agent:
                    found.setdefault(cluster.agent, {})[one.node] = [node for ms, node in mine if ms < 2 * now[k][i] + 1]
        return found

    def _hopes(self, one: Candidate) -> list[list[float]]:
        return self._rows(one, self._bases(one), 1 / GUESS)

    def _gain(self, one: Candidate, now: Sequence[Sequence[float]], longest: Sequence[float]) -> float:
        """What may be hoped to be saved by a candidate; `longest` is the greatest of `now`, by agent.

        No guess is shorter than the triangle inequality allows, so most agents' nodes need no closer look: they have nothing to
        hope for, unless they have measured the candidate.
        """
        home = self.home[one.node]
        away = self._agents[home]
        nearby = _nearby(away)
        saved = 0.0
        for k, (cluster, base) in enumerate(zip(self._clusters, self._bases(one), strict=True)):
            near = away[k] <= nearby
            least = base - self._radii[k] if near else base
            if least >= longest[k] and cluster.agent != home and one.node not in cluster.abroad:
                continue
            each = zip(self._weights[k], self._row(one, cluster, base, near, 1 / GUESS), now[k], strict=True)
            saved += sum([weight * (ms - hope) for weight, hope, ms in each if hope < ms], 0.0)
        return saved

    # What may happen

    def _scenarios(self) -> list[_Scenario]:
        """The heaviest regions fail, one after the other; then some candidates by chance."""
        whole: dict[NodeId, float] = {}
        for cluster in self._clusters:
            region = self.region[cluster.agent]
            whole[region] = whole.get(region, 0.0) + self.demand[cluster.agent]
        heaviest = sorted(whole, key=lambda region: (-whole[region], region))[:REGIONS_FAIL]
        share = RISK / (len(heaviest) + DRAWS)
        found = [_Scenario(region, -1, self._points(share, region)) for region in heaviest if len(whole) > 1]
        return found + [_Scenario("", draw, self._points(share, "")) for draw in range(DRAWS)]

    def _points(self, share: float, region: NodeId) -> list[tuple[int, float]]:
        """(position of the agent, weight) of those that are still there to ask."""
        return [
            (position, share * self.demand[cluster.agent])
            for position, cluster in enumerate(self._clusters)
            if self.region[cluster.agent] != region
        ]


class _Scenario:
    """All candidates of one region fail, or, where there is none, those that this draw says."""

    __slots__ = ("draw", "points", "region")

    def __init__(self, region: NodeId, draw: int, points: list[tuple[int, float]]) -> None:
        self.region = region
        self.draw = draw
        self.points = points


def _nearby(away: Sequence[float]) -> float:
    """ms: agents so near count as NEARBY."""
    return sorted(away)[min(len(away), max(NEARBY, len(away) // 4)) - 1]


@lru_cache(maxsize=4096)
def _draws(app: AppId, node: NodeId) -> tuple[bool, ...]:
    """Whether it fails, by draw: the same everywhere, and always."""
    return tuple(byte < 256 * FAIL_SHARE for byte in blake2b(f"{app}/{node}".encode(), digest_size=DRAWS).digest())


def _risks(candidates: Sequence[Candidate]) -> list[float]:
    """Shares of a member's mean delay."""
    scale = scale_of([one.age for one in candidates])
    usual = hazard(scale, scale)
    cpu = _median([one.cpu for one in candidates])
    bandwidth = _median([float(one.bandwidth) for one in candidates])
    found = []
    for one in candidates:
        unstable = min(hazard(one.age, scale, one.sessions, one.up) / usual, DUE_MOST)
        weak = min(max(0.0, cpu / max(one.cpu, 1e-3) - 1, bandwidth / max(one.bandwidth, 1) - 1), DUE_MOST)
        found.append(STABILITY * unstable + CAPACITY * weak)
    return found


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0


def demand(summaries: Mapping[NodeId, Summary], asked: Asked | None = None) -> dict[NodeId, float]:
    """agent -> requests/s of its nodes, drawn towards what as many average nodes ask (a gamma prior); nodes if none ask.

    Where all ask little, the few requests seen by one agent are chance; a crowd that asks is believed at once. How strong the
    prior is, the counts tell themselves (empirical Bayes, by moments): they vary by mean + mean^2 / prior, as far as that is
    beyond what chance does, by CHANCE deviations. `asked` goes before the summaries' rates.
    """
    nodes = {agent: summary.nodes + 1 for agent, summary in summaries.items()}
    told = asked or Asked({agent: summary.rate for agent, summary in summaries.items()}, WINDOW_S)
    rate = sum(told.rates.values(), 0.0) / max(1, sum(nodes.values()))
    if rate <= 0:
        return {agent: float(count) for agent, count in nodes.items()}
    seen = {agent: each * told.window_s for agent, each in told.rates.items()}
    usual = {agent: rate * nodes[agent] * told.window_s for agent in summaries}
    squares = sum((count * count for count in usual.values()), 0.0)
    excess = sum(((seen[agent] - usual[agent]) ** 2 - BUNDLE * usual[agent] for agent in summaries), 0.0)
    excess -= CHANCE * sqrt(BUNDLE**3 * sum(usual.values(), 0.0) + 2 * BUNDLE**2 * squares)
    prior = max(PRIOR_LEAST, squares / excess) if excess * PRIOR_MOST > squares else PRIOR_MOST
    return {agent: rate * nodes[agent] * (prior + seen[agent]) / (prior + usual[agent]) for agent in summaries}


def moved(before: Mapping[NodeId, float], now: Mapping[NodeId, float]) -> float:
    """Share of all demand that is with other agents than it was."""
    whole, then = sum(now.values(), 0.0) or 1.0, sum(before.values(), 0.0) or 1.0
    return sum((abs(now.get(agent, 0.0) / whole - before.get(agent, 0.0) / then) for agent in sorted({*now, *before})), 0.0) / 2
