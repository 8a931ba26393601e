"""What is run for which rows: bases, worlds that have lived for a while, and experiments that branch off from them.

    base (plan, seed) --settles--> at_s --fork--> experiment --> figures
                          |---------later---fork--> another --> figures

A base is simulated once a seed, however many experiments start from it; each gets a process of its own in which it may
break what it likes. An experiment is a function from (lab, context) to figures, a dict that `rows.py` reads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from opus_controller.bench.overlay import churn, deep, hotspot, placing, silence, sizing, stability, steady
from opus_controller.bench.overlay.data import plan
from opus_controller.bench.overlay.lab import Lab
from opus_controller.bench.overlay.placing import Knowledge
from opus_controller.bench.overlay.settings import Settings, known
from opus_controller.model.topology import Topology

Figures = dict[str, Any]


@dataclass(frozen=True)
class Scale:
    """How long and how often, a seed; FULL for the table, QUICK for a look at all of it, TINY for tests."""

    hosts: int | None = None
    """None: the whole matrix."""
    sizes: tuple[int, ...] = (100, 1000, 3000, 10_000)
    """Hosts, for the entries."""
    deep: tuple[tuple[int, int], ...] = ((1, 100), (2, 100), (2, 1000), (3, 1000), (2, 3000), (3, 3000), (4, 3000))
    """Depths and hosts; at depth 1 everybody measures everybody."""
    deep_s: float = 120.0
    """From the last boot until a deep overlay is looked at."""
    once_from: int = 3000
    """Sizes from here on run under the first seed alone."""
    settle_s: float = 180.0
    """From the first boot until the overlay is taken to be settled."""
    steady_s: float = 600.0
    """From the first boot until control bytes are counted."""
    joined_s: float = 60.0
    """From the first boot, or from the last where boots are spread, until entries are counted."""
    kills: int = 14
    crashes: int = 10
    departures: int = 100
    churn_s: float = 120.0
    hot_s: float = 120.0
    load_s: float = 20.0
    """For which a load is offered before it is said to be carried or not."""
    choices: int = len(sizing.OTHERS)
    """Choices among replicas, besides the first, of which E is measured."""


FULL = Scale()
QUICK = Scale(
    sizes=(100, 300),
    deep=((1, 60), (2, 300), (3, 300), (4, 300)),
    deep_s=90.0,
    settle_s=90.0,
    steady_s=180.0,
    joined_s=60.0,
    kills=2,
    crashes=2,
    departures=60,
    churn_s=40.0,
    load_s=8.0,
)
TINY = Scale(
    hosts=54,
    sizes=(20, 40),
    deep=((1, 20), (3, 40)),
    deep_s=30.0,
    settle_s=25.0,
    steady_s=30.0,
    joined_s=30.0,
    kills=2,
    crashes=5,
    departures=5,
    churn_s=15.0,
    hot_s=65.0,
    load_s=1.5,
    choices=0,
)
RATE = 20.0
"""Requests/s of all clients of a base together, while nothing else is asked for."""
MEDIANS_S = (180.0, 60.0)
"""Of sessions, for churn."""


@dataclass(frozen=True)
class Context:
    """What an experiment may know besides its lab."""

    seed: int
    base: Base
    scale: Scale
    knowledge: Knowledge
    settings: Settings


@dataclass(frozen=True)
class Base:
    name: str
    hosts: int | None = None
    """None: the whole matrix."""
    replicas: int = 10
    settings: tuple[tuple[str, Any], ...] = ()
    """Beyond those of the command, by name."""
    boot_over_s: float = 0.0
    unlike: bool = False
    """Whether hosts differ in what they can do."""
    lives: bool = True
    """Whether it is simulated; otherwise experiments get a plan of which nothing has booted."""
    once: bool = False
    """Whether it runs under the first seed alone."""

    def lab(self, topology: Topology, seed: int, settings: Settings) -> Lab:
        made = plan(topology, seed=seed, replicas=self.replicas, boot_over_s=self.boot_over_s, unlike=self.unlike)
        lab = Lab(made, settings.but(**dict(self.settings)))
        lab.everyone_asks(RATE, label=self.name)
        return lab


@dataclass(frozen=True)
class Experiment:
    name: str
    base: Base
    at_s: float
    """When, of the base's life, it begins."""
    run: Callable[[Lab, Context], Figures]
    asks_oracle: bool = True
    """Whether it compares with what full knowledge would reach."""


def all_experiments(scale: Scale) -> list[Experiment]:
    ten = Base("m=10", scale.hosts, 10)
    return [
        *(one for m in (10, 20, 50) for one in _placing(Base(f"m={m}", scale.hosts, m), scale)),
        *_shared(scale),
        *_silence(ten, scale),
        Experiment("hot spot", ten, scale.settle_s, _hot_spot),
        Experiment("control", ten, scale.steady_s, lambda lab, context: steady.control(lab), asks_oracle=False),
        *(_budget(scale, budget) for budget in BUDGETS),
        *(_churn(ten, scale, median) for median in MEDIANS_S),
        *(_entries(n, scale) for n in scale.sizes),
        *(_deep(depth, n, scale) for depth, n in scale.deep),
        Experiment("sizing", sized(scale.hosts), scale.settle_s, _sizing, asks_oracle=False),
        Experiment("stability", Base("membership", scale.hosts, 10, lives=False), 0.0, _stability),
    ]


