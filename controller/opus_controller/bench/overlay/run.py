"""Runs experiments over seeds, in up to two processes, and keeps their figures."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from opus_controller.bench.overlay import forks
from opus_controller.bench.overlay.data import Matrix
from opus_controller.bench.overlay.experiments import Base, Context, Experiment, Figures, Scale
from opus_controller.bench.overlay.kept import Kept
from opus_controller.bench.overlay.placing import Knowledge
from opus_controller.bench.overlay.settings import Settings
from opus_controller.model.errors import ScenarioError
from opus_controller.model.topology import Topology

WORKERS = 2


@dataclass
class Results:
    """Figures by experiment, one a seed, in the order of the seeds."""

    seeds: Sequence[int]
    figures: dict[str, dict[int, Figures]] = field(default_factory=lambda: defaultdict(dict))
    wall_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Processor time in effect: by experiment, and by base under the base's name."""

    def of(self, experiment: str) -> list[Figures]:
        found = self.figures.get(experiment, {})
        return [found[seed] for seed in self.seeds if seed in found]


@dataclass(frozen=True)
class _Part:
    """What one process did: a base under one seed."""

    base: str
    seed: int
    figures: dict[str, Figures]
    wall_s: dict[str, float]


def run(
    experiments: Iterable[Experiment],
    seeds: Sequence[int],
    matrix: Matrix,
    settings: Settings,
    scale: Scale,
    *,
    kept: Kept | None = None,
    on_progress: Callable[[str], None] = lambda news: None,
) -> Results:
    """`kept`: what is there already is not made again, and what is made is put there at once."""
    by_base: dict[Base, list[Experiment]] = {}
    for one in experiments:
        by_base.setdefault(one.base, []).append(one)
    topologies = {hosts: matrix.topology(hosts) for hosts in dict.fromkeys(base.hosts for base in by_base)}
    for base in by_base:
        if base.replicas >= len(topologies[base.hosts].hosts):
            few = len(topologies[base.hosts].hosts)
            raise ScenarioError(f"{matrix.path}: {few} hosts for {base.replicas} replicas; allowed: more hosts than replicas")
    known = {hosts: Knowledge(topology) for hosts, topology in topologies.items()}
    results = Results(seeds)
    tasks = []
    for base, of_base in sorted(by_base.items(), key=lambda item: (-len(topologies[item[0].hosts].hosts), -len(item[1]))):
        world = _World(base, topologies[base.hosts], known[base.hosts], settings, scale, kept)
        wanted = {seed: _wanted(results, of_base, seed, kept) for seed in (seeds[:1] if base.once else seeds)}
        if any(one.asks_oracle for some in wanted.values() for one in some):
            world.knowledge.prepare(base.replicas)
        # The longest first, so that the last to end are short ones.
        tasks += [partial(_live, world, some, seed) for seed, some in wanted.items() if some]
    for done, (_, part) in enumerate(forks.each(tasks, WORKERS), start=1):
        for name, figures in part.figures.items():
            results.figures[name][part.seed] = figures
        for name, wall in part.wall_s.items():
            results.wall_s[name] += wall
        on_progress(f"{part.base}, seed {part.seed}: {sum(part.wall_s.values()):.0f} s ({done} of {len(tasks)})")
    return results


def _wanted(results: Results, experiments: Sequence[Experiment], seed: int, kept: Kept | None) -> list[Experiment]:
    """Those still to be made; the others' figures go to `results`."""
    found = {one.name: None if kept is None else kept.figures(one.name, seed) for one in experiments}
    for name, figures in found.items():
        if figures is not None:
            results.figures[name][seed] = figures
    return [one for one in experiments if found[one.name] is None]


@dataclass(frozen=True)
class _World:
    """What the lives of one base under all seeds have in common."""

    base: Base
    topology: Topology
    knowledge: Knowledge
    settings: Settings
    scale: Scale
    kept: Kept | None


def _live(world: _World, experiments: Sequence[Experiment], seed: int) -> _Part:
    """One base under one seed, and every experiment that branches off from it."""
    base = world.base
    part = _Part(base.name, seed, {}, {base.name: 0.0})
    context = Context(seed, base, world.scale, world.knowledge, world.settings)
    began = time.perf_counter()
    lab = base.lab(world.topology, seed, world.settings)
    for one in sorted(experiments, key=lambda one: one.at_s):
        if base.lives:
            lab.run_until(one.at_s)
        lab.forget()
        branched = time.perf_counter()
        part.wall_s[base.name] += branched - began
        part.figures[one.name] = forks.call(partial(one.run, lab, context))
        if world.kept is not None:
            world.kept.keep(one.name, seed, part.figures[one.name])
        began = time.perf_counter()
        part.wall_s[one.name] = began - branched
    return part
