"""The plans that are measured: hosts over a host-by-host matrix of measured round trips, one application, no access links.

The matrix is other people's data and not part of Opus: a square CSV of round trips in ms (gzip by its name's end), one
host a row. `find` says where it was looked for.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from random import Random

import yaml

from opus_controller.bench.worlds import APP, SECOND
from opus_controller.model.compile import plan_of_topology
from opus_controller.model.errors import PlatformError, ScenarioError
from opus_controller.model.plan import App, Plan
from opus_controller.model.topology import Topology, load_topology

VARIABLE = "OPUS_DATA"
FILE = "planetlab-490-rtt-ms.csv.gz"
SOURCE = "NetLatency-Data, PlanetLab (Zhu, Liu, Niu, Li, Zhao, IEEE/ACM ToN 2017), MIT"


def find(place: Path | None) -> Path:
    """The matrix: `place` or the file of its usual name in it; else where $OPUS_DATA points; else shared/data here or above."""
    named = place or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    tried = [named] if named is not None else [base / "shared" / "data" for base in (Path.cwd(), *Path.cwd().parents)]
    for one in tried:
        path = one / FILE if one.is_dir() else one
        if path.is_file():
            return path
    if place is not None:
        raise ScenarioError(f"--data {place}: no {FILE} there; allowed: that file ({SOURCE}) or a directory with it")
    where = str(named) if named is not None else "shared/data of this directory and those above it"
    raise PlatformError(f"skipped: {FILE} is not in {where}; say where it is: --data DIR, or {VARIABLE}=DIR ({SOURCE})")


@dataclass(frozen=True)
class Matrix:
    """A matrix's file, read when needed: topologies of any size are made of it."""

    path: Path

    def topology(self, hosts: int | None = None) -> Topology:
        """One host a row; fewer hosts: the first rows; more: several hosts a row, 0.5 ms apart from each other."""
        rows = _rows(self.path)
        take, each = (rows, 1) if hosts is None else (min(rows, hosts), max(1, round(hosts / rows)))
        group = {"name": "plain", "sites": "all"} | ({"count": each} if each > 1 else {})
        document = {"name": "matrix", "rtt_matrix": {"file": str(self.path), "take": take}, "groups": [group]}
        with tempfile.TemporaryDirectory(prefix="opus-bench-") as place:
            path = Path(place) / "topology.yaml"
            path.write_text(yaml.safe_dump(document))
            return load_topology(path)


def _rows(path: Path) -> int:
    from opus_controller.model.matrix import rtts_from_csv

    return len(rtts_from_csv(path)[1])


CORES = (0.5, 0.75, 1.0, 1.5, 2.0)


def plan(topology: Topology, *, seed: int, replicas: int, boot_over_s: float = 0.0, unlike: bool = False) -> Plan:
    """Every host boots at once, or evenly over `boot_over_s` in the topology's order after the seeds; nothing is asked yet.
    `unlike`: hosts have as many cores as chance gives them, other ones under each seed."""
    made = plan_of_topology(topology, seed=seed, apps=[App(name=APP, replicas=replicas)], duration_ns=3600 * SECOND)
    if unlike:
        rng = Random(f"{seed}/cores")
        able = (h.abilities.model_copy(update={"cpu": rng.choice(CORES)}) for h in made.hosts)
        hosts = tuple(h.model_copy(update={"abilities": one}) for h, one in zip(made.hosts, able, strict=True))
        made = made.model_copy(update={"hosts": hosts})
    if not boot_over_s:
        return made
    step = int(boot_over_s * SECOND / len(made.hosts))
    late = (h if h.name in made.seeds else h.model_copy(update={"boot_at_ns": h.index * step}) for h in made.hosts)
    return made.model_copy(update={"hosts": tuple(late)})