def _placing(base: Base, scale: Scale) -> list[Experiment]:
    label = base.name.removeprefix("m=")
    return [
        Experiment(f"placement {label}", base, scale.settle_s, _placement),
        Experiment(f"forwarded {label}", base, scale.settle_s, partial(_finding, direct=False)),
        Experiment(f"direct {label}", base, scale.settle_s, partial(_finding, direct=True)),
    ]


AGENTS_SERVE = "app.agents_serve"
"""The setting under which agents may be replicas too, once the core has it."""


def _shared(scale: Scale) -> list[Experiment]:
    if not known(AGENTS_SERVE):
        return []
    return _placing(Base("m=10 shared", scale.hosts, 10, settings=((AGENTS_SERVE, True),)), scale)


def _placement(lab: Lab, context: Context) -> Figures:
    return placing.placement(lab, context.knowledge, context.base.replicas)


def _finding(lab: Lab, context: Context, *, direct: bool) -> Figures:
    return placing.finding(lab, context.knowledge, context.base.replicas, direct=direct)


def _silence(base: Base, scale: Scale) -> list[Experiment]:
    def half(lab: Lab, context: Context) -> Figures:
        return silence.half_kill(lab, context.knowledge.delay, context.seed, context.scale.kills)

    def replica(lab: Lab, context: Context, *, direct: bool) -> Figures:
        return silence.silent_replica(lab, context.seed, context.scale.crashes, direct=direct)

    return [
        Experiment("half-kill", base, scale.settle_s, half),
        Experiment("silent replica, direct", base, scale.settle_s, partial(replica, direct=True)),
        Experiment("silent replica, forwarded", base, scale.settle_s, partial(replica, direct=False)),
        Experiment("loss", base, scale.settle_s, lambda lab, context: silence.needless_timeouts(lab), asks_oracle=False),
    ]


def _hot_spot(lab: Lab, context: Context) -> Figures:
    return hotspot.moving(lab, context.knowledge.delay, context.seed, context.base.replicas, context.scale.hot_s)


def _churn(base: Base, scale: Scale, median_s: float) -> Experiment:
    def run(lab: Lab, context: Context) -> Figures:
        return churn.availability(lab, context.seed, median_s, context.scale.churn_s)

    return Experiment(f"churn {median_s:g}", base, scale.settle_s, run)


BUDGETS = (60, 200)
"""B/s a node, besides the default."""


def _budget(scale: Scale, budget: int) -> Experiment:
    """What a node costs under this budget, and what requests take then: nodes that look around less find less."""
    base = Base(f"m=10, {budget} B/s", scale.hosts, 10, settings=(("control_budget", budget),))

    def run(lab: Lab, context: Context) -> Figures:
        rates = steady.rates(lab, min(steady.WINDOW_S, scale.steady_s / 5))
        return {**rates, **placing.finding(lab, context.knowledge, context.base.replicas, direct=True)}

    return Experiment(f"budget {budget}", base, scale.steady_s, run)


JOINS_PER_S = 100.0
"""Boots of a large base are spread so that no more come at once than a service would see."""


MOST_AT_ONCE = 1000


def _entries(hosts: int, scale: Scale) -> Experiment:
    spread = hosts / JOINS_PER_S if hosts > MOST_AT_ONCE else 0.0
    base = Base(f"n={hosts}", hosts, 10, boot_over_s=spread, once=hosts >= scale.once_from)
    return Experiment(
        f"entries {hosts}", base, spread + scale.joined_s, lambda lab, context: steady.entries(lab), asks_oracle=False
    )


def _deep(depth: int, hosts: int, scale: Scale) -> Experiment:
    spread = hosts / JOINS_PER_S if hosts > MOST_AT_ONCE else 0.0
    base = Base(f"depth {depth}, n={hosts}", hosts, 10, (("depth", depth),), spread, once=hosts >= scale.once_from)
    return Experiment(
        f"depth {depth}, {hosts}", base, spread + scale.deep_s, lambda lab, context: deep.look(lab), asks_oracle=False
    )


def sized(hosts: int | None) -> Base:
    """Ten members on hosts of unlike cores, requests that cost core time."""
    settings = (("app.service_time", sizing.SERVICE), ("app.choice", sizing.CHOICE), ("load_staleness", sizing.STALENESS))
    return Base("sizing", hosts, sizing.CALIBRATED, settings=settings, unlike=True)


def _sizing(lab: Lab, context: Context) -> Figures:
    return sizing.sizing(lab, context.scale.load_s, context.scale.choices)


def _stability(lab: Lab, context: Context) -> Figures:
    m = context.base.replicas
    delay, ideal = context.knowledge.delay, context.knowledge.ideal(m).mean
    return stability.arms(lab.plan, delay, m, ideal, context.settings, context.seed, context.scale.departures)
