"""Do the chosen live longer than others? Membership alone, without messages, for as long as it takes to see members die.

Besides, the core's prediction is held against what happens: for every host, at regular moments, the probability that its
session goes on for an hour (`core/stability.py`), and whether it did.

    Brier score = mean of (predicted - 1 if it stayed, else 0)^2          skill = 1 - Brier score / that of the overall share
    calibration = mean distance of predicted and observed share, over ten classes of predictions

Every host's sessions follow one law; a host that dies is followed at once, at the same place, by a newcomer of age 0, so the
population is in equilibrium from the first instant (ages are drawn as an inspector would find them). A subset of m is chosen
by a policy, and whoever dies in it is replaced by it. What counts:

    gain = deaths per node and minute of the population / deaths per member and minute of the subset

A member once chosen at random outlives the average already where sessions are heavy-tailed (the inspection paradox): 2.05 for
Weibull's shape 0.6, exactly 1 for exponential sessions, whatever the policy.

In one arm hosts return and remember: each has a law of its own, so what it did before says more than its age.

The shipped policy is the core's own code: its leases, its summaries and its choice, fed with these nodes. Agents' places are
fixed (k-median) and the demand is even.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heapreplace
from math import gamma, log
from random import Random
from typing import Any, Protocol, cast

from opus_node.core.cluster import Cluster
from opus_node.core.context import Context
from opus_node.core.held import Held
from opus_node.core.landscape import Landscape
from opus_node.core.leases import Leases
from opus_node.core.messages import Demand, Measured, ReplicaSet, Summary
from opus_node.core.once import Once
from opus_node.core.placement import OLDEST, filled, improved
from opus_node.core.prober import Prober
from opus_node.core.relay import Relay
from opus_node.core.stability import scale_of, survives
from opus_node.core.summaries import Summaries
from opus_node.core.swim import Member, Swim, nearest_first
from opus_node.core.types import BEST, AppConfig, NodeConfig

from opus_controller.bench.overlay.oracles import Floats, local_search, nearest
from opus_controller.bench.overlay.settings import Settings
from opus_controller.bench.worlds import APP, SECOND
from opus_controller.model.plan import Plan

Figures = dict[str, Any]

MINUTE = 60 * SECOND
NODES_PER_AGENT = 22
NEIGHBOURS = 4
"""Measured by each node."""


class Law(Protocol):
    """Of how long hosts stay, in minutes."""

    @property
    def returns(self) -> bool:
        """Whether who goes comes back at once and remembers; otherwise a newcomer follows."""

    def draw(self, rng: Random, host: int) -> float:
        """A session."""

    def found(self, rng: Random, host: int) -> tuple[float, float]:
        """(age, time left) of a session as an inspector finds it: longer ones oftener, at a uniform moment."""


@dataclass(frozen=True)
class Sessions:
    """Weibull's law, in minutes; shape 1 is exponential."""

    shape: float
    scale: float

    @property
    def mean(self) -> float:
        return self.scale * gamma(1 + 1 / self.shape)

    returns = False

    def draw(self, rng: Random, host: int) -> float:
        return rng.weibullvariate(self.scale, self.shape)

    def found(self, rng: Random, host: int) -> tuple[float, float]:
        whole = self.scale * rng.gammavariate(1 + 1 / self.shape, 1.0) ** (1 / self.shape)
        age = whole * rng.random()
        return age, whole - age


@dataclass(frozen=True)
class Own:
    """Exponential, of a mean that is the host's own and lognormal over hosts; minutes."""

    means: Sequence[float]

    returns = True

    @classmethod
    def of(cls, hosts: int, rng: Random) -> Own:
        """Half of the means lie between 100 and 400 minutes."""
        return cls([rng.lognormvariate(log(200.0), 1.0) for _ in range(hosts)])

    def draw(self, rng: Random, host: int) -> float:
        return rng.expovariate(1.0 / self.means[host])

    def found(self, rng: Random, host: int) -> tuple[float, float]:
        return self.draw(rng, host), self.draw(rng, host)


WEIBULL = Sessions(0.6, 200.0)
EXPONENTIAL = Sessions(1.0, 200.0)


@dataclass
class Population:
    """Hosts by number; minutes."""

    born: list[float]
    now: float = 0.0
    ended: list[int] = field(default_factory=list)
    """Sessions of each before this one, as it remembers ..."""
    up: list[float] = field(default_factory=list)
    """... and how long they were together."""

    def __post_init__(self) -> None:
        self.ended = self.ended or [0] * len(self.born)
        self.up = self.up or [0.0] * len(self.born)

    def past(self, host: int) -> tuple[int, int]:
        """As the core's leases have it."""
        return self.ended[host], round(self.up[host] * MINUTE)


class Policy(Protocol):
    def fill(self, population: Population, keep: Sequence[int], lost: Sequence[int]) -> list[int]:
        """The members from now on; `keep` are those that live, `lost` those that have just died."""


