"""Instances: hosts in places, applications that want them, 1.5 times as much asked for as there is. Files beside this one.

Six places with three hosts each, alike within a place: so the exact optimum is a dynamic program over how many of each place
an application has (`exact`). Places are coupled: some are near to much of everybody's demand. Utilities are S-shaped in what each
application minds of latency, availability and throughput.

    python -m opus_controller.bench.utility.instances            writes the files anew from their seeds
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import exp, hypot
from pathlib import Path
from random import Random
from statistics import NormalDist
from typing import Any

from opus_node.core.forecast import Need, Unit
from opus_node.core.utility import Points, Utility

FOLDER = Path(__file__).parent / "instances"
SEEDS = range(1, 11)
APPS = (4, 5, 6, 8)
"""Of the instances of one seed."""
PLACES = 6
EACH = 3
"""Hosts in a place."""
CORES = (1.0, 1.5, 2.0)
E = 0.8
LOAD = 1.5
MILLISECONDS = 1e6


@dataclass(frozen=True)
class Kind:
    """Hosts that are all the same."""

    place: int
    cores: float
    up: float
    count: int


@dataclass(frozen=True)
class Application:
    name: str
    worth: float
    quantile: float
    latency_ms: Points
    availability: Points
    throughput: Points
    """By share of `demand`."""
    demand: tuple[float, ...]
    """Requests/s, by place."""
    cost_ms: float
    """Of a core, a request."""
    floor: int

    @property
    def utility(self) -> Utility:
        return Utility(
            worth=self.worth,
            quantile=self.quantile,
            latency=tuple((ms * MILLISECONDS, share) for ms, share in self.latency_ms),
            availability=self.availability,
            throughput=tuple((x * sum(self.demand), share) for x, share in self.throughput),
        )


@dataclass(frozen=True)
class Instance:
    name: str
    rtt_ms: tuple[tuple[float, ...], ...]
    """Between places."""
    kinds: tuple[Kind, ...]
    apps: tuple[Application, ...]

    @property
    def capacity(self) -> float:
        """Cores that may be used."""
        return E * sum(kind.cores * kind.count for kind in self.kinds)

    @property
    def load(self) -> float:
        return sum(sum(app.demand) * app.cost_ms / 1000 for app in self.apps) / self.capacity

    def units(self) -> list[Unit]:
        """In the order of kinds."""
        return [Unit(f"h{k}-{i}", kind.cores, kind.up) for k, kind in enumerate(self.kinds) for i in range(kind.count)]

    def needs(self) -> list[Need]:
        rtts = {
            unit.name: [ms * MILLISECONDS for ms in self.rtt_ms[place]]
            for unit, place in zip(self.units(), self._places(), strict=True)
        }
        return [Need(app.name, app.utility, app.demand, rtts, app.cost_ms / 1000, E, app.floor) for app in self.apps]

    def _places(self) -> list[int]:
        return [kind.place for kind in self.kinds for _ in range(kind.count)]

    def at_load(self, load: float) -> Instance:
        """Everybody asks for so much more, or less, and is as content with it."""
        times = load / self.load
        apps = (replace(app, demand=tuple(times * rate for rate in app.demand)) for app in self.apps)
        return replace(self, apps=tuple(apps))


# Made


def made(seed: int, apps: int) -> Instance:
    rng = Random(f"{seed}/utility/{apps}")
    spots = [(150 * rng.random(), 80 * rng.random(), 1 + 4 * rng.random()) for _ in range(PLACES)]
    rtts = tuple(tuple(round(hypot(a[0] - b[0], a[1] - b[1]) + a[2] + b[2], 1) for b in spots) for a in spots)
    kinds = tuple(Kind(p, CORES[int(3 * rng.random())], round(0.9 + 0.099 * rng.random(), 3), EACH) for p in range(PLACES))
    crowd = [exp(normal(rng)) for _ in range(PLACES)]
    capacity = E * sum(kind.cores * kind.count for kind in kinds)
    shares = [exp(0.6 * normal(rng)) for _ in range(apps)]
    found = tuple(_application(rng, f"app{i}", LOAD * capacity * share / sum(shares), crowd) for i, share in enumerate(shares))
    return Instance(f"{seed}-{apps}", rtts, kinds, found)


def normal(rng: Random) -> float:
    """Of `Random.random` alone, which is the same in every version of Python."""
    return NormalDist().inv_cdf(min(max(rng.random(), 1e-12), 1 - 1e-12))


def _application(rng: Random, name: str, cores: float, crowd: Sequence[float]) -> Application:
    """One that asks for so much."""
    cost_ms = round(10 * exp(0.5 * normal(rng)), 2)
    weights = [everybody * exp(normal(rng)) for everybody in crowd]
    demand = tuple(round(cores / (cost_ms / 1000) * weight / sum(weights), 2) for weight in weights)
    minds = [part for part in range(3) if rng.random() < 0.6] or [int(3 * rng.random())]
    near = 30 + 40 * rng.random()
    low, high = 0.4 + 0.2 * rng.random(), 0.75 + 0.2 * rng.random()
    return Application(
        name=name,
        worth=round(10 * exp(0.7 * normal(rng)), 2),
        quantile=(0.5, 0.9, 0.95)[int(3 * rng.random())],
        latency_ms=_rounded((near, 1), (1.5 * near, 0.85), (2.2 * near, 0.1), (4 * near, 0)) if 0 in minds else (),
        availability=_rounded((low, 0), (high, 0.15), (0.97, 0.9), (0.999, 1)) if 1 in minds else (),
        throughput=_rounded((0, 0), (low, 0.08), (high, 0.9), (1, 1)) if 2 in minds or minds == [0] else (),
        demand=demand,
        cost_ms=cost_ms,
        floor=int(2 * rng.random()),
    )


def _rounded(*points: tuple[float, float]) -> Points:
    return tuple((round(x, 3), y) for x, y in points)


# In files


def save(folder: Path = FOLDER) -> None:
    folder.mkdir(exist_ok=True)
    for seed in SEEDS:
        path(seed, folder).write_text(text(seed))


def path(seed: int, folder: Path = FOLDER) -> Path:
    return folder / f"{seed:02}.json"


def text(seed: int) -> str:
    return json.dumps([asdict(made(seed, apps)) for apps in APPS]).replace('}, {"', '},\n{"') + "\n"


def load(seed: int, folder: Path = FOLDER) -> list[Instance]:
    return [_read(one) for one in json.loads(path(seed, folder).read_text())]


def _read(one: dict[str, Any]) -> Instance:
    apps = tuple(
        Application(
            **{
                **app,
                "demand": tuple(app["demand"]),
                **{part: tuple(map(tuple, app[part])) for part in ("latency_ms", "availability", "throughput")},
            }
        )
        for app in one["apps"]
    )
    return Instance(one["name"], tuple(map(tuple, one["rtt_ms"])), tuple(Kind(**kind) for kind in one["kinds"]), apps)


if __name__ == "__main__":
    save()
