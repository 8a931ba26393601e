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

from opus_controller.bench.overlay import placing
from opus_controller.bench.overlay.data import plan
from opus_controller.bench.overlay.lab import Lab
from opus_controller.bench.overlay.placing import Knowledge
from opus_controller.bench.overlay.settings import Settings
from opus_controller.model.topology import Topology

Figures = dict[str, Any]


@dataclass(frozen=True)
class Scale:
    """How long and how often; `QUICK` for a look, `FULL` for the table."""

    settle_s: float = 180.0
    """From the first boot until the overlay is taken to be settled."""


FULL = Scale()
QUICK = Scale()
RATE = 20.0
"""Requests/s of all clients of a base together, while nothing else is asked for."""


@dataclass(frozen=True)
class Context:
    """What an experiment may know besides its lab."""

    seed: int
    base: Base
    scale: Scale
    knowledge: Knowledge


@dataclass(frozen=True)
class Base:
    name: str
    hosts: int | None = None
    """None: the whole matrix."""
    replicas: int = 10
    settings: tuple[tuple[str, Any], ...] = ()
    """Beyond those of the command, by name."""
    rate: float = RATE
    boot_over_s: float = 0.0

    def lab(self, topology: Topology, seed: int, settings: Settings) -> Lab:
        made = plan(topology, seed=seed, replicas=self.replicas, boot_over_s=self.boot_over_s)
        lab = Lab(made, settings.but(**dict(self.settings)))
        lab.everyone_asks(self.rate, label=self.name)
        return lab


@dataclass(frozen=True)
class Experiment:
    name: str
    base: Base
    at_s: Callable[[Scale], float]
    """When, of the base's life, it begins."""
    run: Callable[[Lab, Context], Figures]


def _settled(scale: Scale) -> float:
    return scale.settle_s


def _placement(lab: Lab, context: Context) -> Figures:
    return placing.placement(lab, context.knowledge, context.base.replicas)


def _finding(lab: Lab, context: Context, *, direct: bool) -> Figures:
    return placing.finding(lab, context.knowledge, context.base.replicas, direct=direct)


BASES = {m: Base(f"m={m}", replicas=m) for m in (10, 20, 50)}


def all_experiments() -> list[Experiment]:
    found = []
    for m, base in BASES.items():
        found += [
            Experiment(f"placement {m}", base, _settled, _placement),
            Experiment(f"forwarded {m}", base, _settled, partial(_finding, direct=False)),
            Experiment(f"direct {m}", base, _settled, partial(_finding, direct=True)),
        ]
    return found