SPAN_MIN = 60.0
"""For so long a session is predicted to go on, or not."""
CLASSES = 10


class Forecasts:
    """What was predicted of all hosts at one moment after the other, and what came of it."""

    def __init__(self, by_age: bool = False) -> None:
        """`by_age`: what hosts remember is not looked at."""
        self._by_age = by_age
        self._made_at = 0.0
        self._open: list[tuple[float, float]] = []
        """By host: when its session began, and the probability that it goes on."""
        self._closed: list[tuple[float, bool]] = []

    def look(self, population: Population, now: float) -> None:
        """At least as often as anything changes; `population` is as it was until `now`."""
        born = population.born
        if self._open and now < self._made_at + SPAN_MIN:
            return
        self._closed += [(p, born[host] == since) for host, (since, p) in enumerate(self._open)]
        ages = [round((now - since) * MINUTE) for since in born]
        scale = scale_of(ages)
        span = round(SPAN_MIN * MINUTE)
        pasts = [(0, 0) if self._by_age else population.past(host) for host in range(len(born))]
        chances = [survives(span, age, scale, *past) for age, past in zip(ages, pasts, strict=True)]
        self._open = list(zip(born, chances, strict=True))
        self._made_at = now

    def told(self) -> Figures:
        """Nothing that is no number: without any forecast that came due, all are 0."""
        count = max(1, len(self._closed))
        share = sum(stayed for _, stayed in self._closed) / count
        brier = sum((p - stayed) ** 2 for p, stayed in self._closed) / count
        classes: dict[int, list[tuple[float, bool]]] = {}
        for one in self._closed:
            classes.setdefault(min(CLASSES - 1, int(CLASSES * one[0])), []).append(one)
        off = sum(abs(sum(p - stayed for p, stayed in some)) for some in classes.values()) / count
        trivial = share * (1 - share)
        return {
            "forecasts": len(self._closed),
            "brier": brier,
            "skill": 1 - brier / trivial if trivial else 0.0,
            "calibration": off,
            "stayed": share,
        }


@dataclass(frozen=True)
class Arm:
    """One policy under one law of sessions."""

    members_minutes: float
    departures: int
    nodes_minutes: float
    deaths: int
    placement: float
    """Mean delay to the nearest member, over time, by the ideal placement's."""
    forecasts: Figures
    by_age: Figures
    """The same with nothing known but ages."""

    def told(self) -> Figures:
        return vars(self)


def live(policy: Policy, sessions: Law, delay: Floats, m: int, ideal_ms: float, rng: Random, departures: int) -> Arm:
    """Until so many members have died."""
    n = len(delay)
    found = [sessions.found(rng, host) for host in range(n)]
    population = Population([-age for age, _ in found])
    due = [(left, host) for host, (_, left) in enumerate(found)]
    heapify(due)
    members = policy.fill(population, [], [])
    area = 0.0
    deaths = died = 0
    mean, since = float(nearest(delay, members).mean()), 0.0
    forecasts, by_age = Forecasts(), Forecasts(by_age=True)
    while died < departures:
        for each in (forecasts, by_age):
            each.look(population, due[0][0])
        population.now, host = due[0]
        heapreplace(due, (population.now + sessions.draw(rng, host), host))
        if sessions.returns:
            population.ended[host] += 1
            population.up[host] += population.now - population.born[host]
        population.born[host] = population.now
        deaths += 1
        if host in members:
            died += 1
            area += mean * (population.now - since)
            members = policy.fill(population, [one for one in members if one != host], [host])
            mean, since = float(nearest(delay, members).mean()), population.now
    if len(members) != m:
        raise RuntimeError(f"{len(members)} members where {m} were asked for")
    span = population.now
    return Arm(
        m * span, died, n * span, deaths, area / since / ideal_ms if since else float("nan"), forecasts.told(), by_age.told()
    )


@dataclass(frozen=True)
class AtRandom:
    """The control."""

    m: int
    rng: Random

    def fill(self, population: Population, keep: Sequence[int], lost: Sequence[int]) -> list[int]:
        others = [host for host in range(len(population.born)) if host not in keep and host not in lost]
        return [*keep, *self.rng.sample(others, self.m - len(keep))]


@dataclass
class OfCore:
    """The core's choice among what its agents would tell: `Leases` filled by hand, `Summaries.build`, `placement`."""

    plan: Plan
    delay: Floats
    m: int
    settings: Settings = field(default_factory=Settings)
    policy: str = BEST
    agents: Sequence[int] = ()
    """Their hosts; none: as `places_of_agents` finds them."""

    def __post_init__(self) -> None:
        self._config = self.settings.but(**{"app.policy": self.policy}).of(NodeConfig(apps=(AppConfig(APP, self.m),)))
        self._names = [host.address for host in self.plan.hosts]
        self._index = {name: i for i, name in enumerate(self._names)}
        self._epoch = 0
        agents = self.agents or places_of_agents(self.delay)
        self._agents = {self._names[i]: _Agent(self._names[i], self._config, agents, self) for i in agents}
        for host in range(len(self._names)):
            if host not in agents:
                nearest_agent = min(agents, key=lambda agent: (self.delay[host, agent], agent))
                self._agents[self._names[nearest_agent]].take(self._names[host], self.rtt(host, nearest_agent))
        self._surveyed = {
            self._names[agent]: {node: (self.rtt(agent, host), 0) for host, node in enumerate(self._names)} for agent in agents
        }
        for agent in self._agents.values():
            agent.measure(lambda one, other: self.rtt(self._index[one], self._index[other]))

    def rtt(self, a: int, b: int) -> int:
        return round(2e6 * float(self.delay[a, b]))

    def name(self, host: int) -> str:
        return self._names[host]

    def fill(self, population: Population, keep: Sequence[int], lost: Sequence[int]) -> list[int]:
        known = None
        if keep:
            self._epoch += 1
            known = ReplicaSet(APP, self._epoch, next(iter(self._agents)), tuple(self._names[host] for host in keep))
        summaries = {name: agent.summary(population, self._index, known) for name, agent in self._agents.items()}
        config, clusters = self._config.apps[0], {name: Cluster(name, told) for name, told in summaries.items()}
        barred = {self._names[host] for host in lost}
        kept = tuple(self._names[host] for host in keep)
        near_enough = self._config.near_enough

        land = Landscape(config, clusters, kept, barred, near_enough, self._surveyed.__getitem__)
        members = filled(config, land, self.m, kept)  # the newcomers are candidates of this landscape: it serves for both
        return [self._index[name] for name in improved(config, land, members)[0]]


def places_of_agents(delay: Floats) -> tuple[int, ...]:
    return local_search(delay, max(1, round(len(delay) / NODES_PER_AGENT))).chosen


class _Agent:
    """What of an agent a summary is built from."""

    def __init__(self, name: str, config: NodeConfig, agents: Sequence[int], of: OfCore) -> None:
        self._ctx = Context(name, config, Random(name))
        me = next(host for host in agents if of.name(host) == name)
        swim = cast(Swim, _View({of.name(host): _member(of.name(host), of.rtt(me, host)) for host in agents if host != me}))
        relay = Relay(self._ctx, Prober(self._ctx), Once(self._ctx), lambda app, replica: None, lambda: "")
        self._leases = Leases(self._ctx, swim, relay)
        self._summaries = Summaries(self._ctx, self._leases, swim)

    def take(self, node: str, rtt: int) -> None:
        held = self._leases.table[node] = Held(node, 0)
        held.rtt, held.cpu, held.bandwidth = rtt, 1.0, 100_000_000
        held.demand = (Demand(APP, 1.0),)

    def measure(self, rtt: Callable[[str, str], int]) -> None:
        """As nodes do over time that are asked for their nearest."""
        nodes = list(self._leases.table)
        for node in nodes:
            nearest = sorted((rtt(node, other), other) for other in nodes if other != node)[:NEIGHBOURS]
            self._leases.siblings.take(node, [Measured(other, away) for away, other in nearest])

    def summary(self, population: Population, index: dict[str, int], known: ReplicaSet | None) -> Summary:
        now = self._ctx.now = round(population.now * MINUTE)
        for node, held in self._leases.table.items():
            held.heard_at = now
            held.born_at = round(population.born[index[node]] * MINUTE)
            held.sessions, held.up = population.past(index[node])
        return self._summaries.build(APP, known, Demand(APP, 0.0))


@dataclass
class _View:
    """Of `Swim`, the only parts that summaries read."""

    members: dict[str, Member]

    def agents(self) -> list[str]:
        return ["", *self.members]

    def near(self) -> list[Member]:
        return nearest_first(self.members.values())


def _member(node: str, rtt: int) -> Member:
    member = Member(node, 1, 0)
    member.sample(rtt)
    return member


def arms(plan: Plan, delay: Floats, m: int, ideal_ms: float, settings: Settings, seed: int, departures: int) -> Figures:
    """Every policy under heavy-tailed sessions, the shipped one under exponential ones and among hosts that return too."""
    agents = places_of_agents(delay)
    own = Own.of(len(delay), Random(f"{seed}/stability/hosts"))
    policies: dict[str, tuple[Law, Callable[[], Policy]]] = {
        "random": (WEIBULL, lambda: AtRandom(m, Random(f"{seed}/stability/draws"))),
        "oldest": (WEIBULL, lambda: OfCore(plan, delay, m, settings, OLDEST, agents)),
        "shipped": (WEIBULL, lambda: OfCore(plan, delay, m, settings, BEST, agents)),
        "exponential": (EXPONENTIAL, lambda: OfCore(plan, delay, m, settings, BEST, agents)),
        "own": (own, lambda: OfCore(plan, delay, m, settings, BEST, agents)),
    }
    return {
        name: live(make(), sessions, delay, m, ideal_ms, Random(f"{seed}/stability/{name}"), departures).told()
        for name, (sessions, make) in policies.items()
    }
